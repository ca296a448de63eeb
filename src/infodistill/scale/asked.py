"""What `--workers` means: a number of processes, or Ray."""

from __future__ import annotations

from infodistill.compute import resolve
from infodistill.scale.fanout import Workers, one_by_one
from infodistill.scale.ray_workers import RayWorkers


def asked_workers(text: str, device: str = "cpu") -> int | RayWorkers:
    """`3` as 3 processes; `ray` as Ray with a job per processor, `ray:4` with four at once.

    On a GPU Ray's workers share it: each takes its part of one.

    Raises:
        ValueError: anything else.
        ImportError: Ray is asked for and not installed.
    """
    kind, colon, number = text.partition(":")
    if text.isdigit() and int(text) > 0:
        return int(text)
    if kind != "ray" or (colon and not (number.isdigit() and int(number))):
        raise ValueError(f"--workers is a number from 1, ray or ray:N, got '{text}'")
    count = int(number) if colon else None
    return RayWorkers(count, 0.0 if resolve(device).device == "cpu" else 1.0 / (count or 1))


def fan_of(text: str | None, device: str = "cpu") -> Workers | None:
    """The workers of a command without processes of its own: 1 or Ray; None where nothing was asked for.

    Raises:
        ValueError: a number above 1, or anything else.
    """
    found = None if text is None else asked_workers(text, device)
    if isinstance(found, int) and found > 1:
        raise ValueError(f"--workers is 1, ray or ray:N here, got '{text}': ray:{text} runs {text} jobs at once")
    return one_by_one if isinstance(found, int) else found
