"""A command that is stopped by a signal, in a separate process."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

STOPPED = "soundmark: stopped. Finished work is kept: run the same command again to resume.\n"
SIGNAL_IN_A_FINALISER = """
import signal, time
import typer
from soundmark.cli import shell

class Finalised:
    def __del__(self):
        signal.raise_signal(signal.{0})
        for _ in range(1000):  # the handler runs here, and Python drops its exception
            pass

app = typer.Typer()

@app.command()
def work():
    Finalised()
    print("on", flush=True)
    time.sleep(60)

shell.run(app)
"""
TWO_SIGNALS = """
import signal, time
import typer
from soundmark.cli import shell

app = typer.Typer()

@app.command()
def work():
    try:
        signal.raise_signal(signal.{0})
        time.sleep(60)
    finally:
        signal.raise_signal(signal.{0})  # `timeout` sends two signals
        print("cleaned up", flush=True)

shell.run(app)
"""


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize(("code", "printed"), [(SIGNAL_IN_A_FINALISER, "on\n"), (TWO_SIGNALS, "cleaned up\n")])
def test_a_signal_is_handled_exactly_once(code, printed, name, status):
    done = subprocess.run(
        [sys.executable, "-c", code.format(name)], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, printed, STOPPED)


WITH_WORKERS = """
import time
import typer
from soundmark.cli import shell
from soundmark.runtime import parallel

app = typer.Typer()

@app.command()
def work():
    print("on", flush=True)
    list(parallel.map_unordered(time.sleep, [2.0, 2.0, 2.0], jobs=2))

if __name__ == "__main__":
    shell.run(app)
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no process groups on this system")
@pytest.mark.parametrize("after_s", [0.05, 0.1, 0.15, 0.2, 0.3, 0.5])
def test_ctrl_c_while_workers_start_prints_one_sentence(tmp_path, after_s):
    (tmp_path / "work.py").write_text(WITH_WORKERS)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "work.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    process.stdout.readline()
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGINT)  # a terminal signals the process group
    _, message = process.communicate(timeout=120)
    assert (process.returncode, message) == (130, STOPPED)


UNFORESEEN = """
import errno
import typer
from soundmark.cli import help_page, shell
from soundmark.errors import processing

app = typer.Typer()

@app.command(cls=help_page.Command)
def work():
    with processing('the folder'), processing('"street.wav"'):
        raise {0}

shell.run(app)
"""


def run_code(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=50, check=False
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            'ValueError("cannot convert float NaN to integer")',
            'unexpected error while processing "street.wav": ValueError: cannot convert float NaN to integer. This is '
            "a bug in soundmark: please report it, with the command and what it prints with --debug.",
        ),
        (
            "EOFError",  # which typer replaces
            'unexpected error while processing "street.wav": EOFError. This is a bug in soundmark: please report it, '
            "with the command and what it prints with --debug.",
        ),
        (
            "MemoryError",
            'not enough memory while processing "street.wav". Use fewer workers (--jobs 1), or close other programs.',
        ),
        (
            'OSError(errno.ENOSPC, "No space left on device", "run/journal.jsonl")',
            'cannot write "run/journal.jsonl": No space left on device. Free some disk space, or choose another path '
            "with -o.",
        ),
        (
            'OSError(errno.ENOSPC, "No space left on device")',
            'cannot write a file while processing "street.wav": No space left on device. Free some disk space, or '
            "choose another path with -o.",
        ),
        (
            'FileExistsError(errno.EEXIST, "File exists", "/home/me/.bash_completions")',
            'cannot use "/home/me/.bash_completions" while processing "street.wav": File exists. Check the path and '
            "its permissions.",
        ),
        (
            'PermissionError(errno.EACCES, "Permission denied", "a.part", None, "a.csv")',
            'cannot use "a.csv" while processing "street.wav": Permission denied. Check the path and its permissions.',
        ),
    ],
)
def test_an_unforeseen_error_is_one_message_that_names_the_input(error, message):
    done = run_code(UNFORESEEN.format(error))
    assert (done.returncode, done.stderr.strip(), done.stdout) == (2, f"soundmark: {message}", "")


def test_debug_prints_the_traceback_before_the_message():
    done = run_code(UNFORESEEN.format("ValueError(7)"), "--debug")
    lines = done.stderr.splitlines()
    assert done.returncode == 2
    assert lines[0] == "Traceback (most recent call last):"
    assert "ValueError: 7" in lines
    assert 'while processing "street.wav"' in lines
    assert lines[-1].startswith('soundmark: unexpected error while processing "street.wav": ValueError: 7.')


AFTER_A_SIGNAL = """
import signal
import typer
from soundmark.cli import shell

app = typer.Typer()

@app.command()
def work():
    try:
        signal.raise_signal(signal.SIGTERM)
    except BaseException as error:
        {0}

shell.run(app)
"""


@pytest.mark.parametrize(
    "replacement",
    [
        'raise ImportError("initialization failed") from error',
        'raise RuntimeError("returned a result with an exception set")',
        "raise SystemExit(1)",
        "raise KeyboardInterrupt",
    ],
)
def test_an_exception_after_a_signal_means_stopped(replacement):
    done = run_code(AFTER_A_SIGNAL.format(replacement))
    assert (done.returncode, done.stderr) == (143, STOPPED)


SIGNAL_AFTER_THE_MESSAGE = """
import signal
import typer
from soundmark.cli import console, shell
from soundmark.errors import BundleError

app = typer.Typer()

@app.command()
def work():
    raise BundleError("the last message.")

fail = console.fail

def fail_and_signal(text):
    fail(text)
    signal.raise_signal(signal.SIGINT)

console.fail = fail_and_signal
shell.run(app)
"""


def test_a_signal_after_an_error_message_adds_no_second_one():
    done = run_code(SIGNAL_AFTER_THE_MESSAGE)
    assert (done.returncode, done.stderr) == (2, "soundmark: the last message.\n")


def test_an_error_in_a_thread_or_a_finaliser_is_one_warning():
    code = """
import threading
import typer
from soundmark.cli import shell

app = typer.Typer()

class Finalised:
    def __del__(self):
        raise ValueError("finaliser")

@app.command()
def work():
    Finalised()
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    print("on")

shell.run(app)
"""
    done = run_code(code)
    assert (done.returncode, done.stdout) == (0, "on\n")
    first, second = done.stderr.splitlines()
    assert first.startswith("warning: unexpected error: ValueError: finaliser. This is a bug")
    assert second.startswith("warning: unexpected error: ZeroDivisionError: division by zero. This is a bug")


@pytest.mark.skipif(os.name != "posix", reason="pipes of a shell")
def test_a_closed_pipe_is_status_141():
    code = """
import typer
from soundmark.cli import console, shell

app = typer.Typer()

@app.command()
def work():
    for _ in range(100_000):
        console.print_result("a line")

shell.run(app)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(10)
    process.stdout.close()
    assert (process.wait(timeout=50), process.stderr.read()) == (141, b"")
    process.stderr.close()


def handles_signals(process):
    """Whether the process has a handler for SIGTERM, which it installs after that for SIGINT, or has ended."""
    if process.poll() is not None:
        return True
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    return bool(caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def stopped_after(delay_s, number, tmp_path):
    """Send a signal to a real command, ``delay_s`` after its start; return exit status and messages."""
    process = subprocess.Popen(
        [sys.executable, "-m", "soundmark.cli", "explain", "none.wav", "-m", "none.onnx", "-o", "none.png"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    while not handles_signals(process):  # earlier, Python itself answers Ctrl-C
        time.sleep(0.001)
    with suppress(subprocess.TimeoutExpired):  # raised by a process that is still running
        process.wait(delay_s)
    process.send_signal(number)
    _, message = process.communicate(timeout=60)
    return process.returncode, message


def check_stopped(status, message, number):
    if status == 2:  # it ended before the signal came
        assert message == 'soundmark: the model "none.onnx" does not exist.\n'
    else:
        assert (status, message) == (128 + number, STOPPED)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no list of handled signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.1])
def test_a_signal_during_the_imports_is_one_message(delay_s, number, tmp_path):
    check_stopped(*stopped_after(delay_s, number, tmp_path), number)


@pytest.mark.long(200)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no list of handled signals")
def test_many_signals_at_random_moments_are_each_one_message(tmp_path):
    moments = random.Random(13)
    started_s = time.monotonic()
    assert stopped_after(60.0, signal.SIGTERM, tmp_path)[0] == 2
    run_s = time.monotonic() - started_s
    stopped = 0
    for _ in range(200):
        number = moments.choice([signal.SIGINT, signal.SIGTERM])
        status, message = stopped_after(moments.uniform(0, run_s), number, tmp_path)
        check_stopped(status, message, number)
        stopped += status != 2
    assert stopped > 50


@pytest.mark.parametrize("module", ["soundmark", "soundmark.cli"])
def test_the_package_runs_as_a_module(module):
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("soundmark ")
