"""How recordings are analyzed: overlap, thresholds, merging; and live sources. The only home of these defaults.

It loads nothing heavy, so that the command line takes its defaults from here.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundmark.errors import SettingsError, unknown_name

if TYPE_CHECKING:
    import numpy as np

    from soundmark.models.classifier import Model


DEFAULT_TIMEZONE = "UTC"  # of times in file names


def _release() -> float:
    from soundmark.models.events import RELEASE

    return RELEASE


@dataclass(frozen=True, kw_only=True)
class DetectionSettings:
    """How recordings are analyzed; the only home of these defaults.

    Raises:
        SettingsError: a value is out of range.

    >>> DetectionSettings(overlap=1.0)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: overlap is 1.0: give a share of the window, at least 0 and below 1.
    """

    top_k: int = 3
    unknown: bool = True
    overlap: float = 0.0  # the share of a window that the next one repeats
    min_confidence: float | None = None  # the probability that starts an event; None: the model's own, or 0.5
    thresholds: Mapping[str, float] | None = None  # the same for some classes
    release: float = field(default_factory=_release)
    merge_gap_s: float = 0.0

    def __post_init__(self) -> None:
        from soundmark.models.windows import hop_samples

        if isinstance(self.top_k, bool) or not hasattr(self.top_k, "__index__") or self.top_k < 1:
            raise SettingsError(f"top_k is {self.top_k!r}: give a whole number of at least 1.")
        if not _is_number(self.overlap):
            raise SettingsError(f"overlap is {self.overlap!r}: give a share of the window, at least 0 and below 1.")
        hop_samples(1000.0, self.overlap)
        check_share("min_confidence", self.min_confidence)
        check_share("release", self.release)
        for label, value in (self.thresholds or {}).items():
            check_share(f'the threshold of "{label}"', value)
        if not (_is_number(self.merge_gap_s) and 0 <= self.merge_gap_s < float("inf")):
            raise SettingsError(f"merge_gap_s is {self.merge_gap_s!r}: give a number of seconds, at least 0.")

    def threshold(self, model: Model) -> np.ndarray | None:
        """The probability that starts an event, float64 ``[classes]``; None: none was given.

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

    def stream_options(self, model: Model) -> dict[str, Any]:
        """The arguments of ``StreamClassifier`` that decide on events.

        Raises:
            SettingsError: as ``threshold``.
        """
        return {
            "threshold": self.threshold(model),
            "release": self.release,
            "merge_gap_s": self.merge_gap_s,
            "unknown": self.unknown,
        }

    def to_json(self) -> dict[str, Any]:
        """Every setting as JSON values.

        >>> DetectionSettings().to_json()["overlap"]
        0.0
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"thresholds": dict(self.thresholds) if self.thresholds else None}


@dataclass(frozen=True, kw_only=True)
class LiveSettings:
    """What live source is classified, and for how long; the only home of these defaults.

    ``rate_hz``, ``channels``, ``sample_format`` and ``real_time`` describe PCM on a pipe; ``device`` is a microphone.

    >>> LiveSettings().rate_hz
    44100
    """

    source: str = "microphone"
    rate_hz: int = 44100
    channels: int = 1
    sample_format: str = "s16"
    real_time: bool = False  # the pipe does not wait: what comes too fast is dropped
    device: str | None = None
    hop_s: float | None = None  # from one window to the next; None: the model's window
    duration_s: float | None = None  # None: until the source ends


def check_share(name: str, value: float | None) -> None:
    """Refuse a share or probability outside 0 to 1; None is accepted.

    >>> check_share("threshold", 50)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: threshold is 50: give a number from 0 to 1.
    """
    if value is not None and not (_is_number(value) and 0 <= value <= 1):
        raise SettingsError(f"{name} is {value!r}: give a number from 0 to 1.")


def _is_number(value: object) -> bool:
    """Whether it is a real number, of Python or NumPy; NaN is none."""
    if isinstance(value, bool | str | bytes) or not hasattr(value, "__float__"):
        return False
    try:
        return not math.isnan(float(value))
    except (TypeError, ValueError):
        return False


def thresholds_given(
    thresholds: Mapping[str, float] | Sequence[float] | str | PathLike[str] | None, model: Model
) -> Mapping[str, float] | None:
    """Thresholds of classes from a mapping, from one number per class of ``model`` in order, or from a file.

    Raises:
        SettingsError: the file cannot be read, or the number of thresholds is not the number of classes.

    >>> thresholds_given([0.5] * len(model.classes), model) == dict.fromkeys(model.classes, 0.5)
    True
    """
    if thresholds is None or isinstance(thresholds, Mapping):
        return thresholds
    if isinstance(thresholds, str | PathLike):
        return read_thresholds(Path(thresholds))
    values = list(thresholds)
    if len(values) != len(model.classes):
        raise SettingsError(
            f"there are {len(values)} thresholds and {len(model.classes)} classes: give one for each class, in order, "
            "or a mapping from label to threshold."
        )
    return dict(zip(model.classes, values, strict=True))


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
