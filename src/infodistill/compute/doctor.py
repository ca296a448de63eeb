"""What works on this machine, what does not, and how to fix it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

EXTRAS = {
    "hf": ("datasets", "huggingface_hub"),
    "diffusion": ("diffusers",),
    "dist": ("lightning_fabric",),
    "ray": ("ray",),
    "vision": ("torchvision", "timm"),
    "metrics": ("torchmetrics",),
    "tensorboard": ("tensorboard",),
}
SERVES = {"dist": ": classes shared among ranks (torchrun)", "ray": ": --workers ray"}
CORE = (
    "numpy",
    "pillow",
    "safetensors",
    "pyarrow",
    "pydantic",
    "typer",
    "rich",
    "scikit-learn",
    "jinja2",
    "matplotlib",
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `state` is ok, note (works, could be better) or broken; `fix` says what to do."""

    name: str
    state: str
    told: str
    fix: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine() -> list[Finding]:
    """Every check; none of them changes anything."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (_python, _torch, _speed, _torchvision, _caches, _extras)
    return [finding for check in checks for finding in check()]


def _python() -> Iterator[Finding]:
    fine = sys.version_info >= (3, 11)
    yield Finding(
        "python", "ok" if fine else "broken", platform.python_version(), "" if fine else "needs 3.11 or newer"
    )
    for name in CORE:
        try:
            yield Finding(name, "ok", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(name, "broken", "not installed", f"pip install {name}")


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError, RuntimeError) as error:
        yield Finding("torch", "broken", _short(error), "pip install torch==2.13.0")
        return
    yield Finding("torch", "ok", torch.__version__)
    cuda = torch.cuda.is_available()
    told = torch.cuda.get_device_name() if cuda else "none: runs on the CPU"
    yield Finding("gpu", "ok" if cuda else "note", told)
    yield Finding("threads", "ok", f"{torch.get_num_threads()} of {os.cpu_count()} cores")


def _speed() -> Iterator[Finding]:
    from infodistill.compute.policy import capabilities

    has = capabilities()
    yield Finding("cpu", "ok", str(has["cpu"]))
    bf16 = "ok" if has["bf16"] else "note"
    yield Finding("bf16", bf16, "--precision bf16 is fast here" if has["bf16"] else "no bfloat16 instructions: float32")
    compiler = has["compiler"]
    fix = "" if compiler else "install g++ (long CPU runs are then compiled)"
    yield Finding("compiler", "ok" if compiler else "note", str(compiler or "none: runs stay eager"), fix)
    huge, setting = bool(has["huge_pages"]), has.get("transparent_huge_pages")
    told = f"THP_MEM_ALLOC_ENABLE={'1' if huge else 'unset'}, kernel: {setting or 'no transparent huge pages'}"
    fix = "" if huge else "the command line sets it by itself; in your own scripts export THP_MEM_ALLOC_ENABLE=1"
    if setting == "never":
        fix = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled (as root)"
    yield Finding("huge pages", "ok" if huge and setting != "never" else "note", told, fix)


def _torchvision() -> Iterator[Finding]:
    """A torchvision built for another torch raises at import and takes diffusers and torchmetrics down with it."""
    if importlib.util.find_spec("torchvision") is None:
        yield Finding("torchvision", "ok", "not installed, not needed")
        return
    try:
        module = importlib.import_module("torchvision")
        yield Finding("torchvision", "ok", str(module.__version__))
    except (ImportError, OSError, RuntimeError) as error:
        fix = "pip uninstall torchvision (infodistill does not use it), or install the build that matches torch"
        yield Finding("torchvision", "broken", _short(error), fix)


def _caches() -> Iterator[Finding]:
    from infodistill.data.cache import cache_dir

    folder = cache_dir()
    near = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(near).free / 2**30
    writable = os.access(near, os.W_OK)
    told = f"{folder} ({'exists' if folder.exists() else 'not made yet'}, {free:.1f} GiB free)"
    fix = "" if writable else "set INFODISTILL_CACHE to a folder you can write to"
    yield Finding("cache", "ok" if writable else "broken", told, fix)
    shared = os.environ.get("INFODISTILL_DATA")
    state = "note" if shared is None else "ok" if Path(shared).is_dir() else "broken"
    told = shared or "INFODISTILL_DATA is unset: tests on real data skip; downloads need a connection"
    yield Finding("data", state, told, "" if state != "broken" else "INFODISTILL_DATA is no folder")


def _extras() -> Iterator[Finding]:
    for extra, modules in EXTRAS.items():
        there = all(importlib.util.find_spec(name) is not None for name in modules)
        fix = "" if there else f'pip install "infodistill[{extra}]"'
        told = ("installed" if there else "not installed (optional)") + SERVES.get(extra, "")
        yield Finding(f"extra {extra}", "ok" if there else "note", told, fix)


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
