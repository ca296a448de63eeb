"""Sampling a set: noise keyed by image, pieces, groups, and what comes out as a distilled set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from analytic import around, two_blobs
from infodistill.diffusion.contract import UNCONDITIONAL, Prediction
from infodistill.diffusion.features import Pooled
from infodistill.diffusion.guidance import Force, Route, exact, guide, surrogate
from infodistill.diffusion.model import DiffusionModel, signed_pixels
from infodistill.diffusion.models.adapters import adapted
from infodistill.diffusion.models.networks import build
from infodistill.diffusion.samplers import Frame, ddim, dpm_solver
from infodistill.diffusion.sampling import Plan, Sampled, Steer, distilled, plain, sample
from infodistill.diffusion.schedules import cosine_alphas_bar
from infodistill.information.mixtures import MixtureEntropy
from infodistill.information.set_decoder import SetDecoder
from infodistill.seeding import stream
from infodistill.types import Batch
from table import tiny_real

NAMES = ("a", "b", "c")
SHAPE = (1, 8, 8)
PAST = surrogate()
PLAN = Plan(ipc=4, steps=5, weight=1.5, limit=1.5)


def network(kind: str) -> DiffusionModel:
    """A real network with random weights (an untrained one predicts nothing, whatever it is fed)."""
    sizes = {
        "mlp": {"width": 48, "depth": 2},
        "dit": {"patch": 2, "heads": 2, "head_width": 8, "depth": 2},
        "unet": {"channels": [8, 16]},
    }
    module = build({"kind": kind, "shape": list(SHAPE), "classes": 3, **sizes[kind]})
    generator = stream(0, "weights")
    with torch.no_grad():
        for value in module.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    return adapted(module.requires_grad_(False), cosine_alphas_bar(), NAMES)


@pytest.fixture(scope="module")
def models() -> dict[str, DiffusionModel]:
    return {kind: network(kind) for kind in ("mlp", "dit", "unet")}


def real_batch() -> Batch:
    y = torch.arange(3).repeat_interleave(6)
    x = torch.randn(18, *SHAPE, generator=stream(0, "real")) * 0.5
    return Batch(x, y, torch.nn.functional.one_hot(y, 3).float(), signed_pixels(1))


def guidance(model: DiffusionModel, route: Route = PAST) -> Steer:
    forces = {
        "p": Force(SetDecoder(Pooled(4), 4.0, torch.randn(3, 2, 16, generator=stream(0, "centres"))), 1.0),
        "c": Force(MixtureEntropy(Pooled(4), 1.0), 0.2),
    }
    return lambda denoise: guide(
        denoise, forces, classes=3, space=model.latent_space(), real=lambda sigma: real_batch(), route=route
    )


STEERS: dict[str, Callable[[DiffusionModel], Steer]] = {
    "plain": lambda model: plain,
    "surrogate": guidance,
    "exact": lambda model: guidance(model, exact),
}


def images(groups: list[Sampled]) -> Tensor:
    return torch.cat([group.x for group in groups])


@pytest.mark.parametrize("steer", STEERS)
@pytest.mark.parametrize("kind", ["mlp", "dit"])
def test_samples_do_not_depend_on_pieces_or_company(models: dict[str, DiffusionModel], kind: str, steer: str) -> None:
    """To the bit at equal pieces and company, to 1e-4 across both."""
    model, how = models[kind], STEERS[steer](models[kind])

    def run(**changes: object) -> Tensor:
        return images(list(sample(model, replace(PLAN, **changes), how)))

    whole = run()
    assert torch.equal(whole, run())
    assert float(whole.std()) > 0.1 and float(whole.diff(dim=0).abs().amax((1, 2, 3)).min()) > 0.05
    for changes in ({"most": 5}, {"most": 1}, {"together": 1}, {"together": 2}, {"together": 1, "most": 3}):
        assert float((run(**changes) - whole).abs().max()) < 1e-4, changes
    assert float((run(seed=1) - whole).abs().max()) > 0.1


@pytest.mark.parametrize("steer", STEERS)
def test_finished_groups_need_not_be_sampled_again(models: dict[str, DiffusionModel], steer: str) -> None:
    model, how = models["mlp"], STEERS[steer](models["mlp"])
    plan = replace(PLAN, together=1)
    whole = list(sample(model, plan, how))
    assert [group.classes for group in whole] == [(0,), (1,), (2,)]
    for label in (2, 0, 1):  # in another order, each in a run of its own
        (alone,) = sample(model, plan, how, classes=[label])
        assert alone.classes == (label,) and torch.equal(alone.y, torch.full((4,), label))
        assert torch.equal(alone.x, whole[label].x) and torch.equal(alone.pixels, whole[label].pixels)


def test_more_images_leave_the_first_ones_as_they_are(models: dict[str, DiffusionModel]) -> None:
    few, many = (images(list(sample(models["mlp"], replace(PLAN, ipc=n)))).view(3, n, *SHAPE) for n in (2, 5))
    assert torch.allclose(few, many[:, :2], rtol=0, atol=1e-5)


@pytest.mark.parametrize("sampler", [ddim, dpm_solver])
def test_every_sampler_samples_every_network(models: dict[str, DiffusionModel], sampler: object) -> None:
    for model in models.values():
        (group,) = sample(model, replace(PLAN, sampler=sampler), guidance(model))
        assert group.x.shape == (12, *SHAPE) and bool(group.x.isfinite().all())
        assert group.y.tolist() == [0] * 4 + [1] * 4 + [2] * 4
        assert float(group.pixels.min()) >= 0 and float(group.pixels.max()) <= 1
        assert torch.equal(group.pixels, ((group.x + 1) / 2).clamp(0, 1))


def test_samples_of_a_known_law_are_of_their_class() -> None:
    (group,) = sample(two_blobs(), Plan(ipc=64, steps=200))
    values = group.x.flatten(1)
    assert torch.allclose(values[:64].mean(), torch.tensor(-0.5), atol=0.03)
    assert torch.allclose(values[64:].mean(), torch.tensor(0.5), atol=0.03)
    assert 0.08 < float(values[:64].std()) < 0.12


def test_the_network_is_asked_for_no_more_images_than_allowed_and_for_the_null_class_only_with_guidance() -> None:
    blobs, sizes, classes = two_blobs(), list[int](), set[int]()

    def spying(x: Tensor, sigma: Tensor, y: Tensor) -> Prediction:
        sizes.append(len(x))
        classes.update(y.tolist())
        return blobs.denoise(x, sigma, y)

    model = replace(blobs, denoise=spying)
    list(sample(model, Plan(ipc=5, steps=3, most=4)))
    assert max(sizes) == 4 and classes == {0, 1} and sum(sizes) == 30
    list(sample(model, Plan(ipc=5, steps=3, most=4, weight=2.0)))
    assert classes == {0, 1, UNCONDITIONAL} and sum(sizes) == 90


def test_a_guide_sees_whole_classes_after_clamping_whatever_the_pieces() -> None:
    seen = list[Tensor]()

    def spy(denoise):
        def looking(x: Tensor, sigma: Tensor, y: Tensor) -> Prediction:
            told = denoise(x, sigma, y)
            seen.append(told.x0)
            return told

        return looking

    list(sample(two_blobs(), Plan(ipc=6, steps=4, most=2, limit=0.45), spy))
    assert [len(x0) for x0 in seen] == [12] * 4
    assert float(torch.cat(seen).abs().max()) == pytest.approx(0.45)


def test_frames_are_shown_with_their_group() -> None:
    told = list[tuple[tuple[int, ...], Frame]]()
    plan = Plan(ipc=2, steps=3, together=1)
    groups = list(sample(two_blobs(), plan, on_frame=lambda group, frame: told.append((group, frame))))
    assert [(group, frame.step) for group, frame in told] == [((c,), k) for c in (0, 1) for k in (1, 2, 3)]
    assert torch.equal(told[2][1].x, groups[0].x)


def test_the_set_is_in_class_order_in_the_space_of_the_data() -> None:
    real = tiny_real(classes=3, per_class=4)
    model = around(real, per_class=2)
    groups = list(sample(model, Plan(ipc=2, steps=6, together=1), classes=[2, 0, 1]))
    found = distilled(groups, real, {"method": "plain"})
    assert found.y.tolist() == [0, 0, 1, 1, 2, 2] and found.class_names == real.class_names
    assert torch.allclose(real.space.to_pixels(found.images[:2]), groups[1].pixels, atol=1e-6)
    assert found.meta == {"data": "tiny", "fingerprint": real.fingerprint, "method": "plain"}
    with pytest.raises(ValueError, match=r"images of \(1, 2, 2\), the data has \(1, 8, 8\)"):
        distilled(list(sample(two_blobs(), Plan(1, steps=1))), real, {})


def test_mistakes_are_told_in_a_sentence() -> None:
    for changes in ({"ipc": 0}, {"steps": 0}, {"most": 0}, {"together": 0}):
        (name,) = changes
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            Plan(**({"ipc": 1} | changes))
    with pytest.raises(ValueError, match=r"classes must lie in 0\.\.1, got \[2\]"):
        list(sample(two_blobs(), Plan(1), classes=[2]))
    with pytest.raises(ValueError, match=r"classes must be distinct, .* got \[0, 1, 0\]"):
        next(sample(two_blobs(), Plan(1, together=1), classes=[0, 1, 0]))
    with pytest.raises(ValueError, match="no null class"):
        list(sample(replace(two_blobs(), null=False), Plan(1, weight=2.0)))
    with pytest.raises(ValueError, match=r"1\.\.1000 steps, got 1001"):
        list(sample(two_blobs(), Plan(1, steps=1001)))
