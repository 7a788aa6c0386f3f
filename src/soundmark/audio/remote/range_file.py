"""An open file whose blocks are fetched when they are read; a few of them stay in memory."""

from __future__ import annotations

import io
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

BLOCK_BYTES = 1 << 20


BLOCKS_IN_MEMORY = 8


TRIES = 4


WAIT_S = 0.5  # before the second attempt; doubled for each further one


class RangeFile(io.RawIOBase):
    """A file of ``size`` bytes called ``name``; ``fetch(start, stop)`` returns its bytes from start to stop.

    An error does not leave ``readinto``: libsndfile calls it, and would ignore the exception. The file seems to end,
    and ``error`` says why.

    >>> file = RangeFile("a.bin", 10, lambda start, stop: b"0123456789"[start:stop])
    >>> file.seek(4), file.read(3), file.tell(), file.error
    (4, b'456', 7, None)
    """

    def __init__(
        self,
        name: str,
        size: int,
        fetch: Callable[[int, int], bytes],
        *,
        head: bytes = b"",
        is_same: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__()
        self.name, self.size, self._fetch, self._is_same = name, size, fetch, is_same
        self.error: BaseException | None = None
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        if len(head) == min(size, BLOCK_BYTES):
            self._blocks[0] = head

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position, which is never negative; a damaged header can ask for any."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset >= 0:
            self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read into ``buffer``, up to the end of a block; return the number of bytes."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and self._position < self.size and self.error is None:
            number, offset = divmod(self._position, BLOCK_BYTES)
            part = self._block(number)[offset : offset + len(view) - done]
            view[done : done + len(part)] = part
            done += len(part)
            self._position += len(part)
        return done

    def check(self) -> None:
        """Check, after reading, that all blocks could be fetched, and are of one version of the file.

        Raises:
            OSError: they could not, or are not: ``is_same`` says whether it is still the file that was opened.

        >>> RangeFile("a.bin", 10, lambda start, stop: b"", is_same=lambda: False).check()
        Traceback (most recent call last):
        soundmark.audio.remote.range_file.PermanentError: it changed while it was read
        """
        if self.error is not None:
            raise self.error
        if not self._is_same():
            raise PermanentError("it changed while it was read")

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        start, stop = number * BLOCK_BYTES, min(self.size, (number + 1) * BLOCK_BYTES)
        for attempt in range(TRIES):
            try:
                found = self._fetch(start, stop)
                if len(found) != stop - start:
                    raise OSError(f"{len(found)} of {stop - start} bytes arrived")
                break
            except PermanentError as error:
                self.error = error
                return b""
            except Exception as error:  # of any library below: see the class
                if attempt == TRIES - 1:
                    self.error = error
                    return b""
                time.sleep(WAIT_S * 2**attempt)
        self._blocks[number] = found
        while len(self._blocks) > BLOCKS_IN_MEMORY:
            self._blocks.popitem(last=False)
        return found


class PermanentError(OSError):
    """Another attempt cannot succeed."""
