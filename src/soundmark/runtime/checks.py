"""Validation of numbers from users and files."""

from __future__ import annotations

import math
from numbers import Integral

from soundmark.errors import SettingsError


def is_whole(value: object) -> bool:
    """Return whether a value from a file or recipe is a whole number above 0: a Python ``int``.

    >>> [is_whole(value) for value in (1, 0, 2.0, True, None)]
    [True, False, False, False, False]
    """
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_count(value: object) -> bool:
    """Return whether an argument is a whole number above 0, from Python or NumPy.

    >>> import numpy as np
    >>> [is_count(value) for value in (1, np.int64(2), 0, 2.0, True, None)]
    [True, True, False, False, False, False]
    """
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) > 0


def check_jobs(jobs: int | None) -> None:
    """Raise ``SettingsError`` for an invalid number of parallel workers.

    Raises:
        SettingsError: ``jobs`` is neither None nor a whole number of at least 1.

    >>> check_jobs(0)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: jobs is 0: expected a whole number of at least 1; omit it to use all cores.
    """
    if jobs is not None and not is_count(jobs):
        raise SettingsError(f"jobs is {jobs!r}: expected a whole number of at least 1; omit it to use all cores.")


def is_finite(value: object) -> bool:
    """Return whether a value is a finite real number.

    >>> [is_finite(value) for value in (1, -80.0, math.inf, 10**400, "80", None)]
    [True, True, False, False, False, False]
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the range of a float
        return False
