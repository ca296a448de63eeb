"""Pipelines that cannot be used, each refused in one sentence: other models, weights missing, pickled or too many."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from infodistill.diffusion.models.pretrained import open_model
from pipelines import edit, save_dit

pytest.importorskip("diffusers")

NAMES = ("golf_ball", "Tinca Tinca", "horn")


@pytest.fixture(scope="module")
def dit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_dit(tmp_path_factory.mktemp("dit"))


@pytest.fixture
def copied(dit: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(dit, tmp_path / "copied"))


def _remove(folder: Path) -> None:
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").unlink()


def _pickle(folder: Path) -> None:
    _remove(folder)
    (folder / "transformer" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04.")


def _incomplete(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["decoder.conv_in.bias"]
    save_file(weights, path, metadata={"format": "pt"})


def _cut(folder: Path) -> None:
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _superfluous(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    save_file({**load_file(path), "proj_out_3.weight": torch.zeros(2)}, path, metadata={"format": "pt"})


def _sharded(*names: str, told: str | None = None) -> Any:
    """The weights in files of these names, the first with all of them, and an index of `told`."""

    def shard(folder: Path) -> None:
        part, stem = folder / "transformer", "diffusion_pytorch_model.safetensors"
        from safetensors.torch import load_file

        keys = list(load_file(part / stem))
        shutil.move(part / stem, part / names[0])
        content = {"metadata": {}, "weight_map": dict.fromkeys(keys, told or names[0])}
        (part / f"{stem}.index.json").write_text(json.dumps(content if told != "" else {}))

    return shard


def _index(**changed: Any) -> Any:
    return lambda folder: edit(folder / "model_index.json", **changed)


def _scheduler(**changed: Any) -> Any:
    return lambda folder: edit(folder / "scheduler" / "scheduler_config.json", **changed)


SPOILT: dict[str, tuple[Any, str]] = {
    "no weights": (_remove, r"transformer/diffusion_pytorch_model\.safetensors is missing"),
    "pickles": (_pickle, r"only as a pickle \(diffusion_pytorch_model\.bin\), which is not read: convert it once"),
    "weights lacking": (_incomplete, r"lack 1 tensors, 'decoder\.conv_in\.bias'"),
    "weights cut": (_cut, r"cannot be read"),
    "weights too many": (_superfluous, r"hold 1 tensors of another network, 'proj_out_3\.weight'"),
    "an index of pickles": (_sharded("a.bin"), r"index\.json names 'a\.bin', wanted safetensors alone"),
    "an index outside": (_sharded("a.safetensors", told="../b.safetensors"), r"lacks transformer/\.\./b\.safetensors"),
    "an index of nothing": (_sharded("a.safetensors", told=""), r"index\.json of the model at .* lists no weights"),
    "no vae folder": (lambda folder: shutil.rmtree(folder / "vae"), r"lacks vae/config\.json"),
    "no index": (lambda folder: (folder / "model_index.json").unlink(), r"model_index\.json is missing"),
    "text": (_index(text_encoder=["transformers", "CLIPTextModel"]), r"conditioned on text \(it has a text_encoder\)"),
    "another network": (
        lambda folder: edit(folder / "transformer" / "config.json", _class_name="FluxTransformer2DModel"),
        r"DiTPipeline \(FluxTransformer2DModel\) is another kind of model",
    ),
    "another prediction": (_scheduler(prediction_type="flow_prediction"), r"predicts 'flow_prediction'"),
    "another scheduler": (_scheduler(_class_name="FlowMatchEulerDiscreteScheduler"), r"FlowMatchEulerDiscrete"),
    "no signal": (_scheduler(rescale_betas_zero_snr=True), r"with rescale_betas_zero_snr"),
    "no times": (_scheduler(num_train_timesteps=0), r"num_train_timesteps is 0, wanted a whole number from 1"),
    "another autoencoder": (lambda folder: edit(folder / "vae" / "config.json", _class_name="VQModel"), r"a VQModel"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_what_cannot_be_used_is_refused_in_one_sentence(copied: Path, case: str) -> None:
    spoil, told = SPOILT[case]
    spoil(copied)
    with pytest.raises(ValueError, match=told) as caught:
        open_model(str(copied), NAMES)
    assert "\n" not in str(caught.value)


def test_weights_in_several_files_are_read(copied: Path, dit: Path) -> None:
    _sharded("part-1-of-1.safetensors")(copied)
    x, sigma, y = torch.ones(3, 4, 4, 4), torch.full((3,), 1.0), torch.arange(3)
    assert torch.equal(*(open_model(str(folder), NAMES).denoise(x, sigma, y).x0 for folder in (copied, dit)))
