"""Accuracy against wall-clock for DM when several updates share one network and its real statistics (`dm(share=k)`).

    python benchmarks/share.py --data digits --marks 1 2 4 8 16 --out benchmarks/results/share-digits

Runs with different k take turns second by second in one process, so that the machine's mood is shared. Evaluation time
is not counted. Writes a JSON record and a plot.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from infodistill.augment import shift
from infodistill.compute import Policy, View, capabilities
from infodistill.data import load_data
from infodistill.distillation import Distillation
from infodistill.evaluation.protocols import protocol_for
from infodistill.methods.dm import dm
from infodistill.nets import by_name
from infodistill.nets.initialise import initialise
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.training import accuracy, fit


def score(job: Distillation, args: argparse.Namespace) -> float:
    """Mean last-epoch test accuracy of fresh networks trained on the set as it stands."""
    assert job.real.test is not None
    batch, values = job.syn.batch().detach(), []
    hyper = protocol_for(args.protocol, job.real.name).fit()
    for seed in range(args.nets):
        module = by_name(args.net)(job.real.shape, job.real.num_classes)
        initialise(module, stream(seed, "share.net"))
        fit(module, batch, hyper, stream(seed, "share.train"), policy=job.policy)
        values.append(accuracy(View.own(module, policy=job.policy), job.real.test))
    return statistics.fmean(values)


def curve(real: RealData, args: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """One list of {seconds, steps, accuracy, seed} per k."""
    policy, net = Policy(compile=args.compile, threads=args.threads), by_name(args.net)
    found: dict[str, list[dict[str, float]]] = {str(k): [] for k in args.share}
    for seed in args.seeds:
        jobs = {
            k: dm(
                real, net, ipc=args.ipc, seed=seed, real_per_class=args.real_per_class, augment=shift(1), share=k,
                lr=args.lr, policy=policy,
            )
            for k in args.share
        }  # fmt: skip
        for job in jobs.values():  # warm up, compile
            list(job.adding().run(2))
        spent = dict.fromkeys(args.share, 0.0)
        for mark in args.marks:
            while min(spent.values()) < mark:
                k = min(spent, key=lambda k: spent[k])
                start = time.perf_counter()
                list(jobs[k].run(k))
                spent[k] += time.perf_counter() - start
            for k, job in jobs.items():
                point = {"seconds": spent[k], "steps": job.step, "accuracy": score(job, args), "seed": seed}
                found[str(k)].append(point)
                print(k, point, flush=True)
    return found


def draw(record: dict[str, object], path: Path) -> None:
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for k, points in record["curves"].items():  # type: ignore[attr-defined]
        marks = sorted({round(p["mark"], 3) for p in points})
        rows = [[p["accuracy"] for p in points if round(p["mark"], 3) == m] for m in marks]
        spread = [statistics.pstdev(row) for row in rows]
        axes.errorbar(marks, [100 * statistics.fmean(row) for row in rows], [100 * s for s in spread], label=f"k = {k}")
    axes.set(xscale="log", xlabel="seconds of distillation", ylabel="test accuracy (%)")
    axes.set_title(f"DM on {record['data']}: updates k per drawn network")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--net", default="convnet2-w32")
    parser.add_argument("--protocol", default="quick")
    parser.add_argument("--share", nargs="*", type=int, default=[1, 4, 16])
    parser.add_argument("--marks", nargs="*", type=float, default=[1, 2, 4, 8, 16])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--lr", type=float, default=1.0)
    for name, default in {"ipc": 10, "real-per-class": 64, "nets": 3, "threads": 2}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    real = load_data(args.data)
    curves = curve(real, args)
    for points in curves.values():
        for seed in args.seeds:
            for mark, point in zip(args.marks, (p for p in points if p["seed"] == seed), strict=True):
                point["mark"] = mark
    settings = {name: value for name, value in vars(args).items() if name not in ("data", "out")}
    record = {"data": real.name, "settings": settings, "curves": curves, "device": capabilities()["cpu"]}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.with_suffix(".json").write_text(json.dumps(record, indent=1))
    draw(record, args.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
