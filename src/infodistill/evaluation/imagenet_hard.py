"""The hard-label protocol of generative distillation on ImageNet subsets, at any resolution.

IDC (Kim et al., ICML 2022) on photographs, as Minimax Diffusion (Gu et al., CVPR 2024), IGD and MGD3 train ConvNet-6,
ResNetAP-10 and ResNet-18 with instance norm (`convnet6`, `resnetap10`, `resnet18-idc`): fewer epochs for more images.

Differs: the authors test a hundred times and report the best epoch, this the last; they resize to 224 px, this leaves
the size to the data. Their jitter clips pixels, this does not.
"""

from __future__ import annotations

from dataclasses import replace

from infodistill.evaluation.protocol import EvaluationProtocol

EPOCHS = ((1, 3000), (10, 2000), (50, 1500), (200, 1000), (500, 500))
"""(images per class, epochs) for up to that many; `MANY` beyond."""
MANY = 300

IMAGENET_HARD = EvaluationProtocol(
    "imagenet-hard",
    epochs=2000,
    full_epochs=MANY,
    batch=64,
    drop_offset=None,
    extra_passes=0,
    milestones=(2 / 3, 5 / 6),
    gamma=0.2,
    augment="imagenet:crop_flip_jitter_lighting",
    mix="cutmix-always",
    note="Hard labels of ImageNet subsets (IDC, Minimax Diffusion, IGD, MGD3): 3000, 2000, 1500, 1000, 500, 300 epochs "
    "for up to 1, 10, 50, 200, 500 and more images per class (100 classes: 2/3), rate x0.2 after 2/3 and 5/6, "
    "resized crops, colour jitter, PCA lighting, CutMix always; no flip for digits. Papers report their best epoch.",
)
"""As it is at 2 to 10 images per class of up to 99 classes."""


def epochs_for(ipc: int, classes: int) -> int:
    """Epochs on `ipc` images of each class; those of 100 classes are 2/3 of the others', rounded down to hundreds."""
    epochs = next((epochs for most, epochs in EPOCHS if ipc <= most), MANY)
    return 2 * epochs // 3 // 100 * 100 if classes == 100 else epochs


def imagenet_hard(ipc: int | None = None, classes: int | None = None) -> EvaluationProtocol:
    """The protocol for a set of this size; None stands for 10 images per class, and for 10 classes.

    More than 100 classes: rate .1, weight decay 1e-4, batches of 128.
    """
    images, kinds = 10 if ipc is None else ipc, 10 if classes is None else classes
    full = epochs_for(EPOCHS[-1][0] + 1, kinds)
    sized = replace(IMAGENET_HARD, epochs=epochs_for(images, kinds), full_epochs=full)
    return replace(sized, lr=0.1, weight_decay=1e-4, batch=128) if kinds > 100 else sized
