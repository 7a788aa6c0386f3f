"""A training record comes from a file that anybody may have made: it is read whatever its values are."""

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
HOSTILE = [None, True, -1, 10**400, float("nan"), float("inf"), "\udc80\x1b[31m", [], {}, [[[]]], {"a": {"b": []}}]


def with_data(data: object, **others: object) -> str:
    return json.dumps({**json.loads(CARD.to_json()), "data": data, **others})


def test_the_json_of_a_record_is_what_was_read_byte_for_byte():
    record = TrainingRecord.from_json(WRITTEN)
    assert json.dumps(record.to_json()) == json.dumps(WRITTEN)
    assert record.history == (
        Epoch(
            epoch=1, train_loss=2.0, train_accuracy=0.25, validation_loss=None, validation_accuracy=None, seconds=1.5
        ),
    )
    assert record.engine.threads == 2


def test_what_another_version_wrote_is_kept():
    again = Card.from_json(Card.from_json(with_data({"name": "city", "colour": "red"}), "m.onnx").to_json(), "m.onnx")
    assert again.training.to_json() == {"name": "city", "colour": "red"}


@pytest.mark.parametrize("key", [*WRITTEN, "weights", "int8", "other"])
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:12])
def test_any_card_is_shown(key: str, value: object):
    card = Card.from_json(with_data({**WRITTEN, key: value}), "m.onnx")
    assert card_text.card_lines(card)
    assert card_text.to_markdown("m.onnx", card).encode()
    assert card_text.to_json(card)


@pytest.mark.parametrize(
    "key", ["accuracy", "mean_average_precision", "accuracy_interval", "n_test", "ece", "protocol"]
)
@pytest.mark.parametrize("value", [*HOSTILE, 10**308, [10**400, 10**308]], ids=lambda value: repr(value)[:12])
def test_scores_of_any_value_are_shown(key: str, value: object):
    card = Card.from_json(with_data(WRITTEN, scores={"accuracy": 0.5, key: value}), "m.onnx")
    assert card_text.card_lines(card)
    assert card_text.to_markdown("m.onnx", card).encode()


@pytest.mark.parametrize(
    ("key", "value"), [("n_train", "many"), ("test_fold", [1]), ("test_fold", True), ("engine", {"device": "cpu"})]
)
def test_a_field_of_the_wrong_type_is_unknown(key: str, value: object):
    assert getattr(TrainingRecord.from_json({**WRITTEN, key: value}), key) is None


def test_a_history_with_one_wrong_epoch_is_unknown():
    assert TrainingRecord.from_json({"history": [WRITTEN["history"][0], {"epoch": 2}]}).history is None


@pytest.mark.parametrize(
    ("data", "match"),
    [("x", "data is 'x', not a table"), ({"a": json.loads("[" * 50 + "]" * 50)}, "more than 20 deep")],
)
def test_a_table_that_is_none_or_too_deep_is_refused(data: object, match: str):
    with pytest.raises(BundleError, match=match):
        Card.from_json(with_data(data), "m.onnx")


@pytest.mark.parametrize("key", ["window_s", "temperature", "unknown"])
def test_a_huge_number_is_refused(key: str):
    with pytest.raises(BundleError, match=key):
        Card.from_json(with_data({}, **{key: 10**400}), "m.onnx")
