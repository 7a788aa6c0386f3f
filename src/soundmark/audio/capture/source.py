"""The types of live sources: a source, and its blocks of mono samples. A block never has an invalid sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from soundmark.audio.decoding import Samples
from soundmark.audio.samples import LARGEST_SAMPLE, to_mono

BLOCK_S = 0.05


LARGEST_LIVE_SAMPLE = LARGEST_SAMPLE / 10  # resampling may exceed the largest sample, by less than this factor


@dataclass(frozen=True, eq=False)
class Block:
    """``samples``: mono, float32, [n]. ``note`` is a message for the user.

    ``lost_s`` seconds of audio are missing before the samples. Of these, ``dropped_s`` seconds were received but not
    analysed, because the analysis was too slow. ``n_invalid`` samples were replaced by silence (see ``mono_block``).
    """

    samples: Samples
    lost_s: float = 0.0
    note: str | None = None
    dropped_s: float = 0.0
    n_invalid: int = 0


@dataclass(frozen=True)
class LiveSource:
    """A named source of blocks at ``rate_hz``; ``is_live``: it does not wait for its reader."""

    name: str
    rate_hz: int
    blocks: Callable[[], Iterator[Block]]
    is_live: bool


def mono_block(frames: npt.NDArray[Any], *, lost_s: float = 0.0, note: str | None = None) -> Block:
    """Return a block of ``frames`` [n, channels] or [n]: the mean of the channels.

    A file with an invalid sample is refused. A live source must go on: samples that are NaN, infinite or larger than
    ``LARGEST_LIVE_SAMPLE`` are replaced by silence and counted.

    >>> block = mono_block(np.array([[0.5, 0.0], [np.nan, 0.5]], np.float32))
    >>> block.samples.tolist(), block.n_invalid
    ([0.25, 0.25], 1)
    """
    frames = np.asarray(frames, np.float32)
    valid = np.abs(frames) <= LARGEST_LIVE_SAMPLE  # False for NaN
    n_invalid = frames.size - int(np.count_nonzero(valid))
    samples = to_mono(np.where(valid, frames, np.float32(0)) if n_invalid else frames)
    return Block(samples, lost_s, note, n_invalid=n_invalid)
