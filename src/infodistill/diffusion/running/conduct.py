"""A sampling run in a folder, from request to artefact; it continues where it was stopped, to the bit.

sample.json              what was asked for, and on which data, model and threads; written first
samples/NNNN.safetensors images of one group of classes, with what guidance did; written when the group is finished
samples/film.safetensors predicted clean images over time, of the first group
distilled.*, ...         the artefact, `guidance.safetensors` and `trajectory.png`, when all groups are there

A group depends on the model, the request and its own classes alone, so finished ones are never sampled again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from infodistill.compute import Policy, resolve
from infodistill.compute.peak import peak_memory
from infodistill.data import load_data
from infodistill.data.cache import cache_dir
from infodistill.data.noted import announce
from infodistill.diffusion import samplers
from infodistill.diffusion.dit import published_plan
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.precision import lowered
from infodistill.diffusion.running.groups import Finished, Groups
from infodistill.diffusion.running.making import Making, Steered, default_net, protocol_of
from infodistill.diffusion.running.request import SampleRequest, check_folder, record, stored_facts, withdraw
from infodistill.diffusion.running.supplying import digest_of, model_for
from infodistill.diffusion.running.watching import Recorder, joined, stored
from infodistill.diffusion.sampling import Plan, distilled
from infodistill.diffusion.steering import METHODS, check_named
from infodistill.distilled import Distilled
from infodistill.manifest import GUIDANCE, TRAJECTORY
from infodistill.progress import Tell
from infodistill.real import RealData
from infodistill.reporting.pictures import film_png

Say = Callable[[str], None]

SAMPLERS: Mapping[str, samplers.Sampler] = {
    "ddpm": partial(samplers.ddpm, variance=samplers.learned),
    "ddim": samplers.ddim,
    "dpm-solver": samplers.dpm_solver,
}

TOGETHER = 128
"""Images of a group unless told otherwise: what a stopped run may lose, and what goes through a network at once."""

LIMIT = 1.5
"""Bound of predicted clean pixels, which lie in [-1, 1], of a model that names none; latents have none (ours)."""


@dataclass(frozen=True)
class Prepared:
    """A request with its data read and its model opened."""

    request: SampleRequest
    real: RealData
    model: DiffusionModel
    plan: Plan
    policy: Policy
    cache: Path
    tell: Tell | None = None
    say: Say = print

    def making(self, folder: Path, watch: Recorder) -> Making:
        """What the method is made from."""
        where: dict[str, Any] = {"folder": folder, "cache": self.cache, "tell": self.tell, "watch": watch}
        return Making(self.request, self.model, self.real, self.plan, self.policy, **where)


def prepare(
    request: SampleRequest,
    *,
    device: str | None = None,
    real: RealData | None = None,
    tell: Tell | None = None,
    say: Say = print,
) -> Prepared:
    """Read the data, open the model (or train one), and find the mistakes before anything is drawn.

    `device` is that of the run to be continued, for a request that leaves it open; `real` the data, if they were read.

    Raises:
        ValueError: an unknown name, a model for other classes or another size, or settings that contradict each other.
    """
    if request.sampler not in SAMPLERS:
        raise ValueError(f"unknown sampler '{request.sampler}', known: {', '.join(SAMPLERS)}")
    check_named(request)
    policy, cache = _policy(request, device), cache_dir()
    real = load_data(request.data, size=request.size, skip_corrupt=request.skip_corrupt) if real is None else real
    protocol_of(request, real)
    announce(real, say)
    model = model_for(request, real, policy, cache, tell=tell, say=say)
    plan = planned(request, model)
    model.sigmas(plan.steps)
    if plan.weight != 1.0 and not model.null:
        raise ValueError(f"this model has no null class, so classifier-free guidance must be 1, got {plan.weight:g}")
    return Prepared(request, real.to(policy.device), model, plan, policy, cache, tell, say)


def _policy(request: SampleRequest, device: str | None) -> Policy:
    try:
        return resolve(device if device and request.device == "auto" else request.device, request.precision)
    except ValueError as error:
        if device is None or request.device != "auto":
            raise
        raise ValueError(f"the run was begun on {device}, which is not here: continue it there ({error})") from None


def planned(request: SampleRequest, model: DiffusionModel) -> Plan:
    """The plan a request means for a model.

    Classifier-free guidance: the papers' 4 for foreign models, none for those trained here, as in our study.
    """
    own = model.facts.get("origin") is not None
    together = request.together or max(1, TOGETHER // request.ipc)
    changes: dict[str, Any] = {
        "steps": request.steps,
        "sampler": SAMPLERS[request.sampler],
        "most": request.most or TOGETHER,
        "together": None if request.prototype == "p3-coupled" and request.together is None else together,
        "limit": None if model.space is None else model.facts.get("limit") or LIMIT,
    }
    if request.cfg is not None or own:
        changes["weight"] = 1.0 if request.cfg is None else request.cfg
    return published_plan(model, request.ipc, seed=request.seed, **changes)


def conduct(
    prepared: Prepared, folder: Path, *, resume: bool = False, choice: Mapping[str, Any] | None = None
) -> Distilled:
    """Sample what is missing in a folder and write the artefact there; `choice` is how it came to its settings.

    Raises:
        ValueError: the folder holds another run or one that was not to be resumed, the data or the model has changed,
            or a coupled method is to sample class groups.
    """
    check_folder(folder, prepared.request, resume=resume)
    began = bool(stored_facts(folder))
    _same_circumstances(prepared, folder)
    try:
        steered, finished = _sampled(prepared, folder)
    except Exception as error:
        if not began:
            withdraw(folder)
        if isinstance(error, TypeError | AttributeError) and prepared.request.set:
            told = ", ".join(f"{name}={value!r}" for name, value in prepared.request.set.items())
            raise ValueError(f"a value of --set ({told}) is of the wrong kind: {error}") from error
        raise
    return _artefact(prepared, steered, folder, finished, choice or {})


def _sampled(prepared: Prepared, folder: Path) -> tuple[Steered, list[Finished]]:
    """The method, made (and calibrated or trained where it is), and all of its groups."""
    recorder = Recorder()
    steered = METHODS[prepared.request.method](prepared.making(folder, recorder))
    if steered.couples and prepared.plan.together is not None:
        raise ValueError(f"this prototype needs all classes together: leave --together {prepared.plan.together} out")
    model = lowered(steered.model, prepared.policy)
    groups = Groups(model, steered.steer, steered.plan, folder / "samples", recorder, prepared.tell)
    return steered, groups.every()


def _same_circumstances(prepared: Prepared, folder: Path) -> None:
    """Record data, model, device and the number of threads, or see that they are those of the run in the folder."""
    facts = {
        "data": prepared.real.fingerprint,
        "model": digest_of(prepared.model),
        "device": prepared.policy.device,
        "threads": torch.get_num_threads(),
    }
    known = stored_facts(folder)
    for name, what in (("data", "data has"), ("model", "model has")):
        if known and known.get(name) != facts[name]:
            raise ValueError(f"the {what} changed since the run in '{folder}' began: its digest is another")
    if (then := known.get("device", facts["device"])) != facts["device"]:
        raise ValueError(f"the run in '{folder}' was begun on {then}, and this is {facts['device']}: continue it there")
    if isinstance(threads := known.get("threads"), int):  # another number of threads adds in another order
        torch.set_num_threads(threads)
    if not known:
        record(folder, prepared.request, facts)


def _artefact(
    prepared: Prepared, steered: Steered, folder: Path, finished: list[Finished], choice: Mapping[str, Any]
) -> Distilled:
    samples = [group.sampled for group in finished]
    files: dict[str, bytes] = {}
    record = joined([group.guidance for group in finished], [len(one.y) for one in samples])
    if record:
        files[GUIDANCE] = stored(record, torch.cat([one.y for one in samples]))
    film = finished[0].film
    if film is not None:
        files[TRAJECTORY] = film_png(film)
    seconds = sum(group.seconds for group in finished)
    made = distilled(samples, prepared.real, provenance(prepared, steered, seconds))
    made = made.with_meta(validation=dict(choice)) if choice else made
    made.save(folder, files=files)
    prepared.say(f"sampled {len(made)} images in {seconds:.0f} s: {folder}")
    return made


def provenance(prepared: Prepared, steered: Steered, seconds: float) -> dict[str, Any]:
    """What the artefact tells of how it was made."""
    request, plan, model = prepared.request, steered.plan, steered.model
    shown = {name: getattr(plan, name) for name in ("steps", "weight", "channels", "most", "together", "limit")}
    licence = model.facts.get("licence")
    told = {
        "method": request.method,
        "net": default_net(prepared.real.shape),
        "protocol": protocol_of(request, prepared.real).as_dict(),
        "seed": request.seed,
        "steps": plan.steps,
        "sampling": {**told_of(plan.sampler), **shown},
        "guidance": {"terms": _asked(request), **steered.facts},
        "generator": {"from": _origin(request), "digest": digest_of(prepared.model), **model.facts},
        "source": {"data": request.data, "size": request.size, "skip_corrupt": request.skip_corrupt},
        "data_notes": dict(prepared.real.notes),
        "policy": prepared.policy.as_dict(),
        "seconds": round(seconds, 3),
        "peak_memory": peak_memory(prepared.policy.device),
    }
    return told if licence in (None, "unknown") else {**told, "license": f"generator: {licence}"}


def told_of(sampler: samplers.Sampler) -> dict[str, Any]:
    """The name of a sampler, and what it was given: {"sampler": "ddim", "eta": 0.5}."""
    made = sampler.func if isinstance(sampler, partial) else sampler
    known = {getattr(one, "func", one): name for name, one in SAMPLERS.items()}
    given: Mapping[str, Any] = sampler.keywords if isinstance(sampler, partial) else {}
    told = {name: getattr(value, "__name__", value) for name, value in given.items()}
    return {"sampler": known.get(made, getattr(made, "__name__", "")), **told}


def _origin(request: SampleRequest) -> str:
    """Where the generator came from, without the path to it: that is of this machine alone."""
    where = request.generator
    return "this data" if where is None else Path(where).resolve().name if Path(where).is_dir() else where


def _asked(request: SampleRequest) -> dict[str, Any]:
    """The names of the terms in use."""
    names = {"prototype": request.prototype or "p3", "contextual": request.contextual or "c2"}
    return {**(names if request.method == "igds" else {}), **({"add": list(request.add)} if request.add else {})}
