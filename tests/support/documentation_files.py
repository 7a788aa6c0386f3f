"""The files that the commands of the documentation are run on: sounds, recordings, annotations, a model."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from soundmark import audio
from soundmark.audio.backgrounds import background
from soundmark.datasets import synthetic

SCENE = ("dog_bark", "siren", "car_horn")
BAT_RATE_HZ = 256_000


def write_program(folder: Path) -> Path:
    """Write the programs ``soundmark`` and ``python`` of this environment to a folder; return it."""
    folder.mkdir(parents=True)
    for name, command in (("soundmark", f'"{sys.executable}" -m soundmark.cli'), ("python", f'"{sys.executable}"')):
        (folder / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def write_files(folder: Path, program: Path) -> None:
    """Write everything that the pages name, from synthetic sounds."""
    for number in range(8):
        for label in synthetic.CLASSES:
            write(folder / "sounds" / label / f"{number}.wav", synthetic.synthesise(label, seed=number))
    shutil.copytree(folder / "sounds", folder / "DATASET")
    for name, label in (("street", "car_horn"), ("siren", "siren"), ("horn", "car_horn")):
        write(folder / f"{name}.wav", synthetic.synthesise(label, seed=20))
    for hour in range(3):
        write(folder / "recordings" / f"20240612_{hour:02}0000.wav", scene(hour))
    write(folder / "hour.flac", scene(3))
    for number in range(6):
        sound = background(np.random.default_rng(number), 10 * synthetic.RATE_HZ, synthetic.RATE_HZ)
        write(folder / "site" / "background" / f"{number}.wav", sound)
    (folder / "files.txt").write_text("".join(f"recordings/20240612_{hour:02}0000.wav\n" for hour in range(3)))
    write_annotations(folder)
    write_bats(folder)
    run = [str(program / "soundmark"), "train", "sounds", "-o", "final", "--quiet"]
    subprocess.run(run, cwd=folder, check=True, capture_output=True)
    shutil.copy(folder / "final" / "model.onnx", folder / "model.onnx")


def write(path: Path, samples: np.ndarray, rate_hz: int = synthetic.RATE_HZ) -> None:
    """Write a sound file and its folder."""
    audio.write(path, samples, rate_hz)


def scene(seed: int) -> np.ndarray:
    """Join three sounds, with silence between them."""
    parts = [
        (synthetic.synthesise(label, seed=30 + seed), np.zeros(synthetic.RATE_HZ * 2, np.float32)) for label in SCENE
    ]
    return np.concatenate([part for pair in parts for part in pair])


def write_annotations(folder: Path) -> None:
    """Write recordings with Audacity labels beside them, and the same events as one table."""
    rows = [("path", "label", "start", "end")]
    for number in range(8):
        samples, at, lines = [], 0.0, []
        for label in SCENE:
            sound = synthetic.synthesise(label, seed=50 + number)
            samples += [sound, np.zeros(synthetic.RATE_HZ * 3, np.float32)]
            stop = at + sound.size / synthetic.RATE_HZ
            lines.append(f"{at:.3f}\t{stop:.3f}\t{label}\n")
            rows.append((f"annotated/{number}.wav", label, f"{at:.3f}", f"{stop:.3f}"))
            at = stop + 3
        write(folder / "annotated" / f"{number}.wav", np.concatenate(samples))
        (folder / "annotated" / f"{number}.txt").write_text("".join(lines))
    with (folder / "annotations.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def write_bats(folder: Path) -> None:
    """Write downward chirps as of two bats, at 45 and 90 kHz, in noise."""
    rng = np.random.default_rng(0)
    for number in range(8):
        for label, end_hz in (("pipistrelle", 45_000), ("horseshoe", 90_000)):
            write(folder / "bats" / label / f"{number}.wav", calls(rng, end_hz), BAT_RATE_HZ)
    write(
        folder / "nights" / "20240612_220000.wav",
        np.concatenate([calls(rng, hz) for hz in (45_000, 90_000) * 4]),
        BAT_RATE_HZ,
    )


def calls(rng: np.random.Generator, end_hz: float) -> np.ndarray:
    """Generate half a second of noise with a call of 5 ms every 100 ms."""
    samples = rng.standard_normal(BAT_RATE_HZ // 2).astype(np.float32) * np.float32(0.003)
    time = np.arange(BAT_RATE_HZ // 200) / BAT_RATE_HZ
    call = 0.3 * np.sin(2 * np.pi * (end_hz * time + 1000 * np.exp(-time * 800) / 0.08)) * np.hanning(time.size)
    for start in range(0, samples.size - call.size, BAT_RATE_HZ // 10):
        samples[start : start + call.size] += call.astype(np.float32)
    return samples


def copy_some_clips(root: Path, small: Path, each: int) -> Path:
    """Copy ``each`` clips of each class in each fold of UrbanSound8K, with their rows of the metadata."""
    (small / "metadata").mkdir(parents=True)
    copied: Counter[tuple[str, str]] = Counter()
    table = Path("metadata", "UrbanSound8K.csv")
    with (root / table).open(newline="") as source, (small / table).open("w", newline="") as target:
        rows = csv.DictReader(source)
        writer = csv.DictWriter(target, rows.fieldnames or ())
        writer.writeheader()
        for row in rows:
            clip = Path("audio", f"fold{row['fold']}", row["slice_file_name"])
            if not (root / clip).exists() or copied[row["fold"], row["class"]] == each:
                continue
            copied[row["fold"], row["class"]] += 1
            (small / clip).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / clip, small / clip)
            writer.writerow(row)
    return small
