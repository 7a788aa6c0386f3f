"""Compare the scores of ``metrics.event_matching`` with those of sed_scores_eval.

    python3 -m venv oracles && oracles/bin/pip install "pandas<3" soundfile sed_scores_eval
    PYTHONPATH=src oracles/bin/python benchmarks/event_scores.py

It needs a separate environment: it needs an earlier pandas, and its dependencies install a package called pathlib,
which replaces Python's.
"""

from __future__ import annotations

import sys

import numpy as np
from sed_scores_eval import intersection_based
from sed_scores_eval.base_modules.scores import create_score_dataframe

from soundmark.metrics.event_matching import Annotation, match_events, summarize_matches

CLASSES = ("dog", "siren")
FILES = 40
DURATION_S = 60.0


def random_spans(generator: np.random.Generator, n: int) -> list[Annotation]:
    """Spans of one class that do not overlap, as one detector gives them."""
    spans = []
    for label in CLASSES:
        edges = np.sort(generator.choice(5900, size=2 * n, replace=False)) / 100
        spans += [Annotation(label, float(a), float(b)) for a, b in edges.reshape(-1, 2)]
    return spans


def as_scores(detected: list[Annotation]) -> object:
    """The detections as a table of scores, 1 during a detection and 0 elsewhere."""
    times = np.unique([0.0, DURATION_S, *(t for span in detected for t in (span.start_s, span.stop_s))])
    scores = np.zeros((len(times) - 1, len(CLASSES)))
    for span in detected:
        inside = (times[:-1] >= span.start_s - 1e-9) & (times[1:] <= span.stop_s + 1e-9)
        scores[inside, CLASSES.index(span.label)] = 1
    return create_score_dataframe(scores, times, list(CLASSES))


def main() -> int:
    """Compare precision, recall and F1 of each class at several overlaps; print the largest difference."""
    generator = np.random.default_rng(0)
    truth = {f"{i}": random_spans(generator, int(generator.integers(1, 6))) for i in range(FILES)}
    shift = {
        key: [
            Annotation(
                s.label, max(0.0, s.start_s + d[0]), min(DURATION_S, max(s.stop_s + d[1], s.start_s + d[0] + 0.05))
            )
            for s, d in zip(spans, generator.normal(0, 1.0, (len(spans), 2)), strict=True)
        ]
        for key, spans in truth.items()
    }
    detected = {key: _without_overlaps(spans) for key, spans in shift.items()}
    table = {key: [(s.start_s, s.stop_s, s.label) for s in spans] for key, spans in truth.items()}
    scores = {key: as_scores(spans) for key, spans in detected.items()}
    largest = 0.0
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        ours = summarize_matches(
            [match_events(truth[k], detected[k], duration_s=DURATION_S, min_overlap=share) for k in truth],
            CLASSES,
            min_overlap=share,
        )
        f1, precision, recall, _ = intersection_based.fscore(
            scores, table, threshold=0.5, dtc_threshold=share, gtc_threshold=share, num_jobs=1
        )
        for figures in ours.classes:
            theirs = np.array([values[figures.label] for values in (f1, precision, recall)])
            mine = np.array([figures.f1, figures.precision, figures.recall])
            largest = max(largest, float(np.abs(mine - theirs).max()))
            print(f"{share:.1f} {figures.label:6s} F1, precision, recall: {mine.round(4)} {theirs.round(4)}")
    print(f"largest difference from sed_scores_eval: {largest:.2g}")
    return int(largest > 1e-9)


def _without_overlaps(spans: list[Annotation]) -> list[Annotation]:
    """Merge spans of a class that overlap or touch, as sed_scores_eval cannot represent them."""
    merged: list[Annotation] = []
    for span in sorted(spans, key=lambda s: (s.label, s.start_s)):
        last = merged[-1] if merged else None
        if last and last.label == span.label and span.start_s <= last.stop_s:
            merged[-1] = Annotation(span.label, last.start_s, max(last.stop_s, span.stop_s))
        else:
            merged.append(span)
    return merged


if __name__ == "__main__":
    sys.exit(main())
