"""The information profile: closed forms, controls, intervals that cover, and numbers that do not exist."""

from __future__ import annotations

import json
import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from infodistill.compute import View
from infodistill.information.cmi import conditional_mutual_information
from infodistill.measures.measuring import profile
from infodistill.measures.profiling import ALONE, Effort, information_profile
from infodistill.measures.reading import Reading, class_mean, halved, interval, resampled
from infodistill.measures.seen import Ground, Seen, plain_bytes
from infodistill.measures.stages import Critic, calibrated, fitted_critics, shared_information
from infodistill.measures.usable import by_network, by_pixels, usable_rows
from infodistill.nets.convnet import convnet
from infodistill.real import RealData
from infodistill.seeding import build_seeded, stream
from infodistill.types import Batch, pixel_space
from toys import Affine

SPACE = pixel_space(1)
CLASSES, SIDE = 3, 8
EFFORT = Effort(2, 2, 20)


def gathered(centres: Tensor, per_class: int, seed: int, spread: float = 0.1) -> tuple[Tensor, Tensor]:
    y = torch.arange(len(centres)).repeat_interleave(per_class)
    noise = torch.randn(len(y), 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    return ((centres[y] + spread * noise).clamp(0, 1) * 255).round().to(torch.uint8), y


@pytest.fixture(scope="module")
def ground() -> Ground:
    """Three classes far apart, seen by one random linear network."""
    centres = torch.rand(CLASSES, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
    names = ["one", "two", "three"]
    test = RealData(*gathered(centres, 20, 2), names, SPACE, "toy")
    real = RealData(*gathered(centres, 30, 1), names, SPACE, "toy", test=test)
    net = build_seeded(lambda: Affine(real.shape, CLASSES), torch.Generator().manual_seed(0))
    return Ground(real, [View.own(net, space=SPACE)], net=convnet(depth=1, width=4))


def some(ground: Ground, ipc: int = 5) -> Batch:
    return ground.real.rows(ground.real.sample(0, ipc))


@pytest.fixture(scope="module")
def told(ground: Ground) -> dict[str, Any]:
    return information_profile(some(ground), ground, effort=EFFORT)


def entries(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: entry for name, entry in told.items() if isinstance(entry, dict)}


def channel(error: float, per_class: int) -> Batch:
    """Black images of class 0 and white ones of class 1; a share `error` of each has the wrong colour."""
    wrong = torch.arange(per_class) < round(error * per_class)
    colour = torch.cat([wrong.float(), 1 - wrong.float()])
    y = torch.arange(2).repeat_interleave(per_class)
    return Batch(colour.view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous(), y, torch.eye(2)[y], SPACE)


@pytest.mark.parametrize(
    ("student", "loss"), [(by_pixels, 1e-3), (by_network(Affine, updates=200), 0.02)], ids=["linear", "network"]
)
@pytest.mark.parametrize("error", [0.1, 0.3])
def test_a_binary_channel_gives_its_information(student: Any, loss: float, error: float) -> None:
    """Two clean images, told how far to trust them by training images: log 2 - H(error), which is all there is.

    The network loses a little: its random start favours one of the classes.
    """
    rows = math.log(2) + usable_rows(student, channel(0, 1), channel(error, 200), channel(error, 100))
    entropy = -error * math.log(error) - (1 - error) * math.log(1 - error)
    reading = class_mean(rows, channel(error, 100).y)
    assert math.log(2) - entropy - loss <= reading.value <= math.log(2) - entropy + 1e-9
    low, high = interval(reading, seed=0, owner="channel", resamples=100) or (0, 0)
    assert low < math.log(2) - entropy < high


def test_useless_and_wrong_sets_claim_nothing() -> None:
    known = channel(0.1, 100)
    rows = usable_rows(by_pixels, Batch(*_swapped(channel(0, 1)), SPACE), known, known)
    assert torch.allclose(rows, torch.full_like(rows, -math.log(2)))


def _swapped(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    return batch.x, 1 - batch.y, batch.target.flip(1)


def test_soft_labels_are_learned_from() -> None:
    hard = channel(0, 1)
    soft = Batch(hard.x, hard.y, torch.full((2, 2), 0.5), SPACE)
    for student in (by_pixels, by_network(Affine, updates=20)):
        apart = [(scores[0] - scores[1]).abs().max() for scores in (student(soft)(hard), student(hard)(hard))]
        assert apart[0] < apart[1]


def test_intervals_cover_a_mean_95_times_in_100() -> None:
    y = torch.zeros(80, dtype=torch.int64)
    hits = 0
    for trial in range(200):
        rows = torch.empty(80, dtype=torch.float64).exponential_(generator=stream(trial, "rows"))
        low, high = interval(class_mean(rows, y), seed=trial, owner="mean", resamples=60) or (0, 0)
        hits += low < 1 < high
    assert 0.88 <= hits / 200 <= 0.985


def test_halves_scatter_like_the_whole() -> None:
    """The interval of a mean by half-sampling is that of theory, 1.96 s / sqrt(n)."""
    rows = torch.randn(400, generator=stream(0, "halves"), dtype=torch.float64)
    y = torch.arange(400) % 2
    reading = Reading(float(rows.mean()), lambda generator: float(rows[halved(y, generator)].mean()))
    low, high = interval(reading, seed=0, owner="halves", resamples=300) or (0, 0)
    assert (high - low) / 2 == pytest.approx(1.96 * float(rows.std()) / 20, rel=0.12)


def test_resamples_keep_the_classes() -> None:
    y = torch.tensor([2, 0, 2, 2, 0, 1])
    generator = stream(0, "keep")
    for _ in range(20):
        rows, half = resampled(y, generator), halved(y, generator)
        assert torch.equal(y[rows], torch.tensor([0, 0, 1, 2, 2, 2]))
        assert torch.equal(y[half], torch.tensor([0, 1, 2, 2])) and len(half.unique()) == 4


def test_class_mean_counts_classes_equally() -> None:
    reading = class_mean(torch.tensor([1.0, 1, 1, 5]), torch.tensor([0, 0, 0, 4]))
    assert reading.value == pytest.approx(3)
    assert interval(reading, seed=0, owner="x", resamples=5) == pytest.approx((3, 3))  # nothing differs within a class


def test_every_number_has_its_controls_and_a_note(told: dict[str, Any]) -> None:
    names = ["usable_linear", "usable_network", "decoded", "neighbours", "c2", "c5", "cmi", "per_byte"]
    assert list(entries(told)) == [*names, "mi_pixels", "mi_stage1"]
    for entry in entries(told).values():
        low, high = entry["interval"] or (entry["mean"], entry["mean"])
        assert entry["reason"] is None and low <= entry["mean"] <= high
        assert entry["bound"] in ("lower", "upper", "none") and entry["over"] and entry["title"]
        assert len(entry["note"]) > 80 and (entry["random"]["n"], entry["shuffled"]["n"]) == (2, 2)
    assert {name for name, entry in entries(told).items() if entry["bound"] == "none"} == {
        "neighbours", "cmi", "mi_pixels", "mi_stage1",
    }  # fmt: skip
    assert [name for name, entry in entries(told).items() if not entry["interval"]] == ["neighbours"]  # too few halves
    json.dumps(told, allow_nan=False)


def test_ranges_and_controls(told: dict[str, Any]) -> None:
    log_c = math.log(CLASSES)
    for name in ("usable_linear", "usable_network", "decoded", "mi_pixels", "mi_stage1"):
        entry = told[name]
        assert entry["ceiling"] == pytest.approx(log_c) and entry["mean"] < log_c + 0.05
        assert entry["share"] == pytest.approx(entry["mean"] / log_c)
        assert -0.02 < entry["shuffled"]["mean"] < 0.1 * entry["random"]["mean"]
        assert entry["interval"][1] <= log_c + 1e-9
    assert told["decoded"]["mean"] > 0.9 * log_c and told["usable_linear"]["mean"] > 0.9 * log_c
    assert told["neighbours"]["mean"] == pytest.approx(told["neighbours"]["ceiling"])  # classes do not touch
    for name in ("c2", "c5"):
        assert 0 <= told[name]["mean"] <= math.log(5) == told[name]["ceiling"]
        assert told[name]["shuffled"]["mean"] > told[name]["mean"]


def test_bits_per_byte_are_the_networks_bits(ground: Ground, told: dict[str, Any]) -> None:
    size = plain_bytes(some(ground))
    assert told["set_bytes"] == size == 15 * (4 * SIDE * SIDE + 8)
    expected = 1000 * told["usable_network"]["mean"] / math.log(2) / size
    assert told["per_byte"]["mean"] == pytest.approx(expected)
    half = information_profile(some(ground), ground, stored=size // 2, effort=ALONE)
    assert half["per_byte"]["mean"] == pytest.approx(2 * expected, rel=1e-3)


def test_the_same_seed_reads_the_same(ground: Ground, told: dict[str, Any]) -> None:
    assert information_profile(some(ground), ground, effort=EFFORT) == told


def test_cmi_is_the_mean_over_teachers(ground: Ground, told: dict[str, Any]) -> None:
    p = Seen(some(ground), ground, 1).features[0].softmax(1)
    assert told["cmi"]["mean"] == pytest.approx(float(conditional_mutual_information(p, some(ground).y)))


def test_what_is_not_defined_says_why_and_takes_nothing_down(ground: Ground) -> None:
    one = information_profile(some(ground, 1), ground, effort=ALONE)
    assert one["neighbours"]["mean"] is None and "two images" in one["neighbours"]["reason"]
    assert one["c2"]["mean"] == pytest.approx(0) and one["usable_linear"]["mean"] > 0.5
    told = information_profile(some(ground, 1), ground, effort=Effort(0, 0, 4))
    assert all(told[name]["interval"] is None for name in ("c2", "c5", "cmi")) and told["decoded"]["interval"]
    batch = some(ground)
    part = information_profile(batch.rows(batch.y < 2), ground, effort=Effort(1, 1, 4))
    for name in ("usable_linear", "usable_network", "decoded", "per_byte"):
        assert part[name]["mean"] is None and "'three'" in part[name]["reason"] and part[name]["interval"] is None
        assert part[name]["random"]["n"] == 1 and part[name]["shuffled"] is None
    assert part["c2"]["mean"] > 0 and part["neighbours"]["mean"] > 0
    json.dumps(part, allow_nan=False)


def test_data_too_small_for_random_subsets_say_so(ground: Ground) -> None:
    large = some(ground, 5).rows(torch.arange(15).repeat(7))
    told = information_profile(large, ground, effort=Effort(1, 0, 0))
    assert told["c2"]["random"] is None and "30 images" in told["c2"]["random_reason"] and told["c2"]["mean"] > 0


def test_a_set_without_a_class_keeps_its_other_numbers(ground: Ground) -> None:
    batch = some(ground)
    told = profile(batch.rows(batch.y < 2), ground.real, ground.views, per_class=4)
    assert told["ceiling"]["mean"] == pytest.approx(math.log(2)) and told["nce"]["mean"] <= math.log(2)
    assert told["profile"]["decoded"]["mean"] is None and told["profile"]["c2"]["mean"] == pytest.approx(
        told["c2"]["mean"]
    )


def test_copies_have_no_nearest_neighbour(ground: Ground) -> None:
    copies = some(ground, 1).rows(torch.arange(CLASSES).repeat_interleave(5))
    told = information_profile(copies, ground, effort=ALONE)
    assert told["neighbours"]["mean"] is None and "occurs 5 times" in told["neighbours"]["reason"]
    assert told["c2"]["mean"] == pytest.approx(0, abs=1e-9)


def test_stages_read_what_the_label_joins() -> None:
    """One-hot features: an ideal critic reads log C, features of the other classes' images read below 0."""
    y = torch.arange(4).repeat_interleave(8)
    f = torch.eye(4)[y] + 1e-3 * torch.randn(32, 4, generator=stream(0, "stage"))
    critic = Critic(f.mean(0), 0.05)
    reading = partial(shared_information, [critic], [f])
    assert reading(y, [f], y).value == pytest.approx(math.log(4), abs=1e-3)
    assert reading(y, [f], (y + 1) % 4).value < -5
    (fitted,) = fitted_critics([f], y)
    assert fitted.temperature == 0.05 and torch.equal(fitted.mean, f.mean(0))
    assert calibrated(critic, f, y, f, y) is critic  # on training images; of wrong labels it claims nothing
    assert reading(y, [f], y).most == math.log(4)
    silent = calibrated(critic, f, (y + 1) % 4, f, y)
    assert shared_information([silent], [f], (y + 1) % 4, [f], y).value == 0
