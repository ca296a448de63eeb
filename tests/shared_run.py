"""A program for torchrun: two ranks join as the command line does and make one step of several methods.

    torchrun --nproc-per-node 2 shared_run.py FOLDER

The first rank leaves FOLDER/<method>.images, and each leaves FOLDER/left-<rank> if its group was ended before the
interpreter was; see `test_torchrun.py`.
"""

from __future__ import annotations

import atexit
import sys
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

from infodistill import load_data, methods
from infodistill.distillation import Distillation
from infodistill.nets.convnet import convnet
from infodistill.scale.ranks import joined, settled
from infodistill.scale.sharding import sharded

METHODS = ("dm", "dc", "dsa")


def job_of(method: str) -> Distillation:
    """One of the shared methods on the bundled digits."""
    return getattr(methods, method)(load_data("digits"), convnet(depth=2, width=16), ipc=2, seed=1, real_per_class=16)


def left(told: Path) -> None:
    """Leave a file if no group is open any more."""
    if not torch.distributed.is_initialized():
        told.touch()


def main() -> None:
    torch.set_num_threads(1)
    place = settled()
    assert place is not None
    atexit.register(partial(left, Path(sys.argv[1]) / f"left-{place.rank}"))  # before joining: called after its own
    ranks = joined(place, "cpu")
    for method in METHODS:
        job = sharded(job_of(method), ranks)
        list(job.run(1))
        if place.first:
            save_file({"pixels": job.syn.pixels.detach()}, Path(sys.argv[1]) / f"{method}.images")
        ranks.wait()


if __name__ == "__main__":
    main()
