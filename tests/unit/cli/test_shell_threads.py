"""A server computes with one thread of BLAS for each thing that it does at once."""

import os
import subprocess
import sys

import pytest

from soundmark.cli.shell import BLAS_THREADS

CODE = """
import numpy, threadpoolctl
print(*{pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"})
"""


@pytest.mark.parametrize(("chosen", "expected"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "2"}, "2")])
def test_blas_has_one_thread_unless_the_user_has_chosen(chosen: dict[str, str], expected: str):
    env = {name: value for name, value in os.environ.items() if name not in BLAS_THREADS} | chosen
    code = f"from soundmark.cli import shell\nshell.single_blas_thread()\n{CODE}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert int(done.stdout) == min(int(expected), len(os.sched_getaffinity(0)))
