"""Arguments of a wrong type are refused in one sentence; numbers of NumPy are numbers."""

import json
import tomllib
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import soundmark as sm
from soundmark.detection.settings import DetectionSettings
from soundmark.spectrograms import Mel

PATHS = [None, 3, 0.5, ["a", "b"], b"city", np.zeros(3), pd.DataFrame({"path": ["a.wav"]})]


@pytest.fixture(scope="module")
def clip(city: sm.Dataset) -> Path:
    return city.clips[0].path


@pytest.mark.parametrize("value", PATHS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    "call",
    [
        sm.Dataset.open,
        sm.load,
        sm.Index.open,
        lambda value: sm.inspect(value, quiet=True),
        lambda value: sm.merge(value, ["shard-1"]),
        lambda value: next(sm.listen(value)),
        lambda value: sm.analyze("a.wav", value),
        lambda value: sm.evaluate(value, "city"),
        lambda value: sm.explain(value, "a.wav"),
    ],
)
def test_a_value_that_is_not_a_path_is_refused(call, value):
    with pytest.raises(sm.SettingsError, match=r"^the [a-z ]+ is .*: expected a path\.$"):
        call(value)


@pytest.mark.parametrize("value", [None, 3, [1, 2], np.zeros(3)], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    "call",
    [
        lambda value, model: sm.analyze(value, model, quiet=True),
        lambda value, model: sm.Index.build(value, model, "index", quiet=True),
        lambda value, model: sm.summarize(value),
        lambda value, model: sm.merge("all", value),
        lambda value, model: model.save(value),
    ],
)
def test_a_value_that_is_no_list_of_paths_is_refused(call, value, tone_detector):
    with pytest.raises(sm.SettingsError, match=r"^the [a-z ]+ is .*: expected a path\.$"):
        call(value, tone_detector)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": ["csv", "json"]}, r'there is no format "\[\'csv\', \'json\'\]"'),
        ({"shard": 3}, "shard is 3: expected K/N"),
        ({"thresholds": 0.5}, "thresholds is 0.5: expected a mapping"),
        ({"timezone": None}, 'unknown timezone "None"'),
        ({"release": None}, "release is None: expected a number from 0 to 1"),
        ({"threshold": 10**400}, "threshold is a value of the type int: expected a number"),
        ({"merge_gap_s": Decimal("0.5")}, "merge_gap_s is .*: expected a number of seconds"),
        ({"unknown": [1, 2]}, r"unknown is \[1, 2\]: expected True or False"),
        ({"folder": 3}, "the folder is 3: expected a path"),
        ({"jobs": "all"}, "jobs is 'all': expected a whole number"),
    ],
)
def test_an_option_of_a_wrong_type_is_refused_by_analyze(options, message, clip, tone_detector):
    with pytest.raises(sm.SettingsError, match=message):
        sm.analyze(clip, tone_detector, quiet=True, **options)


@pytest.mark.parametrize("background", [None, 3, [1, 2], np.zeros(2)], ids=repr)
def test_a_background_that_is_not_a_label_is_refused(background, city, tmp_path):
    with pytest.raises(sm.SettingsError, match="has no label"):
        sm.train(city, "notebook-mel", tmp_path, background=background, quiet=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda data: data.plot("mel"), "ax is 'mel': expected Axes"),
        (lambda data: data[0].plot("mel", colours=["red"]), "there is no colour map"),
        (lambda data: data.save_spectrograms(None), "the folder is None: expected a path"),
        (lambda data: data.save_spectrograms("pictures", jobs="all"), "jobs is 'all'"),
        (lambda data: sm.inspect(data, jobs="all"), "jobs is 'all'"),
        (lambda data: sm.compare(data, preset=["notebook"], folder="run"), "there is no preset"),
        (lambda data: sm.download(["esc50"], "data"), "there is no data set to download"),
        (lambda data: sm.train(data, "notebook-mel", "run", scores=3), "scores is 3: expected a path"),
        (lambda data: next(sm.listen("model.onnx", 3)), "the source is 3: expected"),
    ],
)
def test_other_arguments_of_a_wrong_type_are_refused(call, message, city, tone_detector, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tone_detector.save("model.onnx")
    with pytest.raises(sm.SettingsError, match=message):
        call(city)


def test_a_recipe_takes_numbers_of_numpy_and_stores_numbers_of_python():
    numbers = {"epochs": np.int64(3), "learning_rate": np.float32(0.5), "seed": np.uint8(7)}
    changed = sm.recipe("notebook-mel", **numbers, time_expansion=np.int64(2), band=(np.int64(50), np.float32(9000)))
    assert changed == sm.recipe("notebook-mel", epochs=3, learning_rate=0.5, seed=7, time_expansion=2, band=(50, 9000))
    assert tomllib.loads(changed.to_toml())["epochs"] == 3
    assert json.dumps(Mel(n_mels=np.int16(40)).settings()) == json.dumps(Mel(n_mels=40).settings())


def test_settings_of_an_analysis_with_numbers_of_numpy_can_be_stored():
    settings = DetectionSettings(
        top_k=np.int64(2),
        overlap=np.float32(0.5),
        min_confidence=np.int64(1),
        merge_gap_s=np.float32(0.25),
        calibration_db=np.int64(120),
        unknown=np.True_,
        thresholds={"dog": np.float32(0.5)},
    )
    stored = json.loads(json.dumps(settings.to_json()))
    assert (stored["top_k"], stored["overlap"], stored["merge_gap_s"], stored["unknown"]) == (2, 0.5, 0.25, True)
    assert stored["thresholds"] == {"dog": 0.5}


def test_numbers_of_numpy_choose_fold_window_and_clip(city, tmp_path):
    model = sm.train(city, "notebook-mel", tmp_path, test_fold=np.int64(3), epochs=np.int64(1), jobs=1, quiet=True)
    assert model.card.training.n_train == sum(clip.fold != 3 for clip in city)
    assert city.windows(np.float32(0.5)).window_s == 0.5
    assert city.select(np.int64(2)).clips == city.select(2).clips == (city.clips[2],)
