"""`infodistill select`: real images as an artefact like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import infodistill
from tinymodel import call


@pytest.mark.parametrize("method", ["nearest", "random", "k-centre", "herding"])
def test_real_images_are_chosen(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFODISTILL_CACHE", str(tmp_path / "cache"))
    real = infodistill.load_data("digits")
    if method in ("k-centre", "herding"):  # a pool of its own, cheap
        from infodistill.building import jobs
        from infodistill.sources.teachers import random_teachers

        pool = random_teachers(infodistill.nets.by_name("convnet1-w4"), real, count=1)
        monkeypatch.setattr(jobs, "teachers_for", lambda *a, **k: pool)
    call("select", "--data", "digits", "--method", method, "--ipc", "2", "--out", tmp_path / "s")
    made = infodistill.load(tmp_path / "s")
    assert torch.equal(made.y, torch.arange(10).repeat_interleave(2))
    known = {row.numpy().tobytes() for row in real.rows(torch.arange(len(real))).x}
    assert {row.numpy().tobytes() for row in made.images} <= known and len(
        {r.numpy().tobytes() for r in made.images}
    ) == 20
    assert made.meta["method"] == method and made.meta["net"] == "convnet2-w32"
    assert made.meta["protocol"]["name"] == "quick" and made.meta["source"]["data"] == "digits"
    assert not infodistill.artefact.changed_files(tmp_path / "s")


def test_mistakes(tmp_path: Path) -> None:
    out = tmp_path / "s"
    assert "select knows" in call("select", "--data", "digits", "--method", "best", "--out", out, code=2)
    for method in ("nearest", "k-centre"):
        told = call("select", "--data", "digits", "--method", method, "--ipc", "500", "--out", out, code=2)
        assert "smallest class" in told and not out.exists()
    told = call("select", "--data", "digits", "--net", "convnet5", "--out", out, code=2)
    assert "8x8 are too small for convnet5" in told and not out.exists()
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert "not empty" in call("select", "--data", "digits", "--out", out, code=2)
