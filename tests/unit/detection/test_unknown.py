"""None of these: a sound unlike all that was trained on is called unknown, and the runner-up named behind it."""

import json
import os
import subprocess
import sys
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

RATE_HZ = 22050


def graph(*, familiar: bool = True) -> bytes:
    """Logits: the mean level of the lower and the upper half of the bands; familiarity: that of all, squashed."""
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
    whole = helper.make_graph(
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
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def model(*, familiar: bool = True, **card) -> Model:
    """One that knows noise, at 0.97, and no tones, at 0.05."""
    settings = {"classes": ("low", "high"), "representation": Mel(size=(8, 8)), "window_s": 0.5, "unknown": 0.5}
    return Model(Bundle(graph(familiar=familiar), Card(**(settings | card))))


T = np.arange(11025) / RATE_HZ
TONE = (0.3 * np.sin(2 * np.pi * 3000 * T)).astype(np.float32)
NOISE = (0.3 * np.random.default_rng(0).normal(size=11025)).clip(-1, 1).astype(np.float32)


def labels(answer) -> list[str]:
    return [entry["label"] for entry in answer]


def test_a_strange_sound_is_unknown_and_the_runners_up_follow():
    answer = model().classify(TONE, RATE_HZ)
    assert labels(answer) == ["unknown", "high", "low"]
    assert [entry["score"] for entry in answer] == pytest.approx([0.945, 0.576, 0.424], abs=1e-3)
    assert labels(model().classify(TONE, RATE_HZ, top_k=1)) == ["unknown", "high"]
    assert model().classify(TONE, RATE_HZ, unknown=False) == answer[1:]


def test_a_familiar_sound_is_not():
    assert labels(model().classify(NOISE, RATE_HZ)) == ["high", "low"]
    assert labels(model(unknown=0.98).classify(NOISE, RATE_HZ)) == ["unknown", "high", "low"]


def test_the_mean_over_the_windows_decides():
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
def test_without_threshold_or_output_there_is_no_such_answer(familiar, unknown):
    other = model(familiar=familiar, unknown=unknown)
    assert other.unknown is None
    assert other.scores(TONE, RATE_HZ).familiarity is None
    assert labels(other.classify(TONE, RATE_HZ)) == ["high", "low"]


def test_the_probabilities_are_the_same_as_without_it_also_of_many_windows():
    long = np.tile(np.concatenate([TONE, NOISE, NOISE]), 100)
    with_it, without = (one.scores(long, RATE_HZ) for one in (model(), model(unknown=None)))
    assert len(with_it) == 300  # more than one batch
    np.testing.assert_array_equal(with_it.probabilities, without.probabilities)
    assert with_it.familiarity.reshape(100, 3)[-1].tolist() == pytest.approx([0.055, 0.967, 0.967], abs=1e-3)


def test_the_graph_is_run_once(monkeypatch):
    one, runs = model(), []
    run_for = Bundle.run_for
    monkeypatch.setattr(Bundle, "run_for", lambda *given, **how: runs.append(given[2]) or run_for(*given, **how))
    one.classify(TONE, RATE_HZ)
    assert runs == [("logits", "familiarity")]


@pytest.mark.parametrize(
    ("classes", "said"), [(("unknown", "high"), "(unknown)"), (("unknown", "(unknown)"), "((unknown))")]
)
def test_a_class_of_that_name_is_not_confused_with_it(classes, said):
    answer = model(classes=classes).classify(TONE, RATE_HZ)
    assert answer[0] == {"label": said, "score": pytest.approx(0.945, abs=1e-3)}
    assert sorted(labels(answer)[1:]) == sorted(classes)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for name, samples in (("tone.wav", TONE), ("noise.wav", NOISE)):
        audio.write(tmp_path / name, samples, RATE_HZ)
    return [tmp_path / "tone.wav", tmp_path / "noise.wav"]


def heard(model: Model, files: list[Path], **settings) -> list:
    return list(
        analyze_files(model, [Input(str(path), path.name) for path in files], DetectionSettings(top_k=1, **settings))
    )


def test_it_stands_first_for_a_program_and_is_readable_for_a_person(files, capsys):
    found = heard(model(), files)
    assert [labels(one.answer) for one in found] == [["unknown", "high"], ["high"]]
    assert [[event.label for event in one.events] for one in found] == [["unknown"], ["high"]]
    tables.show_results(found, unknown="unknown")
    told = capsys.readouterr().out
    assert " ".join(told.split()).count("unknown 0.945") == 1
    assert " ".join(told.split()).count("perhaps high 0.576") == 1
    assert told.count("perhaps") == 1
    off = heard(model(), files, unknown=False)
    assert off == heard(model(unknown=None), files)
    assert "unknown" not in str(off)


def test_a_window_that_is_unfamiliar_is_no_event(files):
    three = np.concatenate([NOISE, TONE, NOISE])
    known = model().events(three, RATE_HZ, threshold=0.01)
    assert {(event.start_s, event.stop_s) for event in known} == {(0.0, 0.5), (1.0, 1.5)}
    whatever = model().events(three, RATE_HZ, threshold=0.01, unknown=False)
    assert {(event.start_s, event.stop_s) for event in whatever} == {(0.0, 1.5)}


def test_of_several_labels_at_once_it_is_present_and_no_other(files):
    several = model(activation="sigmoid", thresholds=(1.0, 1.0))
    answer = heard(several, files)[0].answer
    assert [(entry["label"], entry["present"]) for entry in answer] == [("unknown", True), ("high", False)]


def test_the_command_says_it_unless_told_not_to(files, tmp_path: Path):
    model().bundle.write(tmp_path / "m.onnx")

    def typed(*more: str) -> str:
        command = [sys.executable, "-m", "soundmark.cli", "classify", str(files[0]), "-m", str(tmp_path / "m.onnx")]
        return subprocess.run([*command, *more], capture_output=True, text=True, env=os.environ, check=True).stdout

    assert json.loads(typed("--format", "json"))[0]["classes"][0]["label"] == "unknown"
    assert "unknown" in typed()
    assert "unknown" not in typed("--no-unknown") + typed("--no-unknown", "--format", "json")


def test_a_card_tells_how_it_was_calibrated():
    told = dict(card_text.card_lines(model().card))
    assert told["probabilities"] == "as the network gives them: not calibrated"
    assert "pretrained weights" not in told
    data = {"calibrated_on": 1234, "weights": "mn04: MIT licence"}
    told = dict(
        card_text.card_lines(
            model(
                unknown=0.0712,
                temperature=1.234,
                training=TrainingRecord.from_json(data),
                recipe={"known_quantile": 0.95},
            ).card
        )
    )
    assert told["probabilities"] == "calibrated on 1,234 clips of its training part: temperature 1.23"
    assert told["none of these"] == (
        'said ("unknown") where the familiarity is below 0.0712, as 5.0 % of those 1,234 known clips are; '
        "`--no-unknown` turns it off"
    )
    assert told["pretrained weights"] == "mn04: MIT licence"
    assert dict(card_text.card_lines(model(unknown=None).card))["none of these"].startswith("never said")
