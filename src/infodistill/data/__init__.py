"""Labelled images from a name, a folder, an `.npz`, Parquet or the Hugging Face hub."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from infodistill.data.arrays import read_digits, read_npz
from infodistill.data.assemble import assemble
from infodistill.data.cache import cache_dir
from infodistill.data.folder import read_folder
from infodistill.data.hub import read_hub
from infodistill.data.known import KNOWN, read_known
from infodistill.data.parquet import parquet_files, read_parquet
from infodistill.data.reading import Parts, Progress, Reading, memory_budget, silent
from infodistill.real import RealData

__all__ = ["NAMES", "cache_dir", "load_data"]

NAMES = ("digits", *KNOWN)
"""Data sets that can be asked for by name."""


def load_data(
    name_or_path: str | PathLike[str],
    *,
    size: int | None = None,
    skip_corrupt: bool = False,
    seed: int = 0,
    memory: int | None = None,
    progress: Progress = silent,
) -> RealData:
    """Read a labelled image data set; `.test` is its test split, `.notes` says what was done.

    Accepted: `digits` (bundled, fixed 1297/500 split); a name of `NAMES` (downloaded once, verified); a folder of class
    folders with or without `train/` and `test/` or `val/`; an `.npz`; a Parquet file or folder in the Hugging Face
    image layout; `hf:NAME`. A bare name that is also a folder here is that folder if it holds Parquet files.

    Args:
        name_or_path: what to read.
        size: side of the square images (shorter side resized, centre kept). Default: the size all images share, 32
            when they differ, 128 for the downloaded Imagenette and Imagewoof.
        skip_corrupt: leave unreadable images out and count them in `.notes`, instead of refusing the data.
        seed: chooses the stratified 20 % that becomes test data where the source has none.
        memory: bytes of decoded images above which they are memory-mapped (default: a quarter of the machine's).
        progress: progress(stage, done, total).

    Raises:
        FileNotFoundError: there is nothing of that name.
        ValueError: it cannot be read as labelled images; the sentence says why.
    """
    limit = memory_budget() if memory is None else memory
    return assemble(_read(str(name_or_path), Reading(size, skip_corrupt, seed, limit, progress)), seed)


def _read(text: str, reading: Reading) -> Parts:
    path = Path(text).expanduser()
    if text == "digits":
        return read_digits(reading)
    if text.startswith("hf:"):
        return read_hub(text.removeprefix("hf:"), reading)
    if text in KNOWN and not parquet_files(path):
        return read_known(text, reading)
    if path.is_dir():
        return (read_parquet if parquet_files(path) else read_folder)(path, reading)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no data {text!r}: no such folder or file, and the names are {', '.join(NAMES)}"
        )
    readers = {".npz": read_npz, ".parquet": read_parquet}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path.name} is neither a folder nor an .npz nor a .parquet file")
    return readers[path.suffix.lower()](path, reading)
