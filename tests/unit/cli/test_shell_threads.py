"""Commands compute with one thread of BLAS, because their own workers use the cores; torch keeps its threads."""

import os
import subprocess
import sys

import pytest

# A worker of the tests has one core, which limits the threads of both.
ALL_CORES = """
import os
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, range(os.cpu_count()))
"""
COMMAND = """
import sys
from soundmark import cli
sys.argv = ["soundmark", "--version"]
try:
    cli.main()
except SystemExit:
    pass
"""
BLAS = """
import numpy, threadpoolctl
print(*{pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"})
"""
TORCH = """
import torch
print(torch.get_num_threads())
"""
VARIABLES = ("OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "OMP_NUM_THREADS")


def last_line(code: str, **chosen: str) -> str:
    """Run code in a process without limits on threads but the ``chosen`` ones; return the last line that it prints."""
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES} | chosen
    done = subprocess.run([sys.executable, "-c", ALL_CORES + code], capture_output=True, text=True, env=env, check=True)
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(("chosen", "expected"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "2"}, "2")])
def test_blas_has_one_thread_unless_the_user_has_chosen(chosen: dict[str, str], expected: str):
    assert last_line(COMMAND + BLAS, **chosen) == expected


def test_torch_has_as_many_threads_as_without_the_command():
    assert last_line(COMMAND + TORCH) == last_line(TORCH)
