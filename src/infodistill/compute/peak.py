"""How much memory making something took at its highest, as far as the system counts it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch


def peak_memory(device: str) -> dict[str, int]:
    """Bytes at the highest: `process`, and `cuda` where the work ran there.

    `process` is the resident memory of this process since it started, PyTorch itself included, so a run that another
    one preceded in the same process reports at least what that one took, and a resumed run what its last session took.
    `cuda` is what the allocator handed out. A system without `getrusage` gives no `process`.
    """
    found: dict[str, int] = {}
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        found["process"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if device.startswith("cuda"):
        found["cuda"] = torch.cuda.max_memory_allocated(device)
    return found


def peak_of(meta: Mapping[str, Any]) -> tuple[str, int] | None:
    """Of what, and how many bytes: the figure an artefact's `peak_memory` is compared by.

    That of the accelerator (`cuda`) where it has one, else the `process`; the two are not comparable.
    """
    told = meta.get("peak_memory")
    found: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    return next(((kind, int(found[kind])) for kind in ("cuda", "process") if found.get(kind) is not None), None)
