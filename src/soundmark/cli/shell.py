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
import time
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from soundmark.errors import OutputError, SoundmarkError, input_of

PATIENCE_S = 2.0  # a second signal within this time does not interrupt the clean-up; `timeout` sends two


def run(app: Callable[..., Any]) -> NoReturn:
    """Run the command line ``app`` and exit; every error is printed as one message, with --debug also its traceback.

    ``app`` may import the commands: the signal handlers are installed before, so Ctrl-C prints one message then too.
    """
    _handle_signals()
    sys.unraisablehook, threading.excepthook = _report_unraisable, _report_in_thread
    try:
        status = _status_of(app)
    except BaseException as error:  # raised while an error was reported, for example by a signal
        status = _status_after(error)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # too late to stop anything
    sys.exit(status)


def _status_of(app: Callable[..., Any]) -> int:
    try:
        _Output.install()
        # Not standalone: typer would print errors itself, in a box.
        status = app(prog_name="soundmark", standalone_mode=False) or 0
        if sys.stdout:  # None if it was closed
            sys.stdout.flush()
        if status and _stopped_by:  # typer replaces KeyboardInterrupt
            raise _Stopped(_stopped_by)
        return int(status)
    except BaseException as error:
        return _status_after(error)


def _status_after(error: BaseException) -> int:
    """Print the message for the exception that ended the command; return the exit status."""
    if _debug:
        _print_traceback(error)
    if _stopped_by:  # whatever became of the signal's exception: code that imports a package may replace it
        return _fail(f"stopped.{_resume_hint}", 128 + _stopped_by)
    if _Output.is_broken or isinstance(error, BrokenPipeError):  # rich and typer replace it by SystemExit
        _discard_output()
        return 141
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 2
    return _fail(_message(error), 2)


def _message(error: BaseException) -> str:
    """The message for an exception: its own, if it was expected."""
    if isinstance(error, SoundmarkError):
        return str(error)
    if hasattr(error, "format_message"):  # a usage error: typer does not export their base class
        return _usage(error)
    if isinstance(error, ImportError) and (text := _missing_package(error)):
        return text
    return _unforeseen(error)


def _unforeseen(error: BaseException) -> str:
    """The message for an exception that nothing in soundmark expects."""
    from soundmark.runtime.atomic import DISK_FULL, PATH_REFUSED
    from soundmark.runtime.text import one_line

    error = error.__cause__ or error if type(error).__name__ == "Abort" else error  # typer replaces EOFError
    name = input_of(error)
    where = f" while processing {name}" if name else ""
    if isinstance(error, MemoryError):
        return f"not enough memory{where}. Use fewer workers (--jobs 1), or close other programs."
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        file = f'cannot write "{error.filename}"' if error.filename else f"cannot write a file{where}"
        return f"{file}: {error.strerror}. Free some disk space, or choose another path with -o."
    if isinstance(error, OSError) and error.errno in PATH_REFUSED and error.filename:
        path = error.filename2 or error.filename  # the second is the one that is written
        return f'cannot use "{one_line(str(path), 300)}"{where}: {error.strerror}. Check the path and its permissions.'
    text = one_line(f"{type(error).__name__}: {error}", 300).rstrip(".: ")
    return (
        f"unexpected error{where}: {text}. This is a bug in soundmark: please report it, with the command and what it "
        "prints with --debug."
    )


_debug = False


def show_tracebacks() -> None:
    """Print the traceback of every error before its message: the option --debug."""
    global _debug
    _debug = True


def _print_traceback(error: BaseException) -> None:
    import traceback

    _note("".join(traceback.format_exception(error)).rstrip("\n"))


def _note(text: str) -> None:
    """Print a text on standard error, even if the console cannot be loaded: a signal may have stopped its import."""
    try:
        from soundmark.cli import console  # loads rich: only where it is needed

        console.say(text)
    except Exception:
        _print_plain(text)


def _print_plain(text: str) -> None:
    if sys.stderr:
        sys.stderr.write(text.encode("ascii", "backslashreplace").decode() + "\n")


_resume_hint = " Finished work is kept: run the same command again to resume."


BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")  # of NumPy's wheels; torch has threads of other names


def single_blas_thread() -> None:
    """Let NumPy's linear algebra use one thread, unless the user has chosen; call it before NumPy is imported.

    soundmark's own workers use the cores. Threads of BLAS wait for each other in a busy loop: beside other work, a
    training on stored features takes twice as long with two of them, and a server five times the processor time.
    """
    if not any(name in os.environ for name in (*BLAS_THREADS, "OMP_NUM_THREADS")):
        os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))


def not_resumable() -> None:
    """Leave out the hint on resuming when this command is stopped: it keeps no finished work."""
    global _resume_hint
    _resume_hint = ""


def _fail(text: str, status: int) -> int:
    global _has_failed
    _has_failed = True  # too late to stop anything: a signal would print a second message
    try:
        from soundmark.cli import console

        console.fail(text)
    except Exception:  # see _note
        _print_plain(f"soundmark: {text}")
    return status


def _missing_package(error: ImportError) -> str | None:
    """The message for a missing optional package; None for any other import error, which is a bug."""
    from soundmark.cli import requirements

    return requirements.missing_package(error)


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

    is_broken = False  # the reader of the pipe has exited

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
        _Output.is_broken = True
        return error
    _discard_output()
    return OutputError(f"cannot write to standard output: {error.strerror}. Free disk space, or redirect it elsewhere.")


def _discard_output() -> None:
    """Redirect standard output to the null device, so that Python's flush at exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Stopped(BaseException):
    """Raised by Ctrl-C and SIGTERM; a ``BaseException``, so that no handler of errors catches it."""


_stopped_by = 0  # the number of the signal that stopped the command; 0: none
_stopped_at_s = 0.0
_has_failed = False  # the last message is being printed


def _handle_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    """Stop the command; further signals are ignored for a moment, while it cleans up."""
    global _stopped_by, _stopped_at_s
    if _loads_extension(frame):  # C++ code that is called here aborts the process, or replaces the exception
        _send_again(number)
        return
    if _has_failed or (_stopped_by and time.monotonic() - _stopped_at_s < PATIENCE_S):
        return
    _stopped_by, _stopped_at_s = _stopped_by or number, time.monotonic()
    raise _Stopped(number)


def _loads_extension(frame: FrameType | None) -> bool:
    """Whether a compiled module is being imported; its code may call Python code."""
    while frame is not None:
        is_loader = frame.f_code.co_name in ("create_module", "exec_module")
        if is_loader and isinstance(frame.f_locals.get("self"), ExtensionFileLoader):
            return True
        frame = frame.f_back
    return False


def _report_unraisable(unraisable: Any) -> None:
    """Send a signal again whose exception Python dropped, in a finaliser; print any other exception as a warning."""
    global _stopped_by
    if isinstance(unraisable.exc_value, _Stopped):
        number, _stopped_by = _stopped_by, 0
        _send_again(number)
    elif not _stopped_by:
        _warn(unraisable.exc_value or unraisable.exc_type(), unraisable.exc_traceback)


def _report_in_thread(ended: Any) -> None:
    if not _stopped_by and ended.exc_type is not SystemExit:
        _warn(ended.exc_value or ended.exc_type(), ended.exc_traceback)


def _warn(error: BaseException, traceback: Any) -> None:
    if _debug:
        _print_traceback(error.with_traceback(traceback))
    _note(f"warning: {_unforeseen(error)}")


def _send_again(number: int) -> None:
    """Send the signal again, a moment later."""
    if os.name == "posix":  # to the main thread: a signal raised in another thread does not end its sleep
        again = threading.Timer(0.01, signal.pthread_kill, (threading.main_thread().ident, number))
    else:
        again = threading.Timer(0.01, signal.raise_signal, (number,))
    again.daemon = True
    again.start()
