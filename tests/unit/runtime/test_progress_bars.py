"""Progress: bars in a terminal that never break words, lines in a log, one output in Jupyter."""

import io
import itertools
import re
import time

import pytest
from rich.console import Console

from soundmark.runtime import progress_bars as bars
from soundmark.runtime.progress import AnalysisProgress
from soundmark.runtime.progress_bars import ProgressLines, fitted, progress_bars

STATUS = "epoch 3/20  loss 1.21  val 1.43  acc 0.55"
NAME = "[12/40] notebook-mel, fold 10 by recording, seed 2"


def drawn(width: int, steps) -> list[str]:
    """Return the lines written to a terminal of this width, without control sequences."""
    output = io.StringIO()
    with progress_bars(console=Console(file=output, width=width, height=24, force_terminal=True)) as progress:
        for step in steps:
            progress(*step)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output.getvalue())
    return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]


@pytest.mark.parametrize("width", [50, 80, 200])
def test_bar_and_status_are_one_line_each_in_a_terminal(width):
    lines = drawn(width, [("features", 2097, 2097, "clips"), (NAME, 150, 200, "batches", STATUS)])
    assert lines[-1] == f"  {STATUS}"
    assert "150/200" in lines[-2]
    assert lines[-2].startswith(NAME if width == 200 else NAME[:8])
    assert "…" in lines[-2] or width == 200
    assert all(len(line) <= width for line in lines)
    assert any("features" in line and "2097/2097" in line for line in lines)


WORDS = {
    *NAME.split(),
    *STATUS.split(),
    "computing",
    "spectrograms",
    "…",
    "150/200",
    "2097/2097",
    "batches/s",
    "clips/s",
}


@pytest.mark.parametrize("width", [40, 60, 80])
def test_words_are_never_broken(width, monkeypatch):
    clock = itertools.count(100.0, 0.25)  # s: the rate and the remaining time are known
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    spectrograms = [("computing spectrograms", n, 2097, "clips") for n in (500, 1000, 2097)]
    training = [(NAME, n, 200, "batches", STATUS) for n in (50, 100, 150)]
    lines = drawn(width, [*spectrograms, *training])
    assert all(len(line) <= width for line in lines)
    bar, status = (line.replace("150/200", " 150/200 ").split() for line in lines[-2:])
    shown = {*bar, *status}
    assert {"[12/40]", "notebook-mel,", "150/200", "epoch", "3/20", "loss", "1.21"} <= shown
    assert {word for word in shown if not re.fullmatch(r"[━╸╺]+|[\d,.]+|\d:\d\d:\d\d|-:--:--", word)} <= WORDS
    assert any("computing spectrograms" in line and "2097/2097" in line for line in lines)


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (40, "600 of 8,732 files, 30 min 50 s left"),
        (80, "600 of 8,732 files, 14.4 h of audio per minute, 30 min 50 s left"),
    ],
)
def test_analysis_omits_complete_figures_where_the_terminal_is_narrow(monkeypatch, width, expected):
    clock = [100.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: clock[0])
    output = io.StringIO()
    console = Console(file=output, width=width, height=24, force_terminal=True)
    with bars.analysis_progress(console=console) as report:
        clock[0] += 3
        report(AnalysisProgress(done=600, files=8732, share=3 / 40, analyzed_s=129_600, elapsed_s=150))
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output.getvalue()))
    assert all(len(line.rstrip()) <= width for line in lines)
    assert expected in {line.strip(" ━╸╺") for line in lines}


def test_text_is_shortened_between_words():
    assert fitted("one two three", 13) == "one two three"
    assert fitted("one two three", 12) == "one two …"
    assert fitted("loss 1.21  acc 0.55", 18, "  ") == "loss 1.21  …"
    assert fitted("efficientat-mn10-scratch", 9) == "effi…atch"  # one word that does not fit
    assert fitted("犬の鳴き声 siren", 15) == "犬の鳴き声 …"  # two columns per character


def test_finished_bars_are_not_redrawn():
    steps = [(f"fold {n}", 5, 5, "batches", STATUS) for n in range(60)]
    lines = drawn(80, steps)
    assert sum(line.startswith("fold 3 ") for line in lines) <= 4  # while it is active, and once when it is finished
    assert lines[-2].startswith("fold 59")
    assert lines[-1] == f"  {STATUS}"


def test_step_without_status_has_no_status_line():
    assert "epoch" not in "".join(drawn(80, [("features", 1, 2, "clips")]))


def test_control_characters_in_names_are_removed():
    lines = drawn(80, [("\x1b]0;title\x07x", 1, 2, "clips", "\x1b[31m")])
    assert "\x07" not in "".join(lines)


def test_last_line_of_a_log_has_the_final_figures(capsys):
    with progress_bars() as progress:
        for n in range(1, 101):
            progress("notebook-mel", n, 100, "batches", f"epoch {n}/100  loss 1.21")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2  # the first and the last
    assert re.fullmatch(r"notebook-mel: 100 of 100 batches, [\d.,]+/s  epoch 100/100  loss 1.21", lines[-1])


def test_log_line_is_not_wrapped():
    output = io.StringIO()
    with progress_bars(console=Console(file=output, width=40)) as progress:
        progress(NAME, 200, 200, "batches", STATUS)
    assert output.getvalue() == f"{NAME}: 200 of 200 batches  {STATUS}\n"


def test_closed_standard_error_raises_no_error():
    class FullDisk(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("no space left")

    with progress_bars(console=Console(file=FullDisk())) as progress:
        progress("features", 2, 2, "clips")


def test_quiet_displays_nothing(capsys):
    with progress_bars(quiet=True) as progress:
        progress("features", 2, 2, "clips", STATUS)
    assert capsys.readouterr() == ("", "")


def test_line_without_status():
    lines = []
    ProgressLines(lines.append)("features", 3, 3, "clips")
    assert lines == ["features: 3 of 3 clips"]


def test_analysis_is_displayed_after_two_seconds(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: clock[0])
    states = [AnalysisProgress(n, 40, n / 40, 3600.0 * n, 0.5 * n) for n in range(41)]
    for terminal in (True, False):
        output = io.StringIO()
        console = Console(file=output, width=80, height=24, force_terminal=terminal)
        with bars.analysis_progress(console=console) as report:
            for state in states:
                clock[0] += 0.5
                report(state)
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output.getvalue())
        if terminal:
            assert "40 of 40 files" in text
        else:
            assert [line[:11] for line in text.splitlines()] == ["3 of 40 fil", "23 of 40 fi"]
        assert "0 of 40 files, 0" not in text


CELL = """
from soundmark.runtime.progress_bars import progress_bars
with progress_bars() as progress:
    for n in range(1, 501):
        progress("features <b>", n, 500, "clips")
    for n in range(1, 201):
        progress("notebook-mel, fold 1", n, 200, "batches", f"epoch {n // 20}/10  loss 1.21")
with progress_bars(quiet=True) as progress:
    progress("hidden", 1, 2, "clips")
"""

ANALYSIS = """
from soundmark.runtime import progress_bars
from soundmark.runtime.progress import AnalysisProgress
progress_bars.FIRST_AFTER_S = 0
with progress_bars.analysis_progress() as report:
    for n in range(101):
        report(AnalysisProgress(n, 100, n / 100, 3600.0 * n, 0.5 * n))
"""


def test_jupyter_updates_one_output_in_place():
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    nbclient.NotebookClient(notebook, timeout=120).execute()
    (output,) = notebook.cells[0].outputs
    assert output.output_type == "display_data"
    lines = output.data["text/plain"].splitlines()
    assert lines[0].startswith("features <b>: 500/500 clips")
    assert lines[1].startswith("notebook-mel, fold 1: 200/200 batches")
    assert lines[1].endswith("epoch 10/10  loss 1.21")
    assert "&lt;b&gt;" in output.data["text/html"]
    assert output.data["text/html"].count("<tr>") == 2
    assert not bars.in_jupyter()


def test_analysis_in_jupyter_is_one_output():
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(ANALYSIS)])
    nbclient.NotebookClient(notebook, timeout=120).execute()
    (output,) = notebook.cells[0].outputs
    assert output.data["text/plain"] == "100 of 100 files, 120.0 h of audio per minute"
