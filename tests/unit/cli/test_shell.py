"""A command that is stopped by a signal, in a separate process."""

import os
import signal
import subprocess
import sys
import time

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
