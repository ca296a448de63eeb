"""How commands speak: results on stdout, everything else on stderr, a mistake in one sentence with exit code 2."""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

import typer

from infodistill.files import NO_SPACE, system_error
from infodistill.scale.launch import launched, silent

P = ParamSpec("P")
MISTAKE, FAULT, INTERRUPTED = 2, 1, 130
SAME = "The same command goes on from what was finished."
KEPT = {
    "evaluate": "Finished reference networks are kept in the cache and, with --cross, finished architectures in DIR.",
    "compare": "Sets whose evaluation was finished keep it, and finished reference networks are in the cache.",
    **dict.fromkeys(("tune", "reproduce", "demo", "experts"), SAME),
}
"""What an interrupted command without --resume leaves, by its name; of the others nothing is promised."""


def say(text: str) -> None:
    """A line for people; of several ranks the first says it."""
    if not silent():
        print(text, file=sys.stderr, flush=True)


def show(result: Any) -> None:
    """A result for programs: one JSON object."""
    print(json.dumps(result, indent=1, ensure_ascii=False))


def one_sentence(command: Callable[P, None]) -> Callable[P, None]:
    """Turn errors of `command` into a sentence and an exit code; INFODISTILL_DEBUG=1 lets them through."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            _refuse_ranks(command.__name__)
            command(*args, **kwargs)
        except KeyboardInterrupt:
            say(" ".join(["Interrupted.", *_kept(command)]))
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # the reader (head, less) has seen enough
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # or the interpreter complains when it flushes
        except Exception as error:
            if os.environ.get("INFODISTILL_DEBUG") == "1" or isinstance(error, typer.Exit):
                raise
            raise typer.Exit(_tell(error, kwargs)) from None

    return wrapped


def _kept(command: Callable[..., None]) -> list[str]:
    """What can be done with what an interrupted command leaves."""
    if "resume" in inspect.signature(command).parameters:
        return ["What was saved can be continued with --resume."]
    return [KEPT[command.__name__]] if command.__name__ in KEPT else []


def _refuse_ranks(command: str) -> None:
    if launched() is not None and command != "distill":
        raise ValueError(f"torchrun shares the classes of one distillation: infodistill {command} runs without it")


def _tell(error: Exception, asked: Mapping[str, Any]) -> int:
    text = " ".join(str(error).split()) or type(error).__name__
    if (number := system_error(error)) in NO_SPACE:
        place = getattr(error, "filename", None) or asked.get("out") or asked.get("folder")
        told = f"Error: no space to write '{place}'" if place else "Error: no space to write more"
        say(f"{told} ({os.strerror(number or 0)}): free some there")
        return MISTAKE
    if number is not None or isinstance(error, ValueError | OSError | FloatingPointError | ImportError):
        say(f"Error: {text}")
        return MISTAKE
    if _out_of_memory(error):
        say(f"Error: memory ran out even in the smallest pieces; a smaller --ipc, --net or --size needs less ({text})")
        return MISTAKE
    say(f"Error: a fault of this program: {type(error).__name__}: {text} (INFODISTILL_DEBUG=1 shows where)")
    return FAULT


def _out_of_memory(error: Exception) -> bool:
    from infodistill.compute import is_out_of_memory

    return is_out_of_memory(error)
