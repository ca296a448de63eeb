"""Prototype and contextual terms built from real images: each raises what it stands for, and says what it lacks."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from guided import ENCODED, MODEL, NONE, REAL, TEACHERS, NearestMean, drawn, log_q, made, truth
from infodistill.compute import View
from infodistill.diffusion.encoded import Encoded
from infodistill.diffusion.given import Given, Tightest, code_variance
from infodistill.diffusion.igds import CONTEXTUALS, PROTOTYPES, ROUTES, Fixed, igds
from infodistill.information.bandwidths import tightest_bandwidth
from infodistill.information.set_decoder import set_decoder_information


def test_bandwidths_are_read_on_images_the_centres_were_not_fitted_to() -> None:
    """Fifteen centres of thirty images a class: on their own images the narrowest bandwidth of all looks best."""
    given = Given(MODEL, ENCODED, 15)
    codes, code_y = given.centres.flatten(0, 1), torch.arange(5).repeat_interleave(15)
    own, value = tightest_bandwidth(given.features, given.read.y, codes, code_y, classes=5)
    h, held = given.tightest
    assert h > 2 * own and held < value
    lone = torch.cat([rows[:1] if label == 2 else rows for label, rows in enumerate(ENCODED.members)])
    batch = ENCODED.rows(lone)
    few = Given(MODEL, Encoded(batch.x, batch.y, ENCODED.space, ENCODED.class_names), 3)
    assert math.isfinite(few.tightest[1]) and few.centres.shape[:2] == (5, 1)
    none = Encoded(batch.x[batch.y != 2], batch.y[batch.y != 2], ENCODED.space, ENCODED.class_names)
    with pytest.raises(ValueError, match=r"1\.\.0 \(rows of class 2\)"):
        igds(MODEL, none, 3)


def test_the_width_of_a_gaussian_code_is_half_the_way_to_the_next_image() -> None:
    given = Given(MODEL, ENCODED, 3)
    near = [
        torch.cdist(f, f).fill_diagonal_(math.inf).min(1).values
        for f in (ENCODED.x[rows].flatten(1) for rows in ENCODED.members)
    ]
    assert code_variance(given) == pytest.approx(float((torch.cat(near) / 2).square().median()), rel=1e-4)


def information(x: Tensor) -> float:
    """P3's bound on the real I(X;Y), with these images as the set."""
    y, h = torch.arange(5).repeat_interleave(3), Given(MODEL, ENCODED, 3).tightest[0]
    real_f = ENCODED.x.flatten(1)
    return float(set_decoder_information(real_f, ENCODED.y, x.flatten(1), y, bandwidth=h, classes=5))


@pytest.mark.parametrize("name", ["p3", "p3-coupled"])
@pytest.mark.parametrize("route", sorted(ROUTES))
def test_the_set_decoder_raises_the_bound_and_the_flipped_sign_lowers_it(name: str, route: str) -> None:
    settings = {"prototype": PROTOTYPES[name], "contextual": NONE, "route": ROUTES[route]}
    up, down = (made(scale=Fixed(sign), **settings) for sign in (1.0, -1.0))
    assert information(up) > information(drawn()) > information(down)


@pytest.mark.parametrize("name", ["p1", "p2"])
def test_a_classifier_raises_log_q_and_the_flipped_sign_lowers_it(name: str) -> None:
    settings = {
        "prototype": PROTOTYPES[name],
        "contextual": NONE,
        "noisy_classifier": truth,
        "teachers": TEACHERS,
    }
    up, down = (made(scale=Fixed(sign), **settings) for sign in (0.3, -0.3))
    assert log_q(up) > log_q(drawn()) > log_q(down)


def spread(x: Tensor) -> float:
    return float(torch.cdist(sets := x.flatten(1).unflatten(0, (5, -1)), sets).mean())


@pytest.mark.parametrize("name", sorted(CONTEXTUALS.keys() - {"none"}))
def test_a_contextual_term_raises_its_own_value(name: str) -> None:
    teachers = TEACHERS
    wide = Tightest(10.0)  # five digits are told apart at any bandwidth; at the tightest, a codebook's force is noise
    term = CONTEXTUALS[name].build(Given(MODEL, ENCODED, 3, teachers=teachers, bandwidth=wide))
    real = ENCODED.minibatch()(0.0)

    def value(x: Tensor) -> float:
        return -float(term(replace(real.rows(torch.arange(15)), x=x, y=torch.arange(5).repeat_interleave(3)), real))

    alone = {"prototype": PROTOTYPES["none"], "contextual": CONTEXTUALS[name], "teachers": teachers, "bandwidth": wide}
    up, down = made(**alone, scale=Fixed(1.0), beta=Fixed(0.3)), made(**alone, scale=Fixed(1.0), beta=Fixed(-0.3))
    assert value(up) > value(drawn()) > value(down)
    if name in ("c2", "c3", "c5", "c5-vendi"):
        assert spread(up) > spread(drawn()) > spread(down)


def test_classifiers_that_are_missing_or_unsure_of_their_space_are_refused() -> None:
    given = Given(MODEL, ENCODED, 2)
    with pytest.raises(ValueError, match="P1 needs a noise-aware classifier"):
        PROTOTYPES["p1"].build(given)
    for builder in (PROTOTYPES["p2"], CONTEXTUALS["c1-own"], CONTEXTUALS["c1-real"]):
        with pytest.raises(ValueError, match="need teachers, classifiers of clean images, got none"):
            builder.build(given)
        with pytest.raises(ValueError, match="know the value space"):
            builder.build(replace(given, teachers=[View.own(NearestMean())]))


def test_real_centroids_are_those_of_the_real_images() -> None:
    view = View.own(NearestMean(), space=REAL.space)
    built = CONTEXTUALS["c1-real"].build(Given(MODEL, ENCODED, 2, teachers=[view]))
    batch = REAL.rows(torch.arange(len(REAL)))
    p = view.logits(batch.x, batch.space).softmax(1)
    wanted = torch.stack([p[batch.y == label].mean(0) for label in range(5)])
    torch.testing.assert_close(built.term.centroids.exp(), wanted, atol=1e-5, rtol=1e-4)
