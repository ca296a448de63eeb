"""`infodistill import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infodistill.commands.speaking import one_sentence, say, show

if TYPE_CHECKING:
    from infodistill.distilled import Distilled


@one_sentence
def import_set(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .pt file, Parquet, a folder of them, or of class folders.")
    ],
    data: Annotated[str, typer.Option(help="The data the set came from: digits, cifar10, a folder, ...")],
    out: Annotated[Path, typer.Option(help="Folder of the artefact.")],
    space: Annotated[
        str | None,
        typer.Option(help="normalised, unit ([0, 1]), byte (0..255) or zca; image files are bytes."),
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="The file with the labels, if its name does not tell.")] = None,
    labels_are: Annotated[
        str | None, typer.Option(help="hard, soft, logits (DATM) or scores (FRePo).  [default: told by the values]")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="The learned step size.  [default: the one in the file]")] = None,
    class_names: Annotated[
        str | None, typer.Option(help="Names in the order of the file, with commas, or a file with one a line.")
    ] = None,
    mean: Annotated[str | None, typer.Option(help="Of --space normalised, with commas.  [default: the data's]")] = None,
    std: Annotated[str | None, typer.Option(help="With --mean.")] = None,
    zca_eps: Annotated[float, typer.Option(help="Of --space zca; the whitening is fitted on the data.")] = 0.1,
    factor: Annotated[int, typer.Option(min=1, help="Tiles along each side of an image (IDC: 2).")] = 1,
    which: Annotated[int, typer.Option(help="The set to take where a file holds several.")] = 0,
    method: Annotated[str, typer.Option(help="The method, for the card.")] = "imported",
    net: Annotated[
        str | None, typer.Option(help="Network to evaluate by.  [default: the export's, or a ConvNet by size]")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="How it is to be evaluated.  [default: the export's, or by labels, rate, size]")
    ] = None,
    license_: Annotated[str | None, typer.Option("--license", help="Of the set, for the card.")] = None,
    size: Annotated[int | None, typer.Option(help="Resize the data to this many pixels.")] = None,
    skip_corrupt: Annotated[
        bool, typer.Option("--skip-corrupt", help="Leave out unreadable images of the data.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was read as JSON.")] = False,
) -> None:
    """Make a set that somebody published an artefact: a .pt pair, DD-Ranking's folder, Parquet, or images.

    Example: infodistill import images_best.pt --data cifar10 --space zca --out runs/mtt
    """
    from infodistill.evaluation.assessing import refresh_report
    from infodistill.files import require_writable
    from infodistill.importing import Published, import_set
    from infodistill.importing.reading_options import names_of, numbers_of

    if (out / "distilled.json").exists():
        raise ValueError(f"'{out}' holds an artefact already: choose another --out")
    if out.exists() and (not out.is_dir() or any(not path.name.endswith(".partial") for path in out.iterdir())):
        raise ValueError(f"'{out}' exists and is not an empty folder: choose another --out")
    require_writable(out)
    found = import_set(
        Published(
            file, data, space, size, skip_corrupt, labels, labels_are, lr, names_of(class_names),
            numbers_of(mean, "--mean"), numbers_of(std, "--std"), zca_eps, factor, which, method, net, protocol,
            license_,
        )
    )  # fmt: skip
    found.distilled.save(out)
    refresh_report(out)
    for text in (*(f"note: {note}" for note in found.notes), *(f"WARNING: {one}" for one in found.warnings)):
        say(text)
    if as_json:
        show({"out": str(out), "notes": found.notes, "warnings": found.warnings, **_facts(found.distilled)})
        return
    facts = _facts(found.distilled)
    print(f"{facts['images']} images in {facts['classes']} classes, protocol {facts['protocol']}: {out}")
    say(f"next: infodistill evaluate {out}")


def _facts(distilled: Distilled) -> dict[str, Any]:
    return {
        "images": len(distilled),
        "ipc": distilled.stored_ipc,
        "classes": distilled.num_classes,
        "protocol": distilled.meta["protocol"]["name"],
        "net": distilled.meta["net"],
        "space": distilled.meta["imported"]["space"],
        "labels": distilled.meta["imported"]["labels"],
    }
