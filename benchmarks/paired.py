"""Paired comparison of a base method with its information terms and their negative controls, resumable cell by cell.

    python benchmarks/paired.py --data PATH/mnist --seeds 0 1 2 --out benchmarks/results/mnist-paired
    python benchmarks/paired.py --out benchmarks/results/mnist-paired --table

A cell is (setting, seed): distil, evaluate with fresh networks, write one JSON file. Cells of one seed share initial
images, real batches, networks, augmentation and evaluation networks, so their differences are paired. Several
processes may share one `--out`: each takes cells that no other has claimed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from infodistill.augment import dsa, shift
from infodistill.compute import Policy, capabilities
from infodistill.data import load_data
from infodistill.distillation import Distillation
from infodistill.evaluation.evaluating import evaluate
from infodistill.evaluation.protocols import protocol_for
from infodistill.files import write_atomically
from infodistill.information.cmi import CMI
from infodistill.information.controls import RandomDirection, ShuffledLabels
from infodistill.information.mim import MIM
from infodistill.methods.dm import dm
from infodistill.methods.mtt import mtt
from infodistill.nets import by_name
from infodistill.real import RealData
from infodistill.sources.experts import Experts, record_experts, up_to
from infodistill.sources.teachers import Teachers, random_teachers, train_teachers
from infodistill.training import Fit
from infodistill.types import Augment, NetFactory
from infodistill.weights import Ratio, Weighted, whole_set

Terms = Callable[[Distillation, argparse.Namespace], dict[str, Weighted]]


def trained(real: RealData, args: argparse.Namespace) -> Teachers:
    fit = Fit(args.teacher_epochs, 64, 0.01, 0.9, 5e-4)
    policy, cache = Policy(compile=args.compile, threads=args.threads), Path(args.cache)
    net = by_name(args.teacher)
    return train_teachers(real, net, count=args.teachers, fit=fit, policy=policy, cache=cache, at_least=args.at_least)


def untrained(real: RealData, args: argparse.Namespace) -> Teachers:
    return random_teachers(by_name(args.teacher), real, count=args.teachers)


def by_ratio(ratio: float, term: object) -> Weighted:
    return Weighted(Ratio(ratio), term, whole_set)  # type: ignore[arg-type]


def looks(job: Distillation):
    return job.terms["match"].term.looks  # type: ignore[attr-defined]


SETTINGS: dict[str, Terms] = {
    "base": lambda job, args: {},
    "cmi": lambda job, args: {"cmi": by_ratio(args.ratio, CMI(trained(job.real, args)))},
    "mim": lambda job, args: {"mim": by_ratio(args.ratio, MIM(looks(job)))},
    "cmi, random-weight teachers": lambda job, args: {"cmi": by_ratio(args.ratio, CMI(untrained(job.real, args)))},
    "mim, shuffled labels": lambda job, args: {"mim": by_ratio(args.ratio, ShuffledLabels(MIM(looks(job)), seed=11))},
    "random direction": lambda job, args: {"push": by_ratio(args.ratio, RandomDirection(seed=12))},
    "cmi, small": lambda job, args: {"cmi": by_ratio(0.01, CMI(trained(job.real, args)))},
    "mim, small": lambda job, args: {"mim": by_ratio(0.03, MIM(looks(job)))},
}


def by_means(real: RealData, net: NetFactory, seed: int, augment: Augment, policy: Policy, args: Any) -> Distillation:
    """DM."""
    return dm(real, net, ipc=args.ipc, seed=seed, real_per_class=args.real_per_class, augment=augment, policy=policy)


def by_trajectories(
    real: RealData, net: NetFactory, seed: int, augment: Augment, policy: Policy, args: Any
) -> Distillation:
    """MTT as `quick/mtt` has it: ten experts of three epochs, segments of one, 20 steps of the student."""
    fit = Fit(3, 64, 0.01, augment=augment)
    store = record_experts(real, net, count=10, fit=fit, policy=policy, cache=Path(args.cache))
    experts = Experts(store, span=1, window=up_to(2), seed=seed)
    return mtt(
        real, experts, ipc=args.ipc, seed=seed, steps=20, batch_syn=50, lr=args.lr, lr_rate=1e-4, rate=0.01,
        augment=augment, real_per_class=args.real_per_class, policy=policy,
    )  # fmt: skip


BASES: dict[str, Callable[..., Distillation]] = {"dm": by_means, "mtt": by_trajectories}


def run_cell(setting: str, seed: int, args: argparse.Namespace) -> dict[str, object]:
    """Distil and evaluate one cell."""
    real = load_data(args.data)
    policy = Policy(precision=args.precision, compile=args.compile, threads=args.threads)
    augment = shift(1) if args.augment == "shift" else dsa(args.augment)
    net = by_name(args.net)
    base = BASES[args.method](real, net, seed, augment, policy, args)
    terms = SETTINGS[setting](base, args)
    job = base.adding(**terms) if terms else base
    start, trace = time.perf_counter(), []
    for progress in job.run(args.steps):
        if progress.step == 1 or progress.step % args.log == 0:
            trace.append(progress.as_dict())
    seconds = time.perf_counter() - start
    result = evaluate(
        job.export(method=args.method),
        real,
        {args.net: net},
        protocol=protocol_for(args.protocol, real.name),
        seeds=range(args.nets),
        random_subsets=args.random_subsets,
        policy=policy,
        cache=Path(args.cache),
    )
    return {
        "setting": setting,
        "seed": seed,
        "arguments": {name: value for name, value in vars(args).items() if name not in ("data", "cache", "out")},
        "data": real.name,
        "distil_seconds": round(seconds, 1),
        "evaluation": result.as_dict(),
        "trace": trace,
        "device": capabilities()["cpu"],
        "versions": {"torch": torch.__version__},
    }


def claim(path: Path) -> bool:
    """Take a cell unless it is done or another live process has it."""
    if path.exists():
        return False
    try:
        handle = os.open(path.with_suffix(".claim"), os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        return False
    os.close(handle)
    return True


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half the 95 % t-interval over seeds (t for n - 1 degrees of freedom)."""
    t = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}.get(len(values), 2.0)
    mean = statistics.fmean(values)
    return mean, t * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def table(folder: Path) -> dict[str, object]:
    """Every setting's accuracy, and its paired difference to the base of the same seed."""
    cells = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json")) if path.stem != "table"]
    score: dict[str, dict[int, float]] = {}
    columns = {}
    for cell in cells:
        (columns,) = cell["evaluation"]["nets"].values()
        score.setdefault(cell["setting"], {})[cell["seed"]] = columns["distilled"]["mean"]
    rows: dict[str, object] = {}
    for setting, by_seed in score.items():
        paired = [
            100 * (value - score["base"][seed]) for seed, value in sorted(by_seed.items()) if seed in score["base"]
        ]
        mean, half = interval(paired)
        rows[setting] = {
            "accuracy": statistics.fmean(by_seed.values()),
            "per_seed": by_seed,
            "difference_points": mean,
            "half_95_interval": half,
            "seeds": len(paired),
            "seconds": statistics.fmean(c["distil_seconds"] for c in cells if c["setting"] == setting),
        }
    return {"random": columns.get("random"), "full": columns.get("full"), "settings": rows}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS)[:6])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--compile", action="store_true")
    for name, default in {
        "net": "convnet3-w32",
        "teacher": "convnet3-w32",
        "protocol": "quick",
        "method": "dm",
    }.items():
        parser.add_argument(f"--{name}", default=default)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--augment", default="shift", help="'shift' or the operations of a DSA strategy")
    for name, default in {"ipc": 10, "steps": 1000, "real-per-class": 64, "log": 50, "nets": 5, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in {"random-subsets": 5, "teachers": 5, "teacher-epochs": 2}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--lr", type=float, default=10.0, help="of MTT's images")
    parser.add_argument("--ratio", type=float, default=0.1)
    parser.add_argument("--at-least", type=float, default=0.6)
    return parser.parse_args()


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    for seed in [] if args.table else args.seeds:
        for setting in args.settings:
            path = args.out / f"{setting.replace(', ', '-').replace(' ', '-')}-seed{seed}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            if claim(path):
                try:
                    told = json.dumps(run_cell(setting, seed, args), indent=1, default=str)
                    write_atomically(path, lambda partial, told=told: partial.write_text(told))
                    print(path.stem, flush=True)
                finally:
                    path.with_suffix(".claim").unlink(missing_ok=True)
    summary = table(args.out)
    write_atomically(args.out / "table.json", lambda partial: partial.write_text(json.dumps(summary, indent=1)))
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
