"""Import pandas on demand: it is an optional dependency and slow to import."""

from __future__ import annotations

from types import ModuleType

from soundmark.errors import SettingsError


def import_pandas() -> ModuleType:
    """Import and return pandas.

    Raises:
        SettingsError: pandas is not installed.

    >>> import_pandas().__name__
    'pandas'
    """
    try:
        import pandas
    except ImportError as error:
        raise SettingsError('a DataFrame needs pandas: pip install "soundmark[table]".') from error
    return pandas
