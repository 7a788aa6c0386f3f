"""Match detected events to annotated ones, and score detections in long recordings.

The rule has one number, ``min_overlap``. A detection is *correct* if at least this share of it lies within annotations
of its class; otherwise it is *false*. An annotation is *found* if correct detections of its class cover at least this
share of it. So one detection may find several annotations, and several detections may find one.

    precision = found / (found + false)        recall = found / annotations        F1: their harmonic mean

Of the false detections, those that overlap no annotation of any class by more than ``BACKGROUND_S`` are *in the
background*; the others have the *wrong class*, or cover too little or too much.

Source: Ç. Bilen et al., "A Framework for the Robust Evaluation of Sound Event Detection", ICASSP 2020: detection and
ground truth intersection criteria, here with the same threshold. sed_scores_eval's ``intersection_based`` gives the
same counts (``benchmarks/event_scores.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from soundmark.errors import SettingsError
from soundmark.metrics import student_t
from soundmark.metrics.intervals import LEVEL, UNKNOWN, Floats, Interval
from soundmark.metrics.jackknife import Jackknife
from soundmark.runtime.checks import is_finite

BACKGROUND_S = 0.3  # a detection that overlaps annotations by no more than this is in the background


NONE_SEEN = 3.69  # events per unit of time, at most, when none was seen: exact Poisson interval of 95 %


ROUNDING = 1e-9  # tolerance for sums of times


class Span(Protocol):
    """A labelled part of a recording, such as an annotation or an event; times in seconds."""

    @property
    def label(self) -> str:
        """The class."""

    @property
    def start_s(self) -> float:
        """The onset."""

    @property
    def stop_s(self) -> float:
        """The offset."""


@dataclass(frozen=True)
class Annotation:
    """An annotated event of a recording, in seconds from its start."""

    label: str
    start_s: float
    stop_s: float


@dataclass(frozen=True, kw_only=True)
class Matches:
    """The result for one recording: its n annotations and m detections, in the order in which they were given.

    Onset and offset errors are detected minus annotated times, in seconds, of found annotations; NaN for others.
    """

    labels: tuple[str, ...]  # of the annotations
    found: NDArray[np.bool_]  # [n]
    onset_error_s: Floats  # [n]
    offset_error_s: Floats  # [n]
    detected: tuple[str, ...]  # the labels of the detections
    correct: NDArray[np.bool_]  # [m]
    in_background: NDArray[np.bool_]  # [m]
    duration_s: float


def overlap_s(spans: Sequence[Span], others: Sequence[Span]) -> Floats:
    """Compute the overlap of each of n ``spans`` with each of m ``others`` in seconds, float64 ``[n, m]``.

    >>> overlap_s([Annotation("dog", 0.0, 2.0)], [Annotation("dog", 1.5, 4.0), Annotation("cat", 3.0, 4.0)]).tolist()
    [[0.5, 0.0]]
    """
    a, b = _times(spans), _times(others)
    common = np.minimum(a[:, None, 1], b[None, :, 1]) - np.maximum(a[:, None, 0], b[None, :, 0])
    return np.maximum(common, 0.0)


def match_events(
    annotations: Sequence[Span], detections: Sequence[Span], *, duration_s: float, min_overlap: float
) -> Matches:
    """Match the ``detections`` in one recording of ``duration_s`` seconds to its ``annotations``.

    Raises:
        SettingsError: ``min_overlap`` is not above 0 and at most 1.

    >>> truth = [Annotation("dog", 10.0, 12.0), Annotation("siren", 30.0, 40.0)]
    >>> found = [Annotation("dog", 9.5, 12.0), Annotation("dog", 30.0, 34.0), Annotation("dog", 50.0, 54.0)]
    >>> matches = match_events(truth, found, duration_s=60.0, min_overlap=0.5)
    >>> matches.found.tolist(), matches.correct.tolist(), matches.in_background.tolist()
    ([True, False], [True, False, False], [False, False, True])
    >>> matches.onset_error_s.tolist()
    [-0.5, nan]
    """
    if not is_finite(min_overlap) or not 0 < min_overlap <= 1:
        raise SettingsError(f"min_overlap is {min_overlap!r}: expected a share above 0 and at most 1, like 0.5.")
    truth, times = _times(annotations), _times(detections)
    labels, detected = tuple(span.label for span in annotations), tuple(span.label for span in detections)
    same = np.array(labels, object)[:, None] == np.array(detected, object)[None, :]
    common = overlap_s(annotations, detections)
    within = _covered_s(times, truth, same.T & (common.T > 0))
    correct = within >= min_overlap * (times[:, 1] - times[:, 0]) - ROUNDING
    correct &= within > 0
    useful = same & correct[None, :] & (common > 0)
    covered = _covered_s(truth, times, useful)
    found = (covered >= min_overlap * (truth[:, 1] - truth[:, 0]) - ROUNDING) & (covered > 0)
    return Matches(
        labels=labels,
        found=found,
        onset_error_s=_error_s(found, useful, times[:, 0], truth[:, 0], np.min),
        offset_error_s=_error_s(found, useful, times[:, 1], truth[:, 1], np.max),
        detected=detected,
        correct=correct,
        in_background=~correct & ~(common > BACKGROUND_S).any(0),
        duration_s=duration_s,
    )


def _times(spans: Sequence[Span]) -> Floats:
    return np.array([(span.start_s, span.stop_s) for span in spans], np.float64).reshape(-1, 2)


def _covered_s(spans: Floats, others: Floats, which: NDArray[np.bool_]) -> Floats:
    """Return how much of each span [n, 2] the union of its ``which`` [n, m] of ``others`` [m, 2] covers, in seconds."""
    covered = np.zeros(len(spans))
    for row, (start, stop) in enumerate(spans):
        end = start
        for low, high in sorted(map(tuple, others[which[row]])):
            covered[row] += max(0.0, min(high, stop) - max(low, end))
            end = max(end, min(high, stop))
    return covered


def _error_s(found: NDArray[np.bool_], useful: NDArray[np.bool_], times: Floats, truth: Floats, pick: Any) -> Floats:
    """Return the first or last of the ``useful`` times [n, m] of each found annotation, minus the annotated time."""
    return np.array(
        [pick(times[useful[row]]) - truth[row] if found[row] else np.nan for row in range(len(truth))], np.float64
    )


@dataclass(frozen=True, kw_only=True)
class EventFigures:
    """The scores of one class, or of all together; intervals are NaN for fewer than two recordings.

    The errors are medians of the absolute onset and offset errors of the found annotations, in seconds.
    """

    label: str
    annotations: int
    found: int
    detections: int
    false: int
    precision: float
    recall: float
    f1: float
    precision_interval: Interval
    recall_interval: Interval
    f1_interval: Interval
    onset_error_s: float
    offset_error_s: float
    false_per_hour: float


@dataclass(frozen=True, kw_only=True)
class EventSummary:
    """The scores of the detections in several recordings: of each class, and of all classes together."""

    min_overlap: float
    recordings: int
    hours: float
    classes: tuple[EventFigures, ...]
    total: EventFigures
    false_per_hour_interval: Interval
    background_per_hour: float  # false detections where nothing is annotated
    background_per_hour_interval: Interval


def summarize_matches(recordings: Sequence[Matches], classes: Sequence[str], *, min_overlap: float) -> EventSummary:
    """Summarise the matches of all ``recordings``, by class; the intervals are over recordings.

    Annotations and detections of other classes than ``classes`` are not counted.

    >>> truth, found = [Annotation("dog", 10.0, 12.0)], [Annotation("dog", 10.0, 12.0), Annotation("dog", 20.0, 22.0)]
    >>> summary = summarize_matches(
    ...     [match_events(truth, found, duration_s=1800.0, min_overlap=0.5)], ["dog"], min_overlap=0.5
    ... )
    >>> summary.total.precision, summary.total.recall, summary.background_per_hour
    (0.5, 1.0, 2.0)
    """
    hours = np.array([matches.duration_s for matches in recordings], np.float64) / 3600
    counts = np.array([[_counts(matches, label) for label in classes] for matches in recordings], np.float64)
    counts = counts.reshape(len(recordings), len(classes), 4)
    background = np.array([matches.in_background.sum() for matches in recordings], np.float64)
    figures = [
        _figures(label, counts[:, row], hours, _errors(recordings, (label,))) for row, label in enumerate(classes)
    ]
    total = _figures("all", counts.sum(1), hours, _errors(recordings, classes))
    return EventSummary(
        min_overlap=min_overlap,
        recordings=len(recordings),
        hours=float(hours.sum()),
        classes=tuple(figures),
        total=total,
        false_per_hour_interval=_rate_interval(counts.sum(1)[:, 3], hours),
        background_per_hour=_ratio(background.sum(), hours.sum()),
        background_per_hour_interval=_rate_interval(background, hours),
    )


def _counts(matches: Matches, label: str) -> tuple[int, int, int, int]:
    """Return the numbers of annotations, found annotations, detections and false detections of a class."""
    mine = np.array([name == label for name in matches.labels], bool)
    detected = np.array([name == label for name in matches.detected], bool)
    false = detected & ~matches.correct
    return int(mine.sum()), int(matches.found[mine].sum()), int(detected.sum()), int(false.sum())


def _errors(recordings: Sequence[Matches], classes: Sequence[str]) -> tuple[float, float]:
    """Return the median absolute onset and offset error of the found annotations of ``classes``; NaN if none."""
    chosen = [np.array([name in classes for name in matches.labels], bool) & matches.found for matches in recordings]
    medians = []
    for key in ("onset_error_s", "offset_error_s"):
        values = np.concatenate([np.zeros(0), *(getattr(m, key)[c] for m, c in zip(recordings, chosen, strict=True))])
        medians.append(float(np.median(np.abs(values))) if len(values) else float("nan"))
    return medians[0], medians[1]


def _figures(label: str, counts: Floats, hours: Floats, errors_s: tuple[float, float]) -> EventFigures:
    """Compute the scores from ``counts`` [recordings, 4]; their intervals leave out each recording in turn."""
    annotations, found, detections, false = counts.sum(0)
    shares = _shares(counts.sum(0)[None])[:, 0]
    precision, recall, f1 = _share_intervals(counts)
    return EventFigures(
        label=label,
        annotations=int(annotations),
        found=int(found),
        detections=int(detections),
        false=int(false),
        precision=float(shares[0]),
        recall=float(shares[1]),
        f1=float(shares[2]),
        precision_interval=precision,
        recall_interval=recall,
        f1_interval=f1,
        onset_error_s=errors_s[0],
        offset_error_s=errors_s[1],
        false_per_hour=_ratio(false, hours.sum()),
    )


def _shares(counts: Floats) -> Floats:
    """Return precision, recall and F1 [3, n] for ``counts`` [n, 4]; NaN where there is nothing to divide by."""
    annotations, found, _, false = counts.T
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Floats = np.array(
            [found / (found + false), found / annotations, 2 * found / (annotations + found + false)]
        )
    return result


def _share_intervals(counts: Floats) -> list[Interval]:
    """Return the intervals of precision, recall and F1; recordings without any event of the class are left out."""
    annotations, _, detections, _ = counts.T
    intervals = []
    for row, sizes in enumerate((detections, annotations, annotations + detections)):
        counted = sizes > 0
        kept = counts[counted]
        left_out = _shares(kept.sum(0) - kept)[row]
        defined = np.isfinite(left_out)
        whole = float(_shares(counts.sum(0)[None])[row, 0])
        found = Jackknife(value=whole, left_out=left_out[defined], counts=sizes[counted][defined])
        intervals.append(found.score_interval())
    return intervals


def _rate_interval(values: Floats, hours: Floats) -> Interval:
    """Return the interval of a number per hour, from the variation between recordings on a logarithmic scale."""
    n, total, duration = len(values), float(values.sum()), float(hours.sum())
    if n < 2 or duration <= 0:
        return UNKNOWN
    if total == 0:
        return Interval(0.0, NONE_SEEN / duration)
    rate = total / duration
    deviations = values - rate * hours
    variance = max(float(n / (n - 1) * np.sum(deviations**2)), total)  # at least that of independent events
    half = student_t.two_sided_quantile(LEVEL, n - 1) * np.sqrt(variance) / total
    return Interval(float(rate * np.exp(-half)), float(rate * np.exp(half)))


def _ratio(count: float, hours: float) -> float:
    return float(count / hours) if hours > 0 else float("nan")
