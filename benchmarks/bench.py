"""Everything that soundmark claims of speed, against its peers, as one table: ``make bench``.

    python benchmarks/bench.py [DATASET] [--parts features,training,accuracy,store] [--output FILE.md]

DATASET is laid out as UrbanSound8K is; without one, the real clips beside the checkout are taken where they are there,
and a synthesised city where they are not. Each part runs its contenders in turn, in one run, and checks that they say
the same; a row has the median of each, the ratio of the medians, the ratios' spread over the turns, and the bar. The
features, the training and the store take minutes; its accuracy, ten trainings of the notebook's length, half an hour.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import parts
from contenders import BUILD
from soundmark.datasets import synthetic
from table import Row, as_markdown

SHARED = Path(__file__).resolve().parents[2] / "shared" / "urbansound8k" / "unpack.py"
PARTS = {
    "features": parts.features,
    "training": parts.training,
    "accuracy": parts.accuracy,
    "store": parts.store,
}


def dataset(given: Path | None) -> Path:
    """The clips to measure on."""
    if given:
        return given
    folder = BUILD / ("native" if SHARED.exists() else "city")
    path = folder / "UrbanSound8K"
    if not (folder / "ready").exists():
        print(f"laying out the clips in {folder} …", file=sys.stderr)
        if SHARED.exists():
            subprocess.run([sys.executable, SHARED, folder, "--native"], check=True, stdout=subprocess.DEVNULL)
        else:
            synthetic.write(path, recordings_per_class=50, clips_per_recording=4)
        (folder / "ready").touch()
    return path


def main() -> None:
    """Read the command line, run the parts, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, nargs="?")
    parser.add_argument("--parts", default=",".join(PARTS), help="which of %(default)s")
    parser.add_argument("--output", type=Path, default=BUILD / "bench.md", help="default: %(default)s")
    options = parser.parse_args()
    chosen = options.parts.split(",")
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    BUILD.mkdir(parents=True, exist_ok=True)
    os.environ["SOUNDMARK_CACHE"] = str(BUILD / "cache")
    path = dataset(options.dataset)
    rows: list[Row] = []
    versions: dict[str, str] = {}
    started = time.perf_counter()
    for name in chosen:
        print(f"{name} …", file=sys.stderr)
        rows += PARTS[name](path, versions)
        options.output.write_text(as_markdown(rows, versions, path, time.perf_counter() - started), encoding="utf-8")
    print(options.output.read_text(encoding="utf-8"))
    print(f"also in {options.output}", file=sys.stderr)
    sys.exit(any(row.reached is False for row in rows))


if __name__ == "__main__":
    main()
