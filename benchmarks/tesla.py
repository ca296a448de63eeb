"""TESLA's gradient against the exact one: how far it is off, over N, the rate and where the student starts.

    python benchmarks/tesla.py --out benchmarks/results/tesla.json

ConvNet-3 of width 32 on MNIST from $INFODISTILL_DATA (else the digits, ConvNet-2), 10 images per class, all in every
step, no augmentation, float64. Starts: a random network, and one trained for an epoch on real images; the end of the
segment is an epoch further. For each cell the cosine and the ratio of norms of the image gradients, TESLA's over the
exact sweep's; the exact sweep is checked against full unrolling in the first cell.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from infodistill.augment import identity
from infodistill.data import load_data
from infodistill.methods.mtt import trajectory_distance
from infodistill.nets import by_name, initialise
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.training import Fit, fit
from infodistill.types import Net
from infodistill.unrolling.inner import Inner, Record
from infodistill.unrolling.unroll import Unroll, sweep, tesla, unrolled

Params = dict[str, Tensor]


def data() -> tuple[RealData, str]:
    folder = os.environ.get("INFODISTILL_DATA")
    if folder and (path := Path(folder) / "mnist").is_dir():
        return load_data(path), "convnet3-w32"
    return load_data("digits"), "convnet2-w32"


def trajectory(real: RealData, net: str, images: int) -> tuple[Net, list[Params]]:
    """A network at random, and after one and two epochs on `images` real images, in float64."""
    module = by_name(net)(real.shape, real.num_classes)
    initialise(module, stream(0, "expert"))
    part = real.subset(torch.randperm(len(real), generator=stream(0, "rows"))[:images])
    snapshots = [_copy(module)]
    for epoch in range(2):
        fit(module, part, Fit(1, 256, 0.05), stream(0, "fit", epoch))
        snapshots.append(_copy(module))
    return module.double().requires_grad_(False), snapshots


def _copy(module: Net) -> Params:
    return {name: value.detach().double().clone() for name, value in module.named_parameters()}


def gradient(
    how: Unroll, inner: Inner, ends: tuple[Params, Params], x: Tensor, labels: Tensor, rates: Tensor
) -> Tensor:
    """dL/dX of the trajectory loss, (n, c, h, w)."""
    images = x.clone().requires_grad_()
    steps = len(rates)
    rows = torch.arange(len(x))
    record = Record((rows,) * steps, (inner.augment.draw(stream(0, "none"), len(x), tuple(x.shape[1:])),) * steps)
    theta = how(inner, ends[0], images, labels, rates, record)
    return torch.autograd.grad(trajectory_distance(theta, *ends), images)[0]


def cell(
    inner: Inner, ends: tuple[Params, Params], x: Tensor, labels: Tensor, rate: float, steps: int
) -> dict[str, Any]:
    rates = torch.full((steps,), rate, dtype=torch.float64)
    exact = gradient(sweep, inner, ends, x, labels, rates)
    short = gradient(tesla, inner, ends, x, labels, rates)
    cosine = torch.cosine_similarity(exact.flatten(), short.flatten(), 0)
    return {"rate": rate, "steps": steps, "cosine": float(cosine), "norm_ratio": float(short.norm() / exact.norm())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", default="10,30,50")
    parser.add_argument("--rates", default="0.001,0.01,0.05,0.2")
    parser.add_argument("--images", type=int, default=10_000, help="real images an expert sees in an epoch")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    real, net = data()
    module, snapshots = trajectory(real, net, args.images)
    inner = Inner(module, identity())
    batch = real.rows(real.sample(0, 10))
    x, labels = batch.x.double(), batch.target.double()
    rows: list[dict[str, Any]] = []
    for name, ends in {"random": (snapshots[0], snapshots[1]), "trained": (snapshots[1], snapshots[2])}.items():
        for rate in (float(r) for r in args.rates.split(",")):
            for steps in (int(n) for n in args.steps.split(",")):
                rows.append({"start": name, **cell(inner, ends, x, labels, rate, steps)})
                print(rows[-1], flush=True)
    first = torch.full((10,), 0.05, dtype=torch.float64)
    a, b = (gradient(how, inner, (snapshots[0], snapshots[1]), x, labels, first) for how in (sweep, unrolled))
    report = {
        "data": real.name,
        "net": net,
        "exact_sweep_relative_error": float((a - b).norm() / b.norm()),
        "rows": rows,
    }
    print(report["exact_sweep_relative_error"])
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
