"""The named evaluation protocols: where each comes from, and what its paper leaves open.

The rates of trajectory methods, DD's batches and LD's training length are learned with a set and lie in its plan; a
protocol says the rest, and how the columns without a plan (real images) are trained.
"""

from __future__ import annotations

import re
from dataclasses import replace

from infodistill.augment import DSA_STRATEGY
from infodistill.evaluation.imagenet_hard import IMAGENET_HARD, imagenet_hard
from infodistill.evaluation.protocol import EvaluationProtocol, phases

NOT_FLIPPABLE = ("mnist", "svhn", "digit")
"""Parts of the names of data whose mirror images are other symbols (DSA drops `flip` for them)."""

DSA_PER_IMAGE = f"per-image:{DSA_STRATEGY}"


IDC = EvaluationProtocol(
    "idc",
    epochs=1000,
    full_epochs=50,
    batch=64,
    drop_offset=None,
    extra_passes=0,
    milestones=(2 / 3, 5 / 6),
    gamma=0.2,
    augment="per-image:diffaug:color_crop_flip_scale_rotate",
    mix="cutmix",
    note="IDC (Kim et al., ICML 2022), also DREAM, PDD: 1000 epochs, batch 64, rate x0.2 after 2/3 and 5/6, "
    "DiffAug without cutout, CutMix in half of the batches; no flip for digits; no CutMix on MNIST, as they do at "
    "factor 2. The papers report the best of several test accuracies, this the last. 50 epochs of full data: ours.",
)

PROTOCOLS: dict[str, EvaluationProtocol] = {
    "quick": EvaluationProtocol(
        "quick",
        epochs=300,
        full_epochs=150,
        drop_offset=0,
        extra_passes=0,
        augment="shift1",
        note="Ours, for tiny images: 300 passes, lr x0.1 and momentum reset after half of them, 1-pixel shifts.",
    ),
    "dc": EvaluationProtocol(
        "dc",
        epochs=300,
        full_epochs=100,
        note="DC (Zhao et al., ICLR 2021): 300 epochs without augmentation; MNIST: 1000 with crop_scale_rotate.",
    ),
    "dsa": EvaluationProtocol(
        "dsa",
        epochs=1000,
        full_epochs=200,
        augment=DSA_PER_IMAGE,
        note="DSA (Zhao & Bilen, ICML 2021), also DM: 1000 epochs with DSA per image; no flip for digits.",
    ),
    "cafe": EvaluationProtocol(
        "cafe",
        epochs=600,
        full_epochs=100,
        note="CAFE (Wang et al., CVPR 2022): the training of dc for 600 epochs, no augmentation (ours: nor on MNIST); "
        "its CAFE+DSA rows are trained as in dsa.",
    ),
    "mim4dd": EvaluationProtocol(
        "mim4dd",
        epochs=300,
        full_epochs=100,
        note="MIM4DD (Shang et al., NeurIPS 2023): 300 epochs, lr 0.01, five nets; what it leaves open is as in dc.",
    ),
    "mtt": EvaluationProtocol(
        "mtt",
        epochs=1000,
        full_epochs=50,
        augment=DSA_PER_IMAGE,
        note="MTT (Cazenavette et al., CVPR 2022), also TESLA, FTD, DATM: 1001 epochs at the learned rate of the plan, "
        "x0.1 and momentum reset after half of them, DSA per image; no flip for digits. Real images: lr 0.01, and 50 "
        "epochs of the full data (ours). The papers report the best of many evaluations on test data, this the last.",
    ),
    "seqmatch": EvaluationProtocol(
        "seqmatch",
        epochs=1000,
        full_epochs=50,
        augment=DSA_PER_IMAGE,
        note="SeqMatch (Du et al., NeurIPS 2023): the training of mtt for every stage of the plan in turn, on the "
        "stages so far and at the rate of the stage; the optimiser starts anew. Real images: as in mtt, one stage.",
    ),
    "dd": EvaluationProtocol(
        "dd",
        epochs=300,
        full_epochs=100,
        note="DD (Wang et al., 2018), also SLDD: the plan replayed, batch by batch at its learned rates. Columns "
        "without a plan (real images) train as in dc, 300 epochs at lr 0.01 (ours): a replay tunes no rate for them.",
    ),
    "ld": EvaluationProtocol(
        "ld",
        epochs=300,
        full_epochs=20,
        batch=50,
        lr=1e-3,
        weight_decay=0.0,
        drop_offset=None,
        extra_passes=0,
        optimiser="adam",
        note="LD (Bohdal et al., 2020): Adam at 1e-3 from scratch for as many steps as the plan says, batches of the "
        "plan. Columns without a plan: 300 epochs, 20 of the full data (ours).",
    ),
    "frepo": EvaluationProtocol(
        "frepo",
        epochs=1000,
        updates=1000,
        full_epochs=50,
        batch=500,
        lr=3e-4,
        weight_decay=0.0,
        drop_offset=None,
        extra_passes=0,
        augment="per-image:color_crop_cutout_flip_rotate",
        loss="squared_error",
        optimiser="adam",
        note="FRePo (Zhou et al., NeurIPS 2022): Adam at 3e-4, batches of 500, 1000 updates (CIFAR-100: 1000, 2000, "
        "5000 at 1, 10, 50 images per class; Tiny-ImageNet 1000, 5000), squared error on scores; the network is to "
        "have no normalisation. Ours: a constant rate, DSA operations without translation, no average of weights.",
    ),
    "rtp": EvaluationProtocol(
        "rtp",
        epochs=300,
        full_epochs=50,
        batch=640,
        weight_decay=0.0,
        drop_offset=None,
        extra_passes=0,
        note="RTP (Deng & Russakovsky, NeurIPS 2022): 300 epochs, SGD 0.01 with momentum 0.9, no schedule, batch 640.",
    ),
    "idc": IDC,
    "pdd": replace(
        IDC,
        name="pdd",
        epochs=500,
        note="PDD (Chen et al., ICLR 2024): the training of idc, 500 epochs for every subset of the plan in turn, on "
        "the subsets so far, each with a fresh optimiser (theirs carries the momentum over). Real images: one of them.",
    ),
    "ncfm": EvaluationProtocol(
        "ncfm",
        epochs=2000,
        full_epochs=50,
        batch=128,
        lr=1e-3,
        weight_decay=0.01,
        drop_offset=None,
        extra_passes=0,
        milestones=(1 / 5, 2 / 5, 3 / 5, 4 / 5),
        gamma=0.5,
        augment="per-image:diffaug:color_crop_flip_scale_rotate",
        optimiser="adamw",
        mix="cutmix",
        note="NCFM (Wang et al., CVPR 2025): AdamW 1e-3, 2000 epochs, batch 128, rate halved at every fifth, DiffAug "
        "without cutout, CutMix; no flip for digits. The paper reports the best checkpoint on test data, this the "
        "last. 50 epochs of full data: ours.",
    ),
    IMAGENET_HARD.name: IMAGENET_HARD,
}


def flippable(data: str) -> bool:
    """Whether a mirrored image of this data keeps its class, told by its name, folder or `hf:` name.

    Only the last part of a path counts, and anything in it that names digits is enough (`emnist`, `mnist_png`): not to
    flip is the safe mistake. Clothes may be flipped, whatever Fashion-MNIST is called.
    """
    name = _last_part(data)
    return "fashion" in name or not any(part in name for part in NOT_FLIPPABLE)


def protocol_for(
    name: str, data: str = "", *, ipc: int | None = None, classes: int | None = None
) -> EvaluationProtocol:
    """A protocol as it applies to a data set: DSA without flips on digits, DC's own augmentation on MNIST.

    The images per class and the classes of the set decide the epochs of `imagenet-hard`, and nothing else.

    Raises:
        ValueError: no protocol of that name.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol '{name}', known: {', '.join(PROTOCOLS)}")
    protocol = imagenet_hard(ipc, classes) if name == IMAGENET_HARD.name else PROTOCOLS[name]
    if name == "dc" and _last_part(data) == "mnist":
        return replace(protocol, epochs=1000, augment="dc:crop_scale_rotate")
    if name in ("idc", "pdd") and _last_part(data) == "mnist":
        protocol = replace(protocol, mix="none")
    if not flippable(data):
        return replace(protocol, augment=protocol.augment.replace("_flip", ""))
    return protocol


def _last_part(data: str) -> str:
    return re.split(r"[/\\:]", data.lower().rstrip("/\\"))[-1]


__all__ = ["PROTOCOLS", "EvaluationProtocol", "flippable", "phases", "protocol_for"]
