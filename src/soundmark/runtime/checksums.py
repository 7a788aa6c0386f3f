"""Checksums of files, and JSON that detects damage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soundmark.errors import WeightsError

KEY = "sha256"


def with_checksum(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values``, plain as JSON has them, with a digest of them all as the last entry: see ``unsealed``.

    >>> sorted(with_checksum({"accuracy": 0.7}))
    ['accuracy', 'sha256']
    """
    return {**values, KEY: _digest(values)}


def verified(values: Any) -> dict[str, Any]:
    """What was given to ``sealed``, from what JSON read back of it.

    Raises:
        ValueError: it is no longer what was sealed.

    >>> verified(with_checksum({"accuracy": 0.7}))
    {'accuracy': 0.7}
    >>> verified({**with_checksum({"accuracy": 0.7}), "accuracy": 0.9})
    Traceback (most recent call last):
    ValueError: its checksum does not fit
    """
    if not isinstance(values, dict):
        raise ValueError("it is not a table of values")
    rest = {key: value for key, value in values.items() if key != KEY}
    if values.get(KEY) != _digest(rest):
        raise ValueError("its checksum does not fit")
    return rest


def _digest(values: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(values))  # as it will be read back: keys are text, tuples are lists
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits.

    Raises:
        WeightsError: it cannot be read.

    >>> _ = (folder / "a.txt").write_text("")
    >>> sha256_of(folder / "a.txt")[:8]
    'e3b0c442'
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f'"{path}" cannot be read: {error.strerror}. Look at its permissions.') from error
