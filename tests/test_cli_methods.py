"""Every method through the command line: distilled, resumed, its plan and labels in the artefact; mistakes refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import infodistill
from infodistill.cli import app

TINY = ("--net", "convnet1-w2", "--ipc", "2", "--set", "real_per_class=2")
EXPERTS = (
    "--set", "experts.count=1", "--set", "experts.epochs=2", "--set", "experts.last=1", "--set", "experts.batch=400",
    "--set", "student.steps=2",
)  # fmt: skip
STAGES = (
    *EXPERTS[:4], *EXPERTS[6:], "--set", "intervals=[[0,2]]", "--set", "later_epochs=2", "--set", "stage_steps=2",
    "--set", "experts.span=1",
)  # fmt: skip
OWN: dict[str, tuple[str, ...]] = {
    "mtt": EXPERTS,
    "tesla": EXPERTS,
    "ftd": EXPERTS,
    "datm": (*EXPERTS, "--set", "experts.grow_from=1", "--set", "threshold=100"),
    "seqmatch": STAGES,
    "dd": (),
    "sldd": (),
    "ld": (),
    "ld_ridge": (),
    "rtp": ("--set", "bases=4", "--set", "inner_steps=2"),
    "frepo": (),
}
LEARNED = {"datm", "sldd", "ld", "ld_ridge", "frepo"}
FAST = {"mtt", "ld", "frepo"}
METHODS = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in OWN]


def call(*args: str | Path) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*args: str | Path) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == 2, (result.output, result.exception)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    return line


def flags(method: str) -> tuple[str, ...]:
    return ("--data", "digits", "--method", method, *TINY, *OWN[method])


@pytest.mark.filterwarnings("ignore:the expert classifies")
@pytest.mark.parametrize("method", METHODS)
def test_a_method_distils_and_resumes_to_the_same_set(tmp_path: Path, method: str) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    call("distill", *flags(method), "--steps", "4", "--out", whole)
    schedule = ("--set", "anneal=4") if method == "frepo" else ()  # else that of the shorter run, by design
    call("distill", *flags(method), *schedule, "--steps", "2", "--out", parts)
    call("distill", "--out", parts, "--resume", "--steps", "4")
    one, two = infodistill.load(whole), infodistill.load(parts)
    assert torch.equal(one.images, two.images)
    assert (one.soft_labels is None) == (two.soft_labels is None) == (method not in LEARNED)
    assert one.soft_labels is None or torch.equal(one.soft_labels, two.soft_labels)  # type: ignore[arg-type]
    assert one.plan == two.plan
    assert one.meta["method"] == method
    assert one.meta["protocol"]["name"] == infodistill.recipe.parse(infodistill.recipe.read(f"quick/{method}")).protocol


def test_a_dry_run_tells_what_experts_cost(tmp_path: Path) -> None:
    other = ("--set", "experts.batch=399")  # trained by no other test
    told = json.loads(call("distill", *flags("mtt"), *other, "--dry-run", "--json", "--out", tmp_path / "dry"))[
        "experts"
    ]
    assert (told["count"], told["cached"], told["epochs"], told["epochs_kept"]) == (1, 0, 1, 2)
    assert told["seconds"] > 0
    assert told["disk_bytes"] > 0
    assert not (tmp_path / "dry").exists()


def test_a_whitened_run_stores_its_whitening(tmp_path: Path) -> None:
    out = tmp_path / "white"
    args = ("--data", "digits", "--method", "dm", *TINY, "--set", "zca=true", "--set", "protocol=quick")
    call("distill", *args, "--steps", "2", "--out", out)
    assert infodistill.load(out).space.whitening is not None


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--method", "ld_ridge", "--add", "mim"), ("MIM", "ld_ridge")),
        (("--method", "mtt", "--ipc", "1", "--add", "cmi"), ("zero", "one image per class")),
        (("--method", "mtt", "--set", "student.stepz=3"), ("student.stepz", "'steps'")),
        (("--method", "mtt", "--set", "experts.last=60"), ("60", "epochs")),
        (("--method", "mtt", "--set", "bases=3"), ("bases",)),
        (("--method", "rtp", "--ipc", "1", "--set", "bases=500"), ("bases",)),
        (("--method", "dd", "--set", "images=5"), ("sldd",)),
        (("--method", "seqmatch", "--set", "experts.last=3"), ("intervals",)),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, args: tuple[str, ...], words: tuple[str, ...]) -> None:
    sentence = refused("distill", "--data", "digits", "--net", "convnet1-w2", *args, "--out", tmp_path / "run")
    assert all(word in sentence for word in words), sentence
    assert not (tmp_path / "run").exists()
