"""Where the model of a sampling run comes from: a folder, the hub, or a generator of the data, found or trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from infodistill.compute import Policy
from infodistill.diffusion.fitting.generator_folder import cached_folder, find_generator, stored_plan
from infodistill.diffusion.fitting.generator_plan import GeneratorPlan, planned
from infodistill.diffusion.fitting.generators import train_generator
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.models.architecture import weights_digest
from infodistill.diffusion.models.autoencoder import LatentCodec
from infodistill.diffusion.models.pretrained import open_model
from infodistill.diffusion.running.request import SampleRequest
from infodistill.progress import Tell
from infodistill.real import RealData

Say = Callable[[str], None]


def model_for(
    request: SampleRequest, real: RealData, policy: Policy, cache: Path, *, tell: Tell | None = None, say: Say = print
) -> DiffusionModel:
    """The model a request asks for, on the device of the policy and for images of the data's size.

    Raises:
        ValueError: nothing is there, it is another kind of model, or it is for other classes or another size.
    """
    where = request.generator or str(_own(real, policy, cache, tell=tell, say=say))
    model = open_model(where, real.class_names, revision=request.revision, class_ids=request.class_ids)
    told = ", ".join(f"{name} {model.facts[name]}" for name in ("architecture", "licence") if model.facts.get(name))
    say(f"generator: {where}{f' ({told})' if told else ''}")
    check_size(model, real)
    return placed(model, policy.device)


def placed(model: DiffusionModel, device: torch.device | str) -> DiffusionModel:
    """The model with its networks on a device, moved where they are."""
    for module in networks_of(model):
        module.to(device)
    return model


def networks_of(model: DiffusionModel) -> list[nn.Module]:
    """The denoiser's network, and the autoencoder's where there is one."""
    return [model.module, *([model.codec.vae] if isinstance(model.codec, LatentCodec) else [])]


def check_size(model: DiffusionModel, real: RealData) -> None:
    """Refuse data of another size than the model samples, before anything is sampled.

    Raises:
        ValueError: what the codec makes of one of its images is not what is denoised.
    """
    with torch.no_grad():
        encoded = tuple(model.codec.encode(torch.zeros(1, *real.shape)).shape[1:])
    if encoded != tuple(model.shape):
        raise ValueError(
            f"the model denoises {tuple(model.shape)}, images {tuple(real.shape)} of '{real.name}' are {encoded} to "
            "it: read them at another size (--size)"
        )


def digest_of(model: DiffusionModel) -> str:
    """A digest of every weight of the model."""
    return weights_digest(networks_of(model))


def _own(real: RealData, policy: Policy, cache: Path, *, tell: Tell | None, say: Say) -> Path:
    """The generator of this data in the cache, trained first where there is none."""
    found = find_generator(real, cache)
    if found is not None:
        return found
    folder, plan, begun = to_train(real, cache)
    how = f"going on with the training of one that was stopped ({folder})" if begun else f"training one ({plan.name})"
    say(f"no generator of {real.name} is cached: {how}; `infodistill generator train` says how")
    return train_generator(real, folder, plan, device=policy.device, tell=tell)


def to_train(real: RealData, cache: Path) -> tuple[Path, GeneratorPlan, bool]:
    """The generator to train where none is cached: its folder, its plan, and whether that was begun already."""
    usual = planned(real)
    folder = cached_folder(real, usual, cache)
    stored = stored_plan(folder)
    return folder, stored or usual, stored is not None
