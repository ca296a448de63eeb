"""CAFE: learning to condense dataset by aligning features (Wang et al., CVPR 2022), arXiv:2203.01531.

    min_S  E_theta  sum_l w_l sum_c | mean_{x in T_c} f_l(x) - mean_{s in S_c} f_l(s) |^2
                    + w_d sum_{x in T} CE( M f_L(x), y(x) ),      M = class means of f_L over S, (C, d)

f_l: the map of block l before pooling, as a vector; f_L: the flat feature before the classifier. The second sum asks
that the synthetic class means classify the real features. theta is trained on S between updates, for as long as its
accuracy says (`sources/plateau.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from infodistill.augment import identity
from infodistill.compute import Policy, View
from infodistill.compute.execution import chunk_rows
from infodistill.distillation import Distillation
from infodistill.looks import Looks
from infodistill.methods.dm import class_means
from infodistill.nets.convnet import Block, ConvNet
from infodistill.real import RealData
from infodistill.sources.plateau import HalvedByLife, Plateau, Watch
from infodistill.synthetic import Initialise, from_noise, synthesise
from infodistill.training import Fit
from infodistill.types import Augment, Batch, Net, NetFactory
from infodistill.updates import Update
from infodistill.weights import Weighted


class BeforePooling(Net):
    """A ConvNet whose stages are every block's map after ReLU and before pooling, and then the flat pooled feature."""

    def __init__(self, net: ConvNet) -> None:
        super().__init__()
        self.net = net

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        maps: list[Tensor] = []
        for block in cast("list[Block]", self.net.blocks):
            maps.append(torch.relu(block.norm(block.conv(x))))
            x = block.pool(maps[-1])
        return (*maps, x.flatten(1))

    def head(self, feature: Tensor) -> Tensor:
        return self.net.head(feature)


def before_pooling(factory: NetFactory, shape: tuple[int, int, int], classes: int) -> Net:
    """What `factory` makes, with unpooled stages where it is a ConvNet; other networks keep their own stages."""
    net = factory(shape, classes)
    return BeforePooling(net) if isinstance(net, ConvNet) else net


def published_weights(stages: int) -> tuple[float, ...]:
    """w_l of the authors' code: 0.1, 0.1, 1 for the maps of three blocks, and 2 for the flat feature.

    The code gives weight 1 to the last pooled map and adds its flattening, the same numbers, once more: hence 2. For
    another number of stages the last three keep their weights and earlier ones have 0.1 (our choice).
    """
    return ((0.1,) * stages + (1.0, 2.0))[-stages:]


def discrimination_loss(
    real: Float[Tensor, "n d"], y: Int[Tensor, " n"], means: Float[Tensor, "k d"]
) -> Float[Tensor, ""]:
    """sum_i -log softmax(means real_i)_{y_i} over the real rows, in nats."""
    return F.cross_entropy(real @ means.T, y, reduction="sum")


@torch.no_grad()
def streamed_means(view: View, batch: Batch, stages: int) -> tuple[list[Tensor], Tensor]:
    """Class means (k, d_l) of every stage, and the last stage's rows (n, d).

    Chunk by chunk, so that the maps of one chunk are all that is ever kept: those of a step's real images would take
    gigabytes. Classes without rows have mean 0.
    """
    member = F.one_hot(batch.y, batch.target.shape[1]).to(batch.x)
    rows, features, sums = chunk_rows(view.module, batch.x, view.policy), list[Tensor](), list[Tensor]()
    for x, mine in zip(batch.x.split(rows), member.split(rows), strict=True):
        maps = [output.flatten(1) for output in view.features(x, batch.space, keep=range(stages))]
        parts = [mine.T @ values for values in maps]
        sums = [total + part for total, part in zip(sums, parts, strict=True)] if sums else parts
        features.append(maps[-1])
    count = member.sum(0).clamp_min(1)[:, None]
    return [total / count for total in sums], torch.cat(features)


@dataclass(frozen=True)
class FeatureAlignment:
    """Weighted squared distances of class means at every stage, plus the discrimination of the real features.

    Sums over features, classes and real rows, no means. The real side is detached. All classes have to be in view: the
    discrimination is among all of them.

    Differs: stages are summed per stage, the last with weight 2 by default (see `published_weights`); the authors do
    not detach the real features, which costs a backward pass and changes nothing; their cross-entropy of the network
    on real images has no gradient for S and is left out.

    Args:
        looks: networks and augmentation.
        layers: w_l of every stage, the flat feature last; `published_weights` where not given.
        discrimination: w_d.

    Raises:
        ValueError: when called: not as many weights as stages, or a batch that lacks a class.
    """

    looks: Looks
    layers: tuple[float, ...] | None = None
    discrimination: float = 0.01

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        if (present := len(syn.y.unique())) != (classes := syn.target.shape[1]):
            raise ValueError(
                f"CAFE discriminates among all {classes} classes, got images of {present}: update all classes jointly "
                "(group=None)"
            )
        look = self.looks.look(syn, real)
        weights = self._weights(stages := look.keep[-1] + 1)
        means = [class_means(output.flatten(1), syn.y, classes) for output in look.syn(range(stages))]
        wanted, feature = streamed_means(look.view, replace(real, x=look.real_images), stages)
        apart = [w * (s - t).square().sum() for w, s, t in zip(weights, means, wanted, strict=True)]
        return torch.stack(apart).sum() + self.discrimination * discrimination_loss(feature, real.y, means[-1])

    def _weights(self, stages: int) -> tuple[float, ...]:
        weights = self.layers or published_weights(stages)
        if len(weights) != stages:
            raise ValueError(f"the network has {stages} stages, its flat feature included, got {len(weights)} weights")
        return weights


def cafe(
    real: RealData,
    net: NetFactory,
    *,
    ipc: int = 10,
    seed: int = 0,
    lr: float = 0.1,
    momentum: float = 0.5,
    real_per_class: int = 256,
    layers: Sequence[float] | None = None,
    discrimination: float = 0.01,
    calm: float = 0.04,
    moved: float = 0.03,
    window: int = 10,
    probe: int = 128,
    most_updates: int = 50,
    most_epochs: int = 50,
    halved: Sequence[int] = (1200, 1600, 1800),
    lr_net: float = 0.01,
    batch_train: int = 256,
    augment: Augment | None = None,
    augment_train: Augment | None = None,
    init: Initialise = from_noise,
    policy: Policy | None = None,
) -> Distillation:
    """Feature alignment with the paper's settings, which are 2000 networks' lives; how many steps that is depends.

    Args:
        real: what to distil.
        net: the network whose features are aligned; a ConvNet's are taken before pooling.
        ipc: images per class.
        seed: key of every draw.
        lr: learning rate of the images (SGD).
        momentum: of the images' SGD.
        real_per_class: real images of each class per step.
        layers: weight of every stage, see `FeatureAlignment`.
        discrimination: weight of the discrimination.
        calm: a life ends when the last `window` accuracies span less.
        moved: a training of the network ends when the last `window` accuracies span more.
        window: readings looked at.
        probe: real images of each class per reading.
        most_updates: updates in one life at most (ours, see `Watch`).
        most_epochs: epochs in one training at most (ours).
        halved: lives from which on the images' learning rate is halved, once more each.
        lr_net: learning rate of the network's training, plain SGD without momentum or weight decay.
        batch_train: its batch size.
        augment: siamese augmentation of both streams; none in this paper, `dsa()` in its CAFE+DSA rows.
        augment_train: augmentation of the network's training, image by image; `dsa_per_image()` in those rows.
        init: what the set starts from.
        policy: how networks run.
    """
    policy = policy or Policy()
    watch, train = Watch(window, calm, moved, probe, most_updates, most_epochs), Fit(1, batch_train, lr_net)
    nets = Plateau(
        partial(before_pooling, net),
        real.shape,
        real.num_classes,
        seed=seed,
        train=replace(train, augment=augment_train),
        watch=watch,
    )
    looks = Looks(nets, augment or identity(), seed)
    syn = synthesise(real, ipc, seed, init, policy.device)
    update = Update(torch.optim.SGD(syn.trainable(), lr, momentum), HalvedByLife(nets, tuple(halved)))
    term = FeatureAlignment(looks, None if layers is None else tuple(layers), discrimination)
    return Distillation(syn, real, {"match": Weighted(1.0, term)}, update, seed, real_per_class, policy=policy)
