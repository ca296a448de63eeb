"""Diffusion models as a way to distil: sample a set, guided by how much information it carries."""
