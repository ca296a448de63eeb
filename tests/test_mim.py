"""MIM: values and gradients against the float64 oracle, bounds, and the term on real looks."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from infodistill.information import (
    MIM,
    geometric_weights,
    label_restricted,
    marginal,
    nce_loss,
    nce_lower_bound,
    nce_numbers,
    nwj_lower_bound,
    pair_loss,
)
from infodistill.information.bounds import cosine
from infodistill.looks import Looks
from infodistill.nets.convnet import convnet
from infodistill.seeding import stream
from infodistill.sources.critic import FrozenNormaliser, SharedRandomHead, TrainedHeads, TrainedNormaliser
from infodistill.sources.rolling import Rolling
from infodistill.types import Batch
from infodoubles import Gain, batch, class_clusters, gaussian
from oracles import information as oracle

normal = partial(gaussian, owner="mim")

SYN_Y, REAL_Y = torch.tensor([0, 1, 2, 2, 1]), torch.tensor([0, 2, 1, 1, 0, 2, 0])
POSITIVE = SYN_Y[:, None] == REAL_Y


def looks(owner: str = "looks") -> Looks:
    return Looks(Rolling(convnet(depth=2, width=8), (1, 8, 8), 3, seed=0), Gain(), 0, owner)


def pair(syn_rows: int = 2, real_rows: int = 5) -> tuple[Batch, Batch]:
    rows = [torch.arange(3).repeat_interleave(n) for n in (syn_rows, real_rows)]
    syn, real = (normal(len(y), 1, 8, 8, key=len(y)).float() for y in rows)
    return batch(syn.requires_grad_(), rows[0]), batch(real, rows[1])


@pytest.mark.parametrize("negatives", [marginal, label_restricted])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_stage_loss_value_and_gradient_are_the_oracle(negatives: object, temperature: float) -> None:
    a, b = normal(5, 6).requires_grad_(), normal(7, 6, key=1)
    value = pair_loss(a, b, POSITIVE, temperature=temperature, negatives=negatives)  # type: ignore[arg-type]
    (grad,) = torch.autograd.grad(value, a)
    arguments = (a.detach().numpy(), b.numpy(), POSITIVE.numpy(), negatives(POSITIVE).numpy(), temperature)  # type: ignore[operator]
    assert value.item() == pytest.approx(oracle.nce(*arguments), abs=1e-11)
    np.testing.assert_allclose(grad.numpy(), oracle.nce_gradient(*arguments), rtol=0, atol=1e-11)


def test_gradcheck_of_the_loss_and_the_cosine() -> None:
    def fixed_z(a: Tensor, b: Tensor) -> Tensor:
        return pair_loss(a, b, POSITIVE, log_z=lambda s, n: s.new_tensor(3.0))

    inputs = normal(5, 6).requires_grad_(), normal(7, 6, key=1).requires_grad_()
    assert torch.autograd.gradcheck(fixed_z, inputs)
    assert torch.autograd.gradcheck(cosine, inputs)


def test_rows_of_zeros_have_no_direction() -> None:
    a, b = normal(5, 6), normal(7, 6, key=1)
    a[2], b[3] = 0, 0
    a.requires_grad_(), b.requires_grad_()
    similarity = cosine(a, b)
    assert not similarity[2].any()
    assert not similarity[:, 3].any()
    by_a, by_b = torch.autograd.grad(pair_loss(a, b, POSITIVE), (a, b))
    for grad, row in ((by_a, 2), (by_b, 3)):
        assert bool(grad.isfinite().all())
        assert not grad[row].any()
        assert grad.any()


def test_bounds_are_the_loss_with_marginal_negatives() -> None:
    scores = normal(5, 7)
    n = 7.0
    bound = nce_lower_bound(scores[POSITIVE], scores.flatten(), n=n)
    torch.testing.assert_close(bound, math.log(n) - nce_loss(scores, POSITIVE))
    per_positive = normal(4), normal(4, 9, key=1)
    torch.testing.assert_close(nce_lower_bound(*per_positive), nce_lower_bound(*per_positive, n=9))
    torch.testing.assert_close(nwj_lower_bound(*per_positive), nwj_lower_bound(*per_positive, n=9))
    for bound_of in (nce_lower_bound, nwj_lower_bound):
        with pytest.raises(ValueError, match="scores of both kinds"):
            bound_of(torch.zeros(0), torch.zeros(3))


def test_numbers_for_measuring_are_bounds_on_the_label_information() -> None:
    syn, y = class_clusters(1, 20, 8)
    real, t = class_clusters(2, 60, 8)
    numbers = nce_numbers(syn, y, real, t, temperature=0.3)
    assert numbers["ceiling"] == pytest.approx(math.log(3))
    assert numbers["nce"] <= numbers["nwj"] <= numbers["ceiling"]
    assert numbers["nwj"] > 0.6
    noise = nce_numbers(normal(60, 8), y, normal(180, 8, key=1), t, temperature=0.3)
    assert noise["nce"] <= noise["nwj"] < 0.1
    positive = y[:, None] == t
    similarity = cosine(syn, real) / 0.3
    scores = similarity - similarity.exp().mean().log() - math.log(180)
    assert numbers["nce"] == pytest.approx(nce_lower_bound(scores[positive], scores.flatten(), n=180).item(), abs=1e-12)
    assert numbers["nwj"] == pytest.approx(nwj_lower_bound(scores[positive], scores.flatten(), n=180).item(), abs=1e-9)


def test_numbers_for_measuring_count_classes_equally() -> None:
    syn, y = class_clusters(1, 20, 8)
    real, t = class_clusters(2, 60, 8)
    first = torch.cat([torch.arange(60), torch.arange(60), torch.arange(60, 180)])  # class 0 doubled
    even, uneven = nce_numbers(syn, y, real, t), nce_numbers(syn, y, real[first], t[first])
    assert uneven["nwj"] == pytest.approx(even["nwj"], abs=1e-9)
    with pytest.raises(ValueError, match="same classes"):
        nce_numbers(syn, y, real[:60], t[:60])


def test_the_term_is_the_weighted_sum_of_stages_of_the_oracle() -> None:
    syn, real = pair()
    source = looks()
    term = MIM(source, layer_weights=partial(geometric_weights, beta=2.0))
    value = term(syn, real)
    look = source.look(syn, real)
    positive = (syn.y[:, None] == real.y).numpy()
    expected = 0.0
    for weight, a, b in zip((0.5, 1.0), look.syn((0, 1)), look.real((0, 1)), strict=True):
        a, b = (side.detach().double().flatten(1).numpy() for side in (a, b))
        expected += weight * oracle.nce(a, b, positive, np.ones_like(positive), 0.1)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    last = MIM(source, stages=(-1,))(syn, real)
    a, b = look.syn()[0].detach().double().numpy(), look.real()[0].double().numpy()
    assert last.item() == pytest.approx(oracle.nce(a, b, positive, np.ones_like(positive), 0.1), rel=1e-5)


def test_1_8_8_gradient_reaches_synthetic_images_and_nothing_else() -> None:
    syn, real = pair()
    real = replace(real, x=real.x.requires_grad_())
    source = looks()
    by_syn, by_real = torch.autograd.grad(MIM(source)(syn, real), (syn.x, real.x), allow_unused=True)
    assert by_real is None
    assert bool((by_syn.flatten(1).norm(dim=1) > 0).all())
    assert all(not p.requires_grad for p in source.nets.draw().params.values())


def test_permuting_images_with_their_labels_changes_nothing() -> None:
    syn, real = pair()
    term = MIM(looks())
    a, b = (torch.randperm(len(side), generator=stream(0, "order")) for side in (syn, real))
    torch.testing.assert_close(term(syn.rows(a), real.rows(b)), term(syn, real))


def test_a_term_says_which_stages_it_reads() -> None:
    assert MIM(looks()).reads is None
    assert MIM(looks(), stages=(0, -1)).reads == (0, -1)
    with pytest.raises(ValueError, match="at least one stage"):
        MIM(looks(), stages=())
    with pytest.raises(ValueError, match="temperature must be positive"):
        MIM(looks(), temperature=-1)
    with pytest.raises(ValueError, match="3 weights for 2 stages"):
        MIM(looks(), layer_weights=lambda k: (1.0, 1.0, 1.0))(*pair())


def test_label_restricted_negatives_and_heads_run_through_real_looks() -> None:
    syn, real = pair()
    for term in (
        MIM(looks(), negatives=label_restricted),
        MIM(looks(), heads=SharedRandomHead(dim=16)),
        MIM(looks(), heads=TrainedHeads(dim=4)),
        MIM(looks(), heads=TrainedHeads(dim=4, streams=2), normaliser=TrainedNormaliser()),
        MIM(looks(), normaliser=FrozenNormaliser()),
    ):
        (grad,) = torch.autograd.grad(term(syn, real), syn.x)
        assert bool(grad.isfinite().all())
        assert grad.any()
