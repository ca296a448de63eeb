"""Training of generative networks: the only loop that updates a denoiser, an autoencoder or a noise-aware classifier.

AdamW on a loss of the step number alone, warm-up and a schedule, gradient clipping, and an exponential moving average
of the weights, EMA_k = d_k EMA_(k-1) + (1 - d_k) theta_k with d_k = min(d, (1 + k) / (10 + k)). The average is what is
validated and what comes out. Small models memorise (the digits denoiser's validation loss rises after 2,500 steps), so
the average of the best validation is kept and training stops when it has not improved for a while.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from infodistill.diffusion.fitting.generative_fit import GenerativeFit, History, Saving, require_finite
from infodistill.progress import Tell
from infodistill.running.checkpoint import load_checkpoint, save_checkpoint
from infodistill.running.state import find_parts

Loss = Callable[[int], Tensor]
"""loss(step) -> scalar of the module being trained. Every draw is keyed by the step, so that a step can be repeated.
What is stateful in it (the memories of Minimax) is saved with the training."""


def fit_generative(
    module: nn.Module,
    loss: Loss,
    hyper: GenerativeFit,
    *,
    validate: Callable[[], float] | None = None,
    watch: Callable[[History], None] | None = None,
    saving: Saving | None = None,
    tell: Tell | None = None,
    what: str = "training",
) -> History:
    """Train `module` in place and leave the averaged weights of the best validation in it (of the last step without).

    The module stays in the mode it is in (networks of diffusers drop labels on their own in train mode). `validate` and
    `watch` see it wearing the averaged weights, without gradients; `watch` is called after every validation. A training
    that was saved and continues is equal to the bit, on one machine and without `minutes`, to one that never stopped.

    Raises:
        FloatingPointError: the loss or a weight is not finite; what was saved before is kept.
        ValueError: what was saved is the training of something else.
    """
    run = _Run(module, loss, hyper, validate, watch)
    with _training(module):
        if saving is not None and saving.path.exists():
            run.load(saving)
        begun = saved = time.monotonic()
        before = run.history.seconds
        while not run.over():
            run.update()
            now = time.monotonic()
            run.history.seconds = before + now - begun
            if run.history.step % hyper.report == 0:
                run.report(tell, what)
            if run.due():
                run.judge()
            if saving is not None and now - saved >= saving.every:
                run.save(saving)
                saved = time.monotonic()
        run.finish(tell, what)
        require_finite(what, run.history.step, [*run.parameters, *run.best])
        if saving is not None:
            run.save(saving)
        _copy(run.best, run.parameters)
    return run.history


class _Run:
    """The state of a training."""

    def __init__(
        self,
        module: nn.Module,
        loss: Loss,
        hyper: GenerativeFit,
        validate: Callable[[], float] | None,
        watch: Callable[[History], None] | None,
    ) -> None:
        self.loss, self.remembering = loss, find_parts(loss)
        self.hyper, self.validate, self.watch = hyper, validate, watch
        self.names, self.parameters = zip(*_trained(module), strict=True)
        self.optimiser = torch.optim.AdamW(self.parameters, hyper.rate(0), hyper.betas, weight_decay=hyper.weight_decay)
        self.average = [value.detach().clone() for value in self.parameters]
        self.best = self.average
        self.total = torch.zeros((), dtype=torch.float64, device=self.average[0].device)
        self.counted = 0
        self.history = History()

    def update(self) -> None:
        """One step of AdamW and of the average."""
        history, hyper = self.history, self.hyper
        self.optimiser.param_groups[0]["lr"] = hyper.rate(history.step, history.seconds)
        self.optimiser.zero_grad(set_to_none=True)
        with self._precision():
            value = self.loss(history.step)
        value.backward()
        nn.utils.clip_grad_norm_(self.parameters, hyper.clip)
        self.optimiser.step()
        self.total += value.detach()
        self.counted, history.step = self.counted + 1, history.step + 1
        decay = min(hyper.ema, (1 + history.step) / (10 + history.step))
        get_ema_multi_avg_fn(decay)(self.average, [value.detach() for value in self.parameters], 0)

    def report(self, tell: Tell | None, what: str) -> None:
        """Enter the mean loss since the last report; refuse one that is not finite."""
        history = self.history
        if self.counted:
            mean = float(self.total) / self.counted
            if not math.isfinite(mean):
                raise FloatingPointError(
                    f"{what} diverged: the mean loss up to step {history.step} is {mean}, wanted a finite number"
                )
            history.losses.append([history.step, mean])
            self.total.zero_()
            self.counted = 0
        if tell is not None:
            detail = f"loss {history.losses[-1][1]:.4f}" if history.losses else ""
            if history.best is not None:
                detail += f"  validation {history.validations[-1][1]:.4f}, best {history.best:.4f}"
            tell(what, history.step, self.hyper.steps, detail)

    def due(self) -> bool:
        step = self.history.step
        return self.validate is not None and (step % self.hyper.validate_every == 0 or step == self.hyper.steps)

    def judge(self) -> None:
        """Validate the average, and keep it where it is the best so far."""
        assert self.validate is not None
        history = self.history
        with _wearing(self.parameters, self.average):
            with self._precision():
                value = float(self.validate())
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the validation loss of step {history.step} is {value}, wanted a finite number"
                )
            history.validations.append([history.step, value])
            if history.best is None or value < history.best:
                history.best, history.best_step = value, history.step
                self.best = [average.clone() for average in self.average]
            if self.watch is not None:
                self.watch(history)

    def over(self) -> bool:
        """Whether to stop, and in `history.stopped` why."""
        history, hyper = self.history, self.hyper
        if history.step >= hyper.steps:
            history.stopped = "steps"
        elif hyper.patience is not None and history.since_best() >= hyper.patience:
            history.stopped = "patience"
        elif hyper.minutes is not None and history.seconds >= 60 * hyper.minutes:
            history.stopped = "minutes"
        else:
            history.stopped = ""
        return bool(history.stopped)

    def finish(self, tell: Tell | None, what: str) -> None:
        """Look at the loss and, where the budget ended between two validations, at the last average."""
        if self.counted:
            self.report(None, what)
        judged = self.history.validations[-1][0] if self.history.validations else -1
        if self.validate is not None and judged != self.history.step:
            self.judge()
        self.report(tell, what)

    def _precision(self) -> torch.autocast:
        """Entered anew for every forward: autocast keeps the cast weights as long as it lasts, updated or not."""
        return torch.autocast(self.average[0].device.type, torch.bfloat16, enabled=self.hyper.precision == "bf16")

    def save(self, saving: Saving) -> None:
        """Write everything the rest of the training depends on."""
        moments = {
            name: dict(self.optimiser.state[value]) for name, value in zip(self.names, self.parameters, strict=True)
        }
        state: dict[str, Any] = {
            "facts": saving.told(self.hyper),
            "history": asdict(self.history),
            "total": self.total,
            "counted": self.counted,
            "weights": dict(zip(self.names, self.parameters, strict=True)),
            "average": dict(zip(self.names, self.average, strict=True)),
            "best": None if self.best is self.average else dict(zip(self.names, self.best, strict=True)),
            "moments": moments,
            "loss": {name: part.state_dict() for name, part in self.remembering.items()},
        }
        save_checkpoint(saving.path, state)

    def load(self, saving: Saving) -> None:
        """Continue what was saved, in place."""
        state = load_checkpoint(saving.path)
        saving.check(state.get("facts"), self.hyper)
        self.history = History(**state["history"])
        self.total.copy_(state["total"])
        self.counted = int(state["counted"])
        _copy([state["weights"][name] for name in self.names], self.parameters)
        _copy([state["average"][name] for name in self.names], self.average)
        if state["best"] is not None:
            self.best = [state["best"][name].to(mine) for name, mine in zip(self.names, self.average, strict=True)]
        for name, value in zip(self.names, self.parameters, strict=True):
            moments = state["moments"][name]
            self.optimiser.state[value] = {
                key: moment.to(value.device) if moment.dim() else moment for key, moment in moments.items()
            }
        for name, part in self.remembering.items():
            part.load_state_dict(state["loss"][name])


def _trained(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    named = [(name, value) for name, value in module.named_parameters() if value.requires_grad]
    if not named:
        raise ValueError("the network has no parameter that asks for a gradient, wanted at least one")
    return named


@contextmanager
def _training(module: nn.Module) -> Generator[None]:
    """Gradients are on, and none is left behind."""
    try:
        with torch.enable_grad():
            yield
    finally:
        module.zero_grad(set_to_none=True)


@contextmanager
def _wearing(weights: Sequence[nn.Parameter], average: Sequence[Tensor]) -> Generator[None]:
    """Inside the module has the averaged weights."""
    own = [value.detach().clone() for value in weights]
    _copy(average, weights)
    try:
        with torch.no_grad():
            yield
    finally:
        _copy(own, weights)


@torch.no_grad()
def _copy(source: Sequence[Tensor], target: Sequence[Tensor]) -> None:
    for value, place in zip(source, target, strict=True):
        place.copy_(value)
