"""`distill --validate`: which strengths are candidates, and what is said of the choice."""

from __future__ import annotations

from typing import Any

import pytest

from infodistill.building.jobs import parse_add
from infodistill.tuning.choosing import candidates, words


@pytest.mark.parametrize(
    ("grid", "tried"),
    [
        ("cmi=ratio:0.01,3", ["ratio:0", "ratio:0.01", "ratio:3"]),
        ("cmi=0,ratio:0.01", ["0", "ratio:0.01"]),
        ("cmi=8000,ratio:0,ratio:0.01", ["0", "8000", "ratio:0.01"]),
    ],
)
def test_every_grid_has_zero_once_and_first(grid: str, tried: list[str]) -> None:
    name, strengths = parse_add(grid)
    assert [str(found[name]) for found in candidates({name: strengths})] == tried


def record(chosen: str, **accuracies: list[float]) -> dict[str, Any]:
    scores = {name: sum(found) / len(found) for name, found in accuracies.items()}
    return {"chosen": chosen, "scores": scores, "accuracies": accuracies, "held_out_images": 130, "nets": 3}


def test_the_choice_is_told_with_what_it_rests_on() -> None:
    told = words(record("b", a=[0.5, 0.5, 0.5], b=[0.9, 0.95, 1.0]))
    assert told == "chosen: b (held-out accuracy 95.0 ± 5.0 %, 130 images, 3 networks); tried a 50.0"
    tie = words(record("a", a=[0.5, 0.75, 1.0], b=[0.75, 0.75, 0.75], c=[0.25, 0.25, 0.25]))
    assert tie.endswith("tried b 75.0, c 25.0; it ties with b, and the first is taken")


def test_a_choice_of_an_earlier_release_is_told_too() -> None:
    known = record("a", a=[0.5, 0.5, 0.5])
    del known["accuracies"]
    assert words(known) == "chosen: a (held-out accuracy 50.0 %, 130 images, 3 networks)"
