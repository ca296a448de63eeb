"""A generator of one's own data: autoencoder where latents are wanted, denoiser, and the folder they end up in.

generator.json              what is trained on which data, how far it is, how it went
*.checkpoint                the trainings, saved every minute; --resume continues them
samples/step-*.png          what the averaged weights draw, after every validation
loss.png                    training and validation losses of the denoiser
the model                   weights and facts, see `store.save_model`; written last
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from infodistill.diffusion.fitting.autoencoder_training import (
    fitted_codec,
    reconstruction_psnr,
    train_autoencoder,
    trained_autoencoder,
)
from infodistill.diffusion.fitting.denoiser_training import Surroundings, train_denoiser
from infodistill.diffusion.fitting.generative_fit import History, Saving
from infodistill.diffusion.fitting.generator_folder import RECORD, contents, short, stored_plan
from infodistill.diffusion.fitting.generator_plan import GeneratorPlan, planned
from infodistill.diffusion.fitting.supply import held_out, supplied
from infodistill.diffusion.model import Codec, DiffusionModel, Pixels
from infodistill.diffusion.models.adapters import adapted
from infodistill.diffusion.models.architecture import weights_digest
from infodistill.diffusion.models.autoencoder import LatentCodec, build_autoencoder
from infodistill.diffusion.models.networks import build
from infodistill.diffusion.models.predictions import PREDICTIONS
from infodistill.diffusion.models.store import save_model
from infodistill.diffusion.sampling import Plan, distilled, sample
from infodistill.progress import Tell
from infodistill.real import RealData
from infodistill.reporting.charts import curves
from infodistill.reporting.drawing import png
from infodistill.reporting.pictures import grid_png
from infodistill.seeding import stream
from infodistill.serialise import pretty_json, write_bytes

SHOWN_CLASSES, SHOWN_IMAGES, SHOWN_STEPS = 10, 6, 20


@dataclass(frozen=True)
class Training:
    """One training of a generator in its folder."""

    real: RealData
    plan: GeneratorPlan
    folder: Path
    tell: Tell | None = None
    save_every: float = 60.0

    def run(self) -> Path:
        """Train, or go on training, and write the model; the folder."""
        self.check()
        module, vae = self._networks()  # before anything is written: a network that cannot be built leaves no folder
        self.record("running")
        train, held = held_out(self.real, self.plan.denoising.seed)
        codec, told = self._codec(vae, train, held)
        model = self.model(module, codec)
        history = train_denoiser(
            module, supplied(train, codec), supplied(held, codec), self.plan.denoising, self.real.num_classes,
            self._around("denoiser", model, _of_codec(codec)),
        )  # fmt: skip
        told = {**told, "denoiser": asdict(history)}
        facts = {
            "origin": "infodistill generator train",
            "licence": "as the data",
            **self._facts(),
            "trained": short(told),
        }
        save_model(replace(model, facts={**model.facts, **facts}), self.folder)
        self.record("done", told)
        return self.folder

    def model(self, module: nn.Module, codec: Codec) -> DiffusionModel:
        """What is being trained, as something to sample from; it follows the weights of `module`."""
        how = self.plan.denoising
        names, predicts = self.real.class_names, PREDICTIONS[how.prediction]
        return adapted(module, how.alphas_bar, names, predicts=predicts, codec=codec)

    def check(self) -> None:
        """Refuse a folder that holds something else.

        Raises:
            ValueError: it holds a generator of other data or of another plan.
        """
        other = stored_plan(self.folder)
        if other is None:
            return
        data = contents(self.folder)["data"]
        if data["fingerprint"] != self.real.fingerprint:
            raise ValueError(f"{self.folder} holds a generator of other data ({data['name']})")
        if _lasting(other) != _lasting(self.plan):
            raise ValueError(
                f"{self.folder} holds a generator with other settings: resume with these, or choose another"
            )

    def record(self, status: str, told: Mapping[str, Any] | None = None) -> None:
        """Write what is trained, where, and how it went."""
        where = {"device": str(self.real.device)}
        write_bytes(
            self.folder / RECORD,
            pretty_json(
                {"status": status, "plan": self.plan.as_dict(), **self._facts(), **where, "training": told or {}}
            ),
        )

    def _facts(self) -> dict[str, Any]:
        real = self.real
        data = {"name": real.name, "fingerprint": real.fingerprint, "images": len(real), "shape": list(real.shape)}
        return {"data": {**data, "class_names": list(real.class_names)}}

    def _networks(self) -> tuple[nn.Module, nn.Module | None]:
        """The denoiser, and the autoencoder where there is one, before their trainings."""
        plan, device, vae = self.plan, self.real.device, None
        module = build(plan.network, stream(plan.denoising.seed, "generator.network")).to(device)
        if plan.autoencoder is not None and plan.encoding is not None:
            vae = build_autoencoder(plan.autoencoder, stream(plan.encoding.seed, "generator.autoencoder")).to(device)
        return module, vae

    def _codec(self, vae: nn.Module | None, train: RealData, held: RealData) -> tuple[Codec, dict[str, Any]]:
        """The codec, trained first where there is one to train, and how that went.

        It is trained no further, whatever the totals, once a denoiser has begun to learn its latents.
        """
        if vae is None or self.plan.encoding is None:
            return Pixels(), {}
        pixels, judged, how = supplied(train, Pixels()), supplied(held, Pixels()), self.plan.encoding
        around = self._around("autoencoder")
        if (self.folder / "denoiser.checkpoint").exists() and around.saving is not None:
            history = trained_autoencoder(vae, how, around.saving)
        else:
            history = train_autoencoder(vae, pixels, judged, how, around)
        codec: LatentCodec = fitted_codec(vae.requires_grad_(False), pixels, self.real.shape)
        told = {"psnr": reconstruction_psnr(codec, judged), "scale": codec.scale, "shift": codec.shift}
        return codec, {"autoencoder": {**asdict(history), **told}}

    def _around(
        self, what: str, model: DiffusionModel | None = None, facts: Mapping[str, Any] | None = None
    ) -> Surroundings:
        saving = Saving(self.folder / f"{what}.checkpoint", {**self._facts(), **(facts or {})}, self.save_every)
        return Surroundings(saving, self.tell, None if model is None else partial(self._watch, model), what)

    def _watch(self, model: DiffusionModel, history: History) -> None:
        """Draw samples and losses."""
        plan = Plan(SHOWN_IMAGES, steps=SHOWN_STEPS, limit=1.5 if model.space is not None else None)
        shown = list(sample(model, plan, classes=range(min(SHOWN_CLASSES, model.num_classes))))
        grid = grid_png(distilled(shown, self.real, {}))
        write_bytes(self.folder / "samples" / f"step-{history.step:06d}.png", grid)
        told = {"training": history.losses, "validation": history.validations}
        lines = {name: ([p[0] for p in points], [p[1] for p in points]) for name, points in told.items() if points}
        write_bytes(self.folder / "loss.png", png(curves(lines, "mean squared error")))


def train_generator(
    real: RealData,
    folder: Path,
    plan: GeneratorPlan | None = None,
    *,
    device: torch.device | str = "cpu",
    tell: Tell | None = None,
) -> Path:
    """Train a generator of `real` in `folder` (or continue the one there) and return the folder.

    `plan` None takes the defaults for the data. `store.load_model` reads the folder.

    Raises:
        ValueError: the folder holds something else, or no network fits the images.
        FloatingPointError: the training diverged; what was saved before is kept.
    """
    return Training(real.to(device), plan or planned(real), folder, tell).run()


def _of_codec(codec: Codec) -> dict[str, Any]:
    """What says which latents a denoiser was trained on; nothing for pixels."""
    return {"autoencoder": weights_digest([codec.vae])} if isinstance(codec, LatentCodec) else {}


def _lasting(plan: GeneratorPlan) -> dict[str, Any]:
    """The plan without the totals, which may be raised when a training continues."""
    told = plan.as_dict()
    for part in ("denoising", "encoding"):
        if told[part] is not None:
            told[part]["fit"] = {n: v for n, v in told[part]["fit"].items() if n not in ("steps", "minutes")}
    return told
