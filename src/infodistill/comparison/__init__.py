"""Sets side by side: fair comparisons, the cross-architecture table, robust scores, and the leaderboard."""
