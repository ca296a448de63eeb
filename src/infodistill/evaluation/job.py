"""What all networks of one evaluation share: data in the value space of the set, a protocol, fresh networks by seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from infodistill.compute import Policy
from infodistill.distilled import ALL_ROWS, Distilled
from infodistill.evaluation.protocols import EvaluationProtocol, protocol_for
from infodistill.evaluation.references import References
from infodistill.nets.initialise import initialise
from infodistill.real import RealData
from infodistill.seeding import build_seeded, stream
from infodistill.serialise import sha256
from infodistill.types import Net, NetFactory
from infodistill.whitening import in_space

Progress = Callable[[str, int, int], None]
"""progress(what, done, total): epochs done for one network, called after every epoch."""


def protocol_of(distilled: Distilled, real: RealData) -> EvaluationProtocol:
    """The protocol an artefact carries (in full or by name); `dsa` when it carries none."""
    return protocol_carried(distilled, str(distilled.meta.get("data", real.name)))


def protocol_carried(distilled: Distilled, data: str) -> EvaluationProtocol:
    """The same for a set whose data go by this name."""
    stored = distilled.meta.get("protocol", "dsa")
    if isinstance(stored, Mapping):
        return EvaluationProtocol.from_dict(stored)
    return protocol_for(str(stored), data, ipc=distilled.stored_ipc, classes=distilled.num_classes)


def protocol_named(name: str, distilled: Distilled) -> EvaluationProtocol:
    """A protocol as it applies to a set: to the data of its recipe, else to what its data was called, or lay at.

    Every command that takes `--protocol` asks here, so that all of them train alike (flips, DC on MNIST).

    Raises:
        ValueError: no protocol of that name.
    """
    meta = distilled.meta
    known = (dict(meta.get("recipe", {})).get("dataset"), meta.get("data"), dict(meta.get("source", {})).get("data"))
    data = next((str(one) for one in known if one not in (None, "", "any")), "")
    return protocol_for(name, data, ipc=distilled.stored_ipc, classes=distilled.num_classes)


def under(distilled: Distilled, protocol: EvaluationProtocol, real: RealData) -> Distilled:
    """The set with its plan where the protocol is its own; under another it is one whole, like real images."""
    # A replayed plan would give the same number whatever protocol it is printed under.
    foreign = "protocol" in distilled.meta and protocol.name != protocol_of(distilled, real).name
    return replace(distilled, plan=(ALL_ROWS,)) if foreign else distilled


@dataclass(frozen=True)
class Job:
    """What all trainings of one architecture share."""

    real: RealData
    test: RealData
    protocol: EvaluationProtocol
    seeds: tuple[int, ...]
    policy: Policy
    references: References = field(default_factory=References)
    progress: Progress | None = None
    net: str = ""
    factory: NetFactory | None = None

    def settings(self) -> dict[str, Any]:
        return {
            "data": self.real.name,
            "classes": self.real.num_classes,
            "fingerprint": self.real.fingerprint,
            "test_fingerprint": self.test.fingerprint,
            "test_images": len(self.test),
            "seeds": list(self.seeds),
            "policy": self.policy.as_dict(),
        }

    def key(self, kind: str) -> dict[str, Any]:
        """Everything a reference accuracy depends on."""
        how = {name: value for name, value in self.protocol.as_dict().items() if name not in ("name", "note")}
        space = self.real.space
        return {
            "kind": kind,
            "net": self.net,
            "architecture": self.architecture,
            "data": self.real.fingerprint,
            "test": self.test.fingerprint,
            "space": [list(space.mean), list(space.std), *([space.whitening.digest] if space.whitening else [])],
            "protocol": how,
            "precision": self.policy.precision,
        }

    @cached_property
    def architecture(self) -> str:
        """Fingerprint of what the factory builds: two networks of one name are never mixed up."""
        module = self.build(0)
        shapes = [(name, tuple(value.shape)) for name, value in module.state_dict().items()]
        law = getattr(getattr(module, "law", None), "__name__", "")  # how its weights are drawn
        return sha256(f"{module!r}{shapes}{law}".encode())[:16]

    def build(self, seed: int) -> Net:
        """A fresh network whose weights depend on the seed alone."""
        factory = self.factory
        assert factory is not None
        generator = stream(seed, "evaluate.net")
        module = build_seeded(lambda: factory(self.real.shape, self.real.num_classes), generator)
        initialise(module, generator)
        return module.to(self.policy.device)


def prepared(
    sets: Sequence[Distilled],
    real: RealData,
    protocol: EvaluationProtocol | None,
    seeds: Sequence[int],
    policy: Policy | None,
) -> Job:
    """Check everything before the first network is trained."""
    if not sets or protocol is None or not seeds:
        raise ValueError(f"an evaluation needs at least one set and one seed, got {len(sets)} and {len(seeds)}")
    for distilled in sets:
        distilled.check(real)
        protocol.check(distilled)
        if (mine := distilled.stored_ipc) != (first := sets[0].stored_ipc):
            raise ValueError(f"sets of {first} and {mine} images per class cannot share a column")
        if distilled.space.whitening != sets[0].space.whitening:
            raise ValueError("sets of which one is whitened, or whitened otherwise, cannot share a column")
    how, space = policy or Policy(), sets[0].space
    there = (real if real.space.whitening == space.whitening else in_space(real, space)).to(how.device)
    if there.test is None:
        raise ValueError(f"the data '{real.name}' has no test part to evaluate on")
    return Job(there, there.test, protocol, tuple(seeds), how)
