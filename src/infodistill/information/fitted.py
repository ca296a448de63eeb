"""Critics and conditionals fitted on one half of the samples and read on the other: bounds of I(X; Y) in nats.

A critic that is read on the pairs it was fitted on bounds nothing: a wide network reaches log n on independent samples.
So the rows are split once, by a keyed permutation: 40 % fit, 10 % say when to stop, 50 % are read. Given the fitted
network the read pairs are fresh, and what `bounds` and `variational` say of a fixed critic holds.

    critic        E_1 softplus(-s) + E_0 softplus(s), smallest at s = log(p_joint / p_product)
    conditional   -E_1 log q(y|x), q(y|x) = N(mean(x), diag variance(x))

Both sides are put to mean 0 and variance 1 by the fitted half (information does not change). Independent pairs are all
pairs of different rows within blocks, so memory does not grow with n beyond the samples themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from infodistill.diffusion.fitting.generative_fit import GenerativeFit
from infodistill.diffusion.fitting.loop import fit_generative
from infodistill.information.bounds import infonce_lower_bound, nwj_lower_bound
from infodistill.information.variational import club_upper_bound, donsker_varadhan_lower_bound
from infodistill.nets.initialise import initialise
from infodistill.seeding import stream

Pairing = Callable[[int, int], nn.Module]
"""make(p, q) -> a module whose forward(x (n, p), y (m, q)) gives every pair a number, (n, m)."""


class Separable(nn.Module):
    """s(x, y) = <f(x), g(y)>, two networks with one hidden layer: every pair costs one product."""

    def __init__(self, p: int, q: int, *, width: int = 128, dim: int = 32) -> None:
        super().__init__()
        self.left, self.right = (_layers(columns, width, dim) for columns in (p, q))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.left(x) @ self.right(y).T


class Joint(nn.Module):
    """s(x, y), one network of both with two hidden layers: sees more than a separable one, costs a forward per pair.

    At the default block of 256 that is a hundred times a separable critic's time: pass a block of about 64.
    """

    def __init__(self, p: int, q: int, *, width: int = 64) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(p, width), nn.Linear(q, width, bias=False)
        self.rest = _layers(width, width, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.rest(torch.relu(self.left(x)[:, None] + self.right(y))).squeeze(-1)


class GaussianConditional(nn.Module):
    """log q(y|x) of every pair, q(y|x) = N(mean(x), diag variance(x)), nats."""

    def __init__(self, p: int, q: int, *, width: int = 128) -> None:
        super().__init__()
        self.mean, self.log_variance = (_layers(p, width, q) for _ in range(2))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        mean, log_variance = self.mean(x), self.log_variance(x).clamp(-12, 12)
        precision = (-log_variance).exp()
        # The square multiplied out: differences of all pairs would need (n, m, q) numbers.
        squares = precision @ y.square().T - 2 * (precision * mean) @ y.T + (precision * mean.square()).sum(1)[:, None]
        return -0.5 * (squares + (log_variance + math.log(2 * math.pi)).sum(1)[:, None])


@dataclass(frozen=True)
class Samples:
    """Joint samples, standardised: x (n, p), y (n, q), and which rows fit, which say when to stop, which are read."""

    x: Tensor
    y: Tensor
    fit: Tensor
    stop: Tensor
    read: Tensor


QUICK = GenerativeFit(steps=1500, lr=2e-3, ema=0.98, validate_every=50, patience=6)


def fitted_bounds(
    x: Float[Tensor, "n ..."],
    y: Float[Tensor, "n ..."],
    seed: int = 0,
    *,
    critic: Pairing = Separable,
    conditional: Pairing = GaussianConditional,
    hyper: GenerativeFit = QUICK,
    block: int = 256,
) -> dict[str, float]:
    """Readings of one fitted critic and one fitted conditional on the half of the samples they never saw, in nats.

    Before it is read, the critic gets a ceiling and a constant chosen on the rows that stopped it (ours).
    Returns "dv", "nwj", "infonce" and "club". NWJ and InfoNCE (at most log(block)) are lower bounds in expectation; DV
    is one up to its upward bias of order e^I / pairs, and at least NWJ; all three fall short where the critic does.
    CLUB is an upper bound only as far as the fitted conditional is the true one: no bound, an indication. Expect the
    lower bounds to lose much at I above 4 nats and at few samples.

    Args:
        x: (n, p) samples, or (n,).
        y: (n, q) or (n,) samples of the same draws; one-hot classes serve the critic, not the Gaussian conditional.
        seed: key of the split, the weights and the batches.
        critic: makes the critic; `Separable` or `Joint`, or `partial(Separable, width=...)`.
        conditional: makes log q(y|x).
        hyper: of both fits; the step count is an upper limit.
        block: rows of a batch, and of what is read together; at least 2.

    Raises:
        ValueError: the lengths differ or there are fewer than 20 rows.
    """
    samples = split_samples(x, y, seed)
    stopped, scores = _fitted(critic, _logistic, samples, _Run("critic", seed, hyper, block))
    _, log_q = _fitted(conditional, _likelihood, samples, _Run("conditional", seed, hyper, block))
    joint, product = (levelled(part, *_level(*_gathered(stopped))) for part in _gathered(scores))
    return {
        "dv": float(donsker_varadhan_lower_bound(joint, product)),
        "nwj": float(nwj_lower_bound(joint, product, n=1)),
        "infonce": sum(float(infonce_lower_bound(part.double())) * len(part) for part in scores) / len(joint),
        "club": float(club_upper_bound(*_gathered(log_q))),
    }


def split_samples(x: Tensor, y: Tensor, seed: int) -> Samples:
    """A keyed split in 40 %, 10 % and 50 %, standardised by the first two parts; constant columns become 0."""
    if len(x) != len(y) or len(x) < 20:
        raise ValueError(f"x and y need as many rows as each other, at least 20, got {len(x)} and {len(y)}")
    order = torch.randperm(len(x), generator=stream(seed, "fitted.split")).to(x.device)
    fit, stop, read = order.tensor_split([int(0.4 * len(x)), int(0.5 * len(x))])
    known = order[: len(fit) + len(stop)]
    return Samples(_standard(x, known), _standard(y, known), fit, stop, read)


Cost = Callable[[Tensor], Tensor]
"""cost(values of all pairs of a batch (b, b)) -> scalar; joint pairs on the diagonal."""


@dataclass(frozen=True)
class _Run:
    name: str
    seed: int
    hyper: GenerativeFit
    block: int


def _fitted(make: Pairing, cost: Cost, samples: Samples, run: _Run) -> tuple[list[Tensor], list[Tensor]]:
    """The fitted module's values on blocks of the rows that stopped it, and of those that are read, (b, b) each."""
    module = make(samples.x.shape[1], samples.y.shape[1]).to(samples.x)
    initialise(module, stream(run.seed, f"fitted.{run.name}"))

    def loss(step: int) -> Tensor:
        generator = stream(run.seed, f"fitted.{run.name}.batch", step)
        rows = samples.fit[torch.randperm(len(samples.fit), generator=generator)[: run.block].to(samples.fit.device)]
        return cost(module(samples.x[rows], samples.y[rows]))

    def validate() -> float:
        blocks = _values(module, samples, samples.stop, run.block)
        return sum(float(cost(part)) * len(part) for part in blocks) / len(samples.stop)

    fit_generative(module, loss, run.hyper, validate=validate, what=f"the {run.name}")
    return _values(module, samples, samples.stop, run.block), _values(module, samples, samples.read, run.block)


def levelled(scores: Tensor, ceiling: float, shift: float) -> Tensor:
    """The critic min(s, ceiling) - shift."""
    return scores.clamp(max=ceiling) - shift


def _level(joint: Tensor, product: Tensor) -> tuple[float, float]:
    """The ceiling, and the shift that makes the mean exponential 1, at which DV is largest on these scores.

    One independent pair with a large score ruins a mean exponential. A critic with a ceiling is a critic, so its
    readings on other rows are bounds like any other's.
    """

    def shift(ceiling: float) -> float:
        return float(product.clamp(max=ceiling).logsumexp(0)) - math.log(len(product))

    def reading(ceiling: float) -> float:
        return float(joint.clamp(max=ceiling).mean()) - shift(ceiling)

    ceilings = joint.quantile(torch.linspace(0, 1, 21, dtype=joint.dtype, device=joint.device)).tolist()
    best: float = max(ceilings, key=reading)
    return best, shift(best)


@torch.no_grad()
def _values(module: nn.Module, samples: Samples, rows: Tensor, block: int) -> list[Tensor]:
    parts = rows.tensor_split(max(1, math.ceil(len(rows) / block)))
    return [module(samples.x[part], samples.y[part]).double() for part in parts]


def _gathered(blocks: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The values of joint and of independent pairs, flat."""
    return torch.cat([part.diagonal() for part in blocks]), torch.cat([_off_diagonal(part) for part in blocks])


def _logistic(scores: Tensor) -> Tensor:
    return F.softplus(-scores.diagonal()).mean() + F.softplus(_off_diagonal(scores)).mean()


def _likelihood(log_q: Tensor) -> Tensor:
    return -log_q.diagonal().mean()


def _off_diagonal(square: Tensor) -> Tensor:
    return square[~torch.eye(len(square), dtype=torch.bool, device=square.device)]


def _standard(side: Tensor, known: Tensor) -> Tensor:
    rows = side.detach().to(torch.promote_types(side.dtype, torch.float32))
    rows = rows.flatten(1) if rows.ndim > 1 else rows[:, None]
    spread, mean = torch.std_mean(rows[known], 0)
    return (rows - mean) / torch.where(spread > 0, spread, 1)


def _layers(columns: int, width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(columns, width), nn.ReLU(), nn.Linear(width, out))
