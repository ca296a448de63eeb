"""Sets that others published: every value space, every layout, every odd file."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from infodistill import load_data
from infodistill.distilled import ALL_ROWS
from infodistill.importing import Published, import_set
from infodistill.importing.spaces import SPACES, guess, whitened_space
from infodistill.importing.tensors import load_untrusted, read_tensors
from infodistill.real import RealData
from infodistill.types import LabelKind


@pytest.fixture(scope="module")
def digits() -> RealData:
    return load_data("digits")


def pixels(real: RealData, ipc: int = 4) -> tuple[Tensor, Tensor]:
    """Real images that were shaken a little, as pixels around [0, 1], and their classes."""
    rows = real.rows(real.sample(1, ipc))
    shaken = rows.x + 0.1 * torch.randn(rows.x.shape, generator=torch.Generator().manual_seed(2))
    return real.space.to_pixels(shaken), rows.y


def stored(images: Tensor, real: RealData, space: str) -> Tensor:
    ways = {
        "normalised": real.space.from_pixels,
        "unit": lambda x: x,
        "byte": lambda x: 255 * x,
        "zca": lambda x: whitened_space(real, 0.1).from_pixels(x),
    }
    return ways[space](images)


@pytest.mark.parametrize("space", SPACES)
def test_each_space_comes_back_as_the_same_pixels(tmp_path: Path, digits: RealData, space: str) -> None:
    images, y = pixels(digits)
    torch.save((stored(images, digits, space), y), tmp_path / "set.pt")
    found = import_set(Published(tmp_path / "set.pt", "digits", space))
    assert not found.warnings
    assert torch.equal(found.distilled.y, y)
    torch.testing.assert_close(found.distilled.space.to_pixels(found.distilled.images), images, atol=1e-4, rtol=0)
    assert (found.distilled.space.whitening is not None) == (space == "zca")
    assert found.distilled.meta["imported"]["space"] == space and found.distilled.meta["protocol"]["name"] == "quick"


@pytest.mark.parametrize("true", SPACES)
def test_a_wrong_space_is_told_with_the_evidence(digits: RealData, true: str) -> None:
    images = stored(pixels(digits)[0], digits, true)
    about = guess(images, digits, digits.space, whitened_space(digits, 0.1))
    assert about.against(true) is None and about.nearest == true
    for said in set(SPACES) - {true}:
        text = about.against(said)
        assert text is not None and text.endswith(f"this looks like {true}, you said {said}")
        assert f"{images.min():.2f}..{images.max():.2f}" in text and f"mean {images.mean():.2f}" in text


def test_without_a_space_the_guess_is_in_the_message(tmp_path: Path, digits: RealData) -> None:
    images, y = pixels(digits)
    torch.save((images, y), tmp_path / "set.pt")
    with pytest.raises(ValueError, match=r"this looks like --space unit$"):
        import_set(Published(tmp_path / "set.pt", "digits"))


def layouts(folder: Path, x: Tensor, y: Tensor) -> dict[str, Path]:
    """The same pair as DC, MTT, IDC, DD-Ranking and others leave it."""
    contents: dict[str, Any] = {
        "res_DC.pt": {"data": [[x, y]], "accs_all_exps": {"ConvNet": [np.float64(0.5)]}},
        "data.pt": [x, y],
        "dict.pt": {"images": x, "labels": y, "syn_lr": torch.tensor(0.02)},
        "triple.pt": (x, y, 0.02),
        "mtt/images_best.pt": x,
        "mtt/labels_best.pt": y,
        "ddranking/images.pt": x,
        "ddranking/labels.pt": y,
        "ddranking/lr.pt": torch.tensor(0.02),
    }
    for name, content in contents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        torch.save(content, folder / name)
    names = ("res_DC.pt", "data.pt", "dict.pt", "triple.pt", "mtt/images_best.pt", "mtt", "ddranking")
    return {name: folder / name for name in names}


def test_every_layout_is_the_same_pair(tmp_path: Path, digits: RealData) -> None:
    images, y = pixels(digits)
    for name, path in layouts(tmp_path, images.requires_grad_(), y).items():
        found = read_tensors(path)
        assert torch.equal(found.images, images) and found.labels is not None and torch.equal(found.labels, y), name
        rated = name in ("dict.pt", "triple.pt", "ddranking")
        assert found.rate == (pytest.approx(0.02) if rated else None), name


def test_a_learned_rate_becomes_the_plan(tmp_path: Path, digits: RealData) -> None:
    images, y = pixels(digits)
    path = layouts(tmp_path, images, y)["ddranking"]
    set_ = import_set(Published(path, "digits", "unit")).distilled
    assert set_.plan == ({**ALL_ROWS, "rates": pytest.approx(0.02)},)
    assert float(set_.scalars["lr"]) == pytest.approx(0.02)


def test_one_of_several_sets(tmp_path: Path, digits: RealData) -> None:
    images, y = pixels(digits)
    torch.save({"data": [[images, y], [images + 1, y]]}, tmp_path / "res.pt")
    assert torch.equal(read_tensors(tmp_path / "res.pt", which=1).images, images + 1)
    assert "holds 2 sets: set 0" in read_tensors(tmp_path / "res.pt").notes[0]
    with pytest.raises(ValueError, match="no set 2"):
        read_tensors(tmp_path / "res.pt", which=2)


def test_tiles_are_decoded_and_counted_as_stored(tmp_path: Path, digits: RealData) -> None:
    images, y = pixels(digits)
    torch.save([images.clamp(0, 1), y], tmp_path / "data.pt")
    set_ = import_set(Published(tmp_path / "data.pt", "digits", "unit", factor=2)).distilled
    assert (len(set_), set_.ipc, set_.stored_ipc, set_.images_bytes) == (160, 16, 4, 40 * 64 * 4)
    with pytest.raises(ValueError, match="--factor 2 wants --space unit or byte"):
        import_set(Published(tmp_path / "data.pt", "digits", "normalised", factor=2))


def test_labels_of_every_kind(tmp_path: Path, digits: RealData) -> None:
    images, y = pixels(digits)
    hard = torch.nn.functional.one_hot(y, 10).float()
    logits = 3 * hard
    made = {"hard": hard, "soft": 0.9 * hard + 0.01, "logits": logits, "scores": hard - 0.1}
    for kind, rows in made.items():
        torch.save((images, rows), tmp_path / "set.pt")
        asked = Published(tmp_path / "set.pt", "digits", "unit", labels_are=None if kind in ("hard", "soft") else kind)
        set_ = import_set(asked).distilled
        assert torch.equal(set_.y, y)
        assert (set_.soft_labels is None) == (kind == "hard")
        assert set_.label_kind is (LabelKind.SCORES if kind == "scores" else LabelKind.PROBABILITIES)
        if kind == "logits":
            torch.testing.assert_close(set_.soft_labels, logits.softmax(1))
            with pytest.raises(ValueError, match="--labels-are logits or scores"):
                import_set(replace(asked, labels_are=None))


def test_classes_in_another_order(tmp_path: Path, digits: RealData) -> None:
    images, y = pixels(digits)
    hard = torch.nn.functional.one_hot(9 - y, 10).float()
    torch.save((images, 0.9 * hard + 0.01), tmp_path / "set.pt")
    names = tuple(reversed(digits.class_names))
    set_ = import_set(Published(tmp_path / "set.pt", "digits", "unit", class_names=names)).distilled
    assert torch.equal(set_.y, y) and torch.equal(set_.target().argmax(1), y)
    with pytest.raises(ValueError, match="'ten' is none of them"):
        import_set(Published(tmp_path / "set.pt", "digits", "unit", class_names=(*names[:-1], "ten")))


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this ran",))


def test_a_file_with_code_is_refused_and_nothing_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save((torch.zeros(10, 1, 8, 8), Code()), tmp_path / "evil.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Code()))
    for name in ("evil.pt", "old.pt"):
        with pytest.raises(ValueError, match=f"'{name}' was not read: it holds the object builtins.print|not read"):
            load_untrusted(tmp_path / name)
    assert "this ran" not in capsys.readouterr().out
