"""Parts of the benchmark for what users wait for: transfer, one clip, an hour, many files, an archive, the server.

Baselines are scripts of the same work with librosa, joblib, PyTorch, scikit-learn and ONNX Runtime; lower bounds are
decoding and resampling, and the network alone in ONNX Runtime, on all cores.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime

import server_load
import using
from contenders import BUILD, HERE
from soundmark import audio
from soundmark.datasets import Dataset
from soundmark.models.pretrained import named_models, weights
from soundmark.models.pretrained.backbone import load_backbone
from table import Row, compared

ROUNDS = 3
BATCH = 32
NETWORK_HZ, SHAPE = 32_000, (128, 400)  # of mn04, and of its spectrograms of four seconds
MANY_FILES = 10_000
MEL_HZ = 22_050  # of notebook-mel
AGAIN_NEEDED = (
    "A third of it is Python and its libraries, another one the cross-validation of the head, and a quarter the "
    "calibration of unknown sounds in 15 folds: it would need fewer folds, or a faster core."
)
HOUR_NEEDED = (
    "Decoding FLAC on one core takes most of this time (next row): it would need more cores or a faster decoder."
)
PEERS = ("librosa", "joblib", "scikit-learn", "torch", "onnxruntime")


def transfer(path: Path, versions: dict[str, str]) -> list[Row]:
    """Time `soundmark train` from sound files to a saved model, and again with stored features."""
    versions |= {name: version(name) for name in PEERS}
    data = Dataset.open(path)
    clips = [clip.path for clip in data.clips]
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "files.json"
        listed.write_text(json.dumps([[str(clip.path), clip.label] for clip in data.clips]))
        script = [sys.executable, HERE / "peers" / "plain_torch.py", listed, weights.find("mn04"), f"{folder}/out.npz"]
        seconds: dict[str, list[float]] = {"ours": [], "again": [], "script": [], "head": [], "bound": []}
        peak = 0.0
        for turn in range(ROUNDS):
            features = Path(folder) / "cache"
            shutil.rmtree(features, ignore_errors=True)
            with using.cache(features):
                wall, megabytes = using.run(*using.SOUNDMARK, "train", path, "-o", f"{folder}/first {turn}", "--quiet")
                seconds["ours"].append(wall)
                peak = max(peak, megabytes)
                again = using.run(*using.SOUNDMARK, "train", path, "-o", f"{folder}/again {turn}", "--quiet")
                seconds["again"].append(again[0])
            started = time.perf_counter()
            steps = json.loads(subprocess.run(script, capture_output=True, text=True, check=True).stdout)
            seconds["script"].append(time.perf_counter() - started)
            seconds["head"].append(steps["head"])
            seconds["bound"].append(_decoding(clips) + _network(len(clips)))
    what = f"{len(clips):,} sound files → saved and calibrated model of the recipe `transfer`"
    return [
        compared(f"{what}, compared with librosa, joblib, PyTorch and scikit-learn (uncalibrated, without unknown)",
                 seconds["ours"], seconds["script"], unit="s"),
        compared(f"{what}, compared with decoding, resampling and the network alone",
                 seconds["ours"], seconds["bound"], unit="s", at_most=True),
        Row(what="the same, peak memory of the main process", ours=f"{peak:.0f} MB", baseline="", ratio="",
            target="≤ 600 MB", met=peak <= 600),
        _single("again, from stored features: the whole command", seconds["again"], "≤ 2 s", 2.0, AGAIN_NEEDED),
        compared("again, compared with fitting a logistic regression alone", seconds["again"], seconds["head"],
                 unit="s", at_most=True),
    ]  # fmt: skip


def clip_and_hour(path: Path, versions: dict[str, str]) -> list[Row]:
    """Time one clip and an hour of FLAC with `audioset`, `transfer` and `notebook-mel`."""
    versions |= {name: version(name) for name in PEERS}
    clips = sorted(path.rglob("*.wav"))
    models = {
        "audioset": "audioset",
        "transfer": trained(path, "transfer"),
        "notebook-mel": trained(path, "notebook-mel"),
    }
    recording = using.long_recording(clips, 3600, BUILD / "hour.flac")
    rows = []
    for name, model in models.items():
        started = using.measure_in_turn(
            2 * ROUNDS,
            ours=(*using.SOUNDMARK, "classify", clips[0], "-m", model),
            imports=(sys.executable, "-c", using.IMPORTS),
        )
        ours, imports = ([seconds for seconds, _ in started[key]] for key in ("ours", "imports"))
        rows.append(_single(f"`classify` of one clip, `{name}`", ours, "≤ 0.6 s", 0.6))
        rows.append(compared("the same, compared with importing its libraries", ours, imports, unit="s", at_most=True))
        hours = using.measure_in_turn(
            ROUNDS,
            ours=(*using.SOUNDMARK, "classify", recording, "-m", model, "--quiet", "--overlap", "0"),
            default=(*using.SOUNDMARK, "classify", recording, "-m", model, "--quiet"),
            decoding=(sys.executable, "-c", using.DECODE, recording),
        )
        ours, default, decoding = ([seconds for seconds, _ in hours[key]] for key in ("ours", "default", "decoding"))
        goal = {"transfer": 600, "notebook-mel": 800}.get(name)
        speed = 3600 / float(np.median(ours))
        what = f"an hour of 44.1 kHz stereo FLAC, `{name}`"
        rows.append(
            Row(what=f"{what}, without overlap, times real time", ours=f"{speed:.0f} ×", baseline="", ratio="",
                target=f"≥ {goal} ×" if goal else "", met=speed >= goal if goal else None, needed=HOUR_NEEDED)
        )  # fmt: skip
        rows.append(compared(f"{what}, compared with decoding alone", ours, decoding, unit="s", at_most=True))
        rows.append(
            compared(f"{what}, at the default overlap, compared with none", default, ours, unit="s", at_most=True)
        )
        if name == "notebook-mel":
            rows.append(using.compared_with_librosa(Path(model), recording, what, ours))
    return rows


def many_files(path: Path, versions: dict[str, str]) -> list[Row]:
    """Time 10 000 files against a script that classifies the distinct clips with librosa, joblib and ONNX Runtime."""
    versions |= {name: version(name) for name in PEERS}
    clips = [clip.path for clip in Dataset.open(path).clips]
    model = trained(path, "notebook-mel")
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        for number in range(MANY_FILES):
            place = Path(folder) / "files" / str(number // 1000) / f"{number:05}.wav"
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(clips[number % len(clips)], place) if _same_disk(clips[0], BUILD) else place.symlink_to(
                clips[number % len(clips)]
            )
        listed = Path(folder) / "files.json"
        listed.write_text(json.dumps([str(clip) for clip in clips]))
        script = HERE / "peers" / "joblib_files.py"
        results = using.measure_in_turn(
            ROUNDS,
            ours=(*using.SOUNDMARK, "classify", f"{folder}/files", "-m", model, "--quiet"),
            script=(sys.executable, script, listed, model, f"{folder}/out.npy"),
        )
    bound = [1e3 * _decoding(clips, MEL_HZ) / len(clips) for _ in range(ROUNDS)]
    ours = [1e3 * seconds / MANY_FILES for seconds, _ in results["ours"]]
    script_ms = [1e3 * seconds / len(clips) for seconds, _ in results["script"]]
    peak = max(megabytes for _, megabytes in results["ours"])
    what = f"{MANY_FILES:,} files, `notebook-mel`, compared with librosa, OpenCV, joblib and ONNX Runtime"
    return [
        compared(f"{what} on {len(clips):,} of them", ours, script_ms, unit="ms per file"),
        compared(f"{MANY_FILES:,} files, `notebook-mel`, compared with decoding and resampling alone",
                 ours, bound, unit="ms per file", at_most=True),
        Row(what=f"{MANY_FILES:,} files, `notebook-mel`, peak memory", ours=f"{peak:.0f} MB", baseline="", ratio="",
            target=""),
    ]  # fmt: skip


def archive(path: Path, versions: dict[str, str]) -> list[Row]:
    """Time the index of an archive, and a search in it."""
    versions |= {name: version(name) for name in PEERS}
    model = trained(path, "transfer")
    clips = [clip.path for clip in Dataset.open(path).clips]
    seconds: dict[str, list[float]] = {"index": [], "bound": [], "search": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(ROUNDS):
            index = f"{folder}/{turn}"
            seconds["index"].append(
                using.run(*using.SOUNDMARK, "index", path / "audio", "-m", model, "-o", index, "--quiet")[0]
            )
            seconds["bound"].append(_decoding(clips) + _network(len(clips)))
            seconds["search"].append(using.run(*using.SOUNDMARK, "search", index, "--like", clips[0])[0])
    index, bound = ([10_000 / len(clips) * one for one in seconds[name]] for name in ("index", "bound"))
    what = "index of an archive, per 10 000 windows, compared with decoding, resampling and the network alone"
    return [
        compared(what, index, bound, unit="s", at_most=True),
        _single(f"search among {len(clips):,} windows, the whole command", seconds["search"]),
    ]  # fmt: skip


def server(path: Path, versions: dict[str, str]) -> list[Row]:
    """Compare the requests that the server answers with what the library does in one process, in turn."""
    clip = Dataset.open(path).clips[0].path
    with server_load.serving("audioset") as (port, _):
        rounds = server_load.in_turn(named_models.load("audioset"), clip, port)
    p50, p95, p99 = server_load.latencies_ms(rounds)
    errors = sum(one.errors for one in rounds)
    what = (
        f"requests to the server, {server_load.CONNECTIONS} connections, a clip of 4 s, compared with the library in "
        f"one process (p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f} ms; {errors} errors)"
    )
    ours, library = ([1000 / getattr(one, name) for one in rounds] for name in ("server", "library"))
    row = compared(what, ours, library, unit="ms per clip", target=0.7)
    return [replace(row, met=row.met and not errors)]


def _single(what: str, seconds: list[float], target: str = "", limit: float | None = None, needed: str = "") -> Row:
    middle = float(np.median(seconds))
    met = None if limit is None else middle <= limit
    return Row(
        what=what,
        ours=f"{middle:.3g} s",
        baseline="",
        ratio=f"{min(seconds):.3g}…{max(seconds):.3g} s",
        target=target,
        met=met,
        needed=needed,
    )


def trained(path: Path, recipe: str) -> Path:
    """Return a model of a recipe, trained once; a network for two epochs, as its weights do not change its speed."""
    folder = BUILD / f"{recipe}-model"
    if not (folder / "model.onnx").exists():
        short = ("--epochs", "2") if recipe != "transfer" else ()
        subprocess.run(
            [*using.SOUNDMARK, "train", path, "-o", folder, "--recipe", recipe, *short, "--quiet"], check=True
        )
    return folder / "model.onnx"


def _decoding(clips: list[Path], rate_hz: int = NETWORK_HZ) -> float:
    """Seconds for decoding and resampling clips on all cores."""
    return _timed(lambda clip: audio.read(clip, rate_hz=rate_hz), clips)


def _network(n_windows: int) -> float:
    """Seconds for mn04 on spectrograms of four seconds in ONNX Runtime on all cores, one thread for each batch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    graph = load_backbone("mn04", SHAPE).graph
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: np.zeros((BATCH, 1, *SHAPE), np.float32)}
    return _timed(lambda _: session.run(None, given), range(-(-n_windows // BATCH)))


def _timed(function: Callable, items) -> float:
    started = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(function, items):
            pass
    return time.perf_counter() - started


def _same_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev
