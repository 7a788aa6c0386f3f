"""Corrections: a folder with labelled clips and the decisions of reviewers, which are only ever appended.

    corrections/
        clips/dawn_4f1c9a8be2d07365.flac
        corrections.csv     path,label,start,end,source,source_start,source_end,decision,…,id

A row is a decision about a section of a recording. ``path`` is the clip that was cut out of it, ``start`` and ``end``
its section in seconds, ``source`` the recording, and ``source_start`` and ``source_end`` the section of that. The other
columns say who decided what, when, about which class (``asked``), and the score that a model gave then. Decisions are

    yes     the class that was asked about is present: ``label``
    label   another class is present, or a region was marked: ``label``
    none    none of the classes is present: the label is "background"
    no      the class that was asked about is absent, and nothing else is known
    skip    the reviewer could not say
    undo    the decision with the id in ``undoes`` no longer counts

Only "yes", "label" and "none" have a label and a clip, so only they are clips of the data set; the clip is missing if
it was discarded because of speech. A "no" is never a clip: without a class it would teach that all other classes are
absent too.

A later decision of the same reviewer on the same section replaces an earlier one. Sections on which reviewers disagree
are skipped, with the reason. Rows end with their id, so a row that was cut off by a kill is recognised, and ignored.
Folders of several reviewers can be joined by copying their clips into one folder and appending their tables: clips are
named by a hash of their samples, ids are random, and headers and rows that are repeated are ignored.
"""

from __future__ import annotations

import csv
import hashlib
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from os import PathLike, fspath
from pathlib import Path

from soundmark.audio.folders import SUFFIXES
from soundmark.datasets.dataset import SEPARATOR, Clip, Dataset, Skipped, split_label, typical_length_s
from soundmark.datasets.layouts.table_reader import MAX_ROW_CHARS, MAX_ROWS, Row, existing_clips
from soundmark.errors import AudioError, DatasetError, as_line, unknown_name
from soundmark.runtime import checksums
from soundmark.runtime.checks import is_file, is_folder, is_url, open_regular
from soundmark.runtime.text import counted, listed

KIND = "a folder of corrections"


OPTIONS = ("classes",)


TABLE, CLIPS = "corrections.csv", "clips"


WITH_LABEL, WITHOUT_LABEL, UNDO = ("yes", "label", "none"), ("no", "skip"), "undo"


DECISIONS = (*WITH_LABEL, *WITHOUT_LABEL, UNDO)


MAX_CELL_CHARS = 200  # of the name of a reviewer or a recording


ID = re.compile(r"c[0-9a-f]{15}")  # begins with a letter: a spreadsheet would take digits for a number


CLIP_PATH = re.compile(rf"{CLIPS}/[^/\\\x00-\x1f.][^/\\\x00-\x1f]*")


@dataclass(frozen=True, kw_only=True)
class Correction:
    """A row of the table: a decision about a section of a recording. The fields are described above; times in seconds.

    >>> Correction(source="dawn.wav 9c3b2a10", source_start_s=2.0, source_end_s=4.0, decision="skip").section
    ('dawn.wav 9c3b2a10', 2.0, 4.0)
    """

    path: str = ""  # relative to the folder; "" without a label
    label: str = ""
    start_s: float = 0.0  # in the clip
    end_s: float | None = None
    source: str = ""
    source_start_s: float = 0.0
    source_end_s: float = 0.0
    decision: str
    asked: str = ""  # the class that was asked about
    score: float | None = None  # of that class, by the model
    model: str = ""  # digest
    reviewer: str = ""
    time: str = ""  # of the decision, ISO 8601
    undoes: str = ""
    id: str = ""

    @property
    def section(self) -> tuple[str, float, float]:
        """The recording, and the section in seconds."""
        return self.source, round(self.source_start_s, 3), round(self.source_end_s, 3)


COLUMNS = tuple(field.name.removesuffix("_s") for field in fields(Correction))


@dataclass(frozen=True)
class Rows:
    """The decisions in a table with their row numbers, each once, and the rows that cannot be read."""

    corrections: dict[int, Correction]
    damaged: tuple[Skipped, ...]


def source_name(path: str | PathLike[str]) -> str:
    """Return the name of a recording: that of its file, and a hash of its content, the same on every machine.

    Raises:
        AudioError: the file cannot be read.

    >>> _ = (folder / "dawn.wav").write_bytes(b"")
    >>> source_name(folder / "dawn.wav")
    'dawn.wav cae66941'
    """
    text = fspath(path)
    if is_url(text):
        digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
        return f"{as_cell(text.rstrip('/').rsplit('/', 1)[-1])} {digest}"
    try:
        status = Path(text).stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            raise AudioError(f'"{text}" is not a regular file: it cannot be read again, so it cannot be corrected.')
        digest = checksums.sampled_digest(text, status.st_size)
    except OSError as error:
        raise AudioError(f'"{text}" cannot be read: {error.strerror}.') from error
    return f"{as_cell(Path(text).name)} {digest[:8]}"


def as_cell(text: str) -> str:
    r"""Return a text on one line, and shortened, for a cell of the table.

    >>> as_cell("dawn\n.wav")
    'dawn\\n.wav'
    """
    return as_line(text)[:MAX_CELL_CHARS]


def find(path: Path) -> Path | None:
    """Return the table if ``path`` is a folder of corrections or its table; else None.

    >>> find(Path(__file__).parent) is None
    True
    """
    table = path / TABLE if is_folder(path) else path
    if table.name != TABLE or not is_file(table):
        return None
    if (table.parent / CLIPS).is_dir():
        return table  # if its columns are other ones, reading it says so
    with table.open("rb") as file:
        first = file.readline(MAX_ROW_CHARS)
    return table if {"path", "decision", "source_start", "id"} <= set(_cells(first) or ()) else None


def load(table: Path, *, classes: Sequence[str] | None = None) -> Dataset:
    r"""Load the clips with a label that counts, in the order of the table; classes by name unless ``classes`` is given.

    Raises:
        DatasetError: no clip has a label, none of the clips exists, or a label is not among ``classes``.

    >>> rows = "path,label,source,source_start,source_end,decision,asked,id"
    >>> rows += "\nclips/a.wav,wren,dawn.wav,2,4,label,,c000000000000001"
    >>> rows += "\n,,dawn.wav,8,9,no,wren,c000000000000002\n"
    >>> (folder / "clips").mkdir()
    >>> for path, text in (("clips/a.wav", ""), ("corrections.csv", rows)):
    ...     _ = (folder / path).write_text(text)
    >>> data = load(folder / "corrections.csv")
    >>> data.classes, [(clip.path.name, clip.label, clip.source) for clip in data.clips]
    (('wren',), [('a.wav', 'wren', 'dawn.wav')])
    """
    rows = read(table)
    usable, skipped = _usable(rows)
    several = any(SEPARATOR in correction.label for correction in usable.values())
    names = {name for each in usable.values() for name in (split_label(each.label) if several else (each.label,))}
    if classes is not None and (unknown := sorted(names - set(classes))):
        raise DatasetError(f'"{table}": {unknown_name("label", unknown[0], classes)}')
    if not usable:
        decisions = counted(len(rows.corrections), "decision")
        raise DatasetError(f'"{table}" has no clip with a label: {decisions}, none of which gives a class that counts.')
    pairs = ((Row(table, number, {}), _clip(table.parent, each)) for number, each in usable.items())
    clips, missing = existing_clips(table.parent, pairs)
    return Dataset(
        name=table.parent.resolve().name,
        root=table.parent,
        classes=tuple(sorted(names, key=lambda name: (name.casefold(), name)) if classes is None else classes),
        clips=clips,
        multi_label=several,
        skipped=(*rows.damaged, *skipped, *missing),
        window_s=typical_length_s(clips),
    )


def has_labels(folder: Path) -> bool:
    """Return whether a folder of corrections has a clip with a label that counts, so that it can be opened.

    >>> has_labels(folder)
    False
    """
    return bool(_usable(read(folder / TABLE))[0])


def _clip(folder: Path, correction: Correction) -> Clip:
    return Clip(
        path=folder / correction.path,
        label=sys.intern(correction.label),
        start_s=correction.start_s,
        stop_s=correction.end_s,
        source=correction.source,
    )


def _usable(rows: Rows) -> tuple[dict[int, Correction], list[Skipped]]:
    """Return the rows of the data set: one for each section with a label; sections without agreement are skipped."""
    opinions: dict[tuple[str, float, float], list[Correction]] = {}
    for each in standing(rows.corrections.values()):
        opinions.setdefault(each.section, []).append(each)
    numbers = {each.id: number for number, each in rows.corrections.items()}
    usable, skipped = {}, []
    for section in opinions.values():
        labelled = [each for each in section if each.decision in WITH_LABEL]
        if not any(each.path for each in labelled):
            continue
        number = numbers[labelled[0].id]
        denied = {each.asked for each in section if each.decision == "no"}
        labels = {each.label for each in labelled}
        if len(labels) > 1 or denied & set(split_label(labelled[0].label)):
            views = listed([f"{each.reviewer or 'one'} says {_view(each)}" for each in section])
            skipped.append(Skipped(labelled[0].path, f"row {number}: the reviewers disagree: {views}"))
        else:
            first = next(each for each in labelled if each.path)
            usable[numbers[first.id]] = first
    return dict(sorted(usable.items())), skipped


def _view(correction: Correction) -> str:
    return (
        correction.label if correction.decision in WITH_LABEL else f"{correction.decision} {correction.asked}".strip()
    )


def standing(corrections: Iterable[Correction]) -> list[Correction]:
    """Return the decisions that count: not undone, and not replaced by a later one of the same reviewer.

    >>> one = Correction(source="a.wav", source_end_s=4.0, decision="yes", label="dog", id="c1")
    >>> two = Correction(source="a.wav", source_end_s=4.0, decision="label", label="cat", id="c2")
    >>> undo = Correction(decision="undo", undoes="c2", id="c3")
    >>> [each.label for each in standing([one, two])], [each.label for each in standing([one, two, undo])]
    (['cat'], ['dog'])
    """
    corrections = list(corrections)
    undone = {each.undoes for each in corrections if each.decision == UNDO}
    found: dict[tuple[object, ...], Correction] = {}
    for each in corrections:
        if each.decision == UNDO or each.id in undone:
            continue
        who = (each.reviewer, *each.section)
        has_label = each.decision in WITH_LABEL
        replaced: list[tuple[object, ...]] = [(*who, "label")] if has_label else []
        replaced += [
            (*who, "skip", each.asked),
            *((*who, "no", name) for name in (*split_label(each.label), each.asked)),
        ]
        earlier = found.get((*who, "label"))
        if each.decision == "no" and earlier is not None and each.asked in split_label(earlier.label):
            replaced.append((*who, "label"))
        for key in replaced:
            found.pop(key, None)
        found[(*who, "label") if has_label else (*who, each.decision, each.asked)] = each
    return list(found.values())


def read(table: Path) -> Rows:
    """Read the rows of a table; a last row that was cut off is ignored.

    Raises:
        DatasetError: the table cannot be read, has no such columns, or has more than ``MAX_ROWS`` rows.

    >>> read(folder / "corrections.csv")
    Rows(corrections={}, damaged=())
    """
    found: dict[str, tuple[int, Correction]] = {}
    damaged, header, delimiter = [], None, None
    for number, line in _lines(table):
        cells = _cells(line, delimiter)
        if header is None:
            header, delimiter = [name.lower() for name in cells or ()], _delimiter(line)
            if missing := [
                name for name in COLUMNS if name in ("path", "label", "decision", "id") and name not in header
            ]:
                raise DatasetError(
                    f'"{table}" is not a table of corrections: it has no column "{missing[0]}". Restore it from a '
                    f"copy, or begin another folder; its columns are {', '.join(COLUMNS)}."
                )
        elif cells is None or (any(cells) and [name.lower() for name in cells] != header):
            correction = _correction(Row(table, number, dict(zip(header, cells or (), strict=False))))
            if correction is not None:
                found.setdefault(correction.id, (number, correction))
            else:
                damaged.append(Skipped(TABLE, f"row {number}: it is incomplete or damaged"))
    return Rows(dict(found.values()), tuple(damaged))


def _lines(table: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines with their numbers, without a last line that is incomplete; none if there is no table."""
    try:
        with open_regular(table) as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_ROW_CHARS), b""), 1):
                if number > MAX_ROWS:
                    raise DatasetError(f'"{table}" has more than {MAX_ROWS:,} rows, the most that a table may have.')
                if line.endswith(b"\n") or is_complete(line):
                    yield number, line
    except FileNotFoundError:
        return
    except OSError as error:
        raise DatasetError(f'"{table}" cannot be read: {error.strerror}.') from error


def is_complete(line: bytes) -> bool:
    """Return whether a row ends with its id.

    >>> is_complete(b"clips/a.wav,wren,c00000000000000f"), is_complete(b"clips/a.wav,wren,c01")
    (True, False)
    """
    return ID.fullmatch((_cells(line) or [""])[-1]) is not None


def _delimiter(line: bytes) -> str:
    return max(",;\t", key=lambda delimiter: line.count(delimiter.encode()))


def _cells(line: bytes, delimiter: str | None = None) -> list[str] | None:
    """Return the cells of a line, which is one row: a damaged one does not affect the next."""
    try:
        text = line.decode("utf-8-sig").strip("\r\n")
        return [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter or _delimiter(line)), [])]
    except (UnicodeDecodeError, csv.Error):
        return None


def _correction(row: Row) -> Correction | None:
    """Return a row as a ``Correction``; None if a cell is not valid."""
    try:
        for name in split_label(row.get("label")):
            row.check_label("label", name)
        values: dict[str, str | float | None] = {}
        for name in COLUMNS:
            if name in ("start", "end", "source_start", "source_end"):
                values[f"{name}_s"] = row.seconds(name) if name == "end" else row.seconds(name) or 0.0
            else:
                values[name] = (row.seconds(name) if row.get(name) else None) if name == "score" else row.get(name)
        found = Correction(**values)  # type: ignore[arg-type]
    except DatasetError:
        return None
    return found if ID.fullmatch(found.id) and found.decision in DECISIONS and _is_consistent(found) else None


def _is_consistent(correction: Correction) -> bool:
    if correction.decision not in WITH_LABEL:
        return True
    name = correction.path
    has_clip = not name or (CLIP_PATH.fullmatch(name) is not None and Path(name).suffix.lower() in SUFFIXES)
    in_order = correction.end_s is None or correction.start_s < correction.end_s
    return bool(correction.label.strip()) and has_clip and in_order
