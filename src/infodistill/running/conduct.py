"""One run from request to artefact: read the data, choose on a held-out part if asked, distil, store.

Everything the commands `distill`, `demo` and `reproduce` share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infodistill.building import jobs
from infodistill.building.jobs import Strength
from infodistill.compute import Policy, resolve
from infodistill.compute.peak import peak_memory
from infodistill.data import load_data
from infodistill.data.cache import cache_dir
from infodistill.data.noted import announce
from infodistill.distillation import Distillation
from infodistill.distilled import Distilled
from infodistill.progress import Tell, counted
from infodistill.real import RealData
from infodistill.recipe import Recipe, parse
from infodistill.running.runfolder import METRICS, Request, check_folder, follow, record_request
from infodistill.tuning import choosing

Say = Callable[[str], None]


def quiet(text: str) -> None:
    """Say nothing."""
    del text


def alone(job: Distillation) -> Distillation:
    """The job as one process runs it."""
    return job


@dataclass(frozen=True)
class Prepared:
    """A request with its data read and its choices made; `shared` makes of a job what a rank of several runs."""

    request: Request
    real: RealData
    recipe: Recipe
    policy: Policy
    grid: dict[str, tuple[Strength, ...]]
    cache: Path = field(default_factory=cache_dir)
    tell: Tell | None = None
    say: Say = quiet
    shared: Callable[[Distillation], Distillation] = alone

    def job(self, real: RealData, add: Mapping[str, Strength]) -> Distillation:
        """The job on some of the data; teachers are trained on that part only."""
        made: dict[str, Any] = {"seed": self.request.seed, "policy": self.policy, "cache": self.cache}
        return self.shared(jobs.build(self.recipe, real, add=add, progress=self.tell, **made))


@dataclass(frozen=True)
class Outcome:
    """What came of a run: the set, or None where a deadline stopped it at `step`."""

    distilled: Distilled | None
    step: int
    seconds: float


def prepare(request: Request, *, tell: Tell | None = None, say: Say = quiet) -> Prepared:
    """Read the data and resolve everything that a mistake can be found in before anything is trained."""
    real = load_data(request.data, size=request.size, skip_corrupt=request.skip_corrupt)
    recipe = jobs.fitted(parse(request.recipe, request.recipe_name), real)
    if recipe.warning is not None:
        say(f"warning: {recipe.warning}")
    if recipe.zca and real.space.whitening is None:
        say("data: whitening (ZCA), once for everything that looks at it")
        real = jobs.in_recipe_space(recipe, real)
    work = jobs.step_flops(recipe, real)
    jobs.spare_threads(work)
    policy = resolve(request.device, request.precision, work * recipe.steps)
    grid = {name: tuple(Strength(**one) for one in strengths) for name, strengths in request.add.items()}
    jobs.protocol(recipe, real)
    jobs.rehearse(recipe, real, {name: max(s, key=lambda one: one.value) for name, s in grid.items()})
    announce(real, say)
    return Prepared(request, real.to(policy.device), recipe, policy, grid, tell=tell, say=say)


def conduct(
    prepared: Prepared,
    folder: Path,
    *,
    resume: bool,
    deadline: float | None = None,
    choice: Mapping[str, Any] | None = None,
) -> Outcome:
    """Run a prepared request in a folder and write the artefact there; `choice` is how it came to its settings.

    Raises:
        ValueError: the folder holds another run, or one that was not to be resumed.
    """
    request, say = prepared.request, prepared.say
    check_folder(folder, request, resume=resume)
    _announce(prepared)
    add, validation = _choices(prepared, folder)
    job = prepared.job(prepared.real, add)
    record_request(folder, request)
    seconds = follow(job, folder, request.steps, tell=prepared.tell, deadline=deadline)
    if job.step < request.steps:
        return Outcome(None, job.step, seconds)
    distilled = job.export(**provenance(prepared, job, add, seconds=seconds, validation=choice or validation))
    distilled.save(folder, files={METRICS: (folder / METRICS).read_bytes()})
    stored = len(distilled) * distilled.stored_ipc // distilled.ipc
    tiles = "" if stored == len(distilled) else f" (the tiles of {stored} stored ones)"
    say(f"distilled {len(distilled)} images{tiles} in {seconds:.0f} s: {folder}")
    return Outcome(distilled, job.step, seconds)


def provenance(
    prepared: Prepared,
    job: Distillation,
    add: Mapping[str, Strength],
    *,
    seconds: float,
    validation: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What the artefact has to tell of how it was made, beyond what the job knows itself."""
    request, recipe = prepared.request, prepared.recipe
    weights = {name: job.terms[name].at(job.step) for name in add if name in job.terms}
    return {
        "method": recipe.method,
        "terms": {name: {**jobs.described(add[name]), "last_weight": weights.get(name, 0.0)} for name in add},
        "net": recipe.net,
        "protocol": jobs.protocol(recipe, prepared.real).as_dict(),
        "recipe": {"name": request.recipe_name, **recipe.as_dict()},
        "source": {"data": request.data, "size": request.size, "skip_corrupt": request.skip_corrupt},
        "data_notes": dict(prepared.real.notes),
        "validation": None if validation is None else dict(validation),
        "seconds": round(seconds, 3),
        "peak_memory": peak_memory(prepared.policy.device),
    }


def _choices(prepared: Prepared, folder: Path) -> tuple[dict[str, Strength], Mapping[str, Any] | None]:
    """The strengths to run with: as asked, or chosen on a held-out part."""
    if prepared.request.validate is None:
        return {name: strengths[0] for name, strengths in prepared.grid.items()}, None
    record_request(folder, prepared.request)
    return choosing.choose(prepared, folder / "validation", prepared.request.validate)


def _announce(prepared: Prepared) -> None:
    recipe, say = prepared.recipe, prepared.say
    name = prepared.request.recipe_name
    say(f"recipe: {name} ({recipe.method}, {recipe.ipc} per class, {recipe.net}, {counted(recipe.steps, 'step')})")
    for name, strengths in prepared.grid.items():
        for strength in strengths:
            say(f"term {name}: {strength.kind} {strength.value:g}, {strength.origin}")
