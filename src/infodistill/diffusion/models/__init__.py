"""Networks of diffusion models: built small, read from diffusers pipelines or our own folders, in one contract."""
