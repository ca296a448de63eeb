"""ZCA whitening as part of a value space: fitted once on training images, stored, inverted, refused where it differs.

With pixels x in [0, 1] flattened to d = c h w, mu their mean and U diag(S) U^T their covariance over the N training
images (divided by N - 1): z = (x - mu) W, W = U diag(1 / sqrt(S + eps)) U^T, so that the covariance of z has the
eigenvalues s / (s + eps). The trajectory methods (MTT, TESLA, FTD, DATM) whiten CIFAR with eps = 0.1.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from infodistill.real import RealData
from infodistill.types import ValueSpace, pixel_space

MOST_VALUES = 3 * 64 * 64
"""Values of an image above which nothing is fitted: at 3x64x64 a float64 matrix takes 1.2 GB (our choice)."""

GRID = 2.0**20
"""Fitted matrices are rounded to multiples of 1 / GRID, see `fit_whitening`."""

CHUNK_BYTES = 64 * 2**20
Tensors = Mapping[str, Tensor]


def zca(covariance: Float[Tensor, "d d"], eps: float) -> Float[Tensor, "d d"]:
    """W = U diag(1 / sqrt(S + eps)) U^T of a covariance U diag(S) U^T; symmetric, in the dtype given."""
    values, vectors = torch.linalg.eigh(covariance)
    half = vectors * (values.clamp_min(0) + eps).pow(-0.25)  # W = half half^T is symmetric to the last bit or close
    matrix = half @ half.T
    return (matrix + matrix.T) / 2


@dataclass(frozen=True, eq=False, repr=False)
class Whitening:
    """z = (x - mean) matrix on flattened images, and its inverse. Never changed; two are equal if their digests are.

    Args:
        mean: (d,) float32.
        matrix: (d, d) float32, symmetric positive definite.
        eps: what was added to the eigenvalues of the covariance, > 0; it is already in `matrix`.
        shape: (c, h, w) of the images it is for, with c h w = d.

    Raises:
        ValueError: the tensors are not float32, not finite, not symmetric or do not fit each other and the shape.
    """

    mean: Tensor
    matrix: Tensor
    eps: float
    shape: tuple[int, int, int]
    _held: dict[tuple[str, torch.device, torch.dtype], Tensor] = field(
        default_factory=dict[tuple[str, torch.device, torch.dtype], Tensor], init=False
    )

    def __post_init__(self) -> None:
        d = math.prod(self.shape)
        if self.mean.shape != (d,) or self.matrix.shape != (d, d):
            seen = f"{tuple(self.mean.shape)} and {tuple(self.matrix.shape)}"
            raise ValueError(
                f"whitening images of shape {self.shape} needs a mean {(d,)} and a matrix {(d, d)}: {seen}"
            )
        if {self.mean.dtype, self.matrix.dtype} != {torch.float32} or self.eps <= 0:
            types = f"{self.mean.dtype}, {self.matrix.dtype} and {self.eps}"
            raise ValueError(f"a whitening has a float32 mean, a float32 matrix and eps > 0, got {types}")
        if not (torch.isfinite(self.mean).all() and torch.isfinite(self.matrix).all()):
            raise ValueError("the whitening holds values that are not finite numbers")
        if not torch.equal(self.matrix, self.matrix.T):
            raise ValueError("the matrix of a ZCA whitening must equal its transpose, this one does not")

    def apply(self, x: Tensor) -> Tensor:
        """(n, c, h, w) of any float type to the same shape, type and device; differentiable any number of times.

        Computed in float32 or better whatever the type and whatever autocast says. The last bits of a row may depend
        on how many rows are whitened at once, as in every matrix product.
        """
        flat = self._flat(x)
        with torch.autocast(x.device.type, enabled=False):
            z = (flat - self._like("mean", flat)) @ self._like("matrix", flat)
        return z.view(x.shape).to(x.dtype)

    def invert(self, z: Tensor) -> Tensor:
        """The inverse of `apply`, z matrix^-1 + mean, with the same promises."""
        flat = self._flat(z)
        with torch.autocast(z.device.type, enabled=False):
            x = flat @ self._like("inverse", flat) + self._like("mean", flat)
        return x.view(z.shape).to(z.dtype)

    @cached_property
    def inverse(self) -> Tensor:
        """(d, d) float64: the inverse of the very matrix that is applied; computed once, when first asked for."""
        factor, failed = torch.linalg.cholesky_ex(self.matrix.double())
        if int(failed):
            raise ValueError("the matrix of the whitening cannot be inverted: it is not positive definite")
        return torch.cholesky_inverse(factor)

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) over shape, eps, mean and matrix; the same on every machine and device."""
        told = hashlib.sha256(repr((self.shape, self.eps)).encode())
        for tensor in (self.mean, self.matrix):
            told.update(tensor.detach().cpu().contiguous().numpy().astype("<f4", copy=False).data)
        return told.hexdigest()

    def tensors(self) -> dict[str, Tensor]:
        """What has to be stored beside `eps`: `mean` (c, h, w) and `matrix` (d, d)."""
        return {"mean": self.mean.view(self.shape), "matrix": self.matrix}

    @classmethod
    def from_tensors(cls, tensors: Tensors, eps: float) -> Whitening:
        """Rebuild from `tensors()`; ValueError where they are not there or do not fit each other."""
        if missing := [name for name in ("mean", "matrix") if name not in tensors]:
            raise ValueError(f"the images are whitened, but the tensor {missing[0]!r} of their whitening is missing")
        mean = tensors["mean"]
        if mean.dim() != 3:
            raise ValueError(f"the mean of a stored whitening must be (c, h, w), got {tuple(mean.shape)}")
        channels, height, width = mean.shape
        return cls(mean.flatten(), tensors["matrix"], eps, (channels, height, width))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Whitening) and self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Whitening(eps={self.eps:g}, digest={self.digest})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Whitening:
        return self  # nothing here changes, and the matrix of CIFAR takes 38 MB

    def _flat(self, x: Tensor) -> Tensor:
        if x.dim() != 4 or tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"this whitening is for images (n, *{self.shape}), got {tuple(x.shape)}")
        return x.flatten(1).to(torch.promote_types(x.dtype, torch.float32))

    def _like(self, name: str, x: Tensor) -> Tensor:
        key = (name, x.device, x.dtype)
        if key not in self._held:
            with torch.inference_mode(False), torch.no_grad():
                self._held[key] = getattr(self, name).to(x.device, x.dtype)
        return self._held[key]


def fit_whitening(real: RealData, eps: float = 0.1) -> Whitening:
    """The ZCA whitening of the pixels of `real` in [0, 1], whatever space it delivers batches in.

    Sums of uint8 products are exact in float64, so the covariance does not depend on chunks, threads or machine; what
    the eigenvectors leave uncertain (about 1e-15) is rounded away, to multiples of 2^-20. Equal data therefore gives
    an equal digest, but for rare ties. The rounding is our choice; the inverse is that of the rounded matrix.

    Raises:
        ValueError: fewer than two images, eps not positive, or images of more than `MOST_VALUES` values.
    """
    n, d = len(real), math.prod(real.shape)
    if n < 2 or not eps > 0:
        raise ValueError(f"a whitening is fitted on at least 2 images with eps > 0, got {n} images and eps {eps}")
    if d > MOST_VALUES:
        raise ValueError(f"whitening is for images of at most {MOST_VALUES} values, those of {real.name} have {d}")
    total, products = _sums(real, d)
    covariance = (products * n - total.outer(total)) / (255.0**2 * n * (n - 1))
    matrix = (zca(covariance, eps) * GRID).round() / GRID + 0.0  # no -0.0, whose bytes are not those of 0.0
    return Whitening((total / (255.0 * n)).float(), matrix.float(), float(eps), real.shape)


def _sums(real: RealData, d: int) -> tuple[Tensor, Tensor]:
    """Exact sums over all images of x (d,) and x x^T (d, d) for uint8 values x, on the CPU."""
    total = torch.zeros(d, dtype=torch.float64)
    products = torch.zeros(d, d, dtype=torch.float64)
    for index in torch.arange(len(real)).split(max(1, CHUNK_BYTES // (8 * d))):
        x = real.pixels(index).cpu().flatten(1).double()
        total += x.sum(0)
        products.addmm_(x.T, x)
    return total, products


def whitened(real: RealData, eps: float = 0.1) -> RealData:
    """The same data, and its `.test`, delivered whitened: mean 0 and std 1 (as published), fitted on `real` alone."""
    space = replace(pixel_space(real.shape[0]), whitening=fit_whitening(real, eps))
    fitted = f"[0, 1] pixels, ZCA-whitened with eps {eps:g}, fitted on {len(real)} images"
    return in_space(real, space, {"space": fitted})


def in_space(real: RealData, space: ValueSpace, notes: Mapping[str, Any] | None = None) -> RealData:
    """The same data, and its `.test`, delivered in another value space; itself where it is."""
    if real.space == space:
        return real
    test = None if real.test is None else in_space(real.test, space, notes)
    moved = real.replace(space=space, test=test, notes={**real.notes, **(notes or {})})
    if "fingerprint" in real.__dict__:  # it does not depend on the space
        moved.__dict__["fingerprint"] = real.fingerprint
    return moved


def space_facts(space: ValueSpace) -> dict[str, Any]:
    """What a manifest says of a value space; a whitening by eps and digest, its tensors are stored elsewhere."""
    facts: dict[str, Any] = {"mean": list(space.mean), "std": list(space.std)}
    if space.whitening is not None:
        facts["whitening"] = {"eps": space.whitening.eps, "digest": space.whitening.digest}
    return facts


def space_from(facts: Mapping[str, Any], whitening: Whitening | Tensors | None) -> ValueSpace:
    """The value space of `space_facts`, with the whitening (or its stored tensors) at hand.

    Raises:
        ValueError: the facts name a whitening and another one, or none, is at hand; or tensors no fact speaks of.
    """
    mean, std = tuple(facts["mean"]), tuple(facts["std"])
    told: Mapping[str, Any] | None = facts.get("whitening")
    if told is None:
        if whitening and not isinstance(whitening, Whitening):
            raise ValueError("there are tensors of a whitening, but the manifest does not say that images are whitened")
        return ValueSpace(mean, std)
    if not isinstance(whitening, Whitening):
        whitening = Whitening.from_tensors(whitening or {}, told["eps"])
    if whitening.digest != told["digest"]:
        raise ValueError(
            f"the images are whitened with eps {told['eps']:g} and digest {told['digest'][:12]}…, the whitening at "
            f"hand has eps {whitening.eps:g} and digest {whitening.digest[:12]}…: only the very same one can be used"
        )
    return ValueSpace(mean, std, whitening)
