"""The real images as a diffusion model sees them: encoded once, kept, handed to guides in keyed balanced batches."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import one_hot

from infodistill.diffusion.model import DiffusionModel
from infodistill.files import write_atomically
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.types import Batch, ValueSpace

PIECE = 256
"""Images encoded at a time."""


@dataclass(frozen=True)
class Encoded:
    """Real images as they are denoised: x (N, c, h, w) float32 in `space`, y (N,) int64, the classes by name."""

    x: Tensor
    y: Tensor
    space: ValueSpace
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.y)

    @cached_property
    def members(self) -> tuple[Tensor, ...]:
        """The rows of every class, ascending, int64 on the CPU."""
        y = self.y.cpu()
        return y.argsort(stable=True).split(torch.bincount(y, minlength=len(self.class_names)).tolist())

    @cached_property
    def variance(self) -> float:
        """Mean variance of an entry over all images: s0^2 of the white Gaussian that looks most like them."""
        return float(self.x.double().var(0, correction=0).mean())

    def rows(self, index: Tensor) -> Batch:
        """Images `index` as a batch, on the device they lie on."""
        index = index.to(self.y.device)
        y = self.y[index]
        return Batch(self.x[index], y, one_hot(y, len(self.class_names)).to(self.x.dtype), self.space)

    def minibatch(self, per_class: int | None = None, seed: int = 0) -> Callable[[float], Batch]:
        """real(sigma): `per_class` images of every class, class-major, drawn without replacement and keyed by sigma.

        A class of no more than that many images is there whole. None takes all images, always; that is one batch, the
        same object at every sigma, and so it is where no class has more than `per_class`.
        """
        if per_class is None or max(map(len, self.members)) <= per_class:
            whole = self.rows(torch.cat(self.members))
            return lambda sigma: whole

        def drawn(sigma: float) -> Batch:
            key = int.from_bytes(struct.pack("<d", sigma), "little") >> 1
            rows = [
                members[torch.randperm(len(members), generator=stream(seed, "guide.real", key, label))[:per_class]]
                for label, members in enumerate(self.members)
            ]
            return self.rows(torch.cat(rows))

        return drawn

    def to(self, device: torch.device | str) -> Encoded:
        return Encoded(self.x.to(device), self.y.to(device), self.space, self.class_names)


@torch.no_grad()
def encode(model: DiffusionModel, real: RealData, cache: Path | None = None) -> Encoded:
    """All images of `real` through the codec of `model`, on its device; kept in `cache` (a folder) where one is given.

    The cache is keyed by the data and by what the codec makes of eight of its images, so another codec never meets it.

    Raises:
        ValueError: the classes of the model are not those of the data.
    """
    if tuple(real.class_names) != model.class_names:
        raise ValueError(f"the model samples {_few(model.class_names)}, the data has {_few(real.class_names)}")
    probe = _piece(model, real, torch.arange(min(8, len(real))))
    path = None if cache is None else cache / "latents" / f"{real.fingerprint[:20]}-{_digest(probe)}.safetensors"
    if path is not None and path.is_file():
        x = load_file(path)["x"]
    else:
        x = torch.cat([_piece(model, real, index) for index in torch.arange(len(real)).split(PIECE)])
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, lambda partial: save_file({"x": x}, partial))
    return Encoded(x, real.labels.cpu(), model.latent_space(), model.class_names).to(model.device)


def _piece(model: DiffusionModel, real: RealData, index: Tensor) -> Tensor:
    pixels = real.pixels(index).to(model.device).float() / 255
    return model.codec.encode(pixels).float().cpu().contiguous()


def _digest(x: Tensor) -> str:
    import hashlib

    return hashlib.blake2b((x * 1e3).round().int().numpy().tobytes(), digest_size=8).hexdigest()


def _few(names: tuple[str, ...]) -> str:
    return f"{len(names)} classes ({', '.join(names[:4])}{', …' if len(names) > 4 else ''})"
