"""The picture of a choice: every setting's held-out accuracy, the chosen one marked."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from infodistill.reporting.charts import style
from infodistill.reporting.colours import COLOURS
from infodistill.reporting.drawing import own_settings, png
from infodistill.tuning.settings import Trial, name_of


@own_settings()
def trials_png(trials: Sequence[Trial], chosen: Trial) -> bytes:
    """Accuracies with standard errors in the order tried, the first on top."""
    figure = Figure(figsize=(7.0, 1.0 + 0.34 * len(trials)), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    for row, trial in enumerate(trials):
        colour = COLOURS[1] if trial is chosen else COLOURS[0]
        error = 100 * trial.error if len(trial.accuracies) > 1 else None
        axes.errorbar(100 * trial.mean, row, xerr=error, marker="o", color=colour, capsize=3)
    labels = [name_of(trial.setting) + (" (chosen)" if trial is chosen else "") for trial in trials]
    axes.set_yticks(range(len(trials)), labels)
    axes.invert_yaxis()
    several = any(len(trial.accuracies) > 1 for trial in trials)
    told = "mean and standard error over networks" if several else "one network"
    style(axes, f"held-out accuracy in %, {told}", "")
    return png(figure)
