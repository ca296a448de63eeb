"""Independent jobs on a Ray cluster: the processes of this machine, or of the cluster that RAY_ADDRESS names."""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from infodistill.scale.fanout import Done, J, R, S, one_thread, untold

RETRIES = 3
"""How often a job is begun anew after its worker died. Its draws are keyed: the retry gives the same bits."""


@dataclass(frozen=True)
class RayWorkers:
    """Workers as processes of Ray, which is started on this machine unless it runs or RAY_ADDRESS names a cluster.

    What all jobs share lies once in Ray's object store; a worker process reads it at its first job and keeps it. A
    worker that is killed is replaced and its job begun again; results that are there already are not lost, and since
    only the caller writes files from results, no file is left half done.

    Args:
        count: jobs under way at once; None for one per processor of the cluster.
        gpu: share of a GPU that a worker takes; 0 when it computes on the processor.
        retries: how often a job is begun again when its worker dies.

    Raises:
        ImportError: Ray is not installed.
        ValueError: `count` below 1.
    """

    count: int | None = None
    gpu: float = 0.0
    retries: int = RETRIES

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise ValueError(f"Ray needs at least 1 worker, got {self.count}")
        if importlib.util.find_spec("ray") is None:
            raise ImportError('workers by Ray need the package ray: pip install "infodistill[ray]"')

    def __call__(
        self, work: Callable[[S, J], R], shared: S, jobs: Iterable[J], done: Done = untold
    ) -> Generator[R, None, None]:
        """See `scale.fanout.Workers`."""
        ray = connected(self.count)
        most = self.count or max(1, int(ray.cluster_resources().get("CPU", 1)))
        task = ray.remote(_do).options(num_cpus=1, num_gpus=self.gpu, max_retries=self.retries)
        told, waiting, count = ray.put((work, shared)), iter(jobs), 0
        under_way, queue = list[Any](), deque[Any]()
        try:
            while True:
                fresh = [task.remote([told], job) for job in islice(waiting, most - len(under_way))]
                under_way, queue = under_way + fresh, queue + deque(fresh)
                if not queue:
                    return
                landed, under_way = ray.wait(under_way, num_returns=1)
                done(count := count + len(landed))
                while queue and queue[0] not in under_way:
                    yield _result(ray, queue.popleft(), self.retries)
        finally:  # an error, or nobody wants the rest
            for ticket in under_way:
                ray.cancel(ticket, force=True)


def connected(count: int | None = None) -> Any:
    """The module `ray`, with a cluster: the one in use, that of RAY_ADDRESS, or a new one of `count` processors here.

    A new one serves this process until it ends. It keeps no dashboard and reports no usage to anybody.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
    )  # GPUs stay visible; Ray 2.60 warns until told which
    ray: Any = importlib.import_module("ray")
    if not ray.is_initialized():
        here = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": count, "include_dashboard": False}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Ray warns of itself is nothing that a user of this program can mend
            ray.init(**here, log_to_driver=False, configure_logging=False)
    return ray


_held: dict[str, tuple[Any, Any]] = {}
"""In a worker process: the work and the shared value of the fan-out it serves, by the address in the object store."""


def _do(told: list[Any], job: Any) -> Any:
    """One job, in a worker process. A reference inside a list is not fetched by Ray, so it is fetched once, here."""
    ray: Any = importlib.import_module("ray")
    name = told[0].hex()
    if name not in _held:
        _held.clear()
        _held[name] = ray.get(told[0])
    work, shared = _held[name]
    with one_thread():
        return work(shared, job)


def _result(ray: Any, ticket: Any, retries: int) -> Any:
    try:
        return ray.get(ticket)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise ChildProcessError(
            f"the worker of a job died {retries + 1} times ({type(error).__name__}): fewer --workers need less memory"
        ) from None
