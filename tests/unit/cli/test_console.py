"""What a person reads in a terminal: nothing that came from data is obeyed, nothing is said that is not known."""

import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from soundmark.cli import console, tables
from soundmark.datasets.leakage import Leakage
from soundmark.models import card_text
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


def harmless(text: str) -> bool:
    return not any(mark in text for mark in "\x1b\x07\u202e\udc80\r")


def test_nothing_from_data_is_obeyed(capsys):
    tables.show_answers({RED: [{"label": RED, "score": 0.5}]})
    tables.show_card(
        "a[/b]/m.onnx",
        replace(CARD, classes=(RED,), training=TrainingRecord.from_json({"name": RED}), recipe={RED: RED}),
    )
    console.print_result(RED)
    console.say(RED)
    console.fail(RED)
    printed = capsys.readouterr()
    assert harmless(printed.out + printed.err)
    assert "a[/b]/m.onnx" in printed.out
    assert printed.out.count("[31mred") == 7
    assert printed.err.count("[/b]") == 2


def test_no_answers_are_no_table(capsys):
    tables.show_answers({})
    assert capsys.readouterr().out == ""


def test_the_scores_of_a_model():
    assert scores() == (
        "accuracy 70.1 % (95 % interval 66.0 to 74.0) on 2,097 clips that it was not trained on, protocol folds; "
        "macro F1 70.0 %, ECE 0.123"
    )


def test_the_scores_of_a_recipe_are_not_said_to_be_the_models():
    told = scores(cross_validated=True)
    assert "2,097 clips: that of the recipe's models in a comparison, each on clips kept back from it" in told
    assert "(protocol folds)" in told
    assert "that it was not trained on" not in told


@pytest.mark.parametrize("interval", [[float("nan"), None], ["x", []], [0.1], 3, None])
def test_an_interval_that_is_not_known_is_not_made_up(interval):
    assert "(95 % interval ? to ?)" in scores(accuracy_interval=interval)


def test_a_card_of_odd_values_is_shown():
    odd = {"accuracy": "x", "n_test": [], "protocol": {}}
    lines = card_text.card_lines(
        replace(CARD, scores=odd, training=TrainingRecord.from_json({"protocol": []}), recipe={"representation": 1})
    )
    assert dict(lines)["scores"].startswith("accuracy ? % (95 % interval ? to ?) on ? clips")


def test_a_leak_that_is_not_known_is_not_measured():
    leak = Leakage(recording=0.9, recording_and_class=0.8, lookup_accuracy=float("nan"))
    results = [SimpleNamespace(protocol="random", leak=None), SimpleNamespace(protocol="folds", leak=leak)]
    assert tables.leak_lines(SimpleNamespace(results=results, dataset=ONE_LABEL)) == [
        "random: which clips share a recording is not known here: the leak cannot be measured, and the intervals count "
        "clips",
        "folds: 90.0 % of the test clips come from a recording that is also trained on (80.0 % under the same class); "
        "knowing the recording alone would score ? %",
    ]


def test_the_spread_over_seeds_is_told_where_there_are_several():
    seeded = SimpleNamespace(
        recipe=SimpleNamespace(name="a"), protocol="folds",
        summary=SimpleNamespace(headline=SimpleNamespace(value=0.7)),
        seeds=(3, 4), seed_accuracies=(0.69, 0.71), seed_sd=0.01414,
    )  # fmt: skip
    alone = SimpleNamespace(seeds=(3,))
    assert tables.seed_lines(SimpleNamespace(results=[alone, seeded])) == [
        "a, folds: 70.0 ± 1.4 %, mean ± SD over the seeds 3 (69.0), 4 (71.0)"
    ]


def test_a_model_says_which_recordings_were_kept_back():
    data = {"name": "pets", "fingerprint": "f", "n_train": 9, "protocol": "grouped", "test_fold": 2}
    told = dict(card_text.card_lines(replace(CARD, training=TrainingRecord.from_json(data))))["trained on"]
    assert told == "pets (fingerprint f): 9 clips, the recordings of fold 2 kept back"


@pytest.mark.parametrize(("known", "told"), [(True, "(by recording)"), (False, "(by clip)")])
def test_differences_say_what_they_count(capsys, known, told):
    interval = SimpleNamespace(low=float("nan"), high=0.021)
    difference = SimpleNamespace(difference=0.01, interval=interval, p=float("nan"))
    comparison = SimpleNamespace(recipes=("a", "b"), protocol="random", difference=difference)
    data = SimpleNamespace(name="[/b]", clips=[1], classes=["x"], sources_known=known, multi_label=False)
    tables.show_evaluation(SimpleNamespace(dataset=data, results=[], comparisons=[comparison]))
    printed = capsys.readouterr().out
    assert "[/b]: 1 clips" in printed
    assert f"a − b, random: +1.0 points [?, +2.1], p = ? {told}" in printed


def test_a_warning_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(console, "err", Console(stderr=True, highlight=False, width=80))
    record = logging.LogRecord("soundmark", logging.WARNING, "", 0, "%s" + 100 * " word", (RED,), None)
    console._Warnings().emit(record)
    printed = capsys.readouterr().err
    assert harmless(printed)
    assert printed.count("\n") == 1
    assert printed.startswith("warning: ")
