"""The console: results on standard output; messages, progress and the debug log on standard error."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from soundmark.runtime.progress import Progress
from soundmark.runtime.text import printable

if TYPE_CHECKING:
    from soundmark.runtime.progress import AnalysisProgress


out = Console(highlight=False)


err = Console(stderr=True, highlight=False)


log = logging.getLogger("soundmark")


def plain(value: object, style: str = "") -> Text:
    r"""Return text that is safe to print wherever it comes from: without markup and without control characters.

    >>> plain("[b]\x1b[31mred").plain
    '[b]�[31mred'
    """
    return Text(printable(str(value)), style=style)


def line(value: object, style: str = "") -> Text:
    r"""Return ``plain`` text on one line: a line break in a file name must not break a message or a table row.

    >>> line("street\n1.wav").plain
    'street\\n1.wav'
    """
    text = str(value)
    for character, shown in (("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(character, shown)
    return plain(text, style)


def print_result(text: str, style: str = "") -> None:
    """Print a line of the result on standard output; print nothing for an empty string.

    >>> print_result("notebook-mel has an accuracy of 70.1 %")
    notebook-mel has an accuracy of 70.1 %
    """
    if text:
        _print(out, plain(text, style))


def write_output(text: str) -> None:
    """Write results for a program to standard output: as UTF-8 on every system, file names byte for byte.

    In a terminal, control characters, as in file names, are replaced.

    >>> write_output("")
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")
    if sys.stdout:  # None if it was closed
        sys.stdout.write(printable(text) if sys.stdout.isatty() else text)


def say(text: str) -> None:
    """Print a message on standard error."""
    print_note(plain(text))


def fail(text: str) -> None:
    """Print an error on standard error."""
    print_note(Text.assemble(("soundmark: ", "bold red"), line(text)))


def warn(text: str) -> None:
    """Print a warning on standard error."""
    print_note(Text.assemble(("warning: ", "bold yellow"), line(text)))


def print_note(text: Text) -> None:
    """Print formatted text on standard error."""
    with suppress(OSError):  # standard error is full or closed; the results are not affected
        _print(err, text)


def _print(console: Console, text: Text) -> None:
    console.print(wrapped(text, console.width) if console.is_terminal else text, soft_wrap=True)


def wrapped(text: Text, width: int) -> Text:
    r"""Break lines between words, so that the terminal does not break them within words; a longer word stays whole.

    >>> wrapped(Text("warning: recordings/street.wav is truncated"), 24).plain
    'warning:\nrecordings/street.wav is\ntruncated'
    """
    lines: list[Text] = []
    for each in text.split("\n", allow_blank=True):
        breaks, start = [], 0
        for word in re.finditer(r"\S+", each.plain):
            is_first = not each.plain[start : word.start()].strip()
            if not is_first and cell_len(each.plain[start : word.end()]) > width:
                start = word.start()
                breaks.append(start)
        lines += each.divide(breaks)
    for each in lines:
        each.rstrip()
    return Text("\n").join(lines)


def show_library_warnings() -> None:
    """Print the library's warnings on standard error."""
    if not log.handlers:
        log.addHandler(_LogLines())


def show_debug_log() -> None:
    """Print the library's debug log on standard error, beginning with versions and the number of cores."""
    from soundmark.runtime import provenance

    show_library_warnings()
    log.setLevel(logging.DEBUG)
    log.debug("versions: %s", ", ".join(f"{name} {version}" for name, version in provenance.versions().items()))
    machine = provenance.machine()
    log.debug("%s, %s, %d cores available", machine["system"], machine["processor"], machine["cores"])


class _LogLines(logging.Handler):
    """Print each log record as one line, however long; debug records with the seconds since the start."""

    def __init__(self) -> None:
        super().__init__()
        self.start = time.time()

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        if record.levelno >= logging.WARNING:
            prefix = Text(f"{level}: ", style="bold yellow")
        else:
            prefix = Text(f"{level}: {record.created - self.start:.3f} s: ", style="dim")
        print_note(Text.assemble(prefix, line(record.getMessage())))


@contextmanager
def progress(quiet: bool = False) -> Iterator[Progress]:
    """Display progress on standard error: bars in a terminal, a line from time to time in a log."""
    from soundmark.runtime.progress_bars import progress_bars

    with progress_bars(quiet, err) as bars:
        yield bars


@contextmanager
def analysis_progress(quiet: bool = False) -> Iterator[Callable[[AnalysisProgress], None]]:
    """Display the progress of an analysis of files; one that takes under two seconds displays nothing."""
    from soundmark.runtime import progress_bars

    with progress_bars.analysis_progress(quiet, err) as show_progress:
        yield show_progress
