"""`infodistill train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infodistill.commands.speaking import one_sentence, say, show


@one_sentence
def train(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An artefact folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the network.")],
    net: Annotated[str | None, typer.Option(help="convnet3, resnet18, vgg11, ...  [default: the artefact's]")] = None,
    data: Annotated[str | None, typer.Option(help="The data it is tested on, if that is not where it was.")] = None,
    protocol: Annotated[str | None, typer.Option(help="How it is trained.  [default: the artefact's]")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs, if not the protocol's.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Networks to train; the first is kept, not the best.")] = 1,
    seed: Annotated[int, typer.Option(help="Key of the first network's weights and batches.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32 or bf16.")] = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a network on a distilled set, test it, and store it ready for use.

    Example: infodistill train runs/digits --net resnet18 --out models/digits
    """
    from infodistill.compute import resolve
    from infodistill.data import cache_dir
    from infodistill.evaluation.assessing import data_of, open_artefact
    from infodistill.evaluation.job import protocol_named, protocol_of
    from infodistill.evaluation.network_for_use import ABOUT, lasting, save_network
    from infodistill.evaluation.network_for_use import train as train_networks
    from infodistill.files import require_writable
    from infodistill.progress import telling

    distilled = open_artefact(folder)
    if out.exists() and any(out.iterdir()) and not (out / ABOUT).exists():
        raise ValueError(f"'{out}' holds other files: choose another --out")
    require_writable(out)
    how = protocol_named(protocol, distilled) if protocol else None
    real = data_of(distilled, data, say)
    if epochs is not None:
        how = lasting(distilled, how or protocol_of(distilled, real), epochs)
    with telling() as tell:
        result = train_networks(
            distilled, real, net or str(distilled.meta.get("net", "convnet3")), seeds=range(seed, seed + seeds),
            protocol=how, policy=resolve(device, precision), cache=cache_dir(), progress=tell,
        )  # fmt: skip
    about = save_network(result, distilled, out, folder)
    if as_json:
        show(about)
        return
    print(result.words())
    say(f"the network: {out} (its README says how to load it)")
