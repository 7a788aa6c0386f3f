"""A Dask cluster for the tests: a scheduler and workers in processes of their own, which a test may kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

START_S = 60


class Cluster:
    """A scheduler at ``address``, and its ``workers`` in the order of their start."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.workers = folder, []
        self.scheduler = self._start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", self._file)
        while not self._file.exists():
            assert self.scheduler.poll() is None, self.log()
            time.sleep(0.05)
        import json

        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                self.address = str(json.loads(self._file.read_text())["address"])
                return
            except (ValueError, KeyError):
                time.sleep(0.05)
        raise TimeoutError(self.log())

    @property
    def _file(self) -> Path:
        return self._folder / "scheduler.json"

    def start_worker(self, **environment: str) -> subprocess.Popen:
        """Start a worker with one thread and no nanny, so that a killed one stays dead; return its process."""
        options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", self._folder)
        worker = self._start("worker", self.address, *options, environment=environment)
        self.workers.append(worker)
        return worker

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
        for _ in range(workers):
            cluster.start_worker()
        yield cluster
    finally:
        cluster.close()
