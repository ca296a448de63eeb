"""The denoising networks: a residual MLP for tiny images, the DiT and the UNet of diffusers, built from a small record.

A network is fed z = x / sqrt(1 + sigma^2), a time t in steps of its table (0 is the cleanest) and class ids; id K, one
past the K classes, is the null class. The record ("config") is JSON-able and lies beside the weights, so a name in it
selects the constructor here and nowhere else. Every network is built and kept in eval mode: in train mode diffusers
drops labels by the global generator, and whoever trains drops them itself, by key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from infodistill.seeding import build_seeded, stream

WAVES = 64
"""Entries of the residual MLP's time code."""

TOKENS = 64
"""Most tokens of a default DiT: what a CPU trains in minutes."""


def diffusers_class(name: str) -> Any:
    """A class of diffusers, imported now: it takes seconds, so nothing here needs it before it is used.

    Raises:
        ValueError: diffusers is missing, or something it imports is broken.
    """
    try:
        return getattr(import_module("diffusers"), name)
    except (ImportError, OSError, RuntimeError) as error:
        if isinstance(error, ImportError) and (error.name or "diffusers").split(".")[0] == "diffusers":
            raise ValueError('this needs the package diffusers: pip install "infodistill[diffusion]"') from error
        told = " ".join(str(error).split())[:160]
        raise ValueError(
            f"diffusers cannot be imported ({told}): a torchvision or transformers built for another torch breaks it, "
            "so uninstall that one (nothing here needs it), or see `infodistill doctor`"
        ) from error


class ResidualMLP(nn.Module):
    """h <- h + W2 silu(W1 norm(h) + b(c)) a few times over flattened images, c a code of time and class.

    The denoiser of our study on 8x8 digits (width 320, 3 blocks). The output layer starts at zero.

    Args:
        shape: (c, h, w) of the images.
        classes: K; there are K + 1 class codes, the last is the null class.
        width: of the hidden vector.
        depth: blocks.
    """

    def __init__(self, shape: Sequence[int], classes: int, width: int = 320, depth: int = 3) -> None:
        super().__init__()
        self.shape, self.classes, self.width, self.depth = tuple(shape), classes, width, depth
        values = math.prod(shape)
        self.enter = nn.Linear(values, width)
        self.time = nn.Sequential(nn.Linear(WAVES, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(classes + 1, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, values))
        _zero(self.leave[1])

    def forward(self, z: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        """Images (n, c, h, w), times (n,), class ids (n,) to (n, c, h, w)."""
        h = self.enter(z.flatten(1))
        code = silu(self.time(waves(t, WAVES).to(h)) + self.label(ids))
        for block in self.blocks:
            h = block(h, code)
        return self.leave(h).view_as(z)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.first, self.second = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)
        self.code = nn.Linear(width, width)

    def forward(self, h: Tensor, code: Tensor) -> Tensor:
        return h + self.second(silu(self.first(self.norm(h)) + self.code(code)))


def waves(t: Tensor, size: int, longest: float = 10_000.0) -> Tensor:
    """Cosine and sine of t at size / 2 geometric rates from 1 to 1 / longest (Vaswani et al., 2017): (n, size)."""
    half = size // 2
    rates = torch.exp(-math.log(longest) / half * torch.arange(half, dtype=torch.float32, device=t.device))
    angle = t.float()[:, None] * rates
    return torch.cat([angle.cos(), angle.sin()], 1)


def residual_mlp(*, shape: Sequence[int], classes: int, width: int = 320, depth: int = 3) -> nn.Module:
    return ResidualMLP(shape, classes, width, depth)


def dit(
    *,
    shape: Sequence[int],
    classes: int,
    patch: int,
    heads: int = 4,
    head_width: int = 32,
    depth: int = 4,
    out_channels: int | None = None,
) -> nn.Module:
    """DiT (Peebles & Xie, ICCV 2023) of width heads * head_width, as diffusers has it, started as the paper says.

    Raises:
        ValueError: the images are not square (diffusers puts patches back as a square) or the patch does not fit.
    """
    c, h, w = shape
    if h != w or h % patch:
        raise ValueError(f"a DiT needs square images that its patches divide, got {h}x{w} and patches of {patch}")
    module = diffusers_class("DiTTransformer2DModel")(
        num_attention_heads=heads,
        attention_head_dim=head_width,
        in_channels=c,
        out_channels=out_channels or c,
        num_layers=depth,
        sample_size=h,
        patch_size=patch,
        num_embeds_ada_norm=classes,
    )
    _start_dit(module)
    return module


def _start_dit(module: Any) -> None:
    """adaLN-zero (DiT, section 3.2): every block starts as the identity, the output at zero; codes at N(0, 0.02)."""
    for block in module.transformer_blocks:
        _zero(block.norm1.linear)
        nn.init.normal_(block.norm1.emb.class_embedder.embedding_table.weight, std=0.02)
        for layer in block.norm1.emb.timestep_embedder.children():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
    _zero(module.proj_out_1)
    _zero(module.proj_out_2)


def unet(
    *,
    shape: Sequence[int],
    classes: int,
    channels: Sequence[int] = (32, 64, 64),
    layers: int = 1,
    out_channels: int | None = None,
) -> nn.Module:
    """The DDPM UNet of diffusers with class codes; attention on the coarsest of its len(channels) resolutions.

    Raises:
        ValueError: a side cannot be halved len(channels) - 1 times.
    """
    c, h, w = shape
    steps = 2 ** (len(channels) - 1)
    if h % steps or w % steps:
        raise ValueError(f"a UNet of {len(channels)} resolutions needs sides divisible by {steps}, got {h}x{w}")
    plain = len(channels) - 1
    return diffusers_class("UNet2DModel")(
        sample_size=(h, w),
        in_channels=c,
        out_channels=out_channels or c,
        block_out_channels=tuple(channels),
        down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * plain,
        layers_per_block=layers,
        norm_num_groups=math.gcd(8, *channels),
        num_class_embeds=classes + 1,
    )


KINDS: Mapping[str, Callable[..., nn.Module]] = {"mlp": residual_mlp, "dit": dit, "unet": unet}
"""The names a config may have."""


def build(config: Mapping[str, Any], generator: torch.Generator | None = None) -> nn.Module:
    """The network of a config {"kind": "mlp" | "dit" | "unet", "shape": [c, h, w], "classes": K, ...}, in eval mode.

    The other entries are the arguments of `residual_mlp`, `dit`, `unet`. Weights are drawn from `generator` (default: a
    fixed stream), never from the global one.

    Raises:
        ValueError: an unknown kind or entry, sizes that do not fit, or diffusers is missing.
    """
    entries = dict(config)
    kind = entries.pop("kind", None)
    if kind not in KINDS:
        raise ValueError(f"a network's kind is one of {', '.join(KINDS)}, got {kind!r}")
    make = KINDS[kind]
    known = set(make.__kwdefaults__ or {}) | {name for name in make.__annotations__ if name != "return"}
    if unknown := sorted(set(entries) - known):
        raise ValueError(f"a network of kind {kind!r} has no {unknown[0]!r}; it knows {', '.join(sorted(known))}")
    if lacking := sorted(known - set(make.__kwdefaults__ or {}) - set(entries)):
        raise ValueError(f"a network of kind {kind!r} needs {', '.join(lacking)}")
    module = build_seeded(partial(make, **entries), generator or stream(0, "diffusion.network"))
    return module.eval()


def default_config(shape: Sequence[int], classes: int) -> dict[str, Any]:
    """A network of a sensible size to train on this machine, for what is denoised: (c, h, w) pixels or latents.

    At most 256 values: the residual MLP. Square images with a patch that leaves 16 to 64 tokens: a DiT, of width 128
    and depth 4 up to 1,024 values and 256 and 8 above. Other images: a UNet, of three resolutions or two.

    Raises:
        ValueError: nothing fits; it says which sides would.
    """
    c, h, w = shape
    asked: dict[str, Any] = {"shape": [c, h, w], "classes": classes}
    if c * h * w <= 256:
        return {"kind": "mlp", **asked, "width": 320, "depth": 3}
    patch = next((p for p in range(1, h + 1) if h % p == 0 and 16 <= (h // p) ** 2 <= TOKENS), None)
    if h == w and patch is not None:
        small = c * h * w <= 1024
        return {"kind": "dit", **asked, "patch": patch, "heads": 4 if small else 8, "depth": 4 if small else 8}
    halvings = next((k for k in (2, 1) if h % 2**k == 0 and w % 2**k == 0), None)
    if halvings is None:
        raise ValueError(
            f"no network here denoises {h}x{w} images: give them even sides (--size {4 * -(-max(h, w) // 4)})"
        )
    return {"kind": "unet", **asked, "channels": [32, 64, 64][: halvings + 1]}


def module_call(module: nn.Module, z: Tensor, t: Tensor, ids: Tensor) -> Tensor:
    """What the network says of z (n, c, h, w) at times t (n,) for class ids (n,): (n, c or 2 c, h, w).

    A network in half precision is fed its own type; the answer has that of z.
    """
    own = next((value.dtype for value in module.parameters() if value.is_floating_point()), z.dtype)
    if isinstance(module, ResidualMLP):
        return module(z.to(own), t, ids).to(z)
    return module(z.to(own), timestep=t, class_labels=ids, return_dict=False)[0].to(z)


def _zero(layer: Any) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
