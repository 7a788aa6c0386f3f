"""The exceptions of soundmark, and the error for an unknown name.

    SoundmarkError
    ├── AudioError       a sound that cannot be decoded or analysed
    ├── DatasetError     an invalid data set, or an invalid row of its table
    ├── SettingsError    an unknown name or an invalid value
    ├── BundleError      a model file that cannot be used
    ├── WeightsError     pretrained weights that are missing or have the wrong checksum
    └── OutputError      an output path that is not writable, or that contains other results

A message is one or two sentences. It names the input and its value, what is allowed, and what to do next. It is one
printable line of bounded length, whatever names and values of an untrusted file it contains. The command line prints
the message of a ``SoundmarkError`` and exits with status 2. Any other exception is a bug in soundmark: it carries the
name of the input that was processed, as a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

MAX_CHARS = 1000  # of a message; a longer one is shortened in the middle


# Control characters, line and paragraph separators, marks that change the direction of writing, and lone surrogates.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")


class SoundmarkError(Exception):
    r"""The base class of all soundmark exceptions.

    >>> print(SoundmarkError('the label "a\nb" is not a class.'))
    the label "a\nb" is not a class.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(as_line(message))


def as_line(message: str) -> str:
    r"""Replace line breaks and tabs by their escapes, and other unprintable characters by U+FFFD; shorten a long line.

    >>> as_line("a\nb\x1b[31m")
    'a\\nb�[31m'
    """
    for character, shown in (("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        message = message.replace(character, shown)
    message = UNPRINTABLE.sub("\ufffd", message)
    if len(message) <= MAX_CHARS:
        return message
    tail = MAX_CHARS // 3
    return f"{message[: MAX_CHARS - tail - 3]} … {message[-tail:]}"


class AudioError(SoundmarkError):
    """A sound cannot be decoded or analysed."""


class DatasetError(SoundmarkError):
    """A data set, or a row of its table, is invalid."""


class SettingsError(SoundmarkError, ValueError):
    """A name is unknown, or a value is invalid."""


class BundleError(SoundmarkError):
    """A model file cannot be used."""


class WeightsError(SoundmarkError):
    """Pretrained weights are missing, or their checksum does not match."""


class OutputError(SoundmarkError):
    """Results cannot be written to the output path."""


MOST_NAMES = 60  # listed in a message


def unknown_name(kind: str, name: str, known: Iterable[str], *, owner: str = "") -> SettingsError:
    """Return the error for an unknown name, with the nearest match and the known names; ``owner`` begins the message.

    >>> print(unknown_name("recipe", "notebook-mell", ["notebook-image", "notebook-mel"]))
    there is no recipe "notebook-mell". Did you mean "notebook-mel"? Known: notebook-image, notebook-mel.
    >>> print(unknown_name("class", "dgo", ["cat", "dog"], owner="the model"))
    the model has no class "dgo". Did you mean "dog"? Known: cat, dog.

    Of many known names, only the similar ones are listed.
    """
    from difflib import get_close_matches  # on use: the command line imports this file before anything else

    names = list(known)
    many = len(names) > MOST_NAMES
    close = get_close_matches(str(name), names, n=3 if many else 1)
    hint = "Did you mean " + " or ".join(f'"{each}"' for each in close) + "? " if close else ""
    missing = f"{owner} has no" if owner else "there is no"
    listed = f"{', '.join(names[:3])}, … and {len(names) - 3} more" if many else ", ".join(names)
    return SettingsError(f'{missing} {kind} "{name}". {hint}Known: {listed}.')


PROCESSING = "while processing "


@contextmanager
def processing(name: object) -> Iterator[None]:
    """Add the name of the input that the block processes to any exception that is not a ``SoundmarkError``, as a note.

    >>> with processing('"street.wav"'):
    ...     1 / 0
    Traceback (most recent call last):
    ZeroDivisionError: division by zero
    while processing "street.wav"
    """
    try:
        yield
    except SoundmarkError:  # its message names the input
        raise
    except Exception as error:
        error.add_note(f"{PROCESSING}{name}")
        raise


def input_of(error: BaseException) -> str | None:
    """Return the name of the input that was processed when ``error`` was raised; None if it is unknown.

    >>> try:
    ...     with processing("the folder"), processing('"street.wav"'):
    ...         1 / 0
    ... except ZeroDivisionError as error:
    ...     input_of(error)
    '"street.wav"'
    """
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith(PROCESSING)]
    return notes[0].removeprefix(PROCESSING) if notes else None
