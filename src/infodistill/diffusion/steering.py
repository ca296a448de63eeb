"""From the name of a sampling method to what steers: the table behind `infodistill sample --method`.

Every entry makes, from the model and the real images, the model to sample (a fine-tuned copy for `minimax`), the
`Steer` between model and sampler, and the numbers in use. `--set key=value` reaches the keywords of the method's own
function or record, whose names and defaults are in its file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from infodistill import nets, recipe, supplies
from infodistill.compute import Policy
from infodistill.diffusion.added import added
from infodistill.diffusion.encoded import Encoded, encode
from infodistill.diffusion.estimators import CONTEXTUALS, PROTOTYPES, Tightest
from infodistill.diffusion.features import Pooled
from infodistill.diffusion.generative_fit import Saving
from infodistill.diffusion.guidance import Watched
from infodistill.diffusion.igd import IGD, igd
from infodistill.diffusion.igds import IGDS, ROUTES, RULES, Fixed, igds
from infodistill.diffusion.influence import SURROGATE, influence_of, surrogate_store
from infodistill.diffusion.mgd3 import mgd3
from infodistill.diffusion.minimax import Minimax, minimax
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.request import SampleRequest
from infodistill.diffusion.sampling import Plan, Steer, plain
from infodistill.diffusion.supply import supplied
from infodistill.progress import Tell
from infodistill.real import RealData
from infodistill.sources.teachers import Teachers

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

    def given(self, *known: str) -> dict[str, Any]:
        """The settings of `--set`.

        Raises:
            ValueError: one the method does not have.
        """
        if unknown := [name for name in self.request.set if name not in known]:
            has = ", ".join(known) or "none"
            raise ValueError(f"the method {self.request.method} has no setting '{unknown[0]}', it has {has}")
        return dict(self.request.set)


def _nothing() -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Steered:
    """A method, ready to sample.

    Attributes:
        model: what is sampled.
        steer: between the model's denoiser and the sampler.
        facts: the numbers in use, JSON-able.
        couples: whether all classes have to be sampled together.
    """

    model: DiffusionModel
    steer: Steer = plain
    facts: Mapping[str, Any] = field(default_factory=_nothing)
    couples: bool = False


def plainly(making: Making) -> Steered:
    """`dit`: no guidance, or by the added terms alone."""
    making.given()
    if not making.request.add:
        return Steered(making.model)
    alone = replace(making.request, method="igds", prototype="none", contextual="none", set={})
    return informed(replace(making, request=alone))


def informed(making: Making) -> Steered:
    """`igds`: the two bounds and whatever is added."""
    guide = igds(
        making.model,
        making.encoded,
        making.request.ipc,
        settings=igds_settings(making),
        seed=making.request.seed,
        watch=making.watch,
        extra=added(making.request, making.model, making.real.space, lambda: making.teachers),
    )
    return Steered(making.model, guide, guide.facts, guide.couples)


def drawn_to_modes(making: Making) -> Steered:
    """`mgd3`: pulled to k-means centres; `--scale` is the pull."""
    request, set_ = making.request, making.given("pull", "until", "n_init")
    if request.scale is not None:
        set_["pull"] = request.scale
    how: dict[str, Any] = {"steps": request.steps, "seed": request.seed, **set_}
    steer = mgd3(making.model, making.encoded, request.ipc, **how, watch=making.watch)
    return Steered(making.model, steer, how)


def fine_tuned(making: Making) -> Steered:
    """`minimax`: a copy of the model, trained on; then plain sampling."""
    told: dict[str, Any] = {"seed": making.request.seed, **making.given(*(entry.name for entry in fields(Minimax)))}
    how = Minimax(**told)
    saving = Saving(making.folder / "minimax.checkpoint", {"data": making.real.fingerprint})
    supply = supplied(making.real, making.model.codec)
    model = minimax(making.model, supply, how, saving=saving, tell=making.tell)
    return Steered(model, plain, dict(model.facts.get("minimax", {})))


def influenced(making: Making) -> Steered:
    """`igd`: by what a classifier's training says; `--scale` is k."""
    request, own = making.request, ("net", "epochs", *(entry.name for entry in fields(IGD) if entry.name != "steps"))
    set_ = making.given(*own)
    name = str(set_.pop("net", None) or default_net(making.real.shape))
    fit = replace(SURROGATE, epochs=int(set_.pop("epochs", SURROGATE.epochs)))
    if request.scale is not None:
        set_["k"] = request.scale
    if "window" in set_:
        set_["window"] = tuple(set_["window"])
    how = IGD(**set_, steps=request.steps)
    trained: dict[str, Any] = {"seed": request.seed, "policy": making.policy}
    store = surrogate_store(making.real, nets.by_name(name), making.cache, fit=fit, **trained, progress=making.tell)
    influence = influence_of(store, making.real, **trained)
    steer = igd(making.model, influence, request.ipc, how, most=request.most, watch=making.watch)
    facts = {"net": name, "epochs": list(influence.epochs), "k": how.k, "gamma": how.gamma, "window": list(how.window)}
    return Steered(making.model, steer, facts)


METHODS: Mapping[str, Callable[[Making], Steered]] = {
    "dit": plainly,
    "igds": informed,
    "mgd3": drawn_to_modes,
    "minimax": fine_tuned,
    "igd": influenced,
}


def default_net(shape: tuple[int, int, int]) -> str:
    """The network a sampled set is evaluated by unless another is named: the small ones up to 32 px, else ConvNet-6.

    Images too small for six poolings get as many as they allow.
    """
    side = min(shape[1:])
    return supplies.net_name("auto", shape) if max(shape[1:]) <= 32 else f"convnet{min(6, side.bit_length() - 1)}"


def igds_settings(making: Making) -> IGDS:
    """The settings that the request means; names become functions.

    Raises:
        ValueError: a name nobody knows.
    """
    request = making.request
    told = making.given("bandwidth", "side", "rule", "route", "window", "clip", "per_class")
    how = IGDS(
        prototype=_known("prototype", request.prototype or "p3", PROTOTYPES),
        contextual=_known("contextual", request.contextual or "c2", CONTEXTUALS),
        scale=None if request.scale is None else Fixed(request.scale),
        beta=None if request.beta is None else Fixed(request.beta),
        rule=_known("rule", told.get("rule", "normalised"), RULES),
        route=_known("route", told.get("route", "surrogate"), ROUTES),
        feature=Pooled(int(told.get("side", 8))),
        bandwidth=Tightest(told.get("bandwidth")),
    )
    plainly_set = {name: told[name] for name in ("clip", "per_class") if name in told}
    if "window" in told:
        plainly_set["window"] = tuple(told["window"])
    if {request.prototype, request.contextual} & {"p2", "c1-own", "c1-real"}:
        plainly_set["teachers"] = making.teachers
    return replace(how, **plainly_set)


def _known(what: str, name: str, table: Mapping[str, Any]) -> Any:
    if name not in table:
        raise ValueError(f"unknown {what} '{name}', known: {', '.join(table)}")
    return table[name]
