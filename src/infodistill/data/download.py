"""Fetching a published file once, and knowing that it is the right one."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import cast

from infodistill.data.cache import cache_dir, file_sha256
from infodistill.data.reading import Progress, silent
from infodistill.files import write_atomically

_BLOCK = 2**20
_SECONDS = 30
_MOST = 4 * 2**30


@dataclass(frozen=True)
class Download:
    """A published file and its sha256; None where no trusted value is known to us.

    Then the hash of the first copy is recorded beside it and later copies must equal it: trust on first use, which
    detects a change but not a wrong first copy.
    """

    url: str
    sha256: str | None

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]


def fetch(file: Download, dataset: str, progress: Progress = silent) -> Path:
    """The verified file in the cache, downloaded if it is not there.

    Raises:
        ValueError: no connection, or a file whose sha256 is not the expected one.
    """
    path = cache_dir() / "downloads" / dataset / file.name
    if not path.is_file():
        try:
            write_atomically(path, lambda partial: _stream(file, partial, progress))
        except (urllib.error.URLError, HTTPException, OSError) as error:
            why = getattr(error, "reason", None) or error
            instead = f"put {file.name} into {path.parent}, or give --data a folder or Parquet file"
            raise ValueError(
                f"could not download {dataset} from {file.url} ({why}); without a connection {instead}"
            ) from error
    _verify(path, file)
    return path


def _stream(file: Download, partial: Path, progress: Progress) -> None:
    request = urllib.request.Request(file.url, headers={"User-Agent": "infodistill"})
    with cast(HTTPResponse, urllib.request.urlopen(request, timeout=_SECONDS)) as response, partial.open("wb") as out:
        total, done = int(response.headers.get("Content-Length") or 0), 0
        while block := response.read(_BLOCK):
            done += len(block)
            if done > _MOST:
                raise OSError(f"more than {_MOST} bytes")
            out.write(block)
            progress(f"download {file.name}", done, total)
        if total and done != total:
            raise OSError(f"the connection broke after {done} of {total} bytes")


def _verify(path: Path, file: Download) -> None:
    found, recorded = file_sha256(path), path.with_name(path.name + ".sha256")
    if file.sha256 is None and not recorded.is_file():
        recorded.write_text(found + "\n")
    expected = file.sha256 or recorded.read_text().strip()
    if found != expected:
        raise ValueError(f"{path} has sha256 {found}, expected {expected}: delete it and try again")
