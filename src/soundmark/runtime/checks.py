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

    >>> [is_finite(value) for value in (1, -80.0, math.inf, "80", None)]
    [True, True, False, False, False]
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
