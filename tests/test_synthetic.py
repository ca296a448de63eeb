"""The synthetic set: what is learned and what is fixed, sets of any size, plans and factors at export."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from infodistill.distillation import Distillation
from infodistill.distilled import ALL_ROWS, Distilled
from infodistill.objective import measure
from infodistill.synthetic import SyntheticSet, from_noise, from_real, synthesise
from infodistill.types import Batch, LabelKind
from infodistill.updates import Update
from infodistill.weights import Weighted
from quadratic import Pull, Tilt
from table import tiny_real


def small(images: int = 2) -> SyntheticSet:
    """A set of fewer images than classes."""
    whole = synthesise(tiny_real(), 1, 0, from_noise)
    return replace(
        whole, pixels=whole.pixels[:images].detach().requires_grad_(), y=whole.y[:images], labels=whole.labels[:images]
    )


@dataclass(frozen=True)
class Mixed:
    """Rows of coefficients over bases that are held here and in the scalars."""

    bases: Tensor

    def __call__(self, stored: Tensor) -> Tensor:
        return (stored @ self.bases.flatten(1)).unflatten(1, self.bases.shape[1:])


def mixed(ipc: int = 3, bases: int = 2) -> SyntheticSet:
    whole = synthesise(tiny_real(), ipc, 0, from_noise)
    b = torch.randn(bases, 1, 8, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    rows = torch.randn(3 * ipc, bases, generator=torch.Generator().manual_seed(2)).requires_grad_()
    scalars = {"bases": b, "rate": torch.tensor(0.5, requires_grad=True)}
    return replace(whole, pixels=rows, scalars=scalars, decode=Mixed(b))


def test_fixed_images_are_not_moved_and_a_set_that_learns_nothing_is_refused() -> None:
    syn = synthesise(tiny_real(), 2, 0, from_real)
    fixed = replace(syn, pixels=syn.pixels.detach())
    with pytest.raises(ValueError, match="images and labels are fixed and there are no scalars"):
        fixed.trainable()
    rate = torch.tensor(0.1, requires_grad=True)
    assert [t is rate for t in replace(fixed, scalars={"rate": rate}).trainable()] == [True]
    assert not fixed.batch().x.requires_grad and syn.batch().x.requires_grad


def test_a_term_on_what_is_fixed_is_refused_by_name() -> None:
    syn = synthesise(tiny_real(), 2, 0, from_real)
    fixed = replace(syn, pixels=syn.pixels.detach(), scalars={"rate": torch.tensor(0.1, requires_grad=True)})
    with pytest.raises(ValueError, match="Tilt depends on nothing that this set learns"):
        measure({"a": Tilt()}, fixed, tiny_real().batch(0, 0, 2), None, 1)


def test_fewer_images_than_classes() -> None:
    syn, real = small(), tiny_real()
    assert (syn.num_classes, syn.ipc, len(syn.batch())) == (3, 1, 2)
    job = Distillation(
        syn, real, {"a": Weighted(1.0, Pull())}, Update(torch.optim.SGD(syn.trainable(), 0.1)), real_per_class=2
    )
    before = syn.pixels.detach().clone()
    list(job.run(1))
    torch.testing.assert_close(syn.pixels.detach(), 0.9 * before)
    made = job.export()
    assert isinstance(made, Distilled) and len(made) == 2 and made.num_classes == 3
    with pytest.raises(ValueError, match="this set has 2 for 3 classes: update all classes jointly"):
        list(replace(job, group=1).run(1))


def test_labels_that_do_not_fit_are_refused() -> None:
    syn = synthesise(tiny_real(), 2, 0, from_noise)
    with pytest.raises(ValueError, match=r"labels must be \(6, 3\), one row per stored image, got \(5, 3\)"):
        replace(syn, labels=syn.labels[:5])
    with pytest.raises(ValueError, match="sums off by"):
        replace(syn, labels=10 * syn.labels)
    assert replace(syn, labels=10 * syn.labels, kind=LabelKind.SCORES).batch().kind is LabelKind.SCORES
    with pytest.raises(ValueError, match="down to"):  # logits without their softmax
        replace(syn, labels=torch.randn(6, 3))


def test_group_gradients_keep_every_scalar_even_one_as_long_as_the_set() -> None:
    syn = replace(
        synthesise(tiny_real(), 2, 0, from_noise), scalars={"rates": torch.full((6,), 0.1, requires_grad=True)}
    )
    images, rates = syn.restrict([torch.ones_like(t) for t in syn.trainable()], [1])
    assert images.flatten(1).mean(1).tolist() == [0, 0, 1, 1, 0, 0]
    assert rates.tolist() == [1] * 6


def test_the_plan_is_read_when_the_set_is_exported() -> None:
    syn = synthesise(tiny_real(), 2, 0, from_noise)
    assert syn.export().plan == (ALL_ROWS,)
    rate = torch.tensor(0.5, requires_grad=True)
    learned = replace(
        syn, scalars={"rate": rate}, plan=lambda s: [{"rows": None, "rates": float(s.scalars["rate"]), "epochs": 3}]
    )
    with torch.no_grad():
        rate.fill_(0.25)
    made = learned.export()
    assert made.plan == ({"rows": None, "rates": 0.25, "epochs": 3},)
    assert made.scalars_bytes == 4


def test_factors_are_stored_and_counted_instead_of_the_images() -> None:
    syn = mixed()
    made = syn.export()
    assert torch.equal(made.images, syn.batch().x) and set(made.factors) == {"rows", "bases"}
    assert set(made.scalars) == {"rate"}
    assert made.images_bytes == 4 * (9 * 2 + 2 * 64)
    assert synthesise(tiny_real(), 2, 0, from_noise).export().factors == {}


def test_what_was_exported_does_not_follow_the_set() -> None:
    for syn in (synthesise(tiny_real(), 2, 0, from_noise), mixed()):
        made = syn.export()
        before = (made.images.clone(), {name: value.clone() for name, value in made.factors.items()})
        with torch.no_grad():
            for tensor in syn.trainable():
                tensor.add_(1)
        assert torch.equal(made.images, before[0])
        assert all(torch.equal(made.factors[name], value) for name, value in before[1].items())


def test_a_copied_set_decodes_with_its_own_bases() -> None:
    syn = copy.deepcopy(mixed())
    assert isinstance(syn.decode, Mixed) and syn.decode.bases is syn.scalars["bases"]
    assert all(tensor.requires_grad for tensor in syn.trainable())
    made = mixed()
    syn.scalars["bases"].detach().mul_(2)
    torch.testing.assert_close(syn.batch().x, 2 * made.batch().x)


def test_an_optimiser_that_restarts_forgets_its_moments() -> None:
    def moved(restarts) -> list[float]:
        x = torch.zeros(1, requires_grad=True)
        update = Update(torch.optim.SGD([x], 1.0, momentum=0.5), restarts=restarts)
        out = []
        for step in range(4):
            before = float(x.detach())
            update.begin(step)
            update.apply([x], [torch.ones(1)], step)
            out.append(before - float(x.detach()))
        return out

    assert moved(None) == [1.0, 1.5, 1.75, 1.875]
    assert moved(lambda step: step == 2) == [1.0, 1.5, 1.0, 1.5]


def test_terms_share_any_source_that_holds_the_step() -> None:
    from contextlib import contextmanager

    from infodistill.types import Source

    class Counted(Source[int]):
        open, made = False, 0

        def draw(self) -> int:
            self.made += not self.open or not self.made
            return self.made

        @contextmanager
        def holding(self):
            self.open, self.made = True, 0
            yield
            self.open = False

    @dataclass(frozen=True)
    class Asks:
        source: Counted

        def __call__(self, syn: Batch, real: Batch) -> Tensor:
            return syn.x.sum() * self.source.draw()

    source, syn = Counted(), synthesise(tiny_real(), 2, 0, from_noise)
    for parts, made in ((1, 1), (2, 2)):
        source.made = 0
        measure({"a": Asks(source), "b": Asks(source)}, syn, tiny_real().batch(0, 0, 2), None, parts)
        assert source.made == made


@pytest.mark.parametrize("shown", [1, 2])
def test_batches_hold_the_rows_that_are_shown(shown: int) -> None:
    real = tiny_real()
    syn = synthesise(real, 2, 0, from_real)
    syn.shown = lambda: shown
    assert torch.equal(syn.batch().x, torch.cat([syn.pixels[2 * c : 2 * c + shown] for c in range(3)]))
    assert syn.batch().y.tolist() == [c for c in range(3) for _ in range(shown)]
    assert torch.equal(syn.batch([2, 0]).x, torch.cat([syn.pixels[4 : 4 + shown], syn.pixels[:shown]]))
    (kept,) = syn.restrict([torch.ones_like(syn.pixels)], [1])
    assert kept.flatten(1).any(1).tolist() == [False, False, True, shown == 2, False, False]
