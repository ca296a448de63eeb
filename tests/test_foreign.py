"""Exports in the hands of code that does not import infodistill."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from infodistill import load_data, methods, nets
from infodistill.publishing.publish import publish

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "foreign.py"


def test_the_foreign_code_does_not_import_infodistill() -> None:
    tree = ast.parse(SCRIPT.read_text())
    names = [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    names += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert names and not any(name.split(".")[0] == "infodistill" for name in names)


def test_the_test_images_are_ours(tmp_path: Path) -> None:
    code = "import sys, torch; sys.path.insert(0, sys.argv[1]); import foreign\n"
    code += "x, y = foreign.digits_test(torch.zeros(1), torch.ones(1)); torch.save((x, y), sys.argv[2])"
    real = load_data("digits").test
    assert real is not None
    subprocess.run([sys.executable, "-c", code, str(SCRIPT.parent), str(tmp_path / "test.pt")], check=True)
    x, y = torch.load(tmp_path / "test.pt", weights_only=True)
    torch.testing.assert_close(x, real.images.float() / 255, atol=1e-6, rtol=0)
    assert torch.equal(y, real.labels)


@pytest.mark.slow
def test_every_form_trains_as_well_as_it_says(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    job = methods.dm(load_data("digits"), nets.by_name("convnet2-w32"), ipc=10, seed=0)
    for _ in job.run(40):
        pass
    job.syn.export().save(tmp_path / "set")
    forms = ("imagefolder", "parquet", "ddranking")
    for form in forms:
        publish(tmp_path / "set", form, tmp_path / form, seeds=0)
    places = [text for form in forms for text in (f"--{form}", str(tmp_path / form))]
    args = [sys.executable, str(SCRIPT), "--artefact", str(tmp_path / "set"), *places, "--nets", "3", "--epochs", "120"]
    told = json.loads(subprocess.run(args, check=True, capture_output=True, text=True).stdout)
    assert told["tensors"]["mean"] > 0.7  # chance is 0.1; a short training, the difference is what is asked
    assert told["ddranking"]["values"] == told["tensors"]["values"]
    assert told["imagefolder"]["values"] == told["parquet"]["values"]
    assert abs(told["imagefolder"]["difference"]) < 0.03
