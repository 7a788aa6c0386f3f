"""Parts of a long recording: planned from its header, scored by several machines, joined to the result of the whole.

A window's scores depend on its samples alone, so parts give the same bits as the whole, under three conditions:

- A part begins at a batch of windows, because scores may depend on the batch that they are computed in.
- The samples are those of the whole. Where the format seeks exactly and the model takes the recording's sample rate, a
  part is decoded alone. Else it is decoded and resampled from the start of the recording, and only its windows are
  scored: decoding is cheap compared with scoring, and there are at most ``MOST_REREAD`` parts.
- The recording is intact. If a part finds a problem, the whole recording is analysed by one worker, which reports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

from soundmark import audio
from soundmark.audio.decoding import SEEKS_EXACTLY
from soundmark.audio.windows import WHOLE_WINDOWS, hop_samples, windows
from soundmark.detection.settings import DetectionSettings
from soundmark.errors import AudioError
from soundmark.models.classifier import Model
from soundmark.models.events import Event
from soundmark.models.streaming import RecordingAggregator, WindowScores, score_windows
from soundmark.models.windows import Window
from soundmark.runtime.parallel import batches

PART_S = 300.0  # least duration of a part


MOST_REREAD = 8  # parts of a recording that each part reads from its start


@dataclass(frozen=True, kw_only=True)
class Part:
    """The windows ``first`` to ``stop`` of a recording of ``n_samples`` at the model's sample rate."""

    path: str
    first: int
    stop: int
    n_windows: int
    n_samples: int
    from_hz: int
    rate_hz: int
    seeks: bool  # whether it is decoded alone

    @property
    def is_last(self) -> bool:
        """Whether it contains the end of the recording."""
        return self.stop == self.n_windows


def plan_parts(
    model: Model, path: str, settings: DetectionSettings, *, part_s: float = PART_S, most: int = 10_000
) -> list[Part]:
    """Return the parts of the recording at ``path``; none if it is too short, or its header shows a problem.

    >>> settings = DetectionSettings(overlap=0.0)
    >>> plan_parts(model, str(city.clips[0].path), settings)
    []
    >>> audio.write(folder / "long.wav", np.zeros(22050 * 100), 22050)
    >>> [(part.first, part.stop) for part in plan_parts(model, str(folder / "long.wav"), settings, part_s=40)]
    [(0, 22), (22, 25)]
    """
    try:
        found = audio.info(Path(path))
    except (AudioError, OSError):
        return []
    rate_hz = model.card.representation.input_rate_hz or found.rate_hz
    n_samples = -(-found.frames * rate_hz // found.rate_hz)
    window_samples = model.card.window_s * rate_hz
    if found.note or found.duration_s < 2 * part_s or n_samples <= 2 * WHOLE_WINDOWS * window_samples:
        return []
    seeks = found.container in SEEKS_EXACTLY and rate_hz == found.rate_hz
    hop = hop_samples(window_samples, settings.overlap or 0.0)
    n_windows = sum(1 for _ in windows(n_samples, window_samples, settings.overlap or 0.0))
    batch = model.windows_per_batch(rate_hz)
    n_parts = min(most if seeks else min(most, MOST_REREAD), int(found.duration_s // part_s))
    size = max(-(-n_windows // n_parts), -(-window_samples // hop))
    size = int(-(-size // batch) * batch)
    edges = [*range(0, n_windows, size), n_windows]
    return [
        Part(
            path=path,
            first=first,
            stop=stop,
            n_windows=n_windows,
            n_samples=n_samples,
            from_hz=found.rate_hz,
            rate_hz=rate_hz,
            seeks=seeks,
        )
        for first, stop in pairwise(edges)
        if len(edges) > 2
    ]


def score_part(model: Model, part: Part, settings: DetectionSettings) -> list[WindowScores] | None:
    """Return the scores of a part, in the batches of the whole recording; None if it shows a problem.

    >>> audio.write(folder / "long.wav", np.zeros(22050 * 100), 22050)
    >>> parts = plan_parts(model, str(folder / "long.wav"), DetectionSettings(overlap=0.0), part_s=40)
    >>> [sum(map(len, score_part(model, part, DetectionSettings(overlap=0.0)))) for part in parts]
    [22, 3]
    """
    window_samples = model.card.window_s * part.rate_hz
    spans = windows(part.n_samples, window_samples, settings.overlap or 0.0)
    before, *chosen = [(0, 0), *islice(spans, part.stop)][part.first :]
    hop = hop_samples(window_samples, settings.overlap or 0.0)
    try:
        samples = _samples(part, chosen[0][0], chosen[-1][1])
        if samples is None:
            return None
        cut = _windows(samples, chosen, before[1])
        return [
            score_windows(model, batch, part.rate_hz, hop, weighted=settings.calibration_db is not None)
            for batch in batches(cut, model.windows_per_batch(part.rate_hz))
        ]
    except (AudioError, OSError):
        return None


def _windows(samples: np.ndarray, spans: Sequence[tuple[int, int]], covered: int) -> Iterator[Window]:
    """Yield the windows of the ``spans``; ``samples`` begins with the first, ``covered`` is the stop before it."""
    origin = spans[0][0]
    for start, stop in spans:
        yield Window(start, samples[start - origin : stop - origin], max(start, covered))
        covered = stop


def _samples(part: Part, start: int, stop: int) -> np.ndarray | None:
    """Read the samples from ``start`` to ``stop``; None if there are fewer, or a problem."""
    start_s, stop_s = (start / part.rate_hz, stop / part.rate_hz) if part.seeks else (0.0, None)
    position = start if part.seeks else 0
    kept: list[np.ndarray] = []
    with audio.stream(Path(part.path), rate_hz=part.rate_hz, start_s=start_s, stop_s=stop_s) as stream:
        for block in stream:
            kept.append(block[max(0, start - position) : max(0, stop - position)])
            position += len(block)
            if position >= stop and not (part.is_last or part.seeks):
                break
        note = stream.note
    samples = np.concatenate(kept)
    is_complete = len(samples) == stop - start and (not part.is_last or position == part.n_samples)
    return samples if is_complete and not note else None


def joined(
    model: Model, part: Part, scores: Sequence[WindowScores], settings: DetectionSettings
) -> tuple[RecordingAggregator, list[Event]]:
    """Return the aggregator of a recording, and its events, from the scores of all its parts, in order.

    >>> audio.write(folder / "long.wav", np.zeros(22050 * 100), 22050)
    >>> settings = DetectionSettings(overlap=0.0)
    >>> parts = plan_parts(model, str(folder / "long.wav"), settings, part_s=40)
    >>> scores = [each for part in parts for each in score_part(model, part, settings)]
    >>> joined(model, parts[0], scores, settings)[0].windows
    25
    """
    hop_s = hop_samples(model.card.window_s * part.rate_hz, settings.overlap or 0.0) / part.rate_hz
    aggregator = RecordingAggregator(model, hop_s=hop_s, **settings.stream_options(model))
    events = [event for each in scores for event in aggregator.add(each)]
    return aggregator, aggregator.in_order([*events, *aggregator.end()])
