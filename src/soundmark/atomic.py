"""Files that appear whole or not at all: written beside their place, then renamed into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from soundmark.errors import OutputError


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path``; when the block ends well, what was written there is renamed to ``path``.

    A reader, or the next run after a kill, sees the old file or the new one and never half of one.

    Raises:
        OutputError: the place cannot be written (a read-only folder, a full disk).

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with whole(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("all of it")
    >>> [file.name for file in folder.iterdir()]
    ['a.txt']
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all.

    >>> write_bytes(folder / "new" / "data.bin", b"1234")
    >>> (folder / "new" / "data.bin").read_bytes()
    b'1234'
    """
    with whole(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, line ends as they are, whole or not at all.

    >>> write_text(folder / "a.txt", "Hörprobe")
    >>> (folder / "a.txt").stat().st_size
    9
    """
    write_bytes(path, text.encode())


def make_folder(path: str | os.PathLike[str]) -> Path:
    """``path`` as a folder that exists and can be written to.

    Raises:
        OutputError: it is a file, or it cannot be made or written to.

    >>> make_folder(folder / "run" / "fold-1").is_dir()
    True
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f'"{path}" may not be written to by this user. Choose another folder with -o.')
    return path


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The error for a place that the operating system will not write to, in its own words.

    >>> print(cannot_write(Path("run"), OSError(28, "No space left on device")))
    cannot write "run": No space left on device. Free the place or choose another with -o.
    """
    why = "there is a file of that name" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
    return OutputError(f'cannot write "{path}": {why}. Free the place or choose another with -o.')
