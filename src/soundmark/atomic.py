"""Files that appear whole or not at all, folders held by one process at a time, and JSON that tells damage."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from soundmark.errors import OutputError

PART = re.compile(r"\..+\.\d+\.part", re.DOTALL)  # what a file is called until it is whole: .<name>.<process>.part
SEAL = "sha256"


@contextmanager
def whole(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path``; when the block ends well, what was written there is renamed to ``path``.

    A reader, or the next run after a kill, sees the old file or the new one and never half of one. ``durable`` holds
    that for a power cut too: what was written is on the disk before it has its name, and the name before this returns.
    That costs 4 to 8 ms a file; without it, a file whose name survived a power cut may be empty.

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
        if durable:
            _to_disk(temporary)
        temporary.replace(path)
        if durable and os.name == "posix":  # elsewhere a folder cannot be opened
            with suppress(OSError):  # nor can one be waited for on every network disk; the file itself is whole
                _to_disk(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Wait until the system has written the file, or a folder's names, to the disk."""
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-written in ``folder``. Only who holds the folder alone may call this.

    >>> write_text(folder / ".history.csv.4711.part", "half of i")
    >>> write_text(folder / "notes.part", "mine")
    >>> sweep(folder)
    >>> [file.name for file in folder.iterdir()]
    ['notes.part']
    """
    for path in folder.glob(".*.part"):
        if PART.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values``, plain as JSON has them, with a digest of them all as the last entry: see ``unsealed``.

    >>> sorted(sealed({"accuracy": 0.7}))
    ['accuracy', 'sha256']
    """
    return {**values, SEAL: _digest(values)}


def unsealed(values: Any) -> dict[str, Any]:
    """What was given to ``sealed``, from what JSON read back of it.

    Raises:
        ValueError: it is no longer what was sealed.

    >>> unsealed(sealed({"accuracy": 0.7}))
    {'accuracy': 0.7}
    >>> unsealed({**sealed({"accuracy": 0.7}), "accuracy": 0.9})
    Traceback (most recent call last):
    ValueError: its checksum does not fit
    """
    if not isinstance(values, dict):
        raise ValueError("it is not a table of values")
    rest = {key: value for key, value in values.items() if key != SEAL}
    if values.get(SEAL) != _digest(rest):
        raise ValueError("its checksum does not fit")
    return rest


def _digest(values: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(values))  # as it will be read back: keys are text, tuples are lists
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all.

    >>> write_bytes(folder / "new" / "data.bin", b"1234")
    >>> (folder / "new" / "data.bin").read_bytes()
    b'1234'
    """
    with whole(path) as temporary:
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


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this thread, which may hold it once more, however it is named then. A kill lets it go.

    Raises:
        OutputError: another process holds it, or it cannot be written.

    >>> with only_one(folder / "run"), only_one(folder / "run"):
    ...     (folder / "run").is_dir()
    True
    """
    from filelock import FileLock, Timeout

    lock = FileLock(make_folder(folder).resolve() / ".lock", is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(
            f'another soundmark is writing to "{folder}". Wait for it, or choose another folder with -o.'
        ) from error
    except OSError as error:
        raise cannot_write(folder / ".lock", error) from error
    try:
        yield
    finally:
        lock.release()


def cannot_write(path: Path, error: OSError, remedy: str | None = None) -> OutputError:
    """The error for a place that the operating system will not write to, in its own words; ``remedy``: what to do.

    >>> print(cannot_write(Path("run"), OSError(28, "No space left on device")))
    cannot write "run": No space left on device. Free the place or choose another with -o.
    """
    why = "there is a file of that name" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
    return OutputError(f'cannot write "{path}": {why}. {remedy or "Free the place or choose another with -o."}')
