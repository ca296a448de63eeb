"""One distillation whose classes are shared among ranks.

    dL/dS = sum_r  dL_r/dS,      L_r: the term on the classes of rank r alone

for a term that is additive over classes (DM, DC, DSA). Every rank has the whole set, draws what all others draw
(keyed), computes the gradient of its own classes, and makes the same update from the sum of all. A rank's gradient is
zero in the rows of other classes, so the sum adds nothing but zeros to any row: it is exact, in whatever order the
ranks are added. What remains different from one process is the size of a forward pass: a convolution may round
otherwise in a batch of another size, so images agree bitwise where that does not happen and to 1e-5 where it does.

Terms that look at the whole set (CMI, MIM) are computed by every rank alike: right, and no faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from infodistill.distillation import Distillation
from infodistill.objective import Classes, Slope, measure, measure_on, of_classes
from infodistill.real import RealData
from infodistill.running.state import find_parts
from infodistill.samplers import Sampler
from infodistill.scale.ranks import Ranks
from infodistill.synthetic import SyntheticSet
from infodistill.types import Batch, Source, Term


def share(classes: int, rank: int, count: int) -> range:
    """The classes of one rank of `count`: contiguous, in order, of sizes that differ by at most one.

    Raises:
        ValueError: there are more ranks than classes.
    """
    if count > classes:
        raise ValueError(f"{count} ranks cannot share {classes} classes: start at most {classes}")
    return range(rank * classes // count, (rank + 1) * classes // count)


def sharded(job: Distillation, ranks: Ranks) -> Distillation:
    """The same job with its classes shared among `ranks`; every rank calls this with a job of its own.

    Raises:
        ValueError: the job updates class after class, its own term is not additive over classes, or what it learns
            belongs to no class.
    """
    own = [entry for entry in job.terms.values() if additive(entry.term)]
    if job.group is not None:
        raise ValueError(f"ranks share one update of all classes, this method updates them {job.group} at a time")
    if not additive(next(iter(job.terms.values())).term) or any(map(_critical, (entry.term for entry in own))):
        raise ValueError("ranks can share a term that is a sum over classes and trains nothing, this method's is not")
    if job.syn.scalars or len(job.syn.trainable()) != 1:
        raise ValueError("ranks can share images whose labels and rates are fixed, this method learns some of these")
    mine = share(job.syn.num_classes, ranks.rank, ranks.count)
    sampler = OwnRows(job.sampler, mine) if len(own) == len(job.terms) else job.sampler
    return replace(job, measure=Sharded(ranks, mine), sampler=sampler, _batch=None)


def additive(term: Term) -> bool:
    """Whether a term is a sum over classes of what depends on that class alone."""
    return bool(getattr(term, "additive", False))


@dataclass(frozen=True)
class OwnRows:
    """The rows that `inner` draws for some classes: nobody loads the real images of others."""

    inner: Sampler
    classes: range

    def __call__(self, real: RealData, seed: int, step: int, per_class: int) -> Tensor:
        return self.inner(real, seed, step, per_class).view(real.num_classes, -1)[list(self.classes)].flatten()


@dataclass(frozen=True)
class Sharded:
    """`objective.measure` by several ranks: additive terms on a rank's own classes and summed, others by all alike."""

    ranks: Ranks
    classes: range

    def __call__(
        self, terms: Mapping[str, Term], syn_set: SyntheticSet, real: Batch, classes: Classes, parts: int
    ) -> dict[str, Slope]:
        """See `objective.measure`.

        Raises:
            ValueError: the ranks no longer hold the same images.
        """
        if classes is not None:
            raise ValueError("ranks share one update of all classes, some classes were asked for")
        own = {name: term for name, term in terms.items() if additive(term)}
        batches = syn_set.batch(self.classes), self._own(real)
        slopes = measure_on(own, syn_set, batches, parts)
        # All that can run out of memory comes before the first word to the other ranks, so a retry is nobody's affair.
        slopes |= measure({n: term for n, term in terms.items() if n not in own}, syn_set, real, None, parts)
        values = self._values({name: slopes[name] for name in own}, syn_set)
        for name in own:
            slopes[name] = Slope(values[name], [self.ranks.total(grad) for grad in slopes[name].grads])
        return {name: slopes[name] for name in terms}

    def _own(self, real: Batch) -> Batch:
        """The real images of the rank's classes, of a batch that has these alone or those of every class."""
        present = real.y.unique_consecutive().tolist()
        return real if present == list(self.classes) else of_classes(real, self.classes)

    def _values(self, own: Mapping[str, Slope], syn_set: SyntheticSet) -> dict[str, Tensor]:
        """The values of the terms over all classes, added in the order of the ranks; and a look at every rank's set."""
        told = [*(slope.value for slope in own.values()), *(t.detach().double().sum() for t in syn_set.trainable())]
        table = torch.zeros(self.ranks.count, len(told), dtype=torch.float64, device=syn_set.pixels.device)
        table[self.ranks.rank] = torch.stack([value.double() for value in told])
        table = self.ranks.total(table)
        sums = table[:, len(own) :]
        if not torch.equal(sums, sums[:1].expand_as(sums)):
            raise ValueError("the ranks no longer hold the same images: they need processors of one kind")
        return {name: table[:, i].sum().to(slope.value.dtype) for i, (name, slope) in enumerate(own.items())}


def _critical(term: Term) -> bool:
    """Whether something learns beside the set in this term."""
    return any(isinstance(part, Source) and part.trainable() for part in find_parts(term).values())
