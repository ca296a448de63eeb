"""A training step of Minimax against the whole of it in float64: noise, bound, criteria, and what the memories hold."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor, nn

from infodistill.diffusion.contract import UNCONDITIONAL, Prediction
from infodistill.diffusion.fitting.supply import LatentSupply
from infodistill.diffusion.memory import Memory
from infodistill.diffusion.minimax import Minimax, MinimaxLoss
from infodistill.diffusion.model import DiffusionModel, Pixels, signed_pixels
from infodistill.diffusion.schedules import linear_alphas_bar, sigmas_of
from infodistill.seeding import stream
from oracles import minimax as oracle

SHAPE, CLASSES, COUNT, LEVELS = (2, 3, 3), 3, 26, 40
HOW = Minimax(batch=5, memory=3, representative=0.3, diverse=0.7, dropout=0.4, seed=3)
ABAR = linear_alphas_bar(LEVELS, first=1e-3, last=0.2)


def normal(*shape: int, owner: str) -> Tensor:
    return torch.randn(*shape, generator=stream(0, owner), dtype=torch.float64)


class Affine(nn.Module):
    """x0 = a x + b_y, the null class last; spread = sigmoid(c), c an image; keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.6, dtype=torch.float64))
        self.b = nn.Parameter(normal(CLASSES + 1, *SHAPE, owner="b"))
        self.c = nn.Parameter(normal(*SHAPE, owner="c"))
        self.shown: list[tuple[Tensor, Tensor, Tensor]] = []

    def denoise(self, x: Tensor, sigma: Tensor, y: Tensor) -> Prediction:
        self.shown.append((x, sigma, y))
        return Prediction(self.a * x + self.b[y], self.c.sigmoid().expand_as(x))


@dataclass(frozen=True)
class Listening:
    """A supply that keeps which rows it was asked for, and what it gave."""

    inner: LatentSupply
    given: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    @property
    def y(self) -> Tensor:
        return self.inner.y

    @property
    def flips(self) -> bool:
        return self.inner.flips

    def __len__(self) -> int:
        return len(self.inner)

    def images(self, index: Tensor, mirrored: Tensor) -> Tensor:
        x = self.inner.images(index, mirrored)
        self.given.append((index, mirrored, x))
        return x


def fine_tuning(how: Minimax = HOW, null: bool = True) -> tuple[MinimaxLoss, Affine, Listening]:
    x = normal(COUNT, *SHAPE, owner="supply")
    supply = Listening(LatentSupply(x, torch.arange(COUNT) % CLASSES, x.flip(3)))
    module = Affine()
    names = ("a", "b", "c")
    model = DiffusionModel(module.denoise, ABAR, SHAPE, Pixels(), names, signed_pixels(2), null, module)
    return MinimaxLoss(model, supply, torch.arange(COUNT), how, Memory(how.memory), Memory(how.memory)), module, supply


@pytest.mark.parametrize("null", [True, False], ids=["dropped labels", "no null class"])
def test_value_and_gradient_of_every_step_are_the_oracles(null: bool) -> None:
    """Eight steps: the memories are empty, fill, and forget. Sigmas are a float32 table, hence the tolerance."""
    loss, module, supply = fine_tuning(null=null)
    queues = (oracle.Queue(HOW.memory), oracle.Queue(HOW.memory))
    sigmas, parts = sigmas_of(ABAR), list[float]()
    for number in range(8):
        module.zero_grad()
        value = loss(number)
        value.backward()
        (x, sigma, asked), (index, _, x0) = module.shown[-1], supply.given[-1]
        y = supply.y[index].tolist()
        assert all(
            seen in ((true, UNCONDITIONAL) if null else (true,)) for seen, true in zip(asked.tolist(), y, strict=True)
        )
        levels = [int((sigmas - level).abs().argmin()) for level in sigma.tolist()]
        told = (module.a * x + module.b[asked]).detach()
        v = 2 * module.c.detach().sigmoid().expand_as(x) - 1
        arguments = (x0, x, told, v, y, levels, ABAR.tolist(), queues, HOW.representative, HOW.diverse)
        wanted, in_told, in_v = oracle.step(*arguments)
        plain = oracle.step(*arguments[:-2], 0.0, 0.0)[0]
        parts.append(wanted - plain)
        torch.testing.assert_close(float(value.detach()), wanted, rtol=1e-5, atol=1e-7)
        in_b = torch.stack([(in_told * (asked == c).view(-1, 1, 1, 1)).sum(0) for c in (0, 1, 2, UNCONDITIONAL)])
        spread = module.c.detach().sigmoid()
        for mine, theirs in (
            (module.a.grad, (in_told * x).sum()),
            (module.b.grad, in_b),
            (module.c.grad, (in_v.sum(0) * 2 * spread * (1 - spread))),
        ):
            torch.testing.assert_close(mine, theirs.detach(), rtol=1e-4, atol=1e-6)
        for queue, images in zip(queues, (x0, told), strict=True):
            queue.add(images, y)
    assert parts[0] == 0 and min(map(abs, parts[2:])) > 0.01  # the criteria are there once something is remembered
    for queue, memory in zip(queues, (loss.real, loss.made), strict=True):
        assert len(memory) == CLASSES * HOW.memory
        for label, rows in queue.stacked().items():
            torch.testing.assert_close(memory.of(label), rows, rtol=1e-12, atol=0)
            assert not memory.of(label).requires_grad  # type: ignore[union-attr]


def test_a_step_draws_what_it_says() -> None:
    """Every row once an epoch, whole batches only; levels over the whole table; standard noise; halves flipped."""
    loss, module, supply = fine_tuning(replace(HOW, memory=1))
    per_epoch = loss.steps_per_epoch
    assert per_epoch == 5
    for number in range(40 * per_epoch):
        loss(number)
    order = torch.stack([index for index, _, _ in supply.given]).view(40, -1)
    assert all(len(set(epoch.tolist())) == 25 for epoch in order) and not torch.equal(order[0], order[1])
    assert set(order.flatten().tolist()) == set(range(COUNT))  # another row is left out every time
    x, sigma, asked = (torch.cat(parts) for parts in zip(*module.shown, strict=True))
    x0 = torch.cat([images for _, _, images in supply.given])
    noise = ((x - x0) / sigma.view(-1, 1, 1, 1)).flatten()
    assert abs(float(noise.mean())) < 0.02 and float(noise.std()) == pytest.approx(1, abs=0.02)
    levels = (sigmas_of(ABAR)[None] - sigma[:, None]).abs().argmin(1)
    assert (levels.bincount(minlength=LEVELS) > 0).all() and float(levels.double().mean()) == pytest.approx(19.5, abs=1)
    assert float((asked == UNCONDITIONAL).double().mean()) == pytest.approx(HOW.dropout, abs=0.05)
    mirrored = torch.cat([flips for _, flips, _ in supply.given])
    assert float(mirrored.double().mean()) == pytest.approx(0.5, abs=0.05)


def test_a_step_is_keyed_by_the_seed_and_its_number() -> None:
    shown = []
    for seed, number in ((3, 4), (3, 4), (3, 5), (4, 4)):
        loss, module, _ = fine_tuning(replace(HOW, seed=seed))
        loss(number)
        shown.append(module.shown[0])
    assert all(torch.equal(a, b) for a, b in zip(shown[0], shown[1], strict=True))
    assert not any(torch.equal(shown[0][0], other[0]) for other in shown[2:])
