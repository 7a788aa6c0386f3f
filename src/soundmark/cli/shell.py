"""How a command begins and ends: signals, standard output, and an exit status for whatever comes.

Exit status: 0 all done, 1 some inputs failed (each is named), 2 a usage error or an input that stops everything, 130
stopped by Ctrl-C, 141 by a closed pipe, 143 by SIGTERM. docs/errors.md shows what is said of what.
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
    """Run the command line ``app`` and exit: every error that is expected is one sentence and a status."""
    _handle_signals()
    sys.unraisablehook = _raise_again
    _Output.install()
    try:
        status = app(prog_name="soundmark", standalone_mode=False) or 0  # errors come here, not into typer's boxes
        if sys.stdout:  # None where it was closed
            sys.stdout.flush()
    except SoundmarkError as error:
        status = _fail(str(error), 2)
    except _UsageError as error:
        status = _fail(_usage(error), 2)
    except _Stopped as stopped:
        status = _fail(f"stopped.{_after}", stopped.status)
    except ImportError as error:
        status = _fail(_missing(error), 2)
    except BrokenPipeError:  # whoever read it has enough
        status = 141
        _leave_output()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # what comes now comes too late to be told of
    sys.exit(status)


_after = " What is finished is kept: the same command goes on from there."


def not_resumable() -> None:
    """Say of a command that goes on until it is stopped no more than that: there is nothing to go on with."""
    global _after
    _after = ""


def _fail(text: str, status: int) -> int:
    from soundmark.cli import console  # with NumPy and all: not before it is needed

    if text:
        console.fail(text)
    return status


# typer names the parameter's error alone, and not its parent, which is that of a misspelt or missing one, too.
_UsageError: Any = typer.BadParameter.__base__


def _usage(error: Any) -> str:
    """The sentence for a command line that cannot be meant; "" where the help was printed instead."""
    text = str(error.format_message()).strip().rstrip(".")
    if not text:
        return ""
    if name := getattr(error, "option_name", None):  # click's own words for it differ from version to version
        near = sorted(getattr(error, "possibilities", None) or ())
        text = f"no such option: {name}" + (f" (Possible options: {', '.join(near)})" if near else "")
    text = re.sub(r"( Did you mean [^?]+\?)\1+", r"\1", text)  # both typer and click have an idea
    command = error.ctx.command_path if error.ctx else "soundmark"
    dashed = [word for word in sys.argv[1:] if word.startswith("-") and Path(word).exists()]
    hint = f'"{dashed[0]}" is a file here: write "./{dashed[0]}".' if dashed else f"See {command} --help."
    stop = "" if text.endswith("?") else "."
    return f"{text[0].lower()}{text[1:]}{stop} {hint}"


class _Output(TextIOWrapper):
    """Standard output: what it does not take is an error of ours, and a letter that it does not know is none."""

    @classmethod
    def install(cls) -> None:
        """Put it in place of Python's own, where that is a file or a terminal."""
        old = sys.stdout
        if isinstance(old, TextIOWrapper):
            encoding, by_line, at_once = old.encoding, old.line_buffering, old.write_through
            sys.stdout = cls(old.detach(), encoding, "backslashreplace", line_buffering=by_line, write_through=at_once)

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise _undelivered(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise _undelivered(error) from error


def _undelivered(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return error
    _leave_output()
    return OutputError(f"cannot write to standard output: {error.strerror}. Free some room, or redirect it elsewhere.")


def _leave_output() -> None:
    """Let what standard output did not take go nowhere, so that Python does not try again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Stopped(BaseException):
    """Ctrl-C or SIGTERM: no error, and nothing that catches errors may catch it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


def _handle_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _raise_again(swallowed: Any) -> None:
    """Where a finaliser was under way, whose errors Python drops, stop a moment later."""
    if isinstance(swallowed.exc_value, _Stopped):
        _handle_signals()
        number = swallowed.exc_value.status - 128
        if (
            os.name == "posix"
        ):  # to the main thread, which may sleep: a signal that another thread raises wakes no sleeper
            again = threading.Timer(0.01, signal.pthread_kill, (threading.main_thread().ident, number))
        else:
            again = threading.Timer(0.01, signal.raise_signal, (number,))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(swallowed)


def _stop(number: int, _: object) -> None:
    """End in order, once: what is under way is left as it can be gone on with."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # `timeout` sends two, and an impatient person more
    raise _Stopped(number)


def _missing(error: ImportError) -> str:
    """The sentence for a package that an extra brings; a broken installation is not one."""
    extras = {
        "torch": "train",
        "onnx": "export",
        "onnxscript": "train",
        "safetensors": "train",
        "matplotlib": "train",
        "pandas": "table",
        "sounddevice": "live",
        "av": "codecs",
        "pyarrow": "table",
    }
    name = (error.name or "").split(".")[0]
    if name not in extras:
        raise error
    return f'this needs the package {name}: pip install "soundmark[{extras[name]}]".'
