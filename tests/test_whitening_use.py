"""A whitened set on disk, in its card, in pictures, in an evaluation, and what looks at it through teachers."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from infodistill.artefact import load
from infodistill.distilled import Distilled
from infodistill.evaluation.evaluating import evaluate
from infodistill.manifest import TENSORS, read_manifest, seal
from infodistill.methods.dm import dm
from infodistill.nets.convnet import convnet
from infodistill.real import RealData
from infodistill.reporting.pictures import grid
from infodistill.running.runfolder import follow
from infodistill.serialise import write_bytes
from infodistill.sources.teachers import train_teachers
from infodistill.training import Fit
from infodistill.whitening import fit_whitening, in_space, whitened
from scoring import NET, PROTOCOL, count_trainings, run, values
from toys import NAMES, SPACE, Affine, artefact, real_data

TEACH = Fit(1, 8, 0.05)


def white_artefact(real: RealData, ipc: int = 2, seed: int = 0) -> Distilled:
    rows = real.rows(real.sample(seed, ipc))
    facts = {"data": real.name, "fingerprint": real.fingerprint, "method": "random"}
    return Distilled(rows.x, rows.y, real.space, NAMES, meta=facts)


def reforged(folder: Path, manifest: dict[str, Any] | None = None, **tensors: torch.Tensor | None) -> Path:
    """The artefact with other tensors (None takes one out) or another manifest, and hashes that agree."""
    held: dict[str, torch.Tensor | None] = {**load_file(folder / TENSORS)}
    held |= {name.replace("__", "."): value for name, value in tensors.items()}
    write_bytes(folder / TENSORS, save({name: value for name, value in held.items() if value is not None}))
    seal(folder, {**read_manifest(folder), **(manifest or {})}, written=(TENSORS,))
    return folder


def test_round_trip_keeps_the_space(tmp_path: Path) -> None:
    made = white_artefact(whitened(real_data()))
    folder = made.save(tmp_path / "set")
    back = load(folder)
    assert back.space == made.space and back.space.whitening is not made.space.whitening
    assert torch.equal(back.images, made.images)
    told = json.loads((folder / "distilled.json").read_text())["space"]["whitening"]
    assert made.space.whitening is not None
    assert told == {"eps": 0.1, "digest": made.space.whitening.digest}
    again = back.save(tmp_path / "again")
    for name in ("distilled.json", TENSORS, "grid.png", "README.md"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_an_artefact_without_its_very_whitening_is_refused(tmp_path: Path) -> None:
    real = real_data()
    made = white_artefact(whitened(real))
    for name in ("mean", "matrix"):
        with pytest.raises(ValueError, match=f"'{name}' of their whitening is missing"):
            load(reforged(made.save(tmp_path / name), **{f"whitening__{name}": None}))
    other = fit_whitening(real, 0.2).tensors()
    with pytest.raises(ValueError, match="only the very same one can be used"):
        load(reforged(made.save(tmp_path / "other"), whitening__matrix=other["matrix"]))
    plain = {"space": {"mean": [0.0], "std": [1.0]}}
    with pytest.raises(ValueError, match="does not say that images are whitened"):
        load(reforged(made.save(tmp_path / "silent"), plain))
    with pytest.raises(ValueError, match="not a complete artefact"):
        load(reforged(made.save(tmp_path / "odd"), {"space": {**plain["space"], "whitening": {"eps": "a"}}}))


def test_a_set_of_another_shape_than_its_whitening_is_refused() -> None:
    space = whitened(real_data()).space
    with pytest.raises(ValueError, match=r"the whitening is for images \(1, 8, 8\), the set has \(1, 6, 6\)"):
        Distilled(torch.zeros(1, 1, 6, 6), torch.zeros(1, dtype=torch.int64), space, NAMES)


def test_the_loader_of_the_card_whitens_test_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = whitened(real_data())
    folder = white_artefact(real).save(tmp_path / "set")
    text = (folder / "README.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", text, re.S)
    assert "ZCA-whitened, eps 0.1" in text and "matrix of 16,384 bytes" in text
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(compile(code, "card", "exec"), names)
    assert real.test is not None
    index = torch.arange(len(real.test))
    ours, theirs = real.test.rows(index).x, names["prepare"](real.test.pixels(index) / 255)
    assert (ours - theirs).abs().max() < 1e-6
    module = Affine(real.shape, 3)
    assert torch.equal(module(ours).argmax(1), module(theirs).argmax(1))


def test_pictures_show_the_pixels() -> None:
    plain, real = artefact(), whitened(real_data())
    white = replace(plain, images=real.rows(real_data().sample(0, 2)).x, space=real.space)
    ours, theirs = (torch.tensor(list(grid(made).tobytes()), dtype=torch.int16) for made in (white, plain))
    assert (ours - theirs).abs().max() <= 1 and (white.images - plain.images).abs().max() > 0.5


@pytest.mark.parametrize("set_is_white", [True, False])
def test_evaluation_does_not_depend_on_the_space_the_data_is_in(set_is_white: bool) -> None:
    plain, white = real_data(), whitened(real_data())
    made = white_artefact(white) if set_is_white else artefact()
    one, other = (run(made, real, NET) for real in (plain, white))
    for column in ("distilled", "random"):  # conversions back and forth move last bits, which may move one test image
        assert values(one, column) == pytest.approx(values(other, column), abs=1 / 24 + 1e-6)
    native = run(made, in_space(plain, made.space), NET)
    assert values(native, "random") == values(other if set_is_white else one, "random")


def test_references_are_kept_by_whitening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained, plain = count_trainings(monkeypatch), real_data()
    for real, expected in ((whitened(plain), 8), (plain, 3), (whitened(plain, 0.2), 8)):
        trained.clear()
        run(white_artefact(real if real.space.whitening else whitened(plain)), real, NET, cache=tmp_path)
        assert len(trained) == expected
    trained.clear()
    run(artefact(), plain, NET, cache=tmp_path)
    assert len(trained) == 8
    with pytest.raises(ValueError, match="whitened otherwise, cannot share a column"):
        run([artefact(), white_artefact(whitened(plain))], plain, NET)


@pytest.mark.parametrize("data_is_white", [True, False])
def test_networks_see_whitened_test_images_whatever_the_data_is_in(data_is_white: bool) -> None:
    seen: list[torch.Tensor] = []

    class Watched(Affine):
        def stages(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            if not self.training:
                seen.append(x.detach())
            return super().stages(x)

    plain = real_data()
    white = whitened(plain)
    real = white if data_is_white else plain
    evaluate(white_artefact(white), real, {"watched": Watched}, protocol=PROTOCOL, seeds=(0,), random_subsets=1)
    assert white.test is not None and len(seen) == 2  # the random subset's network and the set's
    expected = white.test.rows(torch.arange(len(white.test))).x
    assert all((x - expected).abs().max() < 1e-5 for x in seen)
    assert (plain.space.from_pixels(white.test.images / 255) - expected).abs().max() > 0.5


def test_teachers_remember_their_whitening(tmp_path: Path) -> None:
    plain, factory = real_data(), convnet(depth=1, width=4)
    white = whitened(plain)
    pool = train_teachers(white, factory, count=1, fit=TEACH, cache=tmp_path)
    train_teachers(plain, factory, count=1, fit=TEACH, cache=tmp_path)
    train_teachers(whitened(plain, 0.2), factory, count=1, fit=TEACH, cache=tmp_path)
    assert len(list(tmp_path.rglob("0000.json"))) == 3
    again = train_teachers(whitened(plain), factory, count=1, fit=TEACH, cache=tmp_path)
    x = white.rows(torch.arange(5)).x
    assert again.views[0].space == white.space and len(list(tmp_path.rglob("0000.json"))) == 3
    assert torch.equal(again.views[0].logits(x, white.space), pool.views[0].logits(x, white.space))
    seen = plain.rows(torch.arange(5)).x
    assert (again.views[0].logits(seen, SPACE) - pool.views[0].logits(x, white.space)).abs().max() < 1e-4


def test_a_stored_teacher_of_another_whitening_is_refused(tmp_path: Path) -> None:
    white, factory = whitened(real_data()), convnet(depth=1, width=4)
    train_teachers(white, factory, count=1, fit=TEACH, cache=tmp_path)
    [described] = tmp_path.rglob("0000.json")
    told = json.loads(described.read_text())
    told["space"]["whitening"]["digest"] = "0" * 64
    described.write_text(json.dumps(told))
    with pytest.raises(ValueError, match=r"digest 000000000000…, the whitening at hand has eps 0\.1"):
        train_teachers(white, factory, count=1, fit=TEACH, cache=tmp_path)


def test_a_run_distils_whitened_and_resumes_only_in_its_space(tmp_path: Path) -> None:
    def job(real: RealData) -> Any:
        return dm(real, convnet(depth=1, width=4), ipc=1, seed=0, real_per_class=4)

    white, out = whitened(real_data()), tmp_path
    follow(job(white), out, 2)
    with pytest.raises(ValueError, match="belongs to the value space"):
        follow(job(real_data()), out, 3)
    continued, whole = job(whitened(real_data())), job(white)
    follow(continued, out, 3)
    (tmp_path / "whole").mkdir()
    follow(whole, tmp_path / "whole", 3)
    assert torch.equal(continued.export().images, whole.export().images)
    assert continued.export().space == white.space
