"""Peak memory: what the process took, and which figure an artefact is compared by."""

from __future__ import annotations

import sys

import pytest
import torch

from infodistill.compute.peak import peak_memory, peak_of
from infodistill.reporting.pages import size


@pytest.mark.skipif(sys.platform == "win32", reason="no getrusage")
def test_the_peak_grows_with_what_is_held_and_never_falls() -> None:
    before = peak_memory("cpu")["process"]
    assert before > 50e6  # PyTorch itself; a figure in kilobytes would be far below
    held = torch.ones(before // 4 + 2**25)  # as many bytes again, and more
    during = peak_memory("cpu")["process"]
    assert during >= before + 2**24
    del held
    assert peak_memory("cpu") == {"process": during}


def test_an_artefact_is_compared_by_its_accelerator_if_it_had_one() -> None:
    assert peak_of({"peak_memory": {"process": 10, "cuda": 3}}) == ("cuda", 3)
    assert peak_of({"peak_memory": {"process": 10}}) == ("process", 10)
    assert peak_of({}) is None and peak_of({"peak_memory": {}}) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (999, "999 B"),
        (1000, "1 kB"),
        (999_400, "999 kB"),
        (999_600, "1 MB"),
        (999_900_000, "1 GB"),
        (2.5e15, "2500 TB"),
        (None, "–"),
    ],
)
def test_bytes_in_the_unit_that_leaves_three_figures(value: float | None, words: str) -> None:
    assert size(value) == words
