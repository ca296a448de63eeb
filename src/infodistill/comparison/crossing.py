"""Other architectures: which networks the cross-architecture table asks for, and the table as far as it has been run.

A set that was distilled through one network may be worth nothing to another. The table holds what was evaluated and
names what was not, because one number of the network a set was made with says nothing of the others. It costs as many
trainings as there are networks, so a report shows it as it stands and gives the command that fills it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from infodistill import nets
from infodistill.comparison.ranking import ranks_of
from infodistill.evaluation.result import values_of
from infodistill.running.runs import Run

CROSS = ("mlp", "lenet", "alexnet", "vgg11", "resnet18", "resnetap10", "vit")
"""The networks beside the set's own, a ConvNet as a rule."""
Row = dict[str, Any]


def cross_names(own: str) -> tuple[str, ...]:
    """The set's own network, then the others."""
    return (own, *(name for name in CROSS if name != own))


def refusals(names: Sequence[str], shape: tuple[int, int, int], classes: int) -> dict[str, str]:
    """Name -> why a network does not take images of this shape; nothing is allocated.

    Raises:
        ValueError: a name nobody knows.
    """
    found: dict[str, str] = {}
    for name in names:
        factory = nets.by_name(name)
        try:
            with torch.device("meta"):
                factory(shape, classes)
        except (ValueError, ImportError) as error:
            found[name] = str(error)
    return found


def crossings(runs: Sequence[Run]) -> Iterator[Row]:
    """For every run and protocol: the rows of its table, what was not run and what cannot be, with reasons."""
    for run in runs:
        for protocol, result in (run.results or {}).items():
            own = str(run.distilled.meta.get("net", next(iter(result["nets"]))))
            missing = [name for name in cross_names(own) if name not in result["nets"]]
            refused = refusals(missing, run.distilled.shape, run.distilled.num_classes)
            yield {
                "label": run.label,
                "protocol": protocol,
                "own": own,
                "rows": _rows(result),
                "missing": [name for name in missing if name not in refused],
                "refused": refused,
            }


def _rows(result: Mapping[str, Any]) -> list[Row]:
    """distilled, random, their gap, and the ranks of the network under either."""
    names = list(result["nets"])
    ranks = {column: _ranks(result, names, column) for column in ("distilled", "random")}
    return [
        {
            "net": name,
            "columns": result["nets"][name],
            "gap": result["nets"][name]["distilled"]["mean"] - result["nets"][name]["random"]["mean"],
            "ranks": {column: found.get(name) for column, found in ranks.items()},
        }
        for name in names
    ]


def _ranks(result: Mapping[str, Any], names: Sequence[str], column: str) -> dict[str, int]:
    """Ranks of networks by one column, ties shared; networks whose accuracies were not recorded have none."""
    values = {name: values_of(result, name, column) for name in names}
    known = {name: found for name, found in values.items() if found}
    return dict(zip(known, ranks_of(list(known.values())), strict=True))
