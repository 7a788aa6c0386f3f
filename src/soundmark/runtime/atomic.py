"""Write files atomically: a file appears completely or not at all."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from soundmark.errors import OutputError
from soundmark.runtime.checks import check_path, is_folder, is_special

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, quota exceeded, file size limit


PATH_REFUSED = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),  # not permitted, or on a read-only file system
    *(errno.EEXIST, errno.EISDIR, errno.ENOTDIR),  # a file where a folder is needed, or the reverse
    *(errno.ELOOP, errno.ENAMETOOLONG),  # a loop of links, a name that is too long
)

PART = re.compile(r"\.(.+)\.(\d+)\.part", re.DOTALL)  # name of a file until it is complete: .<name>.<process ID>.part


class Guard(Protocol):
    """What decides whether a file in a folder may be replaced; see ``runtime.output_folder``."""

    def writing(self, path: Path, temporary: Path) -> None:
        """Called before ``temporary`` is written; may raise ``OutputError``."""

    def written(self, path: Path, temporary: Path, durable: bool) -> bool:
        """Called before ``temporary`` is renamed to ``path``; return False to keep ``path``, which is the same."""

    def removing(self, path: Path) -> bool:
        """Whether ``path`` may be deleted."""


_guards: dict[str, Guard] = {}  # by the absolute path of the folder


@contextmanager
def guarded(folder: str, guard: Guard) -> Iterator[None]:
    """Let ``guard`` decide about all files below ``folder``, an absolute path, that this process writes.

    >>> class Never:
    ...     def writing(self, path, temporary):
    ...         raise OutputError(f"{path.name} is not written")
    >>> with guarded(str(folder), Never()):
    ...     write_text(folder / "a.txt", "")
    Traceback (most recent call last):
    soundmark.errors.OutputError: a.txt is not written
    """
    _guards[folder] = guard
    try:
        yield
    finally:
        del _guards[folder]


def _guard_of(path: Path) -> Guard | None:
    if not _guards:
        return None
    absolute = os.path.abspath(path)  # noqa: PTH100 - links are not resolved
    return next((guard for folder, guard in _guards.items() if absolute.startswith(folder + os.sep)), None)


@contextmanager
def replacing(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` when the block ends without an error.

    A reader, or the next run after a kill, sees the old file or the new one, never a partial one. With ``durable``, the
    same holds after a power failure: the content is synced to disk before the rename, and the new name before this
    function returns. That takes 4 to 8 ms per file. Without it, a renamed file can be empty after a power failure.

    Raises:
        OutputError: the file cannot be written (for example: read-only folder, full disk), or is a pipe or a device.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("complete")
    >>> [file.name for file in folder.iterdir()]
    ['a.txt']
    """
    path = _checked(path)
    _check_no_device(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    if guard := _guard_of(path):
        guard.writing(path, temporary)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            _sync(temporary)
        if guard is None or guard.written(path, temporary, durable):
            temporary.replace(path)
        if durable and os.name == "posix":  # other systems cannot open a folder
            with suppress(OSError):  # some network file systems cannot sync a folder; the file itself is complete
                _sync(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _checked(path: str | os.PathLike[str]) -> Path:
    if "\0" in check_path("the path of the output", path):
        raise OutputError(f'cannot write "{path}": the path contains a NUL character. Choose another path with -o.')
    return Path(path)


def _check_no_device(path: Path) -> None:
    """Refuse a pipe or a device: a file would replace /dev/null for every program."""
    if is_special(str(path)) and not is_folder(path):
        raise OutputError(f'"{path}" is a pipe or a device, not a file. Choose another path with -o.')


def _sync(path: Path) -> None:
    """Sync a file, or the entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_new_file(path: Path, *, overwrite: bool = False) -> None:
    """Check that ``path`` can be written as a single file: nothing has this path, or ``overwrite`` and a file has.

    Partial files of ``path`` that killed processes left are deleted.

    Raises:
        OutputError: it cannot.

    >>> check_new_file(folder / "why.png")
    >>> write_text(folder / "why.png", "mine")
    >>> check_new_file(folder / "why.png")
    Traceback (most recent call last):
    soundmark.errors.OutputError: ...why.png" exists already. Choose another file with -o, or replace it with ...
    """
    if is_folder(path):
        raise OutputError(f'"{path}" is a folder: give a file name with -o.')
    _check_no_device(path)
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f'"{path}" exists already. Choose another file with -o, or replace it with --overwrite.')
    _remove_partial(path)


def _remove_partial(path: Path) -> None:
    """Delete what killed processes left of ``path``: its partial files, if their process has ended."""
    if os.name != "posix":  # elsewhere, there is no harmless way to ask whether a process runs
        return
    with suppress(OSError):
        for file in path.parent.iterdir():
            part = PART.fullmatch(file.name)
            if part and part[1] == path.name and file.is_file() and not file.is_symlink() and has_ended(int(part[2])):
                file.unlink()


def has_ended(process_id: int) -> bool:
    """Return whether no process has this ID. Call it on POSIX only: elsewhere, to ask may end the process.

    >>> has_ended(os.getpid())
    False
    """
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def remove(path: Path) -> None:
    """Delete a file if it exists; in an open output folder, only if soundmark wrote it and it has not changed.

    Raises:
        OutputError: the file cannot be deleted.

    >>> write_text(folder / "a.txt", "")
    >>> remove(folder / "a.txt")
    >>> list(folder.iterdir())
    []
    """
    guard = _guard_of(path)
    if guard is None or guard.removing(path):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path`` atomically.

    >>> write_bytes(folder / "new" / "data.bin", b"1234")
    >>> (folder / "new" / "data.bin").read_bytes()
    b'1234'
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` to ``path`` atomically, as UTF-8. Line ends and undecodable bytes of file names are preserved.

    >>> write_text(folder / "a.txt", "Hörprobe")
    >>> (folder / "a.txt").stat().st_size
    9
    """
    write_bytes(path, text.encode(errors="surrogateescape"))


def make_folder(path: str | os.PathLike[str], remedy: str | None = None) -> Path:
    """Create the folder ``path`` if needed, and check that it is writable; ``remedy`` ends the message if not.

    Raises:
        OutputError: ``path`` is a file, or it cannot be created or written to.

    >>> make_folder(folder / "run" / "fold-1").is_dir()
    True
    """
    path = _checked(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error, remedy) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f'"{path}" is not writable (permission denied). {remedy or "Choose another folder with -o."}')
    return path


def cannot_write(path: Path, error: OSError, remedy: str | None = None) -> OutputError:
    """Return the error for a path that cannot be written; ``remedy`` replaces the default advice.

    >>> print(cannot_write(Path("run"), OSError(28, "No space left on device")))
    cannot write "run": No space left on device. Free some disk space, or choose another path with -o.
    """
    reason, default = error.strerror, "Choose another path with -o."
    if isinstance(error, FileExistsError | NotADirectoryError):
        reason, default = "a file with this name exists", "Remove it, or choose another path with -o."
    elif error.errno in DISK_FULL:
        default = "Free some disk space, or choose another path with -o."
    return OutputError(f'cannot write "{path}": {reason}. {remedy or default}')
