"""How a command ends when it is asked to stop, in processes of their own."""

import subprocess
import sys
import time

import pytest

STOPPED = "soundmark: stopped. What is finished is kept: the same command goes on from there.\n"
IN_A_FINALISER = """
import signal, time
import typer
from soundmark import shell

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
from soundmark import shell

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
