"""A run that is killed anywhere, by whatever signal, is gone on with: nothing is lost but the step that was cut.

The same command runs over and over, each time killed at the next point, as real processes; see ``kill_stages.py``.
``benchmarks/kills.py`` tries every point with every signal by itself, and random moments.
"""

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from soundmark.datasets import synthetic
from soundmark.runtime import locks
from support.kill_stages import Ended, Kill, Stage, figures

if not hasattr(os, "sched_setaffinity"):
    pytest.skip("the battery looks at processes as Linux has them", allow_module_level=True)

RECIPE = 'name = "small"\nepochs = 2\nbatch_size = 16\n\n[representation]\nname = "mel"\nsize = [24, 24]\n'
CHAINS = {
    "killed": [
        Kill("half key.json"),
        Kill("written key.json"),
        Kill("features"),
        Kill("clip", 3, whom="here"),
        Kill("clip", 2),
        Kill("rows"),
        Kill("chunk"),
        Kill("half journal.jsonl", 2),
        Kill("batch", 2),
        Kill("half history.csv"),
        Kill("half checkpoint.safetensors"),
        Kill("written checkpoint.safetensors"),
        Kill("renamed checkpoint.safetensors"),
        Kill("batch"),
        Kill("half recipe.toml"),
        Kill("half predictions.csv"),
        Kill("half model.onnx"),
        Kill("renamed model.onnx"),
        Kill("half metrics.json"),
        Kill("written metrics.json"),
        Kill("half report.html"),
    ],
    "asked to stop": [
        Kill("half key.json", signal="SIGTERM"),
        Kill("clip", 3, "SIGINT", "group"),
        Kill("rows", signal="SIGTERM"),
        Kill("half journal.jsonl", 1, "SIGINT"),
        Kill("chunk", signal="SIGTERM", whom="group"),
        Kill(when="small/random/history.csv", signal="SIGTERM", whom="group"),
        Kill("half checkpoint.safetensors", signal="SIGINT"),
        Kill("half model.onnx", signal="SIGTERM"),
        Kill("written model.onnx", signal="SIGINT"),
        Kill("half report.html", signal="SIGINT", whom="group"),
    ],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    synthetic.write(folder / "city", recordings_per_class=3, clips_per_recording=1)
    (folder / "small.toml").write_text(RECIPE)
    return folder


def stage(place: Path, name: str, core: int = 0) -> Stage:
    cores = sorted(os.sched_getaffinity(0))
    options = ["--recipe", str(place / "small.toml"), "--protocol", "random"]
    return Stage(place / name, place / "city", *options, core=cores[core % len(cores)])


@pytest.fixture(scope="module")
def whole(place) -> Stage:
    uninterrupted = stage(place, "whole")
    assert uninterrupted.go().faults() == []
    return uninterrupted


@pytest.fixture(scope="module")
def chains(place, whole) -> dict[str, tuple[Stage, list[Ended]]]:
    """Both chains, side by side: where each ran, and how each of its processes ended, the last one unharmed."""

    def run(number: int, name: str) -> tuple[Stage, list[Ended]]:
        chained = stage(place, name, core=number)
        return chained, [chained.go(kill) for kill in (*CHAINS[name], None)]

    with ThreadPoolExecutor() as pool:
        return dict(zip(CHAINS, pool.map(run, range(len(CHAINS)), CHAINS), strict=True))


@pytest.mark.parametrize(
    ("chain", "number"), [(chain, number) for chain, kills in CHAINS.items() for number in range(len(kills))],
    ids=[str(kill) for kills in CHAINS.values() for kill in kills],
)  # fmt: skip
def test_no_more_is_lost_than_the_step_that_was_cut(chains, chain, number):
    ended = chains[chain][1][number]
    assert ended.reached, f"the run never came to {ended.kill}: {ended.message}"
    assert ended.faults() == []
    if ended.kill.signal != "SIGKILL":
        assert ended.parts == ()
    elif ended.kill.point.startswith(("half", "written")) and "journal" not in ended.kill.point:
        assert [part.split(".")[1] for part in ended.parts] == [ended.kill.point.split()[1].split(".")[0]]


@pytest.mark.parametrize("chain", CHAINS)
def test_the_end_is_that_of_an_uninterrupted_run(chains, whole, chain):
    chained, ended = chains[chain]
    assert ended[-1].status == 0
    assert ended[-1].faults() == []
    assert chained.differences(whole) == []


def test_a_finished_run_is_only_looked_at(chains, whole):
    again = whole.go()
    assert (again.status, again.faults(), again.again) == (0, [], ())
    assert "done before" in again.message
    assert "warning" not in again.message


# --- Two at once ------------------------------------------------------------------------------------------------------


def stopped_at(stage: Stage, kill: Kill) -> subprocess.Popen[str]:
    """The command of ``stage``, started and held where ``kill`` says."""
    process = stage.start(kill)
    for _ in range(6000):
        if stage.killed.exists():
            return process
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"never came to {kill}")


def finish(process: subprocess.Popen[str]) -> str:
    os.killpg(process.pid, signal.SIGCONT)
    _, message = process.communicate(timeout=300)
    assert process.returncode == 0, message
    return message


def test_the_second_of_two_on_one_output_says_so_and_stops(place, whole):
    first, second = stage(place, "one output", 0), stage(place, "second", 1)
    second.arguments = first.arguments
    process = stopped_at(first, Kill("half checkpoint.safetensors", signal="SIGSTOP"))
    try:
        ended = second.go()
    finally:
        finish(process)
    assert ended.status == 2
    assert f'soundmark: another soundmark is writing to "{first.run}". Wait for it, or choose' in ended.message
    assert len([line for line in ended.message.splitlines() if line.startswith("soundmark: ")]) == 1
    assert first.differences(whole) == []


def test_two_with_outputs_of_their_own_share_the_features(place, whole):
    first, second = stage(place, "first of two", 0), stage(place, "second of two", 1)
    second.cache = first.cache
    process = stopped_at(first, Kill("chunk", signal="SIGSTOP"))
    waiting = second.start(None)
    message = ""
    while "waiting for another run" not in message:
        message += waiting.stderr.readline()
        assert waiting.poll() is None, message
    finish(process)
    finish(waiting)
    clips = [line for s in (first, second) for line in s.work.read_text().splitlines() if line.startswith("clip")]
    assert len(clips) == len(set(clips)) == len(first.names)
    assert first.differences(whole) == second.differences(whole) == []


@pytest.mark.parametrize(
    "command",
    [
        ["compare", "{city}", "-o", "{held}"],
        ["train", "{city}", "-o", "{held}"],
        ["evaluate", "{city}", "-m", "{model}", "-o", "{held}"],
        ["spectrograms", "{city}", "{held}"],
        ["demo", "-o", "{held}"],
    ],
    ids=lambda command: command[0],
)
def test_no_command_writes_where_another_is_writing(place, whole, tmp_path, command):
    told = {"city": place / "city", "held": tmp_path / "held", "model": whole.run / "small" / "random" / "model.onnx"}
    arguments = [word.format(**told) for word in command]
    with locks.exclusive(tmp_path / "held"):
        done = subprocess.run(
            [sys.executable, "-m", "soundmark.cli", *arguments],
            capture_output=True, text=True, timeout=300, env={**os.environ, "SOUNDMARK_CACHE": str(whole.cache)},
        )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert f'soundmark: another soundmark is writing to "{tmp_path / "held"}"' in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert [path.name for path in (tmp_path / "held").iterdir()] == [".lock"]


# --- Damage -----------------------------------------------------------------------------------------------------------


# In different chunks, whatever their order in the journal: of a chunk that is lost there, the array is not looked at.
PLACES = {
    "journal.jsonl": lambda content: next(
        content.index(b"checksum", m.start()) for m in re.finditer(rb'^{"number": 0,', content, re.MULTILINE)
    ),
    "features.npy": lambda content: len(content) - 5,
}


def test_what_was_damaged_since_is_named_and_mended(place, whole):
    """A byte flipped in every file of a finished run: see test_damage.py for every byte of each."""
    before = figures(whole.run)
    unit = whole.run / "small" / "random"
    files = [unit / name for name in ("predictions.csv", "history.csv", "recipe.toml")]
    files += [whole.run / "metrics.json", *whole.cache.rglob("features.npy"), *whole.cache.rglob("journal.jsonl")]
    kept = {path: path.read_bytes() for path in files}
    for path, content in kept.items():
        place = PLACES.get(path.name, lambda content: len(content) // 2)(content)
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    ended = whole.go()
    assert ended.status == 0, ended.message
    warnings = [line for line in ended.message.splitlines() if line.startswith("warning: ")]
    for path in files:
        assert len([line for line in warnings if f'"{path}"' in line]) == 1, (path, ended.message)
    assert figures(whole.run) == before
    assert [path.name for path in files[:3] if path.read_bytes() != kept[path]] == []
    assert not [line for line in ended.again if not line.startswith("clip")]
    assert "warning" not in whole.go().message
