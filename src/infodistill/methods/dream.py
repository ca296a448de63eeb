"""Dataset distillation by representative matching (DREAM; Liu et al., ICCV 2023), arXiv:2302.14416, and DREAM+.

IDC (`methods/idc.py`) whose real batches are not random: every few updates the images of each class are clustered in
the feature space of the current network, and the image nearest to each centre stands for its cluster until the next
clustering. The set starts from images chosen the same way. DREAM+ (arXiv:2310.15052) adds mean features f,

    L = sum_c  d( grad l(S_c), grad l(R_c) )  +  lambda sum_c  d( mean f(S_c), mean f(R_c) ),   R_c the representatives
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from torch import Tensor

from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.methods.dm import MeanFeature, squared
from infodistill.methods.idc import AtMost, idc
from infodistill.real import RealData
from infodistill.samplers.medoids import Clustering, FeatureMedoids, Medoids
from infodistill.storage.initial import Initialise, Mosaic, Stored
from infodistill.types import NetFactory
from infodistill.weights import Weighted


def dream(
    real: RealData,
    net: NetFactory,
    *,
    interval: int = 10,
    real_per_class: int = 128,
    batch_train: int = 128,
    factor: int = 2,
    clustering: Clustering | None = None,
    features: float = 0.0,
    feature_distance: Callable[[Tensor, Tensor], Tensor] = squared,
    init: Initialise | None = None,
    policy: Policy | None = None,
    **settings: Any,
) -> Distillation:
    """`idc` on representative images; DREAM+ as released is `features=1, early=1`. Other settings are `idc`'s.

    Differs: the mean features of DREAM+ are of all decoded images, also where gradients are matched on `most` of them;
    networks are shown images in the value space they are trained in (`Clustering.space`); k-means is scikit-learn's.

    Args:
        real: what to distil.
        net: the network whose gradients are matched and in whose feature space images are clustered.
        interval: updates between two clusterings.
        real_per_class: representatives of each class.
        batch_train: batch size of the networks' training (the released code uses one number for both).
        factor: tiles along each side of a stored image.
        clustering: how a class is clustered, for the batches and for the start.
        features: lambda, the weight of the distance of mean features (DREAM+).
        feature_distance: d of that distance, `squared` or `absolute`.
        init: what is stored at the start, in [0, 1]; mosaics of ipc * factor^2 representatives by default.
        policy: how networks run.
        settings: of `idc`, all but `sampler`.

    Raises:
        ValueError: a sampler is given.
    """
    if "sampler" in settings:
        raise ValueError("DREAM chooses the real images itself: leave the sampler out, or use idc")
    policy, clustering = policy or Policy(), clustering or Clustering()
    job = idc(
        real, net, factor=factor, real_per_class=real_per_class, batch_train=batch_train, policy=policy,
        init=init or Stored(Mosaic(factor, FeatureMedoids(net, clustering, policy))), **settings,
    )  # fmt: skip
    looks, terms = cast(AtMost, job.terms["match"].term).looks, dict(job.terms)
    if features:
        terms["features"] = Weighted(features, MeanFeature(looks, feature_distance))
    return replace(job, terms=terms, sampler=Medoids(looks.nets, interval, clustering))
