"""Recipes of IDC, DREAM, PDD, IDM, IID, CAFE, DCC and NCFM: what their papers say, and what they cannot say."""

from __future__ import annotations

from typing import Any

import pytest

from infodistill import recipe
from infodistill.augment.mixing import CutMix
from infodistill.building import FAMILIES, Size, jobs
from infodistill.building.supplies import kept, training_of
from infodistill.methods.cafe import FeatureAlignment
from infodistill.methods.idc import AtMost, conv_l1, conv_squared_error, learning_rate
from infodistill.methods.idm import AccuracyWeighted
from infodistill.real import RealData
from infodistill.settings import Characteristic, Formed, Progressive, Queued, Related
from infodistill.sources.frequencies import FrequencySampler, Gaussian
from infodistill.storage.initial import Mosaic, Stored
from table import tiny_real

FAMILY = ("dcc", "cafe", "idc", "dream", "pdd", "idm", "iid", "ncfm")
PUBLISHED = ("cifar10", "cifar100", "svhn", "mnist", "fashionmnist", "tinyimagenet")
NET = "convnet2-w4"


def shipped(name: str) -> Any:
    return recipe.parse(recipe.read(name), name)


def quick(method: str, **changes: Any) -> Any:
    return recipe.parse(recipe.changed({**recipe.read(f"quick/{method}"), "net": NET, "ipc": 2}, changes))


def built(method: str, real: RealData | None = None, **changes: Any) -> Any:
    return jobs.rehearse(quick(method, **changes), real or tiny_real(), {})


@pytest.mark.parametrize("name", [n for n in recipe.names() if n.split("/")[1].startswith(("idc", "dream", "pdd"))])
def test_rates_follow_the_published_rule(name: str) -> None:
    read = shipped(name)
    assert isinstance(read, Formed)
    if read.dataset in {"any", "digits"} or (read.dataset, read.method, read.ipc) == ("tinyimagenet", "dream", 50):
        return
    base = 1e-4 if read.dataset in {"mnist", "fashionmnist"} else 5e-3
    size = {"fashionmnist": 28 / 32, "tinyimagenet": 2.0}.get(read.dataset, 1.0)
    images = read.split[0] if isinstance(read, Progressive) else read.ipc
    assert read.lr == pytest.approx(learning_rate(base, images, size), rel=1e-5)
    assert read.distance == ("absolute" if base == 1e-4 else "squared")


def test_the_grid_of_published_recipes() -> None:
    names = set(recipe.names())
    for method, data in {"idc": PUBLISHED[:1] + PUBLISHED[2:5], "cafe": PUBLISHED[:5], "dream": PUBLISHED[:5]}.items():
        assert {f"{d}/{method}-ipc{n}" for d in data for n in (1, 10, 50)} <= names
    assert {
        f"{d}/{m}-ipc{n}" for d in PUBLISHED[:2] for m in ("idm", "dcc", "ncfm", "iid") for n in (1, 10, 50)
    } <= names
    assert {f"mnist/{m}-ipc10" for m in FAMILY} <= names
    assert {f"tinyimagenet/{m}-ipc{n}" for m in ("idm", "ncfm") for n in (1, 10, 50)} <= names


@pytest.mark.parametrize(
    ("name", "accuracy"),
    [
        ("cifar10/idc-ipc10", 0.675),
        ("cifar10/idm-ipc10", 0.586),
        ("cifar10/dsac-ipc10", 0.545),
        ("cifar10/ncfm-ipc10", 0.656),
        ("cifar100/dream-ipc10", 0.468),
        ("tinyimagenet/idm-ipc50", 0.277),
        ("mnist/idm-ipc10", None),
    ],
)
def test_published_scores(name: str, accuracy: float | None) -> None:
    assert shipped(name).expected.accuracy == accuracy


def test_cmi_on_idc_counts_as_a_sum_over_classes() -> None:
    """The released code adds 100 times each class's own mean; ours is the mean over all images."""
    for name, weight, accuracy in (
        ("cifar10/idc-ipc10", 1000, 0.700),
        ("cifar10/idc-ipc50", 500, 0.766),
        ("cifar100/idc-ipc10", 10_000, 0.466),
        ("svhn/idc-ipc50", 500, 0.922),
    ):
        entry = shipped(name).terms["cmi"]
        assert (entry.weight, entry.accuracy) == (weight, accuracy)
    other = shipped("cifar10/idm-ipc10").terms["cmi"]
    assert (other.weight, other.accuracy) == (None, 0.622)  # an UNKNOWN weight stays unknown


def test_idm_commands() -> None:
    found = {n: shipped(f"{n}") for n in ("cifar10/idm-ipc1", "cifar100/idm-ipc10", "tinyimagenet/idm-ipc50")}
    told = {n: (r.ce, r.real_per_class, r.interval, r.train_steps, r.reset_every, r.net) for n, r in found.items()}
    assert told == {
        "cifar10/idm-ipc1": (0.5, 5000, 5, 10, 100, "convnet3"),
        "cifar100/idm-ipc10": (0.1, 256, 30, 50, 100, "convnet3"),
        "tinyimagenet/idm-ipc50": (0.8, 256, 30, 50, 1000, "convnet3"),
    }
    assert {r.scale for r in found.values()} == {100.0}
    assert isinstance(found["cifar10/idm-ipc1"], Queued)


def test_the_percent_meter_reaches_the_term() -> None:
    term = built("idm", scale=100.0).terms["ce"].term
    assert isinstance(term, AccuracyWeighted)
    assert term.scale == 100


def test_pairs_of_ncfm_are_the_ends_of_trainings_with_idcs_recipe() -> None:
    read = shipped("cifar10/ncfm-ipc10")
    assert isinstance(read, Characteristic)
    assert kept(read) == (0, 60)
    fit = training_of(read.experts)
    assert [fit.decay(epoch) for epoch in (0, 39, 40, 49, 50, 59)] == pytest.approx([1, 1, 0.2, 0.2, 0.04, 0.04])
    assert (fit.lr, fit.momentum, fit.weight_decay, fit.batch, fit.mix) == (0.01, 0.9, 5e-4, 128, CutMix())
    assert kept(quick("ncfm", **{"experts.epochs": 3})) == (0, 3)


def test_the_adversary_of_ncfm_is_a_table() -> None:
    plain, found = built("ncfm", frequencies=8), built("ncfm", frequencies=8, adversary={"lr": 0.01})
    assert isinstance(plain.terms["match"].term.frequencies, Gaussian)
    psi = found.terms["match"].term.frequencies
    assert isinstance(psi, FrequencySampler)
    assert (psi.lr, psi.momentum, psi.count) == (0.01, 0.5, 8)


@pytest.mark.parametrize(("distance", "function"), [("squared", conv_squared_error), ("absolute", conv_l1)])
def test_idcs_distance_is_chosen_by_name(distance: str, function: object) -> None:
    term = built("idc", distance=distance).terms["match"].term
    assert isinstance(term, AtMost)
    assert term.match.distance is function


def test_iid_takes_its_teachers_and_its_hosts_settings() -> None:
    on_dm = shipped("cifar10/iid-dm-ipc10")
    assert isinstance(on_dm, Related)
    assert (on_dm.covariance, on_dm.centralisation, on_dm.teachers.weight_decay) == (0.01, 0.05, 5e-4)
    quickly = recipe.parse({**recipe.read("quick/iid-dm"), "net": NET})
    assert set(jobs.rehearse(quickly, tiny_real(), {}).terms) == {"match", "covariance", "centralisation"}
    assert set(built("iid").terms) == {"match", "ce", "covariance", "centralisation"}


def test_cafe_weights_reach_the_term() -> None:
    term = built("cafe", layers=[0.5, 1.0, 2.0]).terms["match"].term
    assert isinstance(term, FeatureAlignment)
    assert term.layers == (0.5, 1.0, 2.0)


@pytest.mark.parametrize("method", FAMILY)
def test_another_ipc_moves_the_rate_only_where_the_rule_says_so(method: str) -> None:
    ten, twenty = (recipe.find("holiday photographs", method, ipc)[1] for ipc in (10, 20))
    assert twenty["lr"] == pytest.approx(ten["lr"] * (2 if method in recipe.RATE_BY_IPC else 1))


@pytest.mark.parametrize(
    ("method", "step", "passes"),
    [
        ("idc", {}, 3 * 64 * 10 + 7 * 400 + 3 * 2000),
        ("dream", {"real_per_class": 128}, 3 * 128 * 10 + 7 * 400 + 3 * 2000 + 50_000 / 10),
        ("idm", {}, 2560 + 2 * 400 + 2 * 10 * 256 * 3),
        ("ncfm", {}, 10_240 + 2 * 400),
        ("dcc", {}, 3 * 2560 + 700 + 3 * 100 * 50 * 0.9),
        ("cafe", {}, 2560 + 2 * 100 + 10 * 3 * 100 + 11 * 1280),
        ("cafe", {"most_epochs": 3}, 2560 + 2 * 100 + 3 * 3 * 100 + 4 * 1280),
        ("iid", {}, 2560 + 2 * 400 + 2 * 10 * 256 * 3 + 2 * 7 * 400),
    ],
)
def test_work_of_a_step_in_image_passes(method: str, step: dict[str, Any], passes: float) -> None:
    """CIFAR-10 at 10 images per class, the spec's arithmetic (a teacher's pass counts as 7 here)."""
    read = shipped(f"cifar10/{method}-ipc10").model_copy(update=step)
    assert FAMILIES[method].work(read, Size(1.0, 10, 50_000, 7.0)) == pytest.approx(passes)


def test_work_of_pdd_grows_with_the_transitions() -> None:
    """Two stages of one image: IDC on 4 and on 8 tiles per class, and 50 epochs on 40 images per 20 updates."""
    own: dict[str, int] = {"stages": 2, "transition": 50, "refresh": 1, "pool": 1, "inner": 20}
    read = quick("pdd", real_per_class=32, train_images=256, **own)
    expected = 3 * 32 * 10 + 3 * 256 + 7 * 10 * (4 + 8) / 2 + 3 * 50 * 40 / 20 / 2
    assert FAMILIES["pdd"].work(read, Size(1.0, 10)) == pytest.approx(expected)


def test_tiles_start_as_pixels_of_real_images() -> None:
    pixels = built("idc").syn.pixels.detach()
    assert 0 <= float(pixels.min()) < float(pixels.max()) <= 1
    first = Stored(Mosaic(2))(tiny_real(), 2, 0)
    assert pixels.equal(first)


@pytest.mark.parametrize(
    ("method", "change", "words"),
    [
        ("idc", {"factr": 2}, ("factr", "'factor'")),
        ("idc", {"distance": "cosine"}, ("distance", "cosine", "squared")),
        ("idc", {"mix": "mixup"}, ("mix", "mixup", "cutmix")),
        ("idc", {"factor": 0}, ("'factor' is 0",)),
        ("pdd", {"early": 3}, ("early", "0", "3")),
        ("idm", {"intervall": 3}, ("intervall", "'interval'")),
        ("iid", {"host": "dc"}, ("host", "dc", "idm")),
        ("iid", {"host": "dm"}, ("batch_train", "dm", "iid-dm")),
        ("ncfm", {"experts": {"span": 3}}, ("ncfm", "10 epochs")),
        ("ncfm", {"experts": {"epoch": 3}}, ("experts.epoch", "epochs")),
        ("ncfm", {"adversary": {"rate": 3}}, ("adversary.rate", "lr")),
        ("dcc", {"warm_outr": 3}, ("warm_outr", "'warm_outer'")),
        ("cafe", {"window": 1}, ("'window' is 1",)),
        ("cafe", {"outer": 3}, ("outer",)),
    ],
)
def test_a_wrong_key_is_one_sentence(method: str, change: dict[str, Any], words: tuple[str, ...]) -> None:
    content = recipe.read(f"quick/{method}")
    changed = {k: {**content.get(k, {}), **v} if isinstance(v, dict) else v for k, v in change.items()}
    with pytest.raises(recipe.RecipeError) as caught:
        recipe.parse({**content, **changed})
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_digits_are_not_flipped_by_generic_recipes() -> None:
    real = tiny_real()
    real.name = "mnist_png"
    content = recipe.changed(recipe.read("quick/ncfm"), {"experts.augment": "per-image:diffaug:color_flip_crop"})
    fitted = jobs.fitted(recipe.parse(content), real)
    assert isinstance(fitted, Characteristic)
    assert fitted.experts.augment == "per-image:diffaug:color_crop"
