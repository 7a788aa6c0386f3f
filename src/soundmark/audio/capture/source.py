"""A live source of sound: blocks of mono samples at a rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from soundmark.audio.decoding import Samples

BLOCK_S = 0.05


@dataclass(frozen=True, eq=False)
class Block:
    """``samples`` float32 [n], mono; ``note`` is for people.

    Before them ``lost_s`` seconds went by that nobody has; ``dropped_s`` of these came, and there was no time for them.
    """

    samples: Samples
    lost_s: float = 0.0
    note: str | None = None
    dropped_s: float = 0.0


@dataclass(frozen=True)
class LiveSource:
    """A name for people and programs, a rate, and what gives the blocks; ``is_live``: it does not wait."""

    name: str
    rate_hz: int
    blocks: Callable[[], Iterator[Block]]
    is_live: bool
