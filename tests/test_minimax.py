"""Minimax: the criteria against loops over pairs, the memories, what DiffFit trains, fine-tuning a copy, resume."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from analytic import two_blobs
from infodistill.diffusion.contract import Prediction
from infodistill.diffusion.fitting.diffit import diffit_parameters, own_copy
from infodistill.diffusion.fitting.generative_fit import Saving
from infodistill.diffusion.fitting.learned_range import variational_bits
from infodistill.diffusion.fitting.supply import LatentSupply
from infodistill.diffusion.memory import Memory, cosines
from infodistill.diffusion.minimax import Minimax, diffusion_loss, minimax, minimax_loss
from infodistill.diffusion.model import DiffusionModel, Pixels, signed_pixels
from infodistill.diffusion.models.adapters import Denoiser
from infodistill.diffusion.models.networks import build, module_call
from infodistill.diffusion.models.predictions import from_noise
from infodistill.diffusion.schedules import linear_alphas_bar, sigmas_of
from infodistill.running.checkpoint import load_checkpoint, save_checkpoint
from infodistill.seeding import stream
from oracles import minimax as oracle
from shapes import check

SHAPE = (2, 3, 3)
SMALL = Minimax(epochs=2, batch=4, lr=0.01, ema=0.9, memory=3)
criteria = check(minimax_loss)


def images(count: int, label: str = "x", dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, *SHAPE, generator=stream(0, label), dtype=dtype)


def filled(rows: Tensor, labels: list[int], size: int = 64) -> Memory:
    memory = Memory(size)
    memory.extend(rows, torch.as_tensor(labels))
    return memory


def network_model() -> DiffusionModel:
    module = build({"kind": "mlp", "shape": list(SHAPE), "classes": 3, "width": 8, "depth": 1})
    nn.init.normal_(module.get_parameter("leave.1.weight"), generator=stream(0, "leave"))
    alphas_bar = linear_alphas_bar(100)
    denoise = Denoiser(partial(module_call, module), alphas_bar, from_noise, (0, 1, 2), 3)
    names = ("a", "b", "c")
    return DiffusionModel(denoise, alphas_bar, SHAPE, Pixels(), names, signed_pixels(2), True, module)


def supply(count: int = 18, flips: bool = False) -> LatentSupply:
    x = images(count, "supply", torch.float32)
    return LatentSupply(x, torch.arange(count) % 3, x.flip(3) if flips else None)


def weights(model: DiffusionModel) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.module.named_parameters()}


def test_the_criteria_and_their_gradient_are_those_of_loops_over_pairs() -> None:
    y = [0, 2, 0, 1, 2, 0]
    x0, labels = images(6).requires_grad_(), torch.as_tensor(y)
    seen, before = images(9, "seen"), images(7, "before")
    real, made = filled(seen, [0, 0, 0, 2, 2, 2, 2, 0, 2]), filled(before, [2, 0, 0, 2, 0, 0, 2])
    value = criteria(x0, labels, (real, made), representative=0.3, diverse=0.7)
    (gradient,) = torch.autograd.grad(value, x0)
    held = [{c: m.of(c) for c in (0, 1, 2) if m.of(c) is not None} for m in (real, made)]
    wanted, slope = oracle.criteria(x0.detach(), y, held[0], held[1], 0.3, 0.7)  # type: ignore[arg-type]
    torch.testing.assert_close(float(value.detach()), wanted, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, slope, rtol=1e-10, atol=1e-14)


def test_one_pair_of_a_class_receives_gradient() -> None:
    x0, y = images(8).requires_grad_(), torch.tensor([0] * 4 + [1] * 4)
    memory = filled(images(20, "m"), [0, 1] * 10)
    empty = filled(images(2, "zero") * 0, [0, 1])  # cosine 0 with everything, and no gradient
    for real, made in ((memory, empty), (empty, memory)):
        (gradient,) = torch.autograd.grad(criteria(x0, y, (real, made)), x0)
        assert [int((row != 0).any(1).sum()) for row in gradient.flatten(1).unflatten(0, (2, 4))] == [1, 1]


def test_a_class_without_memory_adds_nothing_but_counts() -> None:
    x0, memory = images(2), filled(images(3, "m"), [0, 0, 0])
    alone = criteria(x0[:1], torch.tensor([0]), (memory, memory))
    both = criteria(x0, torch.tensor([0, 1]), (memory, memory))
    torch.testing.assert_close(both, alone / 2)
    assert float(criteria(x0, torch.tensor([1, 2]), (memory, memory))) == 0


def test_a_memory_forgets_the_oldest_first_and_is_saved(tmp_path: Path) -> None:
    x, memory = images(10), Memory(3)
    for i in range(0, 10, 2):
        memory.extend(x[i : i + 2], torch.tensor([4, 7 if i == 4 else 4]))
    own = memory.of(4)
    assert own is not None and torch.equal(own, x[[7, 8, 9]]) and len(memory) == 4 and memory.of(0) is None
    save_checkpoint(tmp_path / "m", memory.state_dict())
    other = Memory(3)
    other.load_state_dict(load_checkpoint(tmp_path / "m"))
    assert all(torch.equal(a, b) for a, b in zip(own, other.of(4), strict=True)) and len(other) == 4  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="holds 3 images per class, this one 2"):
        Memory(2).load_state_dict(memory.state_dict())


def test_cosines_of_zero_images_are_zero_with_zero_gradient() -> None:
    a = torch.zeros(1, *SHAPE, requires_grad=True)
    value = check(cosines)(a, images(2, dtype=torch.float32))
    assert value.tolist() == [[0, 0]]
    assert not torch.autograd.grad(value.sum(), a)[0].any()


def test_the_bound_of_a_learned_variance_is_the_kl_of_the_step() -> None:
    abar = linear_alphas_bar(20)
    x0, told = images(3), images(3, "told").requires_grad_()
    v = torch.rand(3, *SHAPE, generator=stream(0, "v"), dtype=torch.float64).mul(2).sub(1).requires_grad_()
    sigmas = sigmas_of(abar)
    sigma, lower = sigmas[[4, 10, 19]], sigmas[[3, 9, 18]]
    mine = check(variational_bits)(Prediction(told, (v + 1) / 2), x0, sigma, lower)
    pairs = [(4, 3), (10, 9), (19, 18)]
    rows = [(x0[i : i + 1], told[i : i + 1].detach(), v[i : i + 1]) for i in range(3)]
    wanted = torch.cat(
        [oracle.step_bits(*row, float(abar[t]), float(abar[s])) for row, (t, s) in zip(rows, pairs, strict=True)]
    )
    torch.testing.assert_close(mine, wanted, rtol=1e-9, atol=1e-12)
    slopes = [torch.autograd.grad(value.sum(), v, retain_graph=True)[0] for value in (mine, wanted)]
    torch.testing.assert_close(*slopes, rtol=1e-8, atol=1e-12)
    assert torch.autograd.grad(mine.sum(), told, allow_unused=True)[0] is None
    assert variational_bits(Prediction(told, (v + 1) / 2), x0, sigma, lower * 0).tolist() == [0, 0, 0]


def test_the_diffusion_loss_is_that_of_the_predicted_noise() -> None:
    x0, eps, sigma = images(4), images(4, "eps"), torch.tensor([0.1, 1.0, 3.0, 20.0]).double()
    wide = sigma.view(-1, 1, 1, 1)
    guess = images(4, "guess")
    told = Prediction((x0 + wide * eps) - wide * guess)
    wanted = (guess - eps).square().mean()
    torch.testing.assert_close(diffusion_loss(told, x0, sigma, sigma / 2, levels=10), wanted)


def test_diffit_trains_biases_norms_and_class_codes_of_the_mlp() -> None:
    module = network_model().module
    names = set(diffit_parameters(module))
    left = {name for name, _ in module.named_parameters()} - names
    assert {"label.weight", "leave.0.weight", "enter.bias", "blocks.0.norm.weight"} <= names
    assert left == {name for name in left if name.endswith("weight")} and "enter.weight" in left and len(left) == 7
    with pytest.raises(ValueError, match="no bias, normalisation or class code"):
        diffit_parameters(nn.Conv2d(1, 1, 1, bias=False))


def test_diffit_trains_no_conditioning_weights_of_a_dit_of_diffusers() -> None:
    pytest.importorskip("diffusers")
    config = {"kind": "dit", "shape": [2, 4, 4], "classes": 3, "patch": 2, "heads": 2, "head_width": 4, "depth": 2}
    module = build(config)
    names = set(diffit_parameters(module))
    weights = {name for name in names if not name.endswith("bias")}
    assert weights == {f"transformer_blocks.{i}.norm1.emb.class_embedder.embedding_table.weight" for i in (0, 1)}
    assert "transformer_blocks.0.norm1.linear.bias" in names and "pos_embed.proj.bias" in names


def test_fine_tuning_moves_what_diffit_trains_in_a_copy_and_nothing_else() -> None:
    model = network_model()
    before = weights(model)
    tuned = minimax(model, supply(flips=True), SMALL)
    assert all(torch.equal(before[name], value) for name, value in weights(model).items())
    moved = {name for name, value in weights(tuned).items() if not torch.equal(before[name], value)}
    assert moved == set(diffit_parameters(model.module))
    assert all(value.requires_grad for value in tuned.module.parameters())
    x, sigma, y = images(3, dtype=torch.float32), torch.ones(3), torch.arange(3)
    assert not torch.equal(model.denoise(x, sigma, y).x0, tuned.denoise(x, sigma, y).x0)
    assert tuned.codec is model.codec and tuned.facts["minimax"]["steps"] == 8


def test_the_criteria_reach_the_weights() -> None:
    plain, heavy = (
        minimax(network_model(), supply(), replace(SMALL, representative=a, diverse=b)) for a, b in ((0, 0), (2, 8))
    )
    assert any(not torch.equal(value, weights(heavy)[name]) for name, value in weights(plain).items())


@dataclass(frozen=True)
class Failing:
    """A supply that is cut off at its n-th batch."""

    inner: LatentSupply
    after: int
    calls: list[int] = field(default_factory=list)

    @property
    def y(self) -> Tensor:
        return self.inner.y

    @property
    def flips(self) -> bool:
        return self.inner.flips

    def __len__(self) -> int:
        return len(self.inner)

    def images(self, index: Tensor, mirrored: Tensor) -> Tensor:
        self.calls.append(1)
        if len(self.calls) > self.after:
            raise KeyboardInterrupt
        return self.inner.images(index, mirrored)


def test_a_killed_fine_tuning_continues_to_the_bit_memories_included(tmp_path: Path) -> None:
    strong = replace(SMALL, representative=1.0, diverse=1.0)  # so that another memory would show
    whole = minimax(network_model(), supply(flips=True), strong)
    saving = Saving(tmp_path / "minimax", every=0)
    with pytest.raises(KeyboardInterrupt):
        minimax(network_model(), Failing(supply(flips=True), 5), strong, saving=saving)
    again = minimax(network_model(), supply(flips=True), strong, saving=saving)
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(again).items())
    with pytest.raises(ValueError, match="minimax differ"):
        minimax(network_model(), supply(flips=True), SMALL, saving=saving)


def test_only_the_classes_asked_for_are_trained_on() -> None:
    @dataclass(frozen=True)
    class Listening(Failing):
        def images(self, index: Tensor, mirrored: Tensor) -> Tensor:
            self.calls.extend(self.y[index].tolist())
            return self.inner.images(index, mirrored)

    heard = Listening(supply(), 0)
    tuned = minimax(network_model(), heard, SMALL, classes=[2, 0])
    assert set(heard.calls) == {0, 2} and tuned.facts["minimax"]["images"] == 12
    few = minimax(network_model(), supply(), replace(SMALL, per_class=2))
    assert few.facts["minimax"]["images"] == 6 and few.facts["minimax"]["steps"] == 2


def test_what_cannot_be_fine_tuned_is_refused() -> None:
    with pytest.raises(ValueError, match="does not run its module"):
        minimax(two_blobs(), supply())
    with pytest.raises(ValueError, match="does not run its module"):
        own_copy(replace(network_model(), module=nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="batches of 8, got only 6"):
        minimax(network_model(), supply(6))
    with pytest.raises(ValueError, match="no images of class 3"):
        minimax(network_model(), supply(), classes=[3])
