"""How glibc's ``malloc`` treats freed memory: by default it returns large blocks to the system at once.

The next array of the same size then pays a page fault for every 4 kB. Where arrays of megabytes come and go all the
time, as in training, that costs more than a quarter of the processor time. Elsewhere than on glibc, nothing is changed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache

# Parameters of mallopt, from malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4


@cache
def keep_freed_memory() -> None:
    """Reuse all freed memory in this process, for its whole life: for processes that train.

    An epoch of the notebook's CNN takes 9.0 instead of 12.2 s of processor time, and 970 instead of 780 MB
    (1 000 clips, 64 × 64).

    >>> keep_freed_memory()
    """
    _set({M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 1 << 30, M_TOP_PAD: 64 << 20})


@cache
def undo_trimming() -> None:
    """Undo the setting with which Dask starts its workers, which returns every freed block to the system.

    It doubled the time of `classify`. The values are those that glibc reaches by itself.

    >>> undo_trimming()
    """
    if "MALLOC_TRIM_THRESHOLD_" in os.environ:
        _set({M_MMAP_THRESHOLD: 32 << 20, M_TRIM_THRESHOLD: 64 << 20})


def _set(values: dict[int, int]) -> None:
    import ctypes

    with suppress(OSError, AttributeError, TypeError):  # not glibc
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in values.items():
            mallopt(parameter, value)
