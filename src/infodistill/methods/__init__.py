"""Published methods, one file each, and the selection baselines."""
