"""Load of `soundmark serve` on this machine: python benchmarks/server_load.py MODEL CLIP [--minutes N].

1. Requests: 32 connections send CLIP for 60 s; requests per second, latencies and errors, as a share of what
   `analyze_files` does in-process, with as many threads.
2. Live: 50 WebSockets send noise in real time for 30 s: seconds dropped, and how late the last scores are.
3. Memory: 4 connections for N minutes (default 10): resident memory of the server and its workers, every minute.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from soundmark.detection.file_analysis import analyze_files
from soundmark.detection.inputs import Input
from soundmark.detection.settings import DetectionSettings
from soundmark.models.pretrained.named_models import load

CONNECTIONS, REQUESTS_S = 32, 60.0
SOCKETS, LIVE_S, LIVE_HZ, MESSAGE_S = 50, 30.0, 16_000, 0.1
IN_PROCESS_S = 20.0


def in_process(model: str, clip: Path) -> float:
    """Return the clips per second of `analyze_files`."""
    loaded, done, started = load(model), 0, time.perf_counter()

    def files():
        while time.perf_counter() - started < IN_PROCESS_S:
            yield Input(str(clip), clip.name)

    for _ in analyze_files(loaded, files(), DetectionSettings()):
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


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("clip", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load average before: {os.getloadavg()[0]:.2f}")
    command = [sys.executable, "-m", "soundmark.cli", "serve", "-m", arguments.model, "--port", "0"]
    library = in_process(arguments.model, arguments.clip)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline().rsplit(":", 1)[1].strip("/\n"))
        time.sleep(1.0)
        requests(port, arguments.clip, 4, 2.0)
        seconds, errors = requests(port, arguments.clip, CONNECTIONS, REQUESTS_S)
        rate = len(seconds) / REQUESTS_S
        p50, p95, p99 = 1000 * np.percentile(seconds, (50, 95, 99))
        print("| requests/s | p50 ms | p95 ms | p99 ms | errors | in-process clips/s | share |\n|" + "---|" * 7)
        print(f"| {rate:.1f} | {p50:.0f} | {p95:.0f} | {p99:.0f} | {errors} | {library:.1f} | {rate / library:.0%} |")
        with ThreadPoolExecutor(SOCKETS) as pool:
            live = np.array(list(pool.map(lambda _: listen(port, LIVE_S), range(SOCKETS))))
        print("\n| WebSockets | least seconds received | dropped s | longest delay of scores s |\n|" + "---|" * 4)
        print(f"| {SOCKETS} | {live[:, 0].min():.1f} | {live[:, 1].sum():.1f} | {live[:, 2].max():.2f} |")
        print("\n| minute | requests | resident MB |\n|---|---|---|")
        for minute in range(round(arguments.minutes)):
            done, errors = requests(port, arguments.clip, 4, 60.0)
            print(f"| {minute + 1} | {len(done)} ({errors} errors) | {resident_mb(server.pid):.0f} |", flush=True)
        server.terminate()


if __name__ == "__main__":
    main()
