"""The report: one file, no network, everything escaped, and honest about what is missing."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from infodistill.artefact import record_measure, record_result, seal
from infodistill.distilled import Distilled
from infodistill.report import report
from infodistill.reporting.colours import VARIABLES
from infodistill.reporting.pictures import clipped_share, grid
from infodistill.running.runs import paired_difference, read_metrics, read_run, read_runs
from toys import NAMES, SPACE, artefact


def result(distilled: list[float], protocol: str = "quick", full: bool = False, seeds: int = 3) -> dict[str, Any]:
    def score(values: list[float]) -> dict[str, Any]:
        return {"mean": sum(values) / len(values), "std": 0.01, "n": len(values), "sets": 1, "nets_per_set": 3}

    columns: dict[str, Any] = {"distilled": score(distilled), "random": score([0.6, 0.62])}
    columns |= {"full": score([0.97]) if full else None, "full_reason": None if full else "it was not asked for"}
    return {
        "protocol": protocol,
        "ipc": 2,
        "nets": {"convnet3": columns},
        "images_bytes": 1536,
        "labels_bytes": 48,
        "seconds": 4.2,
        "device": "cpu",
        "values": {"convnet3": {"distilled": distilled}},
        "protocol_settings": {"epochs": 300},
        "settings": {"seeds": list(range(seeds)), "fingerprint": "a", "test_fingerprint": "b"},
    }


def metrics(terms: tuple[str, ...] = ("match",), steps: int = 5) -> bytes:
    lines = [
        {
            "step": step,
            "seconds": 0.1 * step,
            "values": {term: math.exp(-step) for term in terms},
            "weights": {term: 1.0 for term in terms},
            "norms": {term: 0.1 + step for term in terms} if step % 2 == 0 else {},
        }
        for step in range(steps)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


class Checker(HTMLParser):
    """Counts tags and notices what is left open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.charts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name.endswith(("src", "href"))]
        self.ids += [str(value) for name, value in attrs if name == "id"]
        if tag == "svg":
            assert dict(attrs)["role"] == "img"
            self.charts.append(str(dict(attrs)["aria-label"]))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(path: Path) -> tuple[str, Checker]:
    text, checker = path.read_text(encoding="utf-8"), Checker()
    checker.feed(text)
    assert checker.open == []
    assert "script" not in checker.tags and "link" not in checker.tags
    assert all(link.startswith("data:image/png;base64,") for link in checker.links)
    assert not re.search(r"https?://|url\(|@import|<metadata|<\?xml", text)
    assert len(set(checker.ids)) == len(checker.ids)
    light, dark = (set(re.findall(r"(--[\w-]+):", part)) for part in text.partition("@media print")[0].split("@media"))
    assert set(re.findall(r"var\((--[\w-]+)\)", text)) <= light & dark and set(VARIABLES.values()) <= light & dark
    for link in checker.links:
        with Image.open(io.BytesIO(base64.b64decode(link.partition(",")[2]))) as picture:
            picture.load()
    return text, checker


def test_two_runs_side_by_side(tmp_path: Path) -> None:
    plain = artefact(label="DM", seconds=12.5).save(tmp_path / "dm", files={"metrics.jsonl": metrics()})
    added = artefact(label="DM+CMI", terms={"cmi": "ratio:0.01"}).save(
        tmp_path / "cmi", files={"metrics.jsonl": metrics(("match", "cmi"))}
    )
    record_result(plain, result([0.7, 0.8, 0.9], full=True))
    record_result(added, result([0.72, 0.80, 0.88]))
    text, checker = checked(report([plain, added], tmp_path / "out.html"))
    # two grids; one bar chart, and value and norm of two terms (the weights never moved)
    assert checker.tags.count("img") == 2 and len(checker.charts) == 1 + 2 * 2
    assert checker.charts[1:3] == ["match, value over steps", "match, pixel-gradient norm over steps"]
    assert "DM+CMI" in text and "80.0 ± 1.0" in text and "97.0 <small>n=1</small>" in text
    assert re.search("[+−]0.0 <small>± 1.2 s.e., n=3", text)
    assert "it was not asked for" in text and "weight λ 1 throughout" in text
    assert "ratio r is set" in text and "12.5" in text and "1,536" in text
    assert "last epoch" in text and "shown as measured" in text


def test_a_report_without_evaluation_or_log_says_so(tmp_path: Path) -> None:
    folder = artefact().save(tmp_path / "set")
    text, checker = checked(report([folder], tmp_path))
    assert (tmp_path / "report.html").is_file()
    assert checker.tags.count("img") == 1
    assert "Nothing was evaluated yet" in text and "Terms over the run" not in text


def test_names_cannot_inject_markup(tmp_path: Path) -> None:
    nasty = "<img src=http://evil onerror=x>"
    folder = artefact(label=nasty, data=nasty, notes={nasty: nasty}).save(
        tmp_path / "set", files={"metrics.jsonl": metrics((nasty,))}
    )
    record_result(folder, result([0.5, 0.6, 0.7]))
    path = report([folder], tmp_path / "out.html")
    assert "<img src=http" not in path.read_text()
    assert "&lt;img src=http" in path.read_text()


def test_different_protocols_never_share_a_chart(tmp_path: Path) -> None:
    folder = artefact(label="DM").save(tmp_path / "dm")
    record_result(folder, result([0.7, 0.8, 0.9]))
    record_result(folder, result([0.5, 0.5, 0.6], protocol="dc"))
    text, checker = checked(report([folder], tmp_path / "out.html"))
    assert checker.tags.count("img") == 1 and len(checker.charts) == 2
    assert "protocol quick</h3>" in text and "protocol dc</h3>" in text


def test_data_and_settings_of_one_name_never_share_a_chart(tmp_path: Path) -> None:
    folders = [artefact(label=str(n)).save(tmp_path / str(n)) for n in range(4)]
    other_data, other_protocol = result([0.7, 0.8, 0.9]), result([0.7, 0.8, 0.9])
    other_data["settings"]["fingerprint"] = "c"
    other_protocol["protocol_settings"]["epochs"] = 3
    for folder, found in zip(folders, [result([0.5, 0.5, 0.6])] * 2 + [other_data, other_protocol], strict=True):
        record_result(folder, found)
    text, checker = checked(report(folders, tmp_path / "out.html"))
    assert checker.tags.count("img") == 4 and len(checker.charts) == 3
    assert len(set(re.findall(r"protocol quick \(data \w{8}, settings \w{8}\)</h3>", text))) == 3


@pytest.mark.parametrize("name", ["results.json", "measure.json", "metrics.jsonl"])
def test_edited_companions_are_refused_and_never_sealed(tmp_path: Path, name: str) -> None:
    folder = artefact().save(tmp_path / "set", files={"metrics.jsonl": metrics()})
    record_result(folder, result([0.5, 0.6, 0.7]))
    record_measure(folder, {"cmi": {"mean": 0.5}})
    path = folder / name
    path.write_text(path.read_text().replace("0.5", "0.999").replace('"match": 1.0', '"match": 2.0'))
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"^{name} in 'set' has sha256 .* it was edited") as caught:
            report([folder], tmp_path / "out.html")
        assert "\n" not in str(caught.value)
        seal(folder, written=("grid.png",))
    if name == "results.json":
        with pytest.raises(ValueError, match=name):
            record_result(folder, result([0.5, 0.6, 0.7], protocol="dc"))
    path.unlink()
    report([folder], tmp_path / "out.html")


def test_the_log_of_a_run_that_goes_on_is_that_of_the_set(tmp_path: Path) -> None:
    folder = artefact().save(tmp_path / "set", files={"metrics.jsonl": metrics()})
    longer = metrics(steps=9)
    (folder / "metrics.jsonl").write_bytes(longer[:-5])
    assert [line["step"] for line in read_run(folder).metrics] == [0, 1, 2, 3, 4]
    artefact(seed=1).save(folder, files={"metrics.jsonl": longer})
    assert len(read_run(folder).metrics) == 9


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one artefact"):
        report([], tmp_path)
    with pytest.raises(FileNotFoundError, match="no distilled set"):
        report([tmp_path / "nowhere"], tmp_path)


def test_metrics_survive_a_cut_line_and_a_resume() -> None:
    again = json.dumps({"step": 3, "values": {"match": 9.0}})
    lines = read_metrics(metrics().decode() + again + '\n[1]\n{"step": 7, "val')
    assert [line["step"] for line in lines] == [0, 1, 2, 3, 4]
    assert lines[3]["values"]["match"] == 9.0
    assert read_metrics("") == []


def test_curves_leave_out_what_was_not_logged_and_thin_long_logs(tmp_path: Path) -> None:
    folder = artefact().save(tmp_path / "set", files={"metrics.jsonl": metrics(steps=5000)})
    run = read_run(folder)
    assert run.label == "set" and run.terms() == ["match"]
    steps, numbers = run.curve("norms", "match")
    assert steps[:2] == [0.0, 10.0] and len(steps) == len(numbers) == 500
    assert run.curve("values", "cmi") == ([], [])


def test_equal_labels_are_told_apart(tmp_path: Path) -> None:
    folders = [artefact(label="DM").save(tmp_path / name) for name in ("one", "two")]
    assert [run.label.rpartition("/")[2] for run in read_runs(folders)] == ["one)", "two)"]


def test_paired_difference_needs_the_same_seeds_and_protocol() -> None:
    ours, theirs = result([0.7, 0.8, 0.9]), result([0.6, 0.75, 0.78])
    found = paired_difference(ours, theirs, "convnet3")
    assert found is not None and found.n == 3
    assert found.mean == pytest.approx(0.09) and found.error == pytest.approx(
        torch.tensor([0.1, 0.05, 0.12]).std() / 3**0.5
    )
    assert paired_difference(ours, result([0.6, 0.75, 0.78], seeds=4), "convnet3") is None
    assert paired_difference(ours, {**theirs, "protocol_settings": {}}, "convnet3") is None
    assert paired_difference(ours, theirs, "lenet") is None


def test_grid_clips_for_display_and_says_how_much() -> None:
    pixels = torch.full((6, 3, 8, 8), 0.5)
    pixels[0, :, :2] = 1.5
    made = Distilled(pixels, artefact().y, type(SPACE)((0.0,) * 3, (1.0,) * 3), NAMES)
    assert clipped_share(made) == pytest.approx((0.25 / 6, 0.25))
    picture = grid(made)
    assert picture.getpixel((4, 4)) == (255, 255, 255) and picture.getpixel((30, 50)) == (128, 128, 128)
