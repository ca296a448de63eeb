"""Usable information of a set: what a family of classifiers, trained on the set alone, tells about real labels.

    I_V = log C + E_{(x, y) real, held out} log q(y | x),    q fitted to the set

The predictive V-information of Xu et al. (ICLR 2020) with its empirical risk taken on the set, for labels uniform
over C classes, whose entropy log C needs no predictor. Why it is a lower bound on the real I(X;Y), and on the
V-information of the family under the real law: E log p(y|x) - E log q(y|x) is E_x KL(p || q) >= 0 for *every* q that
has not seen the rows it is judged on, and the family's best q, chosen on the real law, can only be better than one
chosen on the set.

A network fitted to ten images a class is far too sure of itself, which would drown what it knows. So one number, the
temperature, is read from real *training* images, as P3's bandwidth is (our choice); it cannot change a prediction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from infodistill.compute import View
from infodistill.descent import cross_entropy_rows
from infodistill.diffusion.features import Feature, Pooled
from infodistill.nets.initialise import initialise
from infodistill.seeding import stream
from infodistill.training import Fit, fit
from infodistill.types import Batch, LabelKind, NetFactory

Decoder = Callable[[Batch], Tensor]
"""decoder(images) -> logits (n, C)."""

Family = Callable[[Batch, int], Decoder]
"""family(set, seed) -> a member of the family, trained on the set."""

EIGHT = Pooled()
"""At most 8 x 8 pixels."""

TEMPERATURES = (*(10 ** (step / 20) for step in range(-40, 41)), math.inf)
"""Tried on training images: 0.01 to 100, and that at which nothing is claimed, so a useless set reads about 0."""


def temperature(logits: Float[Tensor, "r c"], y: Int[Tensor, " r"]) -> float:
    """Of `TEMPERATURES` the one at which softmax(logits / T) is the most likely on these rows."""
    return max(TEMPERATURES, key=lambda t: float(log_likelihood(logits, y, t).mean()))


def log_likelihood(logits: Float[Tensor, "r c"], y: Int[Tensor, " r"], t: float) -> Float[Tensor, " r"]:
    """The log q(y | x) of every row in nats, q = softmax(logits / t); at most 0."""
    return (logits.double() / t).log_softmax(1).gather(1, y[:, None]).squeeze(1)


@torch.no_grad()
def usable_rows(family: Family, syn: Batch, known: Batch, judged: Batch, *, seed: int = 0) -> Tensor:
    """The log q(y | x) of every row of `judged`, (r,) in nats, by a member of `family` trained on `syn`.

    Args:
        family: what is trained; hard labels, or soft ones where the set has them; regression scores as classes.
        syn: the set.
        known: real training images, which set the temperature.
        judged: real images that nothing was fitted to.
        seed: key of the training.
    """
    decoder = family(replace(syn, target=syn.membership(), kind=LabelKind.PROBABILITIES), seed)
    return log_likelihood(decoder(judged), judged.y, temperature(decoder(known), known.y))


@dataclass(frozen=True)
class Linear:
    """Softmax regression with the penalty (l2 / 2) |W|^2 on averaged pixels, by L-BFGS.

    Unlike `information.usable.linear` it learns from soft labels, and scales all pixels by one number: with a few
    images per class the spread of a single pixel is noise (DM digits, ten a class: 2.05 nats with it, 2.13 without).
    """

    feature: Feature = EIGHT
    l2: float = 0.01
    steps: int = 100

    def __call__(self, syn: Batch, seed: int) -> Decoder:
        del seed  # the problem is convex and starts at zero
        f = self._read(syn)
        centre = f.mean(0)
        scale = (f - centre).square().mean().sqrt()
        scale = torch.where(scale > 0, scale, 1)
        weight = self._fitted((f - centre) / scale, syn.target.double())
        return lambda batch: _affine((self._read(batch) - centre) / scale, weight)

    def _read(self, batch: Batch) -> Tensor:
        return self.feature(batch.space.to_pixels(batch.x.float())).double()

    @torch.enable_grad()
    def _fitted(self, f: Tensor, target: Tensor) -> Tensor:
        weight = f.new_zeros(f.shape[1] + 1, target.shape[1], requires_grad=True)
        search = torch.optim.LBFGS([weight], max_iter=self.steps, line_search_fn="strong_wolfe")

        def loss() -> float:
            search.zero_grad()
            penalty = self.l2 / 2 * weight[1:].square().sum()
            value = cross_entropy_rows(_affine(f, weight), target).mean() + penalty
            value.backward()  # pyright: ignore[reportUnknownMemberType]
            return float(value.detach())

        search.step(loss)
        return weight.detach()


@dataclass(frozen=True)
class Network:
    """A network of the library from fresh weights, trained by SGD for about `updates` updates whatever the set's size.

    Unlike `information.usable.network` it learns from soft labels, and in the value space of the set.
    """

    factory: NetFactory
    updates: int = 120
    batch: int = 64
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def __call__(self, syn: Batch, seed: int) -> Decoder:
        c, h, w = syn.x.shape[1:]
        module = self.factory((int(c), int(h), int(w)), syn.target.shape[1])
        initialise(module, stream(seed, "measure.network.init"))
        module.to(syn.x.device)
        passes = math.ceil(self.updates / math.ceil(len(syn) / self.batch))
        half = passes // 2
        rates = Fit(
            passes, self.batch, self.lr, self.momentum, self.weight_decay, decay=lambda e: 1.0 if e < half else 0.1
        )
        fit(module, syn, rates, stream(seed, "measure.network.train"), space=syn.space)
        view = View.own(module.requires_grad_(False).eval(), space=syn.space)
        return lambda batch: view.logits(batch.x, batch.space)


def _affine(f: Tensor, weight: Tensor) -> Tensor:
    return f @ weight[1:] + weight[0]
