"""Negative controls: what they break, what they keep."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from infodistill.information import CMI, MIM, RandomDirection, ShuffledLabels
from infodistill.looks import Looks
from infodistill.nets.convnet import convnet
from infodistill.running.state import find_parts
from infodistill.seeding import stream
from infodistill.sources.rolling import Rolling
from infodistill.types import Batch
from infodoubles import Gain, PixelTeacher, batch

Y = torch.arange(4).repeat_interleave(5)


def normal(*shape: int, key: int = 0) -> Tensor:
    return torch.randn(*shape, generator=stream(key, "controls"), dtype=torch.float64)


def seen_by(control_seed: int, syn: Batch) -> Batch:
    seen: list[Batch] = []

    def spy(syn: Batch, real: Batch) -> Tensor:
        seen.append(syn)
        return syn.x.sum()

    ShuffledLabels(spy, control_seed)(syn, syn)
    return seen[0]


def test_shuffling_moves_labels_and_targets_together_and_nothing_else() -> None:
    target = torch.eye(4, dtype=torch.float64)[Y] * 0.7 + 0.1
    syn = batch(normal(20, 1, 2, 2), Y, target=target)
    seen = seen_by(0, syn)
    assert seen.x is syn.x
    assert torch.equal(seen.y.bincount(), Y.bincount())
    assert torch.equal(seen.target, target[5 * seen.y])
    assert not torch.equal(seen.y, Y)
    assert torch.equal(seen.y, seen_by(0, syn).y)  # fixed over steps
    assert not torch.equal(seen.y, seen_by(1, syn).y)


def test_shuffled_cmi_gathers_other_images() -> None:
    x = (normal(20, 1, 2, 3) + 3 * normal(4, 1, 2, 3, key=1)[Y]).requires_grad_()
    syn, term = batch(x, Y, classes=4), CMI(PixelTeacher())
    plain, shuffled = term(syn, syn), ShuffledLabels(term)(syn, syn)
    assert shuffled.item() > 1.5 * plain.item()
    grads = [torch.autograd.grad(value, x)[0].flatten() for value in (plain, shuffled)]
    assert abs(float(torch.cosine_similarity(*grads, dim=0))) < 0.6


def test_a_control_of_one_class_would_be_the_term_itself() -> None:
    syn = batch(normal(5, 1, 2, 3), torch.full((5,), 2))
    with pytest.raises(ValueError, match="more than one class"):
        ShuffledLabels(CMI(PixelTeacher()))(syn, syn)


def test_the_driver_sees_through_the_control() -> None:
    looks = Looks(Rolling(convnet(depth=2, width=8), (1, 8, 8), 4, seed=0), Gain(), 0)
    control = ShuffledLabels(MIM(looks))
    assert control.looks is looks
    assert control.reads is None
    assert any(part is looks for part in find_parts(control).values())
    cmi = ShuffledLabels(CMI(PixelTeacher()))
    assert cmi.looks is None
    hard = batch(torch.zeros(4, 1, 2, 3), torch.arange(4), classes=4)
    with pytest.raises(ValueError, match="identically zero"):
        cmi.check(SimpleNamespace(decoded_per_class=1, batch=lambda: hard))
    ShuffledLabels(RandomDirection()).check(SimpleNamespace())


def test_shuffled_mim_pairs_images_with_other_classes() -> None:
    looks = Looks(Rolling(convnet(depth=2, width=8), (1, 8, 8), 4, seed=0), Gain(), 0)
    real_y = torch.arange(4).repeat_interleave(8)
    blocks = torch.zeros(4, 1, 8, 8)
    for c in range(4):
        blocks[c, :, 2 * c : 2 * c + 2] = 2
    syn = batch(blocks[Y] + 0.3 * normal(20, 1, 8, 8).float(), Y, classes=4)
    real = batch(blocks[real_y] + 0.3 * normal(32, 1, 8, 8, key=1).float(), real_y, classes=4)
    term = MIM(looks)
    assert ShuffledLabels(term)(syn, real).item() > term(syn, real).item() + 0.3


def test_a_random_direction_is_fixed_and_of_norm_one() -> None:
    first, second = (normal(20, 1, 2, 3, key=k).requires_grad_() for k in (0, 1))
    grads = [torch.autograd.grad(RandomDirection(3)(batch(x, Y, 4), batch(x, Y, 4)), x)[0] for x in (first, second)]
    torch.testing.assert_close(grads[0], grads[1])
    assert float(grads[0].norm()) == pytest.approx(1, abs=1e-6)
    other = torch.autograd.grad(RandomDirection(4)(batch(first, Y, 4), batch(first, Y, 4)), first)[0]
    assert abs(float((other * grads[0]).sum())) < 0.3
