"""What an hour of sound costs: processor time, memory of the network, bytes of recordings and of results.

    python benchmarks/scale.py UrbanSound8K [--minutes 20]

Clips of the data set are joined to a recording, at 48 kHz in FLAC, and analysed on one core: with the pretrained model,
and with a model of the recipe transfer that is trained on synthetic clips. Processor times hardly depend on other work
of the machine. docs/scale.md computes the cost of a network of sensors from this table.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from soundmark import audio
from soundmark.datasets import Dataset, synthetic
from soundmark.detection.analysis import analyze
from soundmark.models.classifier import Model
from soundmark.models.pretrained import named_models
from soundmark.training.single_model import train

RATE_HZ = 48_000


def write_recording(clips: list[Path], path: Path, minutes: float) -> None:
    """Write clips one after the other, each of them again and again, until the recording is long enough."""
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, subtype="PCM_16") as file:
        number = written = 0
        while written < minutes * 60 * RATE_HZ:
            samples = audio.read(clips[number % len(clips)], rate_hz=RATE_HZ).samples
            file.write(samples)
            written += len(samples)
            number += 37  # of other classes and recordings


def runs(folder: Path) -> Iterator[tuple[str, Model, dict]]:
    """Yield name, model and options of each analysis."""
    audioset = named_models.load("audioset")
    yield "audioset (527 classes, windows of 10 s)", audioset, {"overlap": 0.0}
    yield "audioset, --overlap 0.5", audioset, {"overlap": 0.5}
    few = named_models.load(
        "audioset", classes="Siren, Dog, Speech, Music, Car, Train, Bird, Rain, Gunshot, gunfire, Drill"
    )
    yield f"audioset, {len(few.classes)} of its classes", few, {"overlap": 0.0}
    city = Dataset.open(synthetic.write(folder / "city", recordings_per_class=3, clips_per_recording=1))
    own = train(city, "transfer", folder / "run", quiet=True)
    yield f"transfer ({len(own.classes)} classes, windows of {own.card.window_s:g} s)", own, {"overlap": 0.0}
    yield "transfer, --overlap 0.75", own, {"overlap": 0.75}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0)
    arguments = parser.parse_args()
    clips = sorted((arguments.dataset / "audio").rglob("*.wav"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = folder / "20240612_000000.flac"
        write_recording(clips, path, arguments.minutes)
        hours = audio.info(path).duration_s / 3600
        print(
            f"recording: {hours * 60:.1f} minutes, {path.stat().st_size / hours / 1e6:.0f} MB per hour (FLAC, 48 kHz)"
        )
        print(
            "| model | processor s per hour of sound | × real time on a core | events per hour | results, kB per hour |"
        )
        print("|---|---:|---:|---:|---:|")
        for number, (name, model, options) in enumerate(runs(folder)):
            out = folder / f"out-{number}"
            model.classify(np.zeros(RATE_HZ, np.float32), RATE_HZ)  # loads what is loaded once
            start = time.process_time()
            found = analyze(path, model, out, jobs=1, quiet=True, **options)
            seconds = time.process_time() - start
            size = sum(
                file.stat().st_size for file in out.rglob("*") if file.is_file() and file.name != "parameters.json"
            )
            events = sum(len(one.events) for one in found)
            print(
                f"| {name} | {seconds / hours:.1f} | {3600 * hours / seconds:.0f} | {events / hours:.0f} | "
                f"{size / hours / 1e3:.0f} |",
                flush=True,
            )
        print(f"load of the machine: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
