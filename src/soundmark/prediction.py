"""A model and audio to ``Scores``: the one path by which anything is scored, on the ONNX graph.

>>> import soundmark
>>> soundmark.load("missing.onnx")
Traceback (most recent call last):
...
soundmark.errors.BundleError: the model "missing.onnx" cannot be read: No such file or directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from os import PathLike, fspath
from typing import Any, BinaryIO

import numpy as np

from soundmark import audio, bundle
from soundmark.audio import Sound
from soundmark.bundle import Bundle, Card
from soundmark.errors import AudioError, SettingsError
from soundmark.store import Rows

Source = str | PathLike[str] | bytes | BinaryIO | np.ndarray | Sound
BATCH = 250  # spectrograms that the graph is given at a time
WHOLE = 1.05  # an input of up to this many windows is scored whole


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
        """The mean over all rows, float32 ``[classes]``: a long recording's own answer."""
        result: np.ndarray = self.probabilities.mean(axis=0)
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
        """Both of spectrograms ``[n, freq, time]``, n > 0, by going through the graph once."""
        if self.unknown is None:
            return self.probabilities(spectrograms), None
        batches = [
            self.bundle.run_for(spectrograms[start : start + BATCH], ("logits", "familiarity"))
            for start in range(0, len(spectrograms), BATCH)
        ]
        logits, familiarity = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        return self.bundle.activate(logits), familiarity

    def scores(self, source: Source, rate_hz: int | None = None, *, overlap: float = 0.0) -> Scores:
        """The scores of a sound: one row for up to 1.05 windows, else one per window.

        ``source`` is a path, the bytes of an audio file, an open binary file, or samples ``[n]`` or ``[n, channels]``
        at ``rate_hz``: floats in −1…1, or whole numbers of 8, 16 or 32 bits as audio files hold them. Windows follow
        each other by ``1 - overlap`` of their length; the last is shifted back so that no sample goes unheard.

        Raises:
            AudioError: the sound cannot be read.
            SettingsError: ``overlap`` is not in 0 ≤ overlap < 1; samples come without their rate, or a file with one.
        """
        if not 0 <= overlap < 1:
            raise SettingsError(f"overlap is {overlap!r}: give a share of the window, at least 0 and below 1.")
        sound = hear(source, rate_hz)
        if self.card.representation.rate_hz:
            rate = self.card.representation.rate_hz
            sound = Sound(audio.resample(sound.samples, sound.rate_hz, rate), rate)
        spans = list(windows(len(sound.samples), self.card.window_s * sound.rate_hz, overlap))
        spectrograms = np.stack([self.card.representation(sound.samples[a:b], sound.rate_hz) for a, b in spans])
        edges = np.array(spans, np.float64) / sound.rate_hz
        name = fspath(source) if isinstance(source, str | PathLike) else "-"
        probabilities, familiarity = self._probabilities_and_familiarity(spectrograms)
        return Scores(
            (str(name),) * len(spans), edges[:, 0], edges[:, 1], self.classes, probabilities, familiarity=familiarity
        )

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
        mean = scores.mean()
        best = np.argsort(-mean, kind="stable")[:top_k]
        answer = [{"label": self.classes[i], "score": float(mean[i])} for i in best]
        return [*self._refusal(scores), *answer] if unknown else answer

    def _refusal(self, scores: Scores) -> list[dict[str, Any]]:
        """The entry that says "none of these"; none where the sound is familiar enough, or nobody can tell."""
        if scores.familiarity is None or self.card.unknown is None:
            return []
        familiar = float(scores.familiarity.mean(dtype=np.float64))
        return [{"label": self.unknown, "score": 1 - familiar}] if familiar < self.card.unknown else []


def load(path: str | PathLike[str]) -> Model:
    """The model in the ``.onnx`` file at ``path``.

    Raises:
        BundleError: there is no such file, or it is no soundmark model, or is damaged, or of a later schema.

    >>> model.bundle.write(folder / "model.onnx")
    >>> load(folder / "model.onnx").classify(city.clips[0].path) == model.classify(city.clips[0].path)
    True
    """
    return Model(bundle.read(path))


def windows(n_samples: int, window_samples: float, overlap: float = 0.0) -> Iterator[tuple[int, int]]:
    """Start and stop of the windows that ``n_samples`` are heard in.

    >>> list(windows(1000, 1000)), list(windows(1050, 1000))
    ([(0, 1000)], [(0, 1050)])
    >>> list(windows(2500, 1000))
    [(0, 1000), (1000, 2000), (1500, 2500)]
    >>> list(windows(2000, 1000, overlap=0.5))
    [(0, 1000), (500, 1500), (1000, 2000)]
    """
    if n_samples <= WHOLE * window_samples:
        yield 0, n_samples
        return
    length = round(window_samples)
    hop = max(1, round(length * (1 - overlap)))
    for start in range(0, n_samples - length, hop):
        yield start, start + length
    yield n_samples - length, n_samples


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
