"""One thread per worker, and a cache of its own for the whole session: nothing outside the test folder is touched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Shapes of the pure functions are checked at every call under pytest, and nowhere else.
install_import_hook(("infodistill.information", "infodistill.augment", "infodistill.gradients"), "shapes.check")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("INFODISTILL_CACHE")
    os.environ["INFODISTILL_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["INFODISTILL_CACHE"]
    else:
        os.environ["INFODISTILL_CACHE"] = before


@pytest.fixture
def irregular(tmp_path: Path) -> Path:
    """Class folders as people have them: mixed sizes and modes, a stray text file, one truncated image."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    modes = ("L", "RGB", "RGBA", "P", "CMYK")
    for label, name in enumerate(("cat", "dog")):
        folder = tmp_path / "irregular" / name
        folder.mkdir(parents=True)
        for index in range(14):
            height, width = rng.integers(12, 40, 2)
            pixels = rng.integers(0, 120, (height, width, 3), dtype=np.uint8) + np.uint8(120 * label)
            mode = modes[index % len(modes)]
            suffix = "jpg" if mode in ("L", "CMYK") else "png"
            Image.fromarray(pixels).convert(mode).save(folder / f"{index}.{suffix}")
        (folder / "notes.txt").write_text("not an image")
    whole = (tmp_path / "irregular" / "dog" / "1.png").read_bytes()
    (tmp_path / "irregular" / "dog" / "broken.png").write_bytes(whole[: len(whole) // 2])
    return tmp_path / "irregular"
