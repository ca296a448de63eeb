"""The columns of a study of guided sampling: selections of real images, plain sampling, IGDS, the k-means pull.

All sampled sets share the generator, the sampler, its noise at equal seed, and 50 steps; a column differs in what
pushes, and how hard. The guided ones are made by `infodistill.diffusion.igds` with one of its parts at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from infodistill.diffusion.estimators import CONTEXTUALS, PROTOTYPES, Tightest
from infodistill.diffusion.igds import IGDS, Fixed, igds
from infodistill.diffusion.mgd3 import centre_pull
from infodistill.diffusion.sampling import Plan, Steer, distilled, plain, sample
from infodistill.distilled import Distilled
from infodistill.methods.nearest import nearest
from infodistill.methods.selection import random
from infodistill.studies.bench import Bench
from infodistill.studies.study import Contender, Setting, untuned

STEPS = 50
PUSHES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
CONTEXTUAL_PUSHES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
PULLS = (0.1, 0.2, 0.3, 0.5, 1.0, 2.0)
WEIGHTS = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
"""Six settings each, from the mildest."""

Guided = Callable[[Bench, int, Setting, int], Steer]


def columns() -> tuple[Contender, ...]:
    """Every column, rivals first."""
    return (
        Contender("random", "distinct random real images", _random, untuned),
        Contender("nearest", "the real images nearest to k-means centres", _nearest, untuned),
        Contender("plain", "the generator with classifier-free guidance of weight w", _plain, each("w", WEIGHTS)),
        Contender("k-means pull", "every image drawn to its own k-means centre", by(_pull), each("s", PULLS)),
        Contender("P1", "noise-aware classifier", by(partial(_prototype, "p1")), each("s", PUSHES)),
        Contender("P2", "clean classifier on the predicted image", by(partial(_prototype, "p2")), each("s", PUSHES)),
        Contender("P3", "set decoder", by(partial(_prototype, "p3")), decoder_settings),
        Contender("C2", "mixture entropy alone", by(_contextual), each("c", CONTEXTUAL_PUSHES)),
        Contender("P3+C2", "both: IGDS", by(_both), pair_settings),
        Contender("IGDS defaults", "P3+C2 as the library sets them, nothing chosen", by(_defaults), untuned),
    )


def each(name: str, values: tuple[float, ...]) -> Callable[[int], tuple[Setting, ...]]:
    """One knob, the same values at every size."""
    return lambda ipc: tuple({name: value} for value in values)


def decoder_settings(ipc: int) -> tuple[Setting, ...]:
    """P3: push s times bandwidth h in units of the tightest (read on images that its centres were not fitted to)."""
    pushes = (0.3, 1.0, 2.0) if ipc < 50 else (0.1, 0.3, 1.0)
    return tuple({"s": s, "h": h} for s in pushes for h in (1.0, 3.0))


def pair_settings(ipc: int) -> tuple[Setting, ...]:
    """P3 with C2, each at its push; at one image per class C2 is exactly inert and P3's own settings are tried."""
    if ipc == 1:
        return tuple({**setting, "c": 0.2} for setting in decoder_settings(ipc))
    return tuple({"s": s, "h": 1.0, "c": c} for s in (0.3, 1.0) for c in (0.1, 0.2, 0.4))


def by(guided: Guided) -> Callable[[Bench, int, Setting, int], Distilled]:
    """A set sampled at weight 1 under a guide."""

    def make(bench: Bench, ipc: int, setting: Setting, seed: int) -> Distilled:
        return _sampled(bench, Plan(ipc, seed, STEPS), guided(bench, ipc, setting, seed))

    return make


def _sampled(bench: Bench, plan: Plan, steer: Steer) -> Distilled:
    bounded = replace(plan, limit=None if bench.model.space is None else 1.5)
    return distilled(list(sample(bench.model, bounded, steer)), bench.train, {"method": "sample", "seed": plan.seed})


def _random(bench: Bench, ipc: int, setting: Setting, seed: int) -> Distilled:
    del setting
    return random(bench.train, ipc, seed=seed)


def _nearest(bench: Bench, ipc: int, setting: Setting, seed: int) -> Distilled:
    del setting
    return nearest(bench.train, ipc, seed=seed)


def _plain(bench: Bench, ipc: int, setting: Setting, seed: int) -> Distilled:
    return _sampled(bench, Plan(ipc, seed, STEPS, weight=setting["w"]), plain)


def _pull(bench: Bench, ipc: int, setting: Setting, seed: int) -> Steer:
    return centre_pull(bench.model, bench.encoded, ipc, pull=setting["s"], seed=seed)


def _prototype(name: str, bench: Bench, ipc: int, setting: Setting, seed: int) -> Steer:
    settings = IGDS(
        prototype=PROTOTYPES[name],
        contextual=CONTEXTUALS["none"],
        scale=Fixed(setting["s"]),
        beta=Fixed(0.0),
        bandwidth=Tightest(setting.get("h")),
        noisy_classifier=bench.noisy_classifier if name == "p1" else None,
        teachers=bench.teachers if name == "p2" else None,
    )
    return igds(bench.model, bench.encoded, ipc, settings=settings, seed=seed)


def _contextual(bench: Bench, ipc: int, setting: Setting, seed: int) -> Steer:
    settings = IGDS(prototype=PROTOTYPES["none"], scale=Fixed(1.0), beta=Fixed(setting["c"]))
    return igds(bench.model, bench.encoded, ipc, settings=settings, seed=seed)


def _both(bench: Bench, ipc: int, setting: Setting, seed: int) -> Steer:
    beta = Fixed(setting["c"] / setting["s"])
    settings = IGDS(scale=Fixed(setting["s"]), beta=beta, bandwidth=Tightest(setting["h"]))
    return igds(bench.model, bench.encoded, ipc, settings=settings, seed=seed)


def _defaults(bench: Bench, ipc: int, setting: Setting, seed: int) -> Steer:
    del setting
    return igds(bench.model, bench.encoded, ipc, seed=seed)
