"""Pretrained weights by name: found on disk or downloaded once, and verified before they are opened.

The search order is the folder in ``SOUNDMARK_WEIGHTS``, then the cache folder. Otherwise the weights are downloaded
into the cache from the release of EfficientAT's authors (MIT licence; F. Schmid et al., ICASSP 2023).
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from soundmark.errors import WeightsError
from soundmark.runtime import atomic
from soundmark.runtime.cache import cache_folder
from soundmark.runtime.checksums import file_checksum
from soundmark.runtime.downloads import download
from soundmark.runtime.progress import Progress, no_progress

log = logging.getLogger("soundmark")


RELEASE = "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/"


@dataclass(frozen=True)
class Weights:
    """A file of the release, and its expected SHA-256."""

    file: str
    sha256: str
    max_bytes: int  # the download stops at this size


WEIGHTS = {
    "mn04": Weights(
        "mn04_as_mAP_432.pt", "899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c", 8_000_000
    ),
    "mn10": Weights(
        "mn10_as_mAP_471.pt", "0bd7dc2443af498c289a2e739f02ebb515d6aa3fd3ab9db539c86123ae368a4e", 40_000_000
    ),
}


LICENCE = "mn04 and mn10: EfficientAT, F. Schmid, K. Koutini and G. Widmer, MIT licence; trained on AudioSet"


def find(name: str, progress: Progress = no_progress) -> Path:
    """Return the verified file of the weights called ``name``; download it if it is not on disk.

    Raises:
        WeightsError: the download failed, or the file's checksum is wrong.

    >>> find("mn05")
    Traceback (most recent call last):
    KeyError: 'mn05'
    """
    weights = WEIGHTS[name]
    cache = cache_folder() / "weights"
    for folder in (os.environ.get("SOUNDMARK_WEIGHTS"), cache):
        path = Path(folder) / weights.file if folder else None
        if path and path.is_file():
            if file_checksum(path) != weights.sha256:
                raise WeightsError(
                    f'"{path}" is not the released {weights.file}: its SHA-256 is not {weights.sha256}. Delete it; the '
                    "next run downloads it again."
                )
            log.debug('weights %s: "%s"', name, path)
            return path
    path = atomic.make_folder(cache, "Set SOUNDMARK_CACHE to another folder.") / weights.file
    url = RELEASE + weights.file
    return download(
        url,
        path,
        sha256=weights.sha256,
        max_bytes=weights.max_bytes,
        what=f"the weights of {name}",
        label=name,
        remedy=f'Download {url} in another way and copy it to "{cache}", or to the folder in SOUNDMARK_WEIGHTS. '
        "A recipe that needs no weights: --recipe scratch.",
        progress=progress,
    )
