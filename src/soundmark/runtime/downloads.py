"""A file from the network: bounded in size, verified by its SHA-256, and written whole or not at all."""

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
    """Download ``url`` to ``path``, whose folder exists, and return ``path``.

    No more than ``max_bytes`` (and a block) are read. ``what`` names the content in messages, as "the weights of mn04",
    and ``label`` in progress; ``remedy`` is the sentence that says what else can be done.

    Raises:
        error: the server cannot be reached or refuses, or the content does not have the SHA-256 ``sha256``.
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
        why = getattr(failure, "reason", None) or str(failure) or type(failure).__name__
        raise error(f"{what} are not here and cannot be fetched: {why}. {remedy}".rstrip()) from failure
    if hashlib.sha256(content).hexdigest() != sha256:
        raise error(f"what was fetched for {label} is not the {name} that was released. {remedy}".rstrip())
    atomic.write_bytes(path, content)
    return path


def _read(url: str, max_bytes: int, label: str, progress: Progress) -> bytes:
    content = bytearray()
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 (a fixed https address)
        total = min(int(answer.headers.get("Content-Length") or max_bytes), max_bytes)
        while block := answer.read(BLOCK_BYTES):
            content += block
            progress(f"fetching {label}", len(content) // 1000, max(total, len(content)) // 1000, "kB")
            if len(content) > max_bytes:
                break
    return bytes(content)
