"""Damaged sound files through the API: an answer or a clear refusal, no crash, no 5xx, and memory as before."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from support.fuzzing.sounds import Sounds
from support.serving import running

BATCH = 100  # bodies in memory
WARM_UP = 100


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to measure memory")
@pytest.mark.parametrize("n", [100, pytest.param(20_000, marks=pytest.mark.long(500))])
def test_damaged_sounds_are_answered_or_refused(detector, n):
    target, rng = Sounds(), Random(n)
    seeds = target.seeds()
    with running(detector) as server, ThreadPoolExecutor(4) as pool:

        def statuses(count: int) -> set[int]:
            bodies = (target.mutated(rng.choice(seeds), rng).data or b"x" for _ in range(count))
            return set(pool.map(lambda body: refusal_or_answer(server, body), bodies))

        statuses(WARM_UP)  # until every worker process and buffer is there
        before = resident_mb()
        for _ in range(n // BATCH):
            assert statuses(BATCH) <= {200, 422}
        assert resident_mb() - before < 50
        assert server.get("/healthz").status_code == 200
        assert {path.name for path in server.app.state.context.folder.iterdir()} == {"lock", "model-1.onnx"}


def refusal_or_answer(server, body: bytes) -> int:
    response = server.classify(body, name="a.wav")
    if response.status_code == 422:
        assert '"a.wav"' in response.json()["detail"]
        assert "soundmark-serve" not in response.json()["detail"]
    return response.status_code
