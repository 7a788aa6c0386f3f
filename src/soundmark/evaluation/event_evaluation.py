"""Score a model's detections in long recordings against their annotations: ``evaluate(..., events=True)``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundmark.datasets import Clip, Dataset, Skipped
from soundmark.detection.file_analysis import FileAnalysis
from soundmark.detection.inputs import Failure, Input
from soundmark.detection.settings import DetectionSettings, EventRule
from soundmark.errors import DatasetError
from soundmark.evaluation.model_evaluation import about_run, check_same_run, held_out_clips
from soundmark.metrics.event_matching import (
    BACKGROUND_S,
    Annotation,
    EventFigures,
    EventSummary,
    Matches,
    match_events,
    summarize_matches,
)
from soundmark.metrics.intervals import bounds, finite_or_none
from soundmark.models.classifier import Model
from soundmark.runtime import atomic, parallel
from soundmark.runtime.dataframes import import_pandas
from soundmark.runtime.progress import Progress, no_progress
from soundmark.runtime.text import aligned, counted, html_table, percent
from soundmark.training.run_folder import check_units, exclusive_run

if TYPE_CHECKING:
    import pandas

COLUMNS = ("annotated", "found", "false", "precision %", "recall %", "F1 %", "onset ± s", "offset ± s")


@dataclass(frozen=True, kw_only=True, repr=False)
class EventEvaluation:
    """The scores of a model's detections in annotated recordings; displays a table of its classes in Jupyter."""

    summary: EventSummary
    note: str  # which recordings were scored, and whether they may have been trained on
    about: Mapping[str, Any]  # digests of the model and of the data set, and the settings
    skipped: tuple[Skipped, ...]

    def __repr__(self) -> str:
        return "\n".join([*self.headings(), *aligned([["class", *COLUMNS], *self.rows()])])

    def _repr_html_(self) -> str:
        return html_table(self.rows(), header=("class", *COLUMNS), caption=" ".join(self.headings()))

    def headings(self) -> list[str]:
        """Describe the recordings, the rule and the rates of false detections in three sentences."""
        s = self.summary
        false, background = s.false_per_hour_interval, s.background_per_hour_interval
        return [
            f"Scored {counted(s.recordings, 'recording')}, {s.hours:.2f} hours: {self.note}.",
            f"Rule: a detection is correct if at least {percent(s.min_overlap)} % of it lies within annotations of its "
            f"class; an annotation is found if correct detections cover at least {percent(s.min_overlap)} % of it.",
            f"False detections: {s.total.false_per_hour:.1f} per hour{_range(false.low, false.high)}; of these "
            f"{s.background_per_hour:.1f}{_range(background.low, background.high)} where nothing is annotated.",
        ]

    def rows(self) -> list[list[str]]:
        """Return the cells of the table: a row per class, then one for all classes."""
        return [_cells(figures) for figures in (*self.summary.classes, self.summary.total)]

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per class, and one for all: counts, precision, recall, F1, errors, false detections per hour.

        Raises:
            SettingsError: pandas is not installed.
        """
        rows = [asdict(figures) for figures in (*self.summary.classes, self.summary.total)]
        for row in rows:
            for key in ("precision", "recall", "f1"):
                interval = row.pop(f"{key}_interval")
                row |= {f"{key}_low": interval["low"], f"{key}_high": interval["high"]}
        return import_pandas().DataFrame(rows)


def _range(low: float, high: float) -> str:
    return f" [{low:.1f}, {high:.1f}]" if np.isfinite(low) else ""


def _cells(figures: EventFigures) -> list[str]:
    shares = [
        f"{percent(value)} [{percent(interval.low)}, {percent(interval.high)}]" if interval.known else percent(value)
        for value, interval in (
            (figures.precision, figures.precision_interval),
            (figures.recall, figures.recall_interval),
            (figures.f1, figures.f1_interval),
        )
    ]
    errors = ["?" if np.isnan(e) else f"{e:.2f}" for e in (figures.onset_error_s, figures.offset_error_s)]
    counts = [f"{n:,}" for n in (figures.annotations, figures.found, figures.false)]
    return [figures.label[:40], *counts, *shares, *errors]


def score_events(
    model: Model,
    dataset: Dataset,
    settings: DetectionSettings | None = None,
    *,
    rule: EventRule | None = None,
    folder: Path | None = None,
    jobs: parallel.Jobs = None,
    progress: Progress = no_progress,
) -> EventEvaluation:
    """Detect events in the recordings of ``dataset``, and score them against its clips, which are the annotations.

    Everything outside the annotations counts as background, so the recordings must be annotated completely. Classes of
    the model that are not annotated at all are not scored. Recordings with clips that the model was trained on are left
    out. With ``folder``, ``events.json`` is written there.

    Raises:
        DatasetError: no class is one of the model's, or no recording is left to evaluate.
        SettingsError: a setting does not fit the model.
        OutputError: the folder cannot be written, or contains other results.

    >>> found = score_events(model, city, jobs=1)
    >>> found.summary.recordings, found.summary.total.annotations  # each clip is a separate file
    (20, 20)
    """
    settings, rule = (settings or DetectionSettings()).for_model(model), rule or EventRule()
    if not set(dataset.classes) & set(model.classes):
        raise DatasetError(
            f"none of the classes of {dataset.name} ({', '.join(dataset.classes[:10])}) is a class of the model. Its "
            f"classes: {', '.join(model.classes)}."
        )
    about = {**about_run(model, dataset), "settings": settings.to_json(), "min_overlap": rule.min_overlap}
    if not folder:
        return _evaluate(model, dataset, settings, rule.min_overlap, about, jobs, progress)
    check_same_run(folder, about, "events.json")
    with exclusive_run(folder) as output:
        check_units(output, [folder], ["events.json"])
        found = _evaluate(model, dataset, settings, rule.min_overlap, about, jobs, progress)
        text = json.dumps(_to_json(found), indent=1, ensure_ascii=False)
        atomic.write_bytes(folder / "events.json", f"{text}\n".encode(errors="backslashreplace"))
    return found


def _evaluate(
    model: Model,
    dataset: Dataset,
    settings: DetectionSettings,
    min_overlap: float,
    about: Mapping[str, Any],
    jobs: parallel.Jobs,
    progress: Progress,
) -> EventEvaluation:
    held_out, note = held_out_clips(model, dataset, np.ones(len(dataset.clips), bool))
    recordings = clips_by_file(dataset, held_out)
    scored = [label for label in model.classes if label in dataset.classes]
    if not recordings:
        raise DatasetError(f"no recording of {dataset.name} is left to evaluate: {note}.")
    matches: list[Matches] = []
    skipped = list(dataset.skipped)
    files = [Input(path, path) for path in recordings]
    with FileAnalysis(model, files, settings, jobs=jobs) as analysis:
        for done, result in enumerate(analysis, 1):
            progress("detecting events", done, len(files), "recordings")
            if isinstance(result, Failure):
                skipped.append(Skipped(path=result.file, reason=result.reason))
                continue
            truth = _annotations(dataset, recordings[result.file], result.duration_s)
            events = [event for event in result.events if event.label in scored]
            matches.append(match_events(truth, events, duration_s=result.duration_s, min_overlap=min_overlap))
    if not matches:
        raise DatasetError(f"no recording of {dataset.name} can be read: {skipped[-1].reason}")
    summary = summarize_matches(matches, scored, min_overlap=min_overlap)
    return EventEvaluation(summary=summary, note=_note(model, dataset, note), about=about, skipped=tuple(skipped))


def clips_by_file(dataset: Dataset, which: np.ndarray) -> dict[str, list[Clip]]:
    """Return the clips of each file by its path; only files of which all clips are among ``which``, int64 indices.

    >>> len(clips_by_file(city, np.arange(5)))
    5
    """
    files: dict[str, list[int]] = {}
    for number, clip in enumerate(dataset.clips):
        files.setdefault(str(clip.path), []).append(number)
    kept = set(which.tolist())
    return {path: [dataset.clips[n] for n in numbers] for path, numbers in files.items() if kept.issuperset(numbers)}


def _annotations(dataset: Dataset, clips: Sequence[Clip], duration_s: float) -> list[Annotation]:
    """Return an annotation for each class of each clip; a clip without an end lasts until the end of the recording."""
    spans = [
        Annotation(label, clip.start_s, min(duration_s, duration_s if clip.stop_s is None else clip.stop_s))
        for clip in clips
        for label in dataset.labels_of(clip)
    ]
    return [span for span in spans if span.stop_s > span.start_s]


def _note(model: Model, dataset: Dataset, note: str) -> str:
    strange = [label for label in dataset.classes if label not in model.classes]
    absent = [label for label in model.classes if label not in dataset.classes]
    for what, labels in (("not classes of the model", strange), ("not annotated", absent)):
        note += f"; {what}, and not scored: {', '.join(labels[:10])}" if labels else ""
    return note


def _to_json(found: EventEvaluation) -> dict[str, Any]:
    summary = found.summary
    return {
        "schema": 1,
        "about": dict(found.about),
        "note": found.note,
        "min_overlap": summary.min_overlap,
        "background_s": BACKGROUND_S,
        "recordings": summary.recordings,
        "hours": summary.hours,
        "false_per_hour": finite_or_none(summary.total.false_per_hour),
        "false_per_hour_interval": bounds(summary.false_per_hour_interval),
        "background_per_hour": finite_or_none(summary.background_per_hour),
        "background_per_hour_interval": bounds(summary.background_per_hour_interval),
        "total": _figures_json(summary.total),
        "classes": [_figures_json(figures) for figures in summary.classes],
        "skipped": [asdict(item) for item in found.skipped],
    }


def _figures_json(figures: EventFigures) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key in figures.__dataclass_fields__:
        value = getattr(figures, key)
        if key.endswith("_interval"):
            values[key] = bounds(value)
        else:
            values[key] = finite_or_none(value) if isinstance(value, float) else value
    return values
