"""Names, keyed generators and random images that the augmentation tests share."""

from __future__ import annotations

import torch
from torch import Tensor

BY_NAME = [
    "color_crop_cutout_flip_scale_rotate",
    "per-image:color_crop_cutout_flip_scale_rotate",
    "diffaug:color_crop_cutout",
    "diffaug:flip_color_crop_scale_rotate_cutout",
    "per-image:diffaug:color_crop_scale_rotate",
    "dc:crop_scale_rotate",
    "dc:crop_noise",
    "imagenet:crop_flip_jitter_lighting",
    "shift1",
    "none",
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int, shape: tuple[int, int, int], seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, *shape, generator=generator(seed), dtype=dtype)
