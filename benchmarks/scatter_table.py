"""Rank correlations between the numbers of a profile and accuracy: over all sets, and honestly, at equal size.

Images per class move accuracy and nearly every number at once, so a correlation over sets of all sizes says little.
`within` is the mean, weighted by their sets, of the correlations inside the groups of equal data and equal images
per class as networks see them; `methods` is the same of method means; `random` that of random real subsets alone.
Intervals (95 %) are percentiles of a bootstrap inside the groups: of sets, and of whole methods with all their sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from infodistill.seeding import key

Row = Mapping[str, Any]
Value = Callable[[Row], float | None]
Pair = tuple[float, float]
Groups = Mapping[int, Sequence[tuple[str, Pair]]]
"""Images per class -> (method, (number, accuracy)) of every set."""

RESAMPLES = 400
FEWEST = 5
"""Sets that a group needs for a correlation."""

SIZE, NOISE, SEEN = "control: images per class", "control: random number", "control: accuracy of two other networks"


def rank(pairs: Sequence[Pair]) -> tuple[float, float] | None:
    """(Spearman, Kendall tau-b), None where they are not defined: too few pairs, or one side constant."""
    x, y = np.array(pairs, dtype=float).reshape(-1, 2).T
    if len(x) < FEWEST or min(_spread(x), _spread(y)) <= 1e-6:
        return None
    return float(spearmanr(x, y).statistic), float(kendalltau(x, y).statistic)


def _spread(x: NDArray[Any]) -> float:
    return float(np.ptp(x)) / max(1.0, float(np.abs(x).max()))


def pooled(groups: Iterable[Sequence[Pair]]) -> tuple[float, float] | None:
    """The mean of both correlations over groups, weighted by their sizes; None if no group has any."""
    found = [(len(group), both) for group in groups if (both := rank(group)) is not None]
    total = sum(n for n, _ in found)
    if not found:
        return None
    return sum(n * both[0] for n, both in found) / total, sum(n * both[1] for n, both in found) / total


def by_size(rows: Sequence[Row], number: Value, accuracy: Value) -> Groups:
    """The sets of every size of which the number is known."""
    groups: dict[int, list[tuple[str, Pair]]] = {}
    for row in rows:
        x, y = number(row), accuracy(row)
        if x is not None and y is not None:
            groups.setdefault(row["shown"], []).append((row["method"], (x, y)))
    return dict(sorted(groups.items()))


def pairs(groups: Groups) -> list[list[Pair]]:
    return [[pair for _, pair in group] for group in groups.values()]


def means(groups: Groups) -> list[list[Pair]]:
    """One pair per method and size: the means of its sets."""
    found: list[list[Pair]] = []
    for group in groups.values():
        methods = sorted({method for method, _ in group})
        own = [[pair for name, pair in group if name == method] for method in methods]
        found.append([(fmean(x for x, _ in one), fmean(y for _, y in one)) for one in own])
    return found


def _resampled_sets(groups: Groups, random: np.random.Generator) -> list[list[Pair]]:
    return [[group[i][1] for i in random.integers(len(group), size=len(group))] for group in groups.values()]


def _resampled_methods(groups: Groups, random: np.random.Generator) -> list[list[Pair]]:
    methods = sorted({method for group in groups.values() for method, _ in group})
    drawn = [methods[i] for i in random.integers(len(methods), size=len(methods))]
    return [[pair for method in drawn for name, pair in group if name == method] for group in groups.values()]


def interval(groups: Groups, resampled: Callable[..., list[list[Pair]]], label: str) -> list[list[float]] | None:
    """[low, high] of Spearman and of Kendall."""
    random = np.random.default_rng(key(0, label))
    values = [both for _ in range(RESAMPLES) if (both := pooled(resampled(groups, random))) is not None]
    return [np.percentile([both[i] for both in values], [2.5, 97.5]).tolist() for i in (0, 1)] if values else None


def entry(both: tuple[float, float] | None, used: Iterable[Sequence[Pair]]) -> dict[str, Any]:
    spearman, kendall = both or (None, None)
    return {"spearman": spearman, "kendall": kendall, "n": sum(map(len, used))}


def inside(groups: Groups) -> dict[str, Any]:
    """The correlation at equal size; `n` counts the sets of the groups in which the number varies."""
    return entry(pooled(pairs(groups)), [group for group in pairs(groups) if rank(group) is not None])


def correlations(rows: Sequence[Row], number: Value, accuracy: Value, label: str) -> dict[str, Any]:
    """All readings of one number on the sets of one data set."""
    groups = by_size(rows, number, accuracy)
    flat = {0: [one for group in groups.values() for one in group]}
    averaged = {size: [("", pair) for pair in group] for size, group in zip(groups, means(groups), strict=True)}
    told = {
        "all": inside(flat),
        "within": inside(groups),
        "methods": inside(averaged),
        "random": inside(by_size([row for row in rows if row["method"] == "random"], number, accuracy)),
        "by_size": {str(size): inside({size: group}) for size, group in groups.items()},
    }
    for reading, its in (("all", flat), ("within", groups)):
        for what, resampled in (("sets", _resampled_sets), ("methods", _resampled_methods)):
            found = interval(its, resampled, label)
            told[reading][f"by_{what}"] = None if found is None else dict(zip(WORDS, found, strict=True))
    return told


WORDS = ("spearman", "kendall")


def of_profile(name: str) -> Value:
    return lambda row: row["profile"].get(name)


def accuracy_of(row: Row) -> float:
    return row["accuracy"]["mean"]


def nets_of(first: int | None, last: int | None) -> Value:
    """The mean accuracy of some of a set's networks; None where they are not told one by one."""

    def read(row: Row) -> float | None:
        values = row["accuracy"].get("values", ())
        return fmean(values[first:last]) if len(values) >= 4 else None

    return read


def conclude(rows: Sequence[Row]) -> dict[str, Any]:
    """Every correlation of every number, of three controls, and the sets they are of."""
    found: dict[str, Any] = {}
    for data in sorted({row["data"] for row in rows}):
        own = [row for row in rows if row["data"] == data]
        names = sorted({name for row in own for name in row["profile"]})
        told = {name: correlations(own, of_profile(name), accuracy_of, name) for name in names}
        told[SIZE] = correlations(own, lambda row: row["shown"], accuracy_of, SIZE)
        told[NOISE] = correlations(own, lambda row: key(1, NOISE, row["name"]), accuracy_of, NOISE)
        told[SEEN] = correlations(own, nets_of(0, 2), nets_of(2, None), SEEN)
        found[data] = told
    count = {data: sum(row["data"] == data for row in rows) for data in found}
    return {"sets": list(rows), "count": count, "correlations": found}


def table(found: Mapping[str, Any]) -> str:
    """Markdown: the numbers of one data set, the strongest at equal size first."""
    lines = [
        "| number | all sizes | equal size | by sets | by methods | larger is better | methods | random | n |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in sorted(found, key=lambda name: -abs(found[name]["within"]["spearman"] or 0)):
        one, own = found[name], found[name]["within"]
        right = "–" if own["kendall"] is None else f"{50 * (1 + own['kendall']):.0f} %"
        cells = [name, _figure(one["all"]), _figure(own), _span(own["by_sets"]), _span(own["by_methods"]), right]
        lines.append("| " + " | ".join([*cells, _figure(one["methods"]), _figure(one["random"]), str(own["n"])]) + " |")
    return "\n".join(lines)


def _span(interval: Mapping[str, Sequence[float]] | None) -> str:
    return "–" if interval is None else "{:+.2f} … {:+.2f}".format(*interval["spearman"])


def _figure(one: Mapping[str, Any]) -> str:
    return "–" if one["spearman"] is None else f"{one['spearman']:+.2f}"
