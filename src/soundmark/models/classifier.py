"""A model and audio to ``Scores``: the one path by which anything is scored, on the ONNX graph.

>>> import soundmark
>>> soundmark.load("missing.onnx")
Traceback (most recent call last):
...
soundmark.errors.BundleError: the model "missing.onnx" cannot be read: No such file or directory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from numbers import Real
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from soundmark.errors import BundleError, SettingsError
from soundmark.models import bundle, overview, training_record
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.events import RELEASE, THRESHOLD, Event
from soundmark.models.overview import LayerTable
from soundmark.models.scores import Scores
from soundmark.models.streaming import StreamClassifier, WindowScores, as_segments, cut_windows, open_stream
from soundmark.models.training_record import Epoch
from soundmark.models.windows import Window
from soundmark.runtime import parallel
from soundmark.runtime.checks import is_count
from soundmark.runtime.text import html_table, one_line

if TYPE_CHECKING:
    from soundmark.audio import AudioSource
    from soundmark.datasets.feature_store import Rows
    from soundmark.models.explanation import Explanation


BATCH = 250  # spectrograms that the graph is given at a time


NUMBERS_AT_ONCE = 1 << 15  # of the spectrograms of one recording that are scored together


SAMPLES_AT_ONCE = 1 << 20  # of their windows


@dataclass(frozen=True, repr=False)
class Model:
    """A trained model, ready to use; torch is not needed."""

    bundle: Bundle

    def __repr__(self) -> str:
        return overview.as_text(self.bundle)

    def _repr_html_(self) -> str:
        return html_table(overview.lines(self.bundle), caption="Model")

    def summary(self) -> LayerTable:
        """The layers with their output shapes and parameters, as Keras prints them: ``print(model.summary())``.

        Raises:
            SettingsError: the package onnx is not installed.
        """
        return overview.layer_table(self.bundle.graph)

    @cached_property
    def history(self) -> tuple[Epoch, ...]:
        """Loss and accuracy of each epoch of the training; empty for a recipe that only fits a linear head."""
        return self.card.training.history or ()

    def plot_history(self, ax: Any | None = None, *, quantity: str = "loss") -> Any:
        """Draw the ``"loss"`` or the ``"accuracy"`` by epoch, training dashed, validation solid; return the ``Axes``.

        Raises:
            SettingsError: the quantity is not known, the model has no history, or Matplotlib is not installed.
        """
        name = self.card.recipe.get("name")
        title = f"{quantity.capitalize()} by epoch{f', {name}' if name else ''}"
        return training_record.plot(self.history, ax, quantity=quantity, title=title)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model as one ``.onnx`` file, which ``soundmark.load`` reads; whole or not at all.

        Raises:
            OutputError: the file cannot be written.
        """
        self.bundle.write(path)

    def explain(self, source: AudioSource, rate_hz: float | None = None) -> Explanation:
        """Which regions of a sound's spectrogram carried the decision; ``explain(...).plot()`` draws them.

        Raises:
            AudioError, SettingsError: as ``scores``.
        """
        from soundmark.models import explanation

        return explanation.explain(self, source, rate_hz=rate_hz)

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
        return self.card.task.thresholds(self.card.thresholds, len(self.classes))

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

    def score(self, windows: Sequence[Window], rate_hz: int, *, hop: int | None = None) -> WindowScores:
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
        return WindowScores(
            edges[:, 0],
            edges[:, 1],
            probabilities[: len(windows)],
            None if familiarity is None else familiarity[: len(windows)],
            as_segments(pieces, probabilities[len(windows) :], rate_hz),
        )

    def scores(
        self, source: AudioSource, rate_hz: float | None = None, *, overlap: float = 0.0, jobs: int | None = None
    ) -> Scores:
        """The scores of a sound: one row for up to 1.05 windows, else one per window.

        ``source`` is a path, the bytes of an audio file, an open binary file, a ``Sound``, or samples at ``rate_hz``:
        an array, a list or a torch tensor, ``[n]``, ``[n, channels]`` or ``[channels, n]``, of floats in −1…1, or of
        whole numbers of 8, 16 or 32 bits as audio files hold them. Consecutive windows start ``1 - overlap`` of a
        window apart; the last is shifted back so that it ends with the sound. ``jobs``: threads (default: all cores).

        Raises:
            AudioError: the sound cannot be read, or the samples are not one.
            SettingsError: ``overlap`` is not in 0 ≤ overlap < 1; samples come without their rate, or a file with one.
        """
        _check_overlap(overlap)
        parts: list[WindowScores] = []
        with (
            ThreadPoolExecutor(_threads(jobs)) as pool,
            open_stream(source, rate_hz, None, pool) as stream,
        ):
            StreamClassifier(
                self, stream.rate_hz, overlap=overlap, pieces=False, batched=True, pool=pool, on_scores=parts.append
            ).read(stream)
        name = fspath(source) if isinstance(source, str | PathLike) else "-"
        start_s, stop_s, probabilities = (
            np.concatenate([getattr(part, field) for part in parts]) for field in ("start_s", "stop_s", "probabilities")
        )
        known = [part.familiarity for part in parts if part.familiarity is not None]
        familiarity = np.concatenate(known) if known else None
        names = (str(name),) * len(start_s)
        return Scores(names, start_s, stop_s, self.classes, probabilities, familiarity=familiarity)

    def classify(
        self, source: AudioSource, rate_hz: float | None = None, *, top_k: int | None = None, unknown: bool = True
    ) -> list[dict[str, Any]]:
        """The classes of a sound with their scores, best first: ``[{"label": "siren", "score": 0.93}, ...]``.

        A sound whose mean familiarity lies below the card's threshold is said to be none of them: before the classes,
        ``top_k`` of them as ever, stands ``{"label": "unknown", "score": 1 - familiarity}``, with the label that
        ``Model.unknown`` has for it. Not with ``unknown=False``, and never from a model whose card has no threshold.

        Raises:
            AudioError, SettingsError: as ``scores``; ``top_k`` is not a whole number above 0.
        """
        if top_k is not None and not is_count(top_k):
            raise SettingsError(f"top_k is {top_k!r}: give a whole number of classes, at least 1, or leave it out.")
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
        source: AudioSource,
        rate_hz: float | None = None,
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
            AudioError, SettingsError: as ``scores``; a threshold is not between 0 and 1, or not one for each class;
                ``release`` or ``merge_gap_s`` is out of range.

        >>> [event.label for event in model.events(city.clips[0].path, threshold=0.0)] == list(model.classes)
        True
        """
        _check_overlap(overlap)
        if not _is_number(release) or not 0 <= release <= 1:
            raise SettingsError(f"release is {release!r}: give a number from 0 to 1.")
        if not _is_number(merge_gap_s) or not 0 <= merge_gap_s < float("inf"):
            raise SettingsError(f"merge_gap_s is {merge_gap_s!r}: give a number of seconds, at least 0.")
        with (
            ThreadPoolExecutor(_threads(jobs)) as pool,
            open_stream(source, rate_hz, None, pool) as stream,
        ):
            return StreamClassifier(
                self,
                stream.rate_hz,
                overlap=overlap,
                threshold=threshold,
                release=release,
                merge_gap_s=merge_gap_s,
                unknown=unknown,
                batched=True,
                pool=pool,
            ).read(stream)

    def threshold(self, given: ArrayLike | None = None) -> np.ndarray:
        """The probability that begins an event, float64 ``[classes]``: the given one, else the card's, else 0.5.

        Raises:
            SettingsError: a given one is not between 0 and 1, or they are not one number, or one for each class.
        """
        n = len(self.classes)
        if given is None:
            known = self.thresholds
            return np.array(np.broadcast_to(THRESHOLD if known is None else known, n), np.float64)
        return np.array(np.broadcast_to(_checked_threshold(given, n), n), np.float64)

    def embed(self, source: AudioSource, rate_hz: float | None = None, *, overlap: float = 0.0) -> np.ndarray:
        """What the network makes of each window of ``scores`` before it names classes, float32 ``[windows, d]``.

        Raises:
            AudioError, SettingsError: as ``scores``.
            BundleError: the model's graph gives no embedding.
        """
        _check_overlap(overlap)
        if "embedding" not in self.bundle.outputs:
            raise BundleError(
                f"this model ({self.card.recipe.get('network', 'of an unknown network')}) has no embedding: use one of "
                "the recipes transfer and transfer-finetune."
            )
        found = []
        with open_stream(source, rate_hz, self.card.representation.rate_hz) as flow:
            for windows in parallel.batches(cut_windows(flow, self.card.window_s, overlap), self.at_once(flow.rate_hz)):
                spectrograms = np.stack([self.card.representation(w.samples, flow.rate_hz) for w in windows])
                found.append(self.bundle.run_for(spectrograms, ("embedding",), alone=True)[0])
        return np.concatenate(found)


def _checked_threshold(given: ArrayLike, n_classes: int) -> np.ndarray:
    """One number, or one for each class, between 0 and 1."""
    try:
        array = np.asarray(given)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "iuf" or array.shape not in ((), (n_classes,)):
        shape = f" of shape {array.shape}" if array.dtype.kind in "iuf" else ""
        raise SettingsError(
            f"threshold is {one_line(repr(given), 60)}{shape}: give one number between 0 and 1, or one for each of "
            f"the {n_classes} classes."
        )
    wrong = array[~((array >= 0) & (array <= 1))]
    if wrong.size:
        raise SettingsError(f"threshold is {wrong.flat[0]:g}: give a probability between 0 and 1, as 0.5 for 50 %.")
    return array


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_overlap(overlap: float) -> None:
    if not _is_number(overlap) or not 0 <= overlap < 1:
        raise SettingsError(f"overlap is {overlap!r}: give a share of the window, at least 0 and below 1.")


def _threads(jobs: int | None) -> int:
    if jobs is not None and not is_count(jobs):
        raise SettingsError(f"jobs is {jobs!r}: give a whole number of threads, at least 1, or leave it out.")
    return int(jobs) if jobs is not None else parallel.available_cores()


def load(path: str | PathLike[str]) -> Model:
    """The model in the ``.onnx`` file at ``path``.

    Raises:
        BundleError: there is no such file, or it is no soundmark model, or is damaged, or of a later schema.

    >>> model.bundle.write(folder / "model.onnx")
    >>> load(folder / "model.onnx").classify(city.clips[0].path) == model.classify(city.clips[0].path)
    True
    """
    return Model(bundle.read_bundle(path))
