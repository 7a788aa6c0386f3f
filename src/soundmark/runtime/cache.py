"""The cache folder, where features and downloaded weights are kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder that ``SOUNDMARK_CACHE`` names, or else the user's cache folder on this system (platformdirs).

    >>> cache_folder() == folder / "cache"  # the examples run with SOUNDMARK_CACHE
    True
    """
    if given := os.environ.get("SOUNDMARK_CACHE"):
        return Path(given)
    from platformdirs import user_cache_path

    return user_cache_path("soundmark", appauthor=False)
