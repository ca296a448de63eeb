"""Training of generative networks: denoisers, autoencoders, noise-aware classifiers, generators of one's own data."""
