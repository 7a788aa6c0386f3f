"""Folder locks: one process at a time writes to a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from soundmark.errors import OutputError
from soundmark.runtime import atomic


@contextmanager
def exclusive(folder: Path, *, on_wait: Callable[[], None] | None = None, remedy: str | None = None) -> Iterator[None]:
    """Lock ``folder`` for this thread, which may lock it again; a killed process releases its lock.

    Where another process has the lock, this is refused; with ``on_wait``, that is called and the lock waited for.
    ``remedy`` says what to do where the folder cannot be written.

    Raises:
        OutputError: another process has the lock, or the folder cannot be written.

    >>> with exclusive(folder / "run"), exclusive(folder / "run"):
    ...     (folder / "run").is_dir()
    True
    """
    from filelock import FileLock, Timeout

    path = atomic.make_folder(folder, remedy).resolve() / ".lock"
    lock = FileLock(path, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        if on_wait is None:
            raise OutputError(
                f'another soundmark is writing to "{folder}". Wait for it, or choose another folder with -o.'
            ) from error
        on_wait()
        lock.acquire()
    except OSError as error:
        raise atomic.cannot_write(folder / ".lock", error, remedy) from error
    try:
        yield
    finally:
        lock.release()
