"""Pretrained weights by name: found on the disk or downloaded once, and verified before anything opens them.

They are searched for in the folder that ``SOUNDMARK_WEIGHTS`` names, then in the cache folder; else they are downloaded
into the cache from where EfficientAT's authors released them (MIT licence; F. Schmid et al., ICASSP 2023).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from soundmark.errors import WeightsError
from soundmark.runtime import atomic
from soundmark.runtime.cache import cache_folder
from soundmark.runtime.checksums import sha256_of
from soundmark.runtime.downloads import download
from soundmark.runtime.progress import Progress, no_progress

RELEASE = "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/"


@dataclass(frozen=True)
class Weights:
    """A file of the release, and the SHA-256 that it must have."""

    file: str
    sha256: str
    max_bytes: int  # more is not downloaded


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
    """The file of the verified weights called ``name``; downloaded where it is not on the disk.

    Raises:
        WeightsError: they cannot be downloaded, or a file of that name has other content.

    >>> find("mn05")
    Traceback (most recent call last):
    KeyError: 'mn05'
    """
    weights = WEIGHTS[name]
    kept = cache_folder() / "weights"
    for folder in (os.environ.get("SOUNDMARK_WEIGHTS"), kept):
        path = Path(folder) / weights.file if folder else None
        if path and path.is_file():
            if sha256_of(path) != weights.sha256:
                raise WeightsError(
                    f'"{path}" is not the {weights.file} that was released (its SHA-256 should be {weights.sha256}): '
                    "delete it, and it is fetched again."
                )
            return path
    path = atomic.make_folder(kept, "Set SOUNDMARK_CACHE to another folder.") / weights.file
    url = RELEASE + weights.file
    return download(
        url,
        path,
        sha256=weights.sha256,
        max_bytes=weights.max_bytes,
        what=f"the weights of {name}",
        label=name,
        remedy=f'Fetch {url} elsewhere and put it into "{kept}" or into a folder that SOUNDMARK_WEIGHTS names.',
        progress=progress,
    )
