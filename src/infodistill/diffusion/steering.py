"""From the name of a sampling method to what steers: the table behind `infodistill sample --method`.

Every entry makes, from the model and the real images, the model to sample (a fine-tuned copy for `minimax`), the
`Steer` between model and sampler, and the numbers in use. `--set key=value` reaches the keywords of the method's own
function or record, whose names and defaults are in its file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from infodistill import nets
from infodistill.diffusion.added import added
from infodistill.diffusion.estimators import CONTEXTUALS, PROTOTYPES
from infodistill.diffusion.features import Pooled
from infodistill.diffusion.fitting.generative_fit import Saving
from infodistill.diffusion.fitting.supply import supplied
from infodistill.diffusion.given import Tightest
from infodistill.diffusion.igd import IGD, igd
from infodistill.diffusion.igds import IGDS, ROUTES, RULES, Fixed, igds
from infodistill.diffusion.influence import SURROGATE, influence_of, surrogate_store
from infodistill.diffusion.mgd3 import mgd3
from infodistill.diffusion.minimax import Minimax, minimax
from infodistill.diffusion.running.candidates import igds_candidates, mgd3_candidates, plain_candidates, with_setting
from infodistill.diffusion.running.making import Making, Steered, default_net
from infodistill.diffusion.running.plain_values import check_values, whole
from infodistill.diffusion.running.request import SampleRequest
from infodistill.diffusion.sampling import plain

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "dit": (),
    "igds": ("bandwidth", "side", "rule", "route", "window", "clip", "per_class"),
    "mgd3": ("pull", "until", "n_init"),
    "minimax": tuple(entry.name for entry in fields(Minimax)),
    "igd": ("net", "epochs", *(entry.name for entry in fields(IGD) if entry.name != "steps")),
}
"""What `--set` may name, by method."""


def check_named(request: SampleRequest) -> None:
    """Find a mistaken `--set` before anything is read or trained.

    Raises:
        ValueError: a setting that the method does not have.
    """
    known = SETTINGS[request.method]
    if unknown := [name for name in request.set if name not in known]:
        has = ", ".join(known) or "none"
        raise ValueError(f"the method {request.method} has no setting '{unknown[0]}', it has {has}")


def plainly(making: Making) -> Steered:
    """`dit`: no guidance, or by the added terms alone."""
    if making.request.calibrate:
        return _plainly_calibrated(making)
    if not making.request.add:
        return Steered(making.model, making.plan)
    alone = replace(making.request, method="igds", prototype="none", contextual="none", set={})
    return informed(replace(making, request=alone))


def informed(making: Making) -> Steered:
    """`igds`: the two bounds and whatever is added."""
    settings, told = igds_settings(making), dict[str, Any]()
    if making.request.calibrate:
        found = making.calibrated(igds_candidates(making.request.ipc, igds_settings(making.rest)))
        settings = with_setting(settings, found.chosen.setting, making.request.ipc)
        told = {"calibration": found.as_dict()}
    guide = igds(
        making.model,
        making.encoded,
        making.request.ipc,
        settings=settings,
        seed=making.request.seed,
        watch=making.watch,
        extra=added(making.request, making.model, making.real.space, lambda: making.teachers),
    )
    return Steered(making.model, making.plan, guide, {**guide.facts, **told}, guide.couples)


def drawn_to_modes(making: Making) -> Steered:
    """`mgd3`: pulled to k-means centres; `--scale` is the pull."""
    request, set_ = making.request, dict(making.request.set)
    told: dict[str, Any] = {}
    if request.scale is not None:
        set_["pull"] = request.scale
    if request.calibrate:
        found = making.calibrated(mgd3_candidates(**set_))
        set_, told = {**set_, **found.chosen.setting}, {"calibration": found.as_dict()}
    how: dict[str, Any] = {"steps": request.steps, "seed": request.seed, **set_}
    steer = mgd3(making.model, making.encoded, request.ipc, **how, watch=making.watch)
    return Steered(making.model, making.plan, steer, {**how, **told})


def fine_tuned(making: Making) -> Steered:
    """`minimax`: a copy of the model, trained on; then plain sampling."""
    told: dict[str, Any] = {"seed": making.request.seed, **making.request.set}
    check_values(Minimax, told, "--set ")
    how = Minimax(**told)
    saving = Saving(making.folder / "minimax.checkpoint", {"data": making.real.fingerprint})
    supply = supplied(making.real, making.model.codec)
    model = minimax(making.model, supply, how, saving=saving, tell=making.tell)
    return Steered(model, making.plan, plain, dict(model.facts.get("minimax", {})))


def influenced(making: Making) -> Steered:
    """`igd`: by what a classifier's training says; `--scale` is k."""
    request, set_ = making.request, dict(making.request.set)
    name = str(set_.pop("net", None) or default_net(making.real.shape))
    fit = replace(SURROGATE, epochs=int(set_.pop("epochs", SURROGATE.epochs)))
    if request.scale is not None:
        set_["k"] = request.scale
    if "window" in set_:
        set_["window"] = tuple(set_["window"])
    check_values(IGD, set_, "--set ")
    how = IGD(**set_, steps=request.steps)
    trained: dict[str, Any] = {"seed": request.seed, "policy": making.policy}
    store = surrogate_store(making.real, nets.by_name(name), making.cache, fit=fit, **trained, progress=making.tell)
    influence = influence_of(store, making.real, **trained)
    steer = igd(making.model, influence, request.ipc, how, most=request.most, watch=making.watch)
    facts = {"net": name, "epochs": list(influence.epochs), "k": how.k, "gamma": how.gamma, "window": list(how.window)}
    return Steered(making.model, making.plan, steer, facts)


def _plainly_calibrated(making: Making) -> Steered:
    """Plain sampling at the weight of classifier-free guidance that did best."""
    if not making.model.null:
        raise ValueError("plain sampling of a model without a null class has nothing to calibrate")
    candidates = plain_candidates(making.plan.weight)
    found = making.calibrated(candidates)
    plan, steer = candidates.make(found.chosen.setting, making.model, making.encoded, making.plan)
    return Steered(making.model, plan, steer, {"calibration": found.as_dict()})


METHODS: Mapping[str, Callable[[Making], Steered]] = {
    "dit": plainly,
    "igds": informed,
    "mgd3": drawn_to_modes,
    "minimax": fine_tuned,
    "igd": influenced,
}


def igds_settings(making: Making) -> IGDS:
    """The settings that the request means; names become functions.

    Raises:
        ValueError: a name nobody knows.
    """
    request = making.request
    told = dict(making.request.set)
    _check_sizes(told)
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
    if request.prototype == "p1":
        plainly_set["noisy_classifier"] = making.noisy_classifier()
    return replace(how, **plainly_set)


def _check_sizes(told: Mapping[str, Any]) -> None:
    for name in ("side", "per_class"):
        if name in told and not whole(told[name], 1):
            raise ValueError(f"--set {name} wants a whole number of at least 1, got {told[name]!r}")
    for name in ("clip", "bandwidth"):
        if name in told and not (type(told[name]) in (int, float) and told[name] > 0):
            raise ValueError(f"--set {name} wants a positive number, got {told[name]!r}")


def _known(what: str, name: str, table: Mapping[str, Any]) -> Any:
    if name not in table:
        raise ValueError(f"unknown {what} '{name}', known: {', '.join(table)}")
    return table[name]
