"""``merge``: the results folders of all shards to one, identical to that of one machine.

shard.json of each shard ─▶ checks ─▶ the complete list of files ─▶ results folder
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from soundmark.detection.inputs import Failure, Input
from soundmark.detection.journal import Journal, JournalResults, read_keys
from soundmark.detection.output_formats import FORMATS
from soundmark.detection.results_folder import (
    JOURNAL,
    PARAMETERS,
    SHARD,
    FolderResult,
    FolderWork,
    check_results_folder,
    open_results,
    write_results,
)
from soundmark.detection.settings import Shard
from soundmark.errors import OutputError, SettingsError
from soundmark.runtime import atomic, checksums, output_folder
from soundmark.runtime.checks import check_path, check_paths, is_folder, is_url, parse_json, read_regular, real_path
from soundmark.runtime.text import counted, reason_unreadable

MAX_LISTED = 10


MAX_LIST_BYTES, MAX_PARAMETERS_BYTES = 1 << 30, 1 << 26  # of shard.json, with all its files, and of parameters.json


_Item = tuple[str | None, str | None, tuple[str, str] | None]  # name, key of the result, failure


@dataclass(frozen=True, kw_only=True)
class _Part:
    """The finished folder of a shard."""

    folder: Path
    shard: Shard
    n_files: int  # of the complete list
    list_digest: str
    items: Sequence[_Item]
    parameters: bytes  # the content of parameters.json

    @property
    def settings(self) -> dict[str, Any]:
        """What must be equal in all shards."""
        values: dict[str, Any] = json.loads(self.parameters)
        return {**values, "versions": values["versions"].get("soundmark")}


def merge(folder: str | PathLike[str], shards: Sequence[str | PathLike[str]]) -> FolderResult:
    """Merge the results folders ``shards`` of ``classify --shard`` into ``folder``, as one run would have written it.

    Raises:
        SettingsError: a shard is missing, is given twice, or is of another list of files, model or settings.
        OutputError: ``folder`` cannot be written, or is not a results folder; a shard is unfinished or damaged.

    >>> from soundmark.detection.analysis import analyze
    >>> paths = [clip.path for clip in city.clips[:4]]
    >>> for k in (1, 2):
    ...     _ = analyze(paths, model, folder / f"shard-{k}", shard=f"{k}/2", quiet=True)
    >>> merge(folder / "all", [folder / "shard-1", folder / "shard-2"]).analyzed
    4
    """
    output = Path(check_path("the folder", folder))
    given = check_paths("the shard", shards)
    for path in map(str, (folder, *given)):
        if is_url(path):
            raise SettingsError(f'"{path}" is a URL: copy the results to a folder, and merge folders.')
    parts = _in_order([_read(Path(shard)) for shard in given])
    form = json.loads(parts[0].parameters)["format"]
    FORMATS[form].check()
    check_results_folder(output)
    if any(Path(real_path(output)).is_relative_to(real_path(part.folder)) for part in parts):
        raise SettingsError(
            f'"{output}" is one of the shards, or in one: choose another folder for the merged results.'
        )
    with output_folder.opened(output) as opened:
        open_results(opened, form, fresh=True)
        atomic.write_bytes(output / PARAMETERS, parts[0].parameters)
        with Journal(output / JOURNAL) as journal:
            return write_results(opened, _merged(parts, journal), form)


def _read(folder: Path) -> _Part:
    """Read shard.json and parameters.json of a shard."""
    try:
        about = checksums.parse_verified(read_regular(folder / SHARD, MAX_LIST_BYTES))
        parameters = read_regular(folder / PARAMETERS, MAX_PARAMETERS_BYTES)
        with _damaged(PARAMETERS):
            values = parse_json(parameters)
            if values["format"] not in FORMATS or not isinstance(values["versions"], dict):
                raise ValueError("an unknown format, or no versions")
        with _damaged(SHARD):
            if type(about["files"]) is not int or not isinstance(about["list"], str):
                raise ValueError("a value has another type")
            return _Part(
                folder=folder,
                shard=Shard(about["number"], about["count"]),
                n_files=about["files"],
                list_digest=about["list"],
                items=[_item(*item) for item in about["items"]],
                parameters=parameters,
            )
    except FileNotFoundError as error:
        if not is_folder(folder):
            raise SettingsError(f'"{folder}" does not exist: give the results folders of classify --shard.') from error
        raise OutputError(
            f'"{folder}" is not the folder of a finished shard: it has no {Path(error.filename).name}. Run its '
            "command, classify --shard K/N, to the end."
        ) from error
    except (OSError, ValueError) as error:
        reason = reason_unreadable(error)
        raise OutputError(f'"{folder}" cannot be read ({reason}). Run its command, classify --shard, again.') from error


@contextmanager
def _damaged(name: str) -> Iterator[None]:
    """Turn the errors of missing and of wrong values in the file ``name`` into one."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, SettingsError) as error:
        raise ValueError(f"{name} is damaged") from error


def _item(name: Any, key: Any, failure: Any) -> _Item:
    """Check an entry of shard.json; the name becomes a path below the merged folder, and must not lead out of it."""
    if failure is not None:
        file, reason = failure
        is_valid = isinstance(file, str) and isinstance(reason, str)
        failure = (file, reason)
    else:
        parts = name.split("/")
        is_valid = isinstance(key, str) and "\0" not in name and not {"", ".", ".."}.intersection(parts)
        # On Windows, a name with a backslash or a drive has other parts. A name that no file can have raises an error.
        is_valid = is_valid and Path(name).parts == tuple(parts) and bool(os.fsencode(name))
    if not is_valid:
        raise ValueError("an entry has another type, or a name that is not a path below the folder")
    return name, key, failure


def _in_order(parts: Sequence[_Part]) -> list[_Part]:
    """Return the shards by number, after checking that they belong together and none is missing.

    Raises:
        SettingsError: they do not, or one is.
    """
    if not parts:
        raise SettingsError("no shard was given: name the results folders of classify --shard.")
    first = parts[0]
    by_number: dict[int, _Part] = {}
    for part in parts:
        if part.shard.count != first.shard.count:
            raise SettingsError(f'"{part.folder}" is shard {part.shard}, but "{first.folder}" is {first.shard}.')
        if (part.n_files, part.list_digest) != (first.n_files, first.list_digest):
            raise SettingsError(
                f'"{part.folder}" is of another list of files ({part.n_files:,}) than "{first.folder}" '
                f"({first.n_files:,}): files were added or removed between the runs. Run all shards on one list, with "
                "--files-from."
            )
        if differing := [key for key, value in part.settings.items() if first.settings.get(key) != value]:
            raise SettingsError(
                f'"{part.folder}" and "{first.folder}" differ in {", ".join(differing)}: run all shards with the same '
                "model, options and version of soundmark."
            )
        other = by_number.setdefault(part.shard.number, part)
        if other is not part:
            raise SettingsError(f'"{part.folder}" and "{other.folder}" are the same shard, {part.shard}.')
    if missing := [number for number in range(1, first.shard.count + 1) if number not in by_number]:
        named = ", ".join(map(str, missing[:MAX_LISTED])) + (", …" if len(missing) > MAX_LISTED else "")
        raise SettingsError(
            f"{counted(len(missing), 'shard')} of {first.shard.count} missing: {named}. Give the folders of all."
        )
    return [by_number[number] for number in sorted(by_number)]


def _merged(parts: Sequence[_Part], journal: Journal) -> FolderWork:
    """Copy the results of all shards to ``journal``, in the order of the complete list; return the list."""
    n = parts[0].n_files
    if n != sum(len(part.items) for part in parts):
        raise OutputError(f"the {SHARD} of a shard is damaged: run classify --shard again.")
    where: list[tuple[int, int]] = [(-1, -1)] * n  # of each file: its shard and its index there
    for number, part in enumerate(parts):
        indices = part.shard.indices(n)
        if len(indices) != len(part.items):
            raise OutputError(f'"{part.folder / SHARD}" is damaged: run classify --shard {part.shard} again.')
        for place, index in enumerate(indices):
            where[index] = number, place
    offsets = [read_keys(part.folder / JOURNAL) for part in parts]
    files: list[Input | Failure] = []
    keys: list[str | None] = []
    failures: dict[int, Failure] = {}
    for index, (number, place) in enumerate(where):
        name, key, failure = parts[number].items[place]
        if failure is not None:
            failures[index] = Failure(*failure)
            files.append(failures[index])
        else:
            results = JournalResults(parts[number].folder / JOURNAL, [_offset(parts[number], offsets[number], key)])
            journal.add(str(key), results[0])
            files.append(Input(results[0].file, str(name)))
        keys.append(None if failure is not None else key)
    work = FolderWork(files, keys, journal)
    work.failures = failures
    return work


def _offset(part: _Part, offsets: dict[str, int], key: str | None) -> int:
    if key is None or key not in offsets:
        raise OutputError(
            f'"{part.folder / JOURNAL}" has lost results since it was written: run classify --shard {part.shard} '
            "again, with the same options."
        )
    return offsets[key]
