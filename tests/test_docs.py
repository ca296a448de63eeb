"""The documentation builds without a warning, and what it shows is run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from infodistill.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
LONG = {
    "distill": ["--steps", "2"],
    "evaluate": ["--seeds", "1"],
    "reproduce": ["--minutes", "0"],
    "compare": ["--seeds", "2"],
    "train": ["--seeds", "1"],
    "export": ["--no-evaluate"],
}
"""What is added to a verb so that a page can be walked through in a test; flags that a page gives are kept."""

ELSEWHERE = ("make", "pip", "python", "torchrun")
"""Words a line may begin with that is checked, but not run here."""


def _fences(page: Path, *kinds: str) -> list[str]:
    """The fenced blocks of these kinds, in order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [text for kind, text in found if kind in kinds]


def _lines(page: Path) -> list[list[str]]:
    """Every command line in the page's fences."""
    lines = "\n".join(_fences(page, "console", "")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **QUIET}, check=False)
    assert told.returncode == 0, told.stderr
    assert "WARNING" not in told.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 25
    fetched = re.compile(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?https?://(?!infodistill)")
    assert [page.name for page in pages if fetched.search(page.read_text(encoding="utf-8"))] == []


QUIET = {"NO_MKDOCS_2_WARNING": "1"}


@pytest.mark.parametrize("page", [p for p in PAGES if _fences(p, "python")], ids=lambda p: p.stem)
def test_python_on_a_page_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for code in _fences(page, "python"):
        if "..." not in code:  # a sketch, not an example
            exec(compile(code, page.name, "exec"), scope)
    assert capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if _lines(p)], ids=lambda p: p.stem)
def test_commands_on_a_page_run_in_its_order(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INFODISTILL_CACHE", str(tmp_path / "cache"))
    _photos(tmp_path / "photos")
    for words in _lines(page):
        if words[0] in ELSEWHERE:
            assert all((ROOT / word).exists() for word in words[1:] if word.startswith("benchmarks/")), words
            continue
        assert words[0] == "infodistill", words
        added = LONG.get(words[1], [])
        if any(word.startswith("igds-mnist") for word in words):
            if not (shared := os.environ.get("INFODISTILL_DATA")):
                continue  # images that are not bundled
            words = [*words, "--data", str(Path(shared) / "mnist")]
        extra = [] if "--resume" in words or not added or added[0] in words else added
        result = CliRunner().invoke(app, [*words[1:], *extra])
        assert result.exit_code == 0, f"{' '.join(words)}: {result.output}"


def test_every_verb_and_flag_on_a_page_exists() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    shown = [
        (page, shlex.split(line, comments=True))
        for page in PAGES
        for line in re.findall(r"infodistill [a-z][^`\n]*", "\n".join(re.findall(r"`+[^`]+`+", page.read_text())))
    ]
    assert len(shown) > 40
    for page, words in shown:
        command = commands.get(words[1])
        if command is None:
            continue  # prose in a code span, such as `infodistill report page`
        command = getattr(command, "commands", {}).get(words[2] if len(words) > 2 else "", command)
        flags = {option for parameter in command.params for option in parameter.opts}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= flags, (page.name, words)


def test_every_card_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    names = [str(page.relative_to(ROOT / "docs")) for page in PAGES]
    assert [name for name in names if name not in navigation] == []
    index = (ROOT / "docs" / "methods" / "index.md").read_text(encoding="utf-8")
    cards = [page.name for page in (ROOT / "docs" / "methods").glob("*.md") if page.name != "index.md"]
    assert [card for card in cards if f"({card})" not in index] == []


def _photos(folder: Path) -> None:
    """Forty images in two class folders, with a test part."""
    generator = torch.Generator().manual_seed(0)
    for part in ("train", "test"):
        for label, name in enumerate(("cats", "dogs")):
            place = folder / part / name
            place.mkdir(parents=True)
            for number in range(10):
                pixels = torch.randint(0, 128, (40, 36, 3), generator=generator) + 100 * label
                Image.fromarray(pixels.to(torch.uint8).numpy()).save(place / f"{number}.png")
