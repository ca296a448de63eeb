"""IGDS: its rules, what it reads from real data, what it leaves alone, and what its forces do to samples."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import infodistill.diffusion.given as given
import infodistill.diffusion.igds as module
from guided import ENCODED, MODEL, NONE, REAL, TEACHERS, drawn, made
from infodistill.augment import identity
from infodistill.diffusion.estimators import PROTOTYPES, Given, Tightest, prototype_scale
from infodistill.diffusion.guidance import Force, Watched
from infodistill.diffusion.igds import IGDS, RULES, Fixed, beta, contextual_push, igds
from infodistill.diffusion.in_pixels import InPixels
from infodistill.information.cmi import CMI
from infodistill.information.mim import MIM
from infodistill.looks import Looks
from infodoubles import PixelTeacher, batch


def test_the_push_of_the_prototype_falls_from_ten_to_fifty_images() -> None:
    assert [prototype_scale(n) for n in (1, 2, 10)] == [1.0] * 3
    assert prototype_scale(50) == prototype_scale(500) == pytest.approx(0.3)
    middle = round(math.sqrt(500))  # half-way in log n: the geometric mean, up to rounding of n
    assert prototype_scale(middle) == pytest.approx(math.sqrt(0.3), rel=0.02)
    assert 1 > prototype_scale(20) > prototype_scale(40) > 0.3


def test_beta_is_the_contextual_push_over_the_prototypes() -> None:
    assert beta(1) == 0 and contextual_push(1) == 0
    for n, prototype in ((2, "p3"), (5, "p3"), (30, "p3"), (50, "p3-coupled")):
        wanted = 0.2 * min(1, math.log(n) / math.log(5))
        assert beta(n, PROTOTYPES[prototype]) * prototype_scale(n) == pytest.approx(wanted)
    assert beta(10) == pytest.approx(0.2) and beta(50) == pytest.approx(0.2 / 0.3)
    assert beta(5, scale=0.5) == pytest.approx(0.4) and beta(5, scale=0.0) == 0


def test_facts_tell_every_number_in_use() -> None:
    read = Given(MODEL, ENCODED, 3)
    facts = igds(MODEL, ENCODED, 3).facts
    assert facts["s"] == 1 and facts["beta"] == pytest.approx(0.2 * math.log(3) / math.log(5))
    assert facts["contextual"]["variance"] == pytest.approx(read.pair_distance / (8 * math.log(4)))
    assert facts["prototype"]["bandwidth"] == read.tightest[0] and facts["variance"] == ENCODED.variance
    one = Given(MODEL, ENCODED, 1)
    assert igds(MODEL, ENCODED, 1).facts["prototype"]["bandwidth"] == pytest.approx(3 * one.tightest[0])
    assert (
        Tightest(0.5)(one) == pytest.approx(0.5 * one.tightest[0]) and "contextual" not in igds(MODEL, ENCODED, 1).facts
    )
    pairs = torch.cat([torch.pdist(ENCODED.x[rows].flatten(1)) for rows in ENCODED.members])
    assert read.pair_distance == pytest.approx(float(pairs.square().median()), rel=1e-5)


def test_without_a_push_it_is_plain_sampling_bit_for_bit() -> None:
    base = drawn()
    assert torch.equal(made(scale=Fixed(0.0)), base)
    assert torch.equal(made(prototype=PROTOTYPES["none"], contextual=NONE), base)
    assert not torch.equal(made(), base)


def test_the_contextual_term_is_inert_at_one_image_and_at_beta_zero() -> None:
    alone = made(1, contextual=NONE)
    assert torch.equal(made(1), alone)
    assert torch.equal(made(1, beta=Fixed(0.7)), alone)  # it is there, and its force is exactly zero
    assert torch.equal(made(3, beta=Fixed(0.0)), made(3, contextual=NONE))
    assert not torch.equal(made(3), made(3, contextual=NONE))


Y = torch.arange(5).repeat_interleave(3)
TERMS = {"cmi": (CMI(PixelTeacher()), 0), "mim": (MIM(Looks(TEACHERS, identity(), 0, reads=None)), 8)}


@pytest.mark.parametrize("name", sorted(TERMS))
def test_cmi_and_mim_guide_too(name: str) -> None:
    """Downhill in the cost with a positive push, uphill with a negative one; nothing else is needed."""
    term, per_class = TERMS[name]
    shown = InPixels(term, MODEL.codec, REAL.space, per_class=per_class)

    def cost(x: Tensor) -> float:
        return float(shown(batch(x, Y, classes=5, space=ENCODED.space), ENCODED.minibatch()(0.0)))

    alone = IGDS(prototype=PROTOTYPES["none"], contextual=NONE)
    down, up = (
        drawn(igds(MODEL, ENCODED, 3, settings=alone, extra={name: Force(shown, push)})) for push in (0.3, -0.3)
    )
    assert cost(down) < cost(drawn()) < cost(up)


def test_extra_forces_add_to_the_bounds_and_have_names_of_their_own() -> None:
    force = Force(InPixels(CMI(PixelTeacher()), MODEL.codec, REAL.space, per_class=0), 0.3)
    both = igds(MODEL, ENCODED, 3, extra={"cmi": force})
    assert list(both.forces) == ["prototype", "contextual", "cmi"]
    assert not torch.equal(drawn(both), made())
    with pytest.raises(ValueError, match="cannot be called prototype"):
        igds(MODEL, ENCODED, 3, extra={"prototype": force})


def test_everything_is_watched() -> None:
    seen: list[Watched] = []
    base = drawn(igds(MODEL, ENCODED, 3))
    assert torch.equal(drawn(igds(MODEL, ENCODED, 3, watch=seen.append)), base)
    assert seen and all(set(told.values) == {"prototype", "contextual"} for told in seen)
    assert all(bool((told.values["contextual"] <= math.log(3) + 1e-5).all()) for told in seen)
    assert max(told.sigma for told in seen) <= MODEL.sigma_at(0.9) + 1e-6
    sizes = seen[0].pushes["prototype"].unflatten(0, (5, 3)).square().mean(1).sqrt()  # quiet classes stay below
    assert float(sizes.max()) == pytest.approx((1 - 1 / (1 + seen[0].sigma ** 2)) ** 0.5, rel=1e-3)


def test_decoupled_classes_do_not_depend_on_their_company() -> None:
    steer = igds(MODEL, ENCODED, 3)
    torch.testing.assert_close(drawn(steer, together=1), drawn(steer), atol=1e-4, rtol=0)
    coupled = igds(MODEL, ENCODED, 3, settings=IGDS(prototype=PROTOTYPES["p3-coupled"]))
    assert not torch.equal(drawn(coupled), drawn())
    with pytest.raises(ValueError, match="all 5 classes sampled together, got 1"):
        drawn(coupled, together=1)


def test_micro_batches_leave_the_set_as_it_is() -> None:
    steer = igds(MODEL, ENCODED, 3)
    torch.testing.assert_close(drawn(steer, most=2), drawn(steer), atol=1e-4, rtol=0)


def test_bayes_follows_the_gradient_where_the_default_normalises() -> None:
    seen: dict[str, list[Watched]] = {name: [] for name in RULES}
    for name, rule in RULES.items():
        settings = IGDS(rule=rule, clip=None, contextual=NONE, bandwidth=Tightest(10.0))
        drawn(igds(MODEL, ENCODED, 3, settings=settings, watch=seen[name].append))
    one, other = (seen[name][0].pushes["prototype"].unflatten(0, (5, 3)) for name in ("bayes", "normalised"))
    ratio = one / other  # the same direction and one factor a class: the first step starts from the same images
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-3, atol=0)
    assert float(ratio[:, 0].std() / ratio[:, 0].mean()) > 0.1


def test_many_classes_show_fewer_real_images_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHOWN", 60)
    for per_class, rows in ((20, 12), (5, 5), (None, 30)):
        assert len(igds(MODEL, ENCODED, 3, settings=IGDS(per_class=per_class)).real(1.0)) == 5 * rows
    monkeypatch.setattr(module, "SHOWN", 5)
    assert len(igds(MODEL, ENCODED, 3).real(1.0)) == 5 * 8
    monkeypatch.setattr(given, "CENTRES_IN_ALL", 10)
    assert Given(MODEL, ENCODED, 3).centres.shape[:2] == (5, 2)


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="got 0"):
        igds(MODEL, ENCODED, 0)
