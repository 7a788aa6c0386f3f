"""Rows of measurements, and their table in Markdown with machine, data and versions."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from soundmark.datasets import Dataset
from soundmark.runtime import provenance


@dataclass(frozen=True, kw_only=True)
class Row:
    """A measurement of soundmark, that of a baseline, and whether the target is met."""

    what: str
    ours: str
    baseline: str
    ratio: str
    target: str
    met: bool | None = None  # None: there is no target
    needed: str = ""  # why it can miss its target or be slower than the baseline, and what it would need


@dataclass(frozen=True, kw_only=True)
class Section:
    """The rows of a part of the benchmark, with its heading."""

    title: str
    rows: Sequence[Row]


def compared(
    what: str,
    ours: Sequence[float],
    baseline: Sequence[float],
    *,
    unit: str,
    target: float | None = None,
    at_most: bool = False,
    needed: str = "",
) -> Row:
    """Compare measurements that were taken in turn, such as seconds; lower is better.

    The ratio is baseline / ours (how many times faster), or ours / baseline with ``at_most``; ``target`` is its lower
    bound, or its upper bound with ``at_most``. The ratio is that of the medians; its range is over the rounds.
    """

    def quotient(mine: float, theirs: float) -> float:
        return mine / theirs if at_most else theirs / mine

    ratio = quotient(statistics.median(ours), statistics.median(baseline))
    per_round = [quotient(a, b) for a, b in zip(ours, baseline, strict=True)]
    met = None if target is None else (ratio <= target if at_most else ratio >= target)
    return Row(
        what=what,
        ours=f"{_number(statistics.median(ours))} {unit}",
        baseline=f"{_number(statistics.median(baseline))} {unit}",
        ratio=f"{ratio:.2f} × ({min(per_round):.2f}…{max(per_round):.2f})",
        target="" if target is None else f"{'≤' if at_most else '≥'} {target:g} ×",
        met=met,
        needed=needed,
    )


def _number(value: float) -> str:
    """Three digits, or all digits of a larger whole number."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table_lines(rows: Sequence[Row], baseline: str = "baseline") -> list[str]:
    """The lines of the table; ``baseline`` is the heading of its third column."""
    met = {None: "", True: "yes", False: "**no**"}
    return [
        f"| what | soundmark | {baseline} | ratio (range over the rounds) | target | met |",
        "|---|---|---|---|---|---|",
        *(f"| {r.what} | {r.ours} | {r.baseline} | {r.ratio} | {r.target} | {met[r.met]} |" for r in rows),
    ]


def as_markdown(sections: Sequence[Section], versions: Mapping[str, str], dataset: Path, seconds: float) -> str:
    """The tables of all sections, the targets that were missed, and the machine, the data and the versions."""
    machine, data = provenance.machine(), Dataset.open(dataset)
    packages = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    lines = [
        *section_lines(sections),
        "## Machine, data, versions",
        "",
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}.  ",
        f"Data: {len(data.clips):,} clips of {data.name}.  ",
        f"Versions: Python {provenance.versions()['python']}, {packages}.  ",
        f"The run took {seconds / 60:.0f} min.",
    ]
    return "\n".join(lines) + "\n"


def section_lines(sections: Sequence[Section]) -> list[str]:
    """The lines of a table for each section, and of the list of the targets that were missed."""
    lines: list[str] = []
    for section in sections:
        lines += [f"## {section.title}", "", *table_lines(section.rows), ""]
    missed = [missed_line(row) for section in sections for row in section.rows if row.met is False]
    return [*lines, "## Targets that were missed", "", *(missed or ["None."]), ""]


def missed_line(row: Row) -> str:
    """An item of the list of missed targets: the measurement, its target, and what it would need."""
    measured = f"{row.ours} ({row.ratio})" if row.ratio else row.ours
    return f"- {row.what}: {measured}, target {row.target}. {row.needed}".rstrip()
