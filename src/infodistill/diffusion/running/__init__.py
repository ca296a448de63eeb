"""Sampling runs: what was asked for, what is calibrated and made beforehand, and the folder it all ends up in."""
