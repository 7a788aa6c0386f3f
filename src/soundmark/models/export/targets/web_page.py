"""A web page as a folder of static files, which classifies files and the microphone in the browser.

The folder contains the model with its front end, soxr's filters for common sample rates, and onnxruntime-web, the
WebAssembly build of ONNX Runtime. A plain file server suffices; the page requests nothing from elsewhere. The wheel
does not contain onnxruntime-web (13.6 MB): it is read from the npm package, or downloaded once and kept in the cache.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from soundmark.audio.windows import hop_samples
from soundmark.errors import SettingsError
from soundmark.models import bundle
from soundmark.models.classifier import Model
from soundmark.models.export import waveform
from soundmark.models.export.resampling import PolyphaseFilter, polyphase_filter
from soundmark.models.export.targets.target import Files, Target, any_audio
from soundmark.runtime import atomic
from soundmark.runtime.cache import cache_folder
from soundmark.runtime.checks import is_file
from soundmark.runtime.checksums import file_checksum
from soundmark.runtime.downloads import download
from soundmark.runtime.progress import Progress, no_progress
from soundmark.runtime.text import counted, one_line

VERSION = "1.27.0"  # of onnxruntime-web


DOWNLOADS = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/"


@dataclass(frozen=True)
class RuntimeFile:
    """A file of onnxruntime-web: its name in the npm package and in the page, its SHA-256 and largest size."""

    name: str
    written_as: str  # servers know the type of .js, but not always that of .mjs
    sha256: str
    max_bytes: int


RUNTIME = (
    RuntimeFile(
        "ort.wasm.bundle.min.mjs", "ort.js", "1db5e1c5cd2b860eed85e6eeff23e2aaa7cffcc407f67093bcc888f631b94ba9", 200_000
    ),
    RuntimeFile(
        "ort-wasm-simd-threaded.wasm",
        "ort-wasm-simd-threaded.wasm",
        "d1ab1b94b16a65b29d710d0b587b29e7bed336827577623913479b8afe8113e6",
        20_000_000,
    ),
)


LICENCE = """ONNX Runtime Web {version} (https://onnxruntime.ai): ort.js and ort-wasm-simd-threaded.wasm, unchanged.
Notices of its components: https://github.com/microsoft/onnxruntime/blob/v{version}/ThirdPartyNotices.txt

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


RATES_HZ = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)  # of common recordings


MAX_FILTER = 1 << 18  # weights of a filter: 1 MB; sounds at other rates are resampled by the browser


def page_target(runtime: Path | None = None, progress: Progress = no_progress) -> Target:
    """Return the target of a web page; ``runtime`` is the folder of the npm package onnxruntime-web (None: download).

    >>> page_target().program
    'a web page'
    """
    return Target(
        name="page",
        program="a web page",
        file=None,
        option="--page",
        audio=any_audio,
        build=partial(build, runtime=runtime, progress=progress),
        run=run,
    )


def build(model: Model, *, runtime: Path | None = None, progress: Progress = no_progress) -> Files:
    """Return the files of the page.

    Raises:
        SettingsError: the model cannot be exported for any length, or ``runtime`` is not the npm package.
        WeightsError: onnxruntime-web cannot be downloaded.

    >>> build(model, runtime=folder)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: the folder "..." does not contain onnxruntime-web 1.27.0...
    """
    return {**_page(), **model_files(model), **runtime_files(runtime, progress)}


def _page() -> dict[str, bytes]:
    folder = resources.files("soundmark.models.export").joinpath("page")
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def model_files(model: Model) -> dict[str, bytes]:
    """Return the files of the page that depend on the model.

    Raises:
        SettingsError: the model cannot be exported for any length.

    >>> sorted(model_files(model))[:3]
    ['model.json', 'model.onnx', 'resampling/11025.bin']
    """
    try:
        graph = waveform.with_front_end(model, dynamic=True)
    except SettingsError as error:
        raise SettingsError(f"this model cannot classify in a web page: {error}") from error
    rate_hz = model.card.representation.input_rate_hz or 0
    filters = {rate: found for rate in RATES_HZ if rate != rate_hz and (found := _filter(rate, rate_hz))}
    described = {str(rate): _description(found) for rate, found in filters.items()}
    text = json.dumps({**_settings(model), "resampling": described}, ensure_ascii=False)
    weights = {f"resampling/{rate}.bin": _compact(found).tobytes() for rate, found in filters.items()}
    return {"model.onnx": graph, "model.json": text.encode(), **weights}


def _settings(model: Model) -> dict[str, Any]:
    metadata, card = waveform.export_metadata(model, dynamic=True), model.card
    rate_hz = card.representation.input_rate_hz or 0
    keys = ("classes", "rate_hz", "window_samples", "whole_samples", "unknown")
    known = [
        text for text in (card.training.name and f"trained on {card.training.name}", card.recipe.get("name")) if text
    ]
    licence = f"Licence of the training data: {card.training.licence or 'unknown'}. {card.training.weights or ''}"
    return {
        **{key: metadata[key] for key in keys},
        "hop_samples": hop_samples(card.window_s * rate_hz, model.overlap),
        "unknown_label": model.unknown,
        "title": "Sound classifier",
        "about": one_line(f"{counted(len(model.classes), 'class')}{''.join(f', {text}' for text in known)}", 200),
        "licence": one_line(f"{licence.strip()} Runs ONNX Runtime Web (MIT licence).", 500),
    }


def _filter(from_hz: int, to_hz: int) -> PolyphaseFilter | None:
    try:
        found = polyphase_filter(from_hz, to_hz)
    except SettingsError:
        return None
    return found if found.up * _taps(found) <= MAX_FILTER else None


def _offsets(found: PolyphaseFilter) -> np.ndarray:
    """The first weight of each phase that is used, int ``[up]``."""
    return np.argmax(found.weights != 0, axis=1)


def _taps(found: PolyphaseFilter) -> int:
    used = found.weights != 0
    return int((used.shape[1] - np.argmax(used[:, ::-1], axis=1) - np.argmax(used, axis=1)).max())


def _description(found: PolyphaseFilter) -> dict[str, Any]:
    first = (_offsets(found) + found.first).tolist()
    return {"up": found.up, "down": found.down, "taps": _taps(found), "first": first, "start": list(found.start.shape)}


def _compact(found: PolyphaseFilter) -> np.ndarray:
    """The used weights of each phase ``[up · taps]``, then those of the first outputs; little-endian float32."""
    taps = _taps(found)
    padded = np.pad(found.weights, ((0, 0), (0, taps)))
    rows = np.stack([row[at : at + taps] for row, at in zip(padded, _offsets(found), strict=True)])
    return np.concatenate([rows.ravel(), found.start.ravel()]).astype("<f4")


def runtime_files(runtime: Path | None, progress: Progress = no_progress) -> dict[str, bytes]:
    """Return the files of onnxruntime-web and its licence, after a check of their SHA-256.

    Raises:
        SettingsError: ``runtime`` is not the folder of the npm package, or of another version.
        WeightsError: the files cannot be downloaded.

    >>> runtime_files(folder)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: the folder "..." does not contain onnxruntime-web 1.27.0: "..." is missing. Run ...
    """
    find = partial(_downloaded, progress=progress) if runtime is None else partial(_in_package, runtime)
    files = {f"onnxruntime/{file.written_as}": find(file).read_bytes() for file in RUNTIME}
    return {**files, "onnxruntime/LICENSE.txt": LICENCE.format(version=VERSION).encode()}


def _in_package(folder: Path, file: RuntimeFile) -> Path:
    found = [path for path in (folder / "dist" / file.name, folder / file.name) if is_file(path)]
    if not found or file_checksum(found[0]) != file.sha256:
        why = "is missing" if not found else "has another SHA-256"
        raise SettingsError(
            f'the folder "{folder}" does not contain onnxruntime-web {VERSION}: "{file.name}" {why}. Run `npm install '
            f"onnxruntime-web@{VERSION}` and give node_modules/onnxruntime-web with --runtime."
        )
    return found[0]


def _downloaded(file: RuntimeFile, progress: Progress) -> Path:
    folder = atomic.make_folder(cache_folder() / f"onnxruntime-web-{VERSION}", "Set SOUNDMARK_CACHE to another folder.")
    path = folder / file.name
    if path.is_file() and file_checksum(path) == file.sha256:
        return path
    return download(
        DOWNLOADS + file.name,
        path,
        sha256=file.sha256,
        max_bytes=file.max_bytes,
        what=f"the files of onnxruntime-web {VERSION}",
        label="onnxruntime-web",
        remedy=f"Run `npm install onnxruntime-web@{VERSION}` and give node_modules/onnxruntime-web with --runtime.",
        progress=progress,
    )


def run(files: Files, samples: np.ndarray) -> np.ndarray:
    """Compute the probabilities of the page for a recording ``[samples]`` at the model's sample rate.

    >>> run(model_files(model), np.zeros(300_000, np.float32)).shape
    (10,)
    """
    settings, session = json.loads(files["model.json"]), bundle.session(files["model.onnx"], threads=1)
    n, length, hop = len(samples), settings["window_samples"], settings["hop_samples"]
    starts = (*range(0, n - length, hop), n - length)
    spans = [(0, n)] if n <= settings["whole_samples"] else [(at, at + length) for at in starts]
    found = [session.run(["probabilities"], {"waveform": samples[None, a:b]})[0][0] for a, b in spans]
    mean: np.ndarray = np.stack(found).mean(axis=0, dtype=np.float64)
    return mean
