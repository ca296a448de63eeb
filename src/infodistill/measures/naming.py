"""What the numbers of a profile are called, which way each is biased, and what it can and cannot say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from infodistill.measures.quantities import Shared, Usable, agreement, c2, c5, decoded, neighbours, per_byte
from infodistill.measures.quantities import classes_apart as most_apart
from infodistill.measures.reading import Reading
from infodistill.measures.seen import Ground, Seen

HELD_OUT, IMAGES, HALVES = "held-out images", "images of the set", "halves of the set"
NATS, DENSITY = "nats", "millibits per byte"


@dataclass(frozen=True)
class Quantity:
    """A number of the profile, in words.

    Args:
        title: its name for people.
        read: how it is read off a set; raises a ValueError with the reason where it does not exist.
        bound: "lower", "upper" or "none", for what the note says it bounds.
        over: what its interval draws again.
        note: what it can and cannot say.
        ceiling: its largest value, None where there is none.
        unit: NATS or DENSITY.
    """

    title: str
    read: Callable[[Seen], Reading]
    bound: str
    over: str
    note: str
    ceiling: Callable[[Seen], float | None]
    unit: str = NATS


def no_ceiling(seen: Seen) -> None:
    """Nothing known bounds the number from above."""
    del seen


def label_entropy(seen: Seen) -> float:
    """H(Y) of the held-out images, every class counting equally."""
    return seen.ground.label_entropy


def classes_apart(seen: Seen) -> float:
    """What Ross's estimate reads where classes do not touch: psi(n) - <psi(n_c)>, about H of the set's labels."""
    return most_apart(seen.y)


def log_per_class(seen: Seen) -> float:
    """The log of the images of the largest class."""
    return math.log(int(seen.counts.max()))


def quantities(ground: Ground) -> dict[str, Quantity]:
    """By name, in the order they are read; one for every stage of the teachers."""
    return {**FIXED, **stage_quantities(len(ground.paired_stages[0]) if ground.views else 0)}


def stage_quantities(stages: int) -> dict[str, Quantity]:
    """`mi_pixels` and `mi_stage1` ...: the information shared with held-out images, stage by stage."""
    names = {0: ("mi_pixels", "shared with real images: pixels")}
    names |= {i: (f"mi_stage{i}", f"shared with real images: stage {i}") for i in range(1, stages)}
    if stages > 1:
        names[stages - 1] = (names[stages - 1][0], "shared with real images: last feature")
    over = "images of the set and held-out images"
    return {
        name: Quantity(title, Shared(index), "none", over, SHARED, label_entropy)
        for index, (name, title) in names.items()
        if index < stages
    }


SHARED = (
    "Pairs an image of the set with a held-out real one of its class, by the similarity of a teacher's outputs at this "
    "stage; at most H(Y), as only the label joins the two. Early stages read low for every set, as the critic is a "
    "plain cosine: compare with random real images at the same stage, and a rise or fall from stage to stage with "
    "theirs. A lower bound but for one thing: fitted on the pairs it is read on, it ends a little too high, more so "
    "with few images, so it is called an estimate; compare only at equal images per "
    "class. Where the set's images resemble training images of their class no more than others, nothing is claimed: "
    "0, from which chance can lead slightly below. "
    "A nearest-neighbour estimate (KSG) cannot be made: no real image is the partner of a given one of the set."
)

FIXED: Mapping[str, Quantity] = {
    "usable_linear": Quantity(
        "usable by a linear classifier",
        Usable("linear"),
        "lower",
        HELD_OUT,
        "How much of the uncertainty about the class of a new real image goes away once a linear classifier has "
        "learned from this set alone, on pixels averaged to at most 8 x 8. It is at most what real images tell about "
        "their class, H(Y) at best, and falls short of it where the set misleads or the classifier is too simple. It "
        "cannot say what other classifiers would learn. Told by training images how far to trust it, a useless set "
        "claims nothing, 0, and chance can lead slightly below.",
        label_entropy,
    ),
    "usable_network": Quantity(
        "usable by a small network",
        Usable("network"),
        "lower",
        HELD_OUT,
        "The same for a small convolutional network, trained once on the set with its labels as stored, for 120 short"
        " steps. Closest of all numbers here to what a set is for, but it is no accuracy: confidence counts as well, "
        "and a longer training, another network or another start would give another number. The interval does not "
        "cover that last part.",
        label_entropy,
    ),
    "decoded": Quantity(
        "usable without training",
        decoded,
        "lower",
        HELD_OUT,
        "The set used as a dictionary: a new real image gets the class of the images of the set it resembles in "
        "averaged pixels (p3 of the sampling bounds, which has no floor). Nothing is trained, so it judges the images "
        "themselves; sets that only make sense to a network score low here and may still train well. A set that tells "
        "nothing about training images claims nothing, 0, and chance can lead slightly below.",
        label_entropy,
    ),
    "neighbours": Quantity(
        "classes apart in teacher features",
        neighbours,
        "none",
        HALVES,
        "How well the nearest neighbours of an image inside the set reveal its class, in teacher features (estimate "
        "of Ross 2014). It looks at the set only: H(Y) says that its own classes do not touch, not that they lie "
        "where real ones do. An estimate, no bound; with few images per class it can end slightly above H(Y) or below"
        " 0.",
        classes_apart,
    ),
    "c2": Quantity(
        "diversity within a class",
        c2,
        "lower",
        IMAGES,
        "How many different images a class has, as a logarithm: 0 if all are alike, log(images per class) if none "
        "resembles another (Kolchinsky-Tracey, averaged pixels): at least so much of log(images per class) survives "
        "when images a little alike are told apart by chance only. Real images are not read. More is not better by "
        "itself: noise is diverse. Wrong labels read high here, since a mixed class is diverse; at one image per "
        "class it is 0 by definition.",
        log_per_class,
    ),
    "c5": Quantity(
        "diversity, stricter",
        c5,
        "lower",
        IMAGES,
        "The same by the Renyi-2 entropy of a Gaussian kernel, which near copies pull down more: direction, range and"
        " reading as above.",
        log_per_class,
    ),
    "cmi": Quantity(
        "difference within a class, as networks see it",
        agreement,
        "none",
        IMAGES,
        "How much the images of a class differ in teacher features (CMI, Zhong et al. 2025): 0 when a network sees "
        "them all alike. The method CMI lowers it as a penalty; neither low nor high values went with accuracy over "
        "the sets we compared. Exact for this set and these teachers, an estimate beyond them. Compare only at equal "
        "images per class and with the same teachers, which the command trains anew: not "
        "those a set was made with. Wrong labels read high.",
        log_per_class,
    ),
    "per_byte": Quantity(
        "usable bits of a label, per stored byte",
        per_byte,
        "lower",
        HELD_OUT,
        "What the small network can use (above), in thousandths of a bit per label of a held-out image, divided by "
        "the bytes the set is stored in: images, labels, learned numbers and a whitening, uncompressed. Good for "
        "comparing storage at one data set; since the first images of a class tell most, smaller sets always look "
        "better. Random real images count as float32 here; as 8-bit pixels they would take a quarter.",
        no_ceiling,
        DENSITY,
    ),
}
"""Those that do not depend on the teachers' depth."""
