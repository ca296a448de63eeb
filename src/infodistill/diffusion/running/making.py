"""What sampling methods are made from, and what they come to: the model, the real images, the networks some need."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from infodistill import nets, recipe
from infodistill.building import supplies
from infodistill.compute import Policy
from infodistill.diffusion.encoded import Encoded, encode
from infodistill.diffusion.fitting.noisy_classifier import noise_aware_classifier
from infodistill.diffusion.fitting.noisy_network import NoiseAwareClassifier
from infodistill.diffusion.guidance import Watched
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.precision import lowered
from infodistill.diffusion.running.calibration import Calibration, Candidates, calibrate, held_out_accuracy, parted
from infodistill.diffusion.running.request import SampleRequest
from infodistill.diffusion.running.trials import Cell
from infodistill.diffusion.sampling import Plan, Steer, plain
from infodistill.evaluation.protocols import EvaluationProtocol, protocol_for
from infodistill.progress import Tell
from infodistill.real import RealData
from infodistill.sources.teachers import Teachers

NETS = 3
"""Networks that judge a setting in a calibration."""

SMALL_SIDE = 32
"""Images up to this side are evaluated by the protocol `quick`, larger ones by `imagenet-hard`."""

Watch = Callable[[Watched], None]


@dataclass(frozen=True)
class Making:
    """What methods are made from."""

    request: SampleRequest
    model: DiffusionModel
    real: RealData
    plan: Plan
    policy: Policy
    folder: Path
    cache: Path
    tell: Tell | None = None
    watch: Watch | None = None

    @cached_property
    def encoded(self) -> Encoded:
        """The real images as they are denoised."""
        return encode(self.model, self.real, self.cache)

    @cached_property
    def teachers(self) -> Teachers:
        """Classifiers of clean images, those that the data's DM recipe names; trained where they are not there."""
        found = recipe.parse(recipe.find(self.real.name.lower(), "dm")[1])
        made: dict[str, Any] = {"seed": self.request.seed, "policy": self.policy, "cache": self.cache}
        return supplies.teachers_for(found, self.real, **made, progress=self.tell)

    def noisy_classifier(self) -> NoiseAwareClassifier:
        """q(y | x, sigma) of what is denoised; trained where it is not there."""
        return noise_aware_classifier(self.model, self.real, cache=self.cache, tell=self.tell)

    @cached_property
    def rest(self) -> Making:
        """The same of the training images that calibration does not hold out: what its classifiers may have seen."""
        return replace(self, real=parted(self.real, self.plan.seed)[0])

    def calibrated(self, candidates: Candidates) -> Calibration:
        """The settings of a method tried on a held-out part, as far as the budget goes; kept in the run's folder.

        Sampled in the precision of the run, so what is chosen is chosen for what will be sampled.
        """
        request, shape = self.request, self.real.shape
        protocol = protocol_of(request, self.real)
        judge = held_out_accuracy(
            nets.by_name(default_net(shape)), protocol, nets=NETS, policy=self.policy, cache=self.cache
        )
        tried = thinned(candidates, request.budget)
        facts = {"net": default_net(shape), "nets": NETS, "protocol": protocol.as_dict()}
        facts |= {"precision": self.policy.precision, "device": self.policy.device}
        record, count = self.folder / "calibration.json", len(tried.settings)
        done = itertools.count(1)

        def tell(cell: Cell) -> None:
            if self.tell is not None:
                self.tell("calibrate", next(done), count, f"{dict(cell.setting)}: {100 * cell.mean:.1f} %")

        how: dict[str, Any] = {"budget": request.budget, "record": record, "facts": facts, "cache": self.cache}
        return calibrate(lowered(self.model, self.policy), self.real, self.plan, tried, judge, **how, tell=tell)


def _nothing() -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Steered:
    """A method, ready to sample.

    Attributes:
        model: what is sampled.
        plan: how, where the method has a say in it.
        steer: between the model's denoiser and the sampler.
        facts: the numbers in use, JSON-able.
        couples: whether all classes have to be sampled together.
    """

    model: DiffusionModel
    plan: Plan
    steer: Steer = plain
    facts: Mapping[str, Any] = field(default_factory=_nothing)
    couples: bool = False


def default_net(shape: tuple[int, int, int]) -> str:
    """The network a sampled set is evaluated by unless another is named: the small ones up to 32 px, else ConvNet-6.

    Images too small for six poolings get as many as they allow.
    """
    side = min(shape[1:])
    return supplies.net_name("auto", shape) if max(shape[1:]) <= 32 else f"convnet{min(6, side.bit_length() - 1)}"


def default_protocol(shape: tuple[int, int, int]) -> str:
    """How a set of such images is evaluated unless a protocol is named."""
    return "quick" if max(shape[1:]) <= SMALL_SIDE else "imagenet-hard"


def protocol_of(request: SampleRequest, real: RealData) -> EvaluationProtocol:
    """The protocol of the artefact: as asked, else by the size of the images."""
    name = request.protocol or default_protocol(real.shape)
    return protocol_for(name, real.name, ipc=request.ipc, classes=real.num_classes)


def thinned(candidates: Candidates, budget: int) -> Candidates:
    """The first `budget` of the settings: they come in the order of what is worth trying, see `candidates`.

    Raises:
        ValueError: a budget below 1.
    """
    if budget < 1:
        raise ValueError(f"a calibration tries at least 1 setting, got a budget of {budget}")
    return replace(candidates, settings=candidates.settings[:budget])
