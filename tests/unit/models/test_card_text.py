"""A model's card as a page and for a program: all that is known is said, and nothing that came from data is markup."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from soundmark.models import card_text
from soundmark.models.card import Card
from soundmark.models.training_record import TrainingRecord
from soundmark.spectrograms import Mel

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
NASTY = "a|b`c\n---\n<script>\udc80: [x]"


def front_matter(page: str) -> str:
    return page.split("---\n")[1]


def test_the_page_has_front_matter_that_a_hub_reads():
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
        "    metrics: [{type: accuracy, value: 0.7945}]\n"
    )


def test_the_page_says_all_that_the_terminal_says_and_how_to_use_it():
    page = card_text.to_markdown("run/model.onnx", CARD)
    for heading, sentence in card_text.card_lines(CARD):
        assert f"| {heading} | {sentence} |" in page
    assert "95 % interval 69.9 to 87.4" in page
    assert "    soundmark classify street.wav -m model.onnx\n" in page
    assert 'model = soundmark.load("model.onnx")' in page


@pytest.mark.parametrize(
    ("licence", "told"),
    [
        ("CC BY-NC 3.0", "license: cc-by-nc-3.0\n"),
        ("CC BY 4.0", "license: cc-by-4.0\n"),
        ("CC0 1.0", "license: cc0-1.0\n"),
        ("ask me", 'license: other\nlicense_name: "ask me"\n'),
    ],
)
def test_a_licence_is_named_as_hubs_spell_it(licence, told):
    page = card_text.to_markdown(
        "model.onnx", replace(CARD, training=TrainingRecord.from_json({"name": "pets", "licence": licence}))
    )
    assert told in front_matter(page)


def test_an_empty_card_is_a_page_too():
    page = card_text.to_markdown("model.onnx", Card(classes=("dog",), representation=Mel(), window_s=1.0))
    assert "license: other" in front_matter(page)
    assert "model-index" not in page


def test_what_comes_from_data_is_no_markup():
    nasty = replace(
        CARD,
        classes=(NASTY, "b"),
        training=TrainingRecord.from_json({"name": NASTY, "licence": NASTY}),
        recipe={"name": NASTY},
    )
    page = card_text.to_markdown(f"{NASTY}.onnx", nasty)
    page.encode()
    assert "<script>" not in page.split("## How to use it")[0].split("---\n", 2)[2]
    assert page.count("\n---\n") == 1
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)


def test_a_card_of_8_bits_says_what_it_was_made_from():
    told = {"calibrated_on": 128, "scored": "837 clips: fold 10", "figure": "accuracy", "before": 0.795, "after": 0.789}
    lines = dict(
        card_text.card_lines(
            replace(CARD, training=TrainingRecord.from_json({**CARD.training.to_json(), "int8": told}))
        )
    )
    assert lines["8 bits"] == (
        "made so from a model of float32, calibrated on 128 clips: accuracy 78.9 %, that one's 79.5 %, on 837 clips: "
        "fold 10"
    )
    assert dict(card_text.card_lines(replace(CARD, training=TrainingRecord.from_json({"int8": 3}))))["8 bits"] == "?"


def test_json_is_the_card_of_the_file():
    assert json.loads(card_text.to_json(CARD)) == json.loads(CARD.to_json())


@pytest.mark.parametrize(("form", "begin"), [("markdown", "---\nlibrary_name"), ("json", '{\n "schema": 1')])
def test_the_command_hands_it_over(form, begin, tmp_path):
    import onnx

    from soundmark.models.bundle import Bundle

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
    typed = [sys.executable, "-m", "soundmark.cli", "show", str(Path("model.onnx")), "--format", form]
    done = subprocess.run(typed, capture_output=True, encoding="utf-8", cwd=tmp_path, check=True)
    assert done.stdout.startswith(begin)
    assert done.stderr == ""
