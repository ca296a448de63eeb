"""Facts about known data sets: published mean and standard deviation, and class names.

The constants are those of the distillation literature (VICO's DC/DSA/DM code base), kept for comparability even where
they are not the data's own: the std of CIFAR-10 is the mean of per-image stds, not the global 0.247.
"""

from __future__ import annotations

from infodistill.types import ValueSpace

IMAGENET = ValueSpace((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

SPACES = {
    "mnist": ValueSpace((0.1307,), (0.3081,)),
    "fashionmnist": ValueSpace((0.2861,), (0.3530,)),
    "svhn": ValueSpace((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "cifar10": ValueSpace((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ValueSpace((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    "tinyimagenet": IMAGENET,
    "imagenette": IMAGENET,
    "imagewoof": IMAGENET,
}
"""The published value space of every data set that is known by name."""

PARQUET_SPACES = {"mnist": SPACES["mnist"], "cifar10-jpeg": SPACES["cifar10"], "imagenette-64": IMAGENET}
"""Parquet folders that are these data by name; nothing else is guessed to be a known data set."""

DIGITS = tuple("0123456789")

FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

IMAGENETTE = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}

IMAGEWOOF = {
    "n02086240": "Shih-Tzu",
    "n02087394": "Rhodesian ridgeback",
    "n02088364": "beagle",
    "n02089973": "English foxhound",
    "n02093754": "Border terrier",
    "n02096294": "Australian terrier",
    "n02099601": "golden retriever",
    "n02105641": "Old English sheepdog",
    "n02111889": "Samoyed",
    "n02115641": "dingo",
}
