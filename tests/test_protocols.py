"""Protocols: passes, rates and restarts as published (matching_methods.md 1.8), plans, and the JSON form."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from infodistill.augment.mixing import CutMix
from infodistill.descent import adam, adamw, cross_entropy_rows, sgd, squared_error_rows
from infodistill.evaluation.protocols import PROTOCOLS, EvaluationProtocol, flippable, phases, protocol_for
from infodistill.training import Fit, fit
from test_training import Counting, affine, generator, weights
from toys import batch


def rates(hyper: Fit) -> list[float]:
    return [hyper.lr * hyper.decay(epoch) for epoch in range(hyper.epochs)]


@pytest.mark.parametrize(
    ("name", "data", "passes", "first_low"),
    [
        ("dc", "cifar10", 301, 152),
        ("dc", "mnist", 1001, 502),
        ("dsa", "cifar10", 1001, 502),
        ("mim4dd", "cifar10", 301, 152),
        ("quick", "digits", 300, 150),
    ],
)
def test_rate_of_every_epoch(name: str, data: str, passes: int, first_low: int) -> None:
    hyper = protocol_for(name, data).fit()
    assert rates(hyper) == pytest.approx([0.01] * first_low + [0.001] * (passes - first_low))
    assert hyper.restarts == (first_low,)
    assert (hyper.batch, hyper.momentum, hyper.weight_decay) == (256, 0.9, 5e-4)


@pytest.mark.parametrize("epochs", [1, 2, 5, 8, 301])
def test_the_published_switch_is_after_epoch_index_half_plus_one(epochs: int) -> None:
    """The public loop: for ep in range(E + 1): train; if ep == E // 2 + 1: lr *= 0.1 and a new optimiser."""
    expected, lr = [], 0.01
    for epoch in range(epochs + 1):
        expected.append(lr)
        lr = lr * 0.1 if epoch == epochs // 2 + 1 else lr
    assert rates(PROTOCOLS["dc"].fit(epochs)) == pytest.approx(expected)


@pytest.mark.parametrize(("extra", "steps"), [(1, 5 * 3), (0, 4 * 3)])
def test_number_of_optimiser_steps(extra: int, steps: int) -> None:
    rows = Counting(batch(7))
    protocol = replace(PROTOCOLS["dc"], epochs=4, batch=3, extra_passes=extra)
    fit(affine(), rows, protocol.fit(), generator())
    assert len(rows.calls) == steps


def test_augmentation_follows_the_data() -> None:
    assert protocol_for("dsa", "cifar10").augment == "per-image:color_crop_cutout_flip_scale_rotate"
    for data in ("mnist", "svhn", "digits", "MNIST"):
        assert protocol_for("dsa", data).augment == "per-image:color_crop_cutout_scale_rotate"
    assert protocol_for("dc", "cifar10").augment == "none"
    assert protocol_for("dc", "mnist").augment == "dc:crop_scale_rotate"
    assert protocol_for("mim4dd", "mnist").augment == "none"


@pytest.mark.parametrize(("name", "data"), [(n, d) for n in PROTOCOLS for d in ("mnist", "cifar10", "digits")])
def test_augmentations_exist_and_keep_the_shape(name: str, data: str) -> None:
    augment = protocol_for(name, data).fit().augment
    assert augment is not None
    x = torch.randn(5, 1, 12, 12, generator=generator())
    record = augment.draw(generator(), 5, (1, 12, 12))
    assert len(record) == 5
    out = augment.apply(x, record, torch.arange(5))
    assert out.shape == x.shape and out.isfinite().all()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_json_round_trip(name: str) -> None:
    protocol = protocol_for(name, "mnist")
    assert EvaluationProtocol.from_dict(json.loads(json.dumps(protocol.as_dict()))) == protocol


@pytest.mark.parametrize(
    "data",
    ["mnist", "/data/mnist", "/data/MNIST/", "hf:ylecun/mnist", "mnist_png", "emnist", "C:\\d\\svhn", "digits.npz"],
)
def test_digits_are_not_flipped_whatever_they_are_called(data: str) -> None:
    assert not flippable(data)
    assert "flip" not in protocol_for("dsa", data).augment


@pytest.mark.parametrize("data", ["", "cifar10", "/mnist/cats", "hf:zalando-datasets/fashion_mnist", "imagenette"])
def test_other_data_are_flipped(data: str) -> None:
    assert flippable(data)


def test_bad_protocols_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown protocol 'fast', known: quick"):
        protocol_for("fast")
    with pytest.raises(ValueError, match="epoch_count"):
        EvaluationProtocol.from_dict({**PROTOCOLS["dc"].as_dict(), "epoch_count": 3})
    with pytest.raises(ValueError, match="full_epochs"):
        EvaluationProtocol.from_dict({"name": "x", "epochs": 3})
    with pytest.raises(ValueError, match="magic"):
        EvaluationProtocol("x", 1, 1, augment="magic")


def test_a_plan_replays_rows_and_rates() -> None:
    protocol, rows = replace(PROTOCOLS["dc"], epochs=4), batch(7)
    plan = [{"rows": [1, 5], "rates": None, "epochs": 2}, {"rows": None, "rates": 0.3, "epochs": None}]
    (first, short), (second, whole) = phases(plan, protocol, rows)
    assert torch.equal(first.x, rows.x[[1, 5]]) and short.epochs == 3 and short.lr == 0.01
    assert len(second) == 7 and whole.epochs == 5 and whole.lr == 0.3


def test_a_plan_of_steps_is_plain_gradient_descent() -> None:
    rows, learned = batch(7), [0.5, 0.1]
    [(data, hyper)] = phases([{"rows": None, "rates": learned, "steps": 3}], PROTOCOLS["dsa"], rows)
    module, twin = affine(), affine()
    fit(module, data, hyper, generator())
    for rate in (0.5, 0.1, 0.5):
        loss = torch.nn.functional.cross_entropy(twin(rows.x), rows.target)
        grads = torch.autograd.grad(loss, list(twin.parameters()))
        with torch.no_grad():
            for parameter, grad in zip(twin.parameters(), grads, strict=True):
                parameter -= rate * grad
    assert torch.allclose(weights(module), weights(twin), atol=1e-6)


@pytest.mark.parametrize(
    "phase",
    [
        {"rows": [7], "rates": None, "epochs": None},
        {"rows": [], "rates": None, "epochs": None},
        {"rows": None, "rates": [0.1], "epochs": 3},
        {"rows": None, "rates": None, "steps": 3},
        {"rows": None, "rate": 0.1},
    ],
)
def test_phases_that_mean_nothing_are_refused(phase: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="phase"):
        phases([phase], PROTOCOLS["dc"], batch(7))


@pytest.mark.parametrize(
    ("name", "data", "augment"),
    [
        ("mtt", "cifar10", "per-image:color_crop_cutout_flip_scale_rotate"),
        ("mtt", "mnist", "per-image:color_crop_cutout_scale_rotate"),
        ("seqmatch", "cifar10", "per-image:color_crop_cutout_flip_scale_rotate"),
    ],
)
def test_trajectory_methods_train_at_the_learned_rate(name: str, data: str, augment: str) -> None:
    protocol, plan = protocol_for(name, data), [{"rows": None, "rates": 0.03, "epochs": None}]
    [(_, hyper)] = phases(plan, protocol, batch(7))
    assert rates(hyper) == pytest.approx([0.03] * 502 + [0.003] * 499)
    assert hyper.restarts == (502,) and (hyper.momentum, hyper.weight_decay, hyper.batch) == (0.9, 5e-4, 256)
    assert protocol.augment == augment and protocol.full_epochs == 50


def test_stages_are_trained_one_after_the_other_at_their_own_rates() -> None:
    plan = [{"rows": [0, 1], "rates": 0.1, "epochs": None}, {"rows": [0, 1, 2, 3], "rates": 0.2, "epochs": None}]
    stages = phases(plan, PROTOCOLS["seqmatch"], batch(7))
    assert [(len(rows), hyper.lr, hyper.epochs) for rows, hyper in stages] == [(2, 0.1, 1001), (4, 0.2, 1001)]


def test_rtp_ld_and_frepo_as_published() -> None:
    rtp, ld, frepo = (PROTOCOLS[name].fit(rows=10) for name in ("rtp", "ld", "frepo"))
    assert rates(rtp) == [0.01] * 300 and (rtp.batch, rtp.momentum, rtp.weight_decay) == (640, 0.9, 0.0)
    assert (rtp.optimiser, rtp.loss, rtp.restarts) == (sgd, cross_entropy_rows, ())
    assert (ld.optimiser, ld.lr, ld.weight_decay, ld.loss) == (adam, 1e-3, 0.0, cross_entropy_rows)
    assert (frepo.optimiser, frepo.loss, frepo.batch) == (adam, squared_error_rows, 500)
    assert rates(frepo) == [3e-4] * 1000
    assert "flip" not in protocol_for("frepo", "svhn").augment


def test_a_phase_may_have_a_batch_of_its_own() -> None:
    rows = Counting(batch(7))
    [(_, hyper)] = phases([{"rows": None, "rates": None, "epochs": 2, "batch": 3}], PROTOCOLS["ld"], batch(7))
    fit(affine(), rows, hyper, generator())
    assert hyper.batch == 3 and hyper.epochs == 2 and len(rows.calls) == 2 * 3


def test_adam_is_what_moves_the_weights_under_ld() -> None:
    rows, module, twin = batch(7), affine(), affine()
    fit(module, rows, PROTOCOLS["ld"].fit(3), generator())
    optimiser = torch.optim.Adam(twin.parameters(), 1e-3)
    for _ in range(3):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(twin(rows.x), rows.target).backward()
        optimiser.step()
    assert torch.allclose(weights(module), weights(twin), atol=1e-6)


def test_idc_and_ncfm_schedules_as_published() -> None:
    """MultiStep at floor(2E/3) and floor(5E/6) by 0.2; at every fifth by 0.5; momentum is kept."""
    idc = protocol_for("idc", "cifar10").fit()
    assert rates(idc) == pytest.approx([0.01] * 666 + [0.002] * 167 + [0.0004] * 167)
    assert (idc.restarts, idc.batch, idc.weight_decay) == ((), 64, 5e-4)
    assert idc.mix == CutMix(0.5, 1.0)
    ncfm = protocol_for("ncfm", "cifar10").fit()
    assert rates(ncfm) == pytest.approx([1e-3 * 0.5 ** (epoch // 400) for epoch in range(2000)])
    assert ncfm.optimiser is adamw
    assert ncfm.batch == 128


def test_idc_on_mnist_neither_mixes_nor_flips() -> None:
    mnist = protocol_for("idc", "mnist")
    assert (mnist.mix, mnist.augment) == ("none", "per-image:diffaug:color_crop_scale_rotate")
    assert mnist.fit().mix is None


def test_newer_fields_are_written_where_they_differ_and_read_back() -> None:
    assert not {"mix", "milestones", "gamma"} & set(PROTOCOLS["dc"].as_dict())
    told = json.loads(json.dumps(PROTOCOLS["idc"].as_dict()))
    assert EvaluationProtocol.from_dict(told) == PROTOCOLS["idc"]
    with pytest.raises(ValueError, match="not 'mixup'"):
        replace(PROTOCOLS["idc"], mix="mixup")
