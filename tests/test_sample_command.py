"""`infodistill sample` from end to end with a model of random weights, in process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import infodistill
from infodistill.diffusion.fitting import generator_plan
from infodistill.diffusion.fitting.generator_folder import cached_folder, finished, stored_plan
from infodistill.diffusion.fitting.generators import Training
from infodistill.diffusion.models.pretrained import open_model
from infodistill.diffusion.running import supplying
from infodistill.diffusion.running.conduct import planned
from infodistill.diffusion.running.request import SampleRequest
from infodistill.diffusion.running.watching import read
from infodistill.real import RealData
from tinymodel import STEPS, call, sampled, tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def guided(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sampled(model, tmp_path_factory.mktemp("run") / "igds", "--ipc", "2", "--together", "4")


@pytest.fixture(scope="module")
def plain(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sampled(model, tmp_path_factory.mktemp("run") / "plain", "--method", "dit", "--ipc", "2")


def test_a_run_leaves_a_whole_artefact(guided: Path, model: Path) -> None:
    wanted = {"sample.json", "distilled.safetensors", "distilled.json", "README.md", "grid.png", "report.html"}
    assert wanted | {"guidance.safetensors", "trajectory.png"} <= {path.name for path in guided.iterdir()}
    made, real = infodistill.load(guided), infodistill.load_data("digits")
    assert (made.ipc, len(made), made.shape) == (2, 20, (1, 8, 8))
    assert torch.equal(made.y, torch.arange(10).repeat_interleave(2))
    meta = made.meta
    assert (meta["method"], meta["steps"], meta["seed"]) == ("igds", STEPS, 0)
    assert meta["fingerprint"] == real.fingerprint and meta["source"]["data"] == "digits"
    assert (meta["protocol"]["name"], meta["net"]) == ("quick", "convnet2-w32")
    assert meta["generator"]["from"] == model.name and meta["generator"]["licence"] == "cc0-1.0"
    assert meta["guidance"]["terms"] == {"prototype": "p3", "contextual": "c2"}
    assert meta["guidance"]["s"] == 1.0 and 0 < meta["guidance"]["beta"] < 0.2
    assert meta["license"] == "generator: cc0-1.0" and "cc0-1.0" in (guided / "README.md").read_text()
    assert not infodistill.artefact.changed_files(guided)
    pixels = made.space.to_pixels(made.images)
    assert float(pixels.min()) > -1e-5 and float(pixels.max()) < 1 + 1e-5


def test_guidance_is_recorded_image_by_image(guided: Path) -> None:
    record = read((guided / "guidance.safetensors").read_bytes())
    steps = len(record["sigmas"])
    assert torch.equal(record["labels"], infodistill.load(guided).y)
    assert steps == STEPS - 1 and (record["sigmas"].diff() < 0).all()  # the first lies outside the window
    assert {"pushes.all", "pushes.prototype", "pushes.contextual", "values.prototype"} <= set(record)
    for name, value in record.items():
        if name not in ("sigmas", "labels"):
            assert value.shape == (steps, 20) and value.isfinite().all()
    per_class = record["pushes.prototype"].square().unflatten(1, (10, 2)).mean(2).sqrt()
    assert torch.allclose(per_class, (record["sigmas"][:, None] ** 0).float() / unit(record["sigmas"]), rtol=1e-3)
    page = (guided / "report.html").read_text()
    assert "<h2>Sampling</h2>" in page and page.count("over noise levels") >= 4


def unit(sigmas: torch.Tensor) -> torch.Tensor:
    """A normalised push of 1 changes the predicted noise by sigma / sqrt(1 + sigma^2)."""
    return ((1 + sigmas**2).sqrt() / sigmas)[:, None].float()


def test_no_pushes_is_plain_sampling_to_the_bit(model: Path, plain: Path, tmp_path: Path) -> None:
    still = sampled(model, tmp_path / "still", "--method", "igds", "--ipc", "2", "--scale", "0", "--beta", "0")
    assert torch.equal(infodistill.load(plain).images, infodistill.load(still).images)
    assert not (plain / "guidance.safetensors").exists() and (plain / "trajectory.png").exists()


@pytest.mark.parametrize(
    "args",
    [
        ("--method", "mgd3", "--scale", "0.3"),
        ("--method", "igds", "--prototype", "p3-coupled", "--contextual", "c7"),
        ("--method", "igds", "--sampler", "dpm-solver", "--set", "window=[0.1, 0.6]", "--set", "bandwidth=2.0"),
        ("--method", "minimax", "--set", "epochs=1", "--set", "per_class=8"),
    ],
    ids=["mgd3", "coupled", "settings", "minimax"],
)
def test_every_method_changes_the_images(model: Path, plain: Path, tmp_path: Path, args: tuple[str, ...]) -> None:
    made, without = infodistill.load(sampled(model, tmp_path / "run", "--ipc", "2", *args)), infodistill.load(plain)
    assert made.images.shape == without.images.shape and not torch.equal(made.images, without.images)
    assert made.meta["method"] == args[1]


def test_evaluate_and_report_need_no_flags(guided: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from infodistill.evaluation.protocol import EvaluationProtocol

    stored = EvaluationProtocol.from_dict
    monkeypatch.setattr(EvaluationProtocol, "from_dict", lambda told: replace(stored(told), epochs=1))
    before = (guided / "guidance.safetensors").read_bytes()
    told = json.loads(call("evaluate", guided, "--seeds", "2", "--json"))
    assert told["protocol"] == "quick" and told["ipc"] == 2 and "random" in told["nets"]["convnet2-w32"]
    call("report", guided, "--out", tmp_path / "page.html")
    assert "Sampling" in (tmp_path / "page.html").read_text()
    assert (guided / "guidance.safetensors").read_bytes() == before
    assert not infodistill.artefact.changed_files(guided)


def test_larger_images_are_evaluated_as_imagenet_subsets() -> None:
    from infodistill.diffusion.running.making import default_net, protocol_of
    from infodistill.diffusion.running.request import SampleRequest
    from tiny_data import tiny_real

    small, large = tiny_real(side=32), tiny_real(side=64)
    assert protocol_of(SampleRequest("x", ipc=1), small).name == "quick"
    assert protocol_of(SampleRequest("x", ipc=1), large).epochs == 3000
    assert protocol_of(SampleRequest("x", ipc=1, protocol="dsa"), large).name == "dsa"
    assert [default_net((3, side, side)) for side in (8, 32, 48, 64, 224)] == [
        "convnet2-w32", "convnet3-w64", "convnet5", "convnet6", "convnet6",
    ]  # fmt: skip


def test_without_a_generator_that_of_the_data_is_found_or_trained(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFODISTILL_CACHE", str(tmp_path / "cache"))
    trained: list[Path] = []

    def train(real: RealData, folder: Path, *args: object, **settings: object) -> Path:
        trained.append(folder)
        tiny_model(folder)
        (folder / "generator.json").write_text('{"status": "done"}')
        return folder

    monkeypatch.setattr(supplying, "train_generator", train)
    asked = ("sample", "--data", "digits", "--steps", str(STEPS), "--ipc", "1")
    call(*asked, "--out", tmp_path / "first")
    call(*asked, "--out", tmp_path / "second")
    sampled(model, tmp_path / "named", "--ipc", "1")
    assert len(trained) == 1 and trained[0].parent == tmp_path / "cache" / "generators"
    images = [infodistill.load(tmp_path / name).images for name in ("first", "second", "named")]
    assert torch.equal(images[0], images[1]) and torch.equal(images[0], images[2])


def test_a_stopped_training_of_the_generator_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the settings it was begun with, whatever they were."""
    monkeypatch.setenv("INFODISTILL_CACHE", str(tmp_path / "cache"))
    tiny = {"steps": 12, "batch": 8, "network.width": 16, "network.depth": 1, "validate_every": 4}
    real = infodistill.load_data("digits")
    plan = generator_plan.planned(real, settings=tiny)
    folder = cached_folder(real, plan, tmp_path / "cache")

    def stop(*told: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Training(real, plan, folder, stop).run()
    asked = ("sample", "--data", "digits", "--steps", "3", "--ipc", "1", "--out", tmp_path / "out")
    assert "the rest of a generator of digits" in call(*asked, "--dry-run")
    call(*asked, "--method", "dit")
    assert stored_plan(folder) == plan and finished(folder)
    assert infodistill.load(tmp_path / "out").meta["generator"]["trained"]["denoiser"]["step"] == 12


def test_own_generators_are_sampled_without_and_foreign_ones_with_guidance_of_the_papers(model: Path) -> None:
    real = infodistill.load_data("digits")
    opened = open_model(str(model), real.class_names)
    ours = replace(opened, facts={"origin": "infodistill generator train"})
    foreign = [planned(SampleRequest("digits", cfg=cfg), opened).weight for cfg in (None, 2.0)]
    assert foreign == [4.0, 2.0] and planned(SampleRequest("digits"), ours).weight == 1.0
    assert planned(SampleRequest("digits", ipc=50), ours).together == 2
    assert planned(SampleRequest("digits", prototype="p3-coupled"), ours).together is None


def test_a_model_for_images_of_another_size_is_refused_before_anything_is_sampled(model: Path, tmp_path: Path) -> None:
    from PIL import Image

    for label in infodistill.load_data("digits").class_names:
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(4):
            Image.new("L", (10, 10), 20 * i).save(tmp_path / "data" / label / f"{i}.png")
    told = call("sample", "--data", tmp_path / "data", "--generator", model, "--out", tmp_path / "out", code=2)
    assert "the model denoises (1, 8, 8), images (1, 10, 10)" in " ".join(told.split())


def test_dry_run_says_what_would_happen_and_writes_nothing(model: Path, tmp_path: Path) -> None:
    args = ("sample", "--data", "digits", "--ipc", "20", "--dry-run", "--json", "--out", tmp_path / "out")
    told = json.loads(call(*args, "--generator", model))
    assert (told["images"], told["groups"], told["trains"]) == (200, 2, []) and told["seconds"] > 0
    untrained = json.loads(call(*args, "--method", "minimax"))
    lines = json.loads(call(*args, "--generator", model, "--prototype", "p1", "--contextual", "c1-own"))["trains"]
    looked = ["a noise-aware classifier", "the teachers of the data's DM recipe"]
    assert [line.split(",")[0] for line in lines] == looked
    tried = json.loads(call(*args, "--generator", model, "--calibrate", "--budget", "4"))
    assert tried["trains"] == ["12 networks at most, on the sets of 4 settings (--calibrate)"]
    assert untrained["seconds"] is None and "generator of digits" in untrained["trains"][0]
    assert not (tmp_path / "out").exists()
