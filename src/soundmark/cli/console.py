"""The console: results on standard output, messages and progress on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from soundmark.runtime.progress import Progress
from soundmark.runtime.text import printable

if TYPE_CHECKING:
    from soundmark.runtime.progress import AnalysisProgress


out = Console(highlight=False)


err = Console(stderr=True, highlight=False)


def plain(value: object, style: str = "") -> Text:
    r"""The value as it may be printed wherever it comes from: no markup, and nothing that a terminal would obey.

    >>> plain("[b]\x1b[31mred").plain
    '[b]�[31mred'
    """
    return Text(printable(str(value)), style=style)


def line(value: object, style: str = "") -> Text:
    r"""The value as ``plain`` has it, and on one line: a line break in a name shall not break a message, or a row.

    >>> line("street\n1.wav").plain
    'street\\n1.wav'
    """
    text = str(value)
    for character, shown in (("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(character, shown)
    return plain(text, style)


def print_result(text: str) -> None:
    """A line of the result, on standard output; nothing for the empty string.

    >>> print_result("notebook-mel is right on 70.1 %")
    notebook-mel is right on 70.1 %
    """
    if text:
        out.print(plain(text), soft_wrap=True)


def write_output(text: str) -> None:
    """Results for a program, on standard output: in UTF-8 wherever it runs, names of files byte for byte.

    >>> write_output("")
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")
    if sys.stdout:  # None where it was closed
        sys.stdout.write(text)


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
        err.print(text, soft_wrap=True)


def show_library_warnings() -> None:
    """Show the library's warnings on standard error."""
    log = logging.getLogger("soundmark")
    if not log.handlers:
        log.addHandler(_Warnings())


class _Warnings(logging.Handler):
    """The library's warnings, a line each, however long: a terminal wraps it, and a file keeps it whole."""

    def emit(self, record: logging.LogRecord) -> None:
        level = (f"{record.levelname.lower()}: ", "bold yellow")
        print_note(Text.assemble(level, line(record.getMessage())))


@contextmanager
def progress(quiet: bool = False) -> Iterator[Progress]:
    """A ``Progress`` on standard error: bars in a terminal, a line now and then in a log."""
    from soundmark.runtime.progress_bars import progress_bars

    with progress_bars(quiet, err) as bars:
        yield bars


@contextmanager
def analysis_progress(quiet: bool = False) -> Iterator[Callable[[AnalysisProgress], None]]:
    """The same for the progress of an analysis of files; nothing is displayed of one that takes under two seconds."""
    from soundmark.runtime import progress_bars

    with progress_bars.analysis_progress(quiet, err) as tell:
        yield tell
