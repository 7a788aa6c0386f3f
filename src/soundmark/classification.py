"""Files to what is heard in each: several at a time, on all cores, in the order of the files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from soundmark import audio, clocks, inputs, workers
from soundmark.course import Course, State
from soundmark.errors import AudioError, SettingsError, unknown_name
from soundmark.events import RELEASE, Heard
from soundmark.inputs import STANDARD_INPUT, Failure, Input
from soundmark.prediction import Account, Model
from soundmark.windows import hop_samples


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How files are heard; the only home of these defaults.

    Raises:
        SettingsError: a number lies outside of what can be meant.

    >>> Settings(overlap=1.0)
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

        >>> Settings().to_json()["overlap"]
        0.0
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"thresholds": dict(self.thresholds) if self.thresholds else None}


def account(model: Model, settings: Settings) -> Account:
    """What keeps account of one recording by these settings.

    >>> account(model, Settings()).windows
    0
    """
    return Account(
        model,
        threshold=settings.threshold(model),
        release=settings.release,
        merge_gap_s=settings.merge_gap_s,
        unknown=settings.unknown,
    )


def hear(
    model: Model,
    file: Input,
    settings: Settings,
    *,
    pool: Executor | None = None,
    on_sound: Callable[[float, float], None] = lambda heard_s, of_s: None,
) -> Heard | Failure:
    """What ``model`` hears in ``file``, in constant memory however long it is; or why it cannot be heard.

    ``on_sound`` is told how many seconds of how many were heard, again and again; what it raises ends the hearing.

    >>> found = hear(model, Input(str(city.clips[0].path), "a.wav"), Settings(top_k=2))
    >>> len(found.answer), len(found.events), found.duration_s > 0
    (2, 1, True)
    """
    piped = file.path == STANDARD_INPUT
    heard, events = account(model, settings), []
    try:
        source = inputs.standard_input() if piped else Path(file.path)
        with model.listening(source, overlap=settings.overlap, pieces=True, pool=pool) as sound:
            for part in sound:
                events += heard.hear(part)
                on_sound(sound.duration_s, sound.declared_s)
    except OSError as error:
        return Failure(file.path, f"{'standard input' if piped else file.path}: {error.strerror or error}.")
    except AudioError as error:
        return Failure(file.path, _named("standard input" if piped else f'"{file.path}"', str(error)))
    return Heard(
        file=file.path,
        duration_s=sound.duration_s,
        answer=_answer(model, heard, settings),
        events=heard.in_order([*events, *heard.end()]),
        windows=heard.windows,
        note=audio.shortened(file.path, sound.note) if sound.note else None,
    )


def _named(name: str, reason: str) -> str:
    reason = reason.replace("the bytes", name)
    return reason if name in reason else f"{name}: {reason}"


def each(
    model: Model,
    files: Iterable[Input | Failure],
    settings: Settings,
    *,
    jobs: int | None = None,
    on_sound: Callable[[str, float, float], None] = lambda file, heard_s, of_s: None,
) -> Iterator[Heard | Failure]:
    """``hear`` for each of ``files``, in their order: ``jobs`` of them at a time (all cores by default).

    A file is decoded by one thread while others compute its spectrograms and run the network, so that one long file
    keeps all cores busy as well as many short ones do. What is a ``Failure`` already is handed through. ``on_sound`` is
    told of each file how many seconds of how many were heard, by several threads.

    >>> found = each(model, [Input(str(city.clips[0].path), "a.wav"), Input("none.wav", "none.wav")], Settings())
    >>> [type(one).__name__ for one in found]
    ['Heard', 'Failure']
    """
    jobs = jobs or workers.cores()
    settings.threshold(model)  # what cannot be meant is said before anything is heard
    halted = Event()

    def one(file: Input | Failure) -> Heard | Failure:
        if isinstance(file, Failure):
            return file
        return hear(model, file, settings, pool=pool if jobs > 1 else None, on_sound=partial(told, file.path))

    def told(file: str, heard_s: float, of_s: float) -> None:
        if halted.is_set():  # nobody wants it: an hour that is under way must not be heard to its end
            raise CancelledError
        on_sound(file, heard_s, of_s)

    with ThreadPoolExecutor(jobs) as pool, ThreadPoolExecutor(jobs) as readers:
        try:
            yield from workers.in_order(one, files, readers if jobs > 1 else None)
        finally:
            halted.set()


class Hearing:
    """What is heard in each of some files, in their order, to be gone through once: see ``each``.

    It knows when each recording was begun, where that can be told, and keeps the ``failures``, and the ``notes`` on
    files that were heard as far as they go.

    >>> hearing = Hearing(model, [Input("none.wav", "none.wav")], Settings())
    >>> [type(found).__name__ for found in hearing], len(hearing.failures)
    (['Failure'], 1)
    """

    def __init__(
        self,
        model: Model,
        files: Sequence[Input | Failure],
        settings: Settings,
        *,
        timezone: str = "UTC",
        jobs: int | None = None,
        tell: Callable[[State], None] = lambda state: None,
    ) -> None:
        self.failures: list[Failure] = []
        self.notes: list[str] = []
        clocks.zone_of(timezone)
        self._timezone, self._course = timezone, Course(files, tell)
        self._found = each(model, files, settings, jobs=jobs, on_sound=self._course.sound)

    def __iter__(self) -> Iterator[Heard | Failure]:
        for found in self._found:
            if isinstance(found, Failure):
                self.failures.append(found)
                self._course.done(found.file)
                yield found
            else:
                self.notes += [found.note] if found.note else []
                self._course.done(found.file, found.duration_s)
                yield replace(found, began=clocks.began(found.file, zone=self._timezone))


def _answer(model: Model, heard: Account, settings: Settings) -> list[dict[str, Any]]:
    """The classes of the whole recording, best first; of a sigmoid all that are present, also beyond ``top_k``."""
    if model.thresholds is None:
        return heard.answer(settings.top_k)
    least: dict[str | None, float] = dict(zip(model.classes, model.thresholds.tolist(), strict=True))
    least[model.unknown] = 0.0  # where it is said, it is meant; and it counts for none of the ``top_k``
    answer = heard.answer()
    told = [entry | {"present": entry["score"] >= least[entry["label"]]} for entry in answer]
    top_k = settings.top_k + (bool(answer) and answer[0]["label"] == model.unknown)
    return [entry for place, entry in enumerate(told) if place < top_k or entry["present"]]


def thresholds(path: Path) -> dict[str, float]:
    r"""Thresholds of classes from a file: TOML with a line ``siren = 0.7`` each, or CSV with ``label,threshold``.

    Raises:
        SettingsError: the file cannot be read, or says something else.

    >>> from soundmark import atomic
    >>> atomic.write_text(folder / "mine.toml", 'siren = 0.7\n"dog bark" = 0.4\n')
    >>> thresholds(folder / "mine.toml")
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
