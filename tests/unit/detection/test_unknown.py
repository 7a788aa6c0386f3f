"""Sounds unlike the training data are reported as "unknown", followed by the most probable classes."""

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from soundmark import audio
from soundmark.cli import tables
from soundmark.detection.file_analysis import analyze_files
from soundmark.detection.inputs import Input
from soundmark.detection.settings import DetectionSettings
from soundmark.models import card_text
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model
from soundmark.models.training_record import TrainingRecord
from soundmark.spectrograms import Mel
from support.commands import run_soundmark

pytestmark = pytest.mark.slow

RATE_HZ = 22050


def graph(*, familiar: bool = True) -> bytes:
    """A graph with the mean level of the lower and upper bands as logits, and a sigmoid of the mean of all bands.

    The latter is the output "familiarity".
    """
    weights = np.zeros((64, 2), np.float32)
    weights[:32, 0], weights[32:, 1] = 1 / 320, 1 / 320
    mean = np.full((64, 1), 1 / 640, np.float32)
    nodes = [
        helper.make_node("Flatten", ["spectrogram"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])]
    if familiar:
        nodes += [
            helper.make_node("Gemm", ["flat", "mean", "bias"], ["level"]),
            helper.make_node("Sigmoid", ["level"], ["column"]),
            helper.make_node("Reshape", ["column", "line"], ["familiarity"]),
        ]
        outputs.append(helper.make_tensor_value_info("familiarity", TensorProto.FLOAT, ["batch"]))
    levels = helper.make_graph(
        nodes,
        "levels",
        [helper.make_tensor_value_info("spectrogram", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        outputs,
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(mean, "mean"),
            numpy_helper.from_array(np.full(1, 5, np.float32), "bias"),
            numpy_helper.from_array(np.array([-1], np.int64), "line"),
        ],
    )
    return helper.make_model(levels, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def model(*, familiar: bool = True, **card) -> Model:
    """A model to which noise is familiar (0.97), and a tone is not (0.05)."""
    settings = {"classes": ("low", "high"), "representation": Mel(size=(8, 8)), "window_s": 0.5, "unknown": 0.5}
    return Model(Bundle(graph(familiar=familiar), Card(**(settings | card))))


T = np.arange(11025) / RATE_HZ
TONE = (0.3 * np.sin(2 * np.pi * 3000 * T)).astype(np.float32)
NOISE = (0.3 * np.random.default_rng(0).normal(size=11025)).clip(-1, 1).astype(np.float32)


def labels(answer) -> list[str]:
    return [entry["label"] for entry in answer]


def test_an_unfamiliar_sound_is_unknown_followed_by_the_classes():
    answer = model().classify(TONE, RATE_HZ)
    assert labels(answer) == ["unknown", "high", "low"]
    assert [entry["score"] for entry in answer] == pytest.approx([0.945, 0.576, 0.424], abs=1e-3)
    assert labels(model().classify(TONE, RATE_HZ, top_k=1)) == ["unknown", "high"]
    assert model().classify(TONE, RATE_HZ, unknown=False) == answer[1:]


def test_a_familiar_sound_is_not_unknown():
    assert labels(model().classify(NOISE, RATE_HZ)) == ["high", "low"]
    assert labels(model(unknown=0.98).classify(NOISE, RATE_HZ)) == ["unknown", "high", "low"]


def test_the_mean_familiarity_of_the_windows_decides():
    both = np.concatenate([TONE, NOISE])  # 0.055 and 0.967: on average 0.511
    scores = model().scores(both, RATE_HZ)
    assert scores.familiarity.dtype == np.float32
    assert scores.familiarity.tolist() == pytest.approx([0.055, 0.967], abs=1e-3)
    assert labels(model(unknown=0.5).classify(both, RATE_HZ))[0] == "high"
    assert model(unknown=0.52).classify(both, RATE_HZ)[0] == {
        "label": "unknown",
        "score": pytest.approx(0.489, abs=1e-3),
    }


@pytest.mark.parametrize(("familiar", "unknown"), [(True, None), (False, 0.5), (False, None)])
def test_without_a_threshold_or_a_familiarity_output_nothing_is_unknown(familiar, unknown):
    other = model(familiar=familiar, unknown=unknown)
    assert other.unknown is None
    assert other.scores(TONE, RATE_HZ).familiarity is None
    assert labels(other.classify(TONE, RATE_HZ)) == ["high", "low"]


def test_familiarity_does_not_change_the_probabilities_of_many_windows():
    long = np.tile(np.concatenate([TONE, NOISE, NOISE]), 100)
    scores, without = (each.scores(long, RATE_HZ) for each in (model(), model(unknown=None)))
    assert len(scores) == 300  # more than one batch
    np.testing.assert_array_equal(scores.probabilities, without.probabilities)
    assert scores.familiarity.reshape(100, 3)[-1].tolist() == pytest.approx([0.055, 0.967, 0.967], abs=1e-3)


def test_the_graph_runs_once_for_both_outputs(monkeypatch):
    one, runs = model(), []
    run_for = Bundle.run_for
    monkeypatch.setattr(Bundle, "run_for", lambda *args, **options: runs.append(args[2]) or run_for(*args, **options))
    one.classify(TONE, RATE_HZ)
    assert runs == [("logits", "familiarity")]


@pytest.mark.parametrize(
    ("classes", "label"), [(("unknown", "high"), "(unknown)"), (("unknown", "(unknown)"), "((unknown))")]
)
def test_a_class_named_unknown_is_not_confused_with_unknown_sounds(classes, label):
    answer = model(classes=classes).classify(TONE, RATE_HZ)
    assert answer[0] == {"label": label, "score": pytest.approx(0.945, abs=1e-3)}
    assert sorted(labels(answer)[1:]) == sorted(classes)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for name, samples in (("tone.wav", TONE), ("noise.wav", NOISE)):
        audio.write(tmp_path / name, samples, RATE_HZ)
    return [tmp_path / "tone.wav", tmp_path / "noise.wav"]


def results_of(model: Model, files: list[Path], **settings) -> list:
    return list(
        analyze_files(model, [Input(str(path), path.name) for path in files], DetectionSettings(top_k=1, **settings))
    )


def test_unknown_is_first_in_the_results_and_shown_in_the_table(files, capsys):
    found = results_of(model(), files)
    assert [labels(one.answer) for one in found] == [["unknown", "high"], ["high"]]
    assert [[event.label for event in one.events] for one in found] == [["unknown"], ["high"]]
    tables.show_results(found, unknown="unknown")
    output = capsys.readouterr().out
    assert " ".join(output.split()).count("unknown 0.945") == 1
    assert " ".join(output.split()).count("nearest: high 0.576") == 1
    assert output.count("nearest") == 1
    off = results_of(model(), files, unknown=False)
    assert off == results_of(model(unknown=None), files)
    assert [labels(one.answer) for one in off] == [["high"], ["high"]]


def test_an_unfamiliar_window_is_not_part_of_an_event(files):
    three = np.concatenate([NOISE, TONE, NOISE])
    known = model().events(three, RATE_HZ, threshold=0.01)
    assert {(event.start_s, event.stop_s) for event in known} == {(0.0, 0.5), (1.0, 1.5)}
    all_windows = model().events(three, RATE_HZ, threshold=0.01, unknown=False)
    assert {(event.start_s, event.stop_s) for event in all_windows} == {(0.0, 1.5)}


def test_for_a_multi_label_model_unknown_is_present_and_no_class(files):
    several = model(activation="sigmoid", thresholds=(1.0, 1.0))
    answer = results_of(several, files)[0].answer
    assert [(entry["label"], entry["present"]) for entry in answer] == [("unknown", True), ("high", False)]


def test_the_command_reports_unknown_unless_switched_off(files, tmp_path: Path):
    model().bundle.write(tmp_path / "m.onnx")

    def typed(*more: str) -> str:
        done = run_soundmark("classify", files[0], "-m", tmp_path / "m.onnx", *more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert json.loads(typed("--format", "json"))[0]["classes"][0]["label"] == "unknown"
    assert "unknown" in typed()
    assert "unknown" not in typed("--no-unknown") + typed("--no-unknown", "--format", "json")


def test_a_card_states_how_the_model_was_calibrated():
    rows = dict(card_text.card_lines(model().card))
    assert rows["calibration"] == "not calibrated: the probabilities are the outputs of the network"
    assert "pretrained weights" not in rows
    data = {"calibrated_on": 1234, "weights": "mn04: MIT licence"}
    rows = dict(
        card_text.card_lines(
            model(
                unknown=0.0712,
                temperature=1.234,
                training=TrainingRecord.from_json(data),
                recipe={"known_quantile": 0.95},
            ).card
        )
    )
    assert rows["calibration"] == "temperature 1.23, fitted on 1,234 clips of the training data"
    assert rows["unknown threshold"] == (
        '"unknown" if the familiarity is below 0.0712 (5.0 % of the 1,234 calibration clips); '
        "`--no-unknown` turns it off"
    )
    assert rows["pretrained weights"] == "mn04: MIT licence"
    assert dict(card_text.card_lines(model(unknown=None).card))["unknown threshold"].startswith("none: ")
