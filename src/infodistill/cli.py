"""The command line: one file per verb in `commands/`; a mistake ends with one sentence and exit code 2."""

from __future__ import annotations

import typer

from infodistill.commands.compare import compare
from infodistill.commands.demo import demo
from infodistill.commands.distill import distill
from infodistill.commands.doctor import doctor
from infodistill.commands.evaluate import evaluate
from infodistill.commands.experts import experts
from infodistill.commands.export import export
from infodistill.commands.generator import generator
from infodistill.commands.import_set import import_set
from infodistill.commands.leaderboard import leaderboard
from infodistill.commands.measure import measure
from infodistill.commands.report import report
from infodistill.commands.reproduce import reproduce
from infodistill.commands.sample import sample
from infodistill.commands.select import select
from infodistill.commands.teachers import teachers
from infodistill.commands.train import train
from infodistill.commands.tune import tune

app = typer.Typer(
    help="Information-theoretic dataset distillation: distil, resume, evaluate honestly, ship.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)

for command in (demo, distill, sample, select, evaluate, measure, teachers, experts, reproduce, report, doctor):
    app.command()(command)
for command in (compare, leaderboard):
    app.command()(command)
app.command("import")(import_set)
app.command()(export)
app.command()(train)
app.command()(tune)
app.add_typer(generator, name="generator")


def main() -> None:
    """For callers that import it; the installed command starts in `__main__`."""
    app(prog_name="infodistill")
