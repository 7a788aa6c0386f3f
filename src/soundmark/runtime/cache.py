"""The cache folder for features and downloaded weights."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder in ``SOUNDMARK_CACHE``, or the user's cache folder of this system (platformdirs).

    >>> cache_folder() == folder / "cache"  # the examples run with SOUNDMARK_CACHE
    True
    """
    if given := os.environ.get("SOUNDMARK_CACHE"):
        return Path(given)
    from platformdirs import user_cache_path

    return user_cache_path("soundmark", appauthor=False)
