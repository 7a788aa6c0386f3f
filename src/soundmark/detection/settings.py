"""How sound files are analysed: overlap, thresholds, merging. The only home of these defaults."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from soundmark.errors import SettingsError, unknown_name
from soundmark.models.classifier import Model
from soundmark.models.events import RELEASE
from soundmark.models.windows import hop_samples


@dataclass(frozen=True, kw_only=True)
class DetectionSettings:
    """How files are heard; the only home of these defaults.

    Raises:
        SettingsError: a number lies outside of what can be meant.

    >>> DetectionSettings(overlap=1.0)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: overlap is 1.0: give a share of the window, at least 0 and below 1.
    """

    top_k: int = 3
    unknown: bool = True
    overlap: float = 0.0  # the share of a window that the next one has, too
    min_confidence: float | None = None  # the probability that begins an event; None: the model's own, or 0.5
    thresholds: Mapping[str, float] | None = None  # the same for some classes
    release: float = RELEASE
    merge_gap_s: float = 0.0

    def __post_init__(self) -> None:
        hop_samples(1000.0, self.overlap)
        for name, value in (("min_confidence", self.min_confidence), ("release", self.release)):
            if value is not None and not 0 <= value <= 1:
                raise SettingsError(f"{name} is {value!r}: give a number from 0 to 1.")
        if not 0 <= self.merge_gap_s < float("inf"):
            raise SettingsError(f"merge_gap_s is {self.merge_gap_s!r}: give a number of seconds, at least 0.")

    def threshold(self, model: Model) -> np.ndarray | None:
        """The probability that begins an event, float64 ``[classes]``; None: nothing was said.

        Raises:
            SettingsError: a threshold is for a class that the model does not have.
        """
        if self.min_confidence is None and not self.thresholds:
            return None
        found = model.threshold(self.min_confidence)
        for label, value in (self.thresholds or {}).items():
            if label not in model.classes:
                raise unknown_name("class of this model", label, model.classes)
            found[model.classes.index(label)] = value
        return found

    def to_json(self) -> dict[str, Any]:
        """Every setting as JSON has it.

        >>> DetectionSettings().to_json()["overlap"]
        0.0
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"thresholds": dict(self.thresholds) if self.thresholds else None}


def read_thresholds(path: Path) -> dict[str, float]:
    r"""Thresholds of classes from a file: TOML with a line ``siren = 0.7`` each, or CSV with ``label,threshold``.

    Raises:
        SettingsError: the file cannot be read, or says something else.

    >>> from soundmark.runtime import atomic
    >>> atomic.write_text(folder / "mine.toml", 'siren = 0.7\n"dog bark" = 0.4\n')
    >>> read_thresholds(folder / "mine.toml")
    {'siren': 0.7, 'dog bark': 0.4}
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SettingsError(f'the thresholds "{path}" cannot be read: {why}.') from error
    values = _from_csv(text, path) if path.suffix.lower() == ".csv" else _from_toml(text, path)
    for label, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise SettingsError(f'the threshold of "{label}" in "{path}" is {value!r}: give a number from 0 to 1.')
    return {label: float(value) for label, value in values.items()}


def _from_toml(text: str, path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f'the thresholds "{path}" are no TOML: {error}. Give a line `siren = 0.7` for each class, or a .csv with '
            "label,threshold."
        ) from error


def _from_csv(text: str, path: Path) -> dict[str, Any]:
    try:
        rows = [row for row in csv.reader(text.splitlines()) if len(row) > 1 and row != ["label", "threshold"]]
    except csv.Error as error:
        raise SettingsError(f'the thresholds "{path}" are no CSV: {error}.') from error
    return {label: _number(value) for label, value, *_ in rows}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
