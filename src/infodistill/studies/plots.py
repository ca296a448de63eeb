"""A study's record as pictures: accuracies, paired differences, what validation saw, information against accuracy."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from infodistill.reporting.colours import COLOURS, INK, MUTED
from infodistill.serialise import write_bytes

Found = Mapping[str, Any]


def write_plots(found: Found, folder: Path) -> list[Path]:
    """All pictures of a record."""
    drawn: Mapping[str, Callable[[Found], bytes]] = {
        "accuracy.png": accuracy_png,
        "differences.png": differences_png,
        "validation.png": validation_png,
        "information.png": information_png,
    }
    for name, draw in drawn.items():
        write_bytes(folder / name, draw(found))
    return [folder / name for name in drawn]


def accuracy_png(found: Found) -> bytes:
    """A panel a size: mean test accuracy and its 95 % interval over seeds, a row a contender."""
    sizes, names = _sizes(found), _names(found["cells"])
    figure, panels = _panels(len(sizes), height=0.9 + 0.24 * len(names), shared=True)
    for axes, ipc in zip(panels, sizes, strict=True):
        for place, name in enumerate(names):
            one = next(c for c in found["cells"] if (c["contender"], c["ipc"]) == (name, ipc))
            _point(axes, one, place, COLOURS[1] if name in found["claims"] else COLOURS[0])
        _rows(axes, names, f"{ipc} per class", "test accuracy, %")
    return _png(figure)


def differences_png(found: Found) -> bytes:
    """A panel a reference: paired differences with 95 % intervals, a row a contender, a colour a size."""
    references, sizes = list(dict.fromkeys(one["against"] for one in found["paired"])), _sizes(found)
    names = _names(found["cells"])
    figure, panels = _panels(len(references), height=0.9 + 0.42 * len(names), shared=True)
    for axes, other in zip(panels, references, strict=True):
        for one in found["paired"]:
            if one["against"] == other:
                number = sizes.index(one["ipc"])
                place = names.index(one["contender"]) + 0.16 * (number - (len(sizes) - 1) / 2)
                _point(axes, one, place, COLOURS[number % len(COLOURS)])
        axes.axvline(0, color=MUTED, linewidth=0.8)
        _rows(axes, names, f"minus {other}", "points")
    for number, ipc in enumerate(sizes):
        panels[-1].plot([], [], "o", color=COLOURS[number % len(COLOURS)], markersize=4, label=f"{ipc} per class")
    panels[-1].legend(frameon=False, fontsize=7, labelcolor=INK)
    return _png(figure)


def validation_png(found: Found) -> bytes:
    """A panel a tuned contender: held-out accuracy of its settings less plain sampling's best; ringed: chosen."""
    tuned, sizes = [one for one in found["cells"] if one["tried"]], _sizes(found)
    best = {one["ipc"]: max(t["validation"] for t in one["tried"]) for one in tuned if one["contender"] == "plain"}
    names = _names(tuned)
    figure, panels = _panels(len(names), height=2.4, rows=-(-len(names) // 4))
    for axes, name in zip(panels, names, strict=False):
        for one in tuned:
            if one["contender"] == name:
                number = sizes.index(one["ipc"])
                gains = [100 * (t["validation"] - best.get(one["ipc"], 0.0)) for t in one["tried"]]
                colour, label = COLOURS[number % len(COLOURS)], f"{one['ipc']} per class"
                axes.plot(range(len(gains)), gains, "o-", color=colour, markersize=3, linewidth=1, label=label)
                at = [t["setting"] for t in one["tried"]].index(one["setting"])
                axes.plot([at], [gains[at]], "o", color="none", markeredgecolor=colour, markersize=9)
        axes.axhline(0, color=MUTED, linewidth=0.8)
        labels = ["\n".join(f"{k} {v:g}" for k, v in t["setting"].items()) for t in _last(tuned, name)["tried"]]
        axes.set_xticks(range(len(labels)), labels, fontsize=6)
        _style(axes, name, "", "points" if axes is panels[0] else "")
    panels[0].legend(frameon=False, fontsize=6, labelcolor=INK)
    for axes in panels[len(names) :]:
        axes.axis("off")
    return _png(figure)


def information_png(found: Found) -> bytes:
    """A panel a size: the bound on I(X;Y) of held-out images that a set gives as decoder, against its accuracy."""
    sizes, names = _sizes(found), _names(found["cells"])
    figure, panels = _panels(len(sizes), height=3.2)
    for axes, ipc in zip(panels, sizes, strict=True):
        for number, name in enumerate(names):
            one = next(c for c in found["cells"] if (c["contender"], c["ipc"]) == (name, ipc))
            x = [measured["prototype"] for measured in one["measured"]]
            y = [100 * fmean(values) for values in one["accuracies"]]
            mark = "o" if number < len(COLOURS) else "^"
            axes.plot(x, y, mark, color=COLOURS[number % len(COLOURS)], markersize=3.5, alpha=0.8, label=name)
        _style(axes, f"{ipc} per class", "bound on I(X;Y), nats", "test accuracy, %" if axes is panels[0] else "")
    panels[0].legend(frameon=False, fontsize=6, labelcolor=INK)
    return _png(figure)


def samples_png(folder: Path, found: Found, *, ipc: int, label: int | None = None, most: int = 10) -> bytes:
    """A row a contender: its images of the first test seed; of every class (the first one), or of one class."""
    from safetensors.torch import load_file

    cells = [one for one in found["cells"] if one["ipc"] == ipc]
    figure = Figure(figsize=(1.4 + 0.5 * most, 0.52 * len(cells) + 0.1), dpi=130)
    for row, one in enumerate(cells):
        (path,) = (folder / "sets").glob(f"test-ipc{ipc}-{one['contender'].replace(' ', '-')}-*-seed0.safetensors")
        stored = load_file(path)
        y, pixels = stored["y"], stored["pixels"]
        rows = torch.arange(0, len(y), ipc) if label is None else (y == label).nonzero().flatten()
        for column, index in enumerate(rows[:most].tolist()):
            left, low = (1.4 + 0.5 * column) / (1.4 + 0.5 * most), 1 - (row + 1) / len(cells)
            axes = figure.add_axes((left, low, 0.47 / (1.4 + 0.5 * most), 0.9 / len(cells)))
            image = pixels[index].permute(1, 2, 0).squeeze(-1).numpy()
            axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.axis("off")
        figure.text(0.01, 1 - (row + 0.5) / len(cells), one["contender"], fontsize=8, color=INK, va="center")
    return _png(figure)


def _point(axes: Axes, one: Found, place: float, colour: str) -> None:
    low, high = one["interval"]
    axes.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=1.2)
    axes.plot([100 * one["mean"]], [place], "o", color=colour, markersize=4)


def _rows(axes: Axes, names: Sequence[str], title: str, label: str) -> None:
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.5, -0.5)
    _style(axes, title, label, "")


def _style(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=8, color=INK)
    axes.set_xlabel(x, fontsize=7, color=MUTED)
    axes.set_ylabel(y, fontsize=7, color=MUTED)
    axes.tick_params(colors=MUTED, labelsize=7, length=2)
    axes.grid(alpha=0.25, linewidth=0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _panels(count: int, *, height: float, rows: int = 1, shared: bool = False) -> tuple[Figure, list[Axes]]:
    columns = -(-count // rows)
    figure = Figure(figsize=(1.0 + 2.1 * columns, height * rows), dpi=130, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=shared)
    return figure, list(grid.flatten())


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)
    return file.getvalue()


def _sizes(found: Found) -> list[int]:
    return list(dict.fromkeys(one["ipc"] for one in found["cells"]))


def _names(cells: Sequence[Found]) -> list[str]:
    return list(dict.fromkeys(one["contender"] for one in cells))


def _last(cells: Sequence[Found], name: str) -> Found:
    return [one for one in cells if one["contender"] == name][-1]
