"""`infodistill evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infodistill.commands.speaking import one_sentence, say, show

if TYPE_CHECKING:
    from infodistill.evaluation.result import Result


@one_sentence
def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An artefact folder.")],
    data: Annotated[str | None, typer.Option(help="The data, if it is not where it was.")] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="quick, imagenet-hard, dc, dsa, cafe, idc, pdd, ncfm, mim4dd, mtt, seqmatch, dd, ld, frepo, rtp.  "
            "[default: DIR's]"
        ),
    ] = None,
    net: Annotated[list[str] | None, typer.Option(help="Networks to train.  [default: the artefact's]")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Networks per column; random subsets are at least five.")] = 5,
    full: Annotated[bool, typer.Option("--full", help="Train on the full data too, if that is not cached.")] = False,
    cross: Annotated[
        bool, typer.Option("--cross", help="Every network of the cross-architecture table that takes such images.")
    ] = False,
    robust: Annotated[
        bool, typer.Option("--robust", help="Label- and augmentation-robust scores too; trains on the full data.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32 or bf16.")] = "float32",
    workers: Annotated[
        str | None, typer.Option(help="1, ray or ray:N: networks by so many workers of one thread each, the same bits.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train fresh networks on a distilled set and on random real subsets, and test them.

    Example: infodistill evaluate runs/digits --full
    """
    from infodistill.artefact import record_result
    from infodistill.evaluation.assessing import evaluated, evaluated_across, refresh_report, robust_scores
    from infodistill.evaluation.result import combined
    from infodistill.files import require_writable
    from infodistill.progress import telling
    from infodistill.scale.asked import fan_of

    if cross and net:
        raise ValueError(f"--cross names its networks itself: give it or --net {net[0]}, not both")
    if folder.exists():
        require_writable(folder)
    options: dict[str, Any] = {"data": data, "protocol": protocol, "device": device, "precision": precision}
    options |= {"seeds": seeds}
    results: list[Result] = []
    with telling() as tell:
        trained: dict[str, Any] = {**options, "full": full or robust, "tell": tell, "say": say}
        trained["workers"] = fan_of(workers, device)
        for part in evaluated_across(folder, **trained) if cross else [evaluated(folder, net=net, **trained)]:
            record_result(folder, part.record())  # network by network: what is done is kept
            results.append(part)
        result = combined(results)
        names = list(result.nets)
        scores = robust_scores(folder, net=names, tell=tell, workers=trained["workers"], **options) if robust else {}
    if robust:
        record_result(folder, {**result.record(), "robust": scores})
    refresh_report(folder)
    if as_json:
        show({**result.as_dict(), **({"robust": scores} if robust else {})})
        return
    _print(result, scores)


def _print(result: Result, scores: Mapping[str, Any]) -> None:
    from rich.console import Console

    Console().print(result.table())
    for name, reason in result.full_reasons.items():
        if reason is not None:
            say(f"{name}, full data: {reason}")
    for name, found in scores.items():
        print(
            f"{name}: LRS {found['lrs']:.3f}, ARS {found['ars']:.3f} (0-1, 0.269 is no gain); HLR "
            f"{100 * found['hlr']:+.1f}, IOR {100 * found['ior']:+.1f} points"
        )
