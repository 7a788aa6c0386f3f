"""Settings of the analysis of recordings and of live sources. All their defaults are defined here.

This module imports nothing heavy, so that the command line can take its defaults from it.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundmark.errors import OutputError, SettingsError, as_line, unknown_name
from soundmark.runtime.checks import is_finite, is_whole, parse_toml, use_python_numbers, value_text
from soundmark.runtime.text import counted, reason_unreadable, shortened

if TYPE_CHECKING:
    import numpy as np

    from soundmark.models.classifier import Model


DEFAULT_TIMEZONE = "UTC"  # of recording times in file names


DEFAULT_MODEL = "audioset"


MOST_SHARDS = 100_000


MAX_THRESHOLDS_CHARS = 4_000_000  # of a file of thresholds


def _release() -> float:
    from soundmark.models.events import RELEASE

    return RELEASE


@dataclass(frozen=True, kw_only=True)
class DetectionSettings:
    """How recordings are analysed: windows, thresholds, merging of events.

    Raises:
        SettingsError: a value is out of range.

    >>> DetectionSettings(overlap=1.0)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: overlap is 1.0: expected a fraction of the window, at least 0 and below 1.
    """

    top_k: int = 3  # classes listed per recording
    unknown: bool = True  # report sounds unlike the training data as "unknown"
    overlap: float | None = None  # overlap between consecutive windows, as a fraction of the window; None: the model's
    min_confidence: float | None = None  # onset threshold; None: the model's own, or 0.5
    thresholds: Mapping[str, float] | None = None  # onset thresholds of single classes
    release: float = field(default_factory=_release)  # offset threshold, as a fraction of the onset threshold
    merge_gap_s: float = 0.0  # merge events of a class separated by at most this gap
    calibration_db: float | None = None  # sound pressure level of 0 dBFS in dB, to give levels in dB(A)

    def __post_init__(self) -> None:
        from soundmark.audio.windows import hop_samples

        use_python_numbers(self)
        if not is_whole(self.top_k):
            raise SettingsError(f"top_k is {self.top_k!r}: expected a whole number of at least 1.")
        if not isinstance(self.unknown, bool):
            raise SettingsError(f"unknown is {value_text(self.unknown)}: expected True or False.")
        if self.overlap is not None and not is_finite(self.overlap):
            raise SettingsError(
                f"overlap is {self.overlap!r}: expected a fraction of the window, at least 0 and below 1."
            )
        hop_samples(1000.0, self.overlap or 0.0)
        check_share("min_confidence", self.min_confidence)
        check_share("release", self.release, optional=False)
        for label, value in (self.thresholds or {}).items():
            check_share(f'the threshold of "{label}"', value)
        if not is_finite(self.merge_gap_s) or self.merge_gap_s < 0:
            raise SettingsError(f"merge_gap_s is {self.merge_gap_s!r}: expected a number of seconds, at least 0.")
        if self.calibration_db is not None and not (is_finite(self.calibration_db) and abs(self.calibration_db) < 1e3):
            raise SettingsError(
                f"calibration_db is {self.calibration_db!r}: expected the sound pressure level of 0 dBFS, like 120."
            )

    def for_model(self, model: Model) -> DetectionSettings:
        """Return the settings with the overlap of ``model`` if they have none.

        >>> DetectionSettings().for_model(model).overlap
        0.0
        """
        return self if self.overlap is not None else replace(self, overlap=model.overlap)

    def threshold(self, model: Model) -> np.ndarray | None:
        """Return the onset threshold of each class, float64 ``[classes]``; None if the settings have no threshold.

        Raises:
            SettingsError: a threshold is for a class that the model does not have.
        """
        if self.min_confidence is None and not self.thresholds:
            return None
        found = model.threshold(self.min_confidence)
        for label, value in (self.thresholds or {}).items():
            if label not in model.classes:
                raise unknown_name("class", label, model.classes, owner="the model")
            found[model.classes.index(label)] = value
        return found

    def stream_options(self, model: Model) -> dict[str, Any]:
        """Return the arguments of ``StreamClassifier`` that control event detection.

        Raises:
            SettingsError: see ``threshold``.
        """
        return {
            "threshold": self.threshold(model),
            "release": self.release,
            "merge_gap_s": self.merge_gap_s,
            "unknown": self.unknown,
            "calibration_db": self.calibration_db,
        }

    def to_json(self) -> dict[str, Any]:
        """Return every setting as JSON values.

        >>> DetectionSettings(overlap=0.25).to_json()["overlap"]
        0.25
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.calibration_db is None:  # as in results of earlier versions
            del values["calibration_db"]
        by_class = {label: float(value) for label, value in (self.thresholds or {}).items()}
        return values | {"thresholds": by_class or None}


@dataclass(frozen=True, kw_only=True)
class EventRule:
    """When a detection counts as correct, and an annotation as found: see ``metrics.event_matching``.

    Raises:
        SettingsError: ``min_overlap`` is not above 0 and at most 1.

    >>> EventRule(min_overlap=0)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: min_overlap is 0: expected a share above 0 and at most 1, like 0.5.
    """

    min_overlap: float = 0.5  # share of a detection, and of an annotation, that must overlap

    def __post_init__(self) -> None:
        use_python_numbers(self)
        if not is_finite(self.min_overlap) or not 0 < self.min_overlap <= 1:
            raise SettingsError(
                f"min_overlap is {self.min_overlap!r}: expected a share above 0 and at most 1, like 0.5."
            )


def check_event_options(events: bool, rule: EventRule, settings: DetectionSettings) -> None:
    """Check that options of event detection are given only where events are detected.

    Raises:
        SettingsError: an option is given without ``events``.

    >>> check_event_options(False, EventRule(min_overlap=0.2), DetectionSettings())
    Traceback (most recent call last):
    soundmark.errors.SettingsError: --min-overlap scores the detection of events: add --events.
    """
    given = {
        "--min-overlap": rule != EventRule(),
        "--overlap": settings.overlap != DetectionSettings.overlap,
        "--min-confidence": settings.min_confidence is not None,
        "--merge-gap": settings.merge_gap_s != DetectionSettings.merge_gap_s,
    }
    used = [name for name, is_given in given.items() if is_given]
    if used and not events:
        raise SettingsError(f"{used[0]} scores the detection of events: add --events.")


@dataclass(frozen=True, kw_only=True)
class LiveSettings:
    """Which live source is classified, and for how long.

    ``rate_hz``, ``channels``, ``sample_format`` and ``real_time`` describe PCM on a pipe; ``device`` selects a
    microphone.

    >>> LiveSettings().rate_hz
    44100
    """

    source: str = "microphone"
    rate_hz: int = 44100
    channels: int = 1
    sample_format: str = "s16"
    real_time: bool = False  # the writer of the pipe does not wait: excess audio is dropped
    device: str | None = None
    hop_s: float | None = None  # from the start of one window to the next; None: from the model's overlap
    duration_s: float | None = None  # None: until the source ends


@dataclass(frozen=True)
class Shard:
    """Part ``number`` of ``count`` of a list of files, for machines that work on one list without knowing each other.

    Which files are part of it depends on their number alone, not on their sizes, so all machines agree. Files are dealt
    in a fixed mixed order: a daily pattern of sizes does not give one machine all long files.

    Raises:
        SettingsError: the number is not one of 1 to ``count``.

    >>> Shard.parse("1/2").indices(6), Shard.parse("2/2").indices(6)
    ([0, 2, 3], [1, 4, 5])
    >>> Shard(0, 4)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: shard is 0/4: expected K/N with K from 1 to N, like 1/4.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not (is_whole(self.number) and is_whole(self.count) and 1 <= self.number <= self.count <= MOST_SHARDS):
            raise SettingsError(f"shard is {self}: expected K/N with K from 1 to N, like 1/4.")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Parse ``K/N``.

        Raises:
            SettingsError: the text has another form, or K is not one of 1 to N.
        """
        number, _, count = text.partition("/")
        if not (number.isascii() and number.isdigit() and count.isascii() and count.isdigit()):
            raise SettingsError(f"shard is {shortened(text)}: expected K/N with K from 1 to N, like 1/4.")
        return cls(int(number[:9]), int(count[:9]))

    def indices(self, n: int) -> list[int]:
        """Return the indices of its files in a list of ``n``, in order."""
        mixed = sorted(range(n), key=lambda index: hashlib.blake2b(b"%d" % index, digest_size=8).digest())
        return sorted(mixed[self.number - 1 :: self.count])

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def check_share(name: str, value: float | None, *, optional: bool = True) -> None:
    """Check that a fraction or probability is from 0 to 1, or None if it is ``optional``.

    Raises:
        SettingsError: it is not.

    >>> check_share("threshold", 50)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: threshold is 50: expected a number from 0 to 1.
    """
    if value is None and optional:
        return
    if not is_finite(value) or not 0 <= value <= 1:  # type: ignore[operator]
        raise SettingsError(f"{name} is {value_text(value)}: expected a number from 0 to 1.")


def resolve_thresholds(
    thresholds: Mapping[str, float] | Sequence[float] | str | PathLike[str] | None, model: Model
) -> Mapping[str, float] | None:
    """Return thresholds by class from a mapping, a file, or a sequence with one number per class of ``model``.

    Raises:
        SettingsError: the file cannot be read, or the number of thresholds is not the number of classes.

    >>> resolve_thresholds([0.5] * len(model.classes), model) == dict.fromkeys(model.classes, 0.5)
    True
    """
    if thresholds is None or isinstance(thresholds, Mapping):
        return thresholds
    if isinstance(thresholds, str | PathLike):
        return read_thresholds(Path(thresholds))
    if not isinstance(thresholds, Iterable):
        raise SettingsError(
            f"thresholds is {value_text(thresholds)}: expected a mapping from label to threshold, a file, or one "
            "number per class."
        )
    values = list(thresholds)
    if len(values) != len(model.classes):
        raise SettingsError(
            f"{counted(len(values), 'threshold')} for {counted(len(model.classes), 'class')} were given: give one per "
            "class, in order, or a mapping from label to threshold."
        )
    return dict(zip(model.classes, values, strict=True))


def read_thresholds(path: Path) -> dict[str, float]:
    r"""Read thresholds by class from TOML (lines like ``siren = 0.7``) or CSV (columns ``label,threshold``).

    Raises:
        SettingsError: the file cannot be read, is in another format, or has a threshold outside 0 to 1.

    >>> from soundmark.runtime import atomic
    >>> atomic.write_text(folder / "mine.toml", 'siren = 0.7\n"dog bark" = 0.4\n')
    >>> read_thresholds(folder / "mine.toml")
    {'siren': 0.7, 'dog bark': 0.4}
    """
    try:
        with path.open(encoding="utf-8-sig") as file:  # may be a pipe
            text = file.read(MAX_THRESHOLDS_CHARS + 1)
    except (OSError, ValueError) as error:
        raise SettingsError(f'the thresholds file "{path}" cannot be read: {reason_unreadable(error)}.') from error
    if len(text) > MAX_THRESHOLDS_CHARS:
        raise SettingsError(
            f'the thresholds file "{path}" has more than {MAX_THRESHOLDS_CHARS:,} characters: it is another file.'
        )
    values = _from_csv(text, path) if path.suffix.lower() == ".csv" else _from_toml(text, path)
    for label, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            shown = f'the threshold of "{shortened(label)}" in "{path}" is {shortened(repr(value))}'
            raise SettingsError(f"{shown}: expected a number from 0 to 1.")
    return {label: float(value) for label, value in values.items()}


def write_threshold(path: Path, label: str, threshold: float, *, comment: str = "") -> None:
    r"""Write the threshold of a class into a TOML file, which is created if missing; its other lines are kept.

    Raises:
        SettingsError: the file cannot be read, or is not a TOML file of thresholds.
        OutputError: it cannot be written.

    >>> write_threshold(folder / "mine.toml", "dog bark", 0.4)
    >>> write_threshold(folder / "mine.toml", "siren", 0.7, comment="from 40 reviews")
    >>> (folder / "mine.toml").read_text()
    '"dog bark" = 0.4\nsiren = 0.7  # from 40 reviews\n'
    """
    from soundmark.runtime import atomic, output_folder

    if path.suffix.lower() == ".csv":
        raise SettingsError(
            f'thresholds are written to a TOML file, and "{path}" is CSV: choose a file like mine.toml.'
        )
    check_share(f'the threshold of "{shortened(label)}"', threshold)
    exists = output_folder.check_path(path.parent, path.name, "Choose another file for the thresholds.") is not None
    if exists and not (path.stat().st_mode & 0o222 and os.access(path, os.W_OK)):
        raise OutputError(f'"{path}" is read-only: choose another file for the thresholds.')
    known = read_thresholds(path) if exists else {}
    lines = path.read_text(encoding="utf-8-sig").splitlines() if known else []
    line = _toml_line(label, threshold) + (f"  # {as_line(comment)}" if comment else "")
    at = next((number for number, text in enumerate(lines) if _is_of(text, label)), len(lines))
    lines[at : at + 1] = [line]
    wanted = known | {label: float(threshold)}
    text = "\n".join([*lines, ""])
    if not _is_same(text, wanted):  # a file with tables, or with texts over several lines
        text = "".join(f"{_toml_line(name, value)}\n" for name, value in wanted.items())
    atomic.write_text(path, text)


def _toml_line(label: str, threshold: float) -> str:
    is_bare = re.fullmatch(r"[A-Za-z0-9_-]+", label)
    key = label if is_bare else json.dumps(label, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"{key} = {float(threshold)!r}"


def _is_of(line: str, label: str) -> bool:
    try:
        return list(parse_toml(line)) == [label]
    except ValueError:
        return False


def _is_same(text: str, wanted: dict[str, float]) -> bool:
    try:
        return parse_toml(text) == wanted
    except ValueError:
        return False


def _from_toml(text: str, path: Path) -> dict[str, Any]:
    try:
        return parse_toml(text)
    except ValueError as error:
        raise SettingsError(
            f'the thresholds file "{path}" is not valid TOML: {error}. Write a line like `siren = 0.7` for each class, '
            "or use a .csv file with the columns label,threshold."
        ) from error


def _from_csv(text: str, path: Path) -> dict[str, Any]:
    try:
        rows = [row for row in csv.reader(text.splitlines()) if len(row) > 1 and row != ["label", "threshold"]]
    except csv.Error as error:
        raise SettingsError(f'the thresholds file "{path}" is not valid CSV: {error}.') from error
    return {label: _number(value) for label, value, *_ in rows}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
