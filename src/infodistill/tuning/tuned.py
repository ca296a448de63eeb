"""What is tuned: a distillation or a sampling run, with one setting changed at a time.

A name in a setting is a term (`cmi=ratio:0.1`; 0 leaves it out), a flag of the command (`ipc`, `steps`, `beta`, ...),
or else a key of the recipe (of the method, when sampling).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infodistill import nets
from infodistill.building import jobs
from infodistill.distilled import Distilled
from infodistill.evaluation.evaluating import scored
from infodistill.progress import Tell
from infodistill.real import RealData
from infodistill.recipe import TERMS, setting
from infodistill.running.asking import Asked, requested
from infodistill.running.conduct import Prepared, Say, conduct, prepare, quiet
from infodistill.running.runfolder import follow
from infodistill.tuning.settings import Setting

if TYPE_CHECKING:
    from infodistill.diffusion.running.request import SampleRequest


OPTIONS = ("ipc", "steps", "sampler", "cfg", "scale", "beta", "prototype", "contextual", "add", "together")
"""Flags of `sample` that a setting may change; the others say what is sampled from, or on what."""


def axis(text: str) -> tuple[str, list[Any]]:
    """`steps=500,1000` as ("steps", [500, 1000]); strengths of a term as `--add` takes them.

    Raises:
        ValueError: it is no key=value,value.
    """
    key, equals, values = text.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"--try wants key=value,value, got '{text}'")
    parts = jobs.listed(values) if key.strip() in TERMS else values.split(",")
    return key.strip(), [setting(f"v={value.strip()}")[1] for value in parts]


def axes_of(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Several of these by name.

    Raises:
        ValueError: a name is given twice.
    """
    axes: dict[str, list[Any]] = {}
    for name, values in map(axis, texts):
        if name in axes:
            raise ValueError(f"--try names '{name}' twice")
        axes[name] = values
    return axes


@dataclass(frozen=True)
class Held:
    """The rest of the training images, its `.test` the part that is held out; how many networks judge."""

    fraction: float
    networks: int
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.fraction < 1:
            raise ValueError(f"--validate is the held-out fraction, between 0 and 1, got {self.fraction}")
        if self.networks < 1:
            raise ValueError(f"--nets must be at least 1, got {self.networks}")

    def rest(self, real: RealData) -> RealData:
        rest, held_out = real.split(self.fraction, self.seed)
        rest.test = held_out
        return rest


@dataclass(frozen=True)
class Distilling:
    """Settings of `infodistill distill`."""

    asked: Asked
    held: Held
    tell: Tell | None = None
    say: Say = quiet

    @cached_property
    def base(self) -> Prepared:
        return prepare(requested(self.asked), tell=self.tell, say=quiet)

    @cached_property
    def rest(self) -> RealData:
        return self.held.rest(self.base.real)

    def prepared(self, change: Setting) -> Prepared:
        """The request of a setting, with the data read once.

        Raises:
            ValueError: it changes what the data are, or cannot be run.
        """
        if "protocol" in change:
            raise ValueError("every setting is judged under one protocol: give it with --set protocol=NAME")
        made = prepare(requested(changed(self.asked, change)), tell=self.tell, say=quiet)
        if made.real.fingerprint != self.base.real.fingerprint or made.recipe.zca != self.base.recipe.zca:
            raise ValueError(f"a setting must leave the data as they are, {dict(change)} does not")
        return replace(made, real=self.base.real)

    def check(self, settings: Sequence[Setting]) -> None:
        """Find the mistakes in every setting before the first is tried; raises what `prepared` does."""
        for change in settings:
            self.prepared(change)

    def make(self, change: Setting, folder: Path) -> Distilled:
        """The set of a setting from the rest of the images, which teachers and experts see alone, too."""
        prepared = self.prepared(change)
        folder.mkdir(parents=True, exist_ok=True)
        job = prepared.job(self.rest, {name: strengths[0] for name, strengths in prepared.grid.items()})
        follow(job, folder, prepared.recipe.steps, tell=self.tell, what="tune")
        return job.export()

    def judge(self, made: Distilled) -> Sequence[float]:
        """Held-out accuracies of fresh networks, of the flags' own architecture and protocol for every setting."""
        recipe = self.base.recipe
        return scored(
            made, self.rest, jobs.network(recipe.net, self.rest.shape), protocol=jobs.protocol(recipe, self.rest),
            seeds=range(self.held.networks), policy=self.base.policy, progress=self.tell,
        ).values  # fmt: skip

    def final(self, change: Setting, folder: Path, choice: Mapping[str, Any]) -> None:
        """The artefact of the chosen setting, from all training images."""
        conduct(replace(self.prepared(change), say=self.say), folder, resume=True, choice=choice)

    def circumstances(self) -> dict[str, Any]:
        request = self.base.request
        told = {"recipe": request.recipe, "add": request.add, "precision": request.precision, "seed": request.seed}
        return {**told, **_told(self.held, self.base.real)}


@dataclass(frozen=True)
class Sampling:
    """Settings of `infodistill sample`. The generator is the same for all, and may have seen the held-out images."""

    request: SampleRequest
    held: Held
    tell: Tell | None = None
    say: Say = quiet

    @cached_property
    def base(self) -> Any:
        from infodistill.diffusion.running.conduct import prepare as opened

        return opened(self.request, tell=self.tell, say=self.say)

    @cached_property
    def rest(self) -> RealData:
        return self.held.rest(self.base.real)

    def prepared(self, change: Setting) -> Any:
        from infodistill.diffusion.running.conduct import planned
        from infodistill.diffusion.steering import SETTINGS

        options = {key: change[key] for key in change if key in OPTIONS}
        if "add" in change:
            options["add"] = (*self.request.add, str(change["add"]))
        further = {key: value for key, value in change.items() if key not in options}
        own = SETTINGS[self.request.method]
        if odd := [key for key in further if key not in own]:
            raise ValueError(
                f"--try {odd[0]} is nothing to choose for {self.request.method}: {', '.join(OPTIONS + own)}"
            )
        request = replace(self.request, **options, set={**self.request.set, **further})
        return replace(self.base, request=request, plan=planned(request, self.base.model), say=quiet)

    def check(self, settings: Sequence[Setting]) -> None:
        """Find the mistakes in every setting before the first is tried."""
        for change in settings:
            self.prepared(change)

    def make(self, change: Setting, folder: Path) -> Distilled:
        """The set of a setting, guided by the rest of the images."""
        from infodistill.diffusion.running.conduct import conduct as sampled

        return sampled(replace(self.prepared(change), real=self.rest), folder, resume=True)

    def judge(self, made: Distilled) -> Sequence[float]:
        """Held-out accuracies of fresh networks, the same for every setting."""
        factory = nets.by_name(str(made.meta["net"]))
        return scored(
            made, self.rest, factory, seeds=range(self.held.networks), policy=self.base.policy, progress=self.tell
        ).values

    def final(self, change: Setting, folder: Path, choice: Mapping[str, Any]) -> None:
        """The artefact of the chosen setting, guided by all training images."""
        from infodistill.diffusion.running.conduct import conduct as sampled

        sampled(replace(self.prepared(change), say=self.say), folder, resume=True, choice=choice)

    def circumstances(self) -> dict[str, Any]:
        from infodistill.diffusion.running.supplying import digest_of

        told = {**self.request.as_dict(), "generator": digest_of(self.base.model)}
        seen = {"generator_note": "the generator may have seen the held-out images, for all settings alike"}
        kept = {key: value for key, value in told.items() if key != "data"}
        return {**kept, **_told(self.held, self.base.real), **seen}


def changed(asked: Asked, change: Setting) -> Asked:
    """The flags with one setting's changes."""
    flags = {name: change[name] for name in ("ipc", "steps", "net") if name in change}
    terms = {name: str(change[name]) for name in change if name in TERMS}
    kept = tuple(text for text in asked.add if text.partition("=")[0] not in terms)
    added = tuple(f"{name}={value}" for name, value in terms.items() if value not in ("0", "0.0"))
    others = tuple(f"{name}={_toml(value)}" for name, value in change.items() if name not in {*flags, *terms})
    return replace(asked, **flags, add=(*kept, *added), set=(*asked.set, *others))


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _told(held: Held, real: RealData) -> dict[str, Any]:
    return {"data": real.fingerprint, "fraction": held.fraction, "nets": held.networks, "split": held.seed}
