"""Measure how the time of some operations grows with the number of files, columns or classes: it should be linear.

    python benchmarks/growth.py [--largest 8000] [--only NAME ...]

Prints a table with the processor time of each operation in seconds for n = largest/8, /4, /2 and largest, and the
factor from the last doubling: 2 is linear, 4 quadratic. Times are those of one run; the smallest are noise.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from soundmark import audio
from soundmark.datasets import Dataset
from soundmark.detection.inputs import Input
from soundmark.detection.results_folder import analyze_to_folder
from soundmark.detection.settings import DetectionSettings
from soundmark.errors import AudioError
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model
from soundmark.spectrograms import Mel


def small_model() -> Model:
    """A linear model of two classes, whose own cost is small."""
    nodes = [
        helper.make_node("Flatten", ["spectrogram"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("spectrogram", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.ones((64, 2), np.float32), "weights")],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    return Model(Bundle(data, Card(classes=("a", "b"), representation=Mel(size=(8, 8)), window_s=0.1)))


def equal_names(folder: Path, n: int) -> dict[str, float]:
    """Classify n files with equal base names into a results folder, twice: the second run reads the journal."""
    files = []
    for number in range(n):
        path = folder / str(number) / "rec.wav"
        path.parent.mkdir()
        if number % 10_000 == 0:  # a file system allows no more than 65 000 links to a file
            audio.write(first := path, np.full(800, 0.1, np.float32), 8000)
        else:
            os.link(first, path)
        files.append(Input(str(path), path.name))
    model = small_model()

    def run() -> None:
        analyze_to_folder(model, files, DetectionSettings(), folder / "out", jobs=1)

    return {"classify, equal names": seconds(run), "classify, equal names, again": seconds(run)}


def missing_files(folder: Path, n: int) -> dict[str, float]:
    """Read n missing files of a folder with n files."""
    for number in range(n):
        (folder / f"rec_{number:06}.wav").touch()

    def run() -> None:
        for number in range(n):
            try:
                audio.read(folder / f"gone_{number:06}.wav")
            except AudioError:
                continue
            raise RuntimeError

    return {"missing files": seconds(run)}


def missing_rows(folder: Path, n: int) -> dict[str, float]:
    """Open a table of n existing and n missing files."""
    for number in range(n):
        (folder / f"rec_{number:06}.wav").touch()
    rows = [f"{name}_{number:06}.wav,dog" for number in range(n) for name in ("rec", "gone")]
    table = written(folder / "t.csv", ["path,label", *rows])
    return {"table, half of the files missing": seconds(lambda: Dataset.open(table))}


def wide_table(folder: Path, n: int) -> dict[str, float]:
    """Open a table of n columns and two rows."""
    audio.write(folder / "a.wav", np.zeros(800, np.float32), 8000)
    header = ",".join(["path", "label", *(f"c{number}" for number in range(n))])
    table = written(folder / "t.csv", [header, "a.wav,dog" + "," * n, "a.wav,cat" + "," * n])
    return {"table, n columns": seconds(lambda: Dataset.open(table))}


def many_classes(folder: Path, n: int) -> dict[str, float]:
    """Open a table of n rows, each with a different class."""
    audio.write(folder / "a.wav", np.zeros(800, np.float32), 8000)
    table = written(folder / "t.csv", ["path,label", *(f"a.wav,class {number}" for number in range(n))])
    return {"table, n classes": seconds(lambda: Dataset.open(table))}


MEASUREMENTS: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "equal_names": equal_names,
    "missing_files": missing_files,
    "missing_rows": missing_rows,
    "wide_table": wide_table,
    "many_classes": many_classes,
}


def written(path: Path, lines: list[str]) -> Path:
    """Write a text file; return its path."""
    path.write_text("\n".join(lines))
    return path


def seconds(function: Callable[[], object]) -> float:
    """Return the processor time that a function takes."""
    start_s = time.process_time()
    function()
    return time.process_time() - start_s


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=8000)
    parser.add_argument("--only", nargs="+", choices=list(MEASUREMENTS), default=list(MEASUREMENTS))
    options = parser.parse_args()
    sizes = [options.largest // divisor for divisor in (8, 4, 2, 1)]
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}\n")
    print(f"| Seconds for n = | {' | '.join(f'{n:,}' for n in sizes)} | last doubling |")
    print(f"|---|{'---:|' * (len(sizes) + 1)}")
    for name in options.only:
        found: dict[str, list[float]] = {}
        for n in sizes:
            with tempfile.TemporaryDirectory() as folder:
                for label, taken_s in MEASUREMENTS[name](Path(folder), n).items():
                    found.setdefault(label, []).append(taken_s)
        for label, times in found.items():
            print(f"| {label} | {' | '.join(f'{t:.2f}' for t in times)} | × {times[-1] / times[-2]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
