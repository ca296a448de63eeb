"""Training trajectories of networks on disk: one file per expert, `trajectory` (epochs kept, parameters) in float32.

The folder is named by what made it; the experts in it are numbered, and expert i does not depend on how many there are.
Only asked-for rows are read. `store.json` says what the experts are, the header of a file which epochs it has, and how
the expert fared.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from infodistill.files import write_atomically
from infodistill.real import RealData
from infodistill.seeding import key
from infodistill.serialise import canonical_json, pretty_json, read_object, write_bytes
from infodistill.training import Fit
from infodistill.types import Net, ValueSpace
from infodistill.whitening import space_facts

FORMAT = 1
FACTS = "store.json"


@dataclass(frozen=True)
class ExpertStore:
    """Experts 0 .. count - 1 of a folder, at the epochs asked for; epoch 0 is the start, epoch e follows e epochs.

    `module` gives the architecture (its own weights are not read), `space` the value space of the training images.
    """

    folder: Path
    facts: Mapping[str, Any]
    module: Net
    space: ValueSpace
    count: int
    epochs: tuple[int, ...]

    def parameters(self, expert: int, epoch: int, device: torch.device | str = "cpu") -> dict[str, Tensor]:
        """The parameters of one expert after `epoch` epochs: fresh tensors, written by nobody else.

        Raises:
            ValueError: there is no such expert or epoch, or its file cannot be read.
        """
        if not 0 <= expert < self.count or epoch not in self.epochs:
            raise ValueError(
                f"epoch {epoch} of expert {expert} was not kept: the store has experts 0..{self.count - 1} at epochs "
                f"{listed(self.epochs)}"
            )
        path = expert_file(self.folder, expert)
        try:
            with safe_open(path, "pt") as file:
                row = header(file)["epochs"].index(epoch)
                flat = file.get_slice("trajectory")[row : row + 1].flatten()
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise ValueError(f"expert {path} cannot be read: {error}") from error
        return self._split(flat, device)

    def _split(self, flat: Tensor, device: torch.device | str) -> dict[str, Tensor]:
        sizes = [math.prod(shape) for _, shape in self.facts["parameters"]]
        pieces = flat.split(sizes)
        return {
            name: piece.view(shape).to(device, copy=True)
            for (name, shape), piece in zip(self.facts["parameters"], pieces, strict=True)
        }

    @cached_property
    def told(self) -> list[dict[str, Any]]:
        """Of every expert: `epochs` kept, `losses` (mean of each epoch, nats), `accuracies` at kept epochs, `rows`."""
        found = [told_of(self.folder, expert) for expert in range(self.count)]
        return [cast("dict[str, Any]", told) for told in found]

    @property
    def manifest(self) -> dict[str, Any]:
        """What the experts are and how they fared; JSON-able."""
        return {**self.facts, "epochs": list(self.epochs), "experts": self.told}

    @cached_property
    def digest(self) -> str:
        """Hex digest of every stored value that this store hands out."""
        rows = [[told["rows"][str(epoch)] for epoch in self.epochs] for told in self.told]
        return hashlib.blake2b(canonical_json(rows).encode(), digest_size=16).hexdigest()

    def __deepcopy__(self, memo: dict[int, Any]) -> ExpertStore:
        return self  # nothing here changes

    @property
    def nbytes(self) -> int:
        """Bytes on disk of the experts."""
        return sum(expert_file(self.folder, expert).stat().st_size for expert in range(self.count))


def store_facts(
    module: Net, real: RealData, fit: Fit, *, seed: int = 0, precision: str = "float32", origin: str = ""
) -> dict[str, Any]:
    """What makes expert i what it is, JSON-able; `fit.epochs` are the epochs it is trained for.

    Raises:
        ValueError: the network has state that is not a parameter (batch norm's statistics), which no trajectory holds.
    """
    parameters = [(name, list(value.shape)) for name, value in module.named_parameters()]
    if other := sorted(module.state_dict().keys() - {name for name, _ in parameters}):
        raise ValueError(
            f"a trajectory holds parameters only, so a network of experts must not have batch norm or other buffers, "
            f"this one has {other[0]!r}: take instance norm"
        )
    rates = [fit.decay(epoch) for epoch in range(fit.epochs)]
    training = {name: getattr(fit, name) for name in ("batch", "lr", "momentum", "weight_decay")}
    training |= {
        "decay": rates if len(set(rates)) > 1 else rates[:1],
        "restarts": [epoch for epoch in fit.restarts if epoch < fit.epochs],
        "augment": repr(fit.augment),
        **fit.rules(),
    }
    return {
        "format": FORMAT,
        "network": str(module),
        "law": getattr(getattr(module, "law", None), "__name__", ""),
        "parameters": [list(entry) for entry in parameters],
        "data": real.name,
        "fingerprint": real.fingerprint,
        "shape": list(real.shape),
        "class_names": list(real.class_names),
        "space": space_facts(real.space),
        "training": training,
        "precision": precision,
        "seed": seed,
        "origin": origin,
    }


def store_name(facts: Mapping[str, Any]) -> str:
    """The folder of a store: a key of its facts, the name of the data aside."""
    return f"{key(canonical_json({name: value for name, value in facts.items() if name != 'data'})):016x}"


def open_store(
    folder: Path, module: Net, real: RealData, *, count: int | None = None, epochs: Sequence[int] | None = None
) -> ExpertStore:
    """A stored set of experts, checked against the data and the network it is to be used with.

    Args:
        folder: where it is.
        module: a network of the architecture.
        real: the data to distil, in the value space to distil in.
        count: experts wanted; None takes all there are.
        epochs: epochs wanted; None takes those that every expert has.

    Raises:
        ValueError: the experts were trained with another network, on other data, on other classes or in another value
            space; or experts or epochs are missing. One sentence names the difference.
    """
    facts = read_object(folder / FACTS)
    check_facts(folder, facts, store_facts(module, real, Fit(0)))
    there = [file.stem for file in sorted(folder.glob("[0-9]*.safetensors"))]
    have = next((i for i, name in enumerate(there) if name != f"{i:04d}"), len(there))
    wanted = have if count is None else count
    told = [told_of(folder, expert) for expert in range(wanted)]
    if not told or None in told:
        raise ValueError(f"{folder} holds {have} readable experts, at least {max(wanted, 1)} are wanted")
    common = set.intersection(*({*one["epochs"]} for one in told if one))
    if epochs is not None and (missing := sorted(set(epochs) - common)):
        raise ValueError(
            f"the experts in {folder} keep epochs {listed(sorted(common))}, also wanted: {listed(missing)}"
        )
    return ExpertStore(folder, facts, module, real.space, wanted, tuple(sorted(common if epochs is None else epochs)))


def check_facts(folder: Path, facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse a store that was made for something else, naming what."""
    sentences = {
        "format": "are stored in another format",
        "class_names": "were trained on other classes, or in another order",
        "shape": "were trained on images of another shape",
        "fingerprint": "were trained on other data",
        "space": "were trained in another value space",
        "network": "have another architecture",
        "parameters": "have other parameters",
    }
    for name, sentence in sentences.items():
        if facts.get(name) != json.loads(json.dumps(wanted[name])):
            raise ValueError(
                f"the experts in {folder} {sentence}: {_short(facts.get(name))} there, {_short(wanted[name])} here"
            )


def write_expert(folder: Path, expert: int, trajectory: Tensor, told: Mapping[str, Any]) -> None:
    """Put one expert in place, whole or not at all."""
    rows = {str(epoch): _digest(row) for epoch, row in zip(told["epochs"], trajectory, strict=True)}
    metadata = {"expert": canonical_json({**told, "rows": rows})}
    write_atomically(expert_file(folder, expert), lambda path: save_file({"trajectory": trajectory}, path, metadata))


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Describe the store."""
    write_bytes(folder / FACTS, pretty_json(facts))


def told_of(folder: Path, expert: int) -> dict[str, Any] | None:
    """What the header of an expert's file says; None where it is not there or damaged."""
    try:
        with safe_open(expert_file(folder, expert), "pt") as file:
            return header(file)
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def disk_bytes(module: Net, count: int, epochs: int) -> int:
    """Bytes that `count` experts at `epochs` kept epochs take, their short headers aside."""
    return 4 * count * epochs * sum(value.numel() for value in module.parameters())


def header(file: Any) -> dict[str, Any]:
    """How the expert of an open file fared; KeyError where the file is not an expert's."""
    return json.loads((file.metadata() or {})["expert"])


def expert_file(folder: Path, expert: int) -> Path:
    return folder / f"{expert:04d}.safetensors"


def listed(epochs: Sequence[int]) -> str:
    """Epochs as people write them: `0..22`, or `0, 2, 5`."""
    if len(epochs) > 2 and list(epochs) == list(range(epochs[0], epochs[-1] + 1)):
        return f"{epochs[0]}..{epochs[-1]}"
    return ", ".join(map(str, epochs))


def _digest(row: Tensor) -> str:
    return hashlib.blake2b(row.contiguous().numpy().data, digest_size=8).hexdigest()


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
