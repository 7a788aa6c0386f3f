"""A model as one ONNX file from waveform to probabilities, for programs without soundmark: C++, JavaScript, a phone.

The file takes ``waveform`` float32 ``[batch, samples]``, mono, at the model's rate (resampling stays outside), and
gives ``probabilities`` ``[batch, classes]``, temperature and activation inside, and ``familiarity`` ``[batch]`` where
the model has it. Its metadata key ``soundmark_export`` holds as JSON what the program needs: see ``about``. It is not a
model that soundmark reads again. Nothing is written that does not say what soundmark says.
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
from soundmark.audio.folders import SUFFIXES
from soundmark.datasets import Dataset, Skipped
from soundmark.errors import AudioError, BundleError, OutputError, SettingsError
from soundmark.models import bundle
from soundmark.models.classifier import Model
from soundmark.models.export import front_end, onnx_graph
from soundmark.models.windows import WHOLE_WINDOWS
from soundmark.runtime import atomic
from soundmark.runtime.progress import Progress, no_progress

if TYPE_CHECKING:
    import onnxruntime


SCHEMA = 1


KEY = "soundmark_export"  # of the metadata


TOLERANCE = 1e-4  # of probabilities


INT8_TOLERANCE = 0.05  # of those of an int8 model: any last bit tips roundings to 8 bits, in soundmark itself, too


SPECTROGRAM_TOLERANCE = 2e-3  # of decibels, or of ln: what rounding leaves of a tone's faintest neighbours


LAST_BITS = 5e-7  # of a spectrogram whose numbers are about 1


FAMILIARITY_TOLERANCE = 1e-3  # its quadratic forms add up what rounding left in hundreds of numbers


OLDEST_OPSET = 13  # where Softmax took its present meaning


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far an exported file is from soundmark itself, at most, and on how many stretches of sound that was seen.

    Of a stretch whose spectrogram is the same but for its last bits, and of a model of 8 bits always, the probability
    is compared from the exported file's own spectrogram on: a network that turns quiet sounds up by 40 dB hears those
    bits (sounds of less than −80 dB of full scale), and they tip roundings to 8 bits, there as here.
    """

    stretches: int
    spectrogram: float
    probability: float
    familiarity: float | None = None

    def sentence(self) -> str:
        """The agreement in words.

        >>> Agreement(stretches=24, spectrogram=2e-5, probability=3e-7).sentence()
        'It agrees with soundmark to 2e-05 in the spectrogram and 3e-07 in probability on 24 stretches of sound.'
        """
        first = f"{self.spectrogram:.1g} in the spectrogram"
        said = f"{self.probability:.1g} in probability"
        told = (
            f"{first} and {said}"
            if self.familiarity is None
            else f"{first}, {said} and {self.familiarity:.1g} in familiarity"
        )
        return f"It agrees with soundmark to {told} on {self.stretches:,} stretches of sound."


def with_front_end(model: Model, *, dynamic: bool = False) -> bytes:
    """The model with its representation in the graph: an ONNX file, from waveform to probabilities.

    It takes stretches of the model's window, or with ``dynamic`` of any length, which are then heard whole.

    Raises:
        SettingsError: the representation has no such graph, or none for any length.
        BundleError: the model's own graph is too old.

    >>> exported = with_front_end(model)
    >>> import onnxruntime
    >>> [output.name for output in onnxruntime.InferenceSession(exported).get_outputs()]
    ['probabilities']
    """
    import onnx
    from onnx import TensorProto, helper

    proto = onnx.load_from_string(onnx_graph.without_metadata(model.bundle.graph))
    _check_opset(proto)
    samples = None if dynamic else window_samples(model)
    before, after = front_end.Nodes("front_end"), front_end.Nodes("answer")
    heard = front_end.build(model.card.representation, before, "waveform", samples)
    before.nodes.append(helper.make_node("Identity", [heard], ["spectrogram"]))
    scaled = after.add("Div", "logits", after.constant(model.card.temperature))
    softmax = model.card.activation == "softmax"
    said = after.add("Softmax", scaled, axis=1) if softmax else after.add("Sigmoid", scaled)
    after.nodes.append(helper.make_node("Identity", [said], ["probabilities"]))
    nodes = [*before.nodes, *proto.graph.node, *after.nodes]
    del proto.graph.node[:], proto.graph.input[:]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend([*before.constants, *after.constants])
    proto.graph.input.append(
        helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", samples or "samples"])
    )
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(model.classes)])]
    outputs += [output for output in proto.graph.output if output.name == "familiarity"]
    del proto.graph.output[:]
    proto.graph.output.extend(outputs)
    helper.set_model_props(proto, {KEY: json.dumps(export_metadata(model, dynamic=dynamic), ensure_ascii=False)})
    exported: bytes = proto.SerializeToString()
    return exported


def _check_opset(proto: Any) -> None:
    opset = next((each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")), 0)
    if opset < OLDEST_OPSET:
        raise BundleError(
            f"the model's graph is of ONNX's operators {opset}, and {OLDEST_OPSET} or later can be exported: train it "
            "again with this soundmark."
        )


def window_samples(model: Model) -> int:
    """The length of the model's window at its own rate, in samples.

    >>> window_samples(model)
    88200
    """
    rate_hz = model.card.representation.rate_hz
    return round(model.card.window_s * (rate_hz or 0))


def export_metadata(model: Model, *, dynamic: bool) -> dict[str, Any]:
    """What a program needs to know of an exported file, as its metadata hold it.

    ``inside`` lists what a program must not do again; with ``dynamic``, sounds of up to ``whole_samples`` are heard
    whole and longer ones in windows of ``window_samples``, as soundmark itself does.

    >>> told = export_metadata(model, dynamic=True)
    >>> told["rate_hz"], told["window_samples"], told["whole_samples"], told["inside"]
    (22050, 88200, 92610, ['mel', 'temperature', 'softmax'])
    """
    card, window = model.card, window_samples(model)
    return {
        "schema": SCHEMA,
        "soundmark": version("soundmark"),
        "classes": list(card.classes),
        "rate_hz": card.representation.rate_hz,
        "channels": 1,
        "window_samples": window,
        "dynamic": dynamic,
        "whole_samples": int(WHOLE_WINDOWS * window) if dynamic else window,
        "inside": [card.representation.name, "temperature", card.activation],
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
    """Sounds that a front end is held against: noise, loud and hardly there, a tone, silence, clicks, a sweep: [6, n].

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


def check_export(model: Model, exported: bytes, heard: Iterable[np.ndarray] = ()) -> Agreement:
    """Hold an exported file against soundmark itself, on ``signals`` and on what is ``heard``: ``[n]``, at its rate.

    A file of fixed length hears a shorter sound with silence behind it, and a longer one in windows.

    Raises:
        BundleError: it says something else.

    >>> check_export(model, with_front_end(model), [np.ones(1000, np.float32)]).stretches
    7
    """
    window, rate_hz = window_samples(model), model.card.representation.rate_hz or 0
    session = bundle.session(_with_spectrogram(exported))
    dynamic = isinstance(session.get_inputs()[0].shape[1], str)
    lengths = (1, window // 9, window, int(WHOLE_WINDOWS * window)) if dynamic else (window,)
    batches = (signals(n, rate_hz) for n in lengths if n)
    found = [_compare(model, session, batch) for batch in chain(batches, _stretches(heard, window, dynamic))]
    return Agreement(
        stretches=sum(each.stretches for each in found),
        spectrogram=max(each.spectrogram for each in found),
        probability=max(each.probability for each in found),
        familiarity=max((each.familiarity for each in found if each.familiarity is not None), default=None),
    )


def _with_spectrogram(exported: bytes) -> bytes:
    """An exported file that gives the spectrogram too, which stands between the front end and the network."""
    import onnx

    proto = onnx.load_from_string(exported)
    proto.graph.output.append(onnx.ValueInfoProto(name="spectrogram"))
    whole: bytes = proto.SerializeToString()
    return whole


def _stretches(heard: Iterable[np.ndarray], window: int, dynamic: bool) -> Iterator[np.ndarray]:
    """Sounds as a file takes them, one after the other: ``[1, samples]``."""
    for sound in heard:
        if dynamic and len(sound) <= WHOLE_WINDOWS * window:
            yield sound[None]
            continue
        whole = np.pad(sound, (0, max(0, window - len(sound))))
        yield from (
            whole[None, start : start + window]
            for start in (*range(0, len(whole) - window, window), len(whole) - window)
        )


def _compare(model: Model, session: onnxruntime.InferenceSession, waveforms: np.ndarray) -> Agreement:
    """One batch ``[n, samples]`` by both ways."""
    representation = model.card.representation
    spectrograms = np.stack([representation(waveform, representation.rate_hz or 0) for waveform in waveforms])
    names = [output.name for output in session.get_outputs()]
    said = dict(zip(names, session.run(names, {"waveform": waveforms}), strict=True))
    own = said["spectrogram"][:, 0]
    unlike = _difference(own, spectrograms, SPECTROGRAM_TOLERANCE, "the spectrogram")
    int8 = model.card.training.int8 is not None
    same = np.abs(own - spectrograms).max(axis=(1, 2)) <= LAST_BITS
    spectrograms = np.where((same | int8)[:, None, None], own, spectrograms)
    allowed, familiarity = (INT8_TOLERANCE if int8 else TOLERANCE), None
    if "familiarity" in said:
        ours = model.bundle.run(spectrograms, "familiarity")
        familiarity = _difference(said["familiarity"], ours, max(allowed, FAMILIARITY_TOLERANCE), "familiarity")
    probability = _difference(said["probabilities"], model.probabilities(spectrograms), allowed, "probability")
    return Agreement(stretches=len(waveforms), spectrogram=unlike, probability=probability, familiarity=familiarity)


def _difference(theirs: np.ndarray, ours: np.ndarray, allowed: float, what: str) -> float:
    """The largest difference, which is refused where it is more than is allowed."""
    apart = float(np.abs(theirs - ours).max())
    if not apart <= allowed:
        raise BundleError(
            f"the exported graph differs from the model by {apart:.2g} in {what} (allowed: {allowed:g}); it is not "
            "written. Please report this with the versions of onnx and onnxruntime."
        )
    return apart


def sounds(
    paths: Sequence[Path], rate_hz: int, skipped: list[Skipped], progress: Progress = no_progress
) -> Iterator[np.ndarray]:
    """The sounds ``[n]`` at ``rate_hz`` of files, of folders and of tables; what cannot be read goes to ``skipped``.

    Raises:
        AudioError: a folder holds no sound.
        DatasetError: a table is none.

    >>> skipped = []
    >>> heard = list(sounds([city.clips[0].path, folder / "none.wav"], 22050, skipped))
    >>> len(heard), [item.path == str(folder / "none.wav") for item in skipped]
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
        elif path.is_dir():
            found = sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES)
            if not found:
                raise AudioError(f'the folder "{path}" has no sound files in it: give --check another.')
            yield from ((each, 0.0, None) for each in found)
        else:
            yield path, 0.0, None


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What to export, as it was asked for.

    >>> ExportOptions()
    Traceback (most recent call last):
    soundmark.errors.SettingsError: say what to export: --with-front-end, ...
    """

    front_end: bool = False
    int8: bool = False
    dynamic: bool = False
    check: Sequence[Path] = ()
    calibrate: Path | None = None

    def __post_init__(self) -> None:
        if self.front_end == self.int8:
            raise SettingsError(
                "say what to export: --with-front-end, one file from waveform to probabilities, or --int8, a quarter "
                "of the size; for both, export the int8 model with its front end."
            )
        if self.int8 and not self.calibrate:
            raise SettingsError("int8 needs sounds to be calibrated on: give a data set with --calibrate.")
        for given, option, needs in (
            (self.dynamic and not self.front_end, "--dynamic", "--with-front-end"),
            (self.check and not self.front_end, "--check", "--with-front-end"),
            (self.calibrate and not self.int8, "--calibrate", "--int8"),
        ):
            if given:
                raise SettingsError(f"{option} is for {needs}: leave it out.")


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What was written, in a sentence, and what was left out on the way."""

    sentence: str
    skipped: tuple[Skipped, ...]


def output_path(model: Path, output: Path | None, wish: ExportOptions) -> Path:
    """Where an export of the file ``model`` goes: ``output``, or beside it, under a name that says what it is.

    Raises:
        OutputError: that is the model itself, or a file that was not exported.

    >>> output_path(folder / "model.onnx", None, ExportOptions(front_end=True)).name
    'model-waveform.onnx'
    """
    path = output or model.with_name(f"{model.stem}-{'int8' if wish.int8 else 'waveform'}.onnx")
    try:
        if path.exists() and path.samefile(model):
            raise OutputError(f'"{path}" is the model itself: give the export another name with -o.')
        if path.exists() and not _was_exported(path.read_bytes()):
            raise OutputError(f'"{path}" is there already, and is no export: give the export another name with -o.')
    except OSError as error:
        raise atomic.cannot_write(path, error) from error
    return path


def _was_exported(content: bytes) -> bool:
    return KEY.encode() in content or b'"int8": {' in content


def export_waveform_model(
    model: Model,
    path: Path,
    *,
    dynamic: bool = False,
    check: Sequence[Path] = (),
    progress: Progress = no_progress,
) -> ExportResult:
    """Export ``model`` with its front end to ``path``, if it agrees with soundmark, also on the sounds of ``check``.

    Raises:
        SettingsError, BundleError: it cannot be exported, or does not agree.
        AudioError: a folder of ``check`` holds no sound.
        OutputError: the place cannot be written.

    >>> print(export_waveform_model(model, folder / "city.onnx", dynamic=True).sentence)
    mel, ... and softmax inside, for any length: ... MB. It agrees with soundmark to ... stretches of sound.
    """
    exported = with_front_end(model, dynamic=dynamic)
    skipped: list[Skipped] = []
    rate_hz = model.card.representation.rate_hz or 0
    agreement = check_export(model, exported, sounds(check, rate_hz, skipped, progress))
    atomic.write_bytes(path, exported)
    inside = " and ".join((", ".join(export_metadata(model, dynamic=dynamic)["inside"][:2]), model.card.activation))
    n = window_samples(model)
    length = "any length" if dynamic else f"{n} samples at {rate_hz} Hz"
    sentence = f"{inside} inside, for {length}: {len(exported) / 1e6:.2f} MB. {agreement.sentence()}"
    return ExportResult(sentence=sentence, skipped=tuple(skipped))
