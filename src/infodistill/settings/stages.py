"""Sets that are made in stages: how many images each has, and how many updates."""

from __future__ import annotations

from typing import Any, cast


def split(ipc: int, stages: int) -> tuple[int, ...]:
    """Images per class of each stage, as even as they can be and none of them empty."""
    count = min(stages, ipc)
    return tuple(ipc // count + (k < ipc % count) for k in range(count))


def with_stage_steps(content: Any, stages: int, whole: int = 1) -> Any:
    """Raw recipe content with the run in equal stages of a multiple of `whole` steps, where it gives no `stage_steps`.

    A longer total later must not move the stages already begun, so they are fixed when the recipe is read.
    """
    if not isinstance(content, dict):
        return content
    told = cast("dict[str, Any]", content)
    count = max(1, min(int(told.get("stages", stages)), int(told.get("ipc", 10)))) * max(1, whole)
    return {"stage_steps": max(1, -(-int(told.get("steps", 1)) // count)) * whole, **told}
