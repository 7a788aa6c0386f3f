"""Comparisons: what they write is what the clips say, twice the same, and a kill costs no more than the step it cut."""

import csv
import itertools
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss
from sklearn.model_selection import train_test_split

from soundmark import audio
from soundmark.cli import tables
from soundmark.datasets import Dataset, splits, synthetic
from soundmark.errors import DatasetError, OutputError, SettingsError
from soundmark.evaluation import comparison, model_evaluation, plan, report
from soundmark.evaluation.plan import VALIDATION_COST, _training_s, describe_cost, leakage_warnings, make_plan
from soundmark.evaluation.results import _result_json
from soundmark.metrics import calibration_error, intervals, significance, single_label
from soundmark.metrics.predictions import read_predictions, write_predictions
from soundmark.models import bundle
from soundmark.models.classifier import load
from soundmark.spectrograms import Image, Mel
from soundmark.training import engine
from soundmark.training.engine import Engine
from soundmark.training.named_recipes import recipe_named
from soundmark.training.run_folder import exclusive_run
from soundmark.training.single_model import comparison_scores, train_model
from soundmark.training.unit import Outcome, Unit

SMALL = [
    replace(recipe_named("notebook-image"), representation=Image(size=(24, 24)), epochs=2, batch_size=16),
    replace(recipe_named("notebook-mel"), representation=Mel(size=(24, 24)), epochs=2, batch_size=16),
]


@pytest.fixture(scope="module")
def city(sibling_city) -> Dataset:
    """Several clips from each recording: a random split leaks."""
    return sibling_city


@pytest.fixture(scope="module")
def run(city, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    comparison.run_plan(make_plan(city, SMALL), folder)
    return folder


def figures(folder: Path) -> dict:
    """``metrics.json`` without the seconds."""
    found = json.loads((folder / "metrics.json").read_text())
    for result in found["results"]:
        del result["seconds"]
    return found


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_writes_the_files_of_the_design(run):
    for recipe in ("notebook-image", "notebook-mel"):
        for unit in ("random", "folds/fold-1", "folds/fold-2", "folds/fold-3"):
            names = {path.name for path in (run / recipe / unit).iterdir()}
            assert names == {"model.onnx", "history.csv", "recipe.toml", "predictions.csv"}
        assert (run / recipe / "folds" / "predictions.csv").is_file()


def test_predictions_have_every_test_clip_once(run, city):
    rows = table(run / "notebook-mel" / "folds" / "predictions.csv")
    assert list(rows[0]) == ["path", "fold", "source", "label", "predicted", *city.classes]
    assert [row["path"] for row in rows] == [city.relative_path(clip) for clip in city.clips]
    for row, clip in zip(rows, city.clips, strict=True):
        assert (row["fold"], row["source"], row["label"]) == (str(clip.fold), clip.source, clip.label)
        scores = [float(row[name]) for name in city.classes]
        assert sum(scores) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == city.classes[int(np.argmax(scores))]


def test_the_random_split_is_scikit_learns(run, city):
    _, test = train_test_split(np.arange(len(city.clips)), test_size=0.33, random_state=42)
    expected = [city.relative_path(city.clips[i]) for i in sorted(test)]
    assert [row["path"] for row in table(run / "notebook-mel" / "random" / "predictions.csv")] == expected


@pytest.mark.parametrize("protocol", ["random", "folds"])
@pytest.mark.parametrize("recipe", ["notebook-image", "notebook-mel"])
def test_the_figures_are_scikit_learns_on_the_predictions(run, city, recipe, protocol):
    result = next(r for r in figures(run)["results"] if (r["recipe"], r["protocol"]) == (recipe, protocol))
    rows = table(run / recipe / protocol / "predictions.csv")
    truth = [row["label"] for row in rows]
    predicted = [row["predicted"] for row in rows]
    p = np.array([[float(row[name]) for name in city.classes] for row in rows])
    order = sorted(city.classes)
    columns = [city.classes.index(name) for name in order]
    assert result["n_test"] == len(rows)
    assert result["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    assert result["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro", zero_division=0))
    assert result["log_loss"] == pytest.approx(log_loss(truth, p[:, columns], labels=order), rel=1e-6)
    assert result["confusion"] == confusion_matrix(truth, predicted, labels=city.classes).tolist()
    assert result["accuracy_interval"][0] <= result["accuracy"] <= result["accuracy_interval"][1]


def test_says_what_the_design_says(run, city):
    found = json.loads((run / "metrics.json").read_text())
    assert found["schema"] == 1
    assert found["dataset"] == {
        "name": city.name,
        "path": str(city.root),
        "clips": len(city.clips),
        "classes": list(city.classes),
        "fingerprint": city.fingerprint,
    }
    assert {"soundmark", "versions", "machine", "seed", "skipped", "results", "comparisons"} <= set(found)
    keys = "recipe protocol n_train n_test accuracy accuracy_interval macro_f1 log_loss ece per_class per_salience "
    keys += "confusion folds fold_mean fold_sd leak seconds"
    assert set(keys.split()) <= set(found["results"][0])
    assert set(found["results"][0]["leak"]) == {"recording", "recording_and_class", "lookup_accuracy"}
    assert set(found["results"][0]["seconds"]) == {"features", "training", "testing"}
    assert {c["protocol"] for c in found["comparisons"]} == {"random", "folds"}
    for pair in found["comparisons"]:
        by_recipe = {r["recipe"]: r["accuracy"] for r in found["results"] if r["protocol"] == pair["protocol"]}
        assert pair["recipes"] == ["notebook-image", "notebook-mel"]
        assert pair["difference"] == pytest.approx(by_recipe["notebook-image"] - by_recipe["notebook-mel"])


def test_the_figures_are_the_files_own(run, city):
    """The model that was written, on the clips' files, says what predictions.csv says."""
    unit = run / "notebook-image" / "folds" / "fold-2"
    model = load(unit / "model.onnx")
    for row in table(unit / "predictions.csv")[::9]:
        scores = model.scores(city.root / row["path"]).probabilities[0]
        np.testing.assert_allclose(scores, [float(row[name]) for name in city.classes], atol=1e-5)


def test_the_same_seed_gives_the_same_predictions(run, city, tmp_path):
    comparison.run_plan(make_plan(city, SMALL[1:], protocols=["folds"]), tmp_path / "again")
    for path in ("folds/predictions.csv", "folds/fold-3/predictions.csv"):
        assert (tmp_path / "again" / "notebook-mel" / path).read_bytes() == (run / "notebook-mel" / path).read_bytes()


def test_a_second_call_trains_nothing_and_says_the_same(run, city, tmp_path, monkeypatch):
    folder = shutil.copytree(run, tmp_path / "run")
    monkeypatch.setattr("soundmark.training.loop.train_network", None)
    comparison.run_plan(make_plan(city, SMALL), folder)
    assert json.loads((folder / "metrics.json").read_text()) == json.loads((run / "metrics.json").read_text())


def test_goes_on_with_the_precision_and_threads_of_the_units_before(run, city, tmp_path, monkeypatch):
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "notebook-mel" / "folds" / "fold-2" / "model.onnx").unlink()
    other = Engine(device="cpu", precision="float32", threads=1)
    monkeypatch.setattr(engine, "choose_engine", lambda _="auto": other)
    comparison.run_plan(make_plan(city, SMALL), folder)
    assert figures(folder) == figures(run)


@pytest.mark.parametrize("lost", ["model.onnx", "predictions.csv", "history.csv"])
def test_a_lost_or_damaged_part_of_a_unit_is_made_again(run, city, tmp_path, lost):
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "notebook-mel" / "random" / lost).unlink()
    damaged = folder / "notebook-mel" / "folds" / "fold-1" / "model.onnx"
    damaged.write_bytes(damaged.read_bytes()[:-3])
    comparison.run_plan(make_plan(city, SMALL), folder)
    assert figures(folder) == figures(run)
    assert (folder / "notebook-mel/random/predictions.csv").read_bytes() == (
        run / "notebook-mel/random/predictions.csv"
    ).read_bytes()


def test_refuses_a_folder_of_another_run(run, city, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    other = [replace(SMALL[1], learning_rate=0.5)]
    with pytest.raises(OutputError, match=r"holds another run: it differs in recipe\.learning_rate.*--fresh"):
        comparison.run_plan(make_plan(city, other), folder)
    with pytest.raises(OutputError, match="holds another run: of synthetic city"):
        comparison.run_plan(make_plan(city.without([0]), SMALL), folder)
    assert figures(folder) == figures(run)


def test_fresh_starts_over(run, city, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "notes.txt").write_text("mine")
    other = [replace(SMALL[1], seed=3)]
    comparison.run_plan(make_plan(city, other, protocols=["random"]), folder, fresh=True)
    assert bundle.read_bundle(folder / "notebook-mel" / "random" / "model.onnx").card.recipe["seed"] == 3
    assert (folder / "notes.txt").read_text() == "mine"


def test_an_unreadable_clip_is_named_and_moves_no_other(run, sibling_city_folder, tmp_path):
    data = Dataset.open(shutil.copytree(sibling_city_folder, tmp_path / "city"))
    data.clips[10].path.write_bytes(b"RIFF")
    found = comparison.run_plan(make_plan(data, SMALL[1:], protocols=["random"]), tmp_path / "run")
    name = data.relative_path(data.clips[10])
    assert [item.path for item in found.skipped] == [name]
    assert [item["path"] for item in json.loads((tmp_path / "run" / "metrics.json").read_text())["skipped"]] == [name]
    before = {row["path"] for row in table(run / "notebook-mel" / "random" / "predictions.csv")}
    after = {row["path"] for row in table(tmp_path / "run" / "notebook-mel" / "random" / "predictions.csv")}
    assert after == before - {name}
    only = found.results[0].folds[0]
    assert only.n_train + only.n_test == len(data.clips) - 1


def test_folds_restricts_what_is_tested_not_what_is_trained_on(city):
    plan = make_plan(city, SMALL, protocols=["folds"], folds=[2])
    assert [(split.fold, len(split.train)) for split in plan.splits["folds"]] == [(2, int((city.fold_of != 2).sum()))]
    assert plan.trainings == 2


def with_clips(data: Dataset, **fields) -> Dataset:
    """The data set with fields of every clip changed."""
    return replace(data, clips=tuple(replace(clip, **fields) for clip in data.clips))


def test_without_folds_recordings_are_kept_apart_where_they_are_known(city):
    loose = with_clips(city, fold=None)
    assert {name: len(splits) for name, splits in make_plan(loose, SMALL).splits.items()} == {
        "random": 1,
        "grouped": 5,
    }
    with pytest.raises(DatasetError, match="no official folds"):
        make_plan(loose, SMALL, protocols=["folds"])
    assert list(make_plan(with_clips(city, fold=1), SMALL).splits) == ["random", "grouped"]
    assert list(make_plan(with_clips(loose, source="one"), SMALL).splits) == ["random"]


def test_without_folds_and_recordings_there_is_the_random_protocol(city):
    blind = with_clips(city, fold=None, source=None)
    assert list(make_plan(blind, SMALL).splits) == ["random"]
    with pytest.raises(DatasetError, match='does not say of 90 of its 90 clips which recording.*column "source"'):
        make_plan(blind, SMALL, protocols=["grouped"])
    partly = replace(blind, clips=(*city.clips[:30], *blind.clips[30:]))
    with pytest.raises(DatasetError, match="does not say of 60 of its 90 clips which recording"):
        make_plan(partly, SMALL, protocols=["grouped"])


def test_with_folds_the_default_is_the_random_split_and_the_folds(city):
    assert list(make_plan(city, SMALL).splits) == ["random", "folds"]
    assert list(make_plan(city, SMALL, protocols=["grouped"]).splits) == ["grouped"]


# --- What a split hides ---------------------------------------------------------------------------------------------


def test_the_random_split_says_how_much_it_gives_away(city):
    usable = np.ones(len(city.clips), bool)
    (told,) = leakage_warnings(make_plan(city, SMALL), usable)
    leak = figures_of_leak(city, make_plan(city, SMALL).splits["random"][0])
    assert told == (
        f"random: {leak:.1f} % of the test clips come from a recording that is also trained on ({leak:.1f} % under the "
        "same class): this score is too good for recordings never heard"
    )
    assert leakage_warnings(make_plan(city, SMALL, protocols=["folds"]), usable) == []
    assert leakage_warnings(make_plan(city, SMALL, protocols=["grouped"]), usable) == []


def figures_of_leak(data: Dataset, split) -> float:
    trained = {data.clips[i].source for i in split.train}
    return 100 * sum(data.clips[i].source in trained for i in split.test) / len(split.test)


def test_where_nothing_is_known_it_is_said_what_that_hides(city):
    blind = with_clips(city, fold=None, source=None)
    usable = np.ones(len(city.clips), bool)
    (told,) = leakage_warnings(make_plan(blind, SMALL), usable)
    assert told.startswith("random: which clips share a recording is not known here, so this score may be that of")
    assert (
        leakage_warnings(make_plan(with_clips(city, source=None), SMALL), usable) == []
    )  # there are folds to judge by


def test_it_is_said_before_something_is_trained_and_not_again(city, tmp_path, caplog):
    plan = make_plan(city, SMALL[1:], protocols=["random"])
    comparison.run_plan(plan, tmp_path / "run")
    assert [message for message in caplog.messages if message.startswith("random: ")] == leakage_warnings(
        plan, np.ones(len(city.clips), bool)
    )
    caplog.clear()
    comparison.run_plan(plan, tmp_path / "run")
    assert caplog.messages == []


def table_of(folder: Path, city: Dataset, fold_of) -> Dataset:
    """Two clips of each recording of the city, one after the other, as a CSV table with the folds ``fold_of(row)``."""
    by_source = sorted(city.clips, key=lambda clip: (clip.source, str(clip.path)))
    pairs = [clip for _, group in itertools.groupby(by_source, lambda clip: clip.source) for clip in [*group][:2]]
    rows = [f"{clip.path},{clip.label},{fold_of(i)},{clip.source}" for i, clip in enumerate(pairs)]
    folder.mkdir(exist_ok=True)
    (folder / "labels.csv").write_text("\n".join(["path,label,fold,source", *rows, ""]))
    return Dataset.open(folder / "labels.csv")


def test_folds_that_tear_recordings_apart_are_named_with_the_size_of_it(city, tmp_path, caplog):
    """Of every other recording, one clip lies in either fold."""
    torn = table_of(tmp_path / "torn", city, lambda i: 1 + i % 2 if i % 4 < 2 else 1)
    found = comparison.run_plan(make_plan(torn, SMALL[1:], protocols=["folds"]), tmp_path / "run")
    said = "50.0 % of the test clips come from a recording that is also trained on (50.0 % under the same class)"
    assert (
        f"folds: {said}: these folds tear recordings apart, and their score is too good for recordings never heard"
        in (caplog.messages)
    )
    leak = figures(tmp_path / "run")["results"][0]["leak"]
    assert (leak["recording"], leak["recording_and_class"]) == (0.5, 0.5)
    assert found.results[0].leak.lookup_accuracy >= 0.5
    assert f"These folds do not keep recordings together: {said}" in report.render(found)
    whole = table_of(tmp_path / "whole", city, lambda i: 1 + i // 2 % 2)
    assert leakage_warnings(make_plan(whole, SMALL, protocols=["folds"]), np.ones(len(whole.clips), bool)) == []


def test_a_recording_of_two_classes_in_two_folds_is_reported_and_not_blamed(city, tmp_path, caplog):
    """As five recordings of UrbanSound8K: their other fold teaches another class."""
    first, other = city.classes[:2]
    ours = [i for i, clip in enumerate(city.clips) if clip.label == first and clip.fold == 1]
    theirs = [i for i, clip in enumerate(city.clips) if clip.label == other and clip.fold == 2]
    shared = {*ours, *theirs}
    clips = tuple(replace(clip, source="both") if i in shared else clip for i, clip in enumerate(city.clips))
    found = comparison.run_plan(make_plan(replace(city, clips=clips), SMALL[1:], protocols=["folds"]), tmp_path / "run")
    leak = figures(tmp_path / "run")["results"][0]["leak"]
    assert (leak["recording"], leak["recording_and_class"]) == (len(shared) / len(clips), 0.0)
    assert [message for message in caplog.messages if message.startswith("folds: ")] == []
    assert "also trained on (0.0 % under the same class)" in tables.leak_lines(found)[0]
    assert "do not keep recordings together" not in report.render(found)


# --- Folds by recording -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grouped(city, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("grouped") / "run"
    comparison.run_plan(make_plan(with_clips(city, fold=None), SMALL[1:]), folder)
    return folder


def test_grouped_writes_what_folds_do(grouped, city):
    place = grouped / "notebook-mel" / "grouped"
    assert sorted(path.name for path in place.iterdir()) == [*(f"fold-{k}" for k in range(1, 6)), "predictions.csv"]
    tested = [row["path"] for row in table(place / "predictions.csv")]
    assert tested == [city.relative_path(clip) for clip in city.clips]
    for k in range(1, 6):
        assert {path.name for path in (place / f"fold-{k}").iterdir()} == {
            "model.onnx",
            "history.csv",
            "recipe.toml",
            "predictions.csv",
        }
        ours = {row["source"] for row in table(place / f"fold-{k}" / "predictions.csv")}
        others = [row["source"] for j in range(1, 6) if j != k for row in table(place / f"fold-{j}/predictions.csv")]
        assert not ours & set(others)
    result = next(r for r in figures(grouped)["results"] if r["protocol"] == "grouped")
    assert result["leak"]["recording"] == 0
    assert [fold["fold"] for fold in result["folds"]] == [1, 2, 3, 4, 5]


def test_a_model_of_a_fold_by_recording_is_scored_on_that_fold(grouped, city):
    loose = with_clips(city, fold=None)
    model = load(grouped / "notebook-mel" / "grouped" / "fold-2" / "model.onnx")
    rows = table(grouped / "notebook-mel" / "grouped" / "fold-2" / "predictions.csv")
    tested = model_evaluation.evaluate_model(model, loose)
    assert tested.summary.n == len(rows) < len(city.clips)
    assert tested.summary.accuracy == pytest.approx(np.mean([row["label"] == row["predicted"] for row in rows]))
    assert tested.note == "the recordings of fold 2, which were kept back from the model's training"


def test_a_split_of_another_seed_is_not_taken_for_it(city, tmp_path):
    loose = with_clips(city, fold=None)
    comparison.run_plan(make_plan(loose, SMALL[1:], protocols=["grouped"], split_seed=7), tmp_path / "run")
    tested = model_evaluation.evaluate_model(
        load(tmp_path / "run" / "notebook-mel" / "grouped" / "fold-2" / "model.onnx"), loose
    )
    assert tested.summary.n == len(city.clips)
    assert "the figures are too good" in tested.note


def test_a_card_takes_the_scores_by_recording_before_those_of_the_random_split(grouped, city):
    told = comparison_scores(grouped, SMALL[1], with_clips(city, fold=None))
    assert (told["protocol"], told["n_test"]) == ("grouped", len(city.clips))


# --- Seeds ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seeded(city, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("seeded") / "run"
    comparison.run_plan(make_plan(city, SMALL, folds=[1, 2], seeds=2), folder)
    return folder


UNIT = {"model.onnx", "history.csv", "recipe.toml", "predictions.csv"}


def test_each_seed_has_a_folder_under_the_protocol(seeded, run):
    for recipe in ("notebook-image", "notebook-mel"):
        for seed in ("seed-0", "seed-1"):
            assert {path.name for path in (seeded / recipe / "random" / seed).iterdir()} == UNIT
            names = {path.name for path in (seeded / recipe / "folds" / seed).iterdir()}
            assert names == {"fold-1", "fold-2", "predictions.csv"}
            assert {path.name for path in (seeded / recipe / "folds" / seed / "fold-1").iterdir()} == UNIT
        assert {path.name for path in (seeded / recipe / "folds").iterdir()} == {"seed-0", "seed-1"}
        for alone, first in (("random", "random/seed-0"), ("folds/fold-2", "folds/seed-0/fold-2")):
            ours, theirs = run / recipe / alone, seeded / recipe / first
            assert (ours / "predictions.csv").read_bytes() == (theirs / "predictions.csv").read_bytes()
        tables = {(seeded / recipe / "random" / seed / "predictions.csv").read_bytes() for seed in ("seed-0", "seed-1")}
        assert len(tables) == 2  # another seed, another network
        assert bundle.read_bundle(seeded / recipe / "random/seed-1/model.onnx").card.recipe["seed"] == 1


def answers(folder: Path, recipe: str, protocol: str) -> tuple[list[list[bool]], list[str]]:
    """Whether each clip was told right, a list for each seed, and the clips' recordings."""
    rows = [table(folder / recipe / protocol / f"seed-{seed}" / "predictions.csv") for seed in (0, 1)]
    assert [row["path"] for row in rows[0]] == [row["path"] for row in rows[1]]
    return [[row["label"] == row["predicted"] for row in one] for one in rows], [row["source"] for row in rows[0]]


@pytest.mark.parametrize("protocol", ["random", "folds"])
@pytest.mark.parametrize("recipe", ["notebook-image", "notebook-mel"])
def test_the_figures_are_over_clips_and_seeds(seeded, city, recipe, protocol):
    result = next(r for r in figures(seeded)["results"] if (r["recipe"], r["protocol"]) == (recipe, protocol))
    (first, second), sources = answers(seeded, recipe, protocol)
    each = [np.mean(first), np.mean(second)]
    assert result["n_test"] == len(first)
    assert (result["accuracy"], result["seed_mean"]) == pytest.approx((np.mean(each), np.mean(each)))
    assert result["seeds"] == [{"seed": 0, "accuracy": each[0]}, {"seed": 1, "accuracy": each[1]}]
    assert result["seed_sd"] == pytest.approx(abs(each[0] - each[1]) / np.sqrt(2))
    assert np.sum(result["confusion"]) == 2 * len(first)
    assert sum(one["support"] for one in result["per_class"]) == len(first)
    assert sum(one["n"] for one in result["per_salience"].values()) == len(first)
    # Drawing recordings of the mean over seeds and drawing recordings of the stacked answers are the same.
    interval = intervals.bootstrap_interval(np.mean([first, second], axis=0), sources, seed=0)
    assert result["accuracy_interval"] == pytest.approx([interval.low, interval.high])


def test_folds_are_those_of_the_mean_over_seeds(seeded):
    result = next(r for r in figures(seeded)["results"] if (r["recipe"], r["protocol"]) == ("notebook-mel", "folds"))
    assert [(fold["seed"], fold["fold"]) for fold in result["folds"]] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    a, b, c, d = (fold["accuracy"] for fold in result["folds"])
    assert result["fold_mean"] == pytest.approx((a + b + c + d) / 4)
    assert result["fold_sd"] == pytest.approx(abs((a + c) / 2 - (b + d) / 2) / np.sqrt(2))
    single = next(r for r in figures(seeded)["results"] if (r["recipe"], r["protocol"]) == ("notebook-mel", "random"))
    assert single["fold_sd"] is None


def test_recipes_are_compared_seed_by_seed_and_mcnemar_counts_each_clip_once(seeded):
    found = next(c for c in figures(seeded)["comparisons"] if c["protocol"] == "folds")
    (image, image_again), sources = answers(seeded, "notebook-image", "folds")
    (mel, mel_again), _ = answers(seeded, "notebook-mel", "folds")
    gain = np.mean([image, image_again], axis=0) - np.mean([mel, mel_again], axis=0)
    assert found["difference"] == pytest.approx(np.mean(gain))
    interval = intervals.bootstrap_interval(gain, sources, seed=0)
    assert found["interval"] == pytest.approx([interval.low, interval.high])
    assert found["p"] == pytest.approx(significance.sign_flip_p(gain, sources, seed=0))
    assert found["mcnemar_p"] == pytest.approx(significance.mcnemar_p(image, mel))
    assert found["clips"] == len(image)


def test_one_seed_has_no_spread(run):
    for result in figures(run)["results"]:
        assert result["seeds"] == [{"seed": 0, "accuracy": result["accuracy"]}]
        assert result["seed_mean"] == result["accuracy"]
        assert result["seed_sd"] is None


def test_a_run_of_seeds_is_gone_on_with(seeded, city, tmp_path):
    folder = shutil.copytree(seeded, tmp_path / "run")
    lost = folder / "notebook-mel" / "folds" / "seed-1" / "fold-2"
    (lost / "model.onnx").unlink()
    (folder / "notebook-mel" / "random" / "seed-0" / ".model.onnx.4711.part").write_bytes(b"half")
    plan = make_plan(city, SMALL, folds=[1, 2], seeds=2)
    assert "12 trainings (random × 1, folds × 2, for each recipe and each of 2 seeds), 11 of them" in describe_cost(
        plan, folder
    )
    trained = comparison.run_plan(plan, folder)
    assert figures(folder) == figures(seeded)
    assert [fold.seed for fold in trained.results[0].folds] == [0, 1]
    unit = "notebook-mel/folds/seed-1/fold-2/predictions.csv"
    assert (folder / unit).read_bytes() == (seeded / unit).read_bytes()
    assert list(folder.rglob("*.part")) == []


def test_trainings_of_other_seeds_are_named_and_fresh_takes_them_away(seeded, city, tmp_path, caplog):
    folder = shutil.copytree(seeded, tmp_path / "run")
    alone = make_plan(city, SMALL[1:], protocols=["random"])
    comparison.run_plan(alone, folder)
    (told,) = [message for message in caplog.messages if "not in this table" in message]
    assert "notebook-mel/folds/seed-1/fold-2" in told
    assert "notebook-mel/random/seed-0," in told
    assert not told.endswith("notebook-mel/random")
    comparison.run_plan(alone, folder, fresh=True)
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.is_file()}
    assert left - {".lock"} == {
        "metrics.json",
        *(f"notebook-mel/random/{name}" for name in UNIT),
    }


def test_scores_of_several_seeds_stand_on_a_card(city, seeded, tmp_path):
    with pytest.raises(SettingsError, match="tested only some of the folds"):
        comparison_scores(seeded, SMALL[1], city)
    comparison.run_plan(make_plan(city, SMALL[1:], protocols=["random"], seeds=2), tmp_path / "run")
    told = comparison_scores(tmp_path / "run", SMALL[1], city)
    assert told["accuracy"] == next(
        r["accuracy"] for r in figures(seeded)["results"] if (r["recipe"], r["protocol"]) == ("notebook-mel", "random")
    )


def test_the_report_shows_the_spread_over_seeds(city, seeded, capsys):
    found = comparison.run_plan(make_plan(city, SMALL, folds=[1, 2], seeds=2), seeded)
    page = report.render(found)
    result = next(r for r in figures(seeded)["results"] if (r["recipe"], r["protocol"]) == ("notebook-mel", "folds"))
    mean, spread = f"{100 * result['seed_mean']:.1f}", f"± {100 * result['seed_sd']:.1f}"
    assert f"<strong>{mean} %</strong>" in page
    assert f"<td>{spread}</td>" in page
    assert "Counts are over 2 seeds: each clip stands here 2 times." in page
    assert page.count("Fold by fold, the mean of 2 seeds") == 1
    folds = [fold["accuracy"] for fold in result["folds"]]
    assert f"<td>{50 * (folds[1] + folds[3]):.1f} %</td></tr>" in page
    assert "nan" not in re.sub(r"base64,[^\"]*", "", page).lower().replace("nant", "")
    tables.show_evaluation(found)
    told = " ".join(capsys.readouterr().out.split())
    each = ", ".join(f"{seed['seed']} ({100 * seed['accuracy']:.1f})" for seed in result["seeds"])
    assert f"notebook-mel, folds: {mean} {spread} %, mean ± SD over the seeds {each}" in told


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"protocols": ["fold"]}, 'no protocol "fold". Did you mean "folds"'),
        ({"folds": [7]}, "no fold 7 here. Known: 1, 2, 3"),
        ({"folds": [1], "protocols": ["random"]}, "leave one of them out"),
        ({"folds": [1], "protocols": ["grouped"]}, "leave one of them out"),
        ({"seeds": 0}, "seeds is 0: give a whole number from 1 to 20"),
        ({"seeds": 21}, "seeds is 21: give a whole number from 1 to 20"),
        (
            {"seeds": 3, "recipes": [replace(SMALL[0], seed=2**32 - 2)]},
            "seed is 4294967296: give a whole number from 0",
        ),
        ({"recipes": []}, "the recipes are none"),
        ({"recipes": [SMALL[0], SMALL[0]]}, "each name once"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(city, change, match):
    arguments = {"recipes": SMALL, **change}
    with pytest.raises(SettingsError, match=match):
        make_plan(city, **arguments)


def test_one_class_alone_is_refused(city):
    one = replace(
        city,
        classes=city.classes[:1],
        clips=tuple(c for c in city.clips if c.label == city.classes[0]),
    )
    with pytest.raises(DatasetError, match="at least two classes"):
        make_plan(one, SMALL)


def test_two_at_once_do_not_write_to_one_folder(city, tmp_path):
    with ThreadPoolExecutor(1) as other, exclusive_run(tmp_path / "run"):
        second = other.submit(comparison.run_plan, make_plan(city, SMALL), tmp_path / "run")
        with pytest.raises(OutputError, match="another soundmark is writing"):
            second.result()


def test_the_cost_counts_the_training_on_everything_too(monkeypatch):
    monkeypatch.setattr(plan, "_seconds_per_example", lambda *_: 1.0)
    split = splits.Split(np.arange(100), np.arange(100, 150))
    scratch = replace(recipe_named("scratch"), epochs=3, min_batches=0, validation_fraction=0.2)
    watched = 1 + VALIDATION_COST * 20 / 80
    assert _training_s(scratch, split, 10, "cpu") == pytest.approx(3 * 80 * watched + 3 * 100)
    notebook = recipe_named("notebook-mel")  # 20 epochs, each of which watches the 50 test clips
    assert _training_s(notebook, split, 10, "cpu") == pytest.approx(20 * (100 + VALIDATION_COST * 50))
    assert _training_s(recipe_named("transfer"), split, 10, "cpu") == pytest.approx(100)


def test_states_its_cost(city):
    text = describe_cost(make_plan(city, SMALL), Path("nowhere"))
    assert "8 trainings (random × 1, folds × 3, for each recipe)" in text
    assert re.search(r"about [\d.]+ (s|min) on \d+ cores", text)


def test_train_uses_all_clips_unless_told_otherwise(city, run, tmp_path):
    made = train_model(city, SMALL[1], tmp_path / "all", scores=run)
    assert made.card.training.n_train == len(city.clips)
    assert made.card.scores["cross_validated"]
    assert made.card.scores["accuracy"] == next(
        r["accuracy"] for r in figures(run)["results"] if (r["recipe"], r["protocol"]) == ("notebook-mel", "folds")
    )
    assert bundle.read_bundle(tmp_path / "all" / "model.onnx").card == made.card
    assert train_model(city, SMALL[1], tmp_path / "all").card.scores == made.card.scores  # a second call trains nothing


def test_train_with_a_test_fold_is_the_comparisons_own_unit(city, run, tmp_path):
    made = train_model(city, SMALL[1], tmp_path / "kept", test_fold=2)
    ours, theirs = (folder / "predictions.csv" for folder in (tmp_path / "kept", run / "notebook-mel/folds/fold-2"))
    assert ours.read_bytes() == theirs.read_bytes()
    assert made.card.scores["test_fold"] == 2


@pytest.mark.parametrize(
    ("break_it", "match"),
    [
        (lambda folder: (folder / "metrics.json").unlink(), "not the outcome of a comparison"),
        (lambda folder: (folder / "metrics.json").write_text("[1]"), "not the outcome of a comparison"),
    ],
)
def test_scores_come_from_a_comparison(city, run, tmp_path, break_it, match):
    folder = shutil.copytree(run, tmp_path / "run")
    break_it(folder)
    with pytest.raises(SettingsError, match=match):
        train_model(city, SMALL[1], tmp_path / "all", scores=folder)
    with pytest.raises(SettingsError, match="no recipe notebook-image-22k"):
        comparison_scores(run, recipe_named("notebook-image-22k"), city)
    with pytest.raises(SettingsError, match="is of other data"):
        comparison_scores(run, SMALL[1], city.without([0]))
    with pytest.raises(SettingsError, match="is another: it differs in epochs"):
        comparison_scores(run, replace(SMALL[1], epochs=9), city)
    with pytest.raises(SettingsError, match="leave out --scores or --test-fold"):
        train_model(city, SMALL[1], tmp_path / "x", scores=run, test_fold=1)


def test_scores_of_some_folds_are_not_those_of_all(city, run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    comparison.run_plan(make_plan(city, SMALL[1:], folds=[1]), folder)
    with pytest.raises(SettingsError, match="tested only some of the folds"):
        comparison_scores(folder, SMALL[1], city)


def test_evaluate_leaves_out_what_was_trained_on(city, run):
    rows = table(run / "notebook-mel" / "folds" / "fold-1" / "predictions.csv")
    tested = model_evaluation.evaluate_model(load(run / "notebook-mel" / "folds" / "fold-1" / "model.onnx"), city)
    assert tested.summary.n == len(rows)
    assert tested.summary.accuracy == pytest.approx(np.mean([row["label"] == row["predicted"] for row in rows]))
    tested = model_evaluation.evaluate_model(load(run / "notebook-mel" / "random" / "model.onnx"), city)
    assert tested.summary.n == len(table(run / "notebook-mel" / "random" / "predictions.csv"))


def test_evaluate_knows_its_own_data_by_another_name_and_no_other_by_the_same(city, run, tmp_path):
    kept = int((city.fold_of == 1).sum())
    model = load(run / "notebook-mel" / "folds" / "fold-1" / "model.onnx")
    renamed = replace(city, name="elsewhere")
    assert model_evaluation.evaluate_model(model, renamed).summary.n == kept
    turned = replace(city, clips=tuple(replace(clip, fold=1 + clip.fold % 3) for clip in city.clips))
    tested = model_evaluation.evaluate_model(model, turned)  # its fold 1 is not the fold 1 that was kept back
    assert tested.summary.n == len(city.clips)
    assert "the figures are too good" in tested.note


def test_without_recordings_the_leak_is_not_told(city, tmp_path):
    loose = replace(city, clips=tuple(replace(clip, source=None) for clip in city.clips))
    found = comparison.run_plan(make_plan(loose, SMALL[1:], protocols=["random"]), tmp_path / "run")
    assert found.results[0].leak is None
    assert set(figures(tmp_path / "run")["results"][0]["leak"].values()) == {None}


def test_a_damaged_predictions_file_is_scored_again_not_trained_again(run, city, tmp_path, monkeypatch):
    folder = shutil.copytree(run, tmp_path / "run")
    path = folder / "notebook-mel" / "random" / "predictions.csv"
    path.write_text(path.read_text() + "\n")
    monkeypatch.setattr("soundmark.training.loop.train_network", None)
    comparison.run_plan(make_plan(city, SMALL), folder)
    assert path.read_bytes() == (run / "notebook-mel" / "random" / "predictions.csv").read_bytes()


def test_says_what_is_left_to_do(run, city, tmp_path):
    assert describe_cost(make_plan(city, SMALL), run).endswith(
        "8 trainings (random × 1, folds × 3, for each recipe), all done before."
    )
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "notebook-mel" / "random" / "model.onnx").unlink()
    assert "done before" not in describe_cost(make_plan(city, SMALL), run, fresh=True)
    assert ", 7 of them done before: about" in describe_cost(make_plan(city, SMALL), folder)


def test_predictions_tell_the_cuts_of_one_file_apart(city, tmp_path):
    clip = city.clips[0]
    cuts = tuple(replace(clip, start_s=0.1 * i, stop_s=0.1 * i + 0.2) for i in range(3))
    data = replace(city, clips=cuts)
    scores = np.eye(10, dtype=np.float32)[:3]
    digest = write_predictions(tmp_path / "p.csv", data, np.arange(3), scores)
    assert [(row["start_s"], row["stop_s"]) for row in table(tmp_path / "p.csv")] == [
        ("0", "0.2"),
        ("0.1", "0.3"),
        ("0.2", "0.4"),
    ]
    np.testing.assert_array_equal(read_predictions(tmp_path / "p.csv", data, np.arange(3), sha256=digest), scores)
    with pytest.raises(ValueError, match="is of other clips"):
        read_predictions(tmp_path / "p.csv", data, np.array([0, 2, 1]), sha256=digest)


def test_evaluate_scores_all_of_another_data_set(city, run, tmp_path):
    other = Dataset.open(synthetic.write(tmp_path / "other", recordings_per_class=3, clips_per_recording=1, seed=9))
    other = replace(other, name="other", classes=tuple(reversed(other.classes)))
    tested = model_evaluation.evaluate_model(
        load(run / "notebook-mel" / "random" / "model.onnx"), other, folder=tmp_path / "out"
    )
    assert tested.summary.n == len(other.clips)
    assert list(tested.classes) == list(city.classes)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["n_test"] == len(other.clips)
    assert len(table(tmp_path / "out" / "predictions.csv")) == len(other.clips)


def test_evaluate_refuses_what_it_could_only_flatter(city, run, tmp_path):
    made = train_model(city, SMALL[1], tmp_path / "all")
    with pytest.raises(DatasetError, match="the model was trained on every one"):
        model_evaluation.evaluate_model(load(made.model), city)
    stranger = replace(city, classes=(*city.classes, "owl"))
    with pytest.raises(DatasetError, match='has the class "owl", which the model does not know'):
        model_evaluation.evaluate_model(load(made.model), stranger)


def test_a_silent_clip_is_a_clip(sibling_city_folder, tmp_path):
    data = Dataset.open(shutil.copytree(sibling_city_folder, tmp_path / "city"))
    audio.write(data.clips[0].path, np.zeros(1, np.float32), 8000)
    found = comparison.run_plan(make_plan(data, SMALL[:1], protocols=["random"]), tmp_path / "run")
    assert found.skipped == ()


def outcome_of(city, fold, probabilities, folder, **more) -> Outcome:
    test = np.flatnonzero(city.fold_of == fold)
    split = splits.Split(np.flatnonzero(city.fold_of != fold), test, fold)
    unit = Unit(recipe=SMALL[1], protocol="folds", split=split, folder=folder)
    engine = {"threads": 1, "precision": "float32", "device": "cpu"}
    return Outcome(
        unit=unit, history=(), engine=engine, probabilities=probabilities[test], training_s=1, testing_s=1, **more
    )


def test_the_ece_before_temperature_scaling_is_that_of_the_networks_own_probabilities(city, tmp_path):
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(len(city.clips), len(city.classes)))

    def softmax(z):
        return (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)).astype(np.float32)

    heats = {1: 0.5, 2: 2.0, 3: 8.0}  # each fold's model has its own
    cooled = [
        outcome_of(city, fold, softmax(logits / heat), tmp_path, temperature=heat, n_validation=30)
        for fold, heat in heats.items()
    ]
    result = comparison._result(city, cooled, 1.0)
    raw = softmax(logits)[result.test]
    assert result.ece_uncalibrated == pytest.approx(single_label.ece(result.labels, raw), abs=1e-6)
    assert abs(result.ece_uncalibrated - result.summary.ece) > 0.05
    assert result.ece_if_calibrated == calibration_error.ece_if_calibrated(result.probabilities)
    told = _result_json(result)
    assert told["ece_uncalibrated"] == result.ece_uncalibrated
    assert told["ece_if_calibrated"] == result.ece_if_calibrated.mean < told["ece_if_calibrated_high"]
    assert [(fold["temperature"], fold["calibrated_on"]) for fold in told["folds"]] == [(0.5, 30), (2, 30), (8, 30)]


def test_without_calibration_there_is_no_ece_before_it(run):
    for result in figures(run)["results"]:
        assert result["ece_uncalibrated"] is None
        assert 0 < result["ece_if_calibrated"] < result["ece_if_calibrated_high"] < 1
