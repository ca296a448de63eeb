"""Classes of the data find the model's ids by name, or one sentence says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from infodistill.diffusion.models.class_ids import ids_by_name, read_class_ids

LABELS = {0: "tench, Tinca tinca", 1: "crane", 2: "French horn, horn", 3: "crane, bird", 4: "church"}


def test_names_are_read_in_any_case_as_any_synonym_or_as_the_whole_label() -> None:
    names = ("CHURCH", "tinca  Tinca", "french_horn", "crane, bird")
    assert ids_by_name(names, LABELS, known=5) == (4, 0, 2, 3)
    assert ids_by_name(("Horn", "tench, tinca tinca"), LABELS, known=5) == (2, 0)


def test_a_given_id_wins_and_others_may_be_given_too() -> None:
    given = {"n02": 4, "crane": 3, "church": 0}
    assert ids_by_name(("n02", "crane", "church"), LABELS, given, known=5) == (4, 3, 0)
    assert ids_by_name(("a", "b"), {}, {"a": 1, "b": 0}, known=2) == (1, 0)


REFUSED: dict[str, tuple[tuple[str, ...], dict[str, int], str]] = {
    "missing": (("tench", "zebra"), {}, r"no class called 'zebra' \(it has .* \(5 in all\)\): give class ids by name"),
    "part of a name": (("bir",), {}, "no class called 'bir'"),
    "ambiguous": (("crane",), {}, r"'crane' may mean more than one class of the model \(ids 1 and 3\).*JSON file"),
    "the same": (("tench", "tinca tinca"), {}, r"'tench', 'tinca tinca' are one class of the model \(id 0\)"),
    "given twice": (("a", "church"), {"a": 4}, "'a', 'church' are one class"),
    "not asked": (("church",), {"chruch": 4}, "ids are given for 'chruch', no class of the data \\(it has 'church'\\)"),
    "too large": (("a",), {"a": 5}, r"'a' has id 5, this model's classes count 0\.\.4"),
    "negative": (("a",), {"a": -1}, "'a' has id -1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_names_cannot_say_is_refused_with_the_remedy(case: str) -> None:
    names, given, told = REFUSED[case]
    with pytest.raises(ValueError, match=told) as caught:
        ids_by_name(names, LABELS, given, known=5)
    assert "\n" not in str(caught.value)


def test_ids_are_read_from_json(tmp_path: Path) -> None:
    path = tmp_path / "ids.json"
    path.write_text('{"n01440764": 0, "n02102040": 217}')
    assert read_class_ids(path) == {"n01440764": 0, "n02102040": 217}
    for content in ('{"tench": "0"}', '{"tench": true}', '{"tench": 0.0}'):
        path.write_text(content)
        with pytest.raises(ValueError, match="must map class names to integer ids, 'tench' has"):
            read_class_ids(path)
    path.write_text("[0]")
    with pytest.raises(ValueError, match="one JSON object"):
        read_class_ids(path)
