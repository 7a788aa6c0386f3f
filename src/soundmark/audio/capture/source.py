"""The types of live sources: a source, and its blocks of mono samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from soundmark.audio.decoding import Samples

BLOCK_S = 0.05


@dataclass(frozen=True, eq=False)
class Block:
    """``samples``: mono, float32, [n]. ``note`` is a message for the user.

    ``lost_s`` seconds of audio are missing before the samples. Of these, ``dropped_s`` seconds were received but not
    analysed, because the analysis was too slow.
    """

    samples: Samples
    lost_s: float = 0.0
    note: str | None = None
    dropped_s: float = 0.0


@dataclass(frozen=True)
class LiveSource:
    """A named source of blocks at ``rate_hz``; ``is_live``: it does not wait for its reader."""

    name: str
    rate_hz: int
    blocks: Callable[[], Iterator[Block]]
    is_live: bool
