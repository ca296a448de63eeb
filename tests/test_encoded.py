"""Real images as a diffusion model sees them: encoded once, kept in a cache, drawn by key; and pooled features."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from analytic import around, model_of, two_blobs
from infodistill.diffusion.encoded import PIECE, Encoded, encode
from infodistill.diffusion.features import Pooled
from infodistill.diffusion.model import DiffusionModel
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.types import ValueSpace
from table import tiny_real

COUNTS = (3, 9, 5)


def encoded() -> Encoded:
    y = torch.arange(3).repeat_interleave(torch.tensor(COUNTS))[torch.randperm(17, generator=stream(0, "order"))]
    x = torch.arange(17.0).view(-1, 1, 1, 1).expand(-1, 1, 2, 2) + 100 * y.view(-1, 1, 1, 1)
    return Encoded(x.contiguous(), y, ValueSpace((0.0,), (1.0,)), ("a", "b", "c"))


@dataclass(frozen=True)
class Halved:
    """A codec with another shape, which counts what it is shown."""

    scale: float = 1.0
    shown: list[int] = field(default_factory=list)

    def encode(self, pixels: Tensor) -> Tensor:
        self.shown.append(len(pixels))
        return self.scale * torch.nn.functional.avg_pool2d(2 * pixels - 1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        return (torch.nn.functional.interpolate(latents / self.scale, scale_factor=2) + 1) / 2


def latent_model(real: RealData, scale: float = 1.0) -> tuple[DiffusionModel, Halved]:
    codec = Halved(scale)
    blobs = model_of(two_blobs().denoise, real.class_names)  # type: ignore[arg-type]
    return replace(blobs, codec=codec, shape=(1, 4, 4), space=None), codec


def test_the_images_in_the_scale_of_the_model() -> None:
    real = tiny_real(per_class=5)
    found = encode(around(real, 2), real)
    assert torch.allclose(found.x, real.images.float() / 127.5 - 1, atol=1e-6) and found.x.dtype == torch.float32
    assert torch.equal(found.y, real.labels) and found.class_names == real.class_names and len(found) == 15
    assert torch.allclose(found.space.to_pixels(found.x) * 255, real.images.float(), atol=1e-4)


def test_latents_have_a_space_that_converts_nothing() -> None:
    real = tiny_real(per_class=5)
    model, _ = latent_model(real)
    found = encode(model, real)
    assert found.x.shape == (15, 1, 4, 4) and found.space == ValueSpace((0.0,), (1.0,))
    assert torch.equal(found.space.to_pixels(found.x), found.x)


def test_the_cache_is_met_again_and_by_nothing_else(tmp_path: Path) -> None:
    real = tiny_real(per_class=(PIECE // 3) + 20)
    model, codec = latent_model(real)
    first = encode(model, real, tmp_path)
    assert sum(codec.shown) == len(real) + 8 and max(codec.shown) <= PIECE
    codec.shown.clear()
    again = encode(model, real, tmp_path)
    assert codec.shown == [8] and torch.equal(first.x, again.x)  # a probe and nothing more
    assert torch.equal(first.x, encode(model, real).x)
    other, wide = latent_model(real, 1.01)
    assert not torch.equal(encode(other, real, tmp_path).x, first.x) and sum(wide.shown) == len(real) + 8
    shown = real.subset(torch.arange(len(real)).flip(0))
    codec.shown.clear()
    assert torch.equal(encode(model, shown, tmp_path).x, first.x.flip(0)) and sum(codec.shown) == len(real) + 8
    assert (
        len(list(tmp_path.rglob("*"))) == 4 and len(list(tmp_path.rglob("*.safetensors"))) == 3
    )  # nothing half written


def test_a_model_of_other_classes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the model samples 2 classes \(class 0, class 1\), the data has 3 classes"):
        encode(two_blobs(), tiny_real())


def test_a_minibatch_is_balanced_class_major_and_keyed_by_the_noise_level() -> None:
    data = encoded()
    draw = data.minibatch(3, seed=1)
    batch = draw(0.7)
    assert batch.y.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert torch.equal(batch.target.argmax(1), batch.y) and batch.space == data.space and batch.noise is None
    assert torch.equal((batch.x[:, 0, 0, 0] / 100).floor().long(), batch.y)
    assert len(batch.x[:, 0, 0, 0].unique()) == 9  # without replacement
    assert torch.equal(draw(0.7).x, batch.x) and torch.equal(data.minibatch(3, seed=1)(0.7).x, batch.x)
    others = [draw(0.7000001), draw(0.0), draw(1e9), data.minibatch(3, seed=2)(0.7)]
    assert all(not torch.equal(other.x, batch.x) for other in others)
    levels = torch.linspace(0.01, 3, 400)
    every = torch.cat([draw(float(level)).x[3:6, 0, 0, 0] for level in levels])
    counts = every.unique(return_counts=True)[1].double() / 400
    assert len(counts) == 9 and float((counts - 3 / 9).abs().max()) < 0.1  # every image of the class, equally often


def test_small_classes_are_there_whole() -> None:
    data = encoded()
    whole = data.minibatch(None)(0.5)
    assert whole.y.tolist() == [0] * 3 + [1] * 9 + [2] * 5 and data.minibatch(None)(7.0).x is not None
    some = data.minibatch(4)(0.5)
    assert some.y.bincount().tolist() == [3, 4, 4]
    assert torch.equal(some.x[:3].flatten().sort().values, whole.x[:3].flatten().sort().values)
    for draw in (data.minibatch(None), data.minibatch(9)):  # nothing to draw: one batch, whatever the level
        assert torch.equal(draw(0.5).x, whole.x) and draw(0.5) is draw(0.6)


def test_rows_members_and_variance() -> None:
    data = encoded()
    assert [len(rows) for rows in data.members] == list(COUNTS)
    assert all(bool((data.y[rows] == label).all()) for label, rows in enumerate(data.members))
    batch = data.rows(torch.tensor([4, 0]))
    assert torch.equal(batch.x, data.x[[4, 0]]) and torch.equal(batch.y, data.y[[4, 0]])
    x = torch.randn(4000, 1, 2, 2, generator=stream(0, "spread")) * 0.5 + torch.tensor([[0.0, 3.0], [-2.0, 9.0]])
    wide = Encoded(x, torch.zeros(4000, dtype=torch.int64), data.space, ("a",))
    assert wide.variance == pytest.approx(0.25, rel=0.03)  # about the mean of every entry, not of all
    assert wide.variance == pytest.approx(float((x - x.mean(0)).square().mean()), rel=1e-5)


def test_pooled_features_are_averages_of_at_most_so_many_cells() -> None:
    x = torch.randn(3, 2, 32, 32, generator=stream(0, "x"))
    found = Pooled()(x)
    assert found.shape == (3, 128)
    assert torch.allclose(found.view(3, 2, 8, 8)[:, :, 1, 2], x[:, :, 4:8, 8:12].mean((2, 3)), atol=1e-6)
    assert torch.equal(Pooled()(x[:, :, :8, :8]), x[:, :, :8, :8].flatten(1))  # small maps are kept
    assert Pooled(4)(x[:, :, :7, :3]).shape == (3, 2 * 4 * 3)
    assert Pooled()(torch.zeros(2, 1, 28, 28)).shape == (2, 64)
