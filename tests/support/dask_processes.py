"""A Dask cluster for the tests: a scheduler and workers in processes of their own, which a test may kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

START_S = 120  # a worker imports all of Dask, beside other tests
REGISTERED = "Registered to:"  # in the log of a worker, once its scheduler has answered


class Cluster:
    """A scheduler at ``address``, and its ``workers`` in the order of their start."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.workers = folder, []
        self.scheduler = self._start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", self._file)
        self._wait(self.scheduler, self._find_address)

    def _find_address(self) -> bool:
        try:
            self.address = str(json.loads(self._file.read_text())["address"])
        except (OSError, ValueError, KeyError):  # not there yet, or half written
            return False
        return True

    @property
    def _file(self) -> Path:
        return self._folder / "scheduler.json"

    def start_workers(self, count: int = 1, **environment: str) -> None:
        """Start workers of one thread, without nanny (a killed one stays dead); wait until all are registered."""
        options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", self._folder)
        for _ in range(count):
            self.workers.append(self._start("worker", self.address, *options, environment=environment))
        self._wait(self.workers[-1], lambda: self.log().count(REGISTERED) == len(self.workers))

    def _wait(self, process: subprocess.Popen, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(self.log())
            time.sleep(0.05)

    def log(self) -> str:
        """The output of all processes."""
        return "\n".join(path.read_text() for path in sorted(self._folder.glob("*.log")))

    def kill(self, process: subprocess.Popen) -> None:
        """Kill a process, without any chance to say goodbye."""
        process.send_signal(signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        for process in [*self.workers, self.scheduler]:
            if process.poll() is None:
                self.kill(process)

    def _start(self, *words: object, environment: Mapping[str, str] | None = None) -> subprocess.Popen:
        log = self._folder / f"{len(list(self._folder.glob('*.log')))}-{words[0]}.log"
        command = [sys.executable, "-m", "distributed.cli.dask_" + str(words[0]), *map(str, words[1:])]
        with log.open("wb") as output:
            return subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
                start_new_session=True,
            )


@contextmanager
def dask_cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """Give a cluster with this many workers; its processes are killed afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(folder)
    try:
        if workers:
            cluster.start_workers(workers)
        yield cluster
    finally:
        cluster.close()
