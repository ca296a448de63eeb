"""The studies of IGDS: does guidance by information bounds make better sets, against rivals tuned as hard?

Data are split in three: the guides and every selection see the training part; settings are chosen on a held-out part of
the training images; the test images are looked at once. The generator of the digits sees the training part. Those of
the larger data are what `infodistill generator train` makes of all training images, the held-out ones included, which
helps every sampled column and every setting alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from infodistill.studies.guided import columns
from infodistill.studies.study import Budget, Contender, Study
from infodistill.studies.training import classifiers, generator, noisy_classifier, trained

if TYPE_CHECKING:
    from infodistill.studies.bench import Bench

AGAINST = ("plain", "nearest", "k-means pull")
CLAIMS = ("P3", "P3+C2")
ALL = tuple(one.name for one in columns())
FEWER = tuple(name for name in ALL if name not in ("P1", "P2"))
"""Columns of the larger studies: what needs no classifier."""

SMALL = {1: Budget((1, 1), (5, 3)), 10: Budget((1, 1), (5, 2))}
"""A budget for a processor and larger images."""


def _study(
    name: str,
    title: str,
    data: str,
    net: str,
    *,
    held: float,
    sizes: Mapping[int, Budget],
    plan: Mapping[str, Any],
    contenders: tuple[str, ...] = ALL,
    protocol: str = "quick",
    reading: Mapping[str, Any] | None = None,
) -> Study:
    chosen: tuple[Contender, ...] = tuple(one for one in columns() if one.name in contenders)
    waves: list[dict[str, Callable[[Bench], None]]] = [{"generator": generator}]
    if "P2" in contenders:
        waves[0]["classifiers"] = classifiers
    if "P1" in contenders:
        waves.append({"noisy classifier": noisy_classifier})
    return Study(
        name, title, data, net, protocol, held, sizes, chosen, AGAINST, CLAIMS, tuple(waves), trained,
        {"generator": dict(plan)}, dict(reading or {}),
    )  # fmt: skip


def digits() -> Study:
    """1000 training, 297 validation, 500 test images of 8 x 8; under 20 minutes on two cores."""
    sizes = {1: Budget((4, 1), (8, 3)), 5: Budget(), 10: Budget(), 50: Budget((1, 1), (5, 3))}
    plan = {"images": "training", "kind": "mlp"}
    return _study("igds-digits", "guided sampling of 8x8 digits", "digits", "convnet2-w32", held=297 / 1297,
                  sizes=sizes, plan=plan)  # fmt: skip


def mnist() -> Study:
    """A small UNet of 28 x 28 pixels; a smaller budget."""
    plan = {"images": "all", "kind": "unet", "latent": False, "network.channels": [16, 32, 64], "batch": 32}
    return _study("igds-mnist", "guided sampling of MNIST, pixels", "mnist", "convnet3-w16", held=1 / 12,
                  sizes=SMALL, plan={**plan, "lr": 1e-3, "steps": 4500}, contenders=FEWER)  # fmt: skip


def mnist_latent() -> Study:
    """The same with a small VAE and a denoiser of its latents."""
    plan = {"images": "all", "latent": True, "autoencoder.width": 16, "autoencoder.batch": 32}
    return _study("igds-mnist-latent", "guided sampling of MNIST, VAE latents", "mnist", "convnet3-w16", held=1 / 12,
                  sizes=SMALL, plan={**plan, "autoencoder.steps": 2000, "steps": 12_000},
                  contenders=FEWER)  # fmt: skip


def imagenette() -> Study:
    """64 x 64 photographs; a GPU's work."""
    plan = {"images": "all", "latent": True, "steps": 60_000, "batch": 256, "autoencoder.steps": 20_000}
    plan |= {"precision": "bf16", "autoencoder.precision": "bf16"}
    sizes = {1: Budget(), 10: Budget(), 50: Budget((1, 1), (3, 3))}
    return _study("igds-imagenette", "guided sampling of ImageNette at 64 x 64, VAE latents", "imagenette",
                  "resnetap10", held=0.1, sizes=sizes, plan=plan,
                  contenders=FEWER, protocol="imagenet-hard", reading={"size": 64})  # fmt: skip


STUDIES: Mapping[str, Callable[[], Study]] = {
    "igds-digits": digits,
    "igds-mnist": mnist,
    "igds-mnist-latent": mnist_latent,
    "igds-imagenette": imagenette,
}
