"""How commands speak: results on stdout, everything else on stderr, a mistake in one sentence with exit code 2."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from typing import Any, ParamSpec

import typer

from infodistill.scale.launch import launched, silent

P = ParamSpec("P")
MISTAKE, FAULT, INTERRUPTED = 2, 1, 130


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
            say("Interrupted. What was saved can be continued with --resume.")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # the reader (head, less) has seen enough
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # or the interpreter complains when it flushes
        except Exception as error:
            if os.environ.get("INFODISTILL_DEBUG") == "1" or isinstance(error, typer.Exit):
                raise
            raise typer.Exit(_tell(error)) from None

    return wrapped


def _refuse_ranks(command: str) -> None:
    if launched() is not None and command != "distill":
        raise ValueError(f"torchrun shares the classes of one distillation: infodistill {command} runs without it")


def _tell(error: Exception) -> int:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ValueError | OSError | FloatingPointError | ImportError):
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
