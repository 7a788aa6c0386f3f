"""An inspection as text, HTML and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from soundmark.datasets.inspection import Duplicates, Finding, Inspection, SharedRecording
from soundmark.runtime.dataframes import import_pandas
from soundmark.runtime.text import counted, duration, shortened, spread

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 50  # rows of a printed table of faults; the Inspection contains all of them
NO_FAULTS = "none found: every clip is readable, complete, neither silent nor clipped, and unique"


@dataclass(frozen=True)
class Section:
    """A section of the printed inspection: a title, a sentence, and a table that may be empty."""

    title: str
    text: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def to_sections(inspection: Inspection) -> tuple[Section, ...]:
    """Return the inspection as sections of text and tables, for the command line and Jupyter.

    >>> from soundmark.datasets.inspection import inspect
    >>> from pathlib import Path
    >>> from soundmark import audio
    >>> from soundmark.datasets import Dataset
    >>> import tempfile
    >>> pets = Path(tempfile.mkdtemp())
    >>> (pets / "dog").mkdir()
    >>> audio.write(pets / "dog" / "rex.wav", 0.5 * np.sin(np.arange(8000)), 8000)
    >>> [section.title for section in to_sections(inspect(Dataset.open(pets), jobs=1))]
    ['Data set', 'Clips per class and fold', 'Durations', 'Encodings', 'Faults']
    """
    lengths_s = inspection.durations_s[np.isfinite(inspection.durations_s)]
    durations = "no clip could be read"
    if lengths_s.size:
        low, middle, high = lengths_s.min(), np.median(lengths_s), lengths_s.max()
        each = spread(*(f"{seconds:.3f} s" for seconds in (low, middle, high)))
        durations = f"{each}; {duration(lengths_s.sum())} in all"
    classes = counted(len(inspection.classes), "class")
    return (
        Section(
            "Data set",
            f'{inspection.name}, {inspection.share}, {classes}, in "{inspection.root}"',
        ),
        _counts_section(inspection),
        Section("Durations", durations),
        Section(
            "Encodings",
            f"{len(inspection.encodings)} in all",
            ("encoding", "clips"),
            tuple((str(encoding), str(encoding.clips)) for encoding in inspection.encodings),
        ),
        *_fault_sections(inspection),
    )


def overview(inspection: Inspection) -> str:
    """Return the repr of an inspection: clips, durations, the most frequent encodings, and the number of faults.

    >>> from soundmark.datasets.inspection import inspect
    >>> print(overview(inspect(city, jobs=1, quiet=True)))
    Inspection of "synthetic city": 60 of 60 clips (100 %), 10 classes
      durations: 0.628 s to 4.000 s, median 4.000 s; 3.7 min in all
      encodings: WAV PCM_16, 22.05 kHz, mono (60)
      faults:    none found: ...
    """
    _, _, durations, _, faults, *_ = to_sections(inspection)
    encodings = [f"{encoding} ({encoding.clips})" for encoding in inspection.encodings]
    more = f"; and {len(encodings) - 3} more" if len(encodings) > 3 else ""
    classes = counted(len(inspection.classes), "class")
    return "\n".join(
        (
            f'Inspection of "{shortened(inspection.name)}": {inspection.share}, {classes}',
            f"  durations: {durations.text}",
            f"  encodings: {'; '.join(encodings[:3])}{more}",
            f"  faults:    {faults.text}",
        )
    )


def to_html(inspection: Inspection) -> str:
    """Return the sections as HTML, for Jupyter.

    >>> from soundmark.datasets.inspection import inspect
    >>> to_html(inspect(city, jobs=1, quiet=True)).count("<table>")
    2
    """
    parts = []
    for section in to_sections(inspection):
        parts.append(f"<p><b>{escape(section.title)}</b><br>{escape(section.text)}</p>")
        if section.rows:
            head = "".join(f"<th>{escape(name)}</th>" for name in section.columns)
            body = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in section.rows]
            rows = "".join(f"<tr>{row}</tr>" for row in body)
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
    return "".join(parts)


def to_dataframe(inspection: Inspection) -> pd.DataFrame:
    """Return a DataFrame with one row per problem; see ``Inspection.to_dataframe``.

    Raises:
        SettingsError: pandas is not installed.

    >>> from soundmark.datasets.inspection import inspect
    >>> len(to_dataframe(inspect(city, jobs=1, quiet=True)))
    0
    """
    pd = import_pandas()
    rows = [
        *(("unreadable", one.path, None, None, one.reason) for one in inspection.unreadable),
        *_problem_rows("truncated", inspection.truncated),
        *_problem_rows("silent", inspection.silent),
        *_problem_rows("clipped", inspection.clipped),
        *(row for group in inspection.duplicates for row in _identical_rows(group)),
        *(_shared_row("recording across folds", one) for one in inspection.recordings_in_folds),
        *(_shared_row("recording across folds in one class", one) for one in inspection.recordings_and_class_in_folds),
        *(("skipped", one.path, None, None, one.reason) for one in inspection.skipped),
    ]
    table = pd.DataFrame(rows, columns=["problem", "path", "label", "fold", "detail"])
    return table.astype({"problem": "str", "path": "str", "label": "str", "fold": "Int64", "detail": "str"})


Problem = tuple[str, str | None, str | None, int | None, str]  # problem, path, label, fold, detail


def _problem_rows(problem: str, findings: Sequence[Finding]) -> list[Problem]:
    return [(problem, one.path, one.label, one.fold, one.detail) for one in findings]


def _identical_rows(group: Duplicates) -> list[Problem]:
    """Return a row for each clip of a group that lists the other clips."""
    content = "files" if group.same_files else "samples"
    rows: list[Problem] = []
    for i, clip in enumerate(zip(group.paths, group.labels, group.folds, strict=True)):
        others = ", ".join(path for j, path in enumerate(group.paths) if j != i)
        rows.append(("identical", *clip, f"same {content} as {others}"))
    return rows


def _shared_row(problem: str, one: SharedRecording) -> Problem:
    detail = f"recording {one.source} is in folds {', '.join(map(str, one.folds))} (label: {_unique(one.labels)})"
    return (problem, None, one.labels[0] if len(set(one.labels)) == 1 else None, None, detail)


def _counts_section(inspection: Inspection) -> Section:
    heads = [f"fold {fold}" if fold is not None else "no fold" for fold in inspection.folds]
    rows = [
        (name, *map(str, counts), str(counts.sum()))
        for name, counts in zip(inspection.classes, inspection.counts, strict=True)
    ]
    if inspection.unlabelled.any():
        rows.append(("no class", *map(str, inspection.unlabelled), str(inspection.unlabelled.sum())))
    several = inspection.counts.sum() > (inspection.clips - inspection.unlabelled).sum()
    text = 'A clip with several labels counts in each of its classes, and once in the row "all".' if several else ""
    total = ("all", *map(str, inspection.clips), str(inspection.clips.sum()))
    return Section("Clips per class and fold", text, ("class", *heads, "all"), (*rows, total))


def _singular(kind: str) -> str:
    """Return the name of a kind of fault for one: its first plural is that of what is counted.

    >>> _singular("silent clips"), _singular("recordings across folds"), _singular("groups of identical clips")
    ('silent clip', 'recording across folds', 'group of identical clips')
    """
    return re.sub("(clip|recording|group)s", r"\1", kind, count=1)


def _fault_sections(inspection: Inspection) -> list[Section]:
    """Return a summary, then a table for each kind of fault that was found."""
    found = [
        f"{number} {_singular(kind) if number == 1 else kind}" for kind, number in inspection.faults.items() if number
    ]
    summary = "; ".join(found) or NO_FAULTS
    clips, lists = ("path", "class", "fold", "detail"), ("path", "reason")
    recordings = ("recording", "folds", "classes")
    tables = (
        ("Unreadable", lists, [(one.path, one.reason) for one in inspection.unreadable]),
        ("Truncated", clips, _finding_rows(inspection.truncated)),
        ("Silent", clips, _finding_rows(inspection.silent)),
        ("Clipped", clips, _finding_rows(inspection.clipped)),
        ("Identical clips", ("paths", "classes", "folds", "identical"), _duplicate_rows(inspection.duplicates)),
        ("Recordings across folds", recordings, _recording_rows(inspection.recordings_in_folds)),
        (
            "Recordings across folds in one class",
            recordings,
            _recording_rows(inspection.recordings_and_class_in_folds),
        ),
        ("Skipped", lists, [(one.path, one.reason) for one in inspection.skipped]),
    )
    details = [
        Section(title, _count_text(len(rows)), columns, tuple(rows[:MAX_ROWS]))
        for title, columns, rows in tables
        if rows
    ]
    return [Section("Faults", summary), *details]


def _count_text(number: int) -> str:
    return f"{number}" if number <= MAX_ROWS else f"{number}, the first {MAX_ROWS} of them:"


Rows = list[tuple[str, ...]]


def _finding_rows(findings: Sequence[Finding]) -> Rows:
    return [(one.path, one.label, fold_text(one.fold), one.detail) for one in findings]


def _duplicate_rows(groups: Sequence[Duplicates]) -> Rows:
    return [
        (
            _unique(group.paths),
            _unique(group.labels),
            _unique(map(fold_text, group.folds)),
            "files" if group.same_files else "samples",
        )
        for group in groups
    ]


def _recording_rows(recordings: Sequence[SharedRecording]) -> Rows:
    return [(one.source, _unique(map(str, one.folds)), _unique(one.labels)) for one in recordings]


def _unique(words: Iterable[str]) -> str:
    """Join the distinct words with commas, in order of first appearance."""
    return ", ".join(dict.fromkeys(words))


def fold_text(fold: int | None) -> str:
    """Return a fold as the text of a table cell, empty for a clip without a fold.

    >>> fold_text(3), fold_text(None)
    ('3', '')
    """
    return "" if fold is None else str(fold)
