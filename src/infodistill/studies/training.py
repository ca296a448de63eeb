"""What a study of guided sampling trains before it samples: the generator, and the classifiers of P1 and P2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infodistill.diffusion.fitting.generator_plan import planned
from infodistill.diffusion.fitting.generators import train_generator
from infodistill.diffusion.fitting.noisy_classifier import noise_aware_classifier
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.models.store import load_model
from infodistill.information.classifier_bounds import NoisyClassifier
from infodistill.nets import by_name
from infodistill.sources.teachers import Teachers, train_teachers
from infodistill.training import Fit

if TYPE_CHECKING:
    from infodistill.studies.bench import Bench

TEACHERS = 3
SCHOOLING = Fit(60, 128, 0.01, 0.9, 5e-4)
"""How the classifiers of P2 are trained."""


def generator(bench: Bench) -> None:
    """Train the generator on the images the study says, up to 10 % of which stop it before it memorises."""
    asked = dict(bench.study.facts["generator"])
    real = {"training": bench.train, "all": bench.whole}[asked.pop("images")]
    plan = planned(real, kind=asked.pop("kind", None), latent=asked.pop("latent", None), settings=asked)
    train_generator(real, bench.folder / "generator", plan, device=bench.policy.device, tell=bench.tell)


def trained(bench: Bench) -> DiffusionModel:
    """The generator that `generator` left."""
    return load_model(bench.folder / "generator", bench.train.class_names)


def classifiers(bench: Bench) -> None:
    """Train the networks P2 looks through."""
    teachers(bench)


def teachers(bench: Bench) -> Teachers:
    """Those networks: of the study's architecture, trained on the training images, told on the held-out ones."""
    factory = by_name(bench.study.net)
    return train_teachers(
        bench.choosing, factory, count=TEACHERS, fit=SCHOOLING, policy=bench.policy, cache=bench.folder
    )


def noisy_classifier(bench: Bench) -> None:
    """Train the noise-aware classifier of P1."""
    trained_noisy_classifier(bench)


def trained_noisy_classifier(bench: Bench) -> NoisyClassifier:
    """That classifier."""
    return noise_aware_classifier(bench.model, bench.train, cache=bench.folder, tell=bench.tell)
