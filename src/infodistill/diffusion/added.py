"""CMI and MIM as guidance: what `--add` of a sampling run means."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from infodistill.augment import identity
from infodistill.compute import View
from infodistill.diffusion.guidance import Force
from infodistill.diffusion.in_pixels import InPixels
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.running.request import SampleRequest
from infodistill.information import CMI, MIM
from infodistill.looks import Looks
from infodistill.types import Source, Term, ValueSpace

Pool = Callable[[], Source[View]]
"""Classifiers of the data's clean images, trained when they are first asked for."""


def added(request: SampleRequest, model: DiffusionModel, space: ValueSpace, teachers: Pool) -> dict[str, Force]:
    """CMI and MIM as forces: `cmi=0.1` pushes 0.1 in units of the predicted noise.

    Both look at decoded images through the data's teachers, without augmentation; CMI and MIM are minimised, as in
    distillation: CMI gathers a class, which is the opposite of what a contextual term does.

    Args:
        request: names and pushes.
        model: its codec decodes.
        space: the value space of the data.
        teachers: what both look through.

    Raises:
        ValueError: another term, a push that is not a number, or one named twice.
    """
    forces: dict[str, Force] = {}
    for text in request.add:
        name, _, value = text.partition("=")
        if name not in TERMS or name in forces:
            raise ValueError(f"--add takes {' and '.join(TERMS)}, each once, got '{text}'")
        try:
            push = float(value)
        except ValueError:
            raise ValueError(f"--add {name} wants its push in units of the predicted noise, {name}=0.1") from None
        term, per_class = TERMS[name](request, teachers)
        shown = InPixels(term, model.codec, space, per_class=per_class)
        forces[name] = Force(shown, push)
    return forces


def _cmi(request: SampleRequest, teachers: Pool) -> tuple[Term, int]:
    if request.ipc < 2:
        raise ValueError("CMI is zero at one image per class (the class centroid is the image itself): use --ipc 2")
    return CMI(teachers()), 0


def _mim(request: SampleRequest, teachers: Pool) -> tuple[Term, int]:
    return MIM(Looks(teachers(), identity(), request.seed, reads=None)), 16


TERMS: Mapping[str, Callable[[SampleRequest, Pool], tuple[Term, int]]] = {"cmi": _cmi, "mim": _mim}
"""Terms that may be added, and how many real images of a class they are shown at a step."""
