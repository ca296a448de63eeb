"""`infodistill doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from infodistill.commands.speaking import one_sentence, show


@one_sentence
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what works on this machine, what does not, and how to fix it.

    Example: infodistill doctor
    """
    from infodistill.compute.doctor import examine

    findings = examine()
    if as_json:
        show([finding.as_dict() for finding in findings])
    else:
        for finding in findings:
            print(f"{finding.state:7} {finding.name:16} {finding.told}")
            if finding.fix:
                print(f"{'':24} -> {finding.fix}")
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)
