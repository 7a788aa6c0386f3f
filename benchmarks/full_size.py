"""Measure what UrbanSound8K costs at its full size of 8 732 clips: time, memory and disk of each command.

    python benchmarks/full_size.py DATASET [--folder FOLDER]

Where DATASET is only a part of UrbanSound8K, its clips are repeated under new recording numbers until each of the ten
folds has its official number of clips; the figures then hold for the size, not for the scores. Writes a Markdown table.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from soundmark.datasets import Dataset
from soundmark.evaluation.plan import describe_cost, make_plan
from soundmark.training.named_recipes import recipe_named

FOLD_SIZES = (873, 888, 925, 990, 936, 823, 838, 806, 816, 837)  # UrbanSound8K's own
NEW_RECORDING = 10_000_000  # added to a recording's number for each repetition
COMMANDS = (
    ("inspect", "{data}"),
    ("spectrograms", "{data}", "{out}/pictures"),
    ("train", "{data}", "-o", "{out}/mel", "--recipe", "notebook-mel", "--epochs", "1"),
)
COMPARISONS = {
    "compare (the notebook's two recipes)": ("notebook-image", "notebook-mel"),
    "compare --recipe transfer": ("transfer",),
    "compare --recipe scratch": ("scratch",),
}


def lay_out(source: Path, root: Path) -> Path:
    """Write a data set of full size in ``root``, with hard links to the clips of ``source``."""
    with (source / "metadata" / "UrbanSound8K.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    written = []
    for fold, size in enumerate(FOLD_SIZES, start=1):
        (root / "audio" / f"fold{fold}").mkdir(parents=True)
        of_fold = [row for row in rows if row["fold"] == str(fold)] or rows
        for number, row in enumerate(itertools.islice(itertools.cycle(of_fold), size)):
            recording = int(row["fsID"]) + NEW_RECORDING * (100 * fold + number // len(of_fold))
            name = "-".join([str(recording), *row["slice_file_name"].split("-")[1:]])
            origin = source / "audio" / f"fold{row['fold']}" / row["slice_file_name"]
            os.link(origin, root / "audio" / f"fold{fold}" / name)
            written.append({**row, "slice_file_name": name, "fsID": recording, "fold": fold})
    (root / "metadata").mkdir()
    with (root / "metadata" / "UrbanSound8K.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(written[0]))
        table.writeheader()
        table.writerows(written)
    return root


def size_mb(folder: Path) -> float:
    """Return the size of all files below a folder in megabytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def measure(arguments: tuple[str, ...], data: Path, out: Path, environment: dict[str, str]) -> str:
    """Run one command; return its row of the table."""
    words = [word.format(data=data, out=out) for word in arguments]
    before = size_mb(out)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "soundmark.cli", *words, "--quiet"], env=environment, capture_output=True, text=True
    )
    seconds = time.monotonic() - start
    if done.returncode == 2:
        raise SystemExit(done.stderr)
    memory_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
    command = " ".join(arguments).format(data="UrbanSound8K", out=".").replace("./", "")
    return f"| `soundmark {command}` | {seconds:.0f} s | {size_mb(out) - before:.0f} MB | {memory_mb:.0f} MB |"


def main() -> None:
    """Read the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--folder", type=Path, help="where to work (default: beside the data set, for hard links)")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=arguments.folder or arguments.dataset.resolve().parent))
    try:
        data = lay_out(arguments.dataset, folder / "UrbanSound8K")
        out = folder / "out"
        (out / "cache").mkdir(parents=True)
        environment = {**os.environ, "SOUNDMARK_CACHE": str(out / "cache")}
        print(f"{len(Dataset.open(data)):,} clips, {os.cpu_count()} cores\n")
        print("| command | time | disk | largest process so far |\n|---|---:|---:|---:|")
        for command in COMMANDS:
            print(measure(command, data, out, environment), flush=True)
        print()
        for name, recipes in COMPARISONS.items():
            plan = make_plan(Dataset.open(data), [recipe_named(recipe) for recipe in recipes])
            print(f"{name}: {describe_cost(plan, out / 'run').splitlines()[-1]}\n", flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
