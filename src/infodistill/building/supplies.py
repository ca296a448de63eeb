"""What a recipe's job needs made beforehand: its networks by name, data in its value space, teachers and experts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from infodistill import augment, nets
from infodistill.augment.mixing import MIXES
from infodistill.building.making import Trained
from infodistill.compute import Policy, View
from infodistill.data.cache import cache_dir
from infodistill.descent import GSAM
from infodistill.methods.datm import MovingWindow, finals_of
from infodistill.methods.seqmatch import Recorded, stage_seed
from infodistill.real import RealData
from infodistill.recipe import Recipe
from infodistill.scale.fanout import Workers
from infodistill.settings import Aligned, ExpertEntry, Staged
from infodistill.sources.expert_recording import Start, record_experts
from infodistill.sources.experts import Experts, Window, epochs_read, up_to
from infodistill.sources.segments import FreshStarts, Segment
from infodistill.sources.staged import Record
from infodistill.sources.teachers import Schooling, Teachers, Told, train_teachers
from infodistill.training import Fit
from infodistill.types import NetFactory, Source
from infodistill.whitening import in_space, whitened

AUTO = ((12, "convnet2-w32"), (32, "convnet3-w64"), (64, "convnet4-w64"), (128, "convnet5-w64"))


def net_name(name: str, shape: tuple[int, int, int]) -> str:
    """The network a recipe means: `auto` follows the image size, ours."""
    if name != "auto":
        return name
    return next((net for size, net in AUTO if max(shape[1:]) <= size), "convnet6-w64")


def network(name: str, shape: tuple[int, int, int]) -> NetFactory:
    """The factory of a recipe's network name."""
    return nets.by_name(net_name(name, shape))


def in_recipe_space(recipe: Recipe, real: RealData) -> RealData:
    """The data as the recipe's networks see it: ZCA-whitened, fitted on all of `real`, where the recipe says `zca`."""
    return whitened(real) if recipe.zca and real.space.whitening is None else real


def schooling(recipe: Recipe, seed: int = 0) -> Schooling:
    """How the recipe's teachers are trained."""
    t = recipe.teachers
    return Schooling(t.count, Fit(t.epochs, t.batch, t.lr, t.momentum, t.weight_decay), seed)


def teachers_data(recipe: Recipe, real: RealData) -> RealData:
    """What the recipe's teachers are trained on: the job's values, or with `teachers.plain` those before whitening."""
    plain = recipe.teachers.plain and real.space.whitening is not None
    return in_space(real, replace(real.space, whitening=None)) if plain else real


def teachers_for(
    recipe: Recipe,
    real: RealData,
    *,
    seed: int = 0,
    policy: Policy | None = None,
    cache: Path | None = None,
    progress: Told | None = None,
    workers: Workers | None = None,
) -> Teachers:
    """The recipe's pretrained networks, from the cache where they are there."""
    school = schooling(recipe, seed)
    settings: dict[str, Any] = {"policy": policy, "cache": cache, "progress": progress, "workers": workers}
    factory = network(recipe.teachers.net, real.shape)
    data, least = teachers_data(recipe, real), recipe.teachers.at_least
    pool = train_teachers(data, factory, count=school.count, fit=school.fit, seed=seed, at_least=least, **settings)
    if progress is not None:
        progress("teachers", school.count, school.count)
    return pool


def window_of(entry: ExpertEntry) -> Window:
    """Where segments may start, by update: still, or growing (DATM)."""
    if entry.grow_from is None or entry.grow_over is None:
        return up_to(entry.upper, entry.first)
    return MovingWindow(entry.first, entry.grow_from, entry.upper, entry.grow_over)


def falling(falls: Sequence[int], gamma: float, epoch: int) -> float:
    """gamma^(number of `falls` reached): a rate that drops at some epochs."""
    return gamma ** sum(epoch >= fall for fall in falls)


def training_of(entry: ExpertEntry) -> Fit:
    """How the recipe's experts are trained: plain SGD, or GSAM where `rho` is given (FTD)."""
    fit = Fit(entry.epochs, entry.batch, entry.lr, entry.momentum, entry.weight_decay)
    fit = replace(fit, augment=augment.by_name(entry.augment), mix=None if entry.mix == "none" else MIXES[entry.mix])
    if entry.milestones:
        fit = replace(
            fit, decay=partial(falling, [int(entry.epochs * f + 1e-9) for f in entry.milestones], entry.gamma)
        )
    return fit if entry.rho is None else replace(fit, descend=GSAM(entry.rho, entry.alpha, entry.adaptive))


def kept(recipe: Recipe) -> tuple[int, ...]:
    """The epochs a recipe reads: where segments start and end, for DATM the last too; of SeqMatch the first stage's."""
    entry = expert_entry(recipe)
    if isinstance(recipe, Staged):
        low, end = recipe.intervals[0]
        return epochs_read((low, end - entry.span), entry.span)
    ends = {entry.epochs} if isinstance(recipe, Aligned) else set[int]()
    return tuple(sorted({*epochs_read((entry.first, entry.upper), entry.span), *ends}))


class Untrained(Source[Segment]):
    """Segments from one random network to another: a stand-in for experts, to find mistakes and to time steps."""

    def __init__(self, factory: NetFactory, real: RealData) -> None:
        make: dict[str, Any] = {"shape": real.shape, "classes": real.num_classes, "seed": 0, "hold": None}
        self.starts = FreshStarts(factory, owner="untrained.start", **make)
        self.ends = FreshStarts(factory, owner="untrained.end", **make)
        self.space = real.space

    def use(self, policy: Policy) -> None:
        self.starts.use(policy)
        self.ends.use(policy)

    def draw(self) -> Segment:
        return replace(self.starts.draw(), end=self.ends.draw().start, space=self.space)

    def finals(self) -> list[View]:
        """One expert at its end."""
        segment = self.draw()
        return [View(segment.module, segment.end or segment.start, Policy(), segment.space)]


def recording(
    recipe: Recipe, *, seed: int = 0, policy: Policy | None = None, cache: Path | None = None
) -> dict[str, Any]:
    """The keyword arguments `record_experts` and `expert_cost` take for this recipe; of SeqMatch, for its first stage.

    The experts of SeqMatch's later stages depend on the subsets so far and are recorded by the run.
    """
    entry = expert_entry(recipe)
    made: dict[str, Any] = {"count": entry.count, "fit": training_of(entry), "keep": kept(recipe)}
    seed = stage_seed(seed, 0) if isinstance(recipe, Staged) else seed
    return {**made, "seed": seed, "policy": policy, "cache": cache or cache_dir()}


def experts_for(
    recipe: Recipe,
    real: RealData,
    *,
    seed: int = 0,
    policy: Policy | None = None,
    cache: Path | None = None,
    progress: Told | None = None,
) -> Trained:
    """The recipe's experts, recorded on `real` or found in the cache.

    Raises:
        ValueError: the recipe's method has no experts.
    """
    entry, factory = expert_entry(recipe), network(recipe.net, real.shape)
    settings = recording(recipe, seed=seed, policy=policy, cache=cache)
    store = record_experts(real, factory, **settings, progress=progress)
    segments = Experts(store, span=entry.span, window=window_of(entry), seed=seed)
    return Trained(segments, partial(finals_of, store, entry.epochs, policy))


def recorder(
    recipe: Staged,
    real: RealData,
    *,
    seed: int = 0,
    policy: Policy | None = None,
    cache: Path | None = None,
    progress: Told | None = None,
) -> Record:
    """What records SeqMatch's experts, stage by stage."""
    first = training_of(recipe.experts)
    return Recorded(
        real, network(recipe.net, real.shape), first, replace(first, epochs=recipe.later_epochs), cache or cache_dir(),
        recipe.intervals, recipe.experts.span, recipe.experts.count, seed, policy, progress,
    )  # fmt: skip


@dataclass(frozen=True)
class Same:
    """A `Record` that gives the same segments at every stage: a stand-in."""

    segments: Source[Segment]

    def __call__(self, stage: int, start: Start | None, origin: str) -> Source[Segment]:
        del stage, start, origin
        return self.segments


def untrained(recipe: Recipe, real: RealData) -> Trained:
    """A stand-in for the recipe's experts: right for mistakes and timing, wrong for results."""
    segments = Untrained(network(recipe.net, real.shape), real)
    return Trained(segments, segments.finals)


def expert_entry(recipe: Recipe) -> ExpertEntry:
    """The recipe's table of experts.

    Raises:
        ValueError: its method has none.
    """
    entry = getattr(recipe, "experts", None)
    if not isinstance(entry, ExpertEntry):
        raise ValueError(f"the method {recipe.method} has no experts")
    return entry
