"""Freed memory is reused: arrays that come and go cost no page faults."""

import platform
import subprocess
import sys

import pytest

ARRAYS = """
import resource
import numpy as np
from soundmark.runtime.parallel import allocator

{prepare}
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    arrays = [np.ones(2 << 20, np.uint8) for _ in range(8)]
    del arrays
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(prepare: str, **environment: str) -> int:
    script = ARRAYS.format(prepare=prepare)
    return int(
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
        ).stdout
    )


glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt belongs to glibc")


@glibc
def test_freed_memory_is_reused():
    fixed = {"MALLOC_MMAP_THRESHOLD_": "1000000"}  # as for blocks that are larger than glibc's own limit of 32 MB
    assert page_faults("allocator.keep_freed_memory()", **fixed) < 0.1 * page_faults("", **fixed)


@glibc
def test_the_trimming_of_dask_workers_is_undone():
    dask = {"MALLOC_TRIM_THRESHOLD_": "65536"}
    assert page_faults("allocator.undo_trimming()", **dask) < 0.1 * page_faults("", **dask)
