"""Pretrained networks: trained once, kept in a folder named by what made them, drawn one per step."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from infodistill.compute import Policy, View
from infodistill.files import write_atomically
from infodistill.nets.initialise import initialise
from infodistill.progress import nobody
from infodistill.real import RealData
from infodistill.scale.fanout import Workers
from infodistill.seeding import key, stream
from infodistill.training import Fit, accuracy, fit
from infodistill.types import Net, NetFactory, Source
from infodistill.whitening import space_facts, space_from

FORMAT = 2
Told = Callable[[str, int, int], None]
"""progress(what, done, total)."""


class Teachers(Source[View]):
    """Frozen networks, one drawn uniformly every `hold` steps by (seed, owner, step); never copied or changed.

    Raises:
        ValueError: no network is given, or `hold` is below 1.
    """

    def __init__(self, views: Sequence[View], *, seed: int = 0, owner: str = "teachers", hold: int = 1) -> None:
        if not views or hold < 1:
            raise ValueError(f"teachers need at least one network and one step each, got {len(views)} and {hold}")
        self.views, self.seed, self.owner, self.hold = list(views), seed, owner, hold

    def draw(self) -> View:
        pick = torch.randint(len(self.views), (), generator=stream(self.seed, self.owner, self.step // self.hold))
        return self.views[int(pick)]

    def held(self, steps: int, owner: str | None = None) -> Teachers:
        """The same networks, each kept for `steps` steps (DC and DSA keep one for a matching network's life), and drawn
        under another name where one is given (IID and CMI beside it do not look through the same one).
        """
        return Teachers(self.views, seed=self.seed, owner=owner or self.owner, hold=steps)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of every weight of the pool."""
        told = hashlib.blake2b(digest_size=16)
        for view in self.views:
            for name, value in view.params.items():
                told.update(name.encode())
                told.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return told.hexdigest()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "fingerprint": self.fingerprint}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError when the saved run looked through other networks."""
        if state["fingerprint"] != self.fingerprint:
            raise ValueError(
                f"the saved run looked through other teachers (digest {state['fingerprint'][:8]}, here "
                f"{self.fingerprint[:8]}): put their cache back, or start anew"
            )
        super().load_state_dict(state)

    def use(self, policy: Policy) -> None:
        for view in self.views:
            view.module.to(policy.device)
            view.module.requires_grad_(False)
        self.views = [replace(view, params=dict(view.module.named_parameters()), policy=policy) for view in self.views]

    def __deepcopy__(self, memo: dict[int, Any]) -> Teachers:
        """A copy with its own place in the sequence of draws; the frozen networks are shared."""
        twin = self.held(self.hold)
        twin.step = self.step
        memo[id(self)] = twin
        return twin

    @property
    def accuracies(self) -> list[float]:
        """Accuracy of each network on at most 2,000 of the images it was trained on, in [0, 1]."""
        return [view.accuracy for view in self.views if view.accuracy is not None]


@dataclass(frozen=True)
class Schooling:
    """What a pool of teachers is made with; its digest names the folder they are kept in."""

    count: int
    fit: Fit
    seed: int = 0

    def digest(self, module: Net, real: RealData, policy: Policy) -> str:
        """A key of the architecture, the data, the training and the precision."""
        fit = {name: value for name, value in asdict(replace(self.fit, augment=None)).items() if not callable(value)}
        rates = [self.fit.decay(epoch) for epoch in range(self.fit.epochs)]
        law = getattr(module, "law", None)
        told = [str(module), getattr(law, "__name__", ""), str(real.shape), real.fingerprint, str(real.space)]
        told += [str(fit), str(rates), *(f"{name} {rule}" for name, rule in self.fit.rules().items())]
        return f"{key(*told, repr(self.fit.augment), self.seed, policy.precision, FORMAT):016x}"


def train_teachers(
    real: RealData,
    factory: NetFactory,
    *,
    count: int,
    fit: Fit,
    seed: int = 0,
    policy: Policy | None = None,
    cache: Path | None = None,
    progress: Told | None = None,
    at_least: float = 0.0,
    workers: Workers | None = None,
) -> Teachers:
    """Train `count` networks on all of `real`, or load those that the same settings made before.

    Each network is initialised and trained by its own keyed streams, so a larger pool contains the smaller one; a pool
    that was interrupted continues with the networks it lacks. Without `cache` nothing is stored. With `cache` those
    that are missing may be trained by `workers`, see `scale.fanout`.

    Raises:
        ValueError: a stored network belongs to other classes or another value space, or its accuracy is under
            `at_least` (a teacher far below the evaluation network misleads what looks through it).
    """
    school, policy = Schooling(count, fit, seed), policy or Policy()
    example = factory(real.shape, real.num_classes)
    folder = None if cache is None else cache / "teachers" / school.digest(example, real, policy)
    if workers is not None and folder is not None:
        _train_by(workers, (school, factory, real, policy), folder, progress or nobody)
    views: list[View] = []
    for index in range(count):
        if progress is not None:
            progress("teachers", index, count)
        stored = None if folder is None else _load(folder, index, factory, real)
        view = stored or _train(school, index, factory, real, policy=policy)
        if stored is None and folder is not None:
            _save(folder, index, view, real)
        if view.accuracy is not None and view.accuracy < at_least:
            raise ValueError(
                f"teacher {index} reaches an accuracy of {view.accuracy:.3f}, at least {at_least:.3f} is wanted: "
                "train longer or choose another network"
            )
        views.append(view)
    pool = Teachers(views, seed=seed)
    pool.use(policy)
    return pool


Course = tuple[Schooling, NetFactory, RealData, Policy]


def taught(course: Course, index: int) -> View:
    """Network number `index` of a pool."""
    school, factory, real, policy = course
    return _train(school, index, factory, real, policy=policy)


def _train_by(workers: Workers, course: Course, folder: Path, tell: Told) -> None:
    """Have workers train the networks that a folder lacks; each is stored as soon as those before it are."""
    factory, real, total = course[1], course[2], course[0].count
    missing = [index for index in range(total) if _load(folder, index, factory, real) is None]
    views = workers(taught, course, missing, lambda done: tell("teachers", total - len(missing) + done, total))
    for index, view in zip(missing, views, strict=True):
        _save(folder, index, view, real)


def random_teachers(factory: NetFactory, real: RealData, *, count: int, seed: int = 0) -> Teachers:
    """The negative control: the same pool with weights that were never trained."""
    return Teachers([_view(_new(factory, real, seed, index), real) for index in range(count)], seed=seed)


def _new(factory: NetFactory, real: RealData, seed: int, index: int) -> Net:
    module = factory(real.shape, real.num_classes)
    initialise(module, stream(seed, "teacher.init", index))
    return module


def _view(module: Net, real: RealData, **told: Any) -> View:
    return View.own(module.requires_grad_(False).eval(), space=real.space, **told)


def _train(school: Schooling, index: int, factory: NetFactory, real: RealData, *, policy: Policy) -> View:
    module = _new(factory, real, school.seed, index).to(policy.device)
    fit(module, real, school.fit, stream(school.seed, "teacher.train", index), policy=policy)
    view = _view(module, real, policy=policy, age=school.fit.epochs)
    # Measured on training images: what refuses a pool must not have seen test data.
    few = torch.randperm(len(real), generator=stream(school.seed, "teacher.accuracy"))[:2000]
    return replace(view, accuracy=accuracy(view, real.subset(few)))


def _save(folder: Path, index: int, view: View, real: RealData) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().cpu().contiguous() for name, value in view.module.state_dict().items()}
    told = {
        "format": FORMAT,
        "class_names": list(real.class_names),
        "space": space_facts(real.space),
        "fingerprint": real.fingerprint,
        "shape": list(real.shape),
        "epochs": view.age,
        "accuracy": view.accuracy,
        "network": str(view.module).splitlines()[0],
    }
    write_atomically(folder / f"{index:04d}.safetensors", lambda path: save_file(weights, path))
    write_atomically(folder / f"{index:04d}.json", lambda path: path.write_text(json.dumps(told, indent=1)))


def _load(folder: Path, index: int, factory: NetFactory, real: RealData) -> View | None:
    described = folder / f"{index:04d}.json"
    if not described.exists():
        return None
    try:
        json.loads(described.read_text())
    except ValueError:  # cut or damaged: train it again
        return None
    return load_teacher(described, factory, real)


def load_teacher(described: Path, factory: NetFactory, real: RealData) -> View:
    """A stored network, checked against the data it is to look at.

    Raises:
        ValueError: its class names are not those of `real`, in that order, its weights do not fit the network, or it
            was trained on whitened images and `real` is not whitened the same way.
    """
    told = json.loads(described.read_text())
    if tuple(told["class_names"]) != tuple(real.class_names):
        raise ValueError(
            f"teacher {described} was trained on classes {told['class_names'][:4]}..., the data has "
            f"{list(real.class_names[:4])}...: names and order must agree"
        )
    module = factory(real.shape, real.num_classes)
    try:
        module.load_state_dict(load_file(described.with_suffix(".safetensors")))
    except (RuntimeError, OSError, SafetensorError) as error:
        raise ValueError(f"teacher {described.with_suffix('.safetensors')} cannot be read: {error}") from error
    space = space_from(told["space"], real.space.whitening)
    return View.own(module.requires_grad_(False).eval(), space=space, age=told["epochs"], accuracy=told["accuracy"])
