"""Studies: several methods over several sizes under one protocol, settings chosen on validation only; by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from infodistill.studies.study import Study

TITLES: Mapping[str, str] = {
    "igds-digits": "guided diffusion sampling on the bundled digits, a study of ours",
    "igds-mnist": "the same on MNIST, a pixel model",
    "igds-mnist-latent": "the same on MNIST, a model of VAE latents",
    "igds-imagenette": "the same on ImageNette at 64 x 64, a model of VAE latents, for a GPU",
}
"""Every study with a line about it; importing none of them."""


def by_name(name: str) -> Study:
    """The study of a name in `TITLES`.

    Raises:
        ValueError: there is none.
    """
    if name not in TITLES:
        raise ValueError(f"there is no study '{name}', known: {', '.join(TITLES)}")
    studies: Mapping[str, Callable[[], Study]] = import_module("infodistill.studies.igds").STUDIES
    return studies[name]()


__all__ = ["TITLES", "Study", "by_name"]
