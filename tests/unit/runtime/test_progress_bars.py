"""Progress: lines in a log, bars in a terminal whose words are not broken, one output in Jupyter."""

import io
import re

import pytest
from rich.console import Console

from soundmark.runtime import progress_bars as bars
from soundmark.runtime.progress import AnalysisProgress
from soundmark.runtime.progress_bars import ProgressLines, progress_bars

STATUS = "epoch 3/20  loss 1.21  val 1.43  acc 0.55"
NAME = "[12/40] notebook-mel, fold 10 by recording, seed 2"


def drawn(width: int, steps) -> list[str]:
    """All lines that a terminal of that width was sent, without its control sequences."""
    sent = io.StringIO()
    with progress_bars(console=Console(file=sent, width=width, height=24, force_terminal=True)) as progress:
        for step in steps:
            progress(*step)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", sent.getvalue())
    return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]


@pytest.mark.parametrize("width", [50, 80, 200])
def test_in_a_terminal_each_bar_and_its_status_are_one_line(width):
    lines = drawn(width, [("features", 2097, 2097, "clips"), (NAME, 150, 200, "batches", STATUS)])
    assert lines[-1] == f"  {STATUS}"
    assert "150/200" in lines[-2]
    assert lines[-2].startswith(NAME if width == 200 else NAME[:8])
    assert "…" in lines[-2] or width == 200
    assert all(len(line) <= width for line in lines)
    assert any("features" in line and "2097/2097" in line for line in lines)


def test_many_finished_bars_are_not_redrawn():
    steps = [(f"fold {n}", 5, 5, "batches", STATUS) for n in range(60)]
    lines = drawn(80, steps)
    assert sum(line.startswith("fold 3 ") for line in lines) <= 4  # while it is current, and once for good
    assert lines[-2].startswith("fold 59")
    assert lines[-1] == f"  {STATUS}"


def test_a_step_without_status_has_no_line_for_it():
    assert "epoch" not in "".join(drawn(80, [("features", 1, 2, "clips")]))


def test_nothing_from_data_is_obeyed():
    lines = drawn(80, [("\x1b]0;title\x07x", 1, 2, "clips", "\x1b[31m")])
    assert "\x07" not in "".join(lines)


def test_in_a_log_a_line_at_the_end_has_the_final_figures(capsys):
    with progress_bars() as progress:
        for n in range(1, 101):
            progress("notebook-mel", n, 100, "batches", f"epoch {n}/100  loss 1.21")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2  # the first, and the last
    assert re.fullmatch(r"notebook-mel: 100 of 100 batches, [\d.,]+/s  epoch 100/100  loss 1.21", lines[-1])


def test_a_log_line_is_not_wrapped():
    sent = io.StringIO()
    with progress_bars(console=Console(file=sent, width=40)) as progress:
        progress(NAME, 200, 200, "batches", STATUS)
    assert sent.getvalue() == f"{NAME}: 200 of 200 batches  {STATUS}\n"


def test_a_closed_standard_error_stops_nothing():
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("no space left")

    with progress_bars(console=Console(file=Full())) as progress:
        progress("features", 2, 2, "clips")


def test_quiet_shows_nothing(capsys):
    with progress_bars(quiet=True) as progress:
        progress("features", 2, 2, "clips", STATUS)
    assert capsys.readouterr() == ("", "")


def test_lines_are_as_they_were_where_there_is_no_status():
    said = []
    ProgressLines(said.append)("features", 3, 3, "clips")
    assert said == ["features: 3 of 3 clips"]


def test_an_analysis_is_shown_after_two_seconds(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: clock[0])
    states = [AnalysisProgress(n, 40, n / 40, 3600.0 * n, 0.5 * n) for n in range(41)]
    for terminal in (True, False):
        sent = io.StringIO()
        console = Console(file=sent, width=80, height=24, force_terminal=terminal)
        with bars.analysis_progress(console=console) as tell:
            for state in states:
                clock[0] += 0.5
                tell(state)
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", sent.getvalue())
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
with progress_bars.analysis_progress() as tell:
    for n in range(101):
        tell(AnalysisProgress(n, 100, n / 100, 3600.0 * n, 0.5 * n))
"""


def test_in_jupyter_one_output_is_updated_in_place():
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


def test_an_analysis_in_jupyter_is_one_output():
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(ANALYSIS)])
    nbclient.NotebookClient(notebook, timeout=120).execute()
    (output,) = notebook.cells[0].outputs
    assert output.data["text/plain"] == "100 of 100 files, 120.0 h of sound a minute"
