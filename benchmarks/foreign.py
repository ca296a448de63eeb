"""What others make of an export: plain PyTorch that does not import infodistill trains on every form and is tested.

    python benchmarks/foreign.py --artefact runs/digits --imagefolder A --parquet B --ddranking C --nets 5

The digits' test split is made here from scikit-learn, as the data reader's note describes it. The network and the loop
are this file's own, so the numbers are not those of `infodistill evaluate`; all forms are trained alike and paired: the
i-th network starts from the same weights and sees the same batches on every form.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

Set = tuple[Tensor, Tensor]
"""Images (n, c, h, w) as a network sees them, and classes (n,) or rows (n, k)."""


def tensors_of(artefact: Path) -> Set:
    """The artefact's own tensors, read with safetensors alone."""
    from safetensors.torch import load_file

    tensors = load_file(artefact / "distilled.safetensors")
    return tensors["images"], tensors.get("soft_labels", tensors["labels"])


def imagefolder_of(folder: Path, mean: Tensor, std: Tensor) -> Set:
    """What torchvision's ImageFolder would give: folders sorted by name are the classes."""
    from PIL import Image

    images, labels = [], []
    for label, place in enumerate(sorted(path for path in (folder / "train").iterdir() if path.is_dir())):
        for file in sorted(place.glob("*.png")):
            images.append(_pixels(Image.open(file)))
            labels.append(label)
    return (torch.stack(images) - mean) / std, torch.tensor(labels)


def parquet_of(folder: Path, mean: Tensor, std: Tensor, cache: Path) -> Set:
    """What `datasets` gives, with the types it found: images and class labels."""
    from datasets import ClassLabel, Image, load_dataset

    rows = load_dataset("parquet", data_files=str(folder / "data" / "*.parquet"), cache_dir=str(cache))["train"]
    if not isinstance(rows.features["image"], Image) or not isinstance(rows.features["label"], ClassLabel):
        raise SystemExit(f"wanted an Image and a ClassLabel, datasets found {rows.features}")
    images = torch.stack([_pixels(image) for image in rows["image"]])
    return (images - mean) / std, torch.tensor(list(rows["label"]))


def ddranking_of(folder: Path) -> Set:
    """Two tensors."""
    return torch.load(folder / "images.pt", weights_only=True), torch.load(folder / "labels.pt", weights_only=True)


def digits_test(mean: Tensor, std: Tensor) -> Set:
    """The fixed test split: of every class the 50 rows of scikit-learn's digits with the smallest blake2b hash."""
    from sklearn.datasets import load_digits

    def rank(row: int) -> bytes:
        return hashlib.blake2b(f"infodistill.digits:{row}".encode(), digest_size=16).digest()

    found = load_digits()
    rows = [sorted(np.flatnonzero(found.target == label).tolist(), key=rank)[:50] for label in range(10)]
    chosen = np.sort(np.concatenate(rows))
    pixels = torch.from_numpy(np.rint(found.images[chosen] * (255 / 16)))[:, None].float() / 255
    return (pixels - mean) / std, torch.from_numpy(found.target[chosen]).long()


def network(channels: int, classes: int, width: int = 32) -> nn.Module:
    """Two blocks of conv, group norm, ReLU and pooling, for 8 x 8 images."""

    def block(inputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, width, 3, padding=1), nn.GroupNorm(width, width), nn.ReLU(), nn.AvgPool2d(2)]

    return nn.Sequential(*block(channels), *block(width), nn.Flatten(), nn.Linear(4 * width, classes))


def trained(images: Tensor, labels: Tensor, classes: int, seed: int, epochs: int) -> nn.Module:
    """SGD with momentum, one batch an epoch, shifts by up to a pixel; the rate falls tenfold half-way."""
    torch.manual_seed(seed)
    net = network(images.shape[1], classes)
    for epoch in range(epochs):
        if epoch in (0, epochs // 2):
            rate = 0.01 if epoch == 0 else 0.001
            optimiser = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
        for index in torch.randperm(len(images)).split(256):
            optimiser.zero_grad()
            cross_entropy(net(_shifted(images[index])), labels[index]).backward()
            optimiser.step()
    return net


def accuracies(train: Set, test: Set, nets: int, epochs: int) -> list[float]:
    """Last-epoch test accuracies of `nets` fresh networks."""
    classes, found = int(test[1].max()) + 1, []
    for seed in range(nets):
        net = trained(*train, classes, seed, epochs).eval()
        with torch.no_grad():
            found.append(float((net(test[0]).argmax(1) == test[1]).double().mean()))
    return found


def compared(forms: dict[str, Set], test: Set, nets: int, epochs: int) -> dict[str, dict[str, object]]:
    """For every form: mean, std, and the paired difference from the first form with its standard error."""
    values = {name: accuracies(form, test, nets, epochs) for name, form in forms.items()}
    first = next(iter(values.values()))
    return {name: _row(found, first) for name, found in values.items()}


def _row(found: list[float], first: list[float]) -> dict[str, object]:
    gaps = [b - a for a, b in zip(first, found, strict=True)]
    return {
        "mean": statistics.fmean(found),
        "std": statistics.stdev(found),
        "difference": statistics.fmean(gaps),
        "standard_error": statistics.stdev(gaps) / len(gaps) ** 0.5,
        "values": found,
    }


def _pixels(image: object) -> Tensor:
    array = torch.from_numpy(np.asarray(image).copy()).float() / 255
    return array[None] if array.ndim == 2 else array.permute(2, 0, 1)


def _shifted(images: Tensor) -> Tensor:
    """Each image moved by -1, 0 or 1 pixel in both directions; zeros come in."""
    n, channels, height, width = images.shape
    whole, offset = pad(images, (1, 1, 1, 1)), torch.randint(0, 3, (n, 2))
    y = (offset[:, :1] + torch.arange(height)).view(n, 1, height, 1)
    x = (offset[:, 1:] + torch.arange(width)).view(n, 1, 1, width)
    return whole[torch.arange(n).view(n, 1, 1, 1), torch.arange(channels).view(1, channels, 1, 1), y, x]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("artefact", "imagefolder", "parquet", "ddranking"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--nets", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=300)
    asked = parser.parse_args()
    about = json.loads((asked.artefact / "distilled.json").read_text())["space"]
    mean, std = (torch.tensor(about[name]).view(-1, 1, 1) for name in ("mean", "std"))
    with tempfile.TemporaryDirectory() as cache:
        rows = parquet_of(asked.parquet, mean, std, Path(cache))
    forms = {
        "tensors": tensors_of(asked.artefact),
        "ddranking": ddranking_of(asked.ddranking),
        "imagefolder": imagefolder_of(asked.imagefolder, mean, std),
        "parquet": rows,
    }
    print(json.dumps(compared(forms, digits_test(mean, std), asked.nets, asked.epochs), indent=1))


if __name__ == "__main__":
    main()
