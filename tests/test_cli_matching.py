"""The matching family through the command line: plain, with CMI or MIM, resumed, evaluated without flags, refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import infodistill
from infodistill.cli import app
from infodistill.recipe import parse, read
from infodistill.running import reproduction
from test_cli_methods import TINY, call, refused

OWN: dict[str, tuple[str, ...]] = {
    "dcc": ("outer=2", "inner_epochs=1"),
    "cafe": ("window=2", "probe=2", "most_updates=3", "most_epochs=2"),
    "idc": ("inner=2", "train_images=8"),
    "dream": ("inner=2", "train_images=8", "interval=2"),
    "pdd": ("inner=2", "train_images=8", "stages=2", "stage_steps=2", "transition=1", "stage_epochs=2"),
    "idm": ("train_steps=1", "nets=4", "interval=2"),
    "iid": ("train_steps=1", "nets=4", "teachers.count=1", "teachers.epochs=1"),
    "ncfm": ("frequencies=8", "experts.count=2", "experts.epochs=1", "experts.batch=400"),
}
DECODED = {name: 1 if name in {"dcc", "cafe"} else 4 for name in OWN}
TEACHERS = ("--set", "teachers.count=1", "--set", "teachers.epochs=1", "--set", "teachers.net=convnet1-w2")
ADDED = {"plain": (), "cmi": ("--add", "cmi", *TEACHERS), "mim": ("--add", "mim")}
FAST = {("idc", "cmi"), ("idm", "mim"), ("ncfm", "plain")}
CELLS = [
    pytest.param(method, term, marks=[] if (method, term) in FAST else [pytest.mark.slow])
    for method in OWN
    for term in ADDED
]


def flags(method: str) -> tuple[str, ...]:
    tiles = () if DECODED[method] == 1 else ("factor=2",)
    own = [word for setting in (*OWN[method], *tiles) for word in ("--set", setting)]
    return ("--data", "digits", "--method", method, *TINY, "--set", "teachers.net=convnet1-w2", *own)


@pytest.mark.parametrize(("method", "term"), CELLS)
def test_a_method_distils_resumes_and_is_evaluated_without_flags(tmp_path: Path, method: str, term: str) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    call("distill", *flags(method), *ADDED[term], "--steps", "4", "--out", whole)
    call("distill", *flags(method), *ADDED[term], "--steps", "2", "--out", parts)
    call("distill", "--out", parts, "--resume", "--steps", "4")
    one, two = infodistill.load(whole), infodistill.load(parts)
    assert torch.equal(one.images, two.images)
    assert len(one) == 10 * 2 * DECODED[method]
    assert set(one.meta["terms"]) == (set() if term == "plain" else {term})
    assert one.meta["protocol"]["name"] == parse(read(f"quick/{method}")).protocol
    told = json.loads(call("evaluate", whole, "--seeds", "1", "--json"))
    assert 0 <= told["nets"]["convnet1-w2"]["distilled"]["mean"] <= 1


@pytest.mark.parametrize(
    "method", [name if name in {"idc", "ncfm"} else pytest.param(name, marks=pytest.mark.slow) for name in OWN]
)
def test_a_dry_run_writes_nothing_and_tells_the_cost(tmp_path: Path, method: str) -> None:
    out = tmp_path / "dry"
    other = ("--set", "experts.batch=397") if method == "ncfm" else ()  # trained by no other test
    told = json.loads(call("distill", *flags(method), *other, "--steps", "2", "--dry-run", "--json", "--out", out))
    assert told["steps_per_second"] > 0
    assert (told["teachers"] is not None) == (method == "iid")  # its own, with no term added
    assert (told["experts"] is not None) == (method == "ncfm")
    if method == "ncfm":
        assert (told["experts"]["count"], told["experts"]["epochs_kept"]) == (2, 2)
    assert not out.exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--method", "idc", "--set", "factr=3"), ("factr", "'factor'")),
        (("--method", "idc", "--ipc", "500"), ("ipc",)),
        (("--method", "dcc", "--ipc", "1", "--add", "cmi"), ("zero", "one image per class")),
        (("--method", "idm", "--set", "interval=0"), ("interval", "0")),
        (("--method", "iid", "--ipc", "1", "--set", "factor=1"), ("one",)),
        (("--method", "cafe", "--set", "layers=[1.0]"), ("layers", "1 weights")),
        (("--method", "ncfm", "--set", "experts.span=3"), ("span",)),
        (("--method", "ncfm", "--set", "alpha=0", "--set", "beta=0"), ("alpha", "beta")),
        (("--method", "pdd", "--set", "stage_steps=3"), ("3 updates", "multiple")),
        (("--method", "pdd", "--set", "inner=abc"), ("inner", "'abc'", "integer")),
        (("--method", "pdd", "--set", "stages=[]"), ("stages", "[]", "integer")),
        (("--method", "pdd", "--set", "steps=nan"), ("steps", "nan")),
        (("--method", "pdd", "--set", "inner=0"), ("inner", "0", "greater")),
        (("--method", "seqmatch", "--set", "stages={}"), ("stages", "{}", "integer")),
        (("--method", "seqmatch", "--set", "ipc=ten"), ("ipc", "'ten'", "integer")),
        (("--method", "frepo", "--set", "steps=[1]"), ("steps", "[1]", "integer")),
        (("--method", "ncfm", "--set", "experts.epochs=[]"), ("experts.epochs", "[]", "integer")),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, args: tuple[str, ...], words: tuple[str, ...]) -> None:
    sentence = refused("distill", "--data", "digits", "--net", "convnet1-w2", *args, "--out", tmp_path / "run")
    assert all(word in sentence for word in words), sentence
    assert not (tmp_path / "run").exists()


def test_a_run_that_ends_before_its_last_stage_says_so(tmp_path: Path) -> None:
    args = ("distill", *flags("pdd"), "--set", "stage_steps=20", "--dry-run", "--out", tmp_path / "run")
    warned = CliRunner().invoke(app, [str(arg) for arg in (*args, "--steps", "30")])
    assert warned.exit_code == 0
    assert "warning: 30 steps end in stage 2 of 2, of 20 each" in warned.stderr
    assert "--steps 40" in warned.stderr
    assert "warning" not in CliRunner().invoke(app, [str(arg) for arg in (*args, "--steps", "40")]).stderr


def test_reproduce_lists_what_nobody_published_as_not_run(tmp_path: Path) -> None:
    listed = {row["name"]: row for row in json.loads(call("reproduce", "--out", tmp_path, "--json"))}
    assert listed["cifar10/idc-ipc10+cmi"]["accuracy"] == 0.7
    assert listed["cifar10/idm-ipc50+cmi"]["accuracy"] == 0.713
    for method in OWN:
        for term in ("cmi", "mim"):
            row = listed[f"mnist/{method}-ipc10+{term}"]
            assert (row["accuracy"], row["ours"], row["source"]) == (None, None, "none published")
    (line,) = [line for line in call("reproduce", "--out", tmp_path).splitlines() if "mnist/ncfm-ipc10+mim" in line]
    assert line.split()[1:4] == ["-", "not", "run"]


@pytest.mark.parametrize(("networks", "told"), [(1, ["95.0"]), (3, ["95.0", "±", "1.0"])])
def test_reproduce_gives_one_network_no_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, networks: int, told: list[str]
) -> None:
    ours = {"distilled": {"mean": 0.95, "std": 0.01 if networks > 1 else 0.0, "n": networks}}
    monkeypatch.setattr(reproduction, "measured", lambda row, out: ours if row.name == "mnist/ncfm-ipc10+mim" else None)
    (line,) = [line for line in call("reproduce", "--out", tmp_path).splitlines() if "mnist/ncfm-ipc10+mim" in line]
    assert line.split()[2 : 2 + len(told)] == told and line.count("±") == len(told) // 2
