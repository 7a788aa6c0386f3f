"""The spectrogram of a stream as the model's representation computes it, in tiles of 8-bit levels for display.

    samples ─ push ─▶ segments with a margin ─ Representation.render ─▶ tiles

A representation of which each window is relative to its own maximum ("mel") is displayed in the same way: relative to
the maximum of the tile and its margin.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from soundmark.audio import Samples
from soundmark.spectrograms import Representation, SpectrogramImage, Waveform

RANGE_DB = 120.0  # of the levels in tiles, from that of silence on


MOST_COLUMNS = 80_000  # of a recording: an hour has 22 columns per second


COLUMNS_PER_S = 100.0  # at most


LIVE_STEP_S = 0.25


MARGIN_S = 0.1  # on both sides of a tile, so that its edges are as if there were no tiles


@dataclass(frozen=True, eq=False)
class Tile:
    """A part of a spectrogram: ``pixels`` uint8 [rows, columns], row 0 is the highest frequency."""

    start_s: float
    stop_s: float
    pixels: npt.NDArray[np.uint8]

    def to_json(self) -> dict[str, Any]:
        """Return the tile as JSON values; the pixels row by row, in base64.

        >>> Tile(0.0, 1.0, np.zeros((1, 3), np.uint8)).to_json()["pixels"]
        'AAAA'
        """
        rows, columns = self.pixels.shape
        pixels = base64.b64encode(self.pixels.tobytes()).decode()
        times = {"start_s": round(self.start_s, 6), "stop_s": round(self.stop_s, 6)}
        return {**times, "rows": rows, "columns": columns, "pixels": pixels}


def columns_per_s(duration_s: float) -> float:
    """Return the columns per second for a recording of ``duration_s``.

    >>> columns_per_s(4.0), round(columns_per_s(3600.0), 1)
    (100.0, 22.2)
    """
    return min(COLUMNS_PER_S, MOST_COLUMNS / max(duration_s, 1.0))


class SpectrogramTiles:
    """Computes tiles of ``step_s`` seconds from samples at ``rate_hz`` that arrive in blocks.

    >>> from soundmark.spectrograms import Mel
    >>> tiles = SpectrogramTiles(Mel(), 22050, step_s=1.0, columns_per_s=20)
    >>> found = [*tiles.push(0, np.zeros(33075, np.float32)), *tiles.end()]
    >>> [(tile.start_s, tile.stop_s, tile.pixels.shape) for tile in found]
    [(0.0, 1.0, (128, 20)), (1.0, 1.5, (128, 10))]
    """

    def __init__(
        self, representation: Representation, rate_hz: int, *, step_s: float, columns_per_s: float, back_s: float = 0.0
    ) -> None:
        self._representation, self._rate_hz, self._columns_per_s = representation, rate_hz, columns_per_s
        self._step, self._margin = max(1, round(step_s * rate_hz)), round(MARGIN_S * rate_hz)
        self._back = max(self._margin, round(back_s * rate_hz))
        self._buffer = np.zeros(0, np.float32)
        self._buffer_start = self._next = 0
        silence = representation.render(np.zeros(self._step, np.float32), rate_hz)
        self._db_min = silence.db_min
        self._axis = silence

    def axis(self) -> dict[str, Any]:
        """Return what the rows and levels of all tiles mean, as JSON values."""
        return {
            "scale": self._axis.scale,
            "frequencies_hz": [round(float(hz), 3) for hz in self._axis.frequencies_hz],
            "db_min": self._db_min,
            "db_max": self._db_min + RANGE_DB,
        }

    def push(self, start: int, samples: Samples) -> list[Tile]:
        """Add samples at the position ``start`` of the stream; return the tiles that are complete."""
        tiles: list[Tile] = []
        if start != self._buffer_start + len(self._buffer):  # after a gap
            tiles += self.end()
            self._buffer, self._buffer_start, self._next = np.zeros(0, np.float32), start, start
        self._buffer = np.concatenate([self._buffer, samples])
        end = self._buffer_start + len(self._buffer)
        while end - self._next >= self._step + self._margin:
            tiles.append(self._tile(self._next + self._step))
        unneeded = self._next - self._back - self._buffer_start
        if unneeded > 0:
            self._buffer, self._buffer_start = self._buffer[unneeded:].copy(), self._buffer_start + unneeded
        return tiles

    def end(self) -> list[Tile]:
        """Return the tiles of the samples that remain."""
        end = self._buffer_start + len(self._buffer)
        tiles = []
        while end > self._next:
            tiles.append(self._tile(min(end, self._next + self._step)))
        return tiles

    def _tile(self, stop: int) -> Tile:
        first = max(self._buffer_start, self._next - self._back)
        segment = self._buffer[first - self._buffer_start : stop + self._margin - self._buffer_start]
        image = self._representation.render(segment, self._rate_hz)
        width = image.pixels.shape[1]
        left, right = (round((at - first) / len(segment) * width) for at in (self._next, stop))
        right = min(width, max(right, left + 1))
        start, self._next = self._next, stop
        seconds = (stop - start) / self._rate_hz
        pixels = self._levels(image, min(left, right - 1), right)
        columns = min(pixels.shape[1], max(1, round(seconds * self._columns_per_s)))
        return Tile(start / self._rate_hz, stop / self._rate_hz, averaged_columns(pixels, columns))

    def _levels(self, image: SpectrogramImage, left: int, right: int) -> npt.NDArray[np.float32]:
        """Return the levels of some columns, float32 [rows, columns], 0 to 255 over the range of all tiles."""
        db = image.pixels[:, left:right].astype(np.float32) / 255 * (image.db_max - image.db_min) + image.db_min
        return np.asarray(np.clip((db - self._db_min) / RANGE_DB, 0, 1) * 255, np.float32)


def averaged_columns(levels: npt.NDArray[np.float32], columns: int) -> npt.NDArray[np.uint8]:
    """Average neighbouring columns of ``levels`` [rows, n] to ``columns``, at most n; round to 8 bits.

    >>> averaged_columns(np.array([[0.0, 2.0, 8.0, 8.0]], np.float32), 2)
    array([[1, 8]], dtype=uint8)
    """
    n = levels.shape[1]
    edges = np.linspace(0, n, columns + 1).round().astype(int)
    means = np.add.reduceat(levels, edges[:-1], axis=1) / np.diff(edges)
    return means.round().astype(np.uint8)


def tiles_of_recording(
    representation: Representation, rate_hz: int, duration_s: float, window_s: float
) -> SpectrogramTiles:
    """Return the tiles for a recording: one tile if it is scored as one window.

    >>> from soundmark.spectrograms import Mel
    >>> tiles = tiles_of_recording(Mel(), 22050, 4.0, 4.0)
    >>> len([*tiles.push(0, np.zeros(4 * 22050, np.float32)), *tiles.end()])
    1
    """
    step_s = max(5.0, round(1.1 * window_s, 1))
    return SpectrogramTiles(representation, rate_hz, step_s=step_s, columns_per_s=columns_per_s(duration_s))


def tiles_of_stream(representation: Representation, rate_hz: int, window_s: float) -> SpectrogramTiles:
    """Return the tiles for live audio: short ones, relative to the last window where the representation is relative.

    >>> from soundmark.spectrograms import LogMel
    >>> [tile.stop_s for tile in tiles_of_stream(LogMel(), 32000, 10.0).push(0, np.zeros(32000, np.float32))]
    [0.25, 0.5, 0.75]
    """
    is_relative = not representation.real_time or isinstance(representation, Waveform)  # which is displayed as "mel"
    back_s = window_s if is_relative else 0.0
    return SpectrogramTiles(representation, rate_hz, step_s=LIVE_STEP_S, columns_per_s=COLUMNS_PER_S / 2, back_s=back_s)
