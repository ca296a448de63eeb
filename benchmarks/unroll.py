"""One MTT step: the exact reverse sweep against the published form, which keeps the graph of all N student steps.

    python benchmarks/unroll.py                       time for N = 10, 30 and 50, then peak memory at N = 30
    python benchmarks/unroll.py --steps 10 --rounds 5 --no-memory

ConvNet-3 of width 128, 100 images (10 a class) of 3x32x32 in every student step, DSA. Images are CIFAR-10 (JPEG) from
$INFODISTILL_DATA, else the bundled digits enlarged. Columns: published (kept graph, eager float32), eager (sweep, not
compiled), float32 and bf16 (the sweep, compiled); interleaved in one process, medians of ratios. Peak memory is that of
processes of their own, above the same process before its first step.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from differences import CLASSES, NET, SHAPE, cosine
from workloads import load_images

from infodistill.compute import Policy, capabilities
from infodistill.distillation import Distillation
from infodistill.methods.mtt import mtt
from infodistill.nets import by_name, initialise
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.sources.segments import Segment
from infodistill.training import Fit, fit
from infodistill.types import Source
from infodistill.unrolling.inner import Unroll
from infodistill.unrolling.unroll import sweep, unrolled

HERE = Path(__file__).resolve()
COLUMNS = ("published", "eager", "float32", "bf16")


class OneSegment(Source[Segment]):
    """A random network, and the same after some training on real images."""

    def __init__(self, real: RealData, images: int = 2560) -> None:
        module = by_name(NET)(SHAPE, CLASSES)
        initialise(module, stream(0, "segment"))
        start = {name: value.detach().clone() for name, value in module.named_parameters()}
        part = real.subset(torch.randperm(len(real), generator=stream(0, "rows"))[:images])
        fit(module, part, Fit(1, 256, 0.01), stream(0, "fit"))
        end = {name: value.detach().clone() for name, value in module.named_parameters()}
        self.segment = Segment(module.requires_grad_(False), start, end, 0, real.space)

    def draw(self) -> Segment:
        return self.segment


def _job(real: RealData, start: OneSegment, column: str, steps: int) -> Distillation:
    how: Unroll = unrolled if column == "published" else sweep
    policy = Policy(precision="bf16" if column == "bf16" else "float32", compile=column in ("float32", "bf16"))
    # One segment for ever is no distillation: its rate would run off, so the images alone are learned.
    fixed: dict[str, float] = {"rate": 0.01, "lr_rate": 0.0}
    return mtt(real, start, ipc=10, steps=steps, real_per_class=1, unroll=how, policy=policy, **fixed)


def _one(job: Distillation) -> float:
    begin = time.perf_counter()
    next(iter(job.run(1)))
    return time.perf_counter() - begin


def _time(args: argparse.Namespace, steps: int) -> dict[str, Any]:
    torch.set_num_threads(args.threads)
    real = load_images()
    start = OneSegment(real)
    jobs = {column: _job(real, start, column, steps) for column in args.columns}
    before = {column: job.syn.pixels.detach().clone() for column, job in jobs.items()}
    first = {column: _one(job) for column, job in jobs.items()}
    moved = {column: job.syn.pixels.detach() - before[column] for column, job in jobs.items()}
    rounds = [{column: _one(job) for column, job in jobs.items()} for _ in range(args.rounds)]
    others = [column for column in jobs if column != "published"]
    return {
        "median_s": {c: statistics.median(r[c] for r in rounds) for c in jobs},
        "speedup": {c: statistics.median(r["published"] / r[c] for r in rounds) for c in others},
        "first_call_s": first,
        "rounds_s": rounds,
        "gradient_cosine": {c: cosine(moved[c], moved["published"]) for c in others},
        "data": real.name,
    }


def _peak(args: argparse.Namespace) -> dict[str, float]:
    """MiB at rest (all loaded, the job built) and at the peak of two steps."""
    torch.set_num_threads(args.threads)
    real = load_images()
    job = _job(real, OneSegment(real, images=256), args.columns[0], args.steps[0])
    rest = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading
    for _ in range(2):
        _one(job)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"rest": rest, "peak": int(peak.split()[1]) / 1024}


def _spawn(args: argparse.Namespace, child: str, steps: int, columns: tuple[str, ...], pages: str) -> Any:
    command = [sys.executable, str(HERE), "--child", child, "--steps", str(steps), "--columns", ",".join(columns)]
    command += ["--rounds", str(args.rounds), "--threads", str(args.threads)]
    threads = {name: str(args.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    environment = {**os.environ, **threads, "THP_MEM_ALLOC_ENABLE": "1" if pages == "on" else "0"}
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", default="10,30,50")
    parser.add_argument("--columns", default=",".join(COLUMNS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pages", default="off", help="huge pages: off, on or off,on")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "unroll.json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.steps = [int(n) for n in args.steps.split(",")]
    known = [c for c in COLUMNS if c != "bf16" or capabilities()["bf16"]]
    args.columns = tuple(c for c in args.columns.split(",") if c in known)
    return args


def main() -> None:
    args = _arguments()
    if args.child:
        print(json.dumps(_time(args, args.steps[0]) if args.child == "time" else _peak(args)))
        return
    report: dict[str, Any] = {"machine": {**capabilities(), "threads": args.threads, "load": os.getloadavg()}}
    report["versions"] = {"python": platform.python_version(), "torch": torch.__version__}
    for steps in args.steps:
        for pages in args.pages.split(","):
            row = report[f"N={steps} huge pages {pages}"] = _spawn(args, "time", steps, args.columns, pages)
            print(f"N={steps} huge pages {pages}", row["median_s"], row["speedup"], row["gradient_cosine"], flush=True)
    if args.memory:
        peaks = {c: _spawn(args, "memory", 30, (c,), "off") for c in args.columns}
        report["peak_mib_N=30"] = {c: {**p, "above_rest": p["peak"] - p["rest"]} for c, p in peaks.items()}
        print(report["peak_mib_N=30"])
    args.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
