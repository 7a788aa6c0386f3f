"""Load of `soundmark serve` on this machine: python benchmarks/server_load.py MODEL CLIP [--parts …] [--minutes N].

1. requests: CLIP is classified by `analyze_files` in-process, with a thread per core, and by the server for 32
   connections, in turn: ROUNDS rounds of TURN_S seconds each. Clips and requests per second, their ratio in each round,
   latencies and errors.
2. live: 50 WebSockets send noise in real time for 30 s: seconds dropped, and how late the last scores are.
3. memory: 4 connections for N minutes (default 10): resident memory of the server and its workers, every minute.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundmark.detection.file_analysis import analyze_files
from soundmark.detection.inputs import Input
from soundmark.detection.settings import DetectionSettings
from soundmark.models.classifier import Model
from soundmark.models.pretrained.named_models import load

CONNECTIONS, ROUNDS, TURN_S = 32, 6, 10.0
SOCKETS, LIVE_S, LIVE_HZ, MESSAGE_S = 50, 30.0, 16_000, 0.1
PARTS = ("requests", "live", "memory")


@dataclass(frozen=True, eq=False)
class Round:
    """What one turn of the library and the next one of the server did."""

    library: float  # clips per second
    server: float  # requests per second
    seconds: np.ndarray  # of the requests
    errors: int

    @property
    def share(self) -> float:
        """The rate of the server, as a share of that of the library."""
        return self.server / self.library


def in_turn(model: Model, clip: Path, port: int, *, rounds: int = ROUNDS, turn_s: float = TURN_S) -> list[Round]:
    """Measure the library and the server one after the other, ``rounds`` times: both get the same load of others."""
    requests(port, clip, 4, 2.0)  # the first requests start the workers
    in_process(model, clip, 2.0)
    found = []
    for _ in range(rounds):
        library, started = in_process(model, clip, turn_s), time.perf_counter()
        seconds, errors = requests(port, clip, CONNECTIONS, turn_s)
        rate = len(seconds) / (time.perf_counter() - started)
        found.append(Round(library, rate, seconds, errors))
    return found


def in_process(model: Model, clip: Path, duration_s: float) -> float:
    """Return the clips per second of `analyze_files`."""
    done, started = 0, time.perf_counter()

    def files() -> Iterator[Input]:
        while time.perf_counter() - started < duration_s:
            yield Input(str(clip), clip.name)

    for _ in analyze_files(model, files(), DetectionSettings()):
        done += 1
    return done / (time.perf_counter() - started)


def post_until(port: int, body: bytes, until: float) -> tuple[list[float], list[int]]:
    """Send requests on one connection; return latencies and statuses."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    seconds, statuses = [], []
    while time.perf_counter() < until:
        started = time.perf_counter()
        connection.request("POST", "/v1/classify", body)
        response = connection.getresponse()
        response.read()
        seconds.append(time.perf_counter() - started)
        statuses.append(response.status)
    return seconds, statuses


def requests(port: int, clip: Path, connections: int, duration_s: float) -> tuple[np.ndarray, int]:
    """Send requests on many connections; return all latencies, and the number of errors."""
    until, body = time.perf_counter() + duration_s, clip.read_bytes()
    with ThreadPoolExecutor(connections) as pool:
        found = list(pool.map(lambda _: post_until(port, body, until), range(connections)))
    errors = sum(status != 200 for _, statuses in found for status in statuses)
    return np.concatenate([seconds for seconds, _ in found]), errors


def listen(port: int, duration_s: float) -> tuple[float, float, float]:
    """Send noise in real time; return seconds analysed, seconds dropped, and the delay of the last scores."""
    from websockets.sync.client import connect

    noise = np.random.default_rng(0).normal(0, 300, round(LIVE_HZ * MESSAGE_S)).astype("<i2").tobytes()
    url = f"ws://127.0.0.1:{port}/v1/listen?rate={LIVE_HZ}&real_time=true"
    delays, ended = [0.0], {}
    with connect(url, max_size=None) as socket:
        started = time.perf_counter()

        def read() -> None:
            for text in socket:
                message = json.loads(text)
                if message["kind"] == "scores":
                    delays.append(time.perf_counter() - started - message["stop_s"][-1])
                elif message["kind"] == "state":
                    ended.update(message)

        reader = threading.Thread(target=read)
        reader.start()
        for n in range(round(duration_s / MESSAGE_S)):
            socket.send(noise)
            time.sleep(max(0.0, started + (n + 1) * MESSAGE_S - time.perf_counter()))
        socket.send(b"")
        reader.join()
    return ended["received_s"], ended["dropped_s"], max(delays)


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in (pid, *children))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def serving(model: str) -> Iterator[tuple[int, int]]:
    """Run the server as a process; give its port and its process id."""
    command = [sys.executable, "-m", "soundmark.cli", "serve", "-m", model, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline().rsplit(":", 1)[1].strip("/\n")), server.pid
        finally:
            server.terminate()


def latencies_ms(rounds: list[Round]) -> np.ndarray:
    """Return the percentiles 50, 95 and 99 of all requests."""
    return 1000 * np.percentile(np.concatenate([one.seconds for one in rounds]), (50, 95, 99))


def print_requests(rounds: list[Round]) -> None:
    """Print the latencies of all rounds, and the median of the rates and of their ratio."""
    p50, p95, p99 = latencies_ms(rounds)
    rate, library = (float(np.median([getattr(one, name) for one in rounds])) for name in ("server", "library"))
    shares = [one.share for one in rounds]
    print("| requests/s | in-process clips/s | share (range) | p50 ms | p95 ms | p99 ms | errors |\n|" + "---|" * 7)
    print(
        f"| {rate:.1f} | {library:.1f} | {np.median(shares):.0%} ({min(shares):.0%}…{max(shares):.0%}) "
        f"| {p50:.0f} | {p95:.0f} | {p99:.0f} | {sum(one.errors for one in rounds)} |"
    )


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("clip", type=Path)
    parser.add_argument("--parts", default=",".join(PARTS), help="parts to run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--turn", type=float, default=TURN_S, help="seconds of a turn (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=10.0)
    arguments = parser.parse_args()
    chosen = arguments.parts.split(",")
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}: expected {', '.join(PARTS)}")
    print(f"{os.cpu_count()} cores, load average before: {os.getloadavg()[0]:.2f}")
    with serving(arguments.model) as (port, pid):
        if "requests" in chosen:
            model = load(arguments.model)
            print_requests(in_turn(model, arguments.clip, port, rounds=arguments.rounds, turn_s=arguments.turn))
        if "live" in chosen:
            with ThreadPoolExecutor(SOCKETS) as pool:
                live = np.array(list(pool.map(lambda _: listen(port, LIVE_S), range(SOCKETS))))
            print("\n| WebSockets | least seconds received | dropped s | longest delay of scores s |\n|" + "---|" * 4)
            print(f"| {SOCKETS} | {live[:, 0].min():.1f} | {live[:, 1].sum():.1f} | {live[:, 2].max():.2f} |")
        if "memory" in chosen:
            print("\n| minute | requests | resident MB |\n|---|---|---|")
            for minute in range(round(arguments.minutes)):
                done, errors = requests(port, arguments.clip, 4, 60.0)
                print(f"| {minute + 1} | {len(done)} ({errors} errors) | {resident_mb(pid):.0f} |", flush=True)
    print(f"\nload average after: {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
