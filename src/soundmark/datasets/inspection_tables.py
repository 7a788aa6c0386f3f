"""An inspection as sentences and tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from soundmark.datasets.inspection import Duplicates, Finding, Inspection, SharedRecording

MOST_ROWS = 50  # of a table of faults for people; the Inspection holds them all


@dataclass(frozen=True)
class Section:
    """A part of the inspection as a person reads it: a title, a sentence, a table (which may have no rows)."""

    title: str
    text: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def to_sections(inspection: Inspection) -> tuple[Section, ...]:
    """The inspection in words and tables, for whoever draws them; every fault has a sentence, also where there is none.

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
        durations = f"{low:.3f} s to {high:.3f} s, median {middle:.3f} s; {_hours(lengths_s.sum())} in all"
    return (
        Section(
            "Data set",
            f'{inspection.name}, {inspection.share}, {len(inspection.classes)} classes, in "{inspection.root}"',
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


def _counts_section(inspection: Inspection) -> Section:
    heads = [f"fold {fold}" if fold is not None else "no fold" for fold in inspection.folds]
    rows = [
        (name, *map(str, counts), str(counts.sum()))
        for name, counts in zip(inspection.classes, inspection.counts, strict=True)
    ]
    if inspection.unlabelled.any():
        rows.append(("none of these", *map(str, inspection.unlabelled), str(inspection.unlabelled.sum())))
    several = inspection.counts.sum() > (inspection.clips - inspection.unlabelled).sum()
    text = "A clip with several labels counts in each of its classes, and once in all." if several else ""
    total = ("all", *map(str, inspection.clips), str(inspection.clips.sum()))
    return Section("Clips per class and fold", text, ("class", *heads, "all"), (*rows, total))


def _fault_sections(inspection: Inspection) -> list[Section]:
    """A summary, then a table for each fault that there is."""
    found = [f"{number} {what}" for what, number in inspection.faults.items() if number]
    summary = "; ".join(found) or "none found: every clip can be read, is whole, sounds, and stands there once"
    clips, lists = ("path", "class", "fold", "what"), ("path", "reason")
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
        ("Left out", lists, [(one.path, one.reason) for one in inspection.skipped]),
    )
    details = [
        Section(title, _count_text(len(rows)), columns, tuple(rows[:MOST_ROWS]))
        for title, columns, rows in tables
        if rows
    ]
    return [Section("Faults", summary), *details]


def _count_text(number: int) -> str:
    return f"{number}" if number <= MOST_ROWS else f"{number}, the first {MOST_ROWS} of them:"


Rows = list[tuple[str, ...]]


def _finding_rows(findings: Sequence[Finding]) -> Rows:
    return [(one.path, one.label, _fold(one.fold), one.detail) for one in findings]


def _duplicate_rows(groups: Sequence[Duplicates]) -> Rows:
    return [
        (
            _unique(group.paths),
            _unique(group.labels),
            _unique(map(_fold, group.folds)),
            "files" if group.same_files else "samples",
        )
        for group in groups
    ]


def _recording_rows(recordings: Sequence[SharedRecording]) -> Rows:
    return [(one.source, _unique(map(str, one.folds)), _unique(one.labels)) for one in recordings]


def _unique(words: Iterable[str]) -> str:
    """Each word once, in the order in which they come."""
    return ", ".join(dict.fromkeys(words))


def _fold(fold: int | None) -> str:
    return "" if fold is None else str(fold)


def _hours(seconds: float) -> str:
    """A length in the unit that suits it.

    >>> _hours(90), _hours(9000)
    ('1.5 min', '2.5 h')
    """
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
