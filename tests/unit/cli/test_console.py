"""Text in a terminal: control characters from data are removed, missing values are shown as missing."""

import io
import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from soundmark.cli import console, tables
from soundmark.datasets.leakage import Leakage
from soundmark.detection.archive.index import FoundWindow, FoundWindows
from soundmark.metrics.verdicts import Verdict
from soundmark.models import card_text
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.training_record import TrainingRecord
from soundmark.spectrograms import Mel

RED = "\x1b[31mred\x1b]0;title\x07\u202e\udc80\r[/b]"
CARD = Card(classes=("dog", "siren"), representation=Mel(), window_s=4.0)
ONE_LABEL = SimpleNamespace(multi_label=False)
SCORES = {
    "protocol": "folds",
    "n_test": 2097,
    "accuracy": 0.701,
    "accuracy_interval": [0.66, 0.74],
    "macro_f1": 0.7,
    "ece": 0.1234,
}


def scores(**changes: object) -> str:
    return dict(card_text.card_lines(replace(CARD, scores=SCORES | changes)))["scores"]


def is_harmless(text: str) -> bool:
    return not any(character in text for character in "\x1b\x07\u202e\udc80\r")


def test_control_characters_and_markup_from_data_have_no_effect(capsys):
    tables.show_answers({RED: [{"label": RED, "score": 0.5}]})
    card = replace(CARD, classes=(RED,), training=TrainingRecord.from_json({"name": RED}), recipe={RED: RED})
    tables.show_card("a[/b]/m.onnx", Bundle(b"graph", card), everything=True)
    console.print_result(RED)
    console.say(RED)
    console.fail(RED)
    printed = capsys.readouterr()
    assert is_harmless(printed.out + printed.err)
    assert "a[/b]/m.onnx" in printed.out
    assert printed.out.count("[31mred") == 7
    assert printed.err.count("[/b]") == 2


def test_no_files_print_no_table(capsys):
    tables.show_answers({})
    assert capsys.readouterr().out == ""


def test_scores_on_a_card():
    assert scores() == (
        "accuracy 70.1 % (95 % interval 66.0 to 74.0) on 2,097 test clips, protocol folds; macro F1 70.0 %, ECE 0.123"
    )


def test_scores_of_a_comparison_are_not_shown_as_scores_of_the_model():
    text = scores(cross_validated=True)
    assert "2,097 clips: cross-validation of the recipe in a comparison, not this model (protocol folds)" in text
    assert "test clips" not in text


@pytest.mark.parametrize("interval", [[float("nan"), None], ["x", []], [0.1], 3, None])
def test_an_unknown_interval_is_shown_as_unknown(interval):
    assert "(95 % interval ? to ?)" in scores(accuracy_interval=interval)


def test_a_card_of_odd_values_is_shown():
    odd = {"accuracy": "x", "n_test": [], "protocol": {}}
    lines = card_text.card_lines(
        replace(CARD, scores=odd, training=TrainingRecord.from_json({"protocol": []}), recipe={"representation": 1})
    )
    assert dict(lines)["scores"].startswith("accuracy ? % (95 % interval ? to ?) on ? test clips")


def test_leak_lines_of_known_and_unknown_recordings():
    leak = Leakage(recording=0.9, recording_and_class=0.8, lookup_accuracy=float("nan"))
    results = [SimpleNamespace(protocol="random", leak=None), SimpleNamespace(protocol="folds", leak=leak)]
    assert tables.leak_lines(SimpleNamespace(results=results, dataset=ONE_LABEL)) == [
        "random: it is unknown which clips share a recording: data leakage cannot be measured, and the intervals treat "
        "clips as independent",
        "folds: 90.0 % of the test clips come from a recording that is also in the training set (80.0 % with the same "
        "class); a lookup of the recording, without its sound, is right for ? %",
    ]


def test_seed_lines_of_results_with_several_seeds():
    seeded = SimpleNamespace(
        recipe=SimpleNamespace(name="a"), protocol="folds",
        summary=SimpleNamespace(headline=SimpleNamespace(value=0.7)),
        seeds=(3, 4), seed_accuracies=(0.69, 0.71), seed_sd=0.01414,
    )  # fmt: skip
    single = SimpleNamespace(seeds=(3,))
    assert tables.seed_lines(SimpleNamespace(results=[single, seeded])) == [
        "a, folds: 70.0 ± 1.4 %, mean ± SD over the seeds 3 (69.0), 4 (71.0)"
    ]


def test_a_card_states_which_recordings_were_held_out():
    data = {"name": "pets", "fingerprint": "f", "n_train": 9, "protocol": "grouped", "test_fold": 2}
    text = dict(card_text.card_lines(replace(CARD, training=TrainingRecord.from_json(data))))["trained on"]
    assert text == "pets (fingerprint f): 9 clips, the recordings of fold 2 held out"


@pytest.mark.parametrize(("known", "unit"), [(True, "(by recording)"), (False, "(by clip)")])
def test_differences_state_the_resampled_unit(capsys, known, unit):
    interval = SimpleNamespace(low=float("nan"), high=0.021)
    difference = SimpleNamespace(difference=0.01, interval=interval, p=float("nan"))
    verdict = Verdict(decision="undecided", reason="too few recordings")
    comparison = SimpleNamespace(recipes=("a", "b"), protocol="random", difference=difference, verdict=verdict)
    data = SimpleNamespace(name="[/b]", clips=[1], classes=["x"], sources_known=known, multi_label=False)
    tables.show_evaluation(SimpleNamespace(dataset=data, results=[], comparisons=[comparison]))
    printed = capsys.readouterr().out
    assert "[/b]: 1 clip," in printed
    assert f"a − b, random: +1.0 points [?, +2.1], p = ? {unit}" in printed


def test_a_library_warning_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(console, "err", Console(stderr=True, highlight=False, width=80))
    record = logging.LogRecord("soundmark", logging.WARNING, "", 0, "%s" + 100 * " word", (RED,), None)
    console._LogLines().emit(record)
    printed = capsys.readouterr().err
    assert is_harmless(printed)
    assert printed.count("\n") == 1
    assert printed.startswith("warning: ")


@pytest.mark.parametrize("is_terminal", [False, True])
def test_results_for_a_program_do_not_control_a_terminal(monkeypatch, is_terminal):
    output = io.StringIO()
    output.isatty = lambda: is_terminal
    monkeypatch.setattr("sys.stdout", output)
    window = FoundWindow(file="a\x1b[31m.wav", start_s=0, stop_s=1, label="dog", score=0.5, level_dbfs=-20)
    tables.show_windows(FoundWindows([window]), "csv")
    assert ("\x1b" in output.getvalue()) is not is_terminal
    assert output.getvalue().endswith(",0.000,1.000,,dog,0.5000,-20.0,\n")
