"""``Model``: scores, classes, events and embeddings of audio, computed with the ONNX graph.

>>> import soundmark
>>> soundmark.load("missing.onnx")
Traceback (most recent call last):
...
soundmark.errors.BundleError: the model "missing.onnx" does not exist.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from soundmark.errors import BundleError, SettingsError, processing
from soundmark.models import bundle, overview, training_record
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.events import OVERLAP, RELEASE, THRESHOLD, Event
from soundmark.models.overview import LayerTable
from soundmark.models.scores import Scores
from soundmark.models.streaming import StreamClassifier, WindowScores, as_segments, cut_windows, open_stream
from soundmark.models.training_record import Epoch
from soundmark.models.windows import Window
from soundmark.runtime import parallel
from soundmark.runtime.checks import is_count, is_finite
from soundmark.runtime.text import html_table, one_line

if TYPE_CHECKING:
    from soundmark.audio import AudioSource
    from soundmark.datasets.feature_store import Rows
    from soundmark.datasets.features import Features
    from soundmark.models.explanation import Explanation


log = logging.getLogger("soundmark")


BATCH, BATCH_VALUES = 250, 1 << 19  # spectrograms per batch at most, and numbers in them: larger ones are not faster


MAX_BATCH_VALUES = 1 << 15  # spectrogram values per batch of windows of one recording


MAX_BATCH_SAMPLES = 1 << 20  # audio samples per batch of windows of one recording


@dataclass(frozen=True, repr=False)
class Model:
    """A trained model; using it does not need torch."""

    bundle: Bundle

    def __repr__(self) -> str:
        return overview.as_text(self.bundle)

    def _repr_html_(self) -> str:
        return html_table(overview.lines(self.bundle), caption="Model")

    def summary(self, *, complete: bool = False) -> LayerTable:
        """List the layers with their output shapes and parameters, as Keras does: ``print(model.summary())``.

        Of more than 15 layers, the first and the last ones are displayed, or all if ``complete``.

        Raises:
            SettingsError: the package onnx is not installed.
        """
        return overview.layer_table(self.bundle.graph, complete=complete)

    @cached_property
    def history(self) -> tuple[Epoch, ...]:
        """Loss and accuracy of each training epoch; empty if the recipe only fits a linear head."""
        return self.card.training.history or ()

    def plot_history(self, ax: Any | None = None, *, quantity: str = "loss") -> Any:
        """Plot the ``"loss"`` or the ``"accuracy"`` by epoch, training dashed, validation solid; return the ``Axes``.

        Raises:
            SettingsError: the quantity is unknown, the model has no history, or Matplotlib is not installed.
        """
        name = self.card.recipe.get("name")
        title = f"{str(quantity).capitalize()} by epoch{f', {name}' if name else ''}"
        return training_record.plot(self.history, ax, quantity=quantity, title=title)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model atomically as one ``.onnx`` file, which ``soundmark.load`` reads.

        Raises:
            OutputError: the file cannot be written.
        """
        self.bundle.write(path)

    def explain(self, source: AudioSource, rate_hz: float | None = None) -> Explanation:
        """Find the regions of the spectrogram that matter most for the top class; ``explain(...).plot()`` shows them.

        Raises:
            AudioError, SettingsError: see ``scores``.
        """
        from soundmark.models import explanation

        return explanation.explain(self, source, rate_hz=rate_hz)

    @property
    def card(self) -> Card:
        """The model card."""
        return self.bundle.card

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the probabilities."""
        return self.card.classes

    @property
    def thresholds(self) -> np.ndarray | None:
        """The detection threshold of each class, float64 ``[classes]``; None for a softmax model."""
        return self.card.task.thresholds(self.card.thresholds, len(self.classes))

    @property
    def event_thresholds(self) -> np.ndarray | None:
        """The threshold of each class for events, float64 ``[classes]``; None: 0.5."""
        found = self.card.event_thresholds
        return self.thresholds if found is None else np.array(found, np.float64)

    @cached_property
    def unknown(self) -> str | None:
        """The label for sounds unlike the training data: "unknown"; None for a model without unknown threshold.

        If a class is called "unknown", the label is "(unknown)".
        """
        if self.card.unknown is None or "familiarity" not in self.bundle.outputs:
            return None
        label = "unknown"
        while label in self.classes:
            label = f"({label})"
        return label

    def windows_per_batch(self, rate_hz: int) -> int:
        """Number of windows of a recording at ``rate_hz`` that are scored in one batch; it depends on nothing else."""
        window_samples = self.card.window_s * rate_hz
        values = math.prod(self.card.representation.shape)
        return max(1, int(min(MAX_BATCH_VALUES / values, MAX_BATCH_SAMPLES / window_samples)))

    def probabilities(self, spectrograms: np.ndarray | Rows, which: np.ndarray | None = None) -> np.ndarray:
        """Compute probabilities float32 ``[n, classes]`` of spectrograms ``[n, freq, time]``, in batches.

        The spectrograms must be those of the card's representation. ``which``, int64 indices, selects some of them.
        Only one batch at a time is read into memory.
        """
        which = np.arange(len(spectrograms)) if which is None else which
        n = min(BATCH, max(1, BATCH_VALUES // math.prod(self.card.representation.shape)))
        rows = [
            self.bundle.activate(self.bundle.run(spectrograms[which[start : start + n]]))
            for start in range(0, len(which), n)
        ]
        return np.concatenate(rows) if rows else np.zeros((0, len(self.classes)), np.float32)

    def clip_probabilities(self, features: Features, clips: np.ndarray) -> np.ndarray:
        """Compute probabilities float32 ``[n, classes]`` of ``clips``, int64 indices of clips that could be read.

        The probabilities of a clip that was cut into windows are the means over its windows, as in ``classify``.
        """
        rows = features.rows(clips)
        return features.windows.mean_by_clip(self.probabilities(features.array, rows), rows, clips)

    @cached_property
    def has_presence(self) -> bool:
        """Whether the model estimates if a window contains a sound of its classes at all, for events."""
        return "presence" in self.bundle.outputs

    @property
    def overlap(self) -> float:
        """The overlap of windows that the model's events are made for, as a fraction of the window."""
        return OVERLAP if self.has_presence else 0.0

    def _outputs(self, spectrograms: np.ndarray, *, embed: bool) -> dict[str, np.ndarray]:
        """Compute the model's outputs for spectrograms ``[n, freq, time]``, n > 0, on one core."""
        available = {
            "logits": True, "familiarity": self.unknown is not None, "presence": self.has_presence, "embedding": embed,
        }  # fmt: skip
        names = tuple(name for name, wanted in available.items() if wanted)
        return dict(zip(names, self.bundle.run_for(spectrograms, names, single_thread=True), strict=True))

    def score(
        self, windows: Sequence[Window], rate_hz: int, *, hop: int | None = None, embed: bool = False
    ) -> WindowScores:
        """Score ``windows`` at the sample rate ``rate_hz``, on one core; with ``hop``, their new pieces too.

        Without overlap, a piece would be identical to its window and is not scored again. A model with presence locates
        events by averages over the overlapping windows, without pieces. With ``embed``, the embeddings of the windows
        are part of the result.
        """
        cuts = hop is not None and not self.has_presence
        pieces = [list(window.pieces(hop)) if cuts and hop < len(window.samples) else [] for window in windows]  # type: ignore[operator, arg-type]
        sounds = chain(
            (window.samples for window in windows),
            (
                window.samples[start - window.start : stop - window.start]
                for window, spans in zip(windows, pieces, strict=True)
                for start, stop in spans
            ),
        )
        spectrograms = np.stack([self.card.representation(samples, rate_hz) for samples in sounds])
        found, n = self._outputs(spectrograms, embed=embed), len(windows)
        probabilities = self.bundle.activate(found["logits"])
        edges = np.array([(window.start, window.stop) for window in windows], np.float64) / rate_hz
        return WindowScores(
            edges[:, 0],
            edges[:, 1],
            probabilities[:n],
            found["familiarity"][:n] if "familiarity" in found else None,
            as_segments(pieces, probabilities[n:], rate_hz),
            found.get("presence"),
            embedding=found["embedding"][:n] if embed else None,
        )

    def scores(
        self, source: AudioSource, rate_hz: float | None = None, *, overlap: float = 0.0, jobs: int | None = None
    ) -> Scores:
        """Score each window of a recording; a recording of up to 1.05 windows is scored as one window.

        Args:
            source: a path, the bytes of an audio file, an open binary file, a ``Sound``, or samples: an array, list or
                torch tensor ``[n]``, ``[n, channels]`` or ``[channels, n]`` of floats in −1…1, or of integers of 8, 16
                or 32 bits as in audio files.
            rate_hz: the sample rate, required for samples and only for them.
            overlap: overlap between consecutive windows, as a fraction of the window. The last window is shifted back
                so that it ends with the recording.
            jobs: number of threads (default: all cores).

        Raises:
            AudioError: the file cannot be decoded, or the samples are not valid audio.
            SettingsError: ``overlap`` is not in 0 ≤ overlap < 1, or ``rate_hz`` is missing, or given for a file.
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
        familiarities = [part.familiarity for part in parts if part.familiarity is not None]
        familiarity = np.concatenate(familiarities) if familiarities else None
        names = (str(name),) * len(start_s)
        return Scores(names, start_s, stop_s, self.classes, probabilities, familiarity=familiarity)

    def classify(
        self, source: AudioSource, rate_hz: float | None = None, *, top_k: int | None = None, unknown: bool = True
    ) -> list[dict[str, Any]]:
        """Classify a recording; return classes and scores, best first: ``[{"label": "siren", "score": 0.93}, ...]``.

        The score of a class is its mean probability over all windows. If the mean familiarity is below the unknown
        threshold of the model card, the first entry is ``{"label": "unknown", "score": 1 - familiarity}`` (see
        ``Model.unknown``), followed by the classes. ``unknown=False`` turns this off.

        Args:
            source: see ``scores``.
            rate_hz: see ``scores``.
            top_k: number of classes to return (default: all).
            unknown: whether the recording can be classified as unknown.

        Raises:
            AudioError, SettingsError: see ``scores``; also if ``top_k`` is not a whole number above 0.
        """
        if top_k is not None and not is_count(top_k):
            raise SettingsError(f"top_k is {top_k!r}: expected a whole number of at least 1, or None for all classes.")
        scores = self.scores(source, rate_hz, overlap=self.overlap)
        familiarity = None if scores.familiarity is None else float(scores.familiarity.mean(dtype=np.float64))
        return self.answer(scores.mean(), familiarity, top_k=top_k, unknown=unknown)

    def answer(
        self, mean: np.ndarray, familiarity: float | None = None, *, top_k: int | None = None, unknown: bool = True
    ) -> list[dict[str, Any]]:
        """Return the result of ``classify``, from the mean scores ``[classes]`` and mean familiarity of the windows."""
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
        overlap: float | None = None,
        threshold: ArrayLike | None = None,
        release: float = RELEASE,
        merge_gap_s: float = 0.0,
        unknown: bool = True,
        jobs: int | None = None,
    ) -> list[Event]:
        """Detect events, in the order of their onset; consecutive windows of a class are merged to one event.

        Args:
            source: see ``scores``.
            rate_hz: see ``scores``.
            overlap: overlap between consecutive windows (default: ``Model.overlap``); onsets and offsets are accurate
                to one hop.
            threshold: probability at which an event starts, one number or ``[classes]`` (default: the model's
                thresholds, or 0.5).
            release: an event lasts while its probability stays above ``release`` × threshold, 0 to 1.
            merge_gap_s: events of a class separated by at most this gap are merged, in seconds.
            unknown: whether windows unlike the training data are ignored.
            jobs: number of threads (default: all cores).

        Raises:
            AudioError, SettingsError: see ``scores``; also if a threshold is not between 0 and 1, the number of
                thresholds is wrong, or ``release`` or ``merge_gap_s`` is out of range.

        >>> [event.label for event in model.events(city.clips[0].path, threshold=0.0)] == list(model.classes)
        True
        """
        overlap = self.overlap if overlap is None else overlap
        _check_overlap(overlap)
        if not is_finite(release) or not 0 <= release <= 1:
            raise SettingsError(f"release is {release!r}: expected a number from 0 to 1.")
        if not is_finite(merge_gap_s) or merge_gap_s < 0:
            raise SettingsError(f"merge_gap_s is {merge_gap_s!r}: expected a number of seconds, 0 or more.")
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
        """Return the detection thresholds, float64 ``[classes]``: ``given``, or the model's, or 0.5.

        Raises:
            SettingsError: a threshold is not between 0 and 1, or there is neither one threshold nor one per class.
        """
        n = len(self.classes)
        if given is None:
            thresholds = self.event_thresholds
            return np.array(np.broadcast_to(THRESHOLD if thresholds is None else thresholds, n), np.float64)
        return np.array(np.broadcast_to(_checked_threshold(given, n), n), np.float64)

    def check_embedding(self) -> None:
        """Check that the model has an embedding output.

        Raises:
            BundleError: it has none.
        """
        if "embedding" not in self.bundle.outputs:
            raise BundleError(
                f"this model (network {self.card.recipe.get('network', 'unknown')}) has no embedding output: train one "
                "with the recipe transfer or scratch."
            )

    def embed(self, source: AudioSource, rate_hz: float | None = None, *, overlap: float = 0.0) -> np.ndarray:
        """Compute the embedding of each window, float32 ``[windows, d]``.

        Raises:
            AudioError, SettingsError: see ``scores``.
            BundleError: the model has no embedding output.
        """
        _check_overlap(overlap)
        self.check_embedding()
        embeddings = []
        with open_stream(source, rate_hz, self.card.representation.input_rate_hz) as stream:
            windows = cut_windows(stream, self.card.window_s, overlap)
            for batch in parallel.batches(windows, self.windows_per_batch(stream.rate_hz)):
                spectrograms = np.stack([self.card.representation(window.samples, stream.rate_hz) for window in batch])
                embeddings.append(self.bundle.run_for(spectrograms, ("embedding",), single_thread=True)[0])
        return np.concatenate(embeddings)


def _checked_threshold(given: ArrayLike, n_classes: int) -> np.ndarray:
    """Check thresholds: one number, or one per class, between 0 and 1."""
    try:
        array = np.asarray(given)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "iuf" or array.shape not in ((), (n_classes,)):
        shape = f" of shape {array.shape}" if array.dtype.kind in "iuf" else ""
        raise SettingsError(
            f"threshold is {one_line(repr(given), 60)}{shape}: expected one number between 0 and 1, or one for each of "
            f"the {n_classes} classes."
        )
    wrong = array[~((array >= 0) & (array <= 1))]
    if wrong.size:
        raise SettingsError(f"threshold is {wrong.flat[0]:g}: expected a probability from 0 to 1, like 0.5 for 50 %.")
    return array


def _check_overlap(overlap: float) -> None:
    if not is_finite(overlap) or not 0 <= overlap < 1:
        raise SettingsError(f"overlap is {overlap!r}: expected a fraction of the window, at least 0 and below 1.")


def _threads(jobs: int | None) -> int:
    if jobs is not None and not is_count(jobs):
        raise SettingsError(f"jobs is {jobs!r}: expected a whole number of threads, at least 1, or None for all cores.")
    return int(jobs) if jobs is not None else parallel.available_cores()


def load(path: str | PathLike[str]) -> Model:
    """Load the model in the ``.onnx`` file at ``path``.

    Raises:
        BundleError: the file does not exist, is not a soundmark model, is damaged, or has a later schema.

    >>> model.bundle.write(folder / "model.onnx")
    >>> load(folder / "model.onnx").classify(city.clips[0].path) == model.classify(city.clips[0].path)
    True
    """
    with processing(f'the model "{path}"'):
        model = Model(bundle.read_bundle(path))
    log.debug(
        'loaded "%s": %d classes, %s input, window %g s',
        path,
        len(model.classes),
        model.card.representation.name,
        model.card.window_s,
    )
    return model
