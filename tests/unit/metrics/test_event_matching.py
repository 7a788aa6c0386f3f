"""event_matching: detections matched to annotations, compared with a slow twin that counts hundredths of a second."""

import math

import numpy as np
import pytest

from soundmark.errors import SettingsError
from soundmark.metrics.event_matching import Annotation, match_events, summarize_matches

LABELS = ("dog", "siren")


def spans(generator: np.random.Generator, n: int) -> list[Annotation]:
    starts = generator.integers(0, 5000, n) / 100
    lengths = generator.integers(1, 800, n) / 100
    labels = generator.integers(len(LABELS), size=n)
    return [Annotation(LABELS[k], float(a), float(a + d)) for k, a, d in zip(labels, starts, lengths, strict=True)]


def cells(span: Annotation) -> set[int]:
    """The hundredths of a second that a span covers."""
    return set(range(round(100 * span.start_s), round(100 * span.stop_s)))


def covered(span: Annotation, others: list[Annotation]) -> float:
    """The share of a span that lies within others of its class."""
    union = set().union(*(cells(other) for other in others if other.label == span.label))
    return len(cells(span) & union) / len(cells(span))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("share", [0.1, 0.5, 0.7, 1.0])
def test_counts_are_those_of_a_slow_twin(seed: int, share: float):
    generator = np.random.default_rng(seed)
    truth, detected = spans(generator, 12), spans(generator, 15)
    matches = match_events(truth, detected, duration_s=60.0, min_overlap=share)
    correct = [covered(span, truth) >= share - 1e-9 for span in detected]
    assert matches.correct.tolist() == correct
    useful = [span for span, is_correct in zip(detected, correct, strict=True) if is_correct]
    assert matches.found.tolist() == [covered(span, useful) >= share - 1e-9 for span in truth]
    background = [
        not is_correct and all(len(cells(span) & cells(other)) <= 30 for other in truth)
        for span, is_correct in zip(detected, correct, strict=True)
    ]
    assert matches.in_background.tolist() == background


def test_several_detections_find_one_annotation_and_one_detection_finds_several():
    pieces = [Annotation("dog", 0.0, 3.0), Annotation("dog", 5.0, 8.0)]
    one = match_events([Annotation("dog", 0.0, 10.0)], pieces, duration_s=60.0, min_overlap=0.5)
    assert one.found.tolist() == [True]
    assert (one.onset_error_s[0], one.offset_error_s[0]) == (0.0, -2.0)
    several = match_events(pieces, [Annotation("dog", 0.0, 8.0)], duration_s=60.0, min_overlap=0.5)
    assert several.found.tolist() == [True, True]


def test_overlapping_detections_are_not_counted_twice():
    twice = [Annotation("dog", 0.0, 4.0), Annotation("dog", 1.0, 4.0)]
    matches = match_events([Annotation("dog", 0.0, 10.0)], twice, duration_s=60.0, min_overlap=0.5)
    assert matches.found.tolist() == [False]  # 4 s of 10 s, not 7 s


def test_a_detection_of_another_class_is_false_and_not_in_the_background():
    matches = match_events(
        [Annotation("dog", 0.0, 4.0)],
        [Annotation("siren", 0.0, 4.0), Annotation("siren", 3.7, 7.7)],
        duration_s=60.0,
        min_overlap=0.5,
    )
    assert not matches.correct.any()
    assert matches.in_background.tolist() == [False, True]


def test_without_detections_precision_is_unknown_and_without_annotations_recall_is():
    nothing = summarize_matches(
        [match_events([Annotation("dog", 0.0, 4.0)], [], duration_s=3600.0, min_overlap=0.5)], LABELS, min_overlap=0.5
    )
    assert nothing.total.recall == 0.0
    assert math.isnan(nothing.total.precision)
    assert math.isnan(nothing.classes[1].recall)
    assert nothing.total.false_per_hour == 0.0


def test_intervals_resample_recordings_and_need_two():
    generator = np.random.default_rng(0)
    recordings = [
        match_events(spans(generator, 8), spans(generator, 8), duration_s=60.0, min_overlap=0.2) for _ in range(30)
    ]
    summary = summarize_matches(recordings, LABELS, min_overlap=0.2)
    for figures in (*summary.classes, summary.total):
        assert figures.recall_interval.low < figures.recall < figures.recall_interval.high
        assert figures.f1_interval.low < figures.f1 < figures.f1_interval.high
    assert summary.false_per_hour_interval.low < summary.total.false_per_hour < summary.false_per_hour_interval.high
    assert not summarize_matches(recordings[:1], LABELS, min_overlap=0.2).total.recall_interval.known


@pytest.mark.parametrize("share", [0, 1.5, float("nan"), "half"])
def test_a_rule_out_of_range_is_refused(share):
    with pytest.raises(SettingsError, match="min_overlap is .*: expected a share above 0 and at most 1"):
        match_events([], [], duration_s=1.0, min_overlap=share)
