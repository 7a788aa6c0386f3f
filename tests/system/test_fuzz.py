"""A short run of the fuzzer for each kind of input, and tests that it reports what is wrong.

``benchmarks/fuzz.py`` runs it for longer and with other seeds.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"
INPUTS = {"sounds": 600, "models": 300, "cards": 120, "tables": 400, "recipes": 800, "annotations": 300, "indexes": 200}
"""Inputs of a short run: a few seconds."""


def fuzz(*options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, FUZZ, *map(str, options)], capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("target", INPUTS)
def test_damaged_input_gives_a_valid_result_or_a_clear_message(target, tmp_path):
    done = fuzz("--target", target, "--inputs", INPUTS[target], "--seed", 7, "--findings", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{target} seed 7: {INPUTS[target]:,} inputs" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
@pytest.mark.parametrize("target", INPUTS)
def test_more_damaged_input(target, tmp_path):
    done = fuzz("--target", target, "--seconds", 30, "--seed", 8, "--findings", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_fuzzer_reports_each_kind_of_fault_with_its_input(tmp_path):
    done = fuzz("--target", "faulty", "--inputs", 12, "--seed", 367, "--findings", tmp_path, "--fast")
    assert done.returncode == 1, done.stdout + done.stderr
    for finding in (
        "message: the message is not one printable line | faulty.check",
        "message: the message is too long | faulty.check",
        "message: the message does not name the input | faulty.check",
        "error: KeyError | faulty.check",
        "wrong answer: WrongAnswerError two and two are five| faulty.check",
        "crash SIGSEGV in open",
        "crash exit status 3 in open",
        "hang in wait",
        "memory accepted",
    ):
        assert finding in done.stdout
    assert "12 inputs" in done.stdout
    saved = [json.loads((each / "finding.txt").read_text().splitlines()[0]) for each in tmp_path.iterdir()]
    assert len(saved) == 9
    for about in saved:
        content = (tmp_path / f"faulty-367-{about['index']}" / "in.txt").read_text()
        assert (content, about["kind"]) in {
            ("lines", "message"), ("long", "message"), ("nameless", "message"), ("error", "error"), ("crash", "crash"),
            ("answer", "wrong answer"), ("exit", "crash"), ("hang", "hang"), ("memory", "memory"),
        }  # fmt: skip


def test_an_input_depends_on_seed_and_index_only(tmp_path):
    for copy, seed in (("a", 1), ("b", 1), ("c", 2)):
        done = fuzz("--target", "recipes", "--seed", seed, "--index", 3, "--findings", tmp_path / copy)
        assert done.returncode == 0, done.stdout + done.stderr
    first, second, other = ([path.read_bytes() for path in (tmp_path / copy).rglob("recipe.*")] for copy in "abc")
    assert first == second != other
