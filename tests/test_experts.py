"""Expert trajectories: what is kept, found again, refused, and how segments of them are drawn."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from infodistill.descent import GSAM
from infodistill.nets.convnet import batch_norm, convnet
from infodistill.nets.initialise import initialise
from infodistill.seeding import stream
from infodistill.sources.expert_store import ExpertStore, disk_bytes
from infodistill.sources.experts import Experts, epochs_read, record_experts, up_to
from infodistill.training import Fit, fit
from infodistill.whitening import whitened
from table import tiny_real

NET = convnet(depth=1, width=4)
FIT = Fit(3, 12, 0.05)


def store(cache: Path, count: int = 2, **changes: object) -> ExpertStore:
    settings = {"fit": FIT, **changes}
    return record_experts(tiny_real(), NET, count=count, cache=cache, **settings)  # type: ignore[arg-type]


def test_a_snapshot_is_what_training_gives_after_that_epoch(tmp_path: Path) -> None:
    kept, real = store(tmp_path), tiny_real()
    module = NET(real.shape, 3)
    initialise(module, stream(0, "expert.init", 1))
    wanted = [{name: value.detach().clone() for name, value in module.named_parameters()}]
    snap = lambda epoch, loss: wanted.append({n: v.detach().clone() for n, v in module.named_parameters()})  # noqa: E731
    fit(module, real, FIT, stream(0, "expert.train", 1), on_epoch=snap)
    assert kept.epochs == (0, 1, 2, 3)
    for epoch, parameters in enumerate(wanted):
        found = kept.parameters(1, epoch)
        assert found.keys() == parameters.keys()
        assert all(torch.equal(found[name], value) for name, value in parameters.items())


def test_consecutive_snapshots_differ_and_draws_are_copies(tmp_path: Path) -> None:
    kept = store(tmp_path)
    first, second = kept.parameters(0, 1), kept.parameters(0, 2)
    assert any(not torch.equal(first[name], second[name]) for name in first)
    for value in first.values():
        value.zero_()
    assert any(bool(value.any()) for value in kept.parameters(0, 1).values())


def test_a_larger_store_holds_the_smaller_one_and_trains_only_what_is_missing(tmp_path: Path) -> None:
    small = store(tmp_path, 1)
    stamp = (small.folder / "0000.safetensors").stat().st_mtime_ns
    told: list[tuple[str, int, int]] = []
    large = store(tmp_path, 3, progress=lambda *what: told.append(what))
    assert large.folder == small.folder
    assert (small.folder / "0000.safetensors").stat().st_mtime_ns == stamp
    assert [done for _, done, _ in told] == [4, 5, 6, 7, 8, 9]
    assert {total for _, _, total in told} == {9}
    assert all(torch.equal(v, small.parameters(0, 3)[n]) for n, v in large.parameters(0, 3).items())


def test_only_the_epochs_a_recipe_reads_are_kept(tmp_path: Path) -> None:
    assert epochs_read((0, 2), 2) == (0, 1, 2, 3)
    assert epochs_read((1, 2), 2) == (1, 3)
    few, module = store(tmp_path, 1, keep=epochs_read((1, 2), 2)), NET(tiny_real().shape, 3)
    assert disk_bytes(module, 1, 2) < few.nbytes < disk_bytes(module, 1, 3)
    with pytest.raises(ValueError, match=r"epoch 0 of expert 0 was not kept.*epochs 1, 3"):
        few.parameters(0, 0)
    with pytest.raises(ValueError, match=r"need epochs \[0, 2\] too"):
        Experts(few, span=2, window=up_to(2))
    with pytest.raises(ValueError, match="epoch 9 cannot be kept of a training of 3 epochs"):
        store(tmp_path, 1, keep=(9,))


def test_other_epochs_widen_the_store_and_change_no_number(tmp_path: Path) -> None:
    few = store(tmp_path, 1, keep=(1, 3))
    before = few.parameters(0, 3)
    wide = store(tmp_path, 1, keep=(0, 2))
    assert (wide.folder, wide.epochs, few.told[0]["epochs"]) == (few.folder, (0, 2), [0, 1, 2, 3])
    assert all(torch.equal(v, few.parameters(0, 3)[n]) for n, v in before.items())
    stamp = (few.folder / "0000.safetensors").stat().st_mtime_ns
    again = store(tmp_path, 1, keep=(1, 3))
    assert (few.folder / "0000.safetensors").stat().st_mtime_ns == stamp
    assert again.digest == few.digest != wide.digest


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"fit": Fit(3, 12, 0.06)}, {"fit": Fit(3, 12, 0.05, descend=GSAM())}],
    ids=["seed", "rate", "rule"],
)
def test_other_settings_are_another_store(tmp_path: Path, change: dict[str, object]) -> None:
    assert store(tmp_path, 1, **change).folder != store(tmp_path, 1).folder


def test_another_value_space_is_another_store(tmp_path: Path) -> None:
    plain = store(tmp_path, 1)
    white = record_experts(whitened(tiny_real()), NET, count=1, fit=FIT, cache=tmp_path)
    assert white.folder != plain.folder
    assert Experts(white, span=1, window=up_to(1)).draw().space == whitened(tiny_real()).space


def test_segments_are_keyed_and_stay_inside_their_window(tmp_path: Path) -> None:
    kept = store(tmp_path)
    source = Experts(kept, span=1, window=lambda step: (0, 1) if step < 5 else (1, 3), seed=3)
    ages: list[int] = []
    for _ in range(40):
        segment = source.draw()
        assert segment is source.draw()
        assert segment.end is not None
        ages.append(segment.age)
        same = [e for e in range(2) if torch.equal(segment.start["classifier.bias"], _bias(kept, e, segment.age))]
        assert len(same) == 1
        assert torch.equal(segment.end["classifier.bias"], _bias(kept, same[0], segment.age + 1))
        source.step += 1
    assert set(ages[:5]) == {0}
    assert set(ages[5:]) == {1, 2}


def _bias(kept: ExpertStore, expert: int, epoch: int) -> torch.Tensor:
    return kept.parameters(expert, epoch)["classifier.bias"]


def test_state_follows_the_step_and_refuses_other_experts(tmp_path: Path) -> None:
    source = Experts(store(tmp_path), span=1, window=up_to(2), seed=3)
    source.step = 7
    other = copy.deepcopy(source)
    assert other.store is source.store
    other.step = 0
    other.load_state_dict(source.state_dict())
    assert other.draw().age == source.draw().age
    assert torch.equal(other.draw().start["classifier.bias"], source.draw().start["classifier.bias"])
    wrong = Experts(store(tmp_path, 1), span=1, window=up_to(2), seed=3)
    with pytest.raises(ValueError, match="matched other experts"):
        wrong.load_state_dict(source.state_dict())


def test_training_may_begin_with_given_parameters(tmp_path: Path) -> None:
    first = store(tmp_path, 1)
    onward = store(tmp_path, 1, start=lambda expert: first.parameters(expert, 3), begun="after stage 1")
    assert all(torch.equal(v, first.parameters(0, 3)[n]) for n, v in onward.parameters(0, 0).items())
    with pytest.raises(ValueError, match="both or neither"):
        store(tmp_path, 1, begun="nothing")


def test_batch_norm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must not have batch norm"):
        record_experts(tiny_real(), convnet(depth=1, width=4, norm=batch_norm), count=1, fit=FIT, cache=tmp_path)
