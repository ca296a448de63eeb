"""Methods on one data set for equal time, under their own protocol and a common one.

    python benchmarks/family.py --data PATH/mnist --compile --seconds 60 --out benchmarks/results/mnist-family
    python benchmarks/family.py --out benchmarks/results/mnist-family --table

The unrolled, trajectory and label methods are in `contenders.py`; the matching family in `contenders_matching.py`, and
has to be named: `--contenders dm idc idm+cmi`.

A cell is (contender, ipc, seed): distil for `--seconds` after the first step (in which code is compiled), evaluate with
fresh networks under its own protocol and plan, and under `quick` without a plan, write one JSON file. Seconds are those
of a processor, on one thread, so that other work on the machine does not count. `dm-long` is DM for MTT's time with all
experts charged to it. Experts see a balanced part of the real images. Controls are trained by the same replayed plan on
real images, their rates tuned by the same objective. Several processes may share one `--out`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from contenders import CONTENDERS, Setting
from contenders_matching import EQUAL, MATCHING, UNTOUCHED
from paired import claim

from infodistill.compute import Policy, capabilities
from infodistill.data import load_data
from infodistill.distillation import Distillation
from infodistill.distilled import ALL_ROWS, Distilled
from infodistill.evaluation.evaluating import evaluate
from infodistill.evaluation.protocols import EvaluationProtocol, protocol_for
from infodistill.files import write_atomically
from infodistill.nets import by_name
from infodistill.real import RealData
from infodistill.sources.experts import ExpertStore, record_experts
from infodistill.training import Fit

COMMON = "quick"
NEED_EXPERTS = ("mtt", "dm-long")
KNOWN = {**CONTENDERS, **MATCHING}


class ExpertsOf:
    """The experts of a cell, recorded once in the cache; `seconds` is what recording all of them took."""

    def __init__(self, real: RealData, args: argparse.Namespace, policy: Policy) -> None:
        self.real, self.args, self.policy, self.note = real, args, policy, Path(args.cache) / "experts-seconds.json"

    def __call__(self) -> ExpertStore:
        fit = Fit(self.args.expert_epochs, 256, 0.02)
        part = self.real.sample(0, self.args.expert_images // self.real.num_classes)
        start = time.process_time()
        store = record_experts(
            self.real.subset(part), by_name(self.args.net), count=self.args.experts, fit=fit, policy=self.policy,
            cache=Path(self.args.cache),
        )  # fmt: skip
        if not self.note.exists():
            self.note.write_text(json.dumps(time.process_time() - start))
        return store

    @property
    def seconds(self) -> float:
        self()
        return float(json.loads(self.note.read_text()))


def distil(job: Distillation, seconds: float) -> dict[str, Any]:
    """Run for so long; the first step, which compiles, is not counted but told."""
    begin, trace = time.process_time(), list[dict[str, Any]]()
    run, spent = job.run(10**9), 0.0
    next(run)
    first, start = time.process_time() - begin, time.process_time()
    while spent < seconds:
        progress = next(run)
        spent = time.process_time() - start
        if progress.step % max(1, int(progress.step / 20)) == 0:
            trace.append(progress.as_dict())
    return {"steps": job.step, "seconds": round(spent, 1), "first_step_seconds": round(first, 1), "trace": trace[-20:]}


def scores(distilled: Distilled, real: RealData, args: argparse.Namespace, policy: Policy, name: str) -> dict[str, Any]:
    """All columns of one protocol."""
    result = evaluate(
        distilled,
        real,
        {args.net: by_name(args.net)},
        protocol=_protocol(name, real.name),
        seeds=range(args.nets),
        policy=policy,
        cache=Path(args.cache),
    )
    return result.as_dict()


def _protocol(name: str, data: str) -> EvaluationProtocol:
    return replace(protocol_for(COMMON, data), name=EQUAL, updates=300) if name == EQUAL else protocol_for(name, data)


def run_cell(name: str, ipc: int, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Distil and evaluate one cell."""
    real = load_data(args.data)
    policy = Policy(precision=args.precision, compile=args.compile, threads=args.threads)
    experts = ExpertsOf(real, args, policy)
    long = name == "dm-long"
    make, own = KNOWN["dm" if long else name]
    job = make(Setting(real, by_name(args.net), ipc, seed, policy, args.cache, experts))
    still = {"steps": 0, "seconds": 0.0, "first_step_seconds": 0.0, "trace": []}
    told = still if name == UNTOUCHED else distil(job, args.seconds + (experts.seconds if long else 0.0))
    distilled = job.export(method=name)
    distilled.save(args.cache / "sets" / f"{name}-ipc{ipc}-seed{seed}")
    plain = replace(distilled, plan=(ALL_ROWS,))
    found = {"own": _tried(plain if own == EQUAL else distilled, real, args, policy, own)}
    wanted = own != EQUAL and not name.endswith("control") and seed in args.common_seeds
    if wanted and (own != COMMON or distilled.plan != plain.plan):
        found["common"] = _tried(plain, real, args, policy, COMMON)
    return {
        "contender": name,
        "ipc": ipc,
        "seed": seed,
        "own_protocol": own,
        **told,
        "expert_seconds": experts.seconds if name in NEED_EXPERTS or name.startswith("ncfm") else 0.0,
        "images_bytes": distilled.images_bytes,
        "labels_bytes": distilled.labels_bytes,
        "evaluations": found,
        "arguments": {key: value for key, value in vars(args).items() if key not in ("data", "cache", "out")},
        "device": capabilities()["cpu"],
        "versions": {"torch": torch.__version__},
    }


def _tried(d: Distilled, real: RealData, args: argparse.Namespace, policy: Policy, protocol: str) -> dict[str, Any]:
    """A protocol that the set's labels do not fit is recorded as such; its hard labels are then tried."""
    try:
        return scores(d, real, args, policy, protocol)
    except ValueError as error:
        return {**scores(d.hard(), real, args, policy, protocol), "hard_labels_because": str(error)}


def table(folder: Path) -> dict[str, Any]:
    """Mean over seeds of the columns, by ipc, contender and protocol."""
    cells = [json.loads(path.read_text()) for path in sorted(folder.glob("*-ipc*.json"))]
    out: dict[str, Any] = {}
    for cell in cells:
        row = out.setdefault(f"ipc {cell['ipc']}", {}).setdefault(cell["contender"], {"seconds": [], "steps": []})
        row["seconds"].append(cell["seconds"])
        row["steps"].append(cell["steps"])
        for protocol, found in cell["evaluations"].items():
            (columns,) = found["nets"].values()
            for column, score in columns.items():
                if isinstance(score, dict):
                    row.setdefault(protocol, {}).setdefault(column, []).append(score["mean"])
    for rows in out.values():
        for row in rows.values():
            for protocol in [name for name, value in row.items() if isinstance(value, dict)]:
                row[protocol] = {c: {"mean": statistics.fmean(v), "per_seed": v} for c, v in row[protocol].items()}
    return out


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--contenders", nargs="*", default=[*CONTENDERS, "dm-long"])
    parser.add_argument("--ipc", nargs="*", type=int, default=[1, 10])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--common-seeds", nargs="*", type=int, default=[0, 1, 2], help="seeds tried under `quick` too")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--net", default="convnet3-w32")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--seconds", type=float, default=100.0)
    for name, default in {"nets": 5, "threads": 1, "experts": 3, "expert-epochs": 3, "expert-images": 20_000}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    cells = [(name, ipc, seed) for seed in args.seeds for ipc in args.ipc for name in args.contenders]
    for name, ipc, seed in [] if args.table else cells:
        path = args.out / f"{name}-ipc{ipc}-seed{seed}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        if claim(path):
            try:
                told = json.dumps(run_cell(name, ipc, seed, args), indent=1, default=str)
                write_atomically(path, lambda partial, told=told: partial.write_text(told))
                print(path.stem, flush=True)
            finally:
                path.with_suffix(".claim").unlink(missing_ok=True)
    summary = json.dumps(table(args.out), indent=1)
    write_atomically(args.out / "table.json", lambda partial: partial.write_text(summary + "\n"))
    print(summary)


if __name__ == "__main__":
    main()
