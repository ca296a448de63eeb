from __future__ import annotations

import re

import pytest
import torch

from infodistill import recipe
from infodistill.building import jobs
from infodistill.building.jobs import Strength
from infodistill.distillation import Distillation
from infodistill.real import RealData
from infodistill.running.asking import Asked, requested
from infodistill.types import ValueSpace

SHAPES = {"mnist": (1, 28, 28, 10), "svhn": (3, 32, 32, 10), "cifar10": (3, 32, 32, 10), "cifar100": (3, 32, 32, 100)}
LARGE = {"tinyimagenet": (3, 64, 64, 4), "imagenette": (3, 128, 128, 2), "imagewoof": (3, 128, 128, 2)}
SHAPES_OF = {**SHAPES, **LARGE, "fashionmnist": (1, 28, 28, 10), "imagenet128": (3, 128, 128, 2)}
HUGE = 100
"""Images per class above which a recipe is built with fewer: nothing but memory depends on it."""
GOOD = {"method": "dm", "steps": 5, "lr": 1.0}


def some(dataset: str, per_class: int) -> RealData:
    """Random images of a data set's shape; those of 64 and 128 pixels with fewer classes than there are."""
    channels, height, width, classes = SHAPES_OF.get(dataset, (1, 8, 8, 10))
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(classes).repeat_interleave(per_class)
    images = torch.randint(0, 256, (len(labels), channels, height, width), dtype=torch.uint8, generator=generator)
    space = ValueSpace((0.5,) * channels, (0.25,) * channels)
    return RealData(images, labels, tuple(map(str, range(classes))), space, dataset)


def briefly(name: str) -> object:
    """The newer methods' recipes for other than 10 images per class are built with the slow tests."""
    family = re.search(r"/(idc|dream|pdd|idm|iid|ncfm|cafe|dcc|dsac)\b.*-ipc(?!10$)", name)
    return pytest.param(name, marks=pytest.mark.slow) if family else name


@pytest.mark.parametrize("name", [briefly(name) for name in recipe.names()])
def test_every_recipe_parses_and_builds_with_its_terms(name: str) -> None:
    read = recipe.parse(recipe.read(name), name)
    dataset = name.split("/")[0]
    assert jobs.step_flops(read, some(dataset, 1)) > 0  # knows the network
    small = {"ipc": min(read.ipc, HUGE), "zca": False, "net": "convnet1-w2"}  # whitening has tests of its own
    if read.method == "cafe":
        small["layers"] = None  # those of another network
    read = read.model_copy(update=small)
    factor = getattr(read, "factor", 1)
    real = some(dataset, read.ipc * factor**2)
    hard = read.method in {"dm", "dc", "dsa", "mtt", "tesla", "ftd", "seqmatch", "dd", "dcc", "cafe", "idc"}
    add = {"mim": Strength()} if read.method != "ld_ridge" else {}
    if read.ipc * factor**2 > 1 or not hard:
        add["cmi"] = Strength()
    if dataset == "cifar100" or dataset in LARGE:  # the terms of a hundred classes are those of ten
        add = {}
    job = jobs.rehearse(jobs.fitted(read, real), real, add)
    assert isinstance(job, Distillation)
    own = {"ce", "covariance", "centralisation"} if read.method in {"idm", "iid"} else set[str]()
    assert {"match", *add} <= set(job.terms) <= {"match", *add, *own}
    assert read.method == "rtp" or len(job.syn.pixels) == read.ipc * real.num_classes
    assert jobs.protocol(read, real).name == read.protocol


@pytest.mark.parametrize("method", recipe.METHODS)
def test_every_method_has_a_quick_recipe_that_survives_its_own_dictionary(method: str) -> None:
    name, content = recipe.find("holiday photographs", method, 3)
    assert name == f"quick/{method}"
    read = recipe.parse(content)
    assert read.method == method
    assert recipe.parse(read.as_dict()) == read


def test_the_grid_of_published_recipes_is_complete() -> None:
    wanted = {f"{d}/{m}-ipc{n}" for d in SHAPES for m in ("dm", "dc", "dsa") for n in (1, 10, 50)}
    assert wanted <= set(recipe.names())


@pytest.mark.parametrize(
    ("name", "steps", "outer", "inner"),
    [
        ("dc-ipc1", 1000, 1, 1),
        ("dsa-ipc10", 10_000, 10, 50),
        ("dc-ipc50", 50_000, 50, 10),
        ("dm-ipc50", 20_000, None, None),
    ],
)
def test_published_loops(name: str, steps: int, outer: int | None, inner: int | None) -> None:
    read = recipe.parse(recipe.read(f"cifar10/{name}"))
    assert (read.steps, read.outer, read.inner_epochs) == (steps, outer, inner)


def test_digits_are_never_flipped_and_photographs_are() -> None:
    for dataset, flips in (("mnist", False), ("svhn", False), ("cifar10", True), ("cifar100", True)):
        for method in ("dm", "dsa"):
            assert ("flip" in recipe.read(f"{dataset}/{method}-ipc10")["augment"]) is flips


def test_published_cmi_weights() -> None:
    found = {n: recipe.parse(recipe.read(n)).terms.get("cmi") for n in recipe.names()}
    weights = {name: entry.weight for name, entry in found.items() if entry is not None}
    assert weights["cifar10/dm-ipc10"] == 8000
    assert weights["svhn/dsa-ipc10"] == 80000
    assert weights["cifar100/dsa-ipc50"] == 20000
    assert weights["mnist/dm-ipc10"] is None  # UNKNOWN stays unknown


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stepz": 3}, ("stepz", "steps")),
        ({"teachers": {"cuont": 3}}, ("teachers.cuont", "count")),
        ({"terms": {"cmi": {"wieght": 3}}}, ("terms.cmi.wieght", "weight")),
        ({"terms": {"foo": {}}}, ("foo", "cmi")),
        ({"method": "foo"}, ("foo", "'dm'")),
        ({"ipc": 0}, ("'ipc' is 0", "1")),
        ({"lr": "fast"}, ("lr", "fast")),
    ],
)
def test_a_wrong_recipe_is_one_sentence_that_names_the_key(change: dict[str, object], words: tuple[str, ...]) -> None:
    with pytest.raises(recipe.RecipeError) as caught:
        recipe.parse({**GOOD, **change})
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_a_recipe_survives_its_own_dictionary() -> None:
    read = recipe.parse(recipe.read("cifar10/dsa-ipc10"))
    assert recipe.parse(read.as_dict()) == read


def test_find_prefers_the_data_sets_own_recipe_and_drops_what_belongs_to_another_ipc() -> None:
    assert recipe.find("cifar10", "dc", 50)[0] == "cifar10/dc-ipc50"
    name, content = recipe.find("cifar10", "dc", 20)
    assert name == "cifar10/dc-ipc10"
    assert content["ipc"] == 20
    assert not {"expected", "terms", "outer"} & set(content)
    assert recipe.find("holiday photographs", "dm")[0] == "quick/dm"


def test_the_data_of_a_recipe_need_not_be_named_again() -> None:
    assert requested(Asked(recipe="cifar10/dm-ipc10")).data == "cifar10"
    assert requested(Asked(recipe="cifar10/dm-ipc10", data="photographs")).data == "photographs"
    with pytest.raises(ValueError, match="--data is missing"):
        requested(Asked(recipe="quick/dm"))


def test_settings_are_toml_values_or_text() -> None:
    assert recipe.setting("lr=0.5") == ("lr", 0.5)
    assert recipe.setting("net=convnet2-w32") == ("net", "convnet2-w32")
    changed = recipe.changed(recipe.read("digits/dm-ipc10"), {"teachers.count": 2, "lr": 3})
    assert (changed["teachers"]["count"], changed["lr"]) == (2, 3)
    assert recipe.read("digits/dm-ipc10")["teachers"]["count"] == 5


def test_strengths() -> None:
    assert jobs.parse_add("cmi=8000") == ("cmi", (Strength("weight", 8000.0),))
    ratios = Strength("ratio", 0.0), Strength("ratio", 0.1)
    assert jobs.parse_add("mim=ratio:0,0.1")[1] == jobs.parse_add("mim=ratio:0,ratio:0.1")[1] == ratios
    assert jobs.parse_add("cmi=0,ratio:0.1,8000")[1] == (
        Strength("weight", 0.0), ratios[1], Strength("weight", 8000.0),
    )  # fmt: skip
    with pytest.raises(recipe.RecipeError, match=r"NUMBER or ratio:NUMBER, .*; got 'heavy'"):
        jobs.parse_add("cmi=0,heavy,ratio:0.1")
    published = recipe.parse(recipe.read("cifar10/dm-ipc10"))
    assert jobs.resolve_strength(published, "cmi", Strength()).value == 8000
    nothing = jobs.resolve_strength(recipe.parse(GOOD), "cmi", Strength())
    assert (nothing.kind, nothing.value) == ("ratio", 0.01)
    assert "default" in nothing.origin
    assert jobs.resolve_strength(recipe.parse(GOOD), "mim", Strength()).value == 0.03


def test_a_strength_of_zero_adds_nothing() -> None:
    real = some("digits", 10)
    job = jobs.build(recipe.parse({**GOOD, "net": "convnet1-w4"}), real, add={"mim": Strength("ratio", 0.0)})
    assert set(job.terms) == {"match"}
