"""The spans of the windows that a recording is split into: the same in training and in use.

A recording of up to 1.05 windows is one window. A longer recording is split into windows at a constant hop; the last
window is shifted back so that it ends with the recording.
"""

from __future__ import annotations

from collections.abc import Iterator

from soundmark.errors import SettingsError

WHOLE_WINDOWS = 1.05  # a recording of up to this many windows is one window


def hop_samples(window_samples: float, overlap: float) -> int:
    """Return the hop, the number of samples between the starts of consecutive windows.

    ``overlap`` is the overlap between consecutive windows, as a fraction of the window.

    Raises:
        SettingsError: ``overlap`` is not in 0 ≤ overlap < 1.

    >>> hop_samples(88200, overlap=0.75)
    22050
    """
    if not 0 <= overlap < 1:
        raise SettingsError(f"overlap is {overlap!r}: expected a fraction of the window, at least 0 and below 1.")
    return max(1, round(round(window_samples) * (1 - overlap)))


def windows(n_samples: int, window_samples: float, overlap: float = 0.0) -> Iterator[tuple[int, int]]:
    """Yield start and stop of each window of a recording of ``n_samples``.

    >>> list(windows(1000, 1000)), list(windows(1050, 1000))
    ([(0, 1000)], [(0, 1050)])
    >>> list(windows(2500, 1000))
    [(0, 1000), (1000, 2000), (1500, 2500)]
    >>> list(windows(2000, 1000, overlap=0.5))
    [(0, 1000), (500, 1500), (1000, 2000)]
    """
    if n_samples <= WHOLE_WINDOWS * window_samples:
        yield 0, n_samples
        return
    length = max(1, round(window_samples))
    for start in range(0, n_samples - length, hop_samples(window_samples, overlap)):
        yield start, start + length
    yield n_samples - length, n_samples
