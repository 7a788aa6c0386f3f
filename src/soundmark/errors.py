"""What can go wrong, as one small tree, and how a message is phrased.

    SoundmarkError
    ├── AudioError       a sound that cannot be read, or that nothing can be computed from
    ├── DatasetError     a data set that is not one, or a row of it that cannot be meant
    ├── SettingsError    a name or a value that soundmark does not know
    ├── BundleError      a model file that cannot be used
    ├── WeightsError     pretrained weights that are not here, or are others
    └── OutputError      a place that results cannot be written to, or that holds other results

A message is one sentence or two: what, where, its value, what is allowed, what to do next. The command line
prints the message of a ``SoundmarkError`` and exits with 2; anything else is a defect of soundmark's.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SoundmarkError(Exception):
    """The parent of every error that soundmark raises on purpose."""


class AudioError(SoundmarkError):
    """A sound cannot be read, or nothing can be computed from it."""


class DatasetError(SoundmarkError):
    """A data set, or a row of one, is not what it should be."""


class SettingsError(SoundmarkError, ValueError):
    """A name or a value that soundmark does not know."""


class BundleError(SoundmarkError):
    """A model file cannot be used."""


class WeightsError(SoundmarkError):
    """Pretrained weights cannot be had."""


class OutputError(SoundmarkError):
    """Results cannot be written where they should go."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> SettingsError:
    """The error for a name that is not among the known ones, with the nearest match.

    >>> print(unknown_name("recipe", "notebook-mell", ["notebook-image", "notebook-mel"]))
    there is no recipe "notebook-mell". Did you mean "notebook-mel"? Known: notebook-image, notebook-mel.
    """
    names = list(known)
    close = get_close_matches(str(name), names, n=1)
    hint = f'Did you mean "{close[0]}"? ' if close else ""
    return SettingsError(f'there is no {kind} "{name}". {hint}Known: {", ".join(names)}.')
