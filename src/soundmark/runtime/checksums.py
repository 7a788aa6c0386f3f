"""Checksums of files and of JSON values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from soundmark.errors import SoundmarkError
from soundmark.runtime.checks import parse_json
from soundmark.runtime.progress import Progress, no_progress

KEY = "sha256"


BLOCK_BYTES = 1 << 20  # read at once


SAMPLED_BYTES = 1024  # of each sample of a file's content


SAMPLES = 16  # of a file's content: the first is its head, the last its tail


def with_checksum(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON ``values`` with their SHA-256 as the last entry, for ``verified``.

    >>> sorted(with_checksum({"accuracy": 0.7}))
    ['accuracy', 'sha256']
    """
    return {**values, KEY: _digest(values)}


def verified(values: Any) -> dict[str, Any]:
    """Verify the checksum of values that ``with_checksum`` wrote; return them without it.

    Raises:
        ValueError: the values were changed.

    >>> verified(with_checksum({"accuracy": 0.7}))
    {'accuracy': 0.7}
    >>> verified({**with_checksum({"accuracy": 0.7}), "accuracy": 0.9})
    Traceback (most recent call last):
    ValueError: its checksum does not match
    """
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object")
    rest = {key: value for key, value in values.items() if key != KEY}
    if values.get(KEY) != _digest(rest):
        raise ValueError("its checksum does not match")
    return rest


def parse_verified(text: str | bytes) -> dict[str, Any]:
    """Parse JSON text, and verify the checksum of its values; return them without it.

    Raises:
        ValueError: it is not valid JSON, it is nested too deeply, or the values were changed.

    >>> parse_verified(json.dumps(with_checksum({"accuracy": 0.7})))
    {'accuracy': 0.7}
    """
    return verified(parse_json(text))


def _digest(values: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(values))  # as JSON reads it back: keys are strings, tuples are lists
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def file_checksum(path: Path, algorithm: str = "sha256", *, label: str = "", progress: Progress = no_progress) -> str:
    """Return the checksum of a file as hexadecimal digits; ``algorithm`` is a name that ``hashlib`` knows.

    Raises:
        SoundmarkError: the file cannot be read.

    >>> _ = (folder / "abc.bin").write_bytes(b"abc")
    >>> file_checksum(folder / "abc.bin", "md5")
    '900150983cd24fb0d6963f7d28e17f72'
    """
    found = hashlib.new(algorithm, usedforsecurity=False)
    try:
        total, done = path.stat().st_size, 0
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                found.update(block)
                done += len(block)
                progress(f"verifying {label}", done // 1_000_000, max(total, done) // 1_000_000, "MB")
    except OSError as error:
        raise SoundmarkError(f'"{path}" cannot be read: {error.strerror}. Check its permissions.') from error
    return found.hexdigest()


def sampled_digest(path: str | PathLike[str], size: int) -> str:
    """Return a hash of samples of the content of a file of ``size`` bytes, 16 kB in all; of all of a small file.

    Raises:
        OSError: the file cannot be read.

    >>> _ = (folder / "a.txt").write_text("")
    >>> sampled_digest(folder / "a.txt", 0)[:8]
    'cae66941'
    """
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a path of any bytes
        if size <= SAMPLES * SAMPLED_BYTES:
            digest.update(file.read())
        else:
            for i in range(SAMPLES):
                file.seek((size - SAMPLED_BYTES) * i // (SAMPLES - 1))
                digest.update(file.read(SAMPLED_BYTES))
    return digest.hexdigest()
