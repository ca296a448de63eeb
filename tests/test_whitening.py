"""ZCA whitening: the closed form, exact determinism, gradients through it, and refusal of any other one."""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from infodistill.compute import View
from infodistill.data import load_data
from infodistill.real import RealData
from infodistill.types import ValueSpace, convert
from infodistill.whitening import Whitening, fit_whitening, in_space, space_facts, space_from, whitened
from oracles import zca
from tiny_data import tiny_real
from toys import Affine

SHARED = os.environ.get("INFODISTILL_DATA")


def held(real: RealData) -> Whitening:
    whitening = real.space.whitening
    assert whitening is not None
    return whitening


def stored(whitening: Whitening) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in whitening.tensors().items()}


@pytest.fixture(scope="module")
def digits() -> RealData:
    return load_data("digits")


@pytest.mark.parametrize("eps", [0.1, 1e-3])
def test_digits_agree_with_the_oracle(digits: RealData, eps: float) -> None:
    mean, matrix, inverse, s = zca.fit(digits.images.numpy(), eps)
    white = whitened(digits, eps)
    fitted = held(white)
    assert np.abs(fitted.mean.numpy() - mean).max() < 1e-7
    assert np.abs(fitted.matrix.numpy() - matrix).max() < 2.0**-20 + 2.0**-24 * np.abs(matrix).max()
    assert np.abs(fitted.inverse.numpy() - inverse).max() < 1e-4
    x = white.rows(torch.arange(len(white))).x.double().flatten(1)
    values = torch.linalg.eigvalsh(x.T.cov()).numpy()[::-1]
    assert np.abs(values - s / (s + eps)).max() < 2e-5
    assert x.mean(0).abs().max() < 1e-5


def test_a_whitened_set_is_the_same_set_in_another_space(digits: RealData) -> None:
    white = whitened(digits)
    assert (white.space.mean, white.space.std) == ((0.0,), (1.0,)) and held(white).eps == 0.1
    assert digits.space.whitening is None and white.fingerprint == digits.fingerprint
    assert white.test is not None and white.test.space == white.space  # fitted on the training images alone
    assert "eps 0.1" in str(white.notes["space"]) and "1297" in str(white.notes["space"])
    batch, pixels = white.test.rows(torch.arange(40)), white.test.pixels(torch.arange(40)) / 255
    assert (white.space.to_pixels(batch.x) - pixels).abs().max() < 1e-5
    normalised = convert(batch.x, batch.space, digits.space)
    assert (normalised - digits.space.from_pixels(pixels)).abs().max() < 1e-4
    assert in_space(white, white.space) is white and in_space(white, digits.space).space == digits.space


def test_few_images_of_many_pixels(digits: RealData) -> None:
    few = tiny_real((4, 3, 2))  # 9 images of 192 values: the covariance has rank 8
    mean, matrix, _, s = zca.fit(few.images.numpy(), 0.1)
    white = whitened(few)
    assert np.abs(held(white).matrix.numpy() - matrix).max() < 2.0**-20 and (s > 1e-12).sum() == 8
    x = torch.linspace(-1, 2, 2 * 192, dtype=torch.float64).view(2, 3, 8, 8)
    expected = (x.flatten(1).numpy() - mean) @ matrix
    assert np.abs(held(white).apply(x).flatten(1).numpy() - expected).max() < 1e-4
    assert (held(white).invert(held(white).apply(x)) - x).abs().max() < 1e-12
    assert few.space.std == (0.2, 0.25, 0.3)


def test_the_same_images_give_the_same_digest(digits: RealData, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fit_whitening(digits)
    monkeypatch.setattr("infodistill.whitening.CHUNK_BYTES", 64 * 8 * 7)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = fit_whitening(digits.subset(torch.arange(len(digits)).flip(0)))
    finally:
        torch.set_num_threads(threads)
    assert again == first and hash(again) == hash(first) and torch.equal(again.matrix, first.matrix)
    assert first not in (fit_whitening(digits, 0.2), fit_whitening(digits.subset(torch.arange(900))), None)
    space = replace(whitened(digits).space)
    assert space == whitened(digits).space and first.digest in repr(space)
    assert copy.deepcopy(space).whitening is space.whitening


def test_gradients_go_through_both_ways() -> None:
    white = whitened(tiny_real()).space
    other = ValueSpace((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: convert(v, white, other).sin().sum(), x)
    assert torch.autograd.gradcheck(lambda v: convert(v, other, white).sin().sum(), x)
    assert torch.autograd.gradgradcheck(lambda v: convert(v, white, other).sin().sum(), x)


def test_a_view_trained_elsewhere_gives_the_gradient_of_the_whitened_images() -> None:
    real = tiny_real()
    white = whitened(real)
    batch = white.rows(torch.arange(6))
    view = View.own(Affine(real.shape, 3), space=real.space)
    x = batch.x.clone().requires_grad_()
    [found] = torch.autograd.grad(view.logits(x, white.space).softmax(1).square().sum(), x)
    mean, _, inverse, _ = (torch.from_numpy(part) for part in zca.fit(real.images.numpy(), 0.1))
    z = batch.x.double().requires_grad_()
    pixels = (z.flatten(1) @ inverse + mean).view_as(z)
    shift, scale = (torch.tensor(v, dtype=torch.float64).view(-1, 1, 1) for v in (real.space.mean, real.space.std))
    module = copy.deepcopy(view.module).double()
    [wanted] = torch.autograd.grad(module((pixels - shift) / scale).softmax(1).square().sum(), z)
    assert wanted.abs().max() > 1e-3
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_types_autocast_and_inference_mode_do_not_change_what_is_computed() -> None:
    white = held(whitened(tiny_real()))
    fresh = Whitening.from_tensors(stored(white), white.eps)
    x = torch.rand(3, 3, 8, 8)
    with torch.inference_mode():  # what is kept here must still be usable by autograd below
        first = fresh.apply(x)
    assert torch.equal(first, white.apply(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fresh.apply(x), first) and fresh.invert(x).dtype == torch.float32
    [gradient] = torch.autograd.grad(fresh.apply(x.requires_grad_()).sum(), x)
    assert gradient.isfinite().all()
    half = fresh.apply(x.detach().bfloat16())
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, fresh.apply(x.detach().bfloat16().float()).bfloat16())


@pytest.mark.parametrize(
    ("shape", "message"),
    [((2, 3, 8, 7), r"\(n, \*\(3, 8, 8\)\), got \(2, 3, 8, 7\)"), ((2, 3, 4, 16), r"got \(2, 3, 4, 16\)")],
)
def test_images_of_another_shape_are_refused(shape: tuple[int, ...], message: str) -> None:
    white = held(whitened(tiny_real()))
    for change in (white.apply, white.invert):
        with pytest.raises(ValueError, match=message):
            change(torch.zeros(shape))


def test_facts_and_tensors_rebuild_the_space() -> None:
    space = whitened(tiny_real()).space
    assert space.whitening is not None
    facts, tensors = space_facts(space), stored(space.whitening)
    assert space_from(facts, tensors) == space and space_from(facts, space.whitening) == space
    plain = ValueSpace((0.5,), (0.25,))
    assert space_facts(plain) == {"mean": [0.5], "std": [0.25]} and space_from(space_facts(plain), None) == plain
    assert space_from(space_facts(plain), space.whitening) == plain  # a plain network may look at whitened data
    with pytest.raises(ValueError, match="'mean' of their whitening is missing"):
        space_from(facts, None)
    with pytest.raises(ValueError, match="'matrix' of their whitening is missing"):
        space_from(facts, {"mean": tensors["mean"]})
    with pytest.raises(ValueError, match="only the very same one"):
        space_from(facts, fit_whitening(tiny_real(), 0.2))
    with pytest.raises(ValueError, match="only the very same one"):
        space_from(facts, {**tensors, "mean": tensors["mean"] + 1e-3})
    with pytest.raises(ValueError, match="does not say that images are whitened"):
        space_from(space_facts(plain), tensors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": torch.zeros(5)}, r"needs a mean \(4,\) and a matrix \(4, 4\): \(5,\)"),
        ({"matrix": torch.eye(4).double()}, "float32 matrix"),
        ({"eps": 0.0}, "eps > 0"),
        ({"mean": torch.full((4,), torch.nan)}, "finite"),
        ({"matrix": torch.ones(4, 4).triu()}, "transpose"),
    ],
)
def test_contradictory_whitenings_are_refused(change: dict[str, object], message: str) -> None:
    parts: dict[str, object] = {"mean": torch.zeros(4), "matrix": torch.eye(4), "eps": 0.1, "shape": (1, 2, 2)}
    with pytest.raises(ValueError, match=message):
        Whitening(**(parts | change))  # type: ignore[arg-type]


def test_what_cannot_be_fitted_or_inverted_is_refused() -> None:
    real = tiny_real()
    with pytest.raises(ValueError, match="eps > 0"):
        fit_whitening(real, 0.0)
    with pytest.raises(ValueError, match="at least 2 images"):
        fit_whitening(real.subset(torch.arange(1)))
    with pytest.raises(ValueError, match="at most 12288 values, those of tiny have 14700"):
        fit_whitening(tiny_real((2, 2, 2), side=70))
    with pytest.raises(ValueError, match="not positive definite"):
        Whitening(torch.zeros(4), torch.ones(4, 4), 0.1, (1, 2, 2)).invert(torch.zeros(1, 1, 2, 2))


@pytest.mark.slow
@pytest.mark.skipif(SHARED is None, reason="INFODISTILL_DATA is not set")
def test_cifar_images() -> None:
    few = load_data(Path(str(SHARED)) / "cifar10-jpeg").subset(torch.arange(500))
    _, matrix, _, s = zca.fit(few.images.numpy(), 0.1)
    white = whitened(few)
    batch = white.rows(torch.arange(500))
    assert np.abs(held(white).matrix.numpy() - matrix).max() < 2.0**-20
    centred = batch.x.double().flatten(1)
    values = torch.linalg.svdvals(centred - centred.mean(0)).square() / 499
    assert np.abs(values.numpy() - (s / (s + 0.1))[:500]).max() < 2e-5
    assert (white.space.to_pixels(batch.x) - few.images / 255).abs().max() < 1e-4
