"""A run that is killed at any point, by any signal, resumes: only the interrupted step is lost.

The same command runs repeatedly, as a real process, and is killed at the next point each time; see ``kill_stages.py``.
``benchmarks/kills.py`` tests every point with every signal separately, and random moments.
"""

import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from soundmark.datasets import synthetic
from soundmark.runtime import locks
from support.commands import run_soundmark
from support.kill_stages import Kill, ProcessResult, ResumableRun, metrics

if not hasattr(os, "sched_setaffinity"):
    pytest.skip("these tests need CPU affinity and /proc, as on Linux", allow_module_level=True)

RECIPE = 'name = "small"\nepochs = 2\nbatch_size = 16\n\n[representation]\nname = "mel"\nsize = [24, 24]\n'
CHAINS = {
    "SIGKILL": [
        Kill("half key.json"),
        Kill("written key.json"),
        Kill("features"),
        Kill("clip", 3, target="self"),
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
    "SIGINT and SIGTERM": [
        Kill("half key.json", signal="SIGTERM"),
        Kill("clip", 3, "SIGINT", "group"),
        Kill("rows", signal="SIGTERM"),
        Kill("half journal.jsonl", 1, "SIGINT"),
        Kill("chunk", signal="SIGTERM", target="group"),
        Kill(when="small/random/history.csv", signal="SIGTERM", target="group"),
        Kill("half checkpoint.safetensors", signal="SIGINT"),
        Kill("half model.onnx", signal="SIGTERM"),
        Kill("written model.onnx", signal="SIGINT"),
        Kill("half report.html", signal="SIGINT", target="group"),
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a synthetic data set and a small recipe."""
    folder = tmp_path_factory.mktemp("killed")
    synthetic.write(folder / "city", recordings_per_class=3, clips_per_recording=1)
    (folder / "small.toml").write_text(RECIPE)
    return folder


def new_run(folder: Path, name: str, core: int = 0) -> ResumableRun:
    cores = sorted(os.sched_getaffinity(0))
    options = ["--recipe", str(folder / "small.toml"), "--protocol", "random"]
    return ResumableRun(folder / name, folder / "city", *options, core=cores[core % len(cores)])


@pytest.fixture(scope="module")
def uninterrupted(folder) -> ResumableRun:
    run = new_run(folder, "uninterrupted")
    assert run.execute().faults() == []
    return run


@pytest.fixture(scope="module")
def chains(folder, uninterrupted) -> dict[str, tuple[ResumableRun, list[ProcessResult]]]:
    """Both chains, executed in parallel: the run of each, and the results of its processes; the last is not killed."""

    def execute(number: int, name: str) -> tuple[ResumableRun, list[ProcessResult]]:
        run = new_run(folder, name, core=number)
        return run, [run.execute(kill) for kill in (*CHAINS[name], None)]

    with ThreadPoolExecutor() as pool:
        return dict(zip(CHAINS, pool.map(execute, range(len(CHAINS)), CHAINS), strict=True))


@pytest.mark.long
@pytest.mark.parametrize(
    ("chain", "number"), [(chain, number) for chain, kills in CHAINS.items() for number in range(len(kills))],
    ids=[str(kill) for kills in CHAINS.values() for kill in kills],
)  # fmt: skip
def test_a_kill_loses_at_most_the_interrupted_step(chains, chain, number):
    result = chains[chain][1][number]
    assert result.killed, f"the run did not reach {result.kill}: {result.message}"
    assert result.faults() == []
    if result.kill.signal != "SIGKILL":
        assert result.partial_files == ()
    elif result.kill.point.startswith(("half", "written")) and "journal" not in result.kill.point:
        assert [part.split(".")[1] for part in result.partial_files] == [result.kill.point.split()[1].split(".")[0]]


@pytest.mark.long
@pytest.mark.parametrize("chain", CHAINS)
def test_a_resumed_run_has_the_results_of_an_uninterrupted_run(chains, uninterrupted, chain):
    run, results = chains[chain]
    assert results[-1].status == 0
    assert results[-1].faults() == []
    assert run.differences(uninterrupted) == []


@pytest.mark.long
def test_a_finished_run_is_not_repeated(chains, uninterrupted):
    again = uninterrupted.execute()
    assert (again.status, again.faults(), again.repeated) == (0, [], ())
    assert "already finished" in again.message
    assert "warning" not in again.message


# --- Two runs at once -------------------------------------------------------------------------------------------------


def start_and_pause(run: ResumableRun, kill: Kill) -> subprocess.Popen[str]:
    """Start the command of ``run``, and wait until it is stopped at the point of ``kill``, whose signal is SIGSTOP."""
    process = run.start(kill)
    for _ in range(6000):
        if run.killed_file.exists():
            return process
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"the run did not reach {kill}")


def finish(process: subprocess.Popen[str]) -> str:
    os.killpg(process.pid, signal.SIGCONT)
    _, message = process.communicate(timeout=300)
    assert process.returncode == 0, message
    return message


@pytest.mark.long
def test_a_second_run_on_the_same_output_is_refused(folder, uninterrupted):
    first, second = new_run(folder, "one output", 0), new_run(folder, "second", 1)
    second.arguments = first.arguments
    process = start_and_pause(first, Kill("half checkpoint.safetensors", signal="SIGSTOP"))
    try:
        result = second.execute()
    finally:
        finish(process)
    assert result.status == 2
    assert (
        f'soundmark: another soundmark process is writing to "{first.output}". Wait for it, or choose' in result.message
    )
    assert len([line for line in result.message.splitlines() if line.startswith("soundmark: ")]) == 1
    assert first.differences(uninterrupted) == []


@pytest.mark.long
def test_two_runs_with_separate_outputs_share_the_features(folder, uninterrupted):
    first, second = new_run(folder, "first of two", 0), new_run(folder, "second of two", 1)
    second.cache = first.cache
    process = start_and_pause(first, Kill("chunk", signal="SIGSTOP"))
    waiting = second.start(None)
    message = ""
    while "waiting for another process" not in message:
        message += waiting.stderr.readline()
        assert waiting.poll() is None, message
    finish(process)
    finish(waiting)
    clips = [
        line for run in (first, second) for line in run.work_log.read_text().splitlines() if line.startswith("clip")
    ]
    assert len(clips) == len(set(clips)) == len(first.clip_names)
    assert first.differences(uninterrupted) == second.differences(uninterrupted) == []


@pytest.mark.parametrize(
    "command",
    [
        ["compare", "{city}", "-o", "{output}"],
        ["train", "{city}", "-o", "{output}"],
        ["evaluate", "{city}", "-m", "{model}", "-o", "{output}"],
        ["spectrograms", "{city}", "{output}"],
        ["demo", "-o", "{output}"],
    ],
    ids=lambda command: command[0],
)
def test_a_command_refuses_a_locked_output_folder(folder, uninterrupted, tmp_path, command):
    output, model = tmp_path / "locked", uninterrupted.output / "small" / "random" / "model.onnx"
    arguments = [word.format(city=folder / "city", output=output, model=model) for word in command]
    with locks.exclusive(output):
        done = run_soundmark(*arguments, env={"SOUNDMARK_CACHE": uninterrupted.cache})
    assert done.returncode == 2, done.stderr
    assert f'soundmark: another soundmark process is writing to "{output}"' in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert [path.name for path in output.iterdir()] == [".lock"]


# --- Damage -----------------------------------------------------------------------------------------------------------


# The positions of the damaged bytes are in different chunks, whatever the order of the journal: if a chunk is missing
# in the journal, its rows of the array are not checked.
POSITIONS = {
    "journal.jsonl": lambda content: next(
        content.index(b"checksum", m.start()) for m in re.finditer(rb'^{"number": 0,', content, re.MULTILINE)
    ),
    "features.npy": lambda content: len(content) - 5,
}


def test_damaged_files_are_named_and_restored(uninterrupted):
    """Flip a byte in every file of a finished run; test_damage.py flips every byte of each file."""
    run = uninterrupted
    before = metrics(run.output)
    unit = run.output / "small" / "random"
    files = [unit / name for name in ("predictions.csv", "history.csv", "recipe.toml")]
    files += [run.output / "metrics.json", *run.cache.rglob("features.npy"), *run.cache.rglob("journal.jsonl")]
    originals = {path: path.read_bytes() for path in files}
    for path, content in originals.items():
        position = POSITIONS.get(path.name, lambda content: len(content) // 2)(content)
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
    result = run.execute()
    assert result.status == 0, result.message
    warnings = [line for line in result.message.splitlines() if line.startswith("warning: ")]
    for path in files:
        named = [line for line in warnings if f'"{path}"' in line and "it is kept as" not in line]
        assert len(named) == 1, (path, result.message)
    assert metrics(run.output) == before
    assert [path.name for path in files[:3] if path.read_bytes() != originals[path]] == []
    assert not [line for line in result.repeated if not line.startswith("clip")]
    assert "warning" not in run.execute().message
