"""One run by several ranks: `conduct` on the first of them, the same rounds without a word or a file on the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from infodistill.distillation import Distillation
from infodistill.running.conduct import Outcome, Prepared, conduct
from infodistill.running.runfolder import CHECKPOINT, check_folder, restore
from infodistill.scale.launch import Launch
from infodistill.scale.ranks import Ranks, joined
from infodistill.scale.sharding import sharded, share

METHODS = ("dm", "dc", "dsa")
"""Methods whose classes ranks share: one joint update, a term that is a sum over classes, images alone learned."""

Meet = Callable[[Launch, str], Ranks]


def conduct_by_ranks(
    prepared: Prepared, folder: Path, place: Launch, *, resume: bool, meet: Meet = joined
) -> Outcome | None:
    """`conduct` with the classes shared among the ranks torchrun started; the outcome on the first, None on others.

    The first rank trains what has to be trained beforehand, writes the checkpoints and the artefact and speaks; the
    others read what it wrote, so all of them see one folder and one cache.

    Raises:
        ValueError: the method is another, strengths are to be chosen, or the folder holds another run.
        ImportError: lightning-fabric is not installed.
    """
    _check(prepared, place)
    check_folder(folder, prepared.request, resume=resume)
    ranks = meet(place, prepared.policy.device)
    ranks.wait()  # nobody writes in the folder before all have looked at it
    if place.first:
        prepared.say(f"ranks: {ranks.count} share the {prepared.real.num_classes} classes")
        return conduct(replace(prepared, shared=partial(_after, ranks)), folder, resume=resume)
    ranks.wait()  # the first rank has trained and stored the teachers
    add = {name: strengths[0] for name, strengths in prepared.grid.items()}
    _accompany(sharded(prepared.job(prepared.real, add), ranks), folder, prepared.request.steps)
    return None


def _check(prepared: Prepared, place: Launch) -> None:
    """See that the run can be shared before anybody waits for anybody."""
    if (method := prepared.recipe.method) not in METHODS:
        raise ValueError(f"ranks share the classes of {', '.join(METHODS)}; {method} runs in one process, not torchrun")
    if prepared.request.validate is not None:
        raise ValueError("strengths are chosen (--validate) in one process, not under torchrun")
    share(prepared.real.num_classes, place.rank, place.count)


def _after(ranks: Ranks, job: Distillation) -> Distillation:
    ranks.wait()
    return sharded(job, ranks)


def _accompany(job: Distillation, folder: Path, steps: int) -> None:
    """All rounds from the checkpoint on. The first rank writes the next one only after a round that needs this rank."""
    restore(job, folder / CHECKPOINT)
    for _ in job.run(steps - job.step):
        pass
