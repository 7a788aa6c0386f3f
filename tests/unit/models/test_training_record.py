"""A training record from an untrusted file is read and shown, whatever its values are."""

import json

import pytest

from soundmark.errors import BundleError
from soundmark.models import card_text
from soundmark.models.card import Card
from soundmark.models.training_record import Epoch, TrainingRecord
from soundmark.spectrograms import Mel

CARD = Card(classes=("dog", "siren"), representation=Mel(), window_s=4.0)
WRITTEN = {  # by version 0.1
    "name": "city",
    "fingerprint": "0123456789abcdef",
    "features": "fedcba9876543210",
    "protocol": "random",
    "test_fold": None,
    "n_train": 60,
    "n_test": 30,
    "trained_on": "00112233445566ff",
    "licence": "CC BY 4.0",
    "citation": "",
    "engine": {"device": "cpu", "precision": "float32", "threads": 2},
    "calibrated_on": 20,
    "history": [
        {
            "epoch": 1,
            "train_loss": 2.0,
            "train_accuracy": 0.25,
            "validation_loss": None,
            "validation_accuracy": None,
            "seconds": 1.5,
        }
    ],
    "training_s": 1.5,
    "testing_s": 0.5,
    "predictions_sha256": "ab",
}
HOSTILE = [None, True, -1, 10**29, float("nan"), float("inf"), "\x1b[31m\u202e", [], {}, [[[]]], {"a": {"b": []}}]


def card_json(data: object, **others: object) -> str:
    return json.dumps({**json.loads(CARD.to_json()), "data": data, **others})


def test_json_of_a_record_is_identical_to_the_json_that_was_read():
    record = TrainingRecord.from_json(WRITTEN)
    assert json.dumps(record.to_json()) == json.dumps(WRITTEN)
    assert record.history == (
        Epoch(
            epoch=1, train_loss=2.0, train_accuracy=0.25, validation_loss=None, validation_accuracy=None, seconds=1.5
        ),
    )
    assert record.engine.threads == 2


def test_fields_of_other_versions_are_kept():
    again = Card.from_json(Card.from_json(card_json({"name": "city", "colour": "red"}), "m.onnx").to_json(), "m.onnx")
    assert again.training.to_json() == {"name": "city", "colour": "red"}


def assert_fits(card: Card) -> None:
    """The summary fits into a terminal."""
    rows = card_text.summary(card)
    assert len(rows) <= 7
    assert all(len(text) <= card_text.SUMMARY_COLUMNS and text.isprintable() for _, text in rows)


@pytest.mark.parametrize("key", [*WRITTEN, "weights", "int8", "n_recordings", "other"])
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:12])
def test_card_with_any_value_is_shown(key: str, value: object):
    card = Card.from_json(card_json({**WRITTEN, key: value}), "m.onnx")
    assert card_text.card_lines(card)
    assert_fits(card)
    assert card_text.to_markdown("m.onnx", card).encode()
    assert card_text.to_json(card)


@pytest.mark.parametrize(
    "key", ["accuracy", "mean_average_precision", "accuracy_interval", "n_test", "ece", "protocol", "leak"]
)
@pytest.mark.parametrize("value", [*HOSTILE, 1e308, [1e308, 10**29]], ids=lambda value: repr(value)[:12])
def test_card_with_any_scores_is_shown(key: str, value: object):
    card = Card.from_json(card_json(WRITTEN, scores={"protocol": "random", "accuracy": 0.5, key: value}), "m.onnx")
    assert card_text.card_lines(card)
    assert_fits(card)
    assert card_text.to_markdown("m.onnx", card).encode()


@pytest.mark.parametrize(
    ("key", "value"), [("n_train", "many"), ("test_fold", [1]), ("test_fold", True), ("engine", {"device": "cpu"})]
)
def test_field_of_the_wrong_type_is_unknown(key: str, value: object):
    assert getattr(TrainingRecord.from_json({**WRITTEN, key: value}), key) is None


def test_history_with_an_incomplete_epoch_is_unknown():
    assert TrainingRecord.from_json({"history": [WRITTEN["history"][0], {"epoch": 2}]}).history is None


@pytest.mark.parametrize(
    ("data", "match"),
    [("x", "data is 'x', not a table"), ({"a": json.loads("[" * 50 + "]" * 50)}, "more than 20 levels deep")],
)
def test_invalid_or_deeply_nested_table_is_refused(data: object, match: str):
    with pytest.raises(BundleError, match=match):
        Card.from_json(card_json(data), "m.onnx")


@pytest.mark.parametrize("key", ["window_s", "temperature", "unknown"])
def test_a_number_out_of_range_is_refused(key: str):
    with pytest.raises(BundleError, match=key):
        Card.from_json(card_json({}, **{key: float("inf")}), "m.onnx")
