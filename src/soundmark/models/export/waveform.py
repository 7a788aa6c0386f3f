"""Export a model as one ONNX file from waveform to probabilities, for programs without soundmark (C++, JavaScript).

The input is ``waveform`` float32 ``[batch, samples]``, mono, at the model's sample rate; resampling is not included.
The outputs are ``probabilities`` ``[batch, classes]``, after temperature and activation, and for some models
``familiarity`` ``[batch]``. The metadata key ``soundmark_export`` contains the JSON of ``export_metadata``. soundmark
itself cannot load the file. An export is written only if its output agrees with that of soundmark.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundmark import audio
from soundmark.audio.folders import SUFFIXES, walk
from soundmark.audio.windows import WHOLE_WINDOWS
from soundmark.datasets import Dataset, Skipped
from soundmark.errors import AudioError, BundleError, OutputError, SettingsError
from soundmark.models import bundle
from soundmark.models.classifier import Model
from soundmark.models.export.program_graph import INPUT, ProgramGraph
from soundmark.runtime import atomic
from soundmark.runtime.checks import is_folder
from soundmark.runtime.progress import Progress, no_progress
from soundmark.runtime.text import listed
from soundmark.spectrograms import Waveform

if TYPE_CHECKING:
    import onnxruntime


SCHEMA = 1


KEY = "soundmark_export"  # metadata key


TOLERANCE = 1e-4  # maximum difference of a probability


INT8_TOLERANCE = 0.05  # for int8 models: rounding errors change how values are rounded to 8 bits, in soundmark too


SPECTROGRAM_TOLERANCE = 2e-3  # decibels or ln: rounding errors are largest in the quietest bins beside a tone


ROUNDING_ERROR = 5e-7  # a spectrogram that differs by at most this is equal up to rounding


FAMILIARITY_TOLERANCE = 1e-3  # larger: its quadratic forms add up the rounding errors of hundreds of numbers


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The largest differences between an exported file and soundmark, on a number of audio segments.

    If the spectrograms of a segment are equal up to rounding, and always for int8 models, soundmark's probabilities are
    computed from the exported file's spectrogram. Otherwise rounding errors would dominate: networks amplify them by up
    to 40 dB in quiet audio (below −80 dBFS), and they change how values are rounded to 8 bits.
    """

    segments: int
    spectrogram: float
    probability: float
    familiarity: float | None = None

    def sentence(self) -> str:
        """The differences in one sentence.

        >>> Agreement(segments=24, spectrogram=2e-5, probability=3e-7).sentence()
        'Largest difference from soundmark on 24 segments: 2e-05 in the spectrogram, 3e-07 in probability.'
        """
        familiarity = "" if self.familiarity is None else f", {self.familiarity:.1g} in familiarity"
        return (
            f"Largest difference from soundmark on {self.segments:,} segments: {self.spectrogram:.1g} in the "
            f"spectrogram, {self.probability:.1g} in probability{familiarity}."
        )


def with_front_end(model: Model, *, dynamic: bool = False) -> bytes:
    """Add the representation to the model's graph; return an ONNX file from waveform to probabilities.

    Its input has the length of the model's window, or with ``dynamic`` any length, which is processed as one window.

    Raises:
        SettingsError: the representation cannot be exported, or not for any length.
        BundleError: the ONNX opset of the model is too old.

    >>> exported = with_front_end(model)
    >>> import onnxruntime
    >>> [output.name for output in onnxruntime.InferenceSession(exported).get_outputs()]
    ['probabilities']
    """
    graph = ProgramGraph(model)
    samples = None if dynamic else window_samples(model)
    graph.connect(graph.representation("waveform", samples))
    outputs = {"probabilities": (graph.probabilities(), [graph.batch, len(model.classes)])}
    if "familiarity" in graph.network_outputs:
        outputs["familiarity"] = ("familiarity", [graph.batch])
    metadata = {KEY: json.dumps(export_metadata(model, dynamic=dynamic), ensure_ascii=False)}
    return graph.to_bytes({"waveform": [graph.batch, samples or "samples"]}, outputs, metadata)


def window_samples(model: Model) -> int:
    """Return the length of the model's window in samples, at the model's sample rate.

    >>> window_samples(model)
    88200
    """
    rate_hz = model.card.representation.input_rate_hz
    return round(model.card.window_s * (rate_hz or 0))


def export_metadata(model: Model, *, dynamic: bool) -> dict[str, Any]:
    """Return the metadata of an exported file: what a program needs to know to use it (see docs/export.md).

    ``inside`` lists the steps that the graph includes. soundmark classifies audio of up to ``whole_samples`` as one
    window, and longer audio in windows of ``window_samples``.

    >>> metadata = export_metadata(model, dynamic=True)
    >>> metadata["rate_hz"], metadata["window_samples"], metadata["whole_samples"], metadata["inside"]
    (22050, 88200, 92610, ['mel', 'temperature', 'softmax'])
    """
    card, window = model.card, window_samples(model)
    is_waveform = isinstance(card.representation, Waveform)
    return {
        "schema": SCHEMA,
        "soundmark": version("soundmark"),
        "classes": list(card.classes),
        "background": list(card.background),
        "rate_hz": card.representation.input_rate_hz,
        "channels": 1,
        "window_samples": window,
        "dynamic": dynamic,
        "whole_samples": int(WHOLE_WINDOWS * window) if dynamic else window,
        "inside": [*([] if is_waveform else [card.representation.name]), "temperature", card.activation],
        "activation": card.activation,
        "temperature": card.temperature,
        "thresholds": None if model.thresholds is None else model.thresholds.tolist(),
        "unknown": card.unknown if model.unknown else None,
        "representation": card.representation.settings(),
        "data": card.training.name,
        "licence": card.training.licence,
        "weights": card.training.weights,
        "int8": card.training.int8 is not None,
    }


def signals(n: int, rate_hz: int) -> np.ndarray:
    """Return test signals [6, n]: noise, very quiet noise, a tone, silence, clicks, a frequency sweep.

    >>> signals(1, 22050).shape, signals(88200, 22050).dtype
    ((6, 1), dtype('float32'))
    """
    rng = np.random.default_rng(0)
    time_s = np.arange(n) / rate_hz
    clicks = np.zeros(n)
    clicks[n // 3 :: max(1, rate_hz // 3)] = 1.0
    tone, sweep = (0.5 * np.sin(2 * np.pi * hz * time_s) for hz in (440.0, 100.0 + rate_hz / 40 * time_s))
    sounds = (rng.normal(0, 0.1, n), rng.normal(0, 1e-4, n), tone, np.zeros(n), clicks, sweep)
    return np.stack(sounds).astype(np.float32)


def check_export(model: Model, exported: bytes, recordings: Iterable[np.ndarray] = ()) -> Agreement:
    """Compare an exported file with soundmark, on ``signals`` and on ``recordings`` ``[n]`` at the model's sample rate.

    Raises:
        BundleError: a difference is above its tolerance.

    >>> check_export(model, with_front_end(model), [np.ones(1000, np.float32)]).segments
    7
    """
    window, rate_hz = window_samples(model), model.card.representation.input_rate_hz or 0
    session = bundle.session(_with_spectrogram(exported))
    dynamic = isinstance(session.get_inputs()[0].shape[1], str)
    lengths = (1, window // 9, window, int(WHOLE_WINDOWS * window)) if dynamic else (window,)
    batches = (signals(n, rate_hz) for n in lengths if n)
    recorded = split_recordings(recordings, window, dynamic=dynamic)
    found = [_compare(model, session, batch) for batch in chain(batches, recorded)]
    return Agreement(
        segments=sum(each.segments for each in found),
        spectrogram=max(each.spectrogram for each in found),
        probability=max(each.probability for each in found),
        familiarity=max((each.familiarity for each in found if each.familiarity is not None), default=None),
    )


def _with_spectrogram(exported: bytes) -> bytes:
    """Add the input of the network, an intermediate tensor of an exported file, to its outputs."""
    import onnx

    proto = onnx.load_from_string(exported)
    proto.graph.output.append(onnx.ValueInfoProto(name=INPUT))
    extended: bytes = proto.SerializeToString()
    return extended


def split_recordings(recordings: Iterable[np.ndarray], window: int, *, dynamic: bool) -> Iterator[np.ndarray]:
    """Split recordings ``[n]`` into inputs of an exported file, ``[1, samples]``.

    An exported file of fixed length gets windows; a recording shorter than the window is padded with silence. A
    ``dynamic`` one gets recordings of up to 1.05 windows unchanged.

    >>> recordings = [np.ones(10), np.ones(150)]
    >>> [part.shape for part in split_recordings(recordings, 100, dynamic=False)]
    [(1, 100), (1, 100), (1, 100)]
    >>> [part.shape for part in split_recordings(recordings, 100, dynamic=True)]
    [(1, 10), (1, 100), (1, 100)]
    """
    for samples in recordings:
        if dynamic and len(samples) <= WHOLE_WINDOWS * window:
            yield samples[None]
            continue
        padded = np.pad(samples, (0, max(0, window - len(samples))))
        yield from (
            padded[None, start : start + window]
            for start in (*range(0, len(padded) - window, window), len(padded) - window)
        )


def _compare(model: Model, session: onnxruntime.InferenceSession, waveforms: np.ndarray) -> Agreement:
    """Compare the exported file with soundmark on one batch ``[n, samples]``."""
    representation = model.card.representation
    expected = np.stack([representation(waveform, representation.input_rate_hz or 0) for waveform in waveforms])
    names = [output.name for output in session.get_outputs()]
    n = 1 if session.get_inputs()[0].shape[0] == 1 else len(waveforms)
    parts = [session.run(names, {"waveform": waveforms[at : at + n]}) for at in range(0, len(waveforms), n)]
    outputs = dict(zip(names, (np.concatenate(values) for values in zip(*parts, strict=True)), strict=True))
    exported = outputs[INPUT].reshape(expected.shape)
    spectrogram = _difference(exported, expected, SPECTROGRAM_TOLERANCE, "the spectrogram")
    int8 = model.card.training.int8 is not None
    is_equal = np.abs(exported - expected).max(axis=(1, 2)) <= ROUNDING_ERROR
    spectrograms = np.where((is_equal | int8)[:, None, None], exported, expected)
    allowed, familiarity = (INT8_TOLERANCE if int8 else TOLERANCE), None
    if "familiarity" in outputs:
        ours = model.bundle.run(spectrograms, "familiarity")
        familiarity = _difference(outputs["familiarity"], ours, max(allowed, FAMILIARITY_TOLERANCE), "familiarity")
    probability = _difference(outputs["probabilities"], model.probabilities(spectrograms), allowed, "probability")
    return Agreement(segments=len(waveforms), spectrogram=spectrogram, probability=probability, familiarity=familiarity)


def _difference(exported: np.ndarray, expected: np.ndarray, allowed: float, what: str) -> float:
    """Return the largest difference; raise ``BundleError`` if it is above ``allowed``."""
    difference = float(np.abs(exported - expected).max())
    if not difference <= allowed:
        raise BundleError(
            f"the exported graph differs from the model by {difference:.2g} in {what} (allowed: {allowed:g}); it is "
            "not written. Please report this with the versions of onnx and onnxruntime."
        )
    return difference


def sounds(
    paths: Sequence[Path], rate_hz: int, skipped: list[Skipped], progress: Progress = no_progress
) -> Iterator[np.ndarray]:
    """Yield the samples ``[n]`` at ``rate_hz`` of files, folders and CSV tables; add unreadable files to ``skipped``.

    Raises:
        AudioError: a folder contains no sound files.
        DatasetError: a table is not valid.

    >>> skipped = []
    >>> found = list(sounds([city.clips[0].path, folder / "none.wav"], 22050, skipped))
    >>> len(found), [item.path == str(folder / "none.wav") for item in skipped]
    (1, [True])
    """
    clips = list(_clips(paths))
    for number, (path, start_s, stop_s) in enumerate(clips, 1):
        try:
            sound = audio.read(path, start_s=start_s, stop_s=stop_s)
            audio.check_samples(sound.samples, f'"{path}"')
        except AudioError as error:
            skipped.append(Skipped(str(path), str(error)))
        else:
            yield audio.resample(sound.samples, sound.rate_hz, rate_hz)
        progress("checked", number, len(clips), "sounds")


def _clips(paths: Sequence[Path]) -> Iterator[tuple[Path, float, float | None]]:
    for path in paths:
        if path.suffix.lower() == ".csv":
            yield from ((clip.path, clip.start_s, clip.stop_s) for clip in Dataset.open(path).clips)
        elif is_folder(path):
            files = (path.joinpath(*entry.parts) for entry in walk(str(path)) if not entry.is_folder)
            found = sorted(file for file in files if file.suffix.lower() in SUFFIXES)
            if not found:
                raise AudioError(f'the folder "{path}" contains no sound files: give another folder with --check.')
            yield from ((each, 0.0, None) for each in found)
        else:
            yield path, 0.0, None


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """The options of an export.

    >>> ExportOptions()
    Traceback (most recent call last):
    soundmark.errors.SettingsError: choose what to export: --with-front-end ...
    """

    front_end: bool = False
    int8: bool = False
    target: str | None = None
    page: Path | None = None
    runtime: Path | None = None
    dynamic: bool = False
    check: Sequence[Path] = ()
    calibrate: Path | None = None

    def __post_init__(self) -> None:
        if sum(map(bool, (self.front_end, self.int8, self.target, self.page))) != 1:
            raise SettingsError(
                "choose what to export: --with-front-end (one file from waveform to probabilities), --for PROGRAM "
                "(files for another program), --page DIR (a web page) or --int8 (a quarter of the size). For both, "
                "export with --int8 first, then export the int8 model."
            )
        if self.int8 and not self.calibrate:
            raise SettingsError("--int8 needs clips for calibration: give a data set with --calibrate.")
        for given, option, needs in (
            (self.dynamic and not self.front_end, "--dynamic", "--with-front-end"),
            (self.check and not self.front_end, "--check", "--with-front-end"),
            (self.calibrate and not self.int8, "--calibrate", "--int8"),
            (self.runtime and not self.page, "--runtime", "--page"),
        ):
            if given:
                raise SettingsError(f"{option} can only be used with {needs}: remove it.")


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """A description of the exported file in one sentence, and the files that were skipped in the comparison."""

    sentence: str
    skipped: tuple[Skipped, ...]


def output_path(model: Path, output: Path | None, options: ExportOptions, *, overwrite: bool = False) -> Path:
    """Return the file to write: ``output``, or a file beside ``model`` with the suffix "-waveform" or "-int8".

    Raises:
        OutputError: it is the model itself, or it exists and ``overwrite`` is False.

    >>> output_path(folder / "model.onnx", None, ExportOptions(front_end=True)).name
    'model-waveform.onnx'
    """
    path = output or model.with_name(f"{model.stem}-{'int8' if options.int8 else 'waveform'}.onnx")
    return checked_path(path, model, overwrite=overwrite)


def checked_path(path: Path, model: Path, *, overwrite: bool = False) -> Path:
    """Return ``path`` if an export of ``model`` can be written there as one file.

    Raises:
        OutputError: it is the model itself, or it exists and ``overwrite`` is False.

    >>> model.save(folder / "model.onnx")
    >>> checked_path(folder / "model.onnx", folder / "model.onnx", overwrite=True)
    Traceback (most recent call last):
    soundmark.errors.OutputError: "...model.onnx" is the model itself: choose another file for the export with -o.
    """
    try:
        if path.exists() and model.exists() and path.samefile(model):
            raise OutputError(f'"{path}" is the model itself: choose another file for the export with -o.')
    except OSError as error:
        raise atomic.cannot_write(path, error) from error
    atomic.check_new_file(path, overwrite=overwrite)
    return path


def export_waveform_model(
    model: Model,
    path: Path,
    *,
    dynamic: bool = False,
    check: Sequence[Path] = (),
    progress: Progress = no_progress,
) -> ExportResult:
    """Export ``model`` with its front end to ``path``, after a comparison with soundmark.

    ``check`` lists files, folders and CSV tables with audio for the comparison, in addition to test signals.

    Raises:
        SettingsError, BundleError: the model cannot be exported, or the export differs from soundmark.
        AudioError: a folder in ``check`` contains no sound files.
        OutputError: the file cannot be written.

    >>> print(export_waveform_model(model, folder / "city.onnx", dynamic=True).sentence)
    includes mel, temperature and softmax, for any length, ... MB. Largest difference from soundmark on ...
    """
    exported = with_front_end(model, dynamic=dynamic)
    skipped: list[Skipped] = []
    rate_hz = model.card.representation.input_rate_hz or 0
    agreement = check_export(model, exported, sounds(check, rate_hz, skipped, progress))
    atomic.write_bytes(path, exported)
    included = listed(export_metadata(model, dynamic=dynamic)["inside"])
    length = "any length" if dynamic else f"{window_samples(model)} samples at {rate_hz} Hz"
    sentence = f"includes {included}, for {length}, {len(exported) / 1e6:.2f} MB. {agreement.sentence()}"
    return ExportResult(sentence=sentence, skipped=tuple(skipped))
