"""The numbered checks of the specification: MIM4DD (§1.8) and CMI (§2.10). All values in nats."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from infodistill.compute import View
from infodistill.distillation import Distillation
from infodistill.information import (
    CMI,
    MIM,
    CentroidCMI,
    RandomDirection,
    ShuffledLabels,
    conditional_mutual_information,
    infonce_lower_bound,
    label_restricted,
    marginal,
    nce_loss,
    nce_lower_bound,
    nwj_lower_bound,
    pair_loss,
)
from infodistill.information.bounds import cosine, critic_logits
from infodistill.information.ksg import ksg_mutual_information
from infodistill.looks import Looks
from infodistill.methods.dm import dm
from infodistill.nets.convnet import convnet
from infodistill.nets.initialise import initialise
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.sources.critic import TrainedHeads
from infodistill.sources.teachers import random_teachers
from infodistill.types import ValueSpace
from infodistill.weights import Ratio, Weighted
from infodoubles import Gain, PixelTeacher, batch
from oracles import information as oracle

TABLE = {  # rho: (I, E6 at n = 1, 16, 256, 4096)
    0.5: (0.1438, -0.653, 0.066, 0.139, 0.144),
    0.9: (0.8304, -0.437, 0.650, 0.817, 0.829),
    0.99: (1.9585, -0.189, 1.503, 1.912, 1.955),
}
SIZES = (1, 16, 256, 4096)


def normal(*shape: int, key: int = 0) -> Tensor:
    return torch.randn(*shape, generator=stream(key, "test"), dtype=torch.float64)


def log_ratios(rho: float) -> tuple[Tensor, Tensor]:
    """Log density ratios of joint and of independent pairs, over a scrambled Sobol set."""
    uniform = torch.quasirandom.SobolEngine(2, scramble=True, seed=1).draw(2**17, dtype=torch.float64)
    rows = uniform.clamp(1e-12, 1 - 1e-12).numpy()
    joint = oracle.gaussian_log_ratio(*oracle.gaussian_pairs(rho, rows), rho)
    product = oracle.gaussian_log_ratio(*oracle.gaussian_pairs(0.0, rows), rho)
    return torch.from_numpy(joint), torch.from_numpy(product)


# §1.8


@pytest.mark.parametrize("rho", TABLE)
def test_1_8_1_bounds_against_the_gaussian_truth(rho: float) -> None:
    joint, product = log_ratios(rho)
    truth, *expected = TABLE[rho]
    assert truth == pytest.approx(-0.5 * math.log(1 - rho**2), abs=1e-4)
    e6 = [oracle.posterior_bound(joint.numpy(), n) for n in SIZES]
    assert e6 == pytest.approx(expected, abs=2e-3)
    assert all(a < b for a, b in pairwise(e6))
    assert all(value <= truth + 1e-3 for value in e6)
    e7 = [float(nce_lower_bound(joint - math.log(n), product - math.log(n), n=n)) for n in SIZES]
    assert all(a <= b + 1e-3 for a, b in zip(e7, e6, strict=True))
    nwj = [float(nwj_lower_bound(joint - math.log(n), product - math.log(n), n=n)) for n in SIZES]
    assert nwj == pytest.approx([truth] * 4, abs=0.03)  # tight at the best critic, for every n
    if rho == 0.9:
        assert e7 == pytest.approx([-0.957, -0.266, -0.177, -0.170], abs=0.01)


def test_1_8_1_nwj_is_below_the_truth_for_a_wrong_critic() -> None:
    joint, product = log_ratios(0.9)
    for scale, shift in ((0.5, 0.0), (0.8, 0.3), (1.0, -1.0)):
        critic = (joint * scale + shift - math.log(16), product * scale + shift - math.log(16))
        assert float(nwj_lower_bound(*critic, n=16)) < 0.83
        assert float(nce_lower_bound(*critic, n=16)) < 0.83


def test_1_8_2_caps() -> None:
    for n in (1, 16, 256):
        confident = torch.full((50,), 60.0), torch.full((50,), -60.0)
        assert float(nce_lower_bound(*confident, n=n)) <= math.log(n) + 1e-6
        assert float(nce_lower_bound(normal(50), normal(50, n), n=n)) <= math.log(n)
    assert float(infonce_lower_bound(torch.eye(256) * 1e4)) == pytest.approx(5.545, abs=1e-3)
    assert float(infonce_lower_bound(normal(256, 256))) <= math.log(256)
    assert float(nwj_lower_bound(torch.full((9,), 8.0), torch.full((9,), -60.0), n=16)) > math.log(16)  # not capped


@pytest.mark.parametrize(("n", "e6", "e7"), [(16, 1.8171, 1.040), (256, 2.2643, 1.283), (4096, 2.3001, 1.301)])
def test_1_8_3_label_only_dependence_with_marginal_negatives(n: int, e6: float, e7: float) -> None:
    classes = 10
    same = math.log(classes) - math.log(n)
    independent = torch.full((classes,), -1e4, dtype=torch.float64)
    independent[0] = same  # one pair in C shares its class
    joint = torch.full((classes,), same, dtype=torch.float64)
    assert oracle.posterior_bound(np.full(3, math.log(classes)), n) == pytest.approx(e6, abs=1e-4)
    assert e6 == pytest.approx(math.log(classes * n / (classes + n)), abs=1e-4)
    assert float(nce_lower_bound(joint, independent, n=n)) == pytest.approx(e7, abs=1e-3)
    assert float(nwj_lower_bound(joint, independent, n=n)) == pytest.approx(math.log(classes), abs=1e-9)
    positive = torch.eye(classes, dtype=torch.bool)
    scores = torch.where(positive, same, -1e4).double()
    assert math.log(n) - float(nce_loss(scores, positive, marginal(positive), n=n)) == pytest.approx(e7, abs=1e-3)


def test_1_8_4_label_restricted_negatives_are_no_estimate() -> None:
    positive = torch.arange(10)[:, None] == torch.arange(10).repeat(100)
    perfect = torch.where(positive, 40.0, -40.0).double()
    loss = float(nce_loss(perfect, positive, label_restricted(positive)))
    assert loss == pytest.approx(0, abs=1e-12)
    assert math.log(900) - loss > math.log(10) + 4  # "information" of 6.8 nats where there are 2.3
    assert math.log(1000) - float(nce_loss(perfect, positive, marginal(positive))) < math.log(10)


@pytest.mark.parametrize(("n", "expected"), [(1, 1.3863), (16, 3.8032), (255, 6.5432)])
def test_1_8_5_constant_critic(n: int, expected: float) -> None:
    scores = torch.full((4, 6), -math.log(n), dtype=torch.float64)
    positive = torch.arange(4)[:, None] == torch.arange(6)
    for negatives in (marginal, label_restricted):
        assert float(nce_loss(scores, positive, negatives(positive), n=n)) == pytest.approx(expected, abs=1e-4)


def test_1_8_6_invariance_under_invertible_maps_only() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((8, 8))
    covariance = root @ root.T + np.eye(8)
    truth = oracle.gaussian_information(covariance, 4)

    def mapped(a: np.ndarray, b: np.ndarray) -> float:
        both = np.block([[a, np.zeros((len(a), 4))], [np.zeros((len(b), 4)), b]])
        return oracle.gaussian_information(both @ covariance @ both.T, len(a))

    square = rng.standard_normal((4, 4)) + 3 * np.eye(4)
    assert mapped(square, np.eye(4)) == pytest.approx(truth, rel=1e-10)
    assert mapped(np.eye(4), square) == pytest.approx(truth, rel=1e-10)
    pool = np.kron(np.eye(2), [[0.5, 0.5]])
    assert mapped(pool, np.eye(4)) < truth
    assert mapped(pool, pool) < mapped(pool, np.eye(4))
    x, y = oracle.gaussian_pairs(0.9, rng.uniform(size=(4000, 2)))
    assert oracle.copula_information(np.exp(x), y**3) == oracle.copula_information(x, y)
    raw = oracle.gaussian_information(np.cov(np.exp(x), y**3), 1)
    assert abs(raw - oracle.gaussian_information(np.cov(x, y), 1)) > 0.1


def test_1_8_6_the_neighbour_estimate_sees_the_gaussian_value() -> None:
    x, y = (
        torch.from_numpy(side) for side in oracle.gaussian_pairs(0.9, np.random.default_rng(1).uniform(size=(3000, 2)))
    )
    assert ksg_mutual_information(x, y) == pytest.approx(0.8304, abs=0.05)
    assert ksg_mutual_information(x.exp(), 3 * y) == pytest.approx(0.8304, abs=0.05)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_the_neighbour_estimate_equals_brute_force(k: int) -> None:
    x, e = normal(150, 2), normal(150, 3, key=4)
    y = x[:, :1] + e
    assert ksg_mutual_information(x, y, k) == pytest.approx(oracle.ksg(x.numpy(), y.numpy(), k), abs=1e-10)
    assert abs(ksg_mutual_information(normal(2000), normal(2000, key=5), k)) < 0.1
    with pytest.raises((ValueError, TypeError), match=r"as many rows|Type-check"):
        ksg_mutual_information(x, y[1:])
    with pytest.raises(ValueError, match="between 1 and"):
        ksg_mutual_information(x, y, 150)


@pytest.mark.parametrize(("n", "h"), [(4096, 0.924), (16384, 0.753), (50000, 0.5)])
def test_1_8_7_the_critic_is_saturated_without_a_normaliser(n: int, h: float) -> None:
    similarity = torch.zeros(1, 1) / 0.1
    assert torch.sigmoid(critic_logits(similarity, log_noise=math.log(n / 50000))).item() == pytest.approx(h, abs=1e-3)
    assert torch.sigmoid(critic_logits(similarity, log_noise=math.log(n))).item() == pytest.approx(
        1 / (n + 1), rel=1e-4
    )


def test_1_8_9_direction_of_the_nce_term_alone() -> None:
    syn, real = normal(12, 16, key=1).requires_grad_(), normal(40, 16, key=2)
    positive = torch.arange(4).repeat_interleave(3)[:, None] == torch.arange(4).repeat(10)
    real = real + 2 * normal(4, 16, key=3)[torch.arange(4).repeat(10)]
    optimiser = torch.optim.SGD([syn], 1.0)

    def means() -> tuple[float, float]:
        c = cosine(syn.detach(), real)
        return float(c[positive].mean()), float(c[~positive].mean())

    for negatives in (marginal, label_restricted):
        before = means()
        for _ in range(200):
            optimiser.zero_grad()
            pair_loss(syn, real, positive, negatives=negatives).backward()
            optimiser.step()
        after = means()
        assert after[0] > before[0] + 0.01
        assert after[1] < before[1] - 0.01
        with torch.no_grad():
            syn.copy_(normal(12, 16, key=1))


def test_1_8_10_joint_permutation_of_either_stream() -> None:
    syn, real, y, t = normal(6, 5), normal(9, 5, key=1), torch.arange(3).repeat(2), torch.arange(3).repeat(3)
    value = pair_loss(syn, real, y[:, None] == t)
    a, b = torch.tensor([3, 1, 5, 0, 2, 4]), torch.randperm(9, generator=stream(0, "order"))
    torch.testing.assert_close(pair_loss(syn[a], real[b], y[a][:, None] == t[b]), value)
    assert not torch.isclose(pair_loss(syn[a], real, y[:, None] == t), value)


def small_job(ipc: int = 3) -> Distillation:
    labels = torch.arange(3).repeat(10)
    images = torch.randint(0, 255, (30, 1, 8, 8), generator=stream(0, "images"), dtype=torch.uint8)
    real = RealData(images, labels, ("a", "b", "c"), ValueSpace((0.5,), (0.3,)))
    return dm(real, convnet(depth=2, width=8), ipc=ipc, real_per_class=6, augment=Gain())


def looks_of(job: Distillation) -> Looks:
    return job.terms["match"].term.looks  # type: ignore[attr-defined]


def after(job: Distillation, steps: int = 3) -> Tensor:
    for _ in job.run(steps):
        pass
    return job.syn.pixels.detach().clone()


@pytest.mark.parametrize("weight", [0.0, 1e-30])
def test_1_8_8_no_weight_is_the_base_method_bit_for_bit(weight: float) -> None:
    job = small_job()
    both = job.adding(mim=Weighted(weight, MIM(looks_of(job))), cmi=Weighted(weight, CMI(PixelTeacher())))
    assert torch.equal(after(both), after(job))


def test_every_information_term_moves_a_real_job() -> None:
    job = small_job()
    teachers, base = random_teachers(convnet(depth=2, width=8), job.real, count=2, seed=1), after(small_job())
    terms = [CMI(teachers), CentroidCMI(teachers), MIM(looks_of(job)), MIM(looks_of(job), heads=TrainedHeads(dim=4))]
    for term in [*terms, *(ShuffledLabels(inner) for inner in terms), RandomDirection()]:
        added = job.adding(extra=Weighted(Ratio(0.3), term))
        (progress,) = added.run(1)
        assert float(progress.norms["extra"]) == pytest.approx(
            0.3 * float(progress.norms["match"]) / progress.weights["extra"], rel=1e-4
        )
        assert not torch.equal(after(added, 2), base)


def test_a_job_with_one_image_per_class_refuses_cmi() -> None:
    job = small_job(ipc=1)
    for term in (CMI(PixelTeacher()), ShuffledLabels(CMI(PixelTeacher()))):
        with pytest.raises(ValueError, match="identically zero at one image per class"):
            job.adding(cmi=Weighted(8000.0, term))
    after(job.adding(cmi=Weighted(1.0, CentroidCMI(PixelTeacher())), mim=Weighted(0.8, MIM(looks_of(job)))), 1)


# §2.10


def test_2_10_1_zero_for_identical_images_and_for_one_per_class() -> None:
    p = normal(3, 7).softmax(1)
    repeated = conditional_mutual_information(p.repeat_interleave(5, 0), torch.arange(3).repeat_interleave(5))
    assert float(repeated) == pytest.approx(0, abs=1e-15)
    for dtype in (torch.float32, torch.float64):
        z = normal(6, 512).to(dtype).requires_grad_()
        single = conditional_mutual_information(z.softmax(1), torch.arange(6))
        (grad,) = torch.autograd.grad(single, z)
        assert single.item() == 0
        assert float(grad.abs().max()) < 1e-9


def test_2_10_2_hand_value() -> None:
    p = torch.tensor([[0.0, math.log(3)], [math.log(3), 0.0]], dtype=torch.float64).softmax(1)
    assert float(conditional_mutual_information(p, torch.zeros(2, dtype=torch.long))) == pytest.approx(
        0.130812, abs=1e-6
    )


def test_2_10_3_range() -> None:
    one_hot = (40 * torch.eye(8, dtype=torch.float64)[:6]).softmax(1)
    assert float(conditional_mutual_information(one_hot, torch.zeros(6, dtype=torch.long))) == pytest.approx(
        1.791759, abs=1e-6
    )
    for rows, width in ((4, 9), (9, 4)):
        p = (30 * normal(2 * rows, width)).softmax(1)
        value = float(conditional_mutual_information(p, torch.arange(2).repeat(rows)))
        assert 0 <= value <= math.log(min(rows, width)) + 1e-12


def test_2_10_4_shift_invariance_of_the_term() -> None:
    syn = batch(normal(6, 1, 2, 3), torch.arange(2).repeat(3))
    term = CMI(PixelTeacher())
    moved = batch(syn.x + normal(6, key=2)[:, None, None, None], syn.y)
    torch.testing.assert_close(term(moved, syn), term(syn, syn))


def test_2_10_5_jensen_shannon_identity() -> None:
    p, y = normal(9, 5).softmax(1).numpy(), np.arange(9) % 3
    entropies = [oracle.entropy(p[y == c].mean(0)) - np.mean([oracle.entropy(r) for r in p[y == c]]) for c in range(3)]
    value = conditional_mutual_information(torch.from_numpy(p), torch.from_numpy(y))
    assert float(value) == pytest.approx(np.mean(entropies), abs=1e-12)


def test_2_10_6_gradient_is_the_closed_form_with_and_without_a_fixed_centroid() -> None:
    z, y = normal(8, 6).requires_grad_(), torch.tensor([0, 1, 1, 0, 2, 2, 2, 0])
    (grad,) = torch.autograd.grad(conditional_mutual_information(z.softmax(1), y), z)
    np.testing.assert_allclose(grad.numpy(), oracle.cmi_gradient(z.detach().numpy(), y.numpy()), atol=1e-12)
    p = z.softmax(1)
    fixed = torch.stack([p.detach()[y == c].mean(0) for c in range(3)])[y]
    (held,) = torch.autograd.grad((p * (p.log() - fixed.log())).sum() / 8, z)
    torch.testing.assert_close(held, grad, rtol=0, atol=1e-12)


def test_2_10_7_small_features_give_half_the_within_class_variance() -> None:
    z, y = normal(40, 64), torch.arange(4).repeat(10)
    epsilon = 0.01
    centred = z - z.mean(1, keepdim=True)
    variance = torch.stack([centred[y == c].var(0, unbiased=False).mean() for c in range(4)]).mean()
    value = conditional_mutual_information((epsilon * z).softmax(1), y) / epsilon**2
    assert float(value) == pytest.approx(float(variance) / 2, rel=0.01)


def test_2_10_8_the_direction_of_the_divergence() -> None:
    p, y = normal(6, 5).softmax(1), torch.zeros(6, dtype=torch.long)
    q = p.mean(0, keepdim=True).expand_as(p)
    value = conditional_mutual_information(p, y)
    torch.testing.assert_close(value, F.kl_div(q.log(), p.log(), log_target=True, reduction="batchmean"))
    reverse = F.kl_div(p.log(), q.log(), log_target=True, reduction="batchmean")
    assert abs(float(reverse) - float(value)) > 0.01


def test_2_10_9_labels_matter_only_through_class_membership() -> None:
    p, y = normal(9, 5).softmax(1), torch.arange(3).repeat(3)
    value = conditional_mutual_information(p, y)
    within = torch.tensor([3, 1, 5, 6, 4, 8, 0, 7, 2])
    assert torch.equal(y[within], y)
    torch.testing.assert_close(conditional_mutual_information(p[within], y), value)
    swapped = y.clone()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert not torch.isclose(conditional_mutual_information(p, swapped), value)


def test_2_10_10_minimising_it_alone_gathers_the_classes_and_leaves_the_teacher() -> None:
    net = convnet(depth=2, width=8)((1, 8, 8), 3)
    initialise(net, stream(1, "net"))
    teacher = PixelTeacher(View.own(net.requires_grad_(False)))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    y = torch.arange(3).repeat_interleave(4)
    x = normal(12, 1, 8, 8).float().requires_grad_()
    term, values, spread = CMI(teacher), [], []
    for _ in range(60):
        value = term(batch(x, y), batch(x, y))
        (grad,) = torch.autograd.grad(value, x)
        with torch.no_grad():
            features = net.stages(x)[-1]
            spread.append(float(torch.stack([features[y == c].var(0).mean() for c in range(3)]).mean()))
            x -= 100 * grad
        values.append(value.item())
    assert all(b < a for a, b in pairwise(values))
    assert values[-1] < 0.7 * values[0]
    assert spread[-1] < 0.8 * spread[0]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
