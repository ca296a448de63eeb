"""What a generator is trained with: networks, losses and loops, with defaults by the size of the images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, cast

from infodistill.diffusion.fitting.autoencoder_training import AutoencoderFit
from infodistill.diffusion.fitting.denoiser_training import DenoiserFit
from infodistill.diffusion.fitting.generative_fit import GenerativeFit
from infodistill.diffusion.models.autoencoder import autoencoder_config, latent_shape
from infodistill.diffusion.models.networks import KINDS, default_config
from infodistill.diffusion.running.plain_values import check_values, whole
from infodistill.real import RealData

PIXEL_SIDE = 32
"""Images of at most this side are denoised as pixels, larger ones as latents, unless told otherwise."""

AUTOENCODER_SHARE = 0.35
"""Of a budget in minutes, when there is an autoencoder to train first."""

TINY, SMALL = 256, 1024
"""Values of an image: up to TINY a residual MLP is the default; up to SMALL a UNet is narrow."""

USUAL: Mapping[str, Mapping[str, Any]] = {
    "mlp": {"steps": 2500, "lr": 1e-3, "batch": 128},
    "unet": {"steps": 5000, "lr": 1e-3, "batch": 32},
    "dit": {"steps": 10_000, "lr": 5e-4, "batch": 64},
}
"""By the kind of network."""

VALIDATIONS = 20
"""Of one training, evenly spaced."""


@dataclass(frozen=True)
class GeneratorPlan:
    """Everything that determines a generator besides the data. `autoencoder` and `encoding` come both or neither.

    Attributes:
        network: the record of the denoiser, see `networks.build`.
        denoising: how it is trained.
        autoencoder: the record of the autoencoder, see `autoencoder.build_autoencoder`; None for pixels.
        encoding: how that is trained.
    """

    network: Mapping[str, Any]
    denoising: DenoiserFit
    autoencoder: Mapping[str, Any] | None = None
    encoding: AutoencoderFit | None = None

    @property
    def name(self) -> str:
        """`pixels` or `latents`, and the kind of network: how a cache tells generators of one data set apart."""
        return f"{'pixels' if self.autoencoder is None else 'latents'}-{self.network['kind']}"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` is the inverse."""
        encoding = None if self.encoding is None else {**asdict(self.encoding), "fit": self.encoding.fit.as_dict()}
        return {
            "network": dict(self.network),
            "denoising": {**asdict(self.denoising), "fit": self.denoising.fit.as_dict()},
            "autoencoder": None if self.autoencoder is None else dict(self.autoencoder),
            "encoding": encoding,
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> GeneratorPlan:
        """Rebuild a stored plan."""
        denoising, encoding = _looped(told["denoising"]), told["encoding"]
        fit = None if encoding is None else AutoencoderFit(**_looped(encoding))
        return cls(told["network"], DenoiserFit(**denoising), told["autoencoder"], fit)

    def within(self, minutes: float, step_seconds: Mapping[str, float], *, steps: bool) -> GeneratorPlan:
        """The plan for a budget: as many steps as fit at these speeds (unless `steps` are given), and a hard stop."""
        share = AUTOENCODER_SHARE if self.encoding is not None else 0.0
        denoising = _within(self.denoising.fit, (1 - share) * minutes, step_seconds.get("denoiser", 1.0), steps=steps)
        plan = replace(self, denoising=replace(self.denoising, fit=denoising))
        if self.encoding is None:
            return plan
        encoding = _within(self.encoding.fit, share * minutes, step_seconds.get("autoencoder", 1.0), steps=steps)
        return replace(plan, encoding=replace(self.encoding, fit=encoding))


def planned(
    real: RealData,
    *,
    kind: str | None = None,
    latent: bool | None = None,
    settings: Mapping[str, Any] | None = None,
    precision: str = "float32",
    seed: int = 0,
) -> GeneratorPlan:
    """The plan for some data: the defaults of its image size, changed by `settings`.

    Settings are fields of `DenoiserFit` and `GenerativeFit` by name (batch, drop, steps, lr, ema, ...), those of the
    denoising network behind `network.` and those of the autoencoder (its record's, its loss's and its loop's) behind
    `autoencoder.`.

    Raises:
        ValueError: an unknown setting or kind, or images that no network fits.
    """
    asked = dict(settings or {})
    if kind is not None and kind not in KINDS:
        raise ValueError(f"a network's kind is one of {', '.join(KINDS)}, got {kind!r}")
    latent = max(real.shape[1:]) > PIXEL_SIDE if latent is None else latent
    of_network, of_autoencoder = _sizes(_taken(asked, "network.")), _taken(asked, "autoencoder.")
    if of_autoencoder and not latent:
        raise ValueError(f"autoencoder.{next(iter(of_autoencoder))} was set, but pixels have no autoencoder: --latent")
    autoencoder = encoding = None
    if latent:
        autoencoder, encoding = _encoding(real, of_autoencoder, precision, seed)
    shape = real.shape if autoencoder is None else latent_shape(autoencoder)
    network = {**_network(shape, real.num_classes, kind or (None if latent else _pixel_kind(shape))), **of_network}
    fit, rest = _fit({**USUAL[network["kind"]], "precision": precision, **asked})
    return GeneratorPlan(network, _made(DenoiserFit, {"fit": fit, "seed": seed, **rest}), autoencoder, encoding)


def _looped(told: Mapping[str, Any]) -> dict[str, Any]:
    return {**told, "fit": GenerativeFit.from_dict(told["fit"])}


def _network(shape: tuple[int, int, int], classes: int, kind: str | None) -> dict[str, Any]:
    """The default record, or that of the kind asked for."""
    if kind is None:
        return default_config(shape, classes)
    asked: dict[str, Any] = {"kind": kind, "shape": list(shape), "classes": classes}
    if kind == "unet":
        return {**asked, "channels": [16, 32, 64] if math.prod(shape) <= SMALL else [32, 64, 64]}
    if kind != "dit":
        return asked
    patch = next((p for p in range(1, shape[1] + 1) if shape[1] % p == 0 and (shape[1] // p) ** 2 <= 64), shape[1])
    return {**asked, "patch": patch}


def _pixel_kind(shape: tuple[int, int, int]) -> str | None:
    """A UNet for pixels that it divides: on MNIST 80 s of one core bring it further than 190 s a DiT (.154, .201)."""
    fits = math.prod(shape) > TINY and shape[1] % 4 == 0 and shape[2] % 4 == 0
    return "unet" if fits else None


def _encoding(
    real: RealData, asked: Mapping[str, Any], precision: str, seed: int
) -> tuple[dict[str, Any], AutoencoderFit]:
    sizes = {name: value for name, value in asked.items() if name in ("latents", "width")}
    _sizes(sizes, "autoencoder.")
    rest = {name: value for name, value in asked.items() if name not in sizes}
    fit, others = _fit({"steps": 3000, "lr": 1e-3, "batch": 64, "precision": precision, **rest})
    return autoencoder_config(real.shape, **sizes), _made(AutoencoderFit, {"fit": fit, "seed": seed, **others})


def _fit(asked: Mapping[str, Any]) -> tuple[GenerativeFit, dict[str, Any]]:
    """The loop's settings, with the defaults that follow from the number of steps, and what is left over."""
    known = {field.name for field in fields(GenerativeFit)}
    mine = {name: value for name, value in asked.items() if name in known}
    rest = {name: value for name, value in asked.items() if name not in known}
    check_values(GenerativeFit, mine, "--set ")
    betas: Any = mine.get("betas", (0.9, 0.999))
    pair = list(betas) if isinstance(betas, list | tuple) else []
    if len(pair) != 2 or not all(type(one) in (int, float) and 0 <= one < 1 for one in pair):
        raise ValueError(f"--set betas wants two numbers in [0, 1), got {betas!r}")
    steps = int(mine["steps"])
    told = {**GenerativeFit(steps).as_dict(), **_paced(steps), **mine}
    return GenerativeFit.from_dict(told), rest


def _paced(steps: int) -> dict[str, Any]:
    """What follows from the number of steps: a tenth of them is averaged over, a twentieth lies between validations."""
    return {
        "ema": round(min(max(1 - 10 / max(steps, 1), 0.9), 0.9999), 6),
        "validate_every": max(steps // VALIDATIONS, 1),
        "warmup": min(100, steps // 10),
        "report": max(min(50, steps // 10), 1),
    }


def _within(fit: GenerativeFit, minutes: float, seconds: float, *, steps: bool) -> GenerativeFit:
    if steps:
        return replace(fit, minutes=minutes)
    count = max(math.floor(0.85 * 60 * minutes / seconds), 20)  # validations and sample grids take the rest
    before, now = _paced(fit.steps), _paced(count)
    paced = {name: value for name, value in now.items() if getattr(fit, name) == before[name]}
    return replace(fit, minutes=minutes, steps=count, **paced)


def _taken(asked: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Take the settings with this prefix out of `asked`."""
    names = [name for name in asked if name.startswith(prefix)]
    return {name.removeprefix(prefix): asked.pop(name) for name in names}


def _sizes(asked: dict[str, Any], prefix: str = "network.") -> dict[str, Any]:
    """The settings of a network, which are whole numbers from 1 or lists of them; the data and --kind say the rest."""
    for name, value in asked.items():
        if name in ("kind", "shape", "classes"):
            raise ValueError(f"{prefix}{name} is not to be set: {'--kind' if name == 'kind' else 'the data'} says it")
        parts: list[Any] = cast("list[Any]", value) if isinstance(value, list) and value else [value]
        if not all(whole(part, 1) for part in parts):
            raise ValueError(f"{prefix}{name} wants whole numbers of at least 1, got {value!r}")
    return asked


def _made(record: Any, values: Mapping[str, Any]) -> Any:
    known = {field.name for field in fields(record)}
    if unknown := sorted(set(values) - known):
        names = sorted((known | {field.name for field in fields(GenerativeFit)}) - {"fit"})
        raise ValueError(f"unknown setting {unknown[0]!r}; known: {', '.join(names)}, network.*, autoencoder.*")
    check_values(record, values, "--set ")
    return record(**values)
