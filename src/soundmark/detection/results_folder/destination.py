"""Where results go: a folder, or a URL of an object store, to which a folder in the cache is copied.

    s3://sensors/june ─ journal ─▶ folder in the cache ─ analysis ─▶ the same folder ─ all its files ─▶ s3://sensors/june

The journal at the URL lets a run resume on any machine. Only objects that soundmark wrote there, unchanged since, are
replaced or deleted. ``OBJECTS``, an object beside them, lists each with its size, its SHA-256 and the store's tag; an
object is listed before it is written, so that those of a killed run are known too.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from soundmark.audio.remote import store
from soundmark.detection.journal import Journal, JournalResults, read_keys
from soundmark.detection.results_folder import JOURNAL, PARAMETERS, SHARD, FolderResult
from soundmark.errors import OutputError
from soundmark.runtime import checksums, locks, output_folder
from soundmark.runtime.cache import cache_folder
from soundmark.runtime.checks import is_url
from soundmark.runtime.progress import Progress, no_progress
from soundmark.runtime.text import shortened

OBJECTS = ".soundmark-objects.json"


SCHEMES = ("s3", "gs")


BRACKETS = frozenset("[]")  # no bucket has them


RESERVED = {PARAMETERS, JOURNAL, SHARD, "files.csv", "errors.csv"}


LIST_BYTES = 1 << 28  # most of OBJECTS: of two million objects


UPLOADS = 8  # at the same time


BLOCK_BYTES = 1 << 20


@contextmanager
def destination(folder: str | Path, *, fresh: bool = False) -> Iterator[Destination]:
    """Give where the results of a run are written, and published when it has ended.

    ``folder`` is a path or a URL. Without ``fresh``, the results in the journal at the URL are added to those of the
    journal in the cache, which an interrupted run on this machine leaves.

    Raises:
        OutputError: the URL is not one of an object store, the store cannot be read, or the objects there are not
            results; another process on this machine writes to it.

    >>> with destination(folder / "out") as place:
    ...     place.folder == folder / "out"
    True
    """
    if not is_url(str(folder)):
        yield Destination(Path(folder))
        return
    url = check_url(str(folder))
    place = cache_folder() / "results" / hashlib.sha256(url.encode()).hexdigest()[:16]
    with _errors(url):
        objects = _Objects(url)
    with locks.exclusive(place):
        with _errors(url):
            if not fresh:
                objects.fetch_journal(place / JOURNAL)
            objects.check_unchanged()
            objects.write_list()  # also to see, before hours of work, that objects can be written
        yield Destination(place, objects)


def check_url(url: str) -> str:
    """Check that results can be written to ``url``; return it without a slash at the end.

    Raises:
        OutputError: they cannot.

    >>> check_url("s3://sensors/june/")
    's3://sensors/june'
    """
    scheme, _, rest = url.partition("://")
    bucket = rest.partition("/")[0]
    if scheme not in SCHEMES or not bucket or BRACKETS.intersection(bucket):
        raise OutputError(f'results cannot be written to "{shortened(url, 200)}": give s3://… or gs://…, or a folder.')
    return url.rstrip("/")


@dataclass(frozen=True)
class Destination:
    """Where results are written: the ``folder`` on this machine, and, for a URL, the objects there."""

    folder: Path
    objects: _Objects | None = None

    def publish(self, found: FolderResult, on_progress: Progress = no_progress) -> FolderResult:
        """Copy the results to the URL, if there is one; return them with their place.

        Raises:
            OutputError: an object is in the way that soundmark did not write, or that changed since; the store cannot
                be written. The results are in the folder.

        >>> from soundmark.detection.results_folder import DetectionSettings, analyze_to_folder
        >>> with destination(folder / "out") as place:
        ...     found = analyze_to_folder(model, [], DetectionSettings(), place.folder)
        ...     place.publish(found).folder == folder / "out"
        True
        """
        if self.objects is None:
            return found
        with output_folder.opened(self.folder) as output:
            names = [name for name in (*output.names(), JOURNAL) if (self.folder / name).is_file()]
        with _errors(self.objects.url):
            self.objects.replace(self.folder, names, on_progress)
        return replace(found, folder=self.objects.url)


class _Version(NamedTuple):
    """The content of an object that soundmark wrote; ``tag`` is the store's, or "" if it is not known yet."""

    size: int
    sha256: str
    tag: str


class _Objects:
    """The objects below ``url``: those that are ``there``, and the versions of each that soundmark ``wrote``."""

    def __init__(self, url: str) -> None:
        self.url, self.there = url, store.contents(url)
        if self.there and OBJECTS not in self.there:
            name = shortened(min(self.there), 100)
            raise OutputError(
                f'"{self.url}" is not a results folder: it contains "{name}". Choose another URL with -o.'
            )
        self.wrote: dict[str, list[_Version]] = self._listed() if self.there else {}
        for name in sorted(set(self.there) - set(self.wrote)):
            if name in RESERVED or name.startswith(("results.", "files/")):
                raise self._in_the_way(name)

    def fetch_journal(self, path: Path) -> None:
        """Add the results in the journal at the URL to the one at ``path``."""
        if JOURNAL not in self.there or (path.is_file() and _version(path)[:2] == self.wrote[JOURNAL][-1][:2]):
            return
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetched-") as folder:
            fetched = Path(folder) / JOURNAL
            with fetched.open("wb") as file:
                file.writelines(self._blocks(JOURNAL))
            offsets = read_keys(fetched)
            with Journal(path) as journal:
                for key, found in zip(offsets, JournalResults(fetched, list(offsets.values())), strict=True):
                    if key not in journal:
                        journal.add(key, found)

    def check_unchanged(self) -> None:
        """Raise an error if another run has written its list since this one read it, which may take minutes."""
        if store.contents(self.url).get(OBJECTS) != self.there.get(OBJECTS):
            raise OutputError(
                f'another run has just written to "{self.url}": run the command again, to resume from it.'
            )

    def replace(self, folder: Path, names: Iterable[str], on_progress: Progress) -> None:
        """Write the files with these ``names`` to the URL, and delete what soundmark wrote there before."""
        self.there = store.contents(self.url)
        new = {name: _version(folder / name) for name in names}
        old = {name: self._find(name, version) for name, version in new.items()}
        if foreign := [name for name in new if name in self.there and old[name] is None]:
            raise self._in_the_way(foreign[0], f' The results are in "{folder}".')
        gone = {name: [found] for name in self.wrote if name not in new and (found := self._find(name))}
        self.wrote = {name: [each for each in (old[name], version) if each] for name, version in new.items()} | gone
        self.write_list()
        changed = [name for name, version in new.items() if (old[name] or (0, ""))[:2] != version[:2]]
        with ThreadPoolExecutor(UPLOADS) as pool:
            uploads = pool.map(lambda name: store.upload(folder / name, f"{self.url}/{name}"), changed)
            for done, _ in enumerate(uploads, 1):
                on_progress("copying results", done, len(changed), "files")
        for name in gone:
            store.delete(f"{self.url}/{name}")
        self.there = store.contents(self.url)
        tags = {name: identity[1] for name, identity in self.there.items() if identity}
        self.wrote = {name: [version._replace(tag=tags.get(name, ""))] for name, version in new.items()}
        self.write_list()

    def write_list(self) -> None:
        """Write which objects soundmark wrote."""
        values = checksums.with_checksum({"schema": 1, "objects": self.wrote})
        store.write(json.dumps(values).encode(), f"{self.url}/{OBJECTS}")

    def _find(self, name: str, *more: _Version) -> _Version | None:
        """Return the version of an object that is there, if soundmark wrote it or it is one of ``more``."""
        if name not in self.there:
            return None
        versions = [*self.wrote.get(name, ()), *more]
        size, tag = self.there[name] or ["-1", ""]
        for version in versions:
            if tag and (version.size, version.tag) == (int(size), tag):
                return version
        if int(size) not in [version.size for version in versions]:
            return None
        digest = hashlib.sha256()
        for block in self._blocks(name):
            digest.update(block)
        return next((version for version in versions if version.sha256 == digest.hexdigest()), None)

    def _in_the_way(self, name: str, more: str = "") -> OutputError:
        what = "changed after soundmark wrote it" if name in self.wrote else "was not written by soundmark"
        return OutputError(
            f'"{self.url}/{name}" exists already and {what}. Move it, or choose another URL with -o.{more}'
        )

    def _blocks(self, name: str) -> Iterator[bytes]:
        with store.open_object(f"{self.url}/{name}") as file:
            while block := file.read(BLOCK_BYTES):
                yield block
            file.check()

    def _listed(self) -> dict[str, list[_Version]]:
        try:
            if int((self.there[OBJECTS] or ["0"])[0]) > LIST_BYTES:
                raise ValueError("it is too large")
            values: Any = checksums.parse_verified(b"".join(self._blocks(OBJECTS)))["objects"]
            return {name: [_Version(int(size), sha256, tag) for size, sha256, tag in values[name]] for name in values}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutputError(f'"{self.url}/{OBJECTS}" is damaged: choose another URL with -o.') from error


def _version(path: Path) -> _Version:
    return _Version(path.stat().st_size, checksums.file_checksum(path), "")


@contextmanager
def _errors(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise OutputError(f'the bucket of "{url}" does not exist.') from error
    except PermissionError as error:
        raise OutputError(f'"{url}" cannot be written (permission denied): check the credentials.') from error
    except OSError as error:
        reason = shortened(" ".join(str(error).split()) or type(error).__name__, 200).rstrip(".")
        raise OutputError(f'results cannot be copied to "{url}": {reason}.') from error
