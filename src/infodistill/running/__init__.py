"""A run from what was asked for to what lies on disk: requests, folders, checkpoints, and rows of published tables."""
