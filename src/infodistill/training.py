"""Network training: the only loop that updates a network. Sources, teachers, experts and evaluation all call `fit`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from infodistill.augment import in_pixels
from infodistill.augment.mixing import Mix
from infodistill.compute import Policy, View, backward
from infodistill.descent import Descend, Loss, Optimiser, cross_entropy_rows, plain_step, sgd
from infodistill.types import Augment, Batch, Net, Rows, ValueSpace, convert


def constant(epoch: int) -> float:
    """The schedule that never changes the learning rate."""
    del epoch
    return 1.0


@dataclass(frozen=True)
class Fit:
    """Hyper-parameters of one supervised training.

    The learning rate of epoch e (counted from 0) is lr * decay(e). Before every epoch listed in `restarts` the momentum
    buffers are forgotten, which is what rebuilding the optimiser does. The last batch of an epoch may be smaller. Every
    batch is augmented, then its images and targets are mixed where `mix` is given (CutMix). `loss`, `optimiser` and
    `descend` (see `infodistill.descent`) say what a row costs, what moves the weights, and what one step is.
    """

    epochs: int
    batch: int = 256
    lr: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    decay: Callable[[int], float] = constant
    restarts: tuple[int, ...] = ()
    augment: Augment | None = None
    mix: Mix | None = None
    loss: Loss = cross_entropy_rows
    optimiser: Optimiser = sgd
    descend: Descend = plain_step

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch < 1:
            raise ValueError(f"epochs must be >= 0 and batch >= 1, got epochs {self.epochs} and batch {self.batch}")
        if self.lr < 0 or not 0 <= self.momentum < 1:
            raise ValueError(f"lr must be >= 0 and momentum in [0, 1), got lr {self.lr} and momentum {self.momentum}")

    def rules(self) -> dict[str, str]:
        """The loss, optimiser, step and mixing by name, where they are not the usual ones."""
        usual = {"loss": cross_entropy_rows, "optimiser": sgd, "descend": plain_step, "mix": None}
        chosen = {name: getattr(self, name) for name in usual}
        return {name: getattr(rule, "__name__", repr(rule)) for name, rule in chosen.items() if rule != usual[name]}


def fit(
    module: Net,
    data: Rows,
    hyper: Fit,
    generator: torch.Generator,
    *,
    policy: Policy | None = None,
    space: ValueSpace | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> None:
    """Train `module` in place on `data`, by default by soft-target cross-entropy, -(1/b) sum_ik target_ik log p_ik.

    The order of every epoch and every augmentation record come from `generator`, one record row per image. Images are
    first expressed in `space` (the network's own; None keeps the space of the data), then augmented there.

    Raises:
        FloatingPointError: the mean loss of an epoch is not finite; the message names the epoch.
    """
    anchor, how = next(module.parameters()), policy or Policy()
    with trainable(module) as parameters:
        optimiser = hyper.optimiser(parameters, hyper)
        for epoch in range(hyper.epochs):
            if epoch in hyper.restarts:
                optimiser.state.clear()
            optimiser.param_groups[0]["lr"] = hyper.lr * hyper.decay(epoch)
            total = anchor.new_zeros((), dtype=torch.float64)
            for index in torch.randperm(len(data), generator=generator).split(hyper.batch):
                x, target = _inputs(data.rows(index), hyper, generator, space=space, like=anchor)
                gradient = _Gradient(module, x, target, how, hyper.loss)
                total += hyper.descend(optimiser, parameters, gradient).double() * len(index)
            _report(epoch, float(total) / len(data), on_epoch)


@torch.no_grad()
def accuracy(view: View, data: Rows, batch: int = 512) -> float:
    """Fraction of `data` whose most probable class under `view` is its class `y`, in [0, 1]; the net in eval mode."""
    module = view.module
    device = next(iter(view.params.values())).device
    was = module.training
    module.eval()
    try:
        hits = torch.zeros((), dtype=torch.int64, device=device)
        for index in torch.arange(len(data)).split(batch):
            rows = data.rows(index)
            logits = view.logits(rows.x.to(device), rows.space)
            hits += (logits.argmax(1) == rows.y.to(device)).sum()
    finally:
        module.train(was)
    return int(hits) / len(data)


@dataclass(frozen=True)
class _Gradient:
    """The gradient of one batch, as often as a step asks for it."""

    module: Net
    x: Tensor
    target: Tensor
    policy: Policy
    loss: Loss

    def __call__(self) -> Tensor:
        self.module.zero_grad(set_to_none=True)
        return backward(self.module, self.x, self.target, self.policy, self.loss)


@contextmanager
def trainable(module: Net) -> Generator[list[nn.Parameter]]:
    """Inside: train mode, gradients on, every parameter asks for its gradient. Outside: exactly as it was."""
    parameters = list(module.parameters())
    wanted = [parameter.requires_grad for parameter in parameters]
    was = module.training
    module.train().requires_grad_(True)
    try:
        with torch.enable_grad():
            yield parameters
    finally:
        module.train(was)
        for parameter, want in zip(parameters, wanted, strict=True):
            parameter.requires_grad_(want)
            parameter.grad = None


def _inputs(
    rows: Batch,
    hyper: Fit,
    generator: torch.Generator,
    *,
    space: ValueSpace | None,
    like: Tensor,
) -> tuple[Tensor, Tensor]:
    """One batch as the network takes it: device and dtype of `like`, in `space`, augmented image by image, mixed."""
    x = convert(rows.x.detach().to(like.device, like.dtype), rows.space, space)
    target = rows.target.detach().to(like.device, like.dtype)
    if hyper.augment is not None:
        augment = in_pixels(hyper.augment, space or rows.space)
        record = augment.draw(generator, len(x), tuple(x.shape[1:]))
        x = augment.apply(x, record, torch.arange(len(x)))
    if hyper.mix is not None:
        x, target = hyper.mix(x, target, generator)
    return x.detach(), target


def _report(epoch: int, loss: float, on_epoch: Callable[[int, float], None] | None) -> None:
    if loss != loss or loss in (float("inf"), float("-inf")):
        raise FloatingPointError(f"training diverged: the mean loss of epoch {epoch} is {loss}, wanted a finite number")
    if on_epoch is not None:
        on_epoch(epoch, loss)
