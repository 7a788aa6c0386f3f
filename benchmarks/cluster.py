"""What a Dask cluster costs per file: many small files on a cluster of this machine, against its threads.

    python benchmarks/cluster.py UrbanSound8K [--files 10000] [--workers 2] [--repeats 1]

The clips of a data set are linked until there are enough files. They are classified with the pretrained model, into
results folders that must be equal: by as many threads as there are workers, and by the workers of a cluster, in turn.
The start of the cluster, in which its workers import soundmark and load the model, is timed on its own. The load of the
machine is printed before and after each run: other work makes wall times useless, and hardly changes processor times.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from soundmark.detection.inputs import Input
from soundmark.detection.results_folder import analyze_to_folder
from soundmark.detection.settings import DetectionSettings
from soundmark.models.pretrained import named_models
from soundmark.runtime import parallel


def linked_files(dataset: Path, folder: Path, n: int) -> list[Input]:
    """Links to the clips of a data set, in folders of a thousand."""
    clips = sorted((dataset / "audio").rglob("*.wav"))
    files = []
    for number in range(n):
        path = folder / str(number // 1000) / f"{number:06}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        source = clips[number % len(clips)]
        try:
            os.link(source, path)
        except OSError:  # another file system
            path.symlink_to(source)
        files.append(Input(str(path), path.name))
    return files


def contents(folder: Path) -> dict[str, bytes]:
    """The results, without the journal, whose lines are in another order."""
    files = (path for path in folder.rglob("*.csv") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def cpu_seconds(cluster: Any) -> float:
    """The processor time of this process and of all workers."""
    return time.process_time() + sum(cluster.client.run(time.process_time).values())


def timed(name: str, cluster: Any, run: Callable[[], object]) -> tuple[float, float]:
    """Run, and return the wall time and the processor time in seconds."""
    load, own_s, cpu_s, start = os.getloadavg()[0], time.process_time(), cpu_seconds(cluster), time.perf_counter()
    run()
    wall_s, own_s, cpu_s = time.perf_counter() - start, time.process_time() - own_s, cpu_seconds(cluster) - cpu_s
    loads = f"load {load:.1f} to {os.getloadavg()[0]:.1f}"
    print(f"  {name}: {wall_s:.1f} s; processor {cpu_s:.1f} s, {own_s:.1f} s in this process ({loads})", flush=True)
    return wall_s, cpu_s


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=parallel.available_cores())
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    model, settings = named_models.load("audioset"), DetectionSettings()
    with tempfile.TemporaryDirectory(dir=arguments.dataset.parent) as temporary:
        folder = Path(temporary)
        files = linked_files(arguments.dataset.absolute(), folder / "files", arguments.files)
        print(f"{len(files):,} files, {arguments.workers} threads or workers, {parallel.available_cores()} cores")
        start = time.perf_counter()
        with parallel.workers("local", arguments.workers) as cluster:
            analyze_to_folder(model, files[:200], settings, folder / "start", jobs=cluster)
            print(f"  start of the cluster: {time.perf_counter() - start:.1f} s")
            threads, workers = [], []
            for repeat in range(arguments.repeats):
                here, there = folder / f"threads-{repeat}", folder / f"cluster-{repeat}"
                run = lambda out, jobs: lambda: analyze_to_folder(model, files, settings, out, jobs=jobs)  # noqa: E731
                threads.append(timed("threads", cluster, run(here, arguments.workers)))
                workers.append(timed("cluster", cluster, run(there, cluster)))
                assert contents(here) == contents(there), "the results differ"
    for kind, what in enumerate(("wall time", "processor time")):
        here_s, there_s = (median(run[kind] for run in runs) for runs in (threads, workers))
        extra_ms = 1000 * (there_s - here_s) / len(files)
        print(f"{what}: cluster / threads {there_s / here_s:.3f}, {extra_ms:+.2f} ms per file")


if __name__ == "__main__":
    main()
