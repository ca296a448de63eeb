"""P1, P2 and C1: the classifier's bounds, their directions and the terms."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from igdssets import batch, labels, normal
from infodistill.compute import View
from infodistill.information import (
    ClassifierInformation,
    NoiseAwareInformation,
    OwnCentroidInformation,
    RealCentroidDivergence,
    barber_agakov,
    centroid_divergence,
    conditional_mutual_information,
    log_centroids,
    real_centroids,
)
from infodistill.nets.convnet import convnet
from infodistill.nets.initialise import initialise
from infodistill.seeding import stream
from infodistill.types import Batch
from infodoubles import PixelTeacher

TEACHER = PixelTeacher()  # logits: twice the first three pixels


def shown(n: int = 3, key: int = 0) -> tuple[Tensor, Batch]:
    x = normal(3 * n, 4, key=key).requires_grad_()
    return x, batch(x, labels(3, n))


def log_q(x: Tensor) -> Tensor:
    return (2 * x[:, :3]).log_softmax(1)


def test_bound_of_a_perfect_a_uniform_and_a_misled_classifier() -> None:
    y = labels(4, 3)
    sure = torch.full((12, 4), -1e4).scatter(1, y[:, None], 0.0).log_softmax(1)
    assert barber_agakov(sure, y).item() == pytest.approx(math.log(4), abs=1e-6)
    assert barber_agakov(torch.full((12, 4), -math.log(4)), y).item() == pytest.approx(0, abs=1e-6)
    assert barber_agakov(sure.roll(1, 1).clamp_min(-20), y) < 0
    for key in range(5):
        assert barber_agakov(normal(12, 4, key=key).mul(9).log_softmax(1), y) <= math.log(4)


def test_the_gap_is_the_divergence_of_the_posteriors() -> None:
    """A joint table of 4 classes and 5 inputs: I - bound = E KL(p(y|x) || q(y|x))."""
    table = normal(5, 4).exp()
    table = table / table.sum(0) / 4  # uniform labels
    posterior = table / table.sum(1, keepdim=True)
    information = (table * (posterior * 4).log()).sum()
    q = normal(5, 4, key=1).log_softmax(1)
    bound = math.log(4) + (table * q).sum()
    gap = (table.sum(1) * centroid_divergence(posterior.log(), q)).sum()
    torch.testing.assert_close(information - bound, gap)
    assert gap > 0


def test_clean_term_is_the_sum_over_images_of_minus_the_bound() -> None:
    x, syn = shown()
    term = ClassifierInformation(TEACHER)
    torch.testing.assert_close(term(syn, syn), -9 * barber_agakov(log_q(x), syn.y))
    torch.testing.assert_close(term.per_image(syn, syn).mean(), barber_agakov(log_q(x), syn.y))
    (grad,) = torch.autograd.grad(term(syn, syn), x)
    expected = 2 * (log_q(x).exp() - torch.nn.functional.one_hot(syn.y, 3)).detach()
    torch.testing.assert_close(grad, torch.cat([expected, torch.zeros(9, 1, dtype=torch.float64)], 1))


def test_several_networks_are_the_mean_of_their_probabilities() -> None:
    views: list[View] = []
    for key in range(3):
        net = convnet(depth=1, width=4)((1, 8, 8), 3)
        initialise(net, stream(key, "committee"))
        views.append(View.own(net.requires_grad_(False)))
    x = normal(3, 64).float()
    syn = replace(batch(x, labels(3, 1)), x=x.view(3, 1, 8, 8))
    told = torch.stack([view.logits(syn.x).softmax(1) for view in views]).mean(0)
    expected = math.log(3) + told.diagonal().log()
    torch.testing.assert_close(ClassifierInformation(views).per_image(syn, syn), expected)
    with pytest.raises(ValueError, match=r"at least one network, got none"):
        ClassifierInformation(())(syn, syn)


def test_noise_aware_term_passes_the_level_and_refuses_clean_images() -> None:
    def classifier(x: Tensor, sigma: Tensor) -> Tensor:
        return x.flatten(1)[:, :3] / sigma[:, None]

    x, syn = shown(2)
    term, noisy = NoiseAwareInformation(classifier), replace(syn, noise=torch.full((6,), 2.0, dtype=torch.float64))
    expected = barber_agakov((x[:, :3] / 2).log_softmax(1), syn.y)
    torch.testing.assert_close(term(noisy, noisy), -6 * expected)
    torch.testing.assert_close(term.per_image(noisy, noisy).mean(), expected)
    with pytest.raises(ValueError, match=r"needs noisy images"):
        term(syn, syn)


def test_own_centroid_is_the_information_of_the_classifiers_draw() -> None:
    """I(X;Y^|Y): equal to CMI, at most log C and log n, 0 where images agree, exactly 0 at one image."""
    x, syn = shown(4)
    term = OwnCentroidInformation(TEACHER)
    expected = conditional_mutual_information(log_q(x).exp(), syn.y)
    torch.testing.assert_close(term(syn, syn), -12 * expected)
    for scale in (0.1, 10.0, 1e3):
        big = batch(scale * x.detach(), syn.y)
        each = term.per_image(big, big)
        assert bool((each >= -1e-12).all())
        assert float(each.mean()) <= min(math.log(3), math.log(4)) + 1e-12
    same = batch(normal(1, 4).repeat(12, 1), syn.y)
    assert term(same, same).item() == pytest.approx(0, abs=1e-12)
    one = batch(normal(3, 4).float().requires_grad_(), labels(3, 1))
    assert term(one, one).item() == 0
    assert torch.equal(torch.autograd.grad(term(one, one), one.x)[0], torch.zeros_like(one.x))


def test_real_centroids_are_an_upper_bound_by_the_divergence_of_the_centroids() -> None:
    _, syn = shown(4)
    _, real = shown(7, key=3)
    syn, real = syn.detach(), real.detach()
    own, far = OwnCentroidInformation(TEACHER), RealCentroidDivergence(TEACHER)
    centroid, target = real_centroids(TEACHER, syn), real_centroids(TEACHER, real)
    shift = centroid_divergence(centroid, target)
    by_class = far.per_image(syn, real).unflatten(0, (3, 4)).mean(1)
    torch.testing.assert_close(by_class, own.per_image(syn, real).unflatten(0, (3, 4)).mean(1) + shift)
    assert bool((shift > 0).all())
    kept = RealCentroidDivergence(TEACHER, target)
    torch.testing.assert_close(kept(syn, syn), far(syn, real))
    torch.testing.assert_close(far(syn, real), -far.per_image(syn, real).sum())


def test_counter_example_reads_2376_where_the_truth_is_0() -> None:
    """Every image has P = (.1, .9); the real centroid is (.95, .05)."""
    log_p = torch.tensor([[0.1, 0.9]], dtype=torch.float64).log().expand(5, 2)
    log_real = torch.tensor([[0.95, 0.05]], dtype=torch.float64).log().expand(5, 2)
    assert centroid_divergence(log_p, log_real).mean().item() == pytest.approx(2.376, abs=5e-4)
    own = log_centroids(log_p, labels(1, 5), 1).expand(5, 2)
    assert centroid_divergence(log_p, own).mean().item() == pytest.approx(0, abs=1e-12)


def test_real_centroid_landscape_pushes_confidence_or_flips_labels() -> None:
    """Convex in P with its minimum at P = Q: above Q_y uphill is more of y, below it less; largest at a wrong class."""
    log_real = torch.tensor([0.9, 0.07, 0.03], dtype=torch.float64).log()

    def slope(p: float) -> float:
        point = torch.tensor(p, dtype=torch.float64, requires_grad=True)
        rest = (1 - point) * torch.tensor([0.7, 0.3], dtype=torch.float64)
        value = centroid_divergence(torch.cat([point[None], rest]).log(), log_real)
        return float(torch.autograd.grad(value, point)[0])

    assert slope(0.97) > 0 > slope(0.5)
    corners = centroid_divergence(torch.eye(3, dtype=torch.float64).clamp_min(1e-30).log(), log_real.expand(3, 3))
    assert corners.argmax() == 2
    assert corners.tolist() == pytest.approx((-log_real).tolist(), abs=1e-12)


def test_saturated_probabilities_have_finite_gradients() -> None:
    x = (500 * normal(6, 4).float()).requires_grad_()
    syn = batch(x, labels(3, 2))
    for term in (ClassifierInformation(TEACHER), OwnCentroidInformation(TEACHER), RealCentroidDivergence(TEACHER)):
        cost = term(syn, syn.detach())
        assert bool(cost.isfinite())
        assert bool(torch.autograd.grad(cost, x)[0].isfinite().all())


def test_what_is_not_a_distribution_is_refused() -> None:
    with pytest.raises(ValueError, match=r"log probabilities"):
        barber_agakov(normal(4, 3), labels(2, 2))
    with pytest.raises(ValueError, match=r"every class needs a row, classes \[2\]"):
        log_centroids(normal(4, 3).log_softmax(1), labels(2, 2), 3)
