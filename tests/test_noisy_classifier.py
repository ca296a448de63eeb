"""P1's classifier: its bound is one, at every noise level, and the cache gives it back."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from infodistill.diffusion.fitting.generative_fit import GenerativeFit
from infodistill.diffusion.fitting.noisy_classifier import (
    ClassifierFit,
    bounds,
    noise_aware_classifier,
    stored_report,
    train_noisy_classifier,
)
from infodistill.diffusion.fitting.noisy_network import NoiseAwareClassifier
from infodistill.diffusion.fitting.supply import LatentSupply, held_out, supplied
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.models.adapters import adapted
from infodistill.diffusion.models.networks import build
from infodistill.diffusion.schedules import cosine_alphas_bar
from infodistill.real import RealData
from infodistill.seeding import build_seeded, stream
from infodistill.types import pixel_space

SHORT = ClassifierFit(GenerativeFit(300, lr=5e-3, ema=0.95, validate_every=100, patience=None), batch=64, width=32)


def two_levels(rows: int = 80) -> RealData:
    """Dark and bright 4x4 images: x0 = -a or a in every pixel, so that everything is known."""
    y = torch.arange(rows) % 2
    images = torch.where(y.bool(), 192, 64).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    return RealData(images, y, ("dark", "bright"), pixel_space(1), "levels")


def model_of(real: RealData) -> DiffusionModel:
    module = build({"kind": "mlp", "shape": list(real.shape), "classes": real.num_classes, "width": 8, "depth": 1})
    return adapted(module, cosine_alphas_bar(), real.class_names)


def exact_information(sigma: float, a: float = 0.5, values: int = 16) -> float:
    """I(X_sigma; Y) in nats of two Gaussians N(-a 1, sigma^2), N(a 1, sigma^2) by Gauss-Hermite, float64.

    The mean over pixels is sufficient: one dimension of standard deviation sigma / sqrt(values).
    """
    import numpy as np

    points, weights = np.polynomial.hermite_e.hermegauss(80)
    std = sigma / math.sqrt(values)
    odds = 2 * a * (a + std * points) / std**2
    return float(math.log(2) - (weights * np.logaddexp(0, -odds)).sum() / math.sqrt(2 * math.pi))


def test_the_bound_is_below_the_information_and_close() -> None:
    real = two_levels()
    model = model_of(real)
    classifier = noise_aware_classifier(model, real, SHORT)
    told = bounds(classifier, model, supplied(real, model.codec), rows=4096)
    for name, bound in told.items():
        truth = exact_information(model.sigma_at(float(name)))
        assert bound <= truth + 0.03, (name, bound, truth)  # 0.03: two standard errors of 4,096 draws
        assert bound >= truth - 0.05, (name, bound, truth)
    assert told["0.01"] > 0.67 and told["0.95"] < 0.2


def test_before_training_it_is_uniform_and_the_bound_is_zero() -> None:
    real = two_levels(8)
    classifier = ClassifierFit().built((1, 4, 4), 2)
    assert bounds(classifier, model_of(real), supplied(real, model_of(real).codec), rows=16) == pytest.approx(
        dict.fromkeys(("0.01", "0.2", "0.4", "0.6", "0.8", "0.95"), 0.0), abs=1e-6
    )


def test_log_prob_is_normalised_and_differentiable_in_x() -> None:
    for shape in ((1, 8, 8), (3, 12, 10)):
        module: nn.Module = build_seeded(lambda shape=shape: NoiseAwareClassifier(shape, 3, 16), stream(0, "net"))
        assert isinstance(module, NoiseAwareClassifier)
        nn.init.normal_(module.leave.weight, generator=stream(1, "weights"))
        x = torch.randn(5, *shape, generator=stream(2, "x")).requires_grad_()
        sigma = torch.tensor([0.01, 0.3, 1.0, 30.0, 2e4])
        told = module.log_prob(x, sigma)
        torch.testing.assert_close(told.exp().sum(1), torch.ones(5))
        (gradient,) = torch.autograd.grad(told[:, 0].sum(), x)
        assert bool(gradient.isfinite().all()) and bool((gradient[:3].flatten(1).abs().sum(1) > 0).all())
        alone = module.log_prob(x[1:2], sigma[1:2])
        torch.testing.assert_close(alone, told[1:2], rtol=1e-5, atol=1e-6)


def test_the_convolutional_one_learns_latents_too() -> None:
    y = torch.arange(64) % 2
    place = torch.zeros(64, 4, 9, 9)
    place[y == 1, :, :4] = 1.0
    supply = LatentSupply(place, y)
    module = replace(SHORT, width=16).built((4, 9, 9), 2)
    assert any(isinstance(part, nn.Conv2d) for part in module.modules())
    sigmas = torch.linspace(0.01, 1, 100, dtype=torch.float64)
    how = replace(SHORT, fit=replace(SHORT.fit, steps=100, validate_every=50), batch=32)
    history = train_noisy_classifier(module, supply, supply, sigmas, how)
    assert history.best is not None and history.best < 0.3 < math.log(2)


def test_the_cache_gives_the_same_classifier_and_only_for_the_same_question(tmp_path: Path) -> None:
    real = two_levels(40)
    model, how = model_of(real), replace(SHORT, fit=replace(SHORT.fit, steps=6, validate_every=3, report=3))

    def weights(**changed: object) -> list[Tensor]:
        found = noise_aware_classifier(model, changed.pop("real", real), replace(how, **changed), cache=tmp_path)  # type: ignore[arg-type]
        assert not any(value.requires_grad for value in found.parameters())
        return [value.clone() for value in found.state_dict().values()]

    first = weights()
    (file,) = tmp_path.glob("noisy_classifiers/*.safetensors")
    when = file.stat().st_mtime_ns
    assert all(torch.equal(a, b) for a, b in zip(first, weights(), strict=True))
    assert file.stat().st_mtime_ns == when
    report = stored_report(file)
    assert set(report["bounds"]) >= {"0.01", "0.95"} and report["history"]["step"] == 6
    weights(seed=1)
    weights(real=two_levels(44))
    assert len(list(tmp_path.glob("noisy_classifiers/*.safetensors"))) == 3
    file.write_bytes(file.read_bytes()[:100])  # cut: trained again, to the same bits
    assert all(torch.equal(a, b) for a, b in zip(first, weights(), strict=True))


def test_other_classes_are_refused() -> None:
    real = two_levels(8)
    with pytest.raises(ValueError, match="the model has classes"):
        noise_aware_classifier(model_of(real), real.replace(class_names=("bright", "dark")), SHORT)


@pytest.mark.slow
def test_bounds_on_the_digits_are_those_of_the_study() -> None:
    """2.28, 2.24, 2.03, 1.24, 0.32, 0.02 nats at t/T = .01, .2, .4, .6, .8, .95 there; ours on held-out images."""
    import infodistill

    real = infodistill.load_data("digits")
    model = model_of(real)
    told = bounds(noise_aware_classifier(model, real), model, supplied(held_out(real, 0)[1], model.codec))
    for name, study in zip(told, (2.28, 2.24, 2.03, 1.24, 0.32, 0.02), strict=True):
        assert told[name] == pytest.approx(study, abs=0.12)
