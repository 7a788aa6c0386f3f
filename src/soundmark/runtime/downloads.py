"""Download a file: bounded in size, verified by its SHA-256, and written atomically."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path

from soundmark.errors import SoundmarkError, WeightsError
from soundmark.runtime import atomic
from soundmark.runtime.progress import Progress, no_progress

TIMEOUT_S = 30.0


BLOCK_BYTES = 1 << 16


def download(
    url: str,
    path: Path,
    *,
    sha256: str,
    max_bytes: int,
    what: str,
    label: str,
    remedy: str = "",
    progress: Progress = no_progress,
    error: type[SoundmarkError] = WeightsError,
) -> Path:
    """Download ``url`` to ``path`` in an existing folder; return ``path``.

    At most ``max_bytes`` plus one block are read. ``what`` is the name of the content in messages, such as "the weights
    of mn04"; ``label`` is its name in progress. ``remedy`` is a sentence of advice for the user.

    Raises:
        error: the server cannot be reached or returns an error, or the content does not have the SHA-256 ``sha256``.
        OutputError: ``path`` cannot be written.

    >>> source = folder / "source.bin"
    >>> _ = source.write_bytes(b"abc")
    >>> digest = hashlib.sha256(b"abc").hexdigest()
    >>> copied = download(source.as_uri(), folder / "copy.bin", sha256=digest, max_bytes=10, what="abc", label="abc")
    >>> copied.read_bytes()
    b'abc'
    """
    name = url.rpartition("/")[2]
    try:
        content = _read(url, max_bytes, label, progress)
    except (OSError, ValueError, http.client.HTTPException) as failure:  # URLError is an OSError
        if isinstance(failure, urllib.error.HTTPError):
            failure.close()
        reason = getattr(failure, "reason", None) or str(failure) or type(failure).__name__
        raise error(f"{what} are not stored locally and cannot be downloaded: {reason}. {remedy}".rstrip()) from failure
    if hashlib.sha256(content).hexdigest() != sha256:
        raise error(f"the download of {label} is not the released {name}: its SHA-256 differs. {remedy}".rstrip())
    atomic.write_bytes(path, content)
    return path


def _read(url: str, max_bytes: int, label: str, progress: Progress) -> bytes:
    content = bytearray()
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:  # noqa: S310 (a fixed https address)
        total = min(int(response.headers.get("Content-Length") or max_bytes), max_bytes)
        while block := response.read(BLOCK_BYTES):
            content += block
            progress(f"downloading {label}", len(content) // 1000, max(total, len(content)) // 1000, "kB")
            if len(content) > max_bytes:
                break
    return bytes(content)
