"""Measure soundmark's speed against what one would use instead, and write docs/benchmarks.md: ``make bench``.

    python benchmarks/bench.py [DATASET] [--parts features,training,store,transfer,…] [--output FILE.md]

The notebook is "Spectrogram Classification with the UrbanSound8K Dataset"; beyond it, transfer, detection, archives and
the server are compared with scripts of the same work in librosa, joblib, PyTorch, scikit-learn and ONNX Runtime, and
with OpenSoundscape.
DATASET has the layout of UrbanSound8K. By default, the real clips beside the checkout are used, or a synthetic city if
there are none. Each part runs soundmark
and its baseline in turn and checks that their outputs agree. A row contains the median of each, the ratio of the
medians, the range of the ratios over the rounds, and the target. Each part takes minutes. The part ``accuracy``, ten
trainings of the notebook's length, takes 40 minutes or more, and is only run if it is named.
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
from contenders import BUILD, HERE
from soundmark.datasets import synthetic
from table import Section, as_markdown

UNPACK_SCRIPT = Path(__file__).resolve().parents[2] / "shared" / "urbansound8k" / "unpack.py"  # of the real clips
PARTS = {
    "features": ("Features", parts.features),
    "training": ("Training the notebook's network", parts.training),
    "store": ("Stored features", parts.store),
    "transfer": ("Transfer, from sound files to a model", use_parts.transfer),
    "detection": ("One clip, and an hour", use_parts.clip_and_hour),
    "files": ("Many files", use_parts.many_files),
    "archive": ("An archive", use_parts.archive),
    "server": ("The server", use_parts.server),
    "toolkits": ("Toolkits of bioacoustics", toolkits.toolkits),
    "accuracy": ("Accuracy of the notebook's network", parts.accuracy),
}
USUAL = [name for name in PARTS if name != "accuracy"]
PAGE = HERE.parent / "docs" / "benchmarks.md"
INTRODUCTION = """\
# Speed, measured against what one would use instead

This page is written by `{command}`. soundmark and each baseline run in turn, in environments that
the benchmark creates; a row has the medians of the rounds, and the range of the ratios. Baselines are what one would
use instead: the notebook's librosa, OpenCV and Keras on TensorFlow, OpenSoundscape, and scripts of the same work with
librosa, joblib, PyTorch and scikit-learn (`benchmarks/peers`). Lower bounds are what no program
can avoid: decoding and resampling on all cores, the network alone in ONNX Runtime, importing the libraries. Where
outputs should agree, they are compared, and the run stops if they do not.

Measured separately: training in bfloat16 and the accuracy against Keras ([RESULTS.md](../benchmarks/RESULTS.md)), the
memory of `classify` for a day of sound ([USING.md](../benchmarks/USING.md)), latencies and memory of the server
([serve.md](serve.md#speed)), ten thousand files on a cluster ([scale.md](scale.md)).

"""


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
    parser.add_argument("--parts", default=",".join(USUAL), help="parts to run (default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, help="default: docs/benchmarks.md for the usual parts, else bench.md in build/bench"
    )
    options = parser.parse_args()
    chosen = options.parts.split(",")
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}: expected {', '.join(PARTS)}")
    output = options.output or (PAGE if chosen == USUAL else BUILD / "bench.md")
    BUILD.mkdir(parents=True, exist_ok=True)
    os.environ["SOUNDMARK_CACHE"] = str(BUILD / "cache")
    path = prepare_dataset(options.dataset)
    words = [
        "python benchmarks/bench.py",
        *([path.name] if options.dataset else []),
        *([f"--parts {options.parts}"] if chosen != USUAL else []),
    ]
    introduction = INTRODUCTION.format(command=" ".join(words))
    sections: list[Section] = []
    versions: dict[str, str] = {}
    start = time.perf_counter()
    for name in chosen:
        print(f"{name} …", file=sys.stderr)
        title, measure = PARTS[name]
        sections.append(Section(title=title, rows=measure(path, versions)))
        page = introduction + as_markdown(sections, versions, path, time.perf_counter() - start)
        (BUILD / "bench.md").write_text(page, encoding="utf-8")  # of the parts so far: a later one may fail
    output.write_text(page, encoding="utf-8")
    print(page)
    print(f"also in {output}", file=sys.stderr)
    sys.exit(any(row.met is False for section in sections for row in section.rows))


if __name__ == "__main__":
    main()
