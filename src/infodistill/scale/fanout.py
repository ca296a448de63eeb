"""Independent jobs, one after another or by several workers, with the same results.

    results = workers(work, shared, jobs)      # work(shared, job), in the order of the jobs

`work` is a function of its arguments and of keyed draws alone, so who runs it, when, and how often after a crash
changes no bit of its result. One thing outside the arguments does: the number of threads a sum is divided among.
Every worker here therefore computes on one thread, and so does `one_by_one`, which the others are equal to bitwise.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch

S = TypeVar("S")
J = TypeVar("J")
R = TypeVar("R")

Done = Callable[[int], None]
"""done(count): called with the number of finished jobs after each of them, in whatever order they finish."""


def untold(count: int) -> None:
    """Tell nobody."""
    del count


class Workers(Protocol):
    """Who does independent jobs: `one_by_one`, or `scale.ray_workers.RayWorkers`."""

    def __call__(
        self, work: Callable[[S, J], R], shared: S, jobs: Iterable[J], done: Done = untold
    ) -> Generator[R, None, None]:
        """work(shared, job) of every job, in the order of the jobs.

        Args:
            work: a function of its two arguments and of keyed draws.
            shared: what all jobs read and none changes; it reaches a worker once, not once per job.
            jobs: taken only when a worker is free, so that a deadline may end them.
            done: hears of every finished job.

        Raises:
            ChildProcessError: the worker of a job died, and died again at every retry.
        """
        # An error of a job comes where its result would have come, as it was raised, and ends the work.
        ...


def one_by_one(
    work: Callable[[S, J], R], shared: S, jobs: Iterable[J], done: Done = untold
) -> Generator[R, None, None]:
    """The jobs in this process on one thread, each when its result is asked for."""
    for count, job in enumerate(jobs, 1):
        with one_thread():
            result = work(shared, job)
        done(count)
        yield result


@contextmanager
def one_thread() -> Generator[None]:
    """Inside, PyTorch computes on one thread of this process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
