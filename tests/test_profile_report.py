"""The profile as people see it: the section of the report and the lines of the command."""

from __future__ import annotations

from typing import Any

import pytest

from infodistill.artefact import record_measure, versions
from infodistill.report import report
from infodistill.reporting.profile import about, other_facts, profile_lines, rows_of, shown, value_words
from toys import artefact

CONTROL = {"mean": 0.5, "std": 0.1, "n": 3}


def entry(**changes: Any) -> dict[str, Any]:
    usual = {"title": "usable <b>", "mean": 1.5, "interval": [1.2, 1.8], "over": "held-out images", "bound": "lower"}
    more = {
        "ceiling": 2.0,
        "share": 0.75,
        "unit": "nats",
        "reason": None,
        "note": "What it says & not.",
        "random": CONTROL,
    }
    return {**usual, **more, "shuffled": {"mean": -0.5, "std": 0.0, "n": 2}, **changes}


def facts(**numbers: Any) -> dict[str, Any]:
    told = {"set_bytes": 1234, "label_entropy": 2.0, **numbers}
    return {"unit": "nats", "images": 10, "networks": 2, "held_out": "50 test images", "profile": told}


def test_bars_share_one_axis_from_the_lowest_value_to_the_ceiling() -> None:
    (row,) = rows_of({"set_bytes": 1, "x": entry()})
    own, random, wrong = row["bars"]
    assert (own["start"], own["width"], own["ceiling"]) == (20, 60, 100)
    assert own["whisker"] == (68, 92) and (random["start"], random["width"]) == (20, 20)
    assert (wrong["start"], wrong["width"]) == (0, 20) and wrong["text"] == "−0.500 ± 0 (n=2)"
    assert row["direction"] == "at least" and row["value"] == "1.50 nats, 75 % of H(Y)"
    assert "95 %" in row["note"] and "held-out images" in row["note"]


def test_a_number_that_does_not_exist_is_said_so() -> None:
    (row,) = rows_of({"x": entry(mean=None, interval=None, share=None, reason="no image of class 3")})
    assert row["value"] == "not defined" and [bar["kind"] for bar in row["bars"]] == ["random", "shuffled"]
    assert [row["bars"] for row in rows_of({"x": entry(mean=None, interval=None, random=None, shuffled=None)})] == [[]]
    text = "\n".join(profile_lines(facts(x=entry(mean=None, interval=None, share=None, reason="no image of class 3"))))
    assert "not defined (no image of class 3)" in text


def test_lines_name_value_interval_controls_and_note() -> None:
    text = "\n".join(profile_lines(facts(x=entry(), y=entry(title="second"))))
    assert "1,234 bytes" in text and "H(Y) = 2.00 nats" in text
    assert "usable <b>: at least 1.50 nats, 75 % of H(Y) [1.20, 1.80]" in text
    assert "random real images 0.500 ± 0.100 (n=3); wrong labels −0.500 ± 0 (n=2)" in text
    assert text.count("What it says & not.") == 1 and "Read as above." in text


@pytest.mark.parametrize(
    ("value", "text"), [(2.3456, "2.35"), (-1.5, "−1.50"), (0.12345, "0.123"), (0.00012, "0.00012"), (-1e-16, "0")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert shown(value) == text


def test_bits_per_byte_of_a_large_set_are_no_zero() -> None:
    assert shown(3.21e-7) == "3.2e−07" and shown(-0.00456) == "−0.0046" and shown(0.0) == "0"


def test_what_was_read_against_is_said() -> None:
    against = {"data": "digits", "fingerprint": "ab" * 32, "test_fingerprint": "cd" * 32, "seed": 7}
    against |= {"effort": {"subsets": 3, "shuffles": 2, "resamples": 100}, "versions": versions()}
    told = about({**facts(), "against": {**against, "teachers": {"net": "convnet2-w4", "count": 2, "digest": "e"}}})
    for words in (
        "of digits (fingerprint abababab, its test part cdcdcdcd)",
        "2 convnet2-w4 teachers of measure's own",
    ):
        assert words in told
    assert "seed 7, 3 random subsets, 2 sets with wrong labels, 100 resamples" in told and "torch 2" in told
    alone = about({**facts(), "against": {**against, "test_fingerprint": None}})
    assert "(fingerprint abababab), through 2 teachers; seed 7" in alone
    assert "through 2 teachers. The label" in about(facts())  # a profile of an older release


def test_controls_that_do_not_exist_say_why() -> None:
    text = "\n".join(profile_lines(facts(x=entry(shuffled=None, shuffled_reason="a set of one class"))))
    assert "a set of one class" in text and "wrong labels" not in text


def test_words_leave_out_a_share_that_is_not_there() -> None:
    assert value_words(entry(share=None, unit="millibits per byte")) == "1.50 millibits per byte"


def test_the_report_shows_the_profile_escaped_and_nothing_without_one(tmp_path: Any) -> None:
    folder = artefact().save(tmp_path / "set")
    text = report([folder], tmp_path / "none.html").read_text()
    assert "What the set says about the data" not in text
    record_measure(folder, facts(x=entry()))
    text = report([folder], tmp_path / "page.html").read_text()
    assert "What the set says about the data" in text and "usable &lt;b&gt;" in text and "1.50 nats" in text
    assert "<script" not in text and "http" not in text.replace("http-equiv", "")
    assert "prefers-color-scheme: dark" in text and "max-width: 640px" in text
    assert "profile.x" not in text  # nor a second time in the table of other numbers
    assert other_facts(None) == {} and "profile" not in other_facts(facts())
