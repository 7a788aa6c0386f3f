"""Analyse the file of an upload, under the name that its sender gave it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from soundmark.audio import timestamps
from soundmark.detection.file_analysis import analyze_file
from soundmark.detection.file_result import FileResult
from soundmark.detection.inputs import Failure, Input
from soundmark.detection.settings import DetectionSettings
from soundmark.models.classifier import Model


def analyze_upload(
    model: Model, path: Path, name: str, detection: DetectionSettings, **options: Any
) -> FileResult | Failure:
    """Call ``analyze_file`` with ``options``; ``name`` replaces the path of the temporary file in what it returns.

    >>> found = analyze_upload(model, city.clips[0].path, "20240612_043000.wav", DetectionSettings())
    >>> found.file, found.started.year
    ('20240612_043000.wav', 2024)
    """
    found = analyze_file(model, Input(str(path), name), detection, **options)
    if isinstance(found, Failure):
        return Failure(name, found.reason.replace(str(path), name))
    note = found.note and found.note.replace(str(path), name)
    return replace(found, file=name, note=note, started=timestamps.recording_start(path, name=name))
