"""The processes of one run that torchrun started, and what they say to each other: lightning-fabric's collectives."""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import torch
from torch import Tensor

from infodistill.scale.launch import Launch, launched


class Ranks(Protocol):
    """`count` processes that make the same calls in the same order; this one is number `rank`."""

    @property
    def rank(self) -> int: ...
    @property
    def count(self) -> int: ...

    def total(self, x: Tensor) -> Tensor:
        """The sum over all ranks of a tensor of one shape, the same bits everywhere."""
        ...

    def wait(self) -> None:
        """Until every rank is here."""
        ...


@dataclass(frozen=True)
class FabricRanks:
    """Ranks joined by lightning-fabric: gloo between processors, nccl between GPUs."""

    fabric: Any

    @property
    def rank(self) -> int:
        return int(self.fabric.global_rank)

    @property
    def count(self) -> int:
        return int(self.fabric.world_size)

    def total(self, x: Tensor) -> Tensor:
        return self.fabric.all_reduce(x.clone(), reduce_op="sum")

    def wait(self) -> None:
        self.fabric.barrier()


def settled() -> Launch | None:
    """The place torchrun gave this process, with the GPU that goes with it made the current one."""
    place = launched()
    if place is not None and place.local_rank < torch.cuda.device_count():
        torch.cuda.set_device(place.local_rank)
    return place


def joined(place: Launch, device: str) -> FabricRanks:
    """Meet the other ranks; every one of them calls this.

    Raises:
        ImportError: lightning-fabric is not installed.
        ValueError: there are fewer GPUs than ranks on this machine.
    """
    if importlib.util.find_spec("lightning_fabric") is None:
        raise ImportError('classes shared among ranks need lightning-fabric: pip install "infodistill[dist]"')
    kind = device.split(":")[0]
    if kind == "cuda" and torch.cuda.device_count() < place.local_count:
        raise ValueError(
            f"torchrun started {place.local_count} processes on a machine of {torch.cuda.device_count()} GPUs: "
            "one per GPU works, or --device cpu"
        )
    made: dict[str, Any] = {"devices": place.local_count, "num_nodes": place.count // place.local_count}
    lightning: Any = importlib.import_module("lightning_fabric")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # after the import, which sets it too
    # The first rank may train teachers for hours while the others wait.
    strategy = importlib.import_module("lightning_fabric.strategies").DDPStrategy(timeout=timedelta(days=30))
    fabric = lightning.Fabric(accelerator=kind, strategy=strategy, **made)
    fabric.launch()
    atexit.register(_leave)
    return FabricRanks(fabric)


def _leave() -> None:
    """End the group while Python is whole: Fabric does so for nccl alone, and a thread of gloo's that lets go of a
    tensor while the interpreter is torn down aborts a process whose work is done.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
