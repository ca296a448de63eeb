"""The only loop that updates a synthetic set.

    min_S  sum_k  lambda_k * term_k(S, T)

A step is one round: one update of every class's images. The caller's `for` body logs, evaluates, saves and stops.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import Any, Protocol, cast, runtime_checkable

from infodistill.compute import Policy, is_out_of_memory
from infodistill.distilled import Distilled
from infodistill.looks import Looks
from infodistill.objective import Classes, Progress, Slope, measure, of_rows, require_finite, total_norm, weighted_sum
from infodistill.real import RealData
from infodistill.running.state import Stateful, find_parts
from infodistill.samplers import Sampler, uniform
from infodistill.synthetic import SyntheticSet
from infodistill.types import Batch, Source
from infodistill.updates import Update
from infodistill.weights import Ratio, Weighted

Entries = Mapping[str, Weighted]


@runtime_checkable
class Checks(Protocol):
    """A term that refuses sets on which its gradient is structurally zero."""

    def check(self, syn: SyntheticSet, /) -> None: ...


@dataclass(repr=False)
class Distillation:
    """A problem and its progress: minimise the weighted sum of `terms` over the synthetic set.

    Args:
        syn: the set being made.
        real: the data it is made from.
        terms: objective entries by name, the method's own first.
        update: how the stored tensors move.
        seed: key of every draw this job makes itself.
        real_per_class: real images of each class in a step's batch.
        group: classes per update; None updates all of them jointly.
        share: steps that keep one real batch, with sources that hold as long (ours; 1 is every paper's setting).
        policy: how networks are executed.
        step: rounds made so far.
        sampler: which real images a step looks at.
        measure: evaluates the terms; `scale.sharding` has one that shares classes among ranks.
    """

    syn: SyntheticSet
    real: RealData
    terms: dict[str, Weighted]
    update: Update
    seed: int = 0
    real_per_class: int = 256
    group: int | None = None
    share: int = 1
    policy: Policy = field(default_factory=Policy)
    step: int = 0
    sampler: Sampler = uniform
    measure: Callable[..., dict[str, Slope]] = measure
    _batch: tuple[int, Batch] | None = None

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError("a distillation needs at least one term")
        if all(isinstance(entry.weight, Ratio) for entry in self.terms.values()):
            raise ValueError("a ratio is measured against another term's gradient: give one term a number or schedule")
        for entry in self.terms.values():
            if isinstance(entry.term, Checks) and not entry.off(self.step):
                entry.term.check(self.syn)
        self._tell_looks()
        self.use(self.policy)

    def __repr__(self) -> str:
        return f"<Distillation: {' + '.join(self.terms)} at step {self.step}; {self.syn!r} from {self.real!r}>"

    def adding(self, **terms: Weighted) -> Distillation:
        """An independent job with further terms: own set, optimiser and sources, same seed; a paired comparison.

        Raises:
            ValueError: after the first step, or when a name is taken.
        """
        if self.step:
            raise ValueError(f"terms are added at step 0, this job is at step {self.step}")
        if taken := self.terms.keys() & terms.keys():
            raise ValueError(f"this job already has a term called '{taken.pop()}'")
        mine = (self.syn, self.update, {**self.terms, **terms}, self.sampler)
        syn, update, entries, sampler = copy.deepcopy(mine)
        return replace(self, syn=syn, update=update, terms=entries, sampler=sampler, _batch=None)

    def run(self, steps: int) -> Iterator[Progress]:
        """Make `steps` more rounds, yielding after each; a run cut anywhere continues exactly from its state.

        Raises:
            FloatingPointError: a term stopped being finite; the set is left as it was before that round.
        """
        for _ in range(steps):
            slopes, weights = self._round()
            if self.update.observe is not None:
                self.update.observe({name: float(slope.value) for name, slope in slopes.items()})
            syn = self.syn.batch().detach()
            for source in self.sources():
                source.advance(syn, self.real)
            self.step += 1
            norms = {name: slope.norm for name, slope in slopes.items()}
            yield Progress(self.step, {name: slope.value for name, slope in slopes.items()}, norms, weights)

    def export(self, **meta: Any) -> Distilled:
        """The set as it stands, with what is known of how it was made; `meta` adds to that or corrects it."""
        known = {"data": self.real.name, "fingerprint": self.real.fingerprint, "seed": self.seed, "steps": self.step}
        return self.syn.export(**{**known, "policy": self.policy.as_dict(), **meta})

    def sources(self) -> list[Source[Any]]:
        """Every source held anywhere in the terms, once."""
        return [part for part in find_parts(self.terms).values() if isinstance(part, Source)]

    def use(self, policy: Policy) -> None:
        """Run every network under `policy` from now on."""
        self.policy = policy
        for source in self.sources():
            source.use(policy)

    def parts(self) -> dict[str, Stateful]:
        """Everything with state, by path."""
        own = {"syn": self.syn, "update": self.update, "terms": self.terms, "sampler": self.sampler}
        return find_parts(own)

    def settings(self) -> dict[str, Any]:
        """What a saved run must share with the job it is loaded into, beside the parts with state."""
        told = {"seed": self.seed, "real_per_class": self.real_per_class, "group": self.group, "share": self.share}
        return {**told, **{f"weight of {name}": entry.described() for name, entry in self.terms.items()}}

    def state_dict(self) -> dict[str, Any]:
        parts = {path: part.state_dict() for path, part in self.parts().items()}
        return {"step": self.step, "policy": self.policy.as_dict(), "settings": self.settings(), "parts": parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put a saved state back, in place; the execution policy too, but for the device, which stays this job's.

        Raises:
            ValueError: the state is of a job with other parts, weights or draws.
        """
        parts, mine = self.parts(), self.settings()
        if odd := parts.keys() ^ state["parts"].keys():
            raise ValueError(f"this checkpoint is of another job: only one of the two has {sorted(odd)}")
        for name, value in state["settings"].items():
            if mine.get(name) != value:
                raise ValueError(f"this checkpoint is of another job: its {name} is {value}, here {mine.get(name)}")
        for path, part in parts.items():
            part.load_state_dict(state["parts"][path])
        self.step = int(state["step"])
        self.use(replace(Policy.from_dict(state["policy"]), device=self.policy.device))

    def _tell_looks(self) -> None:
        """Terms that share a look may read more stages of it than its owner: it keeps what all of them read."""
        for entry in self.terms.values():
            looks = getattr(entry.term, "looks", None)
            if isinstance(looks, Looks) and looks.reads is not None:
                reads = cast("tuple[int, ...] | None", getattr(entry.term, "reads", (-1,)))
                looks.reads = None if reads is None else tuple({*looks.reads, *reads})

    def _round(self) -> tuple[dict[str, Slope], dict[str, float]]:
        active = {name: entry for name, entry in self.terms.items() if not entry.off(self.step)}
        real = self._real_batch()
        self.update.begin(self.step)
        if self.group is not None:
            return self._round_by_groups(active, real, self.group)
        slopes = self._slopes(active, real, None)
        weights = self._weigh(active, slopes)
        self._move(slopes, weights)
        self._train_critics(slopes)
        return slopes, weights

    def _round_by_groups(self, active: Entries, real: Batch, size: int) -> tuple[dict[str, Slope], dict[str, float]]:
        """Update group after group; terms that see the whole set are evaluated once, before the first group moves."""
        own = {name: entry for name, entry in active.items() if not entry.sees(True)}
        apart = self._slopes({name: entry for name, entry in active.items() if name not in own}, real, None)
        groups = [range(self.syn.num_classes)[i : i + size] for i in range(0, self.syn.num_classes, size)]
        before: dict[str, Slope] = {}
        if any(isinstance(e.weight, Ratio) and e.weight.due(self.step) for e in active.values()):
            before = reduce(_merge, (self._slopes(own, real, classes) for classes in groups))
        weights, done = self._weigh(active, {**before, **apart}), dict[str, Slope]()
        for classes in groups:
            here = self._slopes(own, real, classes)
            rows = {name: Slope(s.value, self.syn.restrict(s.grads, classes)) for name, s in apart.items()}
            self._move({**here, **rows}, weights)
            self._train_critics(here)
            done = _merge(done, here) if done else here
        self._train_critics(apart)
        return {**done, **apart}, weights

    def _real_batch(self) -> Batch:
        """The step's real images of every class, kept for `share` steps."""
        step = self.step - self.step % self.share
        if self._batch is None or self._batch[0] != step:
            rows = self.sampler(self.real, self.seed, step, self.real_per_class)
            self._batch = (step, self.real.rows(rows))
        return self._batch[1]

    def _slopes(self, entries: Entries, real: Batch, classes: Classes) -> dict[str, Slope]:
        """Evaluate terms; when memory runs out, walk down the policy's ladder and retry with the same draws."""
        terms = {name: entry.term for name, entry in entries.items()}
        while True:
            try:
                slopes = self.measure(terms, self.syn, real, classes, self.policy.groups)
                break
            except (RuntimeError, MemoryError) as error:
                smaller = self.policy.smaller()
                if not is_out_of_memory(error) or smaller is None:
                    raise
            self.use(smaller)
        if self.syn.pixels.device.type == "cpu" or self.step % 25 == 0:  # reading a GPU's values stalls it
            require_finite(slopes, self.step + 1)
        return slopes

    def _weigh(self, active: Entries, slopes: Mapping[str, Slope]) -> dict[str, float]:
        """Absolute weights of this step; ratios that are due are measured against the other terms' gradient."""
        ratios = {n: e.weight for n, e in active.items() if isinstance(e.weight, Ratio) and e.weight.due(self.step)}
        if ratios:
            fixed = {n: slope for n, slope in slopes.items() if not isinstance(active[n].weight, Ratio)}
            base = total_norm(of_rows(weighted_sum(fixed, {n: active[n].at(self.step) for n in fixed})))
            for name, ratio in ratios.items():
                ratio.measure(base, slopes[name].norm)
        return {name: entry.at(self.step) for name, entry in active.items()}

    def _move(self, slopes: Mapping[str, Slope], weights: Mapping[str, float]) -> None:
        accept = self.update.accept
        if accept is None or accept({name: float(slope.value) for name, slope in slopes.items()}):
            self.update.apply(self.syn.trainable(), weighted_sum(slopes, weights), self.step)
            if self.syn.project is not None:
                self.syn.project(self.syn, self.step)

    def _train_critics(self, slopes: Mapping[str, Slope]) -> None:
        for slope in slopes.values():
            for critic, grads in slope.critics:
                critic.update(grads)


def _merge(left: Mapping[str, Slope], right: Mapping[str, Slope]) -> dict[str, Slope]:
    return {name: add(left[name], slope) for name, slope in right.items()}
