"""Files that appear whole or not at all, folders held by one process at a time, and JSON that tells damage."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from soundmark.errors import OutputError

PART = re.compile(r"\..+\.\d+\.part", re.DOTALL)  # what a file is called until it is whole: .<name>.<process>.part


@contextmanager
def replacing(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path``; when the block ends well, what was written there is renamed to ``path``.

    A reader, or the next run after a kill, sees the old file or the new one and never half of one. ``durable`` holds
    that for a power cut too: what was written is on the disk before it has its name, and the name before this returns.
    That costs 4 to 8 ms a file; without it, a file whose name survived a power cut may be empty.

    Raises:
        OutputError: the place cannot be written (a read-only folder, a full disk).

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("all of it")
    >>> [file.name for file in folder.iterdir()]
    ['a.txt']
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            _sync(temporary)
        temporary.replace(path)
        if durable and os.name == "posix":  # elsewhere a folder cannot be opened
            with suppress(OSError):  # nor can one be waited for on every network disk; the file itself is whole
                _sync(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until the system has written the file, or a folder's names, to the disk."""
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_partial_files(folder: Path) -> None:
    """Remove what killed processes left half-written in ``folder``. Only who holds the folder alone may call this.

    >>> write_text(folder / ".history.csv.4711.part", "half of i")
    >>> write_text(folder / "notes.part", "mine")
    >>> remove_partial_files(folder)
    >>> [file.name for file in folder.iterdir()]
    ['notes.part']
    """
    for path in folder.glob(".*.part"):
        if PART.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all.

    >>> write_bytes(folder / "new" / "data.bin", b"1234")
    >>> (folder / "new" / "data.bin").read_bytes()
    b'1234'
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, line ends as they are, names of files byte for byte, whole or not at all.

    >>> write_text(folder / "a.txt", "Hörprobe")
    >>> (folder / "a.txt").stat().st_size
    9
    """
    write_bytes(path, text.encode(errors="surrogateescape"))


def make_folder(path: str | os.PathLike[str], remedy: str | None = None) -> Path:
    """``path`` as a folder that exists and can be written to; ``remedy`` is what to do where it cannot.

    Raises:
        OutputError: it is a file, or it cannot be made or written to.

    >>> make_folder(folder / "run" / "fold-1").is_dir()
    True
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error, remedy) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f'"{path}" may not be written to by this user. {remedy or "Choose another folder with -o."}')
    return path


def cannot_write(path: Path, error: OSError, remedy: str | None = None) -> OutputError:
    """The error for a place that the operating system will not write to, in its own words; ``remedy``: what to do.

    >>> print(cannot_write(Path("run"), OSError(28, "No space left on device")))
    cannot write "run": No space left on device. Free the place or choose another with -o.
    """
    why = "there is a file of that name" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
    return OutputError(f'cannot write "{path}": {why}. {remedy or "Free the place or choose another with -o."}')
