"""Does the information profile of a set predict the accuracy of networks trained on it? Sets of many methods and sizes.

    python benchmarks/scatter.py --make --igds STUDY --family RESULTS SETS --mnist PATH/mnist --work .scatter
    python benchmarks/scatter.py --measure --work .scatter --mnist PATH/mnist
    python benchmarks/scatter.py --plot --work .scatter --out benchmarks/results/scatter

`--make` distils on short budgets (quality is to vary) and trains `--nets` fresh networks on every set under one
protocol; `--igds` and `--family` take over sets of finished studies. `--measure` writes the profile of every set.
`--plot` correlates and draws. Every set leaves a folder and one JSON file per stage, so a run may stop anywhere.
Processor seconds on one thread; see `docs/scatter.md` for what came out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from scatter_plot import draw
from scatter_profile import Reader
from scatter_sets import POLICY, Piece, made, pieces, recorded, sampled
from scatter_table import conclude, table

import infodistill
from infodistill import nets
from infodistill.data import load_data
from infodistill.distilled import Distilled
from infodistill.evaluation.evaluating import evaluate
from infodistill.evaluation.protocols import protocol_for
from infodistill.real import RealData
from infodistill.serialise import pretty_json, read_object, write_bytes

SIZES = (1, 5, 10)
NET = "convnet2-w32"


def judged(distilled: Distilled, real: RealData, args: argparse.Namespace) -> dict[str, Any]:
    """Last-epoch test accuracies of fresh networks; the same initial networks for every set."""
    chosen = protocol_for("quick", real.name, ipc=distilled.stored_ipc, classes=real.num_classes)
    result = evaluate(
        distilled, real, {NET: nets.by_name(NET)}, protocol=chosen, seeds=range(args.nets), random_subsets=1,
        policy=POLICY, cache=args.work / "references",
    )  # fmt: skip
    score = result.nets[NET]["distilled"]
    return {"mean": score.mean, "std": score.std, "n": score.n, "values": list(score.values), "protocol": "quick"}


def keep(work: Path, name: str, distilled: Distilled, score: Mapping[str, Any], seconds: float) -> None:
    """The set, then what it is and how well it trains."""
    distilled.save(work / "sets" / name)
    soft = distilled.soft_labels is not None
    facts = {"data": distilled.meta["data"], "method": distilled.meta["method"], "ipc": distilled.stored_ipc}
    facts |= {"shown": distilled.ipc, "soft_labels": soft, "accuracy": dict(score), "seconds": round(seconds, 2)}
    write_bytes(work / "judged" / f"{name}.json", pretty_json({"name": name, **facts}))
    print(f"{name} {score['mean']:.4f} {seconds:.1f} s", flush=True)


def make(args: argparse.Namespace) -> None:
    """Every set that has not been judged yet: those another benchmark judged, then what is made and sampled here."""
    done = {path.stem for path in (args.work / "judged").glob("*.json")}
    if args.family and args.mnist:
        for name, distilled, score in recorded(*args.family, load_data(args.mnist)):
            if name not in done:
                keep(args.work, name, distilled, score, 0.0)
    real = load_data("digits")
    due = [p for p in pieces(SIZES, args.seeds, args.subsets, args.budget) if p.name(real.name) not in done]
    for piece in [p for p in due if p.seed == 0]:
        _make(piece, real, args)
    for name, distilled in sampled(args.igds, real, SIZES) if args.igds else ():
        if name not in done:
            keep(args.work, name, distilled, judged(distilled, real, args), 0.0)
    for piece in [p for p in due if p.seed]:
        _make(piece, real, args)


def _make(piece: Piece, real: RealData, args: argparse.Namespace) -> None:
    start = time.process_time()
    for part, distilled in made(piece, real, args.work / "cache"):
        score = judged(distilled, real, args)
        spent = time.process_time() - start
        keep(args.work, piece.name(real.name, part), distilled.with_meta(method=piece.method), score, spent)


def measure(args: argparse.Namespace) -> None:
    """The profile of every judged set."""
    readers: dict[str, Reader] = {}
    for path in sorted((args.work / "judged").glob("*.json")):
        target = args.work / "measured" / path.name
        if target.exists():
            continue
        start, data = time.process_time(), read_object(path)["data"]
        if data not in readers:
            readers[data] = Reader(load_data("digits" if data == "digits" else args.mnist), args.work / "cache")
        found = readers[data](infodistill.load(args.work / "sets" / path.stem))
        spent = round(time.process_time() - start, 2)
        write_bytes(target, pretty_json({"numbers": found, "seconds": spent}))
        print(f"{path.stem} {spent} s", flush=True)


def rows(work: Path) -> list[dict[str, Any]]:
    """What is known of every set."""
    found = [read_object(path) for path in sorted((work / "judged").glob("*.json"))]
    measured = work / "measured"
    return [
        {**row, "profile": read_object(measured / f"{row['name']}.json")["numbers"]}
        for row in found
        if (measured / f"{row['name']}.json").exists()
    ]


def plot(args: argparse.Namespace) -> None:
    """The record, a picture per data set, and the tables on the screen."""
    sets = rows(args.work)
    record = conclude(sets)
    write_bytes(args.out.with_suffix(".json"), pretty_json(_rounded(record)))
    for data, found in record["correlations"].items():
        own = [row for row in sets if row["data"] == data]
        title = f"{data}: {len(own)} sets; Spearman's rank correlation with accuracy"
        draw(own, found, args.pictures / f"scatter-{data}.png", title)
        print(f"{data}: {len(own)} sets\n\n{table(found)}\n")


def _rounded(value: Any) -> Any:
    """Five digits are more than any of these numbers is good for."""
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for stage in ("--make", "--measure", "--plot"):
        parser.add_argument(stage, action="store_true")
    parser.add_argument("--work", type=Path, default=Path(".scatter"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/scatter"))
    parser.add_argument("--pictures", type=Path, default=Path("docs/figures"))
    parser.add_argument("--mnist", help="the folder of MNIST")
    parser.add_argument("--igds", type=Path, help="the folder of a finished `reproduce igds-digits`")
    parser.add_argument("--family", type=Path, nargs=2, metavar=("RESULTS", "SETS"), help="a finished family.py")
    for name, default in {"nets": 4, "seeds": 2, "subsets": 6}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--budget", type=float, default=5.0, help="processor seconds of a distillation")
    return parser.parse_args()


def main() -> None:
    args = parse()
    torch.set_num_threads(1)
    if args.make:
        make(args)
    if args.measure:
        measure(args)
    if args.plot:
        plot(args)


if __name__ == "__main__":
    main()
