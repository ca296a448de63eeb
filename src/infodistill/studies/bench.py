"""The bench a study's contenders work at: data split in three, the trained networks, what is read from real images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from infodistill.compute import Policy
from infodistill.data import load_data
from infodistill.diffusion.encoded import Encoded, encode
from infodistill.diffusion.features import Feature, Pooled
from infodistill.diffusion.model import DiffusionModel
from infodistill.distilled import Distilled
from infodistill.evaluation.evaluating import evaluate
from infodistill.evaluation.protocols import protocol_for
from infodistill.information.bandwidths import bandwidth_from_pairs, median_pair_distance, tightest_bandwidth
from infodistill.information.classifier_bounds import NoisyClassifier, Views
from infodistill.information.mixtures import kolchinsky_tracey
from infodistill.information.set_decoder import set_decoder_information
from infodistill.nets import by_name
from infodistill.progress import Tell
from infodistill.real import RealData
from infodistill.studies.study import Job, Study
from infodistill.studies.training import teachers, trained_noisy_classifier

SPLIT = 0
"""Seed of the split: one for all studies."""


PER_CLASS = 500
"""Training images of a class that a bandwidth is read from, at most."""


def _nobody(*args: Any, **more: Any) -> None:
    del args, more


class Bench:
    """Everything contenders share. What is costly is made when it is first asked for.

    Args:
        study: which.
        folder: of the study; models and networks lie in it.
        data: where the data is, if not under the study's name for it.
        policy: of evaluations; its device is that of the generator too.
        tell: progress.
    """

    def __init__(
        self, study: Study, folder: Path, *, data: str | None = None, policy: Policy | None = None,
        tell: Tell | None = None,
    ) -> None:  # fmt: skip
        self.study, self.folder = study, folder
        self.policy, self.tell = policy or Policy(), tell or _nobody
        self.whole = load_data(data or study.data, **study.reading)
        if self.whole.test is None:
            raise ValueError(f"the data '{self.whole.name}' has no test part to judge on")
        self.train, self.held = self.whole.split(study.held, SPLIT)
        self.choosing = self.train.replace(test=self.held)

    @cached_property
    def model(self) -> DiffusionModel:
        return self.study.generator(self)

    @cached_property
    def teachers(self) -> Views:
        """Classifiers of clean images; their mean is what P2 asks."""
        return tuple(teachers(self).views)

    @cached_property
    def noisy_classifier(self) -> NoisyClassifier:
        """q(y | x, sigma), for P1."""
        return trained_noisy_classifier(self)

    @cached_property
    def encoded(self) -> Encoded:
        """The training images as they are denoised; the held-out ones are never shown to a guide."""
        return encode(self.model, self.train)

    @cached_property
    def feature(self) -> Feature:
        """What distances are measured in, of what is denoised."""
        return Pooled()

    @cached_property
    def unit(self) -> float:
        """The median squared distance of two training images of a class."""
        return median_pair_distance(self.feature(self.encoded.x), self.encoded.y)

    @cached_property
    def known_features(self) -> tuple[Tensor, Tensor]:
        """(M, d) features and classes of training images, at most `PER_CLASS` of a class: they choose bandwidths."""
        known = self.encoded.minibatch(PER_CLASS)(0.0)
        return self.feature(known.x), known.y

    @cached_property
    def held_features(self) -> tuple[Tensor, Tensor]:
        """(M, d) features and classes of the held-out images."""
        held = encode(self.model, self.held)
        return self.feature(held.x), held.y

    def judged(self, distilled: Distilled, job: Job) -> list[float]:
        """Accuracies of fresh networks trained on the set: on held-out training images, or on the test images."""
        real: RealData = self.choosing if job.phase == "validation" else self.train
        result = evaluate(
            distilled,
            real,
            {self.study.net: by_name(self.study.net)},
            protocol=protocol_for(self.study.protocol, self.train.name, ipc=job.ipc, classes=self.train.num_classes),
            seeds=job.net_seeds,
            random_subsets=1,
            policy=self.policy,
            cache=self.folder / "references",
        )
        return list(result.nets[self.study.net]["distilled"].values)

    @torch.no_grad()
    def measured(self, distilled: Distilled) -> Mapping[str, float]:
        """What a set says in nats, beside its accuracy.

        `prototype`: P3's bound on I(X;Y) of held-out images with this set as decoder, at the bandwidth that
        is tightest on training images; `contextual`: C2's bound on how well the images of a class are told apart, the
        mean over classes; `distance`: the median squared distance of two images of a class in units of that of real
        ones. The last two need two.
        """
        pixels = distilled.space.to_pixels(distilled.images).clamp(0, 1).to(self.model.device)
        f, y = self.feature(self.model.codec.encode(pixels)), distilled.y.to(self.model.device)
        real_f, real_y = self.held_features
        ipc, classes = distilled.ipc, distilled.num_classes
        h, _ = tightest_bandwidth(*self.known_features, f, y, classes=classes)
        found = {"prototype": float(set_decoder_information(real_f, real_y, f, y, bandwidth=h, classes=classes))}
        if ipc > 1:
            sets = f[y.argsort(stable=True)].unflatten(0, (classes, ipc))
            found["contextual"] = float(kolchinsky_tracey(sets, bandwidth_from_pairs(self.unit, ipc)).mean())
            found["distance"] = median_pair_distance(f, y) / self.unit
        return found
