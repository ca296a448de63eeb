"""Experts per hour: training of MTT's experts, eager and compiled, and several experts at once.

    python benchmarks/experts.py                              MNIST and CIFAR-10 (JPEG) from $INFODISTILL_DATA
    python benchmarks/experts.py --rows mnist --rounds 3 --columns eager,float32

An expert is 50 epochs of SGD (batch 256, lr 0.01) with one DSA operation per batch and its own parameters per image.
Rows: MNIST with ConvNet-3 of width 32, CIFAR-10 with width 128. Columns: eager float32, compiled float32 and bf16.
Each is measured as one expert on all threads (`together`) and as one expert per thread, each in its own process
(`apart`), in rounds that interleave all of them; medians. `cpu` counts seconds of the processes instead of the clock's:
on a machine that does other work it is the fairer one, although it does not see what the cores share.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from infodistill.augment import dsa_per_image
from infodistill.compute import Policy, capabilities
from infodistill.data import load_data
from infodistill.nets import by_name, initialise
from infodistill.seeding import stream
from infodistill.training import Fit, fit

HERE = Path(__file__).resolve()
ROWS = {"mnist": ("mnist", "convnet3-w32"), "cifar10": ("cifar10-jpeg", "convnet3")}
COLUMNS = ("eager", "float32", "bf16")
STRATEGY = {"mnist": "color_crop_cutout_scale_rotate", "cifar10": "color_crop_cutout_flip_scale_rotate"}
EPOCHS, BATCH = 50, 256


def main() -> None:
    args = _arguments()
    if args.child:
        _work(args)
        return
    rows = {name: _row(args, name) for name in args.rows.split(",")}
    machine = {**capabilities(), "threads": args.threads, "cores": os.cpu_count(), "load": os.getloadavg()}
    versions = {"python": platform.python_version(), "torch": torch.__version__, "platform": platform.system()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine, "versions": versions, "rounds": args.rounds, "batches": args.batches, "rows": rows}
    args.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written to {args.out}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--columns", default=",".join(c for c in COLUMNS if c != "bf16" or capabilities()["bf16"]))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=16, help="batches of a measurement")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "experts.json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if unknown := set(args.rows.split(",")) - set(ROWS) | set(args.columns.split(",")) - set(COLUMNS):
        parser.error(f"unknown {', '.join(sorted(unknown))}; rows {', '.join(ROWS)}, columns {', '.join(COLUMNS)}")
    if not os.environ.get("INFODISTILL_DATA"):
        parser.error("set INFODISTILL_DATA to the folder with mnist and cifar10-jpeg")
    return args


class Workers:
    """Processes that each train an expert of their own, all at once, when asked."""

    def __init__(self, args: argparse.Namespace, row: str, column: str, count: int, threads: int) -> None:
        settings = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "THP_MEM_ALLOC_ENABLE": "1"}
        command = [sys.executable, str(HERE), "--child", f"{row}:{column}", "--batches", str(args.batches)]
        command += ["--threads", str(threads)]
        self.children = [
            subprocess.Popen(
                command, env={**os.environ, **settings}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(count)
        ]
        self.facts = dict[str, Any]()
        for child in self.children:  # ready: data read, network compiled
            self.facts = self._answer(child)

    def images(self, batches: int) -> tuple[float, float]:
        """Images per second of the clock, and per second of all processes' work."""
        start = time.perf_counter()
        for child in self.children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        cpu = sum(self._answer(child)["cpu"] for child in self.children)
        done = len(self.children) * batches * BATCH
        return done / (time.perf_counter() - start), done / cpu

    def _answer(self, child: subprocess.Popen[str]) -> dict[str, Any]:
        assert child.stdout is not None
        return json.loads(child.stdout.readline())

    def close(self) -> None:
        for child in self.children:
            child.communicate()


def _work(args: argparse.Namespace) -> None:
    """A child: train on `batches` batches for every line read."""
    torch.set_num_threads(args.threads)
    row, _, column = args.child.partition(":")
    folder, net = ROWS[row]
    real = load_data(Path(os.environ["INFODISTILL_DATA"]) / folder)
    module = by_name(net)(real.shape, real.num_classes)
    initialise(module, stream(0, "expert.init"))
    policy = Policy(precision="bf16" if column == "bf16" else "float32", compile=column != "eager")
    hyper = Fit(1, BATCH, 0.01, augment=dsa_per_image(STRATEGY[row]))
    part = real.subset(torch.randperm(len(real), generator=stream(0, "rows"))[: args.batches * BATCH])
    fit(module, part.subset(torch.arange(2 * BATCH)), hyper, stream(0, "first"), policy=policy)
    print(json.dumps({"images": len(real), "net": net, "data": real.name}), flush=True)
    for step, _ in enumerate(sys.stdin):
        start = time.process_time()
        fit(module, part, hyper, stream(0, "fit", step), policy=policy)
        print(json.dumps({"cpu": time.process_time() - start}), flush=True)


def _row(args: argparse.Namespace, row: str) -> dict[str, Any]:
    shapes = {"together": (1, args.threads), "apart": (args.threads, 1)}
    workers = {
        (column, name): Workers(args, row, column, *shape)
        for column in args.columns.split(",")
        for name, shape in shapes.items()
    }
    rounds = [{key: group.images(args.batches) for key, group in workers.items()} for _ in range(args.rounds)]
    facts = next(iter(workers.values())).facts
    for group in workers.values():
        group.close()
    told: dict[str, Any] = {**facts, "epochs": EPOCHS, "columns": {}}
    for key in workers:
        clock, cpu = (statistics.median(r[key][which] for r in rounds) for which in (0, 1))
        hourly = 3600 * clock / (facts["images"] * EPOCHS)
        entry = {"experts_per_hour": hourly, "images_per_second": clock, "images_per_cpu_second": cpu}
        told["columns"].setdefault(key[0], {})[key[1]] = entry
        print(f"{row:8s} {key[0]:8s} {key[1]:8s} {hourly:7.2f} experts/h  {clock:7.0f} images/s  {cpu:7.0f} /cpu s")
    return {**told, "gain_apart": _gain(rounds, args.columns.split(","))}


def _gain(rounds: list[dict[tuple[str, str], tuple[float, float]]], columns: list[str]) -> dict[str, Any]:
    """Medians of the rounds' ratios apart / together, by the clock and by the processes' seconds."""
    return {
        column: [
            statistics.median(r[column, "apart"][which] / r[column, "together"][which] for r in rounds)
            for which in (0, 1)
        ]
        for column in columns
    }


if __name__ == "__main__":
    main()
