"""Count the operations of a function: growth is tested without a clock."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

SCANS = ("count", "index", "remove")  # methods of a list or tuple that compare with all its elements


def operations(function: Callable[[], object]) -> int:
    """Run ``function``; return the number of Python and C functions it called, and of elements that lists compared."""
    n = 0

    def profile(frame: Any, event: str, called: Any) -> None:
        nonlocal n
        if event in ("call", "c_call"):
            n += 1
        if event == "c_call" and called.__name__ in SCANS and isinstance(called.__self__, list | tuple):
            n += len(called.__self__)

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return n
