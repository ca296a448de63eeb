"""Dataset condensation via efficient synthetic-data parameterisation (IDC; Kim et al., ICML 2022), arXiv:2205.14959.

    min_P  E_theta  sum_c  sum_w  d( grad_w l(A_c(F(P_c)); theta),  grad_w l(A_c(T_c); theta) )

F: multi-formation, which cuts each stored image into rho x rho tiles and enlarges them (rho = 1 is IDC-I); A_c: one
augmentation of class c's real and synthetic images; theta: a random network trained on augmented *real* images between
updates; w: the kernels of the convolutions; d: the sum of squared or of absolute differences; l: mean cross-entropy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from infodistill.augment import diffaug, diffaug_per_image
from infodistill.augment.mixing import CutMix, Mix
from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.gradients import Gradients
from infodistill.looks import Looks
from infodistill.methods.dc import GradientMatching
from infodistill.methods.dm import squared
from infodistill.real import RealData
from infodistill.samplers import Cyclic, Sampler
from infodistill.seeding import stream
from infodistill.sources.lessons import RealRows
from infodistill.sources.rolling import Prepare, Rolling
from infodistill.storage.decoders import Clamped, MultiFormation
from infodistill.storage.initial import Initialise, Mosaic, Stored
from infodistill.synthetic import synthesise
from infodistill.training import Fit, fit
from infodistill.types import Augment, Batch, Net, NetFactory, Source
from infodistill.updates import Update
from infodistill.weights import Weighted

CUTMIX = CutMix()
"""The published mixing of the networks' training: half of the batches, beta 1."""


def absolute(a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Sum of absolute differences, over everything."""
    return (a - b).abs().sum()


def conv_squared_error(a: Gradients, b: Gradients) -> Tensor:
    """Sum of squared differences over classes and the kernels of convolutions ("mse" of the released code, no mean).

    Biases, norm affine and the classifier count nothing.

    Raises:
        ValueError: no gradient is of a convolution.
    """
    return _over_kernels(squared, a, b)


def conv_l1(a: Gradients, b: Gradients) -> Tensor:
    """Sum of absolute differences over classes and the kernels of convolutions; see `conv_squared_error`."""
    return _over_kernels(absolute, a, b)


def learning_rate(base: float, ipc: int, size: float = 1.0) -> float:
    """The published rule for the images: base * ipc / 10 * size^2, size the image side over the side of reference.

    A class's gradient is a mean over its images, so each image's share falls with ipc. Reference sides: ImageNet 224,
    MNIST 28, everything else 32; so size is 28 / 32 for FashionMNIST, and 2 for Tiny-ImageNet (DREAM).
    """
    return base * ipc / 10 * size**2


@dataclass(frozen=True)
class AtMost:
    """Gradient matching on at most `most` random decoded images of every class; other terms still see all of them.

    Draws are keyed by (seed, owner, step, class), so that a class is matched on the same images however the round is
    grouped.

    Raises:
        ValueError: most is below 1.
    """

    match: GradientMatching
    most: int = 128
    seed: int = 0
    owner: str = "match.subset"
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"at least 1 decoded image of every class must be matched, got {self.most}")

    @property
    def looks(self) -> Looks:
        return self.match.looks

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        return self.match(self.chosen(syn), real)

    def chosen(self, syn: Batch) -> Batch:
        """The rows that are matched, class-major; the batch itself where no class has more than `most`."""
        labels: list[int] = syn.classes().tolist()
        count = len(syn) // len(labels)
        if count <= self.most:
            return syn
        picks: list[Tensor] = []
        for place, label in enumerate(labels):
            order = torch.randperm(count, generator=stream(self.seed, self.owner, self.looks.step, label))
            picks.append(place * count + order[: self.most])
        return syn.rows(torch.cat(picks).to(syn.y.device))


class Early(Source[Fit]):
    """A warm-up of every fresh network: a training on all real data, keyed by (seed, owner, life).

    A source, so that the job tells it the policy to run under.

    Differs: its momentum ends with it; the released code's goes on into the network's life.
    """

    def __init__(self, real: RealData, train: Fit, *, seed: int = 0, owner: str = "match.early") -> None:
        self.real, self.train, self.seed, self.owner, self.policy = real, train, seed, owner, Policy()

    def draw(self) -> Fit:
        """The training."""
        return self.train

    def use(self, policy: Policy) -> None:
        self.policy = policy

    def __call__(self, module: Net, life: int) -> None:
        fit(module, self.real, self.train, stream(self.seed, self.owner, life), policy=self.policy)

    def __deepcopy__(self, memo: dict[int, Any]) -> Early:
        return copy.copy(self)  # the data never changes, and may be large


def idc(
    real: RealData,
    net: NetFactory,
    *,
    ipc: int = 10,
    seed: int = 0,
    factor: int = 2,
    lr: float = 5e-3,
    momentum: float = 0.5,
    real_per_class: int = 64,
    most: int = 128,
    augment: Augment | None = None,
    init: Initialise | None = None,
    inner: int = 100,
    train_images: int = 2000,
    early: int = 0,
    lr_net: float = 0.01,
    momentum_net: float = 0.9,
    weight_decay: float = 5e-4,
    batch_train: int = 64,
    augment_train: Augment | None = None,
    mix: Mix | None = CUTMIX,
    distance: Callable[[Gradients, Gradients], Tensor] = conv_squared_error,
    sampler: Sampler | None = None,
    group: int | None = None,
    clamp_every: int = 1,
    prepare: Prepare | None = None,
    policy: Policy | None = None,
) -> Distillation:
    """IDC with the released settings for CIFAR-10; a whole run is 2000 networks of `inner` updates each.

    Stored are [0, 1] pixels; networks, augmentations and every term see decoded images in the value space of `real`.

    Differs: all classes are updated jointly by default (`group=1` is the released code's optimiser step per class,
    which moves every class by its momentum at each of the k steps, lr (1 - mu^k) / (1 - mu) per gradient in all);
    pixels are clamped after every update (released: `clamp_every=inner`); initial images are random, not the first of
    the files.

    Args:
        real: what to distil.
        net: the network whose gradients are matched.
        ipc: stored images per class; networks see ipc * factor^2.
        seed: key of every draw.
        factor: rho, tiles along each side; 2 at 28 to 64 pixels, 3 on ImageNet, 1 for IDC-I.
        lr: learning rate of the images (SGD) as it is used; `learning_rate` states the published rule for it.
        momentum: of the images' SGD.
        real_per_class: real images of each class per step.
        most: decoded images of each class that are matched in a step.
        augment: one record per class for both streams; colour, crop and cutout, always all three, by default.
        init: what is stored at the start, in [0, 1]; mosaics of random real images by default.
        inner: updates in one network's life.
        train_images: real images it is trained on between two of them (500 except on CIFAR).
        early: epochs on all real data before its first update (10 on ImageNet-10).
        lr_net: learning rate of both trainings, SGD.
        momentum_net: of that SGD.
        weight_decay: of that SGD.
        batch_train: its batch size.
        augment_train: augmentation of both trainings, image by image; colour and crop by default.
        mix: mixing of the images of both trainings.
        distance: d; `conv_l1` on MNIST, FashionMNIST and ImageNet.
        sampler: which real images a step looks at; passes without replacement by default.
        group: classes per update of the images.
        clamp_every: updates after which pixels are clamped to [0, 1].
        prepare: what happens to a fresh network instead of `early`.
        policy: how networks run.

    Raises:
        ValueError: both `early` and `prepare` are given.
    """
    if early and prepare is not None:
        raise ValueError(f"a fresh network is prepared in one way: early is {early}, so prepare must be left out")
    policy = policy or Policy()
    train = Fit(
        1, batch_train, lr_net, momentum_net, weight_decay, augment=augment_train or diffaug_per_image(), mix=mix
    )
    if early:
        prepare = Early(real, replace(train, epochs=early), seed=seed)
    nets = Rolling(
        net, real.shape, real.num_classes, seed=seed, inner=inner, train=train, lesson=RealRows(train_images),
        prepare=prepare,
    )  # fmt: skip
    looks = Looks(nets, augment or diffaug(), seed)
    init = init or Stored(Mosaic(factor))
    decode, project = MultiFormation(factor, real.space), Clamped(clamp_every)
    syn = synthesise(real, ipc, seed, init, policy.device, decode=decode, project=project)
    update = Update(torch.optim.SGD(syn.trainable(), lr, momentum))
    terms = {"match": Weighted(1.0, AtMost(GradientMatching(looks, distance), most, seed))}
    return Distillation(
        syn, real, terms, update, seed, real_per_class, group=group, policy=policy, sampler=sampler or Cyclic()
    )


def _over_kernels(d: Callable[[Tensor, Tensor], Tensor], a: Gradients, b: Gradients) -> Tensor:
    """Sum of d over the gradients of convolutions: five dimensions, the class in front of the kernel's four."""
    parts = [d(a[name], b[name]) for name in a if a[name].ndim == 5]
    if not parts:
        raise ValueError(f"no gradient is of a convolution, which is all that is compared: got {sorted(a)}")
    return torch.stack(parts).sum()
