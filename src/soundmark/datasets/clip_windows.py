"""The window length of a data set, and its clips cut into windows.

A model scores a long recording window by window, so it is trained on windows too: a clip longer than 1.05 windows is
cut into the windows that the model will score (``audio.windows``), each of the same class and recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundmark.audio.windows import windows as window_spans
from soundmark.datasets.clip import choose_window, length_s, sampled_lengths_s
from soundmark.datasets.dataset import Clip, Dataset
from soundmark.errors import SettingsError
from soundmark.runtime.checks import is_finite
from soundmark.runtime.text import counted

SECONDS_PER_DAY = 86_400


TICKS_PER_S = 1_000_000  # spans of windows are computed in microseconds


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class ClipWindows:
    """The windows of the clips of a data set, as a data set; a clip that is not cut is one window."""

    windows: Dataset
    clip_of: NDArray[np.int64]  # [windows], ascending: the index of each window's clip
    n_clips: int

    def __repr__(self) -> str:
        return f"ClipWindows({counted(self.n_clips, 'clip')}, {counted(len(self.clip_of), 'window')})"

    @property
    def n_cut(self) -> int:
        """The number of clips that were cut into several windows.

        >>> cut_clips(city, city.window_s / 2).n_cut > 0
        True
        """
        return int(np.count_nonzero(np.bincount(self.clip_of, minlength=self.n_clips) > 1))

    def rows(self, clips: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the windows of ``clips``, in the order of ``clips``.

        >>> cut_clips(city, city.window_s).rows(np.array([2, 0]))
        array([2, 0])
        """
        starts = np.searchsorted(self.clip_of, clips, "left")
        stops = np.searchsorted(self.clip_of, clips, "right")
        found = [np.arange(start, stop) for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
        return np.concatenate(found) if found else np.arange(0)

    def mean_by_clip(self, values: NDArray[Any], rows: NDArray[np.int64], clips: NDArray[np.int64]) -> NDArray[Any]:
        """Return the mean over the windows of each clip, [clips, …], of ``values`` of the windows ``rows``.

        This is how ``Model.classify`` scores a long recording. Every clip needs at least one window in ``rows``.

        >>> cut = cut_clips(city, city.window_s)
        >>> cut.mean_by_clip(np.array([[0.25], [0.75]]), np.array([2, 0]), np.array([2, 0]))
        array([[0.25],
               [0.75]])
        """
        if len(rows) == len(clips):
            return values
        starts = np.flatnonzero(np.diff(self.clip_of[rows], prepend=-1))
        sums = np.add.reduceat(values.astype(np.float64), starts, axis=0)
        sizes = np.diff(np.append(starts, len(rows)))
        means: NDArray[Any] = (sums / sizes[:, None]).astype(values.dtype)
        return means

    def describe(self) -> str:
        """Describe how the clips were cut, "" if none was.

        >>> cut_clips(city, city.window_s).describe()
        ''
        """
        if not self.n_cut:
            return ""
        counts = np.bincount(self.clip_of, minlength=self.n_clips)
        verb = "is" if self.n_cut == 1 else "are"
        return (
            f"{counted(self.n_cut, 'clip')} {verb} longer than the window of {self.windows.window_s:g} s: cut into "
            f"{counts[counts > 1].sum()} windows"
        )


def with_window(dataset: Dataset, window_s: float | None) -> Dataset:
    """Return ``dataset`` with windows of ``window_s`` seconds; unchanged for None.

    Raises:
        SettingsError: the window is not a number of seconds above 0.

    >>> with_window(city, 2.0).window_s, with_window(city, None) is city
    (2.0, True)
    """
    if window_s is None:
        return dataset
    if not is_finite(window_s) or not 0 < window_s < SECONDS_PER_DAY:
        raise SettingsError(f"the window is {window_s!r} s: expected a number of seconds above 0, such as 3.")
    return replace(dataset, window_s=float(window_s))


def describe_window(dataset: Dataset) -> str:
    """Describe the window of a data set, with the reason if it was chosen from the durations.

    >>> describe_window(city)
    'window: 4 s, the longest clip (0.628 to 4 s)'
    """
    choice = choose_window(sampled_lengths_s(dataset.clips))
    reason = f", {choice.reason}" if choice.window_s == dataset.window_s else ""
    return f"window: {dataset.window_s:g} s{reason}"


def whole_clips(dataset: Dataset) -> ClipWindows:
    """Return each clip as one window, whatever its length.

    >>> whole_clips(city)
    ClipWindows(60 clips, 60 windows)
    """
    return ClipWindows(windows=dataset, clip_of=np.arange(len(dataset.clips)), n_clips=len(dataset.clips))


def cut_clips(dataset: Dataset, window_s: float, durations_s: Sequence[float | None] | None = None) -> ClipWindows:
    """Cut the clips longer than 1.05 windows of ``window_s`` seconds into windows without overlap.

    The last window of a clip is shifted back to end with the clip. A window has its clip's label, fold and recording.
    Durations that are not given are read from the headers of the files; a clip that cannot be read, or whose duration
    is None, is one window.

    >>> cut_clips(city, 1.0).describe()
    '... clips are longer than the window of 1 s: cut into ... windows'
    """
    durations_s = [length_s(clip) for clip in dataset.clips] if durations_s is None else durations_s
    found = [_windows_of(clip, each, window_s) for clip, each in zip(dataset.clips, durations_s, strict=True)]
    cut = replace(dataset, clips=tuple(one for each in found for one in each), window_s=window_s)
    clip_of = np.repeat(np.arange(len(found)), [len(each) for each in found])
    return ClipWindows(windows=cut, clip_of=clip_of, n_clips=len(found))


def _windows_of(clip: Clip, duration_s: float | None, window_s: float) -> list[Clip]:
    if duration_s is None:
        return [clip]
    spans = list(window_spans(round(duration_s * TICKS_PER_S), window_s * TICKS_PER_S))
    if len(spans) == 1:
        return [clip]
    cut = [
        replace(
            clip,
            start_s=clip.start_s + start / TICKS_PER_S,
            stop_s=clip.start_s + stop / TICKS_PER_S,
            expected_s=None,
        )
        for start, stop in spans
    ]
    return [*cut[:-1], replace(cut[-1], stop_s=clip.stop_s)]
