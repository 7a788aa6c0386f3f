"""The thresholds of the server: those in its file, which reviews add to, and the model with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from soundmark.detection.settings import DetectionSettings, read_thresholds, write_threshold
from soundmark.errors import BundleError, OutputError, SettingsError
from soundmark.models.bundle import read_bundle
from soundmark.models.classifier import Model
from soundmark.runtime.output_folder import check_path
from soundmark.serving.settings import ServerSettings

REMEDY = "Move it, or choose another file with --thresholds."


MODEL = "model-with-thresholds.onnx"  # beside the file of thresholds


class Thresholds:
    """The onset thresholds of single classes, by which the server detects events unless a request has its own.

    A file that was named must fit the model, and exist unless reviews write it. In the one of the corrections, classes
    of other models are ignored.

    Raises:
        SettingsError: the file cannot be read, or has a class that the model does not have.

    >>> Thresholds(model, ServerSettings()).values
    {}
    """

    def __init__(self, model: Model, settings: ServerSettings) -> None:
        self.path, self._model = settings.thresholds_file, model
        may_be_new = settings.corrections is not None
        is_named = settings.thresholds is not None  # it may be a pipe
        is_read = self.path and (not may_be_new or (self.path.exists() if is_named else self.path.is_file()))
        known = read_thresholds(self.path) if self.path and is_read else {}
        if settings.thresholds:
            DetectionSettings(thresholds=known).threshold(model)
        self.values: Mapping[str, float] = {label: known[label] for label in known if label in model.classes}
        self._given = known if settings.thresholds else {}

    def of(self, model: Model) -> Mapping[str, float]:
        """Return the thresholds for ``model``.

        Those that reviews led to are of the scores of one model: for another one, only those of a named file count.
        """
        if model is self._model:
            return self.values
        return {label: self._given[label] for label in self._given if label in model.classes}

    def write(self, label: str, threshold: float, *, comment: str) -> Path:
        """Write the threshold of a class into the file, and use it from now on; return the file.

        Raises:
            SettingsError: the server has no file of thresholds, or it cannot be read.
            OutputError: it cannot be written.
        """
        if self.path is None:
            raise SettingsError(
                "this server has no file for thresholds: start it with --corrections DIR or --thresholds FILE."
            )
        write_threshold(self.path, label, threshold, comment=comment)
        self.values = {**self.values, label: float(threshold)}
        return self.path

    def write_model(self) -> Path:
        """Write a copy of the model with the thresholds, beside the file; return its path.

        Raises:
            SettingsError: the server has no file of thresholds.
            OutputError: the model cannot be written.
        """
        if self.path is None:
            raise SettingsError("this server has no file for thresholds: start it with --thresholds FILE.")
        path = self.path.with_name(MODEL)
        if check_path(path.parent, MODEL, REMEDY) is not None and not _is_copy(path, self._model):
            raise OutputError(f'"{path}" exists already and is not a copy of the model that is served. {REMEDY}')
        with_thresholds(self._model, self.values).save(path)
        return path


def _is_copy(path: Path, model: Model) -> bool:
    """Whether a file has the graph of ``model``; the thresholds in its card are other ones."""
    try:
        return read_bundle(path).graph == model.bundle.graph
    except BundleError:
        return False


def with_thresholds(model: Model, thresholds: Mapping[str, float]) -> Model:
    """Return a model whose card has the thresholds for events; classes without one keep theirs, or 0.5.

    Raises:
        SettingsError: a threshold is for a class that the model does not have.

    >>> float(with_thresholds(model, {"siren": 0.75}).event_thresholds.max())
    0.75
    """
    found = DetectionSettings(thresholds=thresholds).threshold(model)
    if found is None:
        return model
    card = replace(model.card, event_thresholds=tuple(found.tolist()))
    return Model(replace(model.bundle, card=card))
