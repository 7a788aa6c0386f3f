"""Checks of values that come from outside: whole numbers, finite numbers."""

from __future__ import annotations

import math


def is_whole(value: object) -> bool:
    """Whether a value is a whole number above 0.

    >>> [is_whole(value) for value in (1, 0, 2.0, True, None)]
    [True, False, False, False, False]
    """
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_finite(value: object) -> bool:
    """Whether a value is a finite real number.

    >>> [is_finite(value) for value in (1, -80.0, math.inf, 10**400, "80", None)]
    [True, True, False, False, False, False]
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the range of a float
        return False
