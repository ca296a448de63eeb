"""Time the shipped step against the oracle form (per-class loop, eager float32), interleaved in one process.

    python benchmarks/speed.py                      every row, huge pages off and on, peak memory
    python benchmarks/speed.py --rows dm,match --rounds 9 --pages off

3x32x32 images, ConvNet-3 of width 128, 256 real images per class, 10 classes, 10 images per class. Images are CIFAR-10
(JPEG) from $INFODISTILL_DATA, else the bundled digits enlarged. Rows: dm, match (DSA's gradient matching), cmi
(ResNet-18, 100 images), evaluate (a training epoch on 100 images), and whole steps, network training included: idm,
ncfm (1024 real images per class), idc (64). Columns: oracle, eager (shipped, not compiled), float32 and bf16 (shipped,
compiled). Every bf16 number stands beside its paired difference from float32.

The rows sample (MNIST, a DiT) and sample-digits (an MLP) time steps of a diffusion sampler in processor seconds: plain,
guided by IGDS past the denoiser, and through it (`exact`), each as a multiple of plain.

    python benchmarks/speed.py --rows sample,sample-digits --threads 1 --out benchmarks/results/speed-diffusion.json
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from workloads import Workload, load_images
from workloads_matching import distribution, gradients
from workloads_networks import Evaluation, Information
from workloads_sampling import Sampling, digits, mnist
from workloads_steps import IDC, IDM, NCFM

from infodistill.compute import Policy, capabilities
from infodistill.real import RealData

HERE = Path(__file__).resolve()
COLUMNS = ("oracle", "eager", "float32", "bf16")
ROWS: dict[str, Callable[[RealData], Workload]] = {
    "dm": distribution,
    "match": gradients,
    "cmi": Information,
    "evaluate": Evaluation,
    "idm": IDM,
    "ncfm": NCFM,
    "idc": IDC,
}
SAMPLING: dict[str, Callable[[], RealData]] = {"sample": mnist, "sample-digits": digits}


def main() -> None:
    args = _arguments()
    if args.child:
        measure = _measure_sampling if args.rows in SAMPLING else _measure_row
        print(json.dumps(measure(args) if args.child == "time" else _peak(args)))
        return
    rows: dict[str, Any] = {}
    for name in args.rows.split(","):
        rows[name] = {}
        for pages in args.pages.split(","):
            rows[name][f"huge_pages_{pages}"] = _spawn(args, pages, name, "time")
            print(_line(name, pages, rows[name][f"huge_pages_{pages}"]), flush=True)
        if args.memory and name in ROWS:  # reading the real images outweighs a sampler's step
            rows[name]["peak_mib"] = {c: _spawn(args, "off", name, f"memory:{c}") for c in _columns()}
            print(f"{name:9s} peak MiB  {rows[name]['peak_mib']}", flush=True)
    _write(args, rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pages", default="off,on", help="huge pages: off, on or off,on")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--accuracy", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "speed.json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if unknown := set(args.rows.split(",")) - {*ROWS, *SAMPLING}:
        parser.error(f"unknown rows {', '.join(sorted(unknown))}; known: {', '.join([*ROWS, *SAMPLING])}")
    if unknown := set(args.pages.split(",")) - {"off", "on"}:
        parser.error(f"--pages takes off, on or off,on, got {', '.join(sorted(unknown))}")
    return args


def _columns() -> list[str]:
    return [c for c in COLUMNS if c != "bf16" or capabilities()["bf16"]]


def _spawn(args: argparse.Namespace, pages: str, row: str, child: str) -> Any:
    """Huge pages are read once per process, and a peak is a process's: every measurement gets one."""
    # Accuracy does not depend on pages: it is measured once.
    accuracy = args.accuracy and child == "time" and pages == args.pages.split(",")[0]
    command = [sys.executable, str(HERE), "--child", child, "--rows", row, "--rounds", str(args.rounds)]
    command += ["--threads", str(args.threads), "--accuracy" if accuracy else "--no-accuracy"]
    threads = {name: str(args.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    environment = {**os.environ, **threads, "THP_MEM_ALLOC_ENABLE": "1" if pages == "on" else "0"}
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def _policy(column: str) -> Policy:
    return Policy(precision="bf16" if column == "bf16" else "float32", compile=column != "eager")


def _steps(work: Workload) -> dict[str, Callable[[], None]]:
    def shipped(column: str) -> Callable[[], None]:
        policy = _policy(column)
        return lambda: work.shipped(policy)

    return {column: work.oracle if column == "oracle" else shipped(column) for column in _columns()}


def _measure_sampling(args: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(args.threads)
    real = SAMPLING[args.rows]()
    work = Sampling(real)
    for step in work.steps.values():
        step()
    steps, clock = work.steps, time.process_time
    rounds = [{name: _seconds(step, clock) for name, step in steps.items()} for _ in range(args.rounds)]
    median = {name: statistics.median(r[name] for r in rounds) for name in work.steps}
    cost = {name: statistics.median(r[name] / r["plain"] for r in rounds) for name in work.steps if name != "plain"}
    result = {"median_s": median, "cost": cost, "rounds_s": rounds, "clock": "process", "facts": work.facts()}
    return {**result, "data": real.name, "huge_pages": capabilities()["huge_pages"]}


def _measure_row(args: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(args.threads)
    real = load_images()
    work = ROWS[args.rows](real)
    steps, first = _steps(work), dict[str, float]()
    for name, step in steps.items():
        first[name] = _seconds(step)
    rounds = [{name: _seconds(step) for name, step in steps.items()} for _ in range(args.rounds)]
    median = {name: statistics.median(r[name] for r in rounds) for name in steps}
    ratio = {name: statistics.median(r["oracle"] / r[name] for r in rounds) for name in steps if name != "oracle"}
    paired = work.compare([_policy(column) for column in steps if column != "oracle"])
    result = {"median_s": median, "speedup": ratio, "first_call_s": first, "rounds_s": rounds, "paired": paired}
    if args.accuracy and "bf16" in steps:
        result["accuracy"] = work.accuracy(_policy("float32"), _policy("bf16"))
    return {**result, "data": real.name, "huge_pages": capabilities()["huge_pages"]}


def _peak(args: argparse.Namespace) -> int:
    """Peak resident MiB of a process that makes two steps of one column, data and PyTorch included."""
    torch.set_num_threads(args.threads)
    step = _steps(ROWS[args.rows](load_images()))[args.child.partition(":")[2]]
    for _ in range(2):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _seconds(step: Callable[[], None], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    step()
    return clock() - start


def _line(name: str, pages: str, row: dict[str, Any]) -> str:
    times = "  ".join(f"{column} {seconds:.3f} s" for column, seconds in row["median_s"].items())
    ratios = "  ".join(f"{column} x{ratio:.2f}" for column, ratio in row.get("speedup", row.get("cost")).items())
    told = f"{row.get('facts') or row['paired']} {row.get('accuracy', '')}"
    return f"{name:9s} huge pages {pages:3s}  {times}   {ratios}\n          {told}"


def _write(args: argparse.Namespace, rows: dict[str, Any]) -> None:
    machine = {**capabilities(), "threads": args.threads, "cores": os.cpu_count(), "load": os.getloadavg()}
    machine.pop("huge_pages")  # each row says its own
    versions = {"python": platform.python_version(), "torch": torch.__version__, "platform": platform.system()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine, "versions": versions, "rounds": args.rounds, "rows": rows}
    args.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written to {args.out}")


if __name__ == "__main__":
    main()
