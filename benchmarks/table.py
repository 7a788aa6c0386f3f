"""A measurement as a row, and the rows as a table that says on what they were made."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from soundmark.datasets import Dataset
from soundmark.runtime import provenance


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured, on whom, and whether it is as good as it should be."""

    what: str
    ours: str
    peer: str
    ratio: str
    bar: str
    reached: bool | None = None  # None: told, not asked for


def compared(
    what: str, ours: Sequence[float], peer: Sequence[float], *, unit: str, bar: float | None = None, most: bool = False
) -> Row:
    """A row of seconds (or milliseconds …) taken in turns: how many times as quick we are, or with ``most`` as slow.

    The ratio is that of the medians; the spread, that of the turns' own ratios.
    """

    def quotient(mine: float, theirs: float) -> float:
        return mine / theirs if most else theirs / mine

    ratio = quotient(statistics.median(ours), statistics.median(peer))
    turns = [quotient(a, b) for a, b in zip(ours, peer, strict=True)]
    reached = None if bar is None else (ratio <= bar if most else ratio >= bar)
    told = "" if bar is None else f"{'≤' if most else '≥'} {bar:g} ×"
    return Row(
        what=what,
        ours=f"{statistics.median(ours):.3g} {unit}",
        peer=f"{statistics.median(peer):.3g} {unit}",
        ratio=f"{ratio:.2f} × ({min(turns):.2f}…{max(turns):.2f})",
        bar=told,
        reached=reached,
    )


def as_markdown(rows: Sequence[Row], versions: Mapping[str, str], dataset: Path, seconds: float) -> str:
    """The table, and under it the machine, the data and the versions."""
    lines = [
        "| what | soundmark | peer | ratio (spread over the turns) | bar | reached |",
        "|---|---|---|---|---|---|",
    ]
    verdict = {None: "", True: "yes", False: "**no**"}
    lines += [f"| {r.what} | {r.ours} | {r.peer} | {r.ratio} | {r.bar} | {verdict[r.reached]} |" for r in rows]
    machine, data = provenance.machine(), Dataset.open(dataset)
    packages = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    lines += [
        "",
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}.  ",
        f"Data: {len(data.clips):,} clips of {data.name}.  ",
        f"Versions: Python {provenance.versions()['python']}, {packages}.  ",
        f"The run took {seconds / 60:.0f} minutes.",
    ]
    return "\n".join(lines) + "\n"
