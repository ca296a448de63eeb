"""The table of estimators: error and direction against closed forms, KSG over samples, and what large samples cost.

    python benchmarks/estimators.py                   every part, results/estimators.{json,md}
    python benchmarks/estimators.py --parts table

Parts: table (the rows of tests/estimator_rows.py, nats), ksg (bias and scatter over 10 samples of 5,000 pairs, and
under maps of the sides), scale (processor seconds and peak memory at 512 columns, each estimator in a process of its
own; the estimators that look at every pair at 10,000 rows, where 50,000 take 25 times as long), whole (KSG 1 over
every pair of 50,000 rows once, 256 columns a side).
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "tests"))

from estimator_rows import ROWS  # noqa: E402  the tests own the rows
from estimator_table import gaussian, gaussian_truth  # noqa: E402
from infodistill import information as info  # noqa: E402
from infodistill.seeding import stream  # noqa: E402

RESULTS = HERE.parent / "results" / "estimators"
KSG = {"KSG 1": info.ksg_mutual_information, "KSG 2": info.ksg_mutual_information_2}
MAPS = {
    "as it is": (lambda x: x, lambda y: y),
    "x + x^3, arctan y": (lambda x: x + x**3, torch.atan),
    "exp x, y + y^3": (torch.exp, lambda y: y + y**3),
}
COLUMNS = 512
WHOLE = "KSG 1, every pair"
PARTS = ["table", "ksg", "scale", "whole"]


def main() -> None:
    args = _arguments()
    if args.child:
        print(json.dumps(_cost(args.child)))
        return
    found: dict[str, Any] = json.loads(RESULTS.with_suffix(".json").read_text()) if _kept(args.parts) else {}
    found["machine"] = {"processor": platform.machine(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    parts = {"table": _table, "ksg": _ksg, "scale": _scale, "whole": _whole}
    for part in args.parts:
        began = time.process_time()
        found[part] = parts[part]()
        print(f"{part}: {time.process_time() - began:.0f} s of processor time in this process", flush=True)
    RESULTS.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(_markdown(found))


def _table() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for row in ROWS:
        estimate = row.estimate()
        low, high = row.allowed()
        error = estimate - row.truth
        rows.append(
            {"estimator": row.estimator, "law": row.case, "direction": row.direction, "truth": row.truth + 0.0}
            | {"estimate": estimate, "error": error, "allowed": [low, high], "passed": low <= error <= high}
        )
    return rows


def _ksg() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, estimate in KSG.items():
        for rho in (0.0, 0.3, 0.6, 0.9, 0.95, 0.99):
            for maps, (left, right) in MAPS.items():
                pairs = [gaussian(rho, seed=seed) for seed in range(10)]
                errors = [estimate(left(x), right(y)) - gaussian_truth(rho) for x, y in pairs]
                entry = {"estimator": name, "rho": rho, "maps": maps, "truth": gaussian_truth(rho) + 0.0}
                rows.append(entry | {"mean_error": statistics.mean(errors), "sd": statistics.stdev(errors)})
    return rows


def _scale() -> list[dict[str, Any]]:
    return [_apart(name) for name in _large()]


def _whole() -> list[dict[str, Any]]:
    return [_apart(WHOLE)]


def _apart(name: str) -> dict[str, Any]:
    """One row in a fresh process, so that peaks do not hide one another."""
    command = [sys.executable, str(HERE), "--child", name]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _large() -> dict[str, tuple[int, Callable[..., object]]]:
    """Rows and a call of (x, y, labels): features of 512 columns, others that depend on them, 10 classes."""
    third = partial(torch.roll, shifts=1, dims=0)
    return {
        "KSG 1": (10_000, lambda x, y, c: info.ksg_mutual_information(x, y)),
        "KSG 2": (10_000, lambda x, y, c: info.ksg_mutual_information_2(x, y)),
        "Frenzel-Pompe": (10_000, lambda x, y, c: info.ksg_conditional_mutual_information(x, y, third(x))),
        "Ross": (10_000, lambda x, y, c: info.class_mutual_information(x, c)),
        "k-NN entropy": (10_000, lambda x, y, c: info.neighbour_entropy(x)),
        "pair bounds, class": (10_000, lambda x, y, c: info.channel_class_bounds(x, c, 100.0)),
        "normal scores": (50_000, lambda x, y, c: info.normal_scores(x)),
        "Gaussian entropy": (50_000, lambda x, y, c: info.gaussian_entropy(x)),
        "Gaussian information": (50_000, lambda x, y, c: info.gaussian_mutual_information(x, y)),
        "Gaussian class information": (50_000, lambda x, y, c: info.gaussian_class_information(x, c)),
        "CMI, own centroids": (50_000, lambda x, y, c: info.sample_cmi(x, c)),
        "CMI, real centroids": (50_000, lambda x, y, c: info.sample_cmi_about(x, c, y, c)),
        "CMI, differentiable": (50_000, lambda x, y, c: info.conditional_mutual_information(x.softmax(1), c)),
        "Barber-Agakov": (50_000, lambda x, y, c: info.barber_agakov(x[:, :10].log_softmax(1), c)),
        "DV, NWJ, InfoNCE, CLUB, fitted": (50_000, lambda x, y, c: info.fitted_bounds(x, y)),
        "usable, linear": (50_000, lambda x, y, c: _halves(x, c)),
    }


def _halves(x: torch.Tensor, labels: torch.Tensor) -> float:
    half = len(x) // 2
    return info.usable_information(x[:half], labels[:half], x[half:], labels[half:], info.linear())


def _cost(name: str) -> dict[str, Any]:
    whole = (50_000, lambda x, y, c: info.ksg_mutual_information(x, y))
    rows, call = whole if name == WHOLE else _large()[name]
    columns = COLUMNS // 2 if name == WHOLE else COLUMNS
    x, noise = torch.randn(2, rows, columns, generator=stream(0, "scale")).unbind()
    labels = torch.arange(rows) % 10
    x[:, :10] += 2 * torch.nn.functional.one_hot(labels, 10)
    y = 0.5 * x + noise
    call(x[:600], y[:600], labels[:600])  # imports are not the estimator's memory
    before, began, wall = _peak(), time.process_time(), time.perf_counter()
    call(x, y, labels)
    seconds = {"processor_seconds": time.process_time() - began, "seconds": time.perf_counter() - wall}
    sides = (x.numel() + y.numel()) * x.element_size() / 2**20
    return {
        "estimator": name,
        "rows": rows,
        "columns": columns,
        "samples_mib": sides,
        "mib": _peak() - before,
    } | seconds


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _markdown(found: dict[str, Any]) -> str:
    lines = [
        "# Estimators of information: error and direction",
        "",
        "`python benchmarks/estimators.py`. All in nats.",
        "",
    ]
    lines += ["A direction says on which side of the truth an estimate may lie (up to sampling, `allowed`).", ""]
    lines += ["| estimator | law | direction | truth | estimate | error | allowed |", "|---|---|---|---|---|---|---|"]
    for row in found.get("table", []):
        low, high = row["allowed"]
        told = f"{low:+.2f} to {high:+.2f}" + ("" if row["passed"] else " **outside**")
        numbers = f"{row['truth']:.4f} | {row['estimate']:.4f} | {row['error']:+.4f}"
        lines.append(f"| {row['estimator']} | {row['law']} | {row['direction']} | {numbers} | {told} |")
    lines += ["", "## KSG: Gaussian pairs, n = 5,000, 10 samples, k = 3", ""]
    lines += ["| estimator | correlation | maps | truth | mean error | scatter of one |", "|---|---|---|---|---|---|"]
    for row in found.get("ksg", []):
        numbers = f"{row['truth']:.4f} | {row['mean_error']:+.4f} | {row['sd']:.4f}"
        lines.append(f"| {row['estimator']} | {row['rho']} | {row['maps']} | {numbers} |")
    lines += ["", f"## Large samples: {COLUMNS} columns a side, float32", ""]
    lines += [
        "Memory: by how much the call raises the peak of its process, after x and y were made (which leaves up to "
        "100 MiB to be used again). Neighbours and pairs: time grows as rows squared, blocks of pairs do not grow"
        + (f"; the last row, of 50,000, has {COLUMNS // 2} columns a side." if "whole" in found else "."),
        "",
    ]
    lines += ["| estimator | rows | processor s | MiB added | MiB of x and y |", "|---|---|---|---|---|"]
    for row in found.get("scale", []) + found.get("whole", []):
        numbers = f"{row['processor_seconds']:.1f} | {row['mib']:.0f} | {row['samples_mib']:.0f}"
        lines.append(f"| {row['estimator']} | {row['rows']:,} | {numbers} |")
    return ("\n".join(lines) + "\n").replace("| -0.0000 |", "| 0.0000 |")


def _kept(parts: list[str]) -> bool:
    return len(parts) < len(PARTS) and RESULTS.with_suffix(".json").exists()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=lambda text: text.split(","), default=PARTS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
