"""pandas, where a DataFrame is asked for: it is an extra, and slow to load."""

from __future__ import annotations

from types import ModuleType

from soundmark.errors import SettingsError


def import_pandas() -> ModuleType:
    """The pandas module, which is loaded only where a DataFrame is asked for.

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
