"""What a checkpoint holds, what it refuses, and where state is looked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from infodistill.running.checkpoint import load_checkpoint, save_checkpoint
from infodistill.types import Batch
from infodistill.weights import Weighted
from quadratic import Pull, quadratic, run
from table import make


def test_a_checkpoint_of_nan_is_refused_and_the_old_one_kept(tmp_path: Path) -> None:
    job = quadratic()
    save_checkpoint(tmp_path / "c", job.state_dict())
    with torch.no_grad():
        job.syn.pixels[0] = torch.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        save_checkpoint(tmp_path / "c", job.state_dict())
    assert bool(load_checkpoint(tmp_path / "c")["parts"]["syn"]["pixels"].isfinite().all())


@pytest.mark.parametrize("damage", ["cut", "edit", "empty", "missing"])
def test_damaged_checkpoints_are_named_in_one_sentence(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "c"
    save_checkpoint(path, quadratic().state_dict())
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
        with pytest.raises(FileNotFoundError, match="no checkpoint"):
            load_checkpoint(path)
        return
    data[-5] ^= 1
    path.write_bytes({"cut": bytes(data[:-40]), "edit": bytes(data), "empty": b""}[damage])
    with pytest.raises(ValueError, match="checkpoint"):
        load_checkpoint(path)


def test_a_function_that_hides_state_is_refused() -> None:
    job = make("dm", "none")
    hidden = job.terms["match"].term
    with pytest.raises(ValueError, match="closes over 'hidden'"):
        quadratic(a=Weighted(1.0, lambda syn, real: hidden(syn, real)))


class Plain:
    """A term that is neither a function nor a dataclass."""

    def __init__(self, inner) -> None:
        self.inner = inner

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        return self.inner(syn, real)

    def evaluate(self, syn: Batch, real: Batch) -> Tensor:
        return self.inner(syn, real)


@pytest.mark.parametrize("wrap", [Plain, lambda inner: Plain(inner).evaluate], ids=["object", "bound method"])
def test_sources_are_found_inside_ordinary_objects(wrap) -> None:
    base, job = make("dc", "none"), make("dc", "none")
    wrapped = replace(job, terms={"match": Weighted(1.0, wrap(job.terms["match"].term))})
    assert len(wrapped.sources()) == len(base.sources()) == 2
    run(base, 4)
    run(wrapped, 4)
    assert torch.equal(base.syn.pixels, wrapped.syn.pixels)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"terms": {"pull": Weighted(2.0, Pull())}}, "weight of pull is 1.0, here 2.0"),
        ({"terms": {"pull": Weighted(lambda step: 1.0, Pull())}}, "weight of pull"),
        ({"seed": 3}, "seed is 0, here 3"),
        ({"real_per_class": 5}, "real_per_class is 4, here 5"),
        ({"group": 1}, "group is None, here 1"),
        ({"share": 2}, "share is 1, here 2"),
    ],
)
def test_a_checkpoint_of_another_objective_is_refused(change: dict, named: str) -> None:
    state = quadratic().state_dict()
    with pytest.raises(ValueError, match=named):
        replace(quadratic(), **change).load_state_dict(state)


def test_a_resumed_job_keeps_its_own_device_and_takes_the_rest_of_the_policy() -> None:
    from infodistill.compute import Policy

    first = make("dm", "none")
    first.use(Policy(chunk=3, threads=1))
    state = first.state_dict()
    state["policy"]["device"] = "cuda"  # the checkpoint comes from another machine
    second = make("dm", "none")
    second.load_state_dict(state)
    assert second.policy == Policy(chunk=3, threads=1)
