"""What an export for another program is: its files, and what the program computes from them.

A target is one file of this folder. ``export_for`` compares what the program computes with soundmark before it writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundmark.errors import BundleError, OutputError
from soundmark.models.classifier import Model
from soundmark.models.export import waveform
from soundmark.models.export.waveform import ExportResult
from soundmark.runtime import atomic, output_folder
from soundmark.runtime.checks import is_file

Files = Mapping[str, bytes]  # by path relative to the export; one without a name for an export of one file


QUIET_SIGNAL = 1  # of ``waveform.signals``: networks amplify its rounding errors (docs/export.md, quiet audio)


@dataclass(frozen=True, kw_only=True)
class Audio:
    """The audio that a program gives to a model: its sample rate and its lengths in samples."""

    rate_hz: int
    lengths: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A program that models are exported for.

    ``build`` returns the files of a model, or raises ``SettingsError`` if the program cannot use it. ``run`` does what
    the program does: from the files and audio ``[samples]`` to probabilities ``[classes]``.
    """

    name: str
    program: str
    file: str | None  # the name of the only file, or None: the export is a folder
    option: str = "-o"  # which names the file or the folder
    audio: Callable[[Model], Audio]
    build: Callable[[Model], Files]
    run: Callable[[Files, np.ndarray], np.ndarray]

    def check(self, model: Model, files: Files) -> tuple[int, float]:
        """Compare what the program computes from ``files`` with soundmark, on test signals of each length.

        Returns:
            The number of sounds, and the largest difference of a probability.

        Raises:
            BundleError: the difference is above its tolerance.
        """
        audio = self.audio(model)
        sounds = [
            sound
            for n in audio.lengths
            for sound in np.delete(waveform.signals(n, audio.rate_hz), QUIET_SIGNAL, axis=0)
        ]
        differences = [
            np.abs(self.run(files, sound) - model.scores(sound, audio.rate_hz, overlap=model.overlap, jobs=1).mean())
            for sound in sounds
        ]
        largest = float(np.max(differences))
        allowed = waveform.TOLERANCE if model.card.training.int8 is None else waveform.INT8_TOLERANCE
        if not largest <= allowed:
            raise BundleError(
                f"the export for {self.program} differs from the model by {largest:.2g} in probability (allowed: "
                f"{allowed:g}); it is not written. Please report this with the versions of onnx and onnxruntime."
            )
        return len(sounds), largest


def export_for(model: Model, target: Target, path: Path) -> ExportResult:
    """Export ``model`` for ``target`` to the file or the folder ``path``, after a comparison with soundmark.

    Raises:
        SettingsError, BundleError: the program cannot use the model, or the export differs from soundmark.
        OutputError: the files cannot be written.

    >>> from soundmark.models.export.targets.opensoundscape import OPENSOUNDSCAPE
    >>> print(export_for(model, OPENSOUNDSCAPE, folder / "city.onnx").sentence)
    for OpenSoundscape, ... MB. Largest difference from soundmark on 5 sounds: ... in probability.
    """
    files = target.build(model)
    n_sounds, largest = target.check(model, files)
    write(path, files, option=target.option)
    size = sum(map(len, files.values())) / 1e6
    return ExportResult(
        sentence=f"for {target.program}, {size:.2f} MB. Largest difference from soundmark on {n_sounds} sounds: "
        f"{largest:.1g} in probability.",
        skipped=(),
    )


def write(path: Path, files: Files, *, option: str = "-o") -> None:
    """Write the files of an export: a folder, or one file.

    Raises:
        OutputError: they cannot be written, or would replace files that soundmark did not write.

    >>> write(folder / "export", {"labels.txt": b"dog"})
    >>> (folder / "export" / "labels.txt").read_bytes()
    b'dog'
    """
    if list(files) == [""]:
        atomic.write_bytes(path, files[""])
        return
    with output_folder.opened(path, remedy=f"Choose another folder with {option}.") as output:
        output.check(*files)
        for name, content in files.items():
            atomic.write_bytes(path / name, content)


def target_path(target: Target, model: Path, output: Path | None, *, overwrite: bool = False) -> Path:
    """Return the file or the folder to write: ``output``, or a path beside ``model`` that names the program.

    Raises:
        OutputError: it exists and cannot be replaced.

    >>> from soundmark.models.export.targets.opensoundscape import OPENSOUNDSCAPE
    >>> target_path(OPENSOUNDSCAPE, folder / "model.onnx", None).name
    'model-opensoundscape.onnx'
    """
    suffix = ".onnx" if target.file else ""
    path = output or model.with_name(f"{model.stem}-{target.name}{suffix}")
    if target.file:
        return waveform.checked_path(path, model, overwrite=overwrite)
    if is_file(path):
        raise OutputError(
            f'"{path}" is a file, but the export for {target.program} is a folder: choose another with {target.option}.'
        )
    return path


def window_audio(model: Model) -> Audio:
    """The audio of a program that gives a model exactly one window, at its sample rate.

    >>> window_audio(model)
    Audio(rate_hz=22050, lengths=(88200,))
    """
    return Audio(rate_hz=model.card.representation.input_rate_hz or 0, lengths=(waveform.window_samples(model),))


def any_audio(model: Model) -> Audio:
    """The audio of a program that gives a model recordings of any length, at its sample rate.

    >>> any_audio(model).lengths
    (9800, 88200, 92610, 229320)
    """
    window = waveform.window_samples(model)
    lengths: Sequence[float] = (window // 9, window, waveform.WHOLE_WINDOWS * window, 2.6 * window)
    return Audio(rate_hz=model.card.representation.input_rate_hz or 0, lengths=tuple(int(n) for n in lengths))
