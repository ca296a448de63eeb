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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from scatter_plot import draw
from scatter_sets import POLICY, made, pieces, recorded, sampled
from scatter_table import conclude, table

import infodistill
from infodistill import jobs, nets
from infodistill import recipe as recipes
from infodistill.data import load_data
from infodistill.distilled import Distilled
from infodistill.evaluation import evaluate
from infodistill.measuring import profile
from infodistill.protocols import protocol_for
from infodistill.real import RealData
from infodistill.serialise import pretty_json, read_object, write_bytes
from infodistill.sources.teachers import train_teachers
from infodistill.training import Fit

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
    """Every set of the digits, then those of MNIST that another benchmark has judged already."""
    real = load_data("digits")
    done = {path.stem for path in (args.work / "judged").glob("*.json")}
    for piece in pieces(SIZES, args.seeds, args.subsets, args.budget):
        if piece.name(real.name) in done:
            continue
        start = time.process_time()
        for part, distilled in made(piece, real, args.work / "cache"):
            score = judged(distilled, real, args)
            name, spent = piece.name(real.name, part), time.process_time() - start
            keep(args.work, name, distilled.with_meta(method=piece.method), score, spent)
    for name, distilled in sampled(args.igds, real, SIZES) if args.igds else ():
        if name not in done:
            keep(args.work, name, distilled, judged(distilled, real, args), 0.0)
    if args.family and args.mnist:
        for name, distilled, score in recorded(*args.family, load_data(args.mnist)):
            if name not in done:
                keep(args.work, name, distilled, score, 0.0)


def teachers(real: RealData, args: argparse.Namespace) -> Any:
    """The networks looked through: the recipe's for the digits, three small ones for MNIST."""
    if real.name == "digits":
        recipe = recipes.parse(recipes.find("digits", "dm", 10)[1])
        return jobs.teachers_for(recipe, real, policy=POLICY, cache=args.work / "cache")
    fit = Fit(2, 64, 0.01, 0.9, 5e-4)
    return train_teachers(
        real, nets.by_name("convnet3-w16"), count=3, fit=fit, policy=POLICY, cache=args.work / "cache"
    )


def numbers(told: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a profile by its path; those of its controls and references are left out."""
    for name, value in told.items():
        if not isinstance(value, Mapping) or name in ("random", "shuffled", "control", "controls"):
            continue
        found = value.get("mean", value.get("value"))
        if isinstance(found, int | float):
            yield prefix + name, float(found)
        yield from numbers(value, f"{prefix}{name}.")


def measure(args: argparse.Namespace) -> None:
    """The profile of every judged set, on one real side for all."""
    sides: dict[str, tuple[RealData, Any]] = {}
    for path in sorted((args.work / "judged").glob("*.json")):
        target = args.work / "measured" / path.name
        if target.exists():
            continue
        facts = read_object(path)
        if facts["data"] not in sides:
            real = load_data("digits" if facts["data"] == "digits" else args.mnist)
            sides[facts["data"]] = real, teachers(real, args)
        real, pool = sides[facts["data"]]
        batch, start = infodistill.load(args.work / "sets" / path.stem).batch(), time.process_time()
        told = profile(batch, real, pool.views, per_class=args.per_class)
        spent = time.process_time() - start
        write_bytes(target, pretty_json({"numbers": dict(numbers(told)), "seconds": round(spent, 2)}))
        print(f"{path.stem} {spent:.1f} s", flush=True)


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
    write_bytes(args.out.with_suffix(".json"), pretty_json(record))
    for data, found in record["correlations"].items():
        own = [row for row in sets if row["data"] == data]
        part = "" if data == "digits" else f"-{data}"
        path = args.out.with_name(f"{args.out.name}{part}.png")
        draw(own, found, path, f"{data}: {len(own)} sets; Spearman's rank correlation with accuracy")
        print(f"{data}: {len(own)} sets\n\n{table(found)}\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for stage in ("--make", "--measure", "--plot"):
        parser.add_argument(stage, action="store_true")
    parser.add_argument("--work", type=Path, default=Path(".scatter"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/scatter"))
    parser.add_argument("--mnist", help="the folder of MNIST")
    parser.add_argument("--igds", type=Path, help="the folder of a finished `reproduce igds-digits`")
    parser.add_argument("--family", type=Path, nargs=2, metavar=("RESULTS", "SETS"), help="a finished family.py")
    for name, default in {"nets": 5, "seeds": 2, "subsets": 6, "per-class": 64}.items():
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
