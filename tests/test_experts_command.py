"""`infodistill experts`, its estimate, and stores opened with something else than they were made for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from infodistill.cli import app
from infodistill.commands.side_by_side import part_of, run_parts
from infodistill.nets.convnet import convnet
from infodistill.real import RealData
from infodistill.sources.expert_cost import expert_cost
from infodistill.sources.expert_recording import record_experts
from infodistill.sources.expert_store import ExpertStore, expert_file, open_store, told_of
from infodistill.training import Fit
from infodistill.types import NetFactory, ValueSpace
from infodistill.whitening import whitened
from table import tiny_real

NET = convnet(depth=1, width=4)
FIT = Fit(2, 12, 0.05)
SMALL = ["--net", "convnet1-w2", "--set", "experts.count=2", "--set", "experts.epochs=2", "--set", "experts.last=1"]


def store(cache: Path, count: int = 2) -> ExpertStore:
    return record_experts(tiny_real(), NET, count=count, fit=FIT, cache=cache)


def test_the_command_says_the_cost_first_and_finds_experts_again(tmp_path: Path) -> None:
    args = ["experts", "--data", "digits", *SMALL, "--set", "experts.span=2", "--json"]
    first = CliRunner().invoke(app, args, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    assert "2 of 2 convnet1-w2 to record, 2 epochs each, 2 snapshots kept; about" in first.stderr
    assert first.stderr.index("MiB on disk") < first.stderr.index("epochs of experts")
    told = json.loads(first.stdout)
    assert (told["count"], told["cached"], told["epochs"]) == (2, 0, [0, 2])
    assert set(told["accuracies"][0]) == {"0", "2"}
    assert told["disk_bytes"] == sum(file.stat().st_size for file in Path(told["folder"]).glob("0*.safetensors"))
    again = CliRunner().invoke(app, args, catch_exceptions=False)
    assert "all 2 convnet1-w2 are there" in again.stderr
    assert json.loads(again.stdout) == {**told, "cached": 2}


def test_workers_record_the_same_experts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes every second expert; on one thread the weights are those of one process, to the bit."""
    args = ["experts", "--data", "digits", *SMALL, "--set", "experts.count=3", "--set", "experts.span=2", "--json"]
    folders: list[Path] = []
    for name, more in (("one", []), ("two", ["--workers", "2"])):
        monkeypatch.setenv("INFODISTILL_CACHE", str(tmp_path / name))
        result = CliRunner().invoke(app, [*args, *more], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        folders.append(Path(json.loads(result.stdout)["folder"]))
    alone, together = ({file.name: load_file(file) for file in folder.glob("0*.safetensors")} for folder in folders)
    assert len(alone) == 3 and alone.keys() == together.keys()
    for name, tensors in alone.items():
        assert all(torch.equal(value, together[name][key]) for key, value in tensors.items())


def test_a_worker_that_fails_is_told_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="part 0 of 1 failed: there is no data 'nowhere'"):
        run_parts(["experts", "--data", "nowhere", "--net", "convnet1-w2"], 1, lambda: None)
    with pytest.raises(ValueError, match="i/n with 0 <= i < n, got '2/2'"):
        part_of("2/2")


def test_a_method_without_experts_is_refused() -> None:
    result = CliRunner().invoke(app, ["experts", "--data", "digits", "--method", "dm", "--net", "convnet1-w2"])
    assert result.exit_code == 2
    assert "the method dm has no experts" in result.stderr


def test_the_cost_counts_what_is_there(tmp_path: Path) -> None:
    before = expert_cost(tiny_real(), NET, count=3, fit=FIT, cache=tmp_path)
    assert (before.cached, before.epochs, before.epochs_kept) == (0, 2, 3)
    assert before.seconds > 0
    assert before.disk_bytes == 3 * 3 * 4 * sum(p.numel() for p in NET((1, 8, 8), 3).parameters())
    store(tmp_path, 2)
    assert expert_cost(tiny_real(), NET, count=3, fit=FIT, cache=tmp_path).cached == 2
    after = expert_cost(tiny_real(), NET, count=2, fit=FIT, cache=tmp_path)
    assert (after.cached, after.seconds, after.disk_bytes) == (2, 0.0, 0)
    assert expert_cost(tiny_real(), NET, count=2, fit=FIT, cache=tmp_path, seed=1).cached == 0


def renamed(real: RealData) -> RealData:
    return real.replace(class_names=real.class_names[::-1])


def relabelled(real: RealData) -> RealData:
    return real.replace(labels=real.labels.flip(0))


@pytest.mark.parametrize(
    ("change", "net", "sentence"),
    [
        (renamed, NET, "were trained on other classes, or in another order: .*class0.* there, .*class2"),
        (relabelled, NET, "were trained on other data"),
        (lambda real: tiny_real(size=10), NET, "were trained on images of another shape: .1, 8, 8. there, .1, 10, 10"),
        (lambda real: real.replace(space=ValueSpace((0.5,), (0.5,))), NET, "were trained in another value space"),
        (whitened, NET, "were trained in another value space"),
        (lambda real: real, convnet(depth=1, width=5), "have another architecture"),
        (lambda real: real, convnet(depth=2, width=4), "have another architecture"),
    ],
)
def test_a_store_made_for_something_else_is_refused_by_name(
    tmp_path: Path, change: object, net: NetFactory, sentence: str
) -> None:
    folder, real = store(tmp_path, 1).folder, change(tiny_real())  # type: ignore[operator]
    with pytest.raises(ValueError, match=sentence):
        open_store(folder, net(real.shape, real.num_classes), real)


def test_a_store_opens_with_what_it_has(tmp_path: Path) -> None:
    made, real = store(tmp_path, 2), tiny_real()
    module = NET(real.shape, 3)
    opened = open_store(made.folder, module, real)
    assert (opened.count, opened.epochs, opened.digest) == (2, (0, 1, 2), made.digest)
    assert open_store(made.folder, module, real, count=1).count == 1
    with pytest.raises(ValueError, match=r"holds 2 readable experts, at least 3 are wanted"):
        open_store(made.folder, module, real, count=3)
    with pytest.raises(ValueError, match=r"keep epochs 0\.\.2, also wanted: 5"):
        open_store(made.folder, module, real, epochs=(1, 5))
    with pytest.raises(ValueError, match="expert 2 was not kept"):
        made.parameters(2, 0)


def test_cut_and_foreign_files_are_recorded_again_and_other_experts_stay(tmp_path: Path) -> None:
    made = store(tmp_path, 3)
    whole = [{n: v for n, v in made.parameters(e, 2).items()} for e in range(3)]
    cut, foreign, kept = (expert_file(made.folder, expert) for expert in range(3))
    cut.write_bytes(cut.read_bytes()[:-50])
    save_file({"trajectory": torch.zeros(1, 2)}, foreign)
    stamp = kept.stat().st_mtime_ns
    assert told_of(made.folder, 0) is None
    assert told_of(made.folder, 1) is None
    with pytest.raises(ValueError, match="cannot be read"):
        made.parameters(0, 1)
    again = store(tmp_path, 3)
    assert kept.stat().st_mtime_ns == stamp
    for expert, parameters in enumerate(whole):
        assert all(torch.equal(v, again.parameters(expert, 2)[n]) for n, v in parameters.items())


def test_an_interrupted_recording_goes_on_without_changing_a_number(tmp_path: Path) -> None:
    whole = store(tmp_path / "whole", 3)

    def stop(what: str, done: int, total: int) -> None:
        if done == 3:  # in the middle of the second expert
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_experts(tiny_real(), NET, count=3, fit=FIT, cache=tmp_path / "cut", progress=stop)
    (folder,) = (tmp_path / "cut" / "experts").iterdir()
    assert sorted(file.name for file in folder.iterdir()) == ["0000.safetensors", "store.json"]
    assert store(tmp_path / "cut", 3).digest == whole.digest


def test_the_manifest_says_how_experts_were_made_and_fared(tmp_path: Path) -> None:
    facts = json.loads(json.dumps(store(tmp_path).manifest))
    assert facts["class_names"] == ["class0", "class1", "class2"]
    assert facts["training"]["lr"] == 0.05
    assert [len(one["losses"]) for one in facts["experts"]] == [2, 2]
    assert [len(one["accuracies"]) for one in facts["experts"]] == [3, 3]
    assert facts["experts"][0]["losses"] != facts["experts"][1]["losses"]
    assert facts["space"] == {"mean": [0.4], "std": [0.25]}


def test_a_diverging_expert_is_named(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"expert 0: training diverged: the mean loss of epoch \d"):
        record_experts(tiny_real(), NET, count=1, fit=replace(FIT, lr=1e30, epochs=6), cache=tmp_path)
