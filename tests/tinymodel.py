"""A diffusion model of random weights for the bundled digits, in a folder, and the command line in process."""

from __future__ import annotations

from pathlib import Path

import torch
from typer.testing import CliRunner

import infodistill
from infodistill.cli import app
from infodistill.diffusion.models.adapters import adapted
from infodistill.diffusion.models.networks import build
from infodistill.diffusion.models.store import save_model
from infodistill.diffusion.schedules import cosine_alphas_bar

STEPS = 6


def tiny_model(folder: Path, seed: int = 0) -> Path:
    """A residual MLP of width 16 that was never trained."""
    generator = torch.Generator().manual_seed(seed)
    module = build({"kind": "mlp", "shape": [1, 8, 8], "classes": 10, "width": 16, "depth": 1}, generator)
    with torch.no_grad():
        for weight in module.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    names = infodistill.load_data("digits").class_names
    return save_model(adapted(module, cosine_alphas_bar(), names, facts={"licence": "cc0-1.0"}), folder)


def call(*args: str | Path, code: int = 0) -> str:
    """What a command prints: its results, or its one sentence where it is to fail."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def sampled(model: Path, out: Path, *args: str | Path) -> Path:
    """A finished run on the digits."""
    call("sample", "--data", "digits", "--generator", model, "--steps", str(STEPS), *args, "--out", out)
    return out
