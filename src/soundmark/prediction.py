"""A model and audio to ``Scores``: the one path by which anything is scored, on the ONNX graph.

>>> import soundmark
>>> soundmark.load("missing.onnx")
Traceback (most recent call last):
...
soundmark.errors.BundleError: the model "missing.onnx" cannot be read: No such file or directory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from soundmark import audio, bundle, workers
from soundmark.audio import Sound, Stream
from soundmark.bundle import Bundle, Card
from soundmark.errors import AudioError, BundleError, SettingsError
from soundmark.events import RELEASE, THRESHOLD, Event, Stretch, Tracker
from soundmark.windows import Cutter, Window, hop_samples

if TYPE_CHECKING:
    from soundmark.store import Rows

Source = str | PathLike[str] | bytes | BinaryIO | np.ndarray | Sound
BATCH = 250  # spectrograms that the graph is given at a time
NUMBERS_AT_ONCE = 1 << 15  # of the spectrograms of one recording that are scored together
SAMPLES_AT_ONCE = 1 << 20  # of their windows


@dataclass(frozen=True)
class Scores:
    """What a model says of stretches of sound: one row each.

    ``items`` names the input of each row, ``start_s`` and ``stop_s`` (float64 ``[n]``) are where in it the stretch
    lies, ``probabilities`` is float32 ``[n, classes]``. Nothing assumes that a row sums to one. ``familiarity`` float32
    ``[n]``, between 0 and 1, is how much each stretch is like what the model was trained on; None where the model
    cannot tell, or has no threshold to hold it against.
    """

    items: tuple[str, ...]
    start_s: np.ndarray
    stop_s: np.ndarray
    classes: tuple[str, ...]
    probabilities: np.ndarray
    familiarity: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.items)

    def mean(self) -> np.ndarray:
        """The mean over all rows, float64 ``[classes]``: a long recording's own answer."""
        result: np.ndarray = self.probabilities.mean(axis=0, dtype=np.float64)
        return result

    def to_dataframe(self) -> Any:
        """A pandas ``DataFrame`` with a column per class, indexed by ``(file, start_time, end_time)``."""
        import pandas as pd

        index = pd.MultiIndex.from_arrays(
            [self.items, self.start_s, self.stop_s], names=["file", "start_time", "end_time"]
        )
        return pd.DataFrame(self.probabilities, index=index, columns=list(self.classes))


@dataclass(frozen=True)
class Model:
    """A trained model, ready to use; torch is not needed."""

    bundle: Bundle

    @property
    def card(self) -> Card:
        """What the model says of itself."""
        return self.bundle.card

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of every row of probabilities."""
        return self.card.classes

    @property
    def thresholds(self) -> np.ndarray | None:
        """The probability from which on each class is said to be there, float64 ``[classes]``; None for a softmax."""
        if self.card.activation != "sigmoid":
            return None
        return np.array(self.card.thresholds or [0.5] * len(self.classes), np.float64)

    @cached_property
    def unknown(self) -> str | None:
        """What is said of a sound that is none of the classes: "unknown"; None for a model that cannot tell.

        It is never the name of a class: where one is called "unknown", this is "(unknown)".
        """
        if self.card.unknown is None or "familiarity" not in self.bundle.outputs:
            return None
        word = "unknown"
        while word in self.classes:
            word = f"({word})"
        return word

    def at_once(self, rate_hz: int) -> int:
        """How many windows of a sound at ``rate_hz`` are scored together: always as many, whatever runs beside them."""
        window_samples = self.card.window_s * rate_hz
        return max(
            1, int(min(NUMBERS_AT_ONCE / math.prod(self.card.representation.shape), SAMPLES_AT_ONCE / window_samples))
        )

    def probabilities(self, spectrograms: np.ndarray | Rows, which: np.ndarray | None = None) -> np.ndarray:
        """Probabilities float32 ``[n, classes]`` of spectrograms ``[n, freq, time]`` of the card's kind.

        With ``which``, of those alone, int64 indices. A batch at a time: those on the disk need not fit into memory.
        """
        which = np.arange(len(spectrograms)) if which is None else which
        rows = [
            self.bundle.activate(self.bundle.run(spectrograms[which[start : start + BATCH]]))
            for start in range(0, len(which), BATCH)
        ]
        return np.concatenate(rows) if rows else np.zeros((0, len(self.classes)), np.float32)

    def _probabilities_and_familiarity(self, spectrograms: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Both of spectrograms ``[n, freq, time]``, n > 0, by going through the graph once, on one core."""
        wanted = ("logits",) if self.unknown is None else ("logits", "familiarity")
        logits, *familiarity = self.bundle.run_for(spectrograms, wanted, alone=True)
        return self.bundle.activate(logits), familiarity[0] if familiarity else None

    def score(self, windows: Sequence[Window], rate_hz: int, *, hop: int | None = None) -> Part:
        """What the model says of ``windows`` at ``rate_hz``, on one core; with ``hop``, of the pieces new in each, too.

        Where windows follow each other without overlap, a piece would be a window, and is not scored again.
        """
        pieces = [list(window.pieces(hop)) if hop and hop < len(window.samples) else [] for window in windows]
        sounds = chain(
            (window.samples for window in windows),
            (
                window.samples[start - window.start : stop - window.start]
                for window, spans in zip(windows, pieces, strict=True)
                for start, stop in spans
            ),
        )
        spectrograms = np.stack([self.card.representation(samples, rate_hz) for samples in sounds])
        probabilities, familiarity = self._probabilities_and_familiarity(spectrograms)
        edges = np.array([(window.start, window.stop) for window in windows], np.float64) / rate_hz
        return Part(
            edges[:, 0],
            edges[:, 1],
            probabilities[: len(windows)],
            None if familiarity is None else familiarity[: len(windows)],
            _placed(pieces, probabilities[len(windows) :], rate_hz),
        )

    @contextmanager
    def listening(
        self,
        source: Source,
        rate_hz: int | None = None,
        *,
        overlap: float = 0.0,
        pieces: bool = False,
        pool: Executor | None = None,
    ) -> Iterator[Listening]:
        """A sound being heard, in constant memory however long it is; for the arguments see ``scores``.

        With ``pieces`` (see ``events``), those new in each window are scored alone, too. Where there is
        a ``pool`` of threads, it computes spectrograms and network while the sound is decoded here.
        """
        with _flow(source, rate_hz, self.card.representation.rate_hz, pool) as flow:
            yield Listening(self, flow, overlap, pieces, pool)

    def scores(
        self, source: Source, rate_hz: int | None = None, *, overlap: float = 0.0, jobs: int | None = None
    ) -> Scores:
        """The scores of a sound: one row for up to 1.05 windows, else one per window.

        ``source`` is a path, the bytes of an audio file, an open binary file, or samples ``[n]`` or ``[n, channels]``
        at ``rate_hz``: floats in −1…1, or whole numbers of 8, 16 or 32 bits as audio files hold them. Windows follow
        each other by ``1 - overlap`` of their length; the last is shifted back so that no sample goes unheard. An hour
        is heard on ``jobs`` threads (all cores by default).

        Raises:
            AudioError: the sound cannot be read.
            SettingsError: ``overlap`` is not in 0 ≤ overlap < 1; samples come without their rate, or a file with one.
        """
        with (
            ThreadPoolExecutor(jobs or workers.cores()) as pool,
            self.listening(source, rate_hz, overlap=overlap, pool=pool) as sound,
        ):
            parts = list(sound)
        name = fspath(source) if isinstance(source, str | PathLike) else "-"
        start_s, stop_s, probabilities = (
            np.concatenate([getattr(part, field) for part in parts]) for field in ("start_s", "stop_s", "probabilities")
        )
        known = [part.familiarity for part in parts if part.familiarity is not None]
        familiarity = np.concatenate(known) if known else None
        names = (str(name),) * len(start_s)
        return Scores(names, start_s, stop_s, self.classes, probabilities, familiarity=familiarity)

    def classify(
        self, source: Source, rate_hz: int | None = None, *, top_k: int | None = None, unknown: bool = True
    ) -> list[dict[str, Any]]:
        """The classes of a sound with their scores, best first: ``[{"label": "siren", "score": 0.93}, ...]``.

        A sound whose mean familiarity lies below the card's threshold is said to be none of them: before the classes,
        ``top_k`` of them as ever, stands ``{"label": "unknown", "score": 1 - familiarity}``, with the label that
        ``Model.unknown`` has for it. Not with ``unknown=False``, and never from a model whose card has no threshold.

        Raises:
            AudioError, SettingsError: as ``scores``.
        """
        scores = self.scores(source, rate_hz)
        familiarity = None if scores.familiarity is None else float(scores.familiarity.mean(dtype=np.float64))
        return self.answer(scores.mean(), familiarity, top_k=top_k, unknown=unknown)

    def answer(
        self, mean: np.ndarray, familiarity: float | None = None, *, top_k: int | None = None, unknown: bool = True
    ) -> list[dict[str, Any]]:
        """What ``classify`` says where the windows' ``mean`` ``[classes]`` and mean ``familiarity`` are these."""
        best = np.argsort(-mean, kind="stable")[:top_k]
        answer: list[dict[str, Any]] = [{"label": self.classes[i], "score": float(mean[i])} for i in best]
        if not unknown or familiarity is None or self.card.unknown is None or familiarity >= self.card.unknown:
            return answer
        return [{"label": self.unknown, "score": 1 - familiarity}, *answer]

    def events(
        self,
        source: Source,
        rate_hz: int | None = None,
        *,
        overlap: float = 0.0,
        threshold: ArrayLike | None = None,
        release: float = RELEASE,
        merge_gap_s: float = 0.0,
        unknown: bool = True,
        jobs: int | None = None,
    ) -> list[Event]:
        """What is heard from when to when, in the order of beginning: neighbouring windows of a class, merged.

        A class is heard from ``threshold`` on (a number, or ``[classes]``; by default a sigmoid's own, or 0.5) until it
        falls below ``release`` of it; gaps of up to ``merge_gap_s`` are mended. A window that is unfamiliar is none
        of the classes, unless ``unknown`` is False. With ``overlap``, events are placed as sharply as windows follow
        each other (see the module ``events``).

        Raises:
            AudioError, SettingsError: as ``scores``.

        >>> [event.label for event in model.events(city.clips[0].path, threshold=0.0)] == list(model.classes)
        True
        """
        account = Account(self, threshold=threshold, release=release, merge_gap_s=merge_gap_s, unknown=unknown)
        with (
            ThreadPoolExecutor(jobs or workers.cores()) as pool,
            self.listening(source, rate_hz, overlap=overlap, pieces=True, pool=pool) as sound,
        ):
            found = [event for part in sound for event in account.hear(part)]
        return account.in_order([*found, *account.end()])

    def threshold(self, given: ArrayLike | None = None) -> np.ndarray:
        """The probability that begins an event, float64 ``[classes]``: the given one, else the card's, else 0.5."""
        known = self.thresholds if given is None else np.asarray(given, np.float64)
        return np.array(np.broadcast_to(THRESHOLD if known is None else known, len(self.classes)), np.float64)

    def embed(self, source: Source, rate_hz: int | None = None, *, overlap: float = 0.0) -> np.ndarray:
        """What the network makes of each window of ``scores`` before it names classes, float32 ``[windows, d]``.

        Raises:
            AudioError, SettingsError: as ``scores``.
            BundleError: the model's graph gives no embedding.
        """
        if "embedding" not in self.bundle.outputs:
            raise BundleError(
                f"this model ({self.card.recipe.get('network', 'of an unknown network')}) has no embedding: use one of "
                "the recipes transfer and transfer-finetune."
            )
        found = []
        with _flow(source, rate_hz, self.card.representation.rate_hz) as flow:
            for windows in workers.batches(_cut(flow, self.card.window_s, overlap), self.at_once(flow.rate_hz)):
                spectrograms = np.stack([self.card.representation(w.samples, flow.rate_hz) for w in windows])
                found.append(self.bundle.run_for(spectrograms, ("embedding",), alone=True)[0])
        return np.concatenate(found)


@dataclass(frozen=True)
class Part:
    """Some windows of a recording, n of them: where they lie, float64 ``[n]``, and what a model says of each.

    ``probabilities`` float32 ``[n, classes]``, ``familiarity`` float32 ``[n]`` or None, and per window its new pieces.
    """

    start_s: np.ndarray
    stop_s: np.ndarray
    probabilities: np.ndarray
    familiarity: np.ndarray | None
    pieces: Sequence[Sequence[Stretch]]

    def __len__(self) -> int:
        return len(self.start_s)


class Listening:
    """A sound while it is heard: its parts in order, to be gone through once; then ``duration_s`` and ``note``."""

    def __init__(self, model: Model, flow: _Flow, overlap: float, pieces: bool, pool: Executor | None) -> None:
        self._model, self._flow, self._pool = model, flow, pool
        self._overlap = overlap
        self._hop = hop_samples(model.card.window_s * flow.rate_hz, overlap) if pieces else None
        self.declared_s = flow.duration_s  # how long it should be
        self.duration_s = 0.0  # how much of it was heard

    @property
    def note(self) -> str | None:
        """What was missing of it, when it was gone through; None: nothing."""
        return self._flow.note

    def __iter__(self) -> Iterator[Part]:
        windows = _cut(self._flow, self._model.card.window_s, self._overlap)
        for part in workers.in_order(
            self._score, workers.batches(windows, self._model.at_once(self._flow.rate_hz)), self._pool
        ):
            self.duration_s = float(part.stop_s[-1])
            yield part

    def _score(self, windows: Sequence[Window]) -> Part:
        return self._model.score(windows, self._flow.rate_hz, hop=self._hop)


class Account:
    """What is heard in one recording, as its parts come in order: the mean of all, and the events.

    A recording that is one window, in which no class reaches a threshold that nobody gave, has one event all the same:
    the best answer, so that every clip has one.
    """

    def __init__(
        self,
        model: Model,
        *,
        threshold: ArrayLike | None = None,
        release: float = RELEASE,
        merge_gap_s: float = 0.0,
        unknown: bool = True,
    ) -> None:
        self.windows = 0
        self._model, self._unknown, self._asked = model, unknown, threshold is not None
        self.tracker = Tracker(
            model.classes, threshold=model.threshold(threshold), release=release, merge_gap_s=merge_gap_s
        )
        self._sum = np.zeros(len(model.classes), np.float64)
        self._familiarity: float | None = None
        self._stop_s, self._told = 0.0, 0

    def hear(self, part: Part) -> list[Event]:
        """The events that are over when ``part`` was heard; its unfamiliar windows, and their pieces, hold no class."""
        known = np.ones(len(part), np.float32)
        if part.familiarity is not None and self._model.card.unknown is not None:
            self._familiarity = (self._familiarity or 0.0) + float(part.familiarity.sum(dtype=np.float64))
            known -= self._unknown & (part.familiarity < self._model.card.unknown)
        self.windows += len(part)
        self._sum += part.probabilities.sum(axis=0, dtype=np.float64)
        self._stop_s = float(part.stop_s[-1])
        over = []
        for row, p in enumerate(part.probabilities * known[:, None]):
            window = Stretch(float(part.start_s[row]), float(part.stop_s[row]), p)
            over += self.tracker.step(window, part.pieces[row])
        self._told += len(over)
        return over

    def end(self) -> list[Event]:
        """The events that were under way at the end, in the order of their beginnings."""
        over = self.tracker.end()
        if self.windows != 1 or self._told or over or self._asked or self._model.thresholds is not None:
            return over
        best = self.answer(top_k=1)[0]
        score = best["score"]
        return [Event(label=best["label"], start_s=0.0, stop_s=self._stop_s, confidence=score, peak=score)]

    def answer(self, top_k: int | None = None) -> list[dict[str, Any]]:
        """What the recording is, as a whole, as ``Model.classify`` says it; of a recording that has a window."""
        familiarity = None if self._familiarity is None else self._familiarity / self.windows
        return self._model.answer(self._sum / self.windows, familiarity, top_k=top_k, unknown=self._unknown)

    def in_order(self, events: Sequence[Event]) -> list[Event]:
        """``events`` by their beginnings, and the order of the classes."""
        places = {label: place for place, label in enumerate(self._model.classes)}
        return sorted(events, key=lambda event: (event.start_s, places.get(event.label, -1)))


def _cut(flow: _Flow, window_s: float, overlap: float) -> Iterator[Window]:
    window_samples = window_s * flow.rate_hz
    cutter = Cutter(window_samples, hop_samples(window_samples, overlap))
    for samples in flow:
        yield from cutter.push(samples)
    yield from cutter.end()


def _placed(spans: Sequence[Sequence[tuple[int, int]]], probabilities: np.ndarray, rate_hz: int) -> list[list[Stretch]]:
    rows = iter(probabilities)
    return [[Stretch(start / rate_hz, stop / rate_hz, next(rows)) for start, stop in each] for each in spans]


def load(path: str | PathLike[str]) -> Model:
    """The model in the ``.onnx`` file at ``path``.

    Raises:
        BundleError: there is no such file, or it is no soundmark model, or is damaged, or of a later schema.

    >>> model.bundle.write(folder / "model.onnx")
    >>> load(folder / "model.onnx").classify(city.clips[0].path) == model.classify(city.clips[0].path)
    True
    """
    return Model(bundle.read(path))


@dataclass(frozen=True)
class _Whole:
    """A sound in memory, as a stream of one block."""

    samples: np.ndarray
    rate_hz: int
    note: str | None = None

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate_hz

    def __iter__(self) -> Iterator[np.ndarray]:
        yield self.samples


_Flow = _Whole | Stream


@contextmanager
def _flow(source: Source, rate_hz: int | None, to_hz: int | None, pool: Executor | None = None) -> Iterator[_Flow]:
    """A source as blocks of samples at ``to_hz`` (None: its own rate): from the disk, it is never held whole."""
    if isinstance(source, np.ndarray | Sound) or rate_hz is not None:
        sound = hear(source, rate_hz)
        rate = to_hz or sound.rate_hz
        yield _Whole(audio.resample(sound.samples, sound.rate_hz, rate), rate, sound.note)
    else:
        with audio.stream(source, rate_hz=to_hz, pool=pool) as flow:
            yield flow


def hear(source: Source, rate_hz: int | None = None) -> Sound:
    """The sound that ``Model.scores`` hears in a source, at the source's own rate.

    Raises:
        AudioError: the sound cannot be read.
        SettingsError: samples come without their rate, or a file with one.

    >>> hear(np.zeros((8000, 2), np.int16), 16000).duration_s
    0.5
    """
    if not isinstance(source, np.ndarray):
        if rate_hz is not None:
            raise SettingsError(
                f"rate_hz={rate_hz!r} came with a sound that says its own rate: leave it out; it is for bare samples."
            )
        return source if isinstance(source, Sound) else audio.read(source)
    if rate_hz is None or not 0 < rate_hz < float("inf"):
        raise SettingsError(
            f"samples came with the rate {rate_hz!r}: say how many there are per second, as rate_hz=22050."
        )
    samples = _to_float(source)
    samples = audio.to_mono(samples) if samples.ndim == 2 else samples
    if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
        raise AudioError(
            f"samples of shape {source.shape} cannot be heard: give finite numbers, [n] or [n, channels], at least one."
        )
    return Sound(samples, int(rate_hz))


def _to_float(samples: np.ndarray) -> np.ndarray:
    """The samples as float32: whole numbers over their full scale, unsigned ones from their middle, as in a file."""
    kind, size = samples.dtype.kind, samples.dtype.itemsize
    if kind == "f":
        return samples.astype(np.float32)
    if kind not in "iu" or size > 4:
        raise AudioError(
            f"samples of the type {samples.dtype} have no full scale that could be told: give floats in −1…1, or whole "
            "numbers of 8, 16 or 32 bits."
        )
    full_scale = 2.0 ** (8 * size - 1)
    centred = samples.astype(np.float64) - (full_scale if kind == "u" else 0.0)
    return (centred / full_scale).astype(np.float32)
