"""Accuracy over time: one long run per contender, its set tested at marks along the way, and the curves as a picture.

    python benchmarks/over_time.py --data DIR --contender dm --minutes 60 --out benchmarks/results/cifar10-over-time
    python benchmarks/over_time.py --data DIR --contender idm --evaluate --out OUT
    python benchmarks/over_time.py --plot --out OUT

Minutes are those of a processor on `--threads` threads, compilation of the first step not counted, so that other work
on the machine does not count. Every mark stores the set as an artefact, and the job's checkpoint: a run that is stopped
goes on from its last mark. Networks are tested under DSA's protocol at `--epochs` epochs, on mosaics as they decode.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from contenders_matching import OVER_TIME

import infodistill
from infodistill.compute import Policy, capabilities
from infodistill.data import load_data
from infodistill.evaluation.evaluating import evaluate
from infodistill.evaluation.protocols import protocol_for
from infodistill.files import write_atomically
from infodistill.nets import by_name
from infodistill.running.checkpoint import load_checkpoint, save_checkpoint

MARKS = (0.0, 1.0, 3.0, 10.0, 20.0, 40.0, 60.0)
"""Minutes after which a set is stored, as far as the run goes."""


def main() -> None:
    args = _arguments()
    torch.set_num_threads(args.threads)
    if args.plot:
        plot(args.out)
    elif args.evaluate:
        assess(args)
    else:
        distil(args)


def _policy(args: argparse.Namespace) -> Policy:
    return Policy(precision=args.precision, compile=True, threads=args.threads)


def distil(args: argparse.Namespace) -> None:
    """Run to the last mark, storing a set at each."""
    folder, real = args.out / "runs" / args.contender, load_data(args.data)
    job = OVER_TIME[args.contender](real, by_name(args.net), seed=args.seed, policy=_policy(args))
    checkpoint, record = folder / "checkpoint", folder / "record.json"
    told: dict[str, Any] = {"minutes": 0.0, "marks": []}
    if record.exists():
        told = json.loads(record.read_text())
        job.load_state_dict(load_checkpoint(checkpoint))
    for mark in [m for m in MARKS if m <= args.minutes and m not in [k["minutes"] for k in told["marks"]]]:
        told["minutes"] += _advance(job, mark - told["minutes"], warm=not mark or not told["marks"])
        job.export(method=args.contender).save(folder / f"mark-{mark:g}")
        save_checkpoint(checkpoint, job.state_dict())
        told["marks"].append({"minutes": mark, "steps": job.step})
        text = json.dumps(told)
        write_atomically(record, lambda partial, text=text: partial.write_text(text))
        print(args.contender, mark, job.step, flush=True)


def _advance(job: Any, minutes: float, warm: bool) -> float:
    """Steps until so many processor minutes have passed; the step that compiles is not counted."""
    start, steps = time.process_time(), 0
    while (spent := (time.process_time() - start) / 60) < minutes:
        next(iter(job.run(1)))
        steps += 1
        if warm and steps == 1:
            start = time.process_time()
    return spent if minutes > 0 else 0.0


def assess(args: argparse.Namespace) -> None:
    """Test networks on every mark; the last one gets `--nets` of them, the others `--nets-between`."""
    real, runs = load_data(args.data), args.out / "runs" / args.contender
    told = json.loads((runs / "record.json").read_text())
    protocol = replace(protocol_for("dsa", "cifar10"), name=f"dsa-{args.epochs}", epochs=args.epochs)
    out = args.out / f"{args.contender}.json"
    found: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"curve": []}
    for mark in reversed(told["marks"]):
        if any(point["minutes"] == mark["minutes"] for point in found["curve"]):
            continue
        last = mark is told["marks"][-1]
        result = evaluate(
            infodistill.load(runs / f"mark-{mark['minutes']:g}"), real, {args.net: by_name(args.net)},
            protocol=protocol, seeds=range(args.nets if last else args.nets_between),
            random_subsets=5 if last else 1, policy=_policy(args), cache=args.out / "cache",
        ).as_dict()  # fmt: skip
        columns = result["nets"][args.net]
        point = {**mark, "distilled": columns["distilled"], "images_bytes": result["images_bytes"]}
        found["curve"] = sorted([*found["curve"], point], key=lambda one: one["minutes"])
        if last:
            found |= {"random": columns["random"], "net": args.net, "protocol": protocol.as_dict()}
        found |= {"machine": {**capabilities(), "cores": os.cpu_count(), "threads": args.threads}}
        found |= {"versions": {"python": platform.python_version(), "torch": torch.__version__}, "seed": args.seed}
        text = json.dumps(found, indent=1) + "\n"
        write_atomically(out, lambda partial, text=text: partial.write_text(text))
        print(args.contender, point, flush=True)


def plot(folder: Path) -> None:
    """The curves of every contender with a record, and the random subsets each was evaluated beside."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text())
        curve, at = found["curve"], found["random"]
        means, spread = ([100 * point["distilled"][key] for point in curve] for key in ("mean", "std"))
        line = axes.errorbar([one["minutes"] for one in curve], means, spread, marker="o", capsize=3, label=path.stem)
        label = f"random real images, as many as {path.stem} decodes to"
        axes.axhline(100 * at["mean"], color=line[0].get_color(), linestyle="--", alpha=0.6, label=label)
    axes.set_xscale("symlog", linthresh=1)
    axes.set(xlabel="processor minutes of distillation", ylabel="test accuracy %")
    axes.set_xticks(MARKS, [f"{mark:g}" for mark in MARKS])
    axes.legend()
    figure.savefig(folder / "over-time.png", dpi=150)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--contender", choices=sorted(OVER_TIME), default="dm")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--net", default="convnet3-w64")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--evaluate", action="store_true")
    parser.add_argument("--plot", action="store_true")
    for name, default in {"seed": 0, "threads": 1, "nets": 5, "nets-between": 3, "epochs": 300}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


if __name__ == "__main__":
    main()
