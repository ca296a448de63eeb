"""What the README shows is run, and what it says exists does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_quickstart_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 13
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    told = capsys.readouterr().out
    assert "distilled" in told
    assert (tmp_path / "digits-1" / "distilled.safetensors").is_file()


def test_every_verb_and_flag_in_the_readme_exists() -> None:
    from typer.main import get_command

    from infodistill.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    shown = [line.split("#")[0].split() for line in README.splitlines() if line.startswith("infodistill ")]
    assert len(shown) >= 8
    for line in shown:
        flags = {option for parameter in commands[line[1]].params for option in parameter.opts}
        assert {word for word in line if word.startswith("--")} <= flags, line


def test_files_the_readme_names_are_there() -> None:
    for name in ("CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "docs/methods", "Makefile"):
        assert (ROOT / name).exists()
    for method in ("dm", "dc", "dsa", "cmi", "mim"):
        assert "not run" in (ROOT / "docs" / "methods" / f"{method}.md").read_text(encoding="utf-8")


def test_nothing_committed_names_a_machine() -> None:
    pattern = re.compile("/" + r"(work|tmp|root)/")
    kinds = ("*.py", "*.toml", "*.md", "*.txt", "*.cff")
    folders = (ROOT / "src", ROOT / "docs", ROOT / "benchmarks")
    files = [file for folder in folders for kind in kinds for file in folder.rglob(kind)]
    files += [ROOT / "README.md", ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / ".ci" / "run"]
    assert [file.name for file in files if pattern.search(file.read_text(encoding="utf-8"))] == []
