"""The model card as a summary, a complete table, Markdown and JSON."""

import json
import re
import time
import unicodedata
from dataclasses import replace

import onnx
import pytest

from soundmark.models import card_text
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.training_record import TrainingRecord
from soundmark.spectrograms import Image, Mel
from support.commands import run_soundmark
from support.operations import operations

CARD = Card(
    classes=("dog", "siren"),
    representation=Mel(),
    window_s=4.0,
    recipe={"name": "notebook-mel", "network": "notebook_cnn"},
    training=TrainingRecord.from_json(
        {"name": "UrbanSound8K", "licence": "CC BY-NC 3.0", "n_train": 1260, "protocol": "folds", "test_fold": 10}
    ),
    scores={
        "protocol": "folds",
        "n_test": 837,
        "accuracy": 0.7945,
        "accuracy_interval": [0.699, 0.874],
        "macro_f1": 0.81,
        "ece": 0.05,
    },
)
HOSTILE = "a|b`c\n---\n<script>\udc80: [x]"


def front_matter(page: str) -> str:
    return page.split("---\n")[1]


# --- The summary ---


def summary(**changes: object) -> dict[str, str]:
    """The summary of the card with changed fields; every line fits into a terminal of 80 columns."""
    rows = card_text.summary(replace(CARD, **changes))
    assert len(rows) <= 7
    assert all(len(heading) <= 11 and columns(text) <= 65 for heading, text in rows)
    return dict(rows)


def columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def with_leak(protocol: str, recording: object, recording_and_class: object) -> dict[str, object]:
    leak = {"recording": recording, "recording_and_class": recording_and_class}
    return {**CARD.scores, "protocol": protocol, "leak": leak}


def test_summary_limits_a_long_list_of_classes():
    assert summary(classes=tuple(f"class_{i}" for i in range(527)))["classes"] == (
        "527, single-label: class_0, class_1, class_2, … and 524 more"
    )
    assert summary(classes=("dog", "siren"), activation="sigmoid")["classes"] == "2, multi-label: dog, siren"
    assert summary(classes=("犬" * 60, "b"))["classes"].endswith("…")


def test_summary_of_a_model_for_events_has_the_background():
    assert "background" not in summary()
    recipe = {"name": "transfer", "backbone": "mn04", "backgrounds": 100}
    by_transfer = summary(event_thresholds=(0.4, 0.4), recipe=recipe)
    assert by_transfer["background"].startswith("none: examples of other sounds")
    assert "background" not in summary(event_thresholds=(0.4, 0.4))  # thresholds from reviews, without presence
    assert "background" not in summary(event_thresholds=(0.4, 0.4), recipe=recipe, activation="sigmoid")
    named = summary(event_thresholds=(0.36, 0.36), background=("siren",))
    assert named["background"] == "siren (never reported as an event)"


def test_summary_has_data_set_clips_recordings_and_licences():
    record = {**CARD.training.to_json(), "n_recordings": 412, "weights": "mn04: EfficientAT, MIT licence; AudioSet"}
    rows = summary(training=TrainingRecord.from_json(record))
    assert rows["trained on"] == "UrbanSound8K: 1,260 clips of 412 recordings"
    assert rows["licence"] == "CC BY-NC 3.0 (data), MIT licence (pretrained weights)"
    assert summary(training=TrainingRecord())["trained on"] == "unknown"
    assert summary(training=TrainingRecord(name="犬" * 60, n_train=3))["trained on"].endswith(": 3 clips")


def test_summary_has_score_interval_and_protocol():
    assert summary()["accuracy"] == "79.5 % (95 % interval 69.9–87.4), protocol folds, 837 clips"
    cross_validated = summary(scores={**CARD.scores, "cross_validated": True})["accuracy"]
    assert cross_validated == "79.5 % (95 % interval 69.9–87.4), cross-validated (folds)"
    published = {"mean_average_precision": 0.432, "protocol": "the evaluation set, as published"}
    assert summary(scores=published)["mAP"] == "43.2 % on the evaluation set, as published"
    assert summary(scores={})["accuracy"].startswith("not measured")


@pytest.mark.parametrize(
    ("scores", "warning"),
    [
        ({**CARD.scores, "protocol": "random"}, "random split: this score may reflect data leakage"),
        (with_leak("random", 0.8, 0.7), "data leakage: 80.0 % of test clips are from training recordings"),
        (with_leak("random", 0.0, 0.0), "random split: the score on new recordings may be lower"),
        (with_leak("random", None, None), "random split: this score may reflect data leakage"),
        (with_leak("folds", 0.02, 0.01), "data leakage: 1.0 % of test clips are from training recordings"),
        (with_leak("folds", None, None), "recordings unknown: this score may reflect data leakage"),
        (with_leak("folds", 0.02, 0.0), None),
        (CARD.scores, None),
        ({}, None),
    ],
)
def test_summary_warns_of_data_leakage(scores, warning):
    assert summary(scores=scores).get("warning") == warning
    assert dict(card_text.card_lines(replace(CARD, scores=scores))).get("warning") == warning


def test_the_licence_of_weights_is_found_in_a_long_text_in_linear_time():
    def licence(weights: str) -> str:
        return summary(training=replace(CARD.training, weights=weights))["licence"]

    assert licence("AudioSet, MIT licence").endswith("MIT licence (pretrained weights)")
    started_s = time.process_time()
    licence("c" * 30_000)  # took 5 s
    assert time.process_time() - started_s < 1


def test_summary_has_input_and_calibration():
    assert summary()["input"] == "4 s windows at 22,050 Hz, mel 64×64"
    assert summary(representation=Image())["input"] == "4 s windows at the sample rate of the file, image 64×64"
    rows = summary(temperature=1.234, unknown=0.0712, activation="sigmoid", thresholds=(0.3, 0.5))
    assert rows["calibration"] == "temperature 1.23, class thresholds, unknown: familiarity < 0.0712"


def test_title_and_usage_fit_into_80_columns():
    long = "a folder/" * 20 + "model.onnx"
    recipe = {"name": "r" * 100, "network": "n" * 100}
    assert card_text.title("model.onnx", CARD, 5_290_000).endswith("notebook-mel, network notebook_cnn, 5.3 MB")
    for name in ("model.onnx", "a b.onnx", long, "犬" * 70 + ".onnx"):
        for line in (card_text.title(name, replace(CARD, recipe=recipe), 10**9), *card_text.short_usage(name)):
            assert columns(line) <= 80
    assert card_text.title("better/transfer/folds/seed-0/fold-1/model.onnx", CARD, 1000).startswith(
        "…/seed-0/fold-1/model"
    )
    assert card_text.short_usage("a b.onnx")[0] == "soundmark classify FILE -m 'a b.onnx'"
    assert card_text.short_usage("a/" * 25 + "b")[1] == f'soundmark.load("{"a/" * 25}b")'
    placeholders = ["soundmark classify FILE -m MODEL", 'soundmark.load("MODEL").classify("FILE")']
    assert card_text.short_usage(long) == placeholders


# --- The complete card, Markdown and JSON ---


def test_complete_card_has_provenance_and_checksums():
    record = {
        **CARD.training.to_json(),
        "fingerprint": "ef8b005a",
        "features": "586d5d2d",
        "trained_on": "1da6ecbf",
        "predictions_sha256": "2b68734f",
        "engine": {"device": "cpu", "precision": "bfloat16", "threads": 2},
        "training_s": 41.4,
        "citation": "Salamon et al., 2014",
        "colour": "red",
    }
    scores = {**CARD.scores, "fold_sd": 0.0123}
    rows = dict(card_text.card_lines(replace(CARD, training=TrainingRecord.from_json(record), scores=scores)))
    assert rows["trained on"] == "UrbanSound8K (fingerprint ef8b005a): 1,260 clips, fold 10 held out"
    assert rows["checksums"] == "feature store 586d5d2d, training clips 1da6ecbf, predictions.csv (SHA-256) 2b68734f"
    assert rows["training"] == "41 s, cpu, bfloat16, 2 threads"
    assert rows["citation"] == "Salamon et al., 2014"
    assert rows["other scores"] == "fold_sd=0.0123"
    assert rows["other fields"] == "colour=red"
    assert "n_fft=2048" in rows["representation"]


@pytest.mark.parametrize(("name", "shown"), [(None, "unknown"), ("n" * 300, "n" * 300), ("a\x1bb", "a\x1bb")])
def test_complete_card_has_name_fingerprint_and_clips_once(name, shown):
    record = TrainingRecord.from_json({"name": name, "fingerprint": "f123", "n_train": 3, "protocol": "random"})
    text = dict(card_text.card_lines(replace(CARD, training=record)))["trained on"]
    assert text.startswith(f"{shown} (fingerprint f123): 3 clips, ")
    assert text.count("3 clips") == 1


def test_cost_of_a_summary_is_linear_in_a_long_name():
    def cost(n: int) -> int:
        record = TrainingRecord.from_json({"name": "n/" * n, "n_train": 3})
        card = replace(CARD, training=record)
        return operations(lambda: (card_text.summary(card), card_text.title("n/" * n, card, 1)))

    assert cost(4000) < 9 * cost(1000)


def test_markdown_has_front_matter_for_model_hubs():
    page = card_text.to_markdown("run/model.onnx", CARD)
    assert page.startswith("---\n")
    assert front_matter(page) == (
        "library_name: soundmark\n"
        "pipeline_tag: audio-classification\n"
        "tags: [audio, sound, onnx, soundmark]\n"
        "license: cc-by-nc-3.0\n"
        'datasets: ["UrbanSound8K"]\n'
        "model-index:\n"
        '- name: "notebook-mel"\n'
        "  results:\n"
        "  - task: {type: audio-classification}\n"
        '    dataset: {type: "UrbanSound8K", name: "UrbanSound8K, protocol folds"}\n'
        '    metrics: [{type: accuracy, name: "accuracy, 95 % interval 0.699 to 0.874", value: 0.7945}, '
        '{type: f1, name: "macro F1", value: 0.8100}, {type: ece, name: "expected calibration error", value: 0.0500}]\n'
    )


def test_markdown_contains_the_complete_card_and_the_usage():
    page = card_text.to_markdown("run/model.onnx", CARD)
    for heading, text in card_text.card_lines(CARD):
        assert f"| {heading} | {text} |" in page
    assert "95 % interval 69.9 to 87.4" in page
    assert "    soundmark classify street.wav -m model.onnx\n" in page
    assert 'model = soundmark.load("model.onnx")' in page


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("CC BY-NC 3.0", "license: cc-by-nc-3.0\n"),
        ("CC BY 4.0", "license: cc-by-4.0\n"),
        ("CC0 1.0", "license: cc0-1.0\n"),
        ("ask me", 'license: other\nlicense_name: "ask me"\n'),
    ],
)
def test_licences_have_the_identifiers_of_model_hubs(licence, expected):
    page = card_text.to_markdown(
        "model.onnx", replace(CARD, training=TrainingRecord.from_json({"name": "pets", "licence": licence}))
    )
    assert expected in front_matter(page)


def test_minimal_card_is_formatted_as_markdown():
    page = card_text.to_markdown("model.onnx", Card(classes=("dog",), representation=Mel(), window_s=1.0))
    assert "license: other" in front_matter(page)
    assert "model-index" not in page


def test_markup_in_data_is_escaped():
    card = replace(
        CARD,
        classes=(HOSTILE, "b"),
        training=TrainingRecord.from_json({"name": HOSTILE, "licence": HOSTILE}),
        recipe={"name": HOSTILE},
    )
    page = card_text.to_markdown(f"{HOSTILE}.onnx", card)
    page.encode()
    assert "<script>" not in page.split("## How to use it")[0].split("---\n", 2)[2]
    assert page.count("\n---\n") == 1
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)


def test_card_of_an_int8_model_has_both_scores():
    int8 = {"calibrated_on": 128, "scored": "837 clips: fold 10", "figure": "accuracy", "before": 0.795, "after": 0.789}
    card = replace(CARD, training=TrainingRecord.from_json({**CARD.training.to_json(), "int8": int8}))
    assert dict(card_text.card_lines(card))["quantisation"] == (
        "int8, calibrated on 128 clips: accuracy 78.9 %, before quantisation 79.5 %, on 837 clips: fold 10"
    )
    card = replace(CARD, training=TrainingRecord.from_json({"int8": 3}))
    assert dict(card_text.card_lines(card))["quantisation"] == "int8, details unknown"


def test_json_is_the_card_in_the_file():
    assert json.loads(card_text.to_json(CARD)) == json.loads(CARD.to_json())


# --- The command ---


@pytest.fixture
def model_folder(tmp_path):
    """A folder with a file ``model.onnx``."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Flatten", ["spectrogram"], ["flat"]),
            onnx.helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "flat",
        [value("spectrogram", 1, ["batch", 1, 64, 64])],
        [value("logits", 1, ["batch", 2])],
        [onnx.helper.make_tensor("weights", 1, [4096, 2], [0.0] * 8192)],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    Bundle(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString(), CARD).write(
        tmp_path / "model.onnx"
    )
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(("form", "start"), [("markdown", "---\nlibrary_name"), ("json", '{\n "schema": 1')])
def test_command_prints_markdown_and_json(form, start, model_folder):
    done = run_soundmark("show", "model.onnx", "--format", form, cwd=model_folder)
    assert done.returncode == 0
    assert done.stdout.startswith(start)
    assert done.stderr == ""


@pytest.mark.slow
def test_command_prints_at_most_ten_lines(model_folder):
    done = run_soundmark("show", "model.onnx", cwd=model_folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.rstrip() for line in done.stdout.splitlines()] == [
        "model.onnx: recipe notebook-mel, network notebook_cnn, 33 kB",
        "classes      2, single-label: dog, siren",
        "trained on   UrbanSound8K: 1,260 clips",
        "accuracy     79.5 % (95 % interval 69.9–87.4), protocol folds, 837 clips",
        "input        4 s windows at 22,050 Hz, mel 64×64",
        "calibration  not calibrated, no unknown threshold",
        "licence      CC BY-NC 3.0",
        "soundmark classify FILE -m model.onnx",
        'soundmark.load("model.onnx").classify("FILE")',
    ]


@pytest.mark.slow
def test_command_prints_the_complete_card(model_folder):
    done = run_soundmark("show", "model.onnx", "--all", cwd=model_folder)
    assert (done.returncode, done.stderr) == (0, "")
    printed = " ".join(done.stdout.split())
    for heading, text in card_text.card_lines(CARD):
        assert f"{heading} {text}" in printed
    assert done.stdout.endswith(f"\n{card_text.usage('model.onnx', CARD)}\n")
