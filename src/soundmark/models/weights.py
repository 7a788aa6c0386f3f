"""Pretrained weights by name: looked for, or fetched once, and verified before anything opens them.

They are looked for in the folder that ``SOUNDMARK_WEIGHTS`` names, then in the cache directory; else they are fetched
from the page where EfficientAT's authors released them (MIT licence; F. Schmid et al., ICASSP 2023) into the cache.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from soundmark.errors import WeightsError
from soundmark.runtime import atomic
from soundmark.runtime.cache import cache_folder
from soundmark.runtime.checksums import sha256_of
from soundmark.runtime.progress import Progress, no_progress

RELEASE = "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/"


TIMEOUT_S = 30.0


BLOCK_BYTES = 1 << 16


@dataclass(frozen=True)
class Weights:
    """A file of the release, and the SHA-256 that it must have."""

    file: str
    sha256: str
    bytes: int  # more is not fetched


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
    """Where the verified weights called ``name`` lie; fetched where they are nowhere.

    Raises:
        WeightsError: they are not here and cannot be fetched, or are others.

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
    content = _fetch(name, weights, kept, progress)
    atomic.write_bytes(path, content)
    return path


def _fetch(name: str, weights: Weights, kept: Path, progress: Progress) -> bytes:
    place = f'put it into "{kept}" or into a folder that SOUNDMARK_WEIGHTS names'
    remedy = f"Fetch {RELEASE}{weights.file} elsewhere and {place}."
    content = bytearray()
    try:
        with urllib.request.urlopen(RELEASE + weights.file, timeout=TIMEOUT_S) as answer:  # noqa: S310 (https, fixed)
            total = min(int(answer.headers.get("Content-Length") or weights.bytes), weights.bytes)
            while block := answer.read(BLOCK_BYTES):
                content += block
                progress(f"fetching {name}", len(content) // 1000, max(total, len(content)) // 1000, "kB")
                if len(content) > weights.bytes:
                    break
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError is an OSError
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        why = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise WeightsError(f"the weights of {name} are not here and cannot be fetched: {why}. {remedy}") from error
    if hashlib.sha256(content).hexdigest() != weights.sha256:
        raise WeightsError(f"what was fetched for {name} is not the {weights.file} that was released. {remedy}")
    return bytes(content)
