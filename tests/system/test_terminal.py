"""Commands in a terminal of 80 columns: no line is longer, no word is broken."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from soundmark import audio
from support.sounds import RATE_HZ, wave

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals on this system")

COLUMNS = 80
LONG = Path("recordings/2024-06-12_market_square/recorder_3/20240612_043000_channel_1.wav")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def in_terminal(*arguments: object, cwd: Path) -> str:
    """Run a command in a pseudo-terminal; return what it prints, without control sequences."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "SOUNDMARK_CACHE": str(cwd / "cache")}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "soundmark.cli", *map(str, arguments)],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=environment,
    )  # fmt: skip
    os.close(theirs)
    output = b""
    try:
        while data := os.read(ours, 1 << 16):
            output += data
    except OSError:  # Linux: the terminal is closed
        pass
    os.close(ours)
    assert process.wait(timeout=60) in (0, 1)
    return CONTROL.sub("", output.decode()).replace("\r\n", "\n")


@pytest.fixture
def folder(random_model, tmp_path) -> Path:
    random_model.bundle.write(tmp_path / "model.onnx")
    (tmp_path / LONG).parent.mkdir(parents=True)
    audio.write(tmp_path / LONG, wave(9.5, 3), RATE_HZ)
    for number, label in enumerate(("dog", "cat") * 4):
        path = tmp_path / "pets" / label / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        audio.write(path, wave(1.0, number), RATE_HZ)
    return tmp_path


def lines(text: str) -> list[str]:
    """The lines of a terminal; a line of progress is redrawn after a carriage return."""
    return [line.rstrip() for line in re.split(r"[\r\n]", text)]


def test_help_has_bold_headings_and_fits(folder):
    text = in_terminal("classify", "--help", cwd=folder)
    assert "\nDetection:\n" in text
    assert max(map(len, lines(text))) <= COLUMNS


def test_tables_and_messages_wrap_between_words(folder):
    missing = LONG.parent / "20240612_043000_channel_2.wav"
    text = in_terminal("classify", LONG, missing, "-m", "model.onnx", "--min-conf", "0.2", cwd=folder)
    assert max(len(line) for line in lines(text) if str(missing) not in line) <= COLUMNS
    assert len(re.findall(r"^20240612_043000_channel_1\.wav", text, flags=re.MULTILINE)) == 2  # both tables
    words = text.split()
    assert f'"{missing}"' in words  # longer than a line would be: on a separate line
    for word in ("does", "exist:", "contains", f'"{missing.name}";', "mean"):
        assert word in words, word


def test_progress_and_results_of_a_training_wrap_between_words(folder):
    text = in_terminal("train", "pets", "-o", "run", "--recipe", "notebook-mel", "--epochs", 2, cwd=folder)
    assert max(map(len, lines(text))) <= COLUMNS
    for word in ("features", "clips", "epoch", "loss", "calibration"):
        assert word in text.split(), word


def test_a_learning_curve_fits(folder):
    options = ("--recipe", "notebook-mel", "--epochs", 1, "--draws", 2)
    text = in_terminal("curve", "pets", "-o", "curve", *options, cwd=folder)
    assert max(map(len, lines(text))) <= COLUMNS
    for word in ("recordings", "extrapolated:", "trainings"):
        assert word in text.split(), word
