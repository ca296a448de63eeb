"""Parts of one job as processes of the same command, each on its share of the cores.

Two small trainings on a thread each are faster than one on two threads: `benchmarks/experts.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack


def part_of(text: str) -> tuple[int, int]:
    """`i/n` as (i, n), 0 <= i < n.

    Raises:
        ValueError: anything else.
    """
    first, slash, second = text.partition("/")
    if not (slash and first.isdigit() and second.isdigit() and int(first) < int(second)):
        raise ValueError(f"a part is written i/n with 0 <= i < n, got '{text}'")
    return int(first), int(second)


def run_parts(arguments: Sequence[str], parts: int, tell: Callable[[], None]) -> None:
    """Run `infodistill ARGUMENTS --part i/parts` for every i at once; `tell` is called every half second meanwhile.

    Raises:
        ValueError: a part failed; with the last line it wrote.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(max(1, cores // parts)))
    with ExitStack() as stack:
        errors = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(parts)]
        children = [
            subprocess.Popen(
                [sys.executable, "-P", "-m", "infodistill", *arguments, "--part", f"{part}/{parts}"],
                env={**os.environ, **threads}, stdout=subprocess.DEVNULL, stderr=errors[part],
            )
            for part in range(parts)
        ]  # fmt: skip
        for child in children:
            stack.callback(child.wait)
            stack.callback(child.terminate)  # of a part that is done it does nothing
        while any(child.poll() is None for child in children) and not any(child.poll() for child in children):
            tell()
            time.sleep(0.5)
        for part, child in enumerate(children):
            if child.poll():
                errors[part].seek(0)
                lines = [line for line in errors[part].read().split("\n") if line.strip()]
                told = lines[-1] if lines else "it said nothing"
                raise ValueError(f"part {part} of {parts} failed: {told.removeprefix('Error: ')}")
