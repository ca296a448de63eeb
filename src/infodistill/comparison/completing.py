"""The evaluations a comparison is made of: those recorded under what was asked, and the missing ones, made now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from infodistill.comparison.contenders import Contender, Entrant
from infodistill.distilled import Distilled
from infodistill.evaluation.recording import Conditions, conditions
from infodistill.evaluation.whereabouts import located
from infodistill.files import require_writable
from infodistill.running.runs import read_run


@dataclass(frozen=True)
class Asked:
    """What an evaluation asked for now would be made under, and how one is made.

    Attributes:
        evaluate: evaluate(folder, networks) under the protocol and seeds of the comparison, and record it.
        settings: the conditions, without loading data: these stay open unless others than the set's own are named.
        conditions: the conditions in full; loads the data.
    """

    evaluate: Callable[[Path, Sequence[str]], None]
    settings: Callable[[Distilled], Conditions]
    conditions: Callable[[Distilled], Conditions]


@dataclass(frozen=True)
class Complete:
    """Contenders of which every set was evaluated with `nets` under the same `conditions`."""

    members: tuple[Contender, ...]
    nets: tuple[str, ...]
    conditions: Conditions


def completed(
    members: Sequence[Contender], protocol: str, nets: Sequence[str], seeds: int, *, asked: Asked
) -> Complete:
    """The contenders with every set evaluated by the first `seeds` networks of each architecture.

    `nets` empty: those that every set was evaluated with already, or the network of the first. Nothing is trained, and
    no data are loaded, where the sets share what was asked for. What is recorded under other conditions is not used.

    Raises:
        ValueError: the sets would not be evaluated under the same conditions; said before anything is trained.
        OSError: an evaluation could not be stored with its set; likewise.
    """
    everyone = [one for contender in members for one in contender.entrants]
    wanted = _one([(one, asked.settings(one.run.distilled)) for one in everyone], protocol)
    if there := _recorded(everyone, protocol, nets, seeds, wanted=wanted):
        return Complete(tuple(members), *there)
    names = tuple(nets) or (str(everyone[0].meta.get("net", "convnet3")),)
    here = _one([(one, asked.conditions(located(one.run.distilled, one.folder))) for one in everyone], protocol)
    done = {one.folder: all(_done(one, protocol, net, seeds, here) for net in names) for one in everyone}
    require_writable(*(folder for folder in done if not done[folder]))
    return Complete(tuple(_completed(one, protocol, names, seeds, (asked, here)) for one in members), names, here)


def _one(found: Sequence[tuple[Entrant, Conditions]], protocol: str) -> Conditions:
    """The conditions all share."""
    first, wanted = found[0]
    for one, other in found:
        if other != wanted:
            raise ValueError(
                f"'{one.folder.name}' would be evaluated under other settings of protocol '{protocol}' or on other "
                f"data than '{first.folder.name}': give --protocol and --data, which then hold for all"
            )
    return wanted


def _recorded(
    everyone: Sequence[Entrant], protocol: str, nets: Sequence[str], seeds: int, *, wanted: Conditions
) -> tuple[tuple[str, ...], Conditions] | None:
    """Networks and conditions all sets were evaluated with and under, as far as asked for; the last of the first."""
    for record in everyone[0].records(protocol):
        here = conditions(record)
        names = nets or list(record["nets"])
        shared = tuple(net for net in names if all(_done(one, protocol, net, seeds, here) for one in everyone))
        if wanted.allow(here) and shared and (not nets or len(shared) == len(nets)):
            return shared, here
    return None


def _done(one: Entrant, protocol: str, net: str, seeds: int, here: Conditions) -> bool:
    scored = one.scored(protocol, net, here)
    return scored is not None and set(range(seeds)) <= set(scored.networks)


def _completed(
    one: Contender, protocol: str, nets: Sequence[str], seeds: int, how: tuple[Asked, Conditions]
) -> Contender:
    asked, here = how
    fresh: list[Entrant] = []
    for entrant in one.entrants:
        if missing := [net for net in nets if not _done(entrant, protocol, net, seeds, here)]:
            asked.evaluate(entrant.folder, missing)
            entrant = replace(entrant, run=read_run(entrant.folder))
        if missing and not all(_done(entrant, protocol, net, seeds, here) for net in missing):
            raise ValueError(
                f"'{entrant.folder.name}' was evaluated under other conditions than were asked for: its data or its "
                "manifest changed meanwhile, compare again"
            )
        fresh.append(entrant)
    return replace(one, entrants=tuple(fresh))
