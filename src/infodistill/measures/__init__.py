"""The information profile: what a set of images says about its data, number by number, each with its controls."""
