"""How a command ends when it is asked to stop, in processes of their own."""

import os
import signal
import subprocess
import sys
import time

import pytest

STOPPED = "soundmark: stopped. What is finished is kept: the same command goes on from there.\n"
IN_A_FINALISER = """
import signal, time
import typer
from soundmark.cli import shell

class Last:
    def __del__(self):
        signal.raise_signal(signal.{0})
        for _ in range(1000):  # the handler runs in here, and what it raises is dropped
            pass

app = typer.Typer()

@app.command()
def work():
    Last()
    print("on", flush=True)
    time.sleep(60)

shell.run(app)
"""
TWICE = """
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
        signal.raise_signal(signal.{0})  # as `timeout` sends it, and an impatient person
        print("left in order", flush=True)

shell.run(app)
"""


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize(("code", "printed"), [(IN_A_FINALISER, "on\n"), (TWICE, "left in order\n")])
def test_a_signal_is_neither_lost_nor_heard_twice(code, printed, name, status):
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code.format(name)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, printed, STOPPED)
    assert time.monotonic() - start < 55  # not by the end of the sleep


AT_WORK = """
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


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="there are no process groups here")
@pytest.mark.parametrize("after_s", [0.05, 0.1, 0.15, 0.2, 0.3, 0.5])
def test_ctrl_c_at_a_terminal_while_workers_start_prints_one_sentence(tmp_path, after_s):
    (tmp_path / "work.py").write_text(AT_WORK)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "work.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    process.stdout.readline()
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGINT)  # a terminal tells all of them
    _, told = process.communicate(timeout=120)
    assert (process.returncode, told) == (130, STOPPED)
