"""Start and end of a command: signals, standard output, errors and the exit status.

Exit status: 0 success; 1 some inputs failed, each is named; 2 usage error, or an error that stops the command; 130
stopped by Ctrl-C; 141 stopped by a closed pipe; 143 stopped by SIGTERM. docs/errors.md lists the messages.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

import typer

from soundmark.errors import OutputError, SoundmarkError


def run(app: typer.Typer) -> NoReturn:
    """Run the command line ``app`` and exit; an expected error is printed as one sentence."""
    _handle_signals()
    sys.unraisablehook = _repeat_signal
    _Output.install()
    try:
        # Not standalone: typer would print errors itself, in a box.
        status = app(prog_name="soundmark", standalone_mode=False) or 0
        if sys.stdout:  # None if it was closed
            sys.stdout.flush()
    except SoundmarkError as error:
        status = _fail(str(error), 2)
    except _UsageError as error:
        status = _fail(_usage(error), 2)
    except _Stopped as stopped:
        status = _fail(f"stopped.{_resume_hint}", stopped.status)
    except ImportError as error:
        status = _fail(_missing_package(error), 2)
    except BrokenPipeError:  # the reader of the pipe has exited
        status = 141
        _discard_output()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # too late to stop anything
    sys.exit(status)


_resume_hint = " Finished work is kept: run the same command again to resume."


def not_resumable() -> None:
    """Leave out the hint on resuming when this command is stopped: it keeps no finished work."""
    global _resume_hint
    _resume_hint = ""


def _fail(text: str, status: int) -> int:
    from soundmark.cli import console  # loads rich: only where it is needed

    console.fail(text)
    return status


def _missing_package(error: ImportError) -> str:
    """The message for a missing optional package; any other import error is a bug and is raised."""
    from soundmark.cli import requirements

    if text := requirements.missing_package(error):
        return text
    raise error


# typer exports BadParameter, but not its base class, which is also that of unknown and missing options.
_UsageError: Any = typer.BadParameter.__base__


def _usage(error: Any) -> str:
    """The sentence for a usage error."""
    text = str(error.format_message()).strip().rstrip(".")
    if name := getattr(error, "option_name", None):  # click's own wording differs between versions
        near = sorted(getattr(error, "possibilities", None) or ())
        text = f"no such option: {name}" + (f" (Possible options: {', '.join(near)})" if near else "")
    text = re.sub(r"( Did you mean [^?]+\?)\1+", r"\1", text)  # typer and click both suggest a command
    command = error.ctx.command_path if error.ctx else "soundmark"
    dashed = [word for word in sys.argv[1:] if word.startswith("-") and Path(word).exists()]
    hint = f'"{dashed[0]}" is a file: write "./{dashed[0]}".' if dashed else f"See {command} --help."
    stop = "" if text.endswith("?") else "."
    first = text[0] if text[1:2].isupper() else text[0].lower()  # DATASET keeps its capital
    return f"{first}{text[1:]}{stop} {hint}"


class _Output(TextIOWrapper):
    """Standard output that raises ``OutputError`` where writing fails, and escapes what cannot be encoded."""

    @classmethod
    def install(cls) -> None:
        """Replace ``sys.stdout``, if it is a file or a terminal."""
        old = sys.stdout
        if isinstance(old, TextIOWrapper):
            encoding, by_line, at_once = old.encoding, old.line_buffering, old.write_through
            sys.stdout = cls(old.detach(), encoding, "backslashreplace", line_buffering=by_line, write_through=at_once)

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise _output_error(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise _output_error(error) from error


def _output_error(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return error
    _discard_output()
    return OutputError(f"cannot write to standard output: {error.strerror}. Free disk space, or redirect it elsewhere.")


def _discard_output() -> None:
    """Redirect standard output to the null device, so that Python's flush at exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Stopped(BaseException):
    """Raised by Ctrl-C and SIGTERM; a ``BaseException``, so that no handler of errors catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


def _handle_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _repeat_signal(unraisable: Any) -> None:
    """Send the signal again, a moment later: Python drops exceptions that are raised in a finaliser."""
    if isinstance(unraisable.exc_value, _Stopped):
        _handle_signals()
        number = unraisable.exc_value.status - 128
        if os.name == "posix":  # to the main thread: a signal raised in another thread does not end its sleep
            again = threading.Timer(0.01, signal.pthread_kill, (threading.main_thread().ident, number))
        else:
            again = threading.Timer(0.01, signal.raise_signal, (number,))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(unraisable)


def _stop(number: int, _: object) -> None:
    """Stop the command once; further signals are ignored while it cleans up."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # `timeout` sends two
    raise _Stopped(number)
