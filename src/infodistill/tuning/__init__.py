"""Choosing settings on held-out training images; test data never chooses anything."""
