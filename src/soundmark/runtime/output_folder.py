"""Output folders with a manifest: only files that soundmark wrote, unchanged since, are replaced or deleted.

    with output_folder.opened(folder) as output:     # locked for this process
        output.check("results.csv")                  # a foreign file in the way is refused before hours of work
        atomic.write_text(folder / "results.csv", text)
        output.remove("results.json")                # only if soundmark wrote it

While a folder is open, everything that ``runtime.atomic`` writes below it is checked against the manifest and added to
it, whichever module writes it. The manifest has one line per file: its path, size and SHA-256. The line is written
before the file gets its name, so that a file of a killed run is known too.

A file that is on the manifest but has changed since is renamed, never replaced. Symbolic links below the folder are
never followed; the folder itself may be a link.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, TypeGuard

from soundmark.errors import OutputError
from soundmark.runtime import atomic, locks
from soundmark.runtime.checks import is_folder, parse_json

log = logging.getLogger("soundmark")

MANIFEST = ".soundmark-files.jsonl"

RECENT_LINES = 100  # of the manifest: more than files can be written at the same time


# Of files that commands write: a folder with such a name is a mistake.
FILE_SUFFIXES = {".csv", ".html", ".json", ".jsonl", ".onnx", ".parquet", ".pdf", ".png", ".svg", ".toml", ".txt"}


NO_URL = (
    "expected a path on this machine. Sound files are read from URLs, and classify writes its results to one; copy "
    "anything else with another program, such as aws s3 sync."
)


REMEDY = "Move it, or choose another folder with -o."

Digest = tuple[int, str]  # size in bytes, SHA-256


def _nothing(path: Path) -> bool:
    return False


class OutputFolder:
    """The files of an open output folder; see ``opened``."""

    def __init__(self, folder: Path, recognised: Callable[[Path], bool], remedy: str) -> None:
        self.folder = folder
        self._root = os.path.abspath(folder)  # noqa: PTH100 - of a link, the path of the link
        self._recognised, self._remedy = recognised, remedy
        self._digests: dict[str, list[Digest]] = {}  # the last two of each file: a kill leaves either
        self._growing: set[str] = set()
        self._pending: set[str] = set()  # files being written: a kill leaves their partial files
        self._claimed: set[str] = set()  # files that other processes write, where nothing was before
        self._adopts = False
        self._lines, self._ends_with_line = 0, True
        self._lock = threading.Lock()
        self._file: FileIO | None = None
        self._load()

    def check(self, *names: str) -> None:
        """Check that the files with these names, relative to the folder, can be written.

        Raises:
            OutputError: a foreign file, a folder or a symbolic link is in the way.
        """
        for name in names:
            path = self.folder / name
            if self._status(path) == "foreign":
                raise self._foreign(path)

    def check_folder(self, name: str) -> None:
        """Check that ``name`` can be a folder for files: it is one, or is missing.

        Raises:
            OutputError: a file or a symbolic link is in the way.
        """
        _check_parents(self.folder, f"{name}/file", self._remedy)

    def names(self) -> list[str]:
        """Return the names of the files on the manifest, relative to the folder; some may be missing."""
        return list(self._digests)

    def remove(self, name: str) -> bool:
        """Delete a file if soundmark wrote it and it has not changed; return whether it is gone.

        Raises:
            OutputError: the file cannot be deleted, or its path contains a symbolic link.
        """
        path = self.folder / name
        atomic.remove(path)
        if os.path.lexists(path):
            return False
        if self._digests.pop(name, None):
            self._append(path, {"removed": name})
        return True

    def growing(self, name: str, fits: Callable[[Path], bool], *, head: bytes) -> Path:
        """Return the path of a file that soundmark appends to, such as a journal.

        ``fits`` says whether the file of an earlier version is one. One on the manifest begins with ``head``, else it
        is renamed.

        Raises:
            OutputError: a foreign file has this name.
        """
        path = self.folder / name
        size = _size(path, self._remedy)
        if name in self._growing:
            if size and not _begins_with(path, head):
                self._set_aside(path)
        else:
            if size and not (self._adopts and fits(path)):
                raise self._foreign(path)
            self._append(path, {"path": name, "grows": True})
            self._growing.add(name)
        return path

    def clear(self, names: Iterable[str]) -> None:
        """Prepare files that other processes will write: delete those of an earlier run; list all as being written.

        Raises:
            OutputError: a foreign file, a folder or a symbolic link is in the way.
        """
        names = list(names)
        self.check(*names)
        for name in names:
            if not self.remove(name):
                self._set_aside(self.folder / name)
        new = [name for name in names if name not in self._claimed]
        if new:
            self._append(self.folder / new[0], *({"claimed": name} for name in new))
        self._claimed.update(new)

    def add(self, *names: str) -> None:
        """List files that other processes wrote after ``clear``."""
        for name in names:
            path = self.folder / name
            if name in self._claimed and path.is_file() and not path.is_symlink():
                self._record(path, name, _digest(path), durable=False)

    def writing(self, path: Path, temporary: Path) -> None:
        """Check ``path`` before a file is written; part of ``atomic.Guard``."""
        name = self._name(path)
        check_path(self.folder, name, self._remedy)
        if os.path.lexists(temporary):
            raise self._foreign(temporary)
        if name not in self._pending:
            self._append(path, {"pending": name})
            self._pending.add(name)

    def written(self, path: Path, temporary: Path, durable: bool) -> bool:
        """Return whether ``temporary`` may replace ``path``; False if the same content is there."""
        name, digest = self._name(path), _digest(temporary)
        status = self._status(path)
        if status == "changed":
            self._set_aside(path)
        elif status == "foreign" and _digest(path) != digest:
            raise self._foreign(path)
        self._record(path, name, digest, durable=durable)
        return status != "foreign"

    def removing(self, path: Path) -> bool:
        """Return whether ``path`` may be deleted."""
        return self._status(path) == "own"

    def close(self) -> None:
        """Close the manifest; shorten it to one line per file, if many lines are outdated."""
        if self._file:
            self._file.close()
            self._file = None
        content = self._content()
        if self._lines <= 2 * len(content) + 100:
            return
        path = self.folder / MANIFEST
        temporary = path.with_name(f"{MANIFEST}.new")
        with suppress(OSError):  # the long manifest is as good
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            with os.fdopen(handle, "wb") as file:
                file.writelines(map(_line, content))
            temporary.replace(path)

    def _content(self) -> list[dict[str, Any]]:
        """Return the values of the lines of a new manifest."""
        files = [
            {"path": name, "size": size, "sha256": digest}
            for name, digests in self._digests.items()
            for size, digest in digests[-1:]
        ]
        growing = [{"path": name, "grows": True} for name in sorted(self._growing)]
        unfinished = [{"pending": name} for name in sorted(self._pending)]
        unfinished += [{"claimed": name} for name in sorted(self._claimed)]
        return [{"soundmark_manifest": 1, "adopts": self._adopts}, *growing, *files, *unfinished]

    def _load(self) -> None:
        path = self.folder / MANIFEST
        if not _size(path, self._remedy):
            self._adopts = any(not name.startswith(".") for name in os.listdir(self.folder))  # noqa: PTH208 - only the names
            return
        data = path.read_bytes()
        lines = [_values(line) for line in data.split(b"\n") if line]
        if not lines or "soundmark_manifest" not in lines[0]:
            raise self._foreign(path)
        self._adopts = bool(lines[0].get("adopts"))
        self._lines, self._ends_with_line = len(lines), data.endswith(b"\n")
        for values in lines[1:]:
            self._read(values)
        # A kill between the line of a file and its renaming leaves its partial file, though it is not pending any more.
        self._remove_partial_files({str(values.get("path")) for values in lines[-RECENT_LINES:]})

    def _read(self, values: dict[str, Any]) -> None:
        name = values.get("path")
        if _is_inside(values.get("removed")):
            self._digests.pop(values["removed"], None)
        for key, names in (("pending", self._pending), ("claimed", self._claimed)):
            if _is_inside(values.get(key)):
                names.add(values[key])
        if not _is_inside(name):
            return
        if values.get("grows"):
            self._growing.add(name)
        elif isinstance(values.get("size"), int) and isinstance(values.get("sha256"), str):
            self._add_digest(name, (values["size"], values["sha256"]))

    def _add_digest(self, name: str, digest: Digest) -> None:
        self._digests[name] = [*(one for one in self._digests.get(name, ()) if one != digest), digest][-2:]
        self._pending.discard(name)
        self._claimed.discard(name)

    def _remove_partial_files(self, recent: set[str]) -> None:
        """Remove the partial files of those that a killed run was writing; ``recent`` are the last names it listed."""
        unfinished = {self.folder / name for name in self._pending | self._claimed}
        listed = {self.folder / name: self._digests[name] for name in recent & set(self._digests)}
        for parent in {path.parent for path in (*unfinished, *listed)}:
            with suppress(OSError, OutputError):
                _check_parents(self.folder, self._name(parent / "file"), self._remedy)
                for path in list(parent.iterdir()):
                    part = atomic.PART.fullmatch(path.name)
                    if part is None or not stat.S_ISREG(path.lstat().st_mode):
                        continue
                    target = parent / part[1]
                    if target in unfinished or (target in listed and _digest(path) in listed[target]):
                        path.unlink()

    def _append(self, path: Path, *lines: dict[str, Any], durable: bool = False) -> None:
        """Append lines to the manifest; ``path`` is the file to name if that fails."""
        with self._lock:
            header = [] if self._lines else [{"soundmark_manifest": 1, "adopts": self._adopts}]
            text = b"" if self._ends_with_line else b"\n"
            text += b"".join(map(_line, (*header, *lines)))
            try:
                if self._file is None:
                    self._file = _open_to_append(self.folder / MANIFEST)
                if self._file.write(text) != len(text):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if durable:
                    os.fsync(self._file.fileno())
            except OSError as error:
                self._ends_with_line = False
                raise atomic.cannot_write(path, error) from error
            self._lines += len(header) + len(lines)
            self._ends_with_line = True

    def _record(self, path: Path, name: str, digest: Digest, *, durable: bool) -> None:
        if digest not in self._digests.get(name, ())[-1:]:
            self._append(path, {"path": name, "size": digest[0], "sha256": digest[1]}, durable=durable)
        self._add_digest(name, digest)

    def _name(self, path: Path) -> str:
        inside = os.path.abspath(path)[len(self._root.rstrip(os.sep)) + 1 :]  # noqa: PTH100 - links are not resolved
        return inside if os.sep == "/" else inside.replace(os.sep, "/")

    def _status(self, path: Path) -> str:
        """Return "missing", "own", "changed" or "foreign".

        Raises:
            OutputError: a folder or a symbolic link is in the way.
        """
        name = self._name(path)
        size = check_path(self.folder, name, self._remedy)
        if size is None:
            return "missing"
        digests = self._digests.get(name)
        if name in self._growing or name in self._claimed:
            return "own"
        if digests:  # a power failure can leave an empty file
            return "own" if size == 0 or (size in dict(digests) and _digest(path) in digests) else "changed"
        if self._adopts and self._recognised(path):
            self._record(path, name, _digest(path), durable=False)
            return "own"
        return "foreign"

    def _set_aside(self, path: Path) -> None:
        """Rename a file that was changed after soundmark wrote it."""
        number, kept = 1, path.with_name(f"{path.name}.changed")
        while os.path.lexists(kept):
            number += 1
            kept = path.with_name(f"{path.name}.changed-{number}")
        try:
            path.rename(kept)
        except OSError as error:
            raise atomic.cannot_write(path, error) from error
        log.warning('"%s" was changed after soundmark wrote it: it is kept as "%s"', path, kept.name)

    def _foreign(self, path: Path) -> OutputError:
        return OutputError(f'"{path}" exists already and was not written by soundmark. {self._remedy}')


_open: dict[str, OutputFolder] = {}


@contextmanager
def opened(
    folder: Path,
    *,
    recognised: Callable[[Path], bool] = _nothing,
    remedy: str = REMEDY,
    on_wait: Callable[[], None] | None = None,
) -> Iterator[OutputFolder]:
    """Lock ``folder`` for this thread, create it if needed, and guard its files; it may be opened again inside.

    ``recognised`` says whether a file is one that an earlier version wrote, which had no manifest. ``remedy`` is the
    advice if a foreign file is in the way; ``on_wait`` is called if another process has the lock, see
    ``locks.exclusive``.

    Raises:
        OutputError: the name is that of a file, such as "results.csv", another process has the lock, the folder is not
            writable, or its manifest is a foreign file.

    >>> (folder / "out").mkdir()
    >>> (folder / "out" / "notes.txt").write_text("mine") > 0
    True
    >>> with opened(folder / "out") as output:
    ...     atomic.write_text(folder / "out" / "results.csv", "1,2")
    ...     output.names(), output.remove("results.csv"), output.remove("notes.txt")
    (['results.csv'], True, False)
    >>> with opened(folder / "out"):
    ...     atomic.write_text(folder / "out" / "notes.txt", "yours")
    Traceback (most recent call last):
    soundmark.errors.OutputError: ...notes.txt" exists already and was not written by soundmark. Move it, or ...
    """
    if folder.suffix.lower() in FILE_SUFFIXES and not is_folder(folder):
        raise OutputError(
            f'"{folder}" is the name of a file, but the results are written to a folder: give a name without '
            f'"{folder.suffix}", such as "{folder.stem}".'
        )
    root = os.path.abspath(folder)  # noqa: PTH100 - of a link, the path of the link
    with locks.exclusive(folder, on_wait=on_wait, remedy=None if remedy == REMEDY else remedy):
        if root in _open:
            yield _open[root]
            return
        try:
            output = OutputFolder(folder, recognised, remedy)
        except OSError as error:
            raise atomic.cannot_write(folder, error) from error
        _open[root] = output
        try:
            with atomic.guarded(root, output):
                yield output
        finally:
            del _open[root]
            output.close()


def check_path(folder: Path, name: str, remedy: str = REMEDY) -> int | None:
    """Check that ``name``, relative to ``folder``, can be written as a file: it is one, or is missing.

    Returns:
        Its size in bytes, or None if nothing has this path.

    Raises:
        OutputError: a folder, a symbolic link or a device is in the way.

    >>> check_path(folder, "new/notes.txt") is None
    True
    """
    _check_parents(folder, name, remedy)
    return _size(folder / name, remedy)


def _check_parents(folder: Path, name: str, remedy: str) -> None:
    """Check that the parents of ``name`` below ``folder`` are folders, or missing."""
    parent = str(folder)
    for part in name.split("/")[:-1]:
        parent = f"{parent}{os.sep}{part}"
        try:
            mode = os.lstat(parent).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISLNK(mode):
            raise _is_link(Path(parent), remedy)
        if not stat.S_ISDIR(mode):
            raise OutputError(f'"{parent}" is a file, but soundmark needs a folder there. {remedy}')


def _size(path: Path, remedy: str) -> int | None:
    """Return the size of a regular file in bytes, or None if nothing has this path.

    Raises:
        OutputError: it is a folder, a symbolic link or a device.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise atomic.cannot_write(path, error) from error
    if stat.S_ISLNK(found.st_mode):
        raise _is_link(path, remedy)
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        raise OutputError(f'"{path}" is {what}, but soundmark writes a file there. {remedy}')
    return found.st_size


def _is_link(path: Path, remedy: str) -> OutputError:
    return OutputError(f'"{path}" is a symbolic link: soundmark follows none in its output folder. {remedy}')


def _open_to_append(path: Path) -> FileIO:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return FileIO(os.open(path, flags, 0o666), "ab")


def _begins_with(path: Path, head: bytes) -> bool:
    """Whether a file begins with ``head``, or is cut off inside it."""
    try:
        with path.open("rb") as file:
            return head.startswith(file.read(len(head)))
    except OSError as error:
        raise atomic.cannot_write(path, error) from error


def _digest(path: Path) -> Digest:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return file.tell(), digest
    except OSError as error:
        raise atomic.cannot_write(path, error) from error


def _values(line: bytes) -> dict[str, Any]:
    """Return the values of a line; empty if it is incomplete."""
    try:
        values = parse_json(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _is_inside(name: Any) -> TypeGuard[str]:
    """Whether ``name`` is a path below the folder."""
    return isinstance(name, str) and not Path(name).is_absolute() and ".." not in Path(name).parts


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"
