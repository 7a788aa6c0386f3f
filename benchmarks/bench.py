"""Measure soundmark's speed and accuracy against the libraries of the original notebook, as one table: ``make bench``.

    python benchmarks/bench.py [DATASET] [--parts features,training,accuracy,store,transfer,…] [--output FILE.md]

The notebook is "Spectrogram Classification with the UrbanSound8K Dataset"; beyond it, transfer, detection, archives and
the server are compared with scripts of the same work in librosa, joblib, PyTorch, scikit-learn and ONNX Runtime, and
with OpenSoundscape.
DATASET has the layout of UrbanSound8K. By default, the real clips beside the checkout are used, or a synthetic city if
there are none. Each part runs soundmark
and its baseline in turn and checks that their outputs agree. A row contains the median of each, the ratio of the
medians, the range of the ratios over the rounds, and the target. Each part takes minutes; accuracy, ten trainings of
the notebook's length, takes half an hour.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import parts
import toolkits
import use_parts
from contenders import BUILD
from soundmark.datasets import synthetic
from table import Row, as_markdown

UNPACK_SCRIPT = Path(__file__).resolve().parents[2] / "shared" / "urbansound8k" / "unpack.py"  # of the real clips
PARTS = {
    "features": parts.features,
    "training": parts.training,
    "accuracy": parts.accuracy,
    "store": parts.store,
    "transfer": use_parts.transfer,
    "detection": use_parts.clip_and_hour,
    "files": use_parts.many_files,
    "archive": use_parts.archive,
    "server": use_parts.server,
    "toolkits": toolkits.toolkits,
}


def prepare_dataset(path: Path | None) -> Path:
    """Return ``path``; if it is None, unpack the real clips or write a synthetic data set, once."""
    if path:
        return path
    folder = BUILD / ("native" if UNPACK_SCRIPT.exists() else "city")
    path = folder / "UrbanSound8K"
    if not (folder / "ready").exists():
        print(f"writing the clips to {folder} …", file=sys.stderr)
        if UNPACK_SCRIPT.exists():
            subprocess.run([sys.executable, UNPACK_SCRIPT, folder, "--native"], check=True, stdout=subprocess.DEVNULL)
        else:
            synthetic.write(path, recordings_per_class=50, clips_per_recording=4)
        (folder / "ready").touch()
    return path


def main() -> None:
    """Parse the command line, run the parts, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, nargs="?")
    parser.add_argument("--parts", default=",".join(PARTS), help="parts to run (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=BUILD / "bench.md", help="default: %(default)s")
    options = parser.parse_args()
    chosen = options.parts.split(",")
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}: expected {', '.join(PARTS)}")
    BUILD.mkdir(parents=True, exist_ok=True)
    os.environ["SOUNDMARK_CACHE"] = str(BUILD / "cache")
    path = prepare_dataset(options.dataset)
    rows: list[Row] = []
    versions: dict[str, str] = {}
    start = time.perf_counter()
    for name in chosen:
        print(f"{name} …", file=sys.stderr)
        rows += PARTS[name](path, versions)
        options.output.write_text(as_markdown(rows, versions, path, time.perf_counter() - start), encoding="utf-8")
    print(options.output.read_text(encoding="utf-8"))
    print(f"also in {options.output}", file=sys.stderr)
    sys.exit(any(row.met is False for row in rows))


if __name__ == "__main__":
    main()
