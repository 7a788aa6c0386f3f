"""The rest of completely annotated recordings, as clips without any of the classes."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from soundmark import audio
from soundmark.datasets.clip import LONGEST_WINDOW_S, Clip
from soundmark.datasets.dataset import BACKGROUND
from soundmark.errors import AudioError

SHORTEST_S = 0.1


def background_clips(clips: Sequence[Clip], recordings: Iterable[Path], *, label: str = BACKGROUND) -> list[Clip]:
    """Return sections of the recordings that no clip overlaps, with the label ``label``.

    They last as long as the median clip, and there are at most as many as clips, evenly spread over all sections that
    there could be. ``recordings`` are sound files beyond those of the clips.

    >>> audio.write(folder / "dawn.wav", [0.1] * 80_000, 8000)
    >>> clips = [Clip(path=folder / "dawn.wav", label="wren", start_s=2.0, stop_s=4.0)] * 3
    >>> [(clip.start_s, clip.stop_s) for clip in background_clips(clips, [])]
    [(0.0, 2.0), (4.0, 6.0), (8.0, 10.0)]
    """
    by_file: dict[Path, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_file[clip.path].append(clip)
    lengths = [clip.stop_s - clip.start_s for clip in clips if clip.stop_s is not None]
    length_s = min(max(statistics.median(lengths), SHORTEST_S), LONGEST_WINDOW_S) if lengths else LONGEST_WINDOW_S
    sections = [
        replace(_template(path, by_file[path], label), start_s=start_s, stop_s=round(start_s + length_s, 6))
        for path in sorted({*by_file, *recordings})
        for start_s in _free(path, by_file[path], length_s)
    ]
    n = min(len(clips), len(sections))
    return [sections[k * (len(sections) - 1) // max(1, n - 1)] for k in range(n)]


def _template(path: Path, clips: Sequence[Clip], label: str) -> Clip:
    """Return a clip with the recording and the fold of the annotated clips of a file."""
    if not clips:
        return Clip(path=path, label=label, source=path.name)
    return Clip(path=path, label=label, source=clips[0].source or path.name, fold=clips[0].fold)


def _free(path: Path, clips: Sequence[Clip], length_s: float) -> list[float]:
    """Return the starts of sections of ``length_s`` in a file that overlap none of its clips."""
    try:
        duration_s = audio.info(path).duration_s
    except AudioError:
        return []
    starts, at = [], 0.0
    taken = sorted((clip.start_s, duration_s if clip.stop_s is None else clip.stop_s) for clip in clips)
    for start_s, stop_s in [*taken, (duration_s, duration_s)]:
        n = int((start_s - at) / length_s + 1e-9)
        starts += [round(at + k * length_s, 6) for k in range(n)]
        at = max(at, stop_s)
    return starts
