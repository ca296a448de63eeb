"""`infodistill demo`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infodistill.commands.speaking import one_sentence, say, show

if TYPE_CHECKING:
    from rich.table import Table

    from infodistill.evaluation.result import Result


@one_sentence
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the three runs and the report.")] = Path("demo"),
    ipc: Annotated[int, typer.Option(min=2, help="Images per class.")] = 10,
    steps: Annotated[int | None, typer.Option(help="Steps of each run.  [default: the recipe's]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Distil the bundled digits with DM, DM+CMI and DM+MIM, compare with random subsets and the full data.

    Example: infodistill demo
    """
    from infodistill.progress import duration, telling
    from infodistill.running.demo import demonstrate

    start = time.monotonic()
    with telling() as tell:
        shown = demonstrate(out, ipc=ipc, steps=steps, tell=tell, say=say)
    if as_json:
        show({name: result.as_dict() for name, result in shown.results.items()})
        return
    from rich.console import Console

    Console().print(_table(shown.results))
    print("One seed and 500 test images: differences of a point or less say nothing. Every number is as it came out.")
    print(f"report: {shown.page}   ({duration(time.monotonic() - start)})")


def _table(results: dict[str, Result]) -> Table:
    """Rows from little to all data; random subsets and full data are the same for every variant."""
    from rich.table import Table

    table = Table(title="digits, test accuracy in %, mean ± std over networks")
    for heading in ("training set", "images per class", "accuracy", "n"):
        table.add_column(heading, justify="left" if heading == "training set" else "right")
    first = next(iter(results.values()))
    net = next(iter(first.nets))
    rows = [("random real images", str(first.ipc), first.nets[net]["random"])]
    labels = {"dm": "DM", "dm-cmi": "DM + CMI", "dm-mim": "DM + MIM"}
    rows += [(labels[name], str(result.ipc), result.nets[net]["distilled"]) for name, result in results.items()]
    rows += [("all real images", "all", first.nets[net]["full"])]
    for label, ipc, score in rows:
        table.add_row(label, ipc, score.text(), str(score.n))
    return table
