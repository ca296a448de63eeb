"""Progress on stderr: a bar with rate and time left on a terminal, plain lines everywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from infodistill.scale.launch import silent

Tell = Callable[..., None]
"""tell(what, done, total, detail=""): `what` names the activity; a new name starts a new bar."""


@contextmanager
def telling(console: Console | None = None) -> Generator[Tell]:
    """Inside: a function that shows progress. `detail` is free text, such as the loss."""
    if silent():
        yield nobody
        return
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield Lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[detail]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=False) as bars:
        yield Bars(bars)


def nobody(what: str, done: int, total: int, detail: str = "") -> None:
    """Another process of the run speaks."""
    del what, done, total, detail


@dataclass
class Rate:
    """Steps per second since an activity began, not counting what was done before (a resumed run starts late)."""

    start: float = field(default_factory=time.monotonic)
    first: int | None = None
    last: int = 0

    def at(self, done: int) -> float:
        self.last = done
        if self.first is None:
            self.first = done
        seconds = time.monotonic() - self.start
        return (done - self.first) / seconds if seconds > 0 else 0.0


@dataclass
class Bars:
    """One rich bar per activity."""

    bars: Progress
    tasks: dict[str, tuple[int, Rate]] = field(default_factory=dict[str, "tuple[int, Rate]"])

    def __call__(self, what: str, done: int, total: int, detail: str = "") -> None:
        if what not in self.tasks or done < self.tasks[what][1].last:
            self.tasks[what] = (int(self.bars.add_task(what, total=total, detail="")), Rate())
        task, rate = self.tasks[what]
        speed = rate.at(done)
        text = "  ".join(part for part in (detail, f"{speed:.1f}/s" if speed else "") if part)
        self.bars.update(task, completed=done, total=total, detail=text)  # pyright: ignore[reportArgumentType]


@dataclass
class Lines:
    """A line at the start of an activity, every `every` seconds, and at its end."""

    console: Console
    every: float = 10.0
    rates: dict[str, tuple[Rate, float]] = field(default_factory=dict[str, "tuple[Rate, float]"])

    def __call__(self, what: str, done: int, total: int, detail: str = "") -> None:
        now = time.monotonic()
        rate, said = self.rates.get(what, (Rate(), 0.0))
        if done < rate.last:  # the same activity, anew
            rate, said = Rate(), 0.0
        speed = rate.at(done)
        if said and done < total and now - said < self.every:
            return
        self.rates[what] = (rate, now)
        left = f"{speed:.1f}/s  {duration((total - done) / speed)} left" if speed and done < total else ""
        self.console.print(
            "  ".join(p for p in (what, f"{done}/{total}", detail, left) if p), soft_wrap=True, highlight=False
        )


def duration(seconds: float) -> str:
    """A time for people: `43 s`, `3 min 10 s`, `2 h 5 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def counted(number: int, noun: str) -> str:
    """`1 step`, `1,200 steps`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
