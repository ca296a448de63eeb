"""How a computation runs: device, precision, chunks, compilation, and what to give up when memory runs out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

PRECISIONS = ("float32", "bf16")
COMPILE_FROM_FLOPS = 6e12  # about a minute of float32 on two cores; compiling costs 10-20 s
MOST_GROUPS = 1024


@dataclass(frozen=True)
class Policy:
    """The resolved execution choices of a run; stored in its checkpoint and re-applied on resume.

    Attributes:
        device: "cpu", "cuda" or "cuda:<i>".
        precision: "float32", or "bf16" for convolutions in bfloat16 with float32 weights, features and losses.
        chunk: images per forward; None lets each View choose from the image and network size (CPU: the first
            block's output stays in cache; CUDA: the whole batch).
        compile: run networks compiled, one graph per chunk shape.
        threads: CPU threads the run was resolved with; None leaves PyTorch's setting.
        recompute: throw the synthetic pass's activations away and recompute them chunk by chunk in backward.
        groups: class groups whose gradients are accumulated one after another.
    """

    device: str = "cpu"
    precision: str = "float32"
    chunk: int | None = None
    compile: bool = False
    threads: int | None = None
    recompute: bool = False
    groups: int = 1

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        for name in ("chunk", "threads", "groups"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Policy:
        """Rebuild a stored policy. Raises ValueError for a key this version does not know."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown policy keys {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        return cls(**values)

    def smaller(self) -> Policy | None:
        """The next rung of the out-of-memory ladder, or None at its end; every rung gives the same gradient.

        Halve the chunk down to 1 image, then recompute synthetic chunks in backward, then double the class groups.
        """
        if self.chunk is None:
            return replace(self, chunk=16 if self.device == "cpu" else 512)
        if self.chunk > 1:
            return replace(self, chunk=self.chunk // 2)
        if not self.recompute:
            return replace(self, recompute=True)
        return replace(self, groups=2 * self.groups) if self.groups < MOST_GROUPS else None


def resolve(device: str = "auto", precision: str = "float32", flops: float | None = None) -> Policy:
    """The policy for this machine. `flops`: the work of the whole run; compiling is worth it above about a minute.

    On CUDA in float32 this switches cuDNN's TF32 and its non-deterministic algorithms off for the process.
    Raises ValueError when the device or the precision is not available here.
    """
    has = capabilities()
    if device == "auto":
        device = "cuda" if has["cuda"] else "cpu"
    kind = device.split(":")[0]
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"device is auto, cpu or cuda, got {device!r}")
    if kind == "cuda" and not has["cuda"]:
        raise ValueError("device cuda was asked for, but PyTorch sees no CUDA device here: use --device cpu")
    if precision == "bf16" and kind == "cpu" and not has["bf16"]:
        raise ValueError("this CPU has no bfloat16 instructions (avx512_bf16, amx_bf16): use --precision float32")
    if kind == "cuda" and precision == "float32":
        _exact_cuda()
    # CUDA stays eager: compiled networks have not been measured there.
    worthwhile = kind == "cpu" and flops is not None and flops >= COMPILE_FROM_FLOPS
    return Policy(device, precision, compile=worthwhile and bool(has["compiler"]), threads=has["threads"])


def _exact_cuda() -> None:
    """float32 means float32: no TF32 convolutions, and algorithms that give the same bits again."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def capabilities() -> dict[str, Any]:
    """What this machine offers: threads, bf16, compiler (path or None), cuda, gpu, huge_pages, cpu."""
    cuda = torch.cuda.is_available()
    return {
        "threads": torch.get_num_threads(),
        "bf16": bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) if torch.backends.mkldnn.is_available() else False,
        "compiler": shutil.which(os.environ.get("CXX") or "g++") or shutil.which("clang++"),
        "cuda": cuda,
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "huge_pages": os.environ.get("THP_MEM_ALLOC_ENABLE") == "1",
        "transparent_huge_pages": _huge_page_setting(),
        "cpu": _cpu_model(),
    }


def is_out_of_memory(error: BaseException) -> bool:
    """True for CUDA's OutOfMemoryError, Python's MemoryError and the RuntimeError of PyTorch's CPU allocator."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    signs = ("can't allocate memory", "CUDA error: out of memory", "CUDNN_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def _huge_page_setting() -> str | None:
    path = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not path.exists():
        return None
    return path.read_text().partition("[")[2].partition("]")[0] or None


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
