"""``Model`` in Python: inputs, refused settings, history, explanations."""

import dataclasses
import io
import re
import sys

import numpy as np
import pytest
import torch

from soundmark import audio
from soundmark.errors import SettingsError
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model, load
from soundmark.models.training_record import TrainingRecord

RATE_HZ = 22_050


def with_record(model: Model, **data: object) -> Model:
    return Model(Bundle(model.bundle.graph, dataclasses.replace(model.card, training=TrainingRecord.from_json(data))))


def test_all_kinds_of_input_give_the_same_result(notebook_model, tone, tmp_path):
    path = tmp_path / "tone.wav"
    audio.write(path, tone, RATE_HZ)
    data = path.read_bytes()
    expected = notebook_model.classify(path)
    for source in (str(path), data, io.BytesIO(data), audio.read(path)):
        assert notebook_model.classify(source) == expected
    samples = audio.read(path).samples
    stereo = np.stack([samples, samples])
    for source in (samples, samples.tolist(), torch.from_numpy(samples), samples[None], stereo, stereo.T):
        assert notebook_model.classify(source, RATE_HZ) == expected
        assert notebook_model.classify(source, float(RATE_HZ)) == expected
    assert notebook_model.events(stereo, RATE_HZ) == notebook_model.events(path)
    assert notebook_model.explain(stereo, RATE_HZ).classes[0] == expected[0]["label"]


@pytest.mark.parametrize("method", ["classify", "scores", "events", "explain"])
@pytest.mark.parametrize("rate_hz", ["22050", 22_050.5, True, 0])
def test_invalid_sample_rates_are_refused(notebook_model, tone, method, rate_hz):
    with pytest.raises(SettingsError, match=re.escape(f"such as rate_hz=22050; got {rate_hz!r}")):
        getattr(notebook_model, method)(tone, rate_hz)


@pytest.mark.parametrize("top_k", [0, -1, 1.5, True, "3"])
def test_invalid_top_k_is_refused(notebook_model, tone, top_k):
    with pytest.raises(SettingsError, match=re.escape(f"top_k is {top_k!r}: expected a whole number of at least 1")):
        notebook_model.classify(tone, RATE_HZ, top_k=top_k)


def test_top_k_may_be_a_numpy_integer(notebook_model, tone):
    assert len(notebook_model.classify(tone, RATE_HZ, top_k=np.int64(2))) == 2


@pytest.mark.parametrize(
    ("threshold", "match"),
    [
        (50, "threshold is 50: expected a probability from 0 to 1, like 0.5 for 50 %"),
        (-0.1, "threshold is -0.1: expected a probability"),
        (float("nan"), "threshold is nan"),
        ([0.5] * 9 + [7], "threshold is 7"),
        ([0.5] * 9, r"of shape \(9,\): expected one number between 0 and 1, or one for each of the 10 classes"),
        (np.full((2, 10), 0.5), r"of shape \(2, 10\)"),
        ([0.5, [0.5]], "expected one number between 0 and 1"),
        ("0.5", "threshold is '0.5': expected one number"),
        (True, "threshold is True: expected one number"),
        ({"siren": 0.5}, "threshold is {'siren': 0.5}: expected one number"),
    ],
)
def test_invalid_thresholds_are_refused(notebook_model, tone, threshold, match):
    with pytest.raises(SettingsError, match=match):
        notebook_model.threshold(threshold)
    with pytest.raises(SettingsError, match=match):
        notebook_model.events(tone, RATE_HZ, threshold=threshold)


@pytest.mark.parametrize("threshold", [0, 1, 0.3, np.float32(0.25), [0.25] * 10, np.full(10, 0.25)])
def test_thresholds_between_0_and_1_are_accepted(notebook_model, threshold):
    assert notebook_model.threshold(threshold).shape == (10,)
    np.testing.assert_array_equal(notebook_model.threshold(threshold), np.broadcast_to(threshold, 10))


@pytest.mark.parametrize(
    ("method", "settings", "match"),
    [
        ("scores", {"overlap": 1.0}, "overlap is 1.0: expected a fraction of the window"),
        ("events", {"overlap": -0.1}, "overlap is -0.1"),
        ("scores", {"overlap": "0.5"}, "overlap is '0.5'"),
        ("scores", {"overlap": float("nan")}, "overlap is nan"),
        ("scores", {"jobs": 0}, "jobs is 0: expected a whole number of threads"),
        ("events", {"jobs": -2}, "jobs is -2"),
        ("events", {"release": 1.5}, "release is 1.5: expected a number from 0 to 1"),
        ("events", {"release": "0.8"}, "release is '0.8'"),
        ("events", {"merge_gap_s": -1}, "merge_gap_s is -1: expected a number of seconds, 0 or more"),
        ("events", {"merge_gap_s": float("inf")}, "merge_gap_s is inf"),
    ],
)
def test_invalid_settings_are_refused(notebook_model, tone, method, settings, match):
    with pytest.raises(SettingsError, match=match):
        getattr(notebook_model, method)(tone, RATE_HZ, **settings)


def test_history_is_read_from_the_card(notebook_model):
    assert [epoch.epoch for epoch in notebook_model.history] == [1, 2]
    assert notebook_model.history[1].train_loss == 1.1
    assert notebook_model.history[1].validation_loss is None


def test_history_is_plotted(notebook_model):
    from matplotlib import pyplot

    axes = notebook_model.plot_history()
    training, validation = axes.lines
    assert (training.get_linestyle(), validation.get_linestyle()) == ("--", "-")
    assert training.get_ydata().tolist() == [1.5, 1.1]
    assert validation.get_ydata().tolist() == [1.7]
    assert axes.get_title() == "Loss by epoch, notebook-mel"
    assert axes.get_xlabel() == "epoch"
    _, given = pyplot.subplots()
    assert notebook_model.plot_history(given, quantity="accuracy") is given
    assert given.get_ylabel() == "accuracy"
    assert len(pyplot.get_fignums()) == 2


def test_missing_or_invalid_history_is_empty(notebook_model):
    assert with_record(notebook_model, name="x").history == ()
    with pytest.raises(SettingsError, match="this model has no training history to plot"):
        with_record(notebook_model).plot_history()
    with pytest.raises(SettingsError, match='there is no quantity "los". Did you mean "loss"'):
        notebook_model.plot_history(quantity="los")
    for history in (3, [3], [{"epoch": 1}], None):
        assert with_record(notebook_model, history=history).history == ()


def test_saved_model_is_loaded_from_str_and_path(notebook_model, tone, tmp_path):
    path = tmp_path / "model.onnx"
    notebook_model.save(path)
    for given in (path, str(path)):
        assert load(given).classify(tone, RATE_HZ) == notebook_model.classify(tone, RATE_HZ)


def test_explanation_is_plotted_saved_and_displayed(notebook_model, tone, tmp_path):
    from matplotlib import pyplot

    found = notebook_model.explain(tone, RATE_HZ)
    axes = found.plot()
    assert axes.get_xlabel() == "time (s)"
    assert len(axes.figure.axes) == 3  # spectrogram, colour bar, classes
    _, given = pyplot.subplots()
    assert found.plot(given) is given
    assert found.classes[0] in given.get_title()
    assert len(given.figure.axes) == 1
    found.save(str(tmp_path / "why.png"))
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")
    assert found._repr_html_().startswith('<img style="max-width:100%" src="data:image/png;base64,iVBOR')
    assert str(found) == found.sentence()
    assert len(repr(found).encode()) < 2000


def test_explanation_is_shown_as_a_sentence_without_matplotlib(notebook_model, tone, monkeypatch):
    found = notebook_model.explain(tone, RATE_HZ)
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert found._repr_html_() == f"<p>{found.sentence()}</p>"
    with pytest.raises(SettingsError, match=r'plotting needs Matplotlib: pip install "soundmark\[plot\]"'):
        found.plot()
    with pytest.raises(SettingsError, match="plotting needs Matplotlib"):
        notebook_model.plot_history()
    monkeypatch.undo()


def test_repr_of_an_explanation_is_short_for_any_names(notebook_model, tone):
    found = dataclasses.replace(notebook_model.explain(tone, RATE_HZ), name="a" * 5000, classes=("ü" * 5000,) * 10)
    assert len(repr(found).encode()) < 2000


def test_reprs_are_short_for_any_card(notebook_model):
    card = Card(
        classes=tuple("é" * 1000 + str(i) for i in range(527)),
        representation=notebook_model.card.representation,
        window_s=10.0,
        recipe={"name": "r" * 9000, "network": "n\n\x1b[31m" * 900},
        training=TrainingRecord.from_json({"name": ["d"] * 9000, "licence": "\ud800" * 4000, "n_train": "many"}),
        scores={"accuracy": "high", "protocol": {"x": "y" * 5000}, "accuracy_interval": [None, "z"]},
    )
    hostile = Model(Bundle(b"no graph", card))
    for shown in (repr(card), repr(hostile.bundle), repr(hostile)):
        assert len(shown.encode()) < 2000
        assert "\x1b" not in shown
    assert len(repr(hostile).splitlines()) <= 10
    assert len(hostile._repr_html_()) < 5000
