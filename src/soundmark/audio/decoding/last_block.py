"""Count the frames that the last, incomplete block of a sound in blocks of IMA ADPCM or GSM 6.10 holds.

libsndfile decodes a last block that is cut off as if it were complete: what it lacks is decoded from bytes of the block
before it, so the sound ends with noise that is not in the file.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

SUBTYPES = ("IMA_ADPCM", "GSM610")


MOST_CHUNKS = 1000  # before the samples


@dataclass(frozen=True)
class _Container:
    """How the chunks of a container are written: from ``start``, each with a name of ``name_bytes`` and a size."""

    start: int
    name_bytes: int
    size: str  # of ``struct``
    samples: bytes  # first bytes of the name of the chunk with the samples
    offset: int = 0  # of the samples in that chunk
    inclusive: bool = False  # whether the size is that of the name and the size, too
    multiple: int = 2  # chunks begin at a multiple of this


_WAV = _Container(start=12, name_bytes=4, size="<I", samples=b"data")


_CONTAINERS = {
    "WAV": _WAV,
    "WAVEX": _WAV,
    "W64": _Container(start=40, name_bytes=16, size="<Q", samples=b"data", inclusive=True, multiple=8),
    "AIFF": _Container(start=12, name_bytes=4, size=">I", samples=b"SSND", offset=8),
}


_FIELD = r"^\s*{}\s*:\s*(\d+)"


_GSM_OF_AIFF = (33, 160)  # bytes and frames of a block; of other files, the header declares them


def block_of(container: str, subtype: str, log: str) -> tuple[int, int] | None:
    r"""Return the bytes and the frames of a block, from libsndfile's header ``log``; None if blocks are no concern.

    >>> block_of("WAV", "IMA_ADPCM", "Block Align : 256\nSamples/Block : 505"), block_of("WAV", "PCM_16", "")
    ((256, 505), None)
    """
    if subtype not in SUBTYPES or container not in _CONTAINERS:
        return None
    if container == "AIFF":  # of IMA ADPCM in AIFF, libsndfile decodes complete blocks only
        return _GSM_OF_AIFF if subtype == "GSM610" else None
    found = [re.search(_FIELD.format(name), log, re.MULTILINE) for name in ("Block Align", "Samples/Block")]
    size, frames = (0 if field is None else int(field[1]) for field in found)
    return (size, frames) if size and frames else None


def complete_frames(file: BinaryIO, container: str, subtype: str, channels: int, log: str) -> int | None:
    r"""Return how many frames an open file holds; None if its encoding has no blocks, or it has no samples.

    >>> import io, soundfile
    >>> encoded = io.BytesIO()
    >>> soundfile.write(encoded, [0.0] * 1000, 8000, format="WAV", subtype="IMA_ADPCM")
    >>> log, cut = "Block Align : 256\nSamples/Block : 505", io.BytesIO(encoded.getvalue()[:-100])
    >>> complete_frames(encoded, "WAV", "IMA_ADPCM", 1, log), complete_frames(cut, "WAV", "IMA_ADPCM", 1, log)
    (1010, 810)
    """
    block = block_of(container, subtype, log)
    n_bytes = None if block is None else _sample_bytes(file, _CONTAINERS[container])
    if block is None or n_bytes is None:
        return None
    n_blocks, rest = divmod(n_bytes, block[0])
    last = min(block[1], _ima_frames(rest, channels)) if subtype == "IMA_ADPCM" else 0
    return n_blocks * block[1] + last


def _ima_frames(n_bytes: int, channels: int) -> int:
    """Return the frames in the first bytes of a block: one in its header, then eight for each 4 bytes per channel."""
    groups = n_bytes // (4 * channels)
    return 8 * groups - 7 if groups else 0


def _sample_bytes(file: BinaryIO, container: _Container) -> int | None:
    """Return the number of bytes of samples that are present and declared; None if there are none."""
    end, at = file.seek(0, os.SEEK_END), container.start
    size_bytes = struct.calcsize(container.size)
    head_bytes = container.name_bytes + size_bytes
    for _ in range(MOST_CHUNKS):
        if at > end:  # a damaged size
            return None
        file.seek(at)
        head = file.read(head_bytes)
        if len(head) < head_bytes:
            return None
        size = struct.unpack(container.size, head[-size_bytes:])[0] - (head_bytes if container.inclusive else 0)
        at += head_bytes
        if head.startswith(container.samples):
            return max(0, min(size, end - at) - container.offset)
        at += -(-max(0, size) // container.multiple) * container.multiple
    return None
