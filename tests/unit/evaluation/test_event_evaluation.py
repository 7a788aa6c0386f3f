"""evaluate --events: detections in recordings are scored against the clips of a table, which are annotations."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import soundmark
from soundmark import audio
from soundmark.cli.commands import app
from soundmark.datasets import Dataset
from soundmark.errors import DatasetError, OutputError, SettingsError
from soundmark.evaluation.event_evaluation import score_events
from support.sounds import RATE_HZ, tones


@pytest.fixture
def annotated(tmp_path, tone_detector) -> Dataset:
    """Two recordings of a minute: low at 10 to 14 s and high at 30 to 34 s, both annotated, in each."""
    low, high, _ = tone_detector.classes
    rows = ["path,label,start,end"]
    for name in ("a.wav", "b.wav"):
        audio.write(tmp_path / name, tones(60.0, [(low, 10.0, 14.0), (high, 30.0, 34.0)]), RATE_HZ)
        rows += [f"{name},{low},10,14", f"{name},{high},30,34"]
    (tmp_path / "annotations.csv").write_text("\n".join(rows))
    return Dataset.open(tmp_path / "annotations.csv")


def test_perfect_detections_have_perfect_scores(annotated, tone_detector):
    found = soundmark.evaluate(tone_detector, annotated, events=True, quiet=True)
    total = found.summary.total
    assert (total.annotations, total.found, total.false) == (4, 4, 0)
    assert (total.precision, total.recall, total.f1) == (1.0, 1.0, 1.0)
    assert found.summary.hours == pytest.approx(120 / 3600)
    assert total.onset_error_s <= 1.0
    assert repr(found).count("\n") == 6


def test_a_missing_annotation_makes_a_false_detection_per_hour(annotated, tone_detector, tmp_path):
    table = tmp_path / "annotations.csv"
    table.write_text(table.read_text().replace(f"b.wav,{tone_detector.classes[1]},30,34", ""))
    found = soundmark.evaluate(tone_detector, table, events=True, quiet=True)
    assert (found.summary.total.found, found.summary.total.false) == (3, 1)
    assert found.summary.total.false_per_hour == found.summary.background_per_hour == pytest.approx(30.0)
    interval = found.summary.background_per_hour_interval
    assert 0 <= interval.low < 1 < 30 < interval.high, "one false detection in one of two recordings says little"


def test_annotations_of_other_classes_are_named_and_not_scored(annotated, tone_detector, tmp_path):
    table = tmp_path / "annotations.csv"
    table.write_text(table.read_text() + "\na.wav,owl,50,52")
    found = soundmark.evaluate(tone_detector, table, events=True, quiet=True)
    assert found.summary.total.annotations == 4
    assert "not classes of the model, and not scored: owl" in found.note
    table.write_text("path,label,start,end\na.wav,owl,50,52")
    with pytest.raises(DatasetError, match=r"none of the classes of annotations \(owl\) is a class of the model"):
        soundmark.evaluate(tone_detector, table, events=True, quiet=True)


def test_the_command_prints_the_rule_and_writes_the_scores(annotated, tone_detector, tmp_path):
    tone_detector.save(tmp_path / "model.onnx")
    arguments = ["evaluate", str(tmp_path / "annotations.csv"), "-m", str(tmp_path / "model.onnx"), "--events"]
    done = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "scores"), "--quiet"])
    assert done.exit_code == 0, done.output
    assert "at least 50.0 % of it" in " ".join(done.output.split())
    written = json.loads((tmp_path / "scores" / "events.json").read_text())
    assert (written["total"]["found"], written["total"]["false"]) == (4, 0)
    assert written["about"]["settings"]["merge_gap_s"] == 0.0


def test_results_of_another_rule_are_not_replaced(annotated, tone_detector, tmp_path):
    soundmark.evaluate(tone_detector, annotated, tmp_path / "scores", events=True, quiet=True)
    with pytest.raises(OutputError, match="contains the results of another model or of other data"):
        soundmark.evaluate(tone_detector, annotated, tmp_path / "scores", events=True, min_overlap=0.9, quiet=True)


def test_an_unreadable_recording_is_skipped_and_named(annotated, tone_detector, tmp_path):
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    found = score_events(tone_detector, annotated, jobs=1)
    assert found.summary.recordings == 1
    assert [item.path for item in found.skipped] == [str(tmp_path / "b.wav")]


def test_an_option_of_events_without_events_is_refused(annotated, tone_detector):
    with pytest.raises(SettingsError, match="--min-overlap scores the detection of events: add --events"):
        soundmark.evaluate(tone_detector, annotated, min_overlap=0.2, quiet=True)


def test_a_recording_with_a_training_clip_is_left_out(sibling_city, comparison_run):
    model = soundmark.load(comparison_run / "notebook-mel" / "folds" / "fold-1" / "model.onnx")
    found = soundmark.evaluate(model, sibling_city, events=True, quiet=True)
    assert found.summary.total.annotations == int(np.sum(sibling_city.fold_of == 1))
    assert found.note.startswith("fold 1, which was held out")
