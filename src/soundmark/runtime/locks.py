"""Folder locks: only one process at a time writes to a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from soundmark.errors import OutputError
from soundmark.runtime import atomic


@contextmanager
def exclusive(folder: Path, *, on_wait: Callable[[], None] | None = None, remedy: str | None = None) -> Iterator[None]:
    """Lock ``folder`` for this thread, which may lock it again. The lock of a killed process is released.

    If another process has the lock, call ``on_wait`` and wait for the lock; without ``on_wait``, raise an error.
    ``remedy`` is the advice in the message if the folder is not writable.

    Raises:
        OutputError: another process has the lock, or the folder is not writable.

    >>> with exclusive(folder / "run"), exclusive(folder / "run"):
    ...     (folder / "run").is_dir()
    True
    """
    from filelock import FileLock, Timeout

    path = atomic.make_folder(folder, remedy).resolve() / ".lock"
    if not _is_lock(path):
        raise OutputError(
            f'"{folder / ".lock"}" is not a lock of soundmark. {remedy or "Move it, or choose another folder with -o."}'
        )
    lock = FileLock(path, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        if on_wait is None:
            raise OutputError(
                f'another soundmark process is writing to "{folder}". Wait for it, or choose another folder with -o.'
            ) from error
        on_wait()
        lock.acquire()
    except OSError as error:
        raise atomic.cannot_write(folder / ".lock", error, remedy) from error
    try:
        yield
    finally:
        lock.release()


def _is_lock(path: Path) -> bool:
    """Whether ``path`` is missing or the file of a lock: empty, or with the process that has it."""
    if not os.path.lexists(path):
        return True
    if path.is_symlink() or not path.is_file():
        return False
    try:
        content = path.read_bytes()[:100]
    except OSError:
        return True  # reported when the lock is acquired
    return not content or content.split(maxsplit=1)[0].isdigit()
