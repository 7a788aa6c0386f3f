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


def compared(
    what: str,
    ours: Sequence[float],
    baseline: Sequence[float],
    *,
    unit: str,
    target: float | None = None,
    at_most: bool = False,
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
        ours=f"{statistics.median(ours):.3g} {unit}",
        baseline=f"{statistics.median(baseline):.3g} {unit}",
        ratio=f"{ratio:.2f} × ({min(per_round):.2f}…{max(per_round):.2f})",
        target="" if target is None else f"{'≤' if at_most else '≥'} {target:g} ×",
        met=met,
    )


def table_lines(rows: Sequence[Row], baseline: str = "baseline") -> list[str]:
    """The lines of the table; ``baseline`` is the heading of its third column."""
    met = {None: "", True: "yes", False: "**no**"}
    return [
        f"| what | soundmark | {baseline} | ratio (range over the rounds) | target | met |",
        "|---|---|---|---|---|---|",
        *(f"| {r.what} | {r.ours} | {r.baseline} | {r.ratio} | {r.target} | {met[r.met]} |" for r in rows),
    ]


def as_markdown(rows: Sequence[Row], versions: Mapping[str, str], dataset: Path, seconds: float) -> str:
    """The table, followed by the machine, the data and the versions."""
    machine, data = provenance.machine(), Dataset.open(dataset)
    packages = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    lines = [
        *table_lines(rows),
        "",
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}.  ",
        f"Data: {len(data.clips):,} clips of {data.name}.  ",
        f"Versions: Python {provenance.versions()['python']}, {packages}.  ",
        f"The run took {seconds / 60:.0f} minutes.",
    ]
    return "\n".join(lines) + "\n"
