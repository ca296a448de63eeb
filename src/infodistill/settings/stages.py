"""Sets that are made in stages: how many images each has, and how many updates."""

from __future__ import annotations

from typing import Any, cast


def split(ipc: int, stages: int) -> tuple[int, ...]:
    """Images per class of each stage, as even as they can be and none of them empty."""
    count = min(stages, ipc)
    return tuple(ipc // count + (k < ipc % count) for k in range(count))


def whole_number(value: Any) -> int | None:
    """A raw value as an integer; None where it is none, of which the field it is for then complains."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def with_stage_steps(content: Any, stages: int, inner: int | None = None) -> Any:
    """Raw recipe content with the run in equal stages of whole lives of `inner` updates, if it gives no `stage_steps`.

    `stages` and `inner` stand in where the content does not say; `inner` None: any number of updates makes a stage.
    What does not divide goes to the last stage, so that every stage is reached. A longer total later must not move the
    stages already begun, so they are fixed when the recipe is read. Content not made of numbers is returned as it is.
    """
    if not isinstance(content, dict) or "stage_steps" in content:
        return cast("Any", content)
    told = cast("dict[str, Any]", content)
    asked = {"stages": stages, "ipc": 10, "steps": 1, **({} if inner is None else {"inner": inner})}
    found = {key: whole_number(told.get(key, default)) for key, default in asked.items()}
    if None in found.values():
        return told
    numbers = {key: max(1, value or 1) for key, value in found.items()}
    count, life = min(numbers["stages"], numbers["ipc"]), numbers.get("inner", 1)
    return {"stage_steps": max(1, numbers["steps"] // (count * life)) * life, **told}


def unfinished(steps: int, stages: int, stage_steps: int) -> str | None:
    """What to tell of a run that ends before its last stage does; None where it does not.

    It is no mistake: it may be the first part of a run that is resumed with more steps.
    """
    whole = stages * stage_steps
    if steps >= whole or stages == 1:
        return None
    reached = max(steps - 1, 0) // stage_steps + 1
    return (
        f"{steps} steps end in stage {reached} of {stages}, of {stage_steps} each: the images of later stages stay as "
        f"they began; --steps {whole} makes all of them"
    )
