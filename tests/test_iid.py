"""IID's two relations: against class loops in float64, their closed forms and invariances, and in a job."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from infodistill.compute import Policy, View
from infodistill.distillation import Distillation
from infodistill.methods.dm import dm
from infodistill.methods.idm import idm
from infodistill.methods.iid import LastMap, iid, last_map, last_map_rows, local_covariance, spread
from infodistill.nets.classic import alexnet, lenet, mlp, vgg11
from infodistill.nets.convnet import convnet
from infodistill.nets.resnet import resnet18
from infodistill.seeding import stream
from infodistill.sources.teachers import random_teachers
from infodistill.types import Batch, NetFactory, pixel_space
from infodoubles import Gain, PixelTeacher, gaussian
from oracles import iid as oracle
from table import NET, tiny_real

REAL = tiny_real()
COMMON: dict[str, object] = {"ipc": 2, "seed": 5, "real_per_class": 6, "augment": Gain()}


def job(net: NetFactory = NET, teachers: PixelTeacher | None = None, **changes: object) -> Distillation:
    pool = teachers or random_teachers(convnet(depth=2, width=6), REAL, count=2, seed=3)
    return iid(REAL, net, teachers=pool, **{**COMMON, **changes})  # type: ignore[arg-type]


def wide(made: Distillation) -> tuple[Batch, Batch, Tensor]:
    """The first step's batches in float64 and the stored images behind them; all networks in float64."""
    looks = made.terms["match"].term.looks  # type: ignore[attr-defined]
    looks.nets.draw().module.double()
    pixels = made.syn.pixels.detach().double().requires_grad_()
    syn, real = made.syn.batch(), REAL.batch(5, 0, 6)
    target = syn.target.double()
    return replace(syn, x=pixels, target=target), replace(real, x=real.x.double()), pixels


def by_class(rows: Tensor, y: Tensor) -> list[list[Tensor]]:
    return [[rows[i] for i in range(len(y)) if y[i] == c] for c in range(3)]


@pytest.mark.parametrize("net", [NET, resnet18()], ids=["convnet", "resnet"])
def test_covariance_is_the_class_loop_in_value_and_gradient(net: NetFactory) -> None:
    made = job(net)
    syn, real, pixels = wide(made)
    term = made.terms["covariance"].term
    look = term.looks.look(syn, real)  # type: ignore[attr-defined]
    module, gains = look.view.module, look.record.double()

    def maps(batch: Batch) -> list[list[Tensor]]:
        shown = gains[batch.y].view(-1, 1, 1, 1) * batch.x
        if net is NET:  # the map that is flattened: the last block's output
            for block in module.blocks:
                shown = block(shown)
            return by_class(shown, batch.y)
        return by_class(module.stages(shown)[-2], batch.y)

    wanted, found = oracle.covariance_gap(maps(syn), maps(real)), term(syn, real)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    (mine,), (theirs,) = torch.autograd.grad(found, pixels), torch.autograd.grad(wanted, pixels)
    torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-12)
    assert float(mine.abs().max()) > 0


def test_centralisation_is_the_class_loop_in_value_and_gradient_in_the_teachers_space() -> None:
    module = convnet(depth=2, width=6)((1, 8, 8), 3).double().requires_grad_(False)
    made = job(teachers=PixelTeacher(View.own(module, space=pixel_space(1))))
    syn, real, pixels = wide(made)
    term = made.terms["centralisation"].term
    look = term.looks.look(syn, real)  # type: ignore[attr-defined]
    shown = look.record.double()[syn.y].view(-1, 1, 1, 1) * syn.x
    features = module.stages(shown * 0.25 + 0.4)[-1]  # tiny_real's std and mean
    wanted, found = oracle.centralisation(by_class(features, syn.y)), term(syn, real)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    (mine,), (theirs,) = torch.autograd.grad(found, pixels), torch.autograd.grad(wanted, pixels)
    torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-12)
    assert float(mine.abs().max()) > 0


def test_7_8_covariance_is_centred_on_the_batch_and_divided_by_its_size_alone() -> None:
    x = gaussian(6, 5, 4, owner="maps")
    plain = local_covariance(x, 2)
    torch.testing.assert_close(local_covariance(x + gaussian(1, 5, 4, owner="shift"), 2), plain)  # one map for all
    torch.testing.assert_close(local_covariance(x.repeat_interleave(3, 0), 2), plain)  # copies
    torch.testing.assert_close(local_covariance(torch.cat([x, x], 2), 2), 2 * plain)  # not divided by positions
    assert torch.equal(plain, plain.mT)
    assert float(torch.linalg.eigvalsh(plain).min()) > -1e-12
    channel = x + gaussian(6, 5, 1, owner="level")  # a level per image and channel is not centred away
    assert float((local_covariance(channel, 2) - plain).abs().max()) > 0.1
    one = gaussian(5, 4, owner="one")
    torch.testing.assert_close(local_covariance(torch.stack([one, -one]), 1)[0], one @ one.T)
    with pytest.raises(ValueError, match="6 maps do not divide into 4 classes"):
        local_covariance(x, 4)


def test_7_8_published_shape() -> None:
    where = last_map(convnet()((3, 32, 32), 10), (3, 32, 32))
    assert where == LastMap(-1, 128)
    assert where.of(torch.zeros(2, 2048)).shape == (2, 128, 16)
    assert local_covariance(where.of(torch.randn(4, 2048, generator=stream(0, "x"))), 2).shape == (2, 128, 128)
    tiny = last_map_rows(convnet(depth=3, width=8)((3, 64, 64), 10), (3, 64, 64))
    assert tiny.of(torch.zeros(2, 8 * 64)).shape == (2, 8 * 8, 8)
    with pytest.raises(ValueError, match="12 positions, which are no square"):
        last_map_rows(convnet(depth=1, width=4)((1, 6, 8), 3), (1, 6, 8))


def test_spread_in_closed_form() -> None:
    feature = torch.tensor([[0.0, 0.0], [3.0, 4.0], [1.0, 1.0]], dtype=torch.float64)
    y = torch.tensor([0, 0, 2])
    assert spread(feature, y, 3).item() == pytest.approx(25 / 2)  # d^2 / 2 for two images at distance d
    twice = spread(feature.repeat(2, 1), y.repeat(2), 3)
    assert twice.item() == pytest.approx(25)  # a sum over images
    moved = feature + torch.tensor([[1.0, 2.0], [1.0, 2.0], [9.0, 9.0]])  # classes may move as a whole
    assert spread(moved, y, 3).item() == pytest.approx(25 / 2)


@pytest.mark.parametrize(
    ("factory", "size", "wanted"),
    [
        (convnet(depth=1, width=4), 8, LastMap(-1, 4)),
        (alexnet(), 32, LastMap(-1, 192)),
        (resnet18(), 32, LastMap(-2, 256)),  # its last map is averaged before it is a stage
        (vgg11(), 32, LastMap(-2, 512)),
        (lenet(), 28, LastMap(-3, 16)),
    ],
    ids=["convnet", "alexnet", "resnet", "vgg", "lenet"],
)
def test_the_last_map_is_found_in_every_network(factory: NetFactory, size: int, wanted: LastMap) -> None:
    shape = (1, size, size)
    net = factory(shape, 10).eval()
    assert last_map(net, shape) == wanted
    outputs = net.stages(torch.randn(2, *shape, generator=stream(0, "image")))
    assert wanted.of(outputs[wanted.stage]).shape[:2] == (2, wanted.channels)


def test_a_network_without_maps_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="MLP makes none"):
        job(mlp(width=8))
    assert "covariance" not in job(mlp(width=8), covariance=0.0).terms


@pytest.mark.parametrize("weights", [{"centralisation": 0.0}, {"covariance": 0.0}])
def test_one_decoded_image_per_class_has_no_relations(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="one decoded image per class"):
        job(ipc=1, **weights)
    assert set(job(ipc=1, covariance=0.0, centralisation=0.0).terms) == {"match"}
    tiled = job(ipc=1, host=idm, nets=3, start=2, train_steps=1, batch_train=4)
    assert set(tiled.terms) == {"match", "ce", "covariance", "centralisation"}


def test_without_weights_it_is_the_host_bit_for_bit() -> None:
    plain, bare = dm(REAL, NET, **COMMON), job(covariance=1e-30, centralisation=1e-30)  # type: ignore[arg-type]
    list(plain.run(4))
    values = [progress.values for progress in bare.run(4)]
    assert float(values[0]["covariance"]) > 0 and float(values[0]["centralisation"]) > 0
    assert torch.equal(plain.syn.pixels, bare.syn.pixels)


def test_the_host_is_looked_through_once_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    plain = View.features

    def counted(self: View, x: Tensor, *args: object, **kwargs: object) -> object:
        rows.append(len(x))
        return plain(self, x, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(View, "features", counted)
    for net, seen in ((NET, [6, 6, 18]), (resnet18(), [6, 6, 18])):  # the host, the teacher, the host's real images
        rows.clear()
        list(job(net).run(1))
        assert sorted(rows) == seen


@pytest.mark.parametrize("groups", [{"group": 1}, {"policy": Policy(groups=3)}], ids=["class by class", "in parts"])
def test_values_do_not_depend_on_how_the_round_is_divided(groups: dict[str, object]) -> None:
    joint, split = job(), replace(job(), **groups)  # type: ignore[arg-type]
    (a,), (b,) = list(joint.run(1)), list(split.run(1))
    for name in a.values:
        torch.testing.assert_close(a.values[name], b.values[name], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(a.norms[name], b.norms[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["covariance", "centralisation"])
def test_a_step_along_a_relation_lowers_it(name: str) -> None:
    made = job(lr=0.05, momentum=0.0)
    entry, real = made.terms[name], REAL.batch(5, 0, 6)
    alone = replace(made, terms={name: entry._replace(weight=1.0)})
    first = entry.term(alone.syn.batch(), real).item()
    list(alone.run(1))
    for source in alone.sources():
        source.step = 0
    assert 0 < entry.term(alone.syn.batch(), real).item() < first
