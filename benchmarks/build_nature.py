"""Build the recordings of nature that soundmark includes, from packages of Debian 12; it was run once.

    python benchmarks/build_nature.py --sounds DIR

``background_sounds.csv`` lists the recordings, those marked "shipped" are included. DIR contains the packages unpacked,
as ``real_backgrounds.py`` says. Of a longer recording, the loudest ten seconds are used.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import soundfile

from soundmark import audio

RATE_HZ, LONGEST_S, GAP_S = 48000, 10.0, 0.25
PEAK = 10 ** (-3 / 20)
COMPRESSION = 0.9  # of Opus: 32 kbit/s
LISTED = Path(__file__).with_name("background_sounds.csv")
FOLDER = Path(__file__).parents[1] / "src/soundmark/audio/nature"
COLUMNS = ("start_s", "stop_s", "group", "author", "licence", "source", "file")


def loudest(samples: np.ndarray) -> np.ndarray:
    """The part of ``LONGEST_S`` with the highest power, found in steps of 0.25 s; its peak is −3 dBFS."""
    n = round(LONGEST_S * RATE_HZ)
    if len(samples) > n:
        energy = np.concatenate([[0], np.cumsum(np.square(samples, dtype=np.float64))])
        starts = np.arange(0, len(samples) - n + 1, RATE_HZ // 4)
        start = starts[np.argmax(energy[starts + n] - energy[starts])]
        samples = samples[start : start + n]
    return samples * np.float32(PEAK / np.abs(samples).max())


def main() -> None:
    """Write ``sounds.opus`` and ``sounds.csv``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, required=True)
    sounds = parser.parse_args().sounds
    with LISTED.open(encoding="utf-8", newline="") as file:
        listed = [row for row in csv.DictReader(file) if row["part"] == "shipped"]
    parts, rows, at = [], [], 0
    gap = np.zeros(round(GAP_S * RATE_HZ), np.float32)
    for row in listed:
        samples = loudest(audio.read(sounds / row["package"] / row["path"], rate_hz=RATE_HZ).samples)
        times = {"start_s": f"{at / RATE_HZ:.6f}", "stop_s": f"{(at + len(samples)) / RATE_HZ:.6f}"}
        rows.append(times | {name: row[name] for name in COLUMNS[2:-1]} | {"file": Path(row["path"]).name})
        parts += [samples, gap]
        at += len(samples) + len(gap)
    with soundfile.SoundFile(
        FOLDER / "sounds.opus", "w", RATE_HZ, 1, format="OGG", subtype="OPUS", compression_level=COMPRESSION
    ) as file:
        for part in parts:
            file.write(part)
    with (FOLDER / "sounds.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} recordings, {at / RATE_HZ:.0f} s, {(FOLDER / 'sounds.opus').stat().st_size} bytes")


if __name__ == "__main__":
    main()
