"""Keyed randomness: every draw is a pure function of (seed, owner, step, class).

Adding a term, skipping one, retrying a step or changing the number of ranks disturbs nobody else's draws.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

import torch

M = TypeVar("M")


def key(*parts: int | str) -> int:
    """A stable 63-bit integer of the parts; independent of the process, the platform and the Python hash seed."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def stream(seed: int, owner: str, step: int = 0, label: int = 0) -> torch.Generator:
    """A fresh CPU generator for one draw of one owner at one step for one class."""
    return torch.Generator().manual_seed(key(seed, owner, step, label))


def build_seeded(make: Callable[[], M], generator: torch.Generator) -> M:
    """Call a factory that uses the global generator, without disturbing that generator for anybody else."""
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make()
