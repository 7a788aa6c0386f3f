"""A part of the benchmark: the toolkits of bioacoustics on the same clips, and the same model in them.

OpenSoundscape computes spectrogram images, trains the notebook's network on them, and classifies a recording with a
model that soundmark exported for it. BirdNET-Analyzer downloads its network before training and analysis; it has no
figures, but a row that says so.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

import soundmark
import using
from contenders import BUILD, HERE, environment
from soundmark.audio import read, resample
from soundmark.datasets import Dataset
from soundmark.models.export.targets import TARGETS, export_for
from table import Row, compared
from use_parts import trained

ROUNDS, EPOCHS, MINUTES = 3, 2, 10
CLIPS = 300  # of the images and the training
BATCH = 64  # as in opensoundscape_jobs.py
NETWORK_HZ, TOLERANCE = 32_000, 1e-4  # of a probability, where neither program resamples
BIRDNET = "BirdNET-Analyzer 2.4.0: training and analysis"
BIRDNET_REASON = "no figures: before both it downloads its network (`ensure_model_exists`), and the benchmark does not"


def toolkits(path: Path, versions: dict[str, str]) -> list[Row]:
    """Time spectrogram images, training from sound files, and a recording, each in turn with OpenSoundscape."""
    python = environment("opensoundscape")
    versions["opensoundscape"] = _version(python, "opensoundscape")
    jobs = (python, HERE / "peers" / "opensoundscape_jobs.py")
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        clips = _some_recordings(path, Path(folder) / "clips")
        rows = [*_clips(clips, jobs, Path(folder)), *_recording(path, jobs, Path(folder))]
    return [*rows, Row(what=BIRDNET, ours="", baseline=BIRDNET_REASON, ratio="", target="")]


def _some_recordings(path: Path, folder: Path) -> Path:
    """Copy the clips of randomly chosen recordings, ``CLIPS`` clips or a few more, into a folder for each class."""
    data = Dataset.open(path)
    recordings = np.random.default_rng(0).permutation(np.unique(data.sources))
    counts = np.cumsum([(data.sources == recording).sum() for recording in recordings])
    chosen = recordings[: 1 + np.searchsorted(counts, CLIPS)]
    for clip in data.select(np.isin(data.sources, chosen)).clips:
        (folder / clip.label).mkdir(parents=True, exist_ok=True)
        shutil.copy(clip.path, folder / clip.label)
    return folder


def _clips(path: Path, jobs: tuple, folder: Path) -> list[Row]:
    """Time images and a training of all clips; soundmark computes its features again in each round."""
    clips = Dataset.open(path).clips
    listed = folder / "files.json"
    listed.write_text(json.dumps([[str(clip.path), clip.label] for clip in clips]))
    train = (*using.SOUNDMARK, "train", path, "--recipe", "notebook-image", "--epochs", EPOCHS, "--batch-size", BATCH)
    seconds: dict[str, list[float]] = {"images": [], "their images": [], "training": [], "their training": []}
    for turn in range(ROUNDS):
        with using.cache(folder / f"cache {turn}"):
            seconds["images"].append(using.run(*using.SOUNDMARK, "spectrograms", path, folder / f"images {turn}")[0])
        seconds["their images"].append(using.run(*jobs, "spectrograms", listed, folder / "images.npy")[0])
        with using.cache(folder / f"other cache {turn}"):
            seconds["training"].append(using.run(*train, "--quiet", "-o", folder / f"model {turn}")[0])
        seconds["their training"].append(using.run(*jobs, "train", listed, EPOCHS, folder / "theirs")[0])
    what = f"{len(clips):,} sound files, compared with OpenSoundscape (different images of 64 × 64 pixels): "
    return [
        compared(what + "spectrogram images", seconds["images"], seconds["their images"], unit="s"),
        compared(
            f"{what}training of the notebook's network for {EPOCHS} epochs, the whole command",
            seconds["training"],
            seconds["their training"],
            unit="s",
        ),
    ]


def _recording(path: Path, jobs: tuple, folder: Path) -> list[Row]:
    """Time a recording with one model in both programs; their probabilities must agree."""
    model = trained(path, "transfer")
    exported = folder / "model.onnx"
    export_for(soundmark.load(model), TARGETS["opensoundscape"], exported)
    sound = using.long_recording(sorted(path.rglob("*.wav")), 60 * MINUTES, BUILD / f"{MINUTES}-minutes.flac")
    _check_equal(model, exported, sorted(path.rglob("*.wav")), jobs, folder)
    results = using.measure_in_turn(
        ROUNDS,
        ours=(*using.SOUNDMARK, "classify", sound, "-m", model, "--quiet", "--overlap", "0"),
        theirs=(*jobs, "predict", exported, sound, folder / "scores.npy"),
    )
    theirs = np.load(folder / "scores.npy")
    mine = soundmark.load(model).scores(sound, overlap=0).probabilities[: len(theirs)]
    difference = float(np.abs(theirs - mine).max())
    what = f"{MINUTES} minutes of 44.1 kHz stereo FLAC, `transfer`, compared with the same model in OpenSoundscape"
    ours, other = ([seconds for seconds, _ in results[name]] for name in ("ours", "theirs"))
    peaks = [max(megabytes for _, megabytes in results[name]) for name in ("ours", "theirs")]
    return [
        compared(f"{what} (max. difference {difference:.0e})", ours, other, unit="s"),
        compared("the same, peak memory of the main process", peaks[:1], peaks[1:], unit="MB"),
    ]


def _check_equal(model: Path, exported: Path, clips: list[Path], jobs: tuple, folder: Path) -> None:
    """Stop unless both programs give the same probabilities for a minute at the sample rate of the network."""
    sound = folder / "minute.wav"
    samples = np.concatenate([resample(*_samples(clip), NETWORK_HZ) for clip in clips[:30]])[: 60 * NETWORK_HZ]
    soundfile.write(sound, samples, NETWORK_HZ, subtype="FLOAT")
    using.run(*jobs, "predict", exported, sound, folder / "minute.npy")
    theirs = np.load(folder / "minute.npy")
    difference = float(
        np.abs(theirs - soundmark.load(model).scores(sound, overlap=0).probabilities[: len(theirs)]).max()
    )
    if difference > TOLERANCE:
        raise SystemExit(f"OpenSoundscape: the probabilities differ by {difference:.2g} (tolerance {TOLERANCE:.0e}).")


def _samples(clip: Path) -> tuple[np.ndarray, int]:
    sound = read(clip)
    return sound.samples, sound.rate_hz


def _version(python: Path, package: str) -> str:
    command = f"from importlib.metadata import version; print(version('{package}'))"
    return subprocess.run([python, "-c", command], capture_output=True, text=True, check=True).stdout.strip()
