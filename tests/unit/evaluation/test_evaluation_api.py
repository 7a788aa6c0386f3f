"""compare, train and evaluate as Python functions, and the tables and figures of their results."""

import csv
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soundmark.errors import DatasetError, OutputError, SettingsError
from soundmark.evaluation import comparison
from soundmark.evaluation.comparison import compare
from soundmark.evaluation.model_evaluation import evaluate
from soundmark.models.classifier import Model
from soundmark.spectrograms import Mel
from soundmark.training.named_recipes import recipe_named
from soundmark.training.single_model import train, warn_skipped

pytestmark = pytest.mark.slow

A = replace(recipe_named("notebook-mel"), representation=Mel(size=(24, 24)), epochs=2, batch_size=30)
B = replace(A, name="other", learning_rate=5e-3)
MOST_CHARACTERS = 2000


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("run") / "run"


@pytest.fixture(scope="module")
def run(city, folder):
    return compare(str(city.root), [A, B], folder, folds=[1, 2], epochs=1, jobs=1, quiet=True)


@pytest.fixture(scope="module")
def multi_label_run(run):
    """The same results as multi-label results."""
    from soundmark.metrics import multi_label

    results = []
    for result in run.results:
        targets = np.eye(len(run.dataset.classes), dtype=np.float32)[result.labels]
        summary = multi_label.summarize(
            targets, result.probabilities, classes=run.dataset.classes, sources=run.dataset.sources[result.test]
        )
        results.append(replace(result, labels=targets, summary=summary))
    return replace(run, dataset=replace(run.dataset, multi_label=True), results=tuple(results))


def test_compare_writes_the_files_of_the_command_and_records_the_call(run, folder):
    assert {"report.html", "metrics.json"} <= {path.name for path in folder.iterdir()}
    assert run.command.startswith("soundmark.compare(dataset='")
    assert "recipes=['notebook-mel', 'other']" in run.command
    assert "folds=[1, 2], epochs=1, jobs=1, quiet=True)" in run.command
    assert [result.recipe.epochs for result in run.results] == [1] * 4


def test_the_same_call_again_trains_nothing(run, city, folder, monkeypatch):
    monkeypatch.setattr(comparison, "train_unit", None)  # training would fail
    again = compare(city, (A, B), str(folder), folds=np.array([1, 2]), epochs=1, jobs=1, quiet=True)
    assert repr(again) == repr(run)


def test_a_single_value_is_a_list_of_one(city, tmp_path):
    found = compare(city, A, tmp_path / "run", protocols="folds", folds=1, epochs=1, jobs=1, quiet=True)
    assert (found.recipes, found.protocols) == (("notebook-mel",), ("folds",))
    assert [fold.fold for fold in found.results[0].folds] == [1]


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"recipes": "notebok-mel"}, SettingsError, 'no recipe "notebok-mel". Did you mean "notebook-mel"'),
        ({"recipes": 5}, SettingsError, "recipes is 5: expected names"),
        ({"recipes": [5]}, SettingsError, "the recipe is 5: expected the name of a recipe"),
        ({"recipes": []}, SettingsError, "the recipes are none"),
        ({"recipes": "none.toml"}, SettingsError, 'the recipe "none.toml" cannot be read'),
        ({"protocols": "fold"}, SettingsError, 'no protocol "fold". Did you mean "folds"'),
        ({"protocols": 5}, SettingsError, "protocols is 5"),
        ({"folds": "1,2"}, SettingsError, "folds is '1,2': expected fold numbers"),
        ({"folds": [1.5]}, SettingsError, "folds contains 1.5: expected fold numbers"),
        ({"folds": 7}, SettingsError, "has no fold 7"),
        ({"seeds": 0}, SettingsError, "seeds is 0: expected a whole number from 1 to 20"),
        ({"seeds": "2"}, SettingsError, "seeds is '2': expected a whole number"),
        ({"epochs": 0}, SettingsError, "epochs is 0"),
        ({"jobs": 0}, SettingsError, "jobs is 0: expected a whole number of at least 1"),
        ({"device": "gpu"}, SettingsError, 'the device "gpu" is not available'),
        ({"folder": None}, SettingsError, "no folder was given for the results"),
        ({"recipes": "final2", "folder": None}, SettingsError, 'the second argument is the recipe.*folder="final2"'),
        ({"folder": ""}, SettingsError, "the folder is ''"),
        ({"dataset": "nowhere"}, DatasetError, '"nowhere"'),
        ({"dataset": 5}, SettingsError, "the data set is a int"),
        ({"subset": "esc10"}, SettingsError, "the data set is already open"),
    ],
)
def test_compare_rejects_invalid_arguments(city, tmp_path, change, error, match):
    with pytest.raises(error, match=match):
        compare(**{"dataset": city, "recipes": A, "folder": tmp_path / "run", "quiet": True, **change})
    assert not (tmp_path / "run").exists()


def test_an_unknown_keyword_is_a_type_error(city, tmp_path):
    with pytest.raises(TypeError, match="epoch"):
        compare(city, A, tmp_path, epoch=1)


def test_train_returns_a_model_and_the_same_call_loads_it(city, tmp_path):
    trained = train(str(city.root), A, tmp_path / "final", epochs=1, test_fold=3, jobs=1, quiet=True)
    assert isinstance(trained, Model)
    assert trained.card.training.test_fold == 3
    again = train(city, A, str(tmp_path / "final"), epochs=1, test_fold=3, jobs=1, quiet=True)
    assert again.bundle.graph == trained.bundle.graph
    tested = evaluate(tmp_path / "final" / "model.onnx", city, tmp_path / "tested", jobs=1, quiet=True)
    assert tested.summary.n == int((city.fold_of == 3).sum())
    assert (tmp_path / "tested" / "predictions.csv").exists()
    assert "fold 3" in repr(tested)
    assert len(repr(tested)) <= MOST_CHARACTERS
    assert tested._repr_html_().count("<tr>") == 11
    assert tested.to_dataframe()["label"].tolist() == list(city.classes)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"recipe": "notebok-mel"}, SettingsError, 'Did you mean "notebook-mel"'),
        ({"folder": None}, SettingsError, "no folder was given for the results"),
        ({"recipe": "final2", "folder": None}, SettingsError, 'the second argument is the recipe.*folder="final2"'),
        ({"test_fold": "3"}, SettingsError, "test_fold is '3'"),
        ({"test_fold": 9}, SettingsError, "has no fold 9"),
        ({"jobs": 1.5}, SettingsError, "jobs is 1.5"),
        ({"dataset": "nowhere"}, DatasetError, '"nowhere"'),
    ],
)
def test_train_rejects_invalid_arguments(city, tmp_path, change, error, match):
    with pytest.raises(error, match=match):
        train(**{"dataset": city, "recipe": A, "folder": tmp_path / "run", "quiet": True, **change})


def test_evaluate_rejects_a_model_of_the_wrong_type(city):
    with pytest.raises(SettingsError, match=r"the model is \d+: expected a path"):
        evaluate(5, city)


def test_ten_skipped_clips_are_listed_and_the_others_counted(city, caplog):
    from soundmark.datasets import Skipped

    with caplog.at_level(logging.WARNING, "soundmark"):
        warn_skipped(city, [Skipped(f"{i}.wav", "it holds no samples") for i in range(12)])
    assert caplog.messages[0] == "skipped: 0.wav: it holds no samples"
    assert caplog.messages[-1].startswith("skipped: 2 more clips")
    assert len(caplog.messages) == 11


def test_the_repr_of_each_object_is_short_and_names_it(run):
    assert run.results[0].recipe.name in repr(run)
    assert "notebook-mel − other, folds: " in repr(run)
    assert repr(run.results[0]).startswith("Result(notebook-mel, random: accuracy ")
    assert repr(run.results[0].folds[0]).startswith("FoldResult(seed 0: ")
    assert repr(run.comparisons[0]).startswith("Comparison(notebook-mel − other, random: ")
    for one in (run, run.results[0], run.results[0].folds[0], run.comparisons[0]):
        assert len(repr(one)) <= MOST_CHARACTERS


def test_a_repr_of_many_results_with_long_names_stays_short(run):
    many = tuple(replace(run.results[0], recipe=replace(A, name=f"r{i}" + "x" * 90)) for i in range(40))
    text = repr(replace(run, results=many, dataset=replace(run.dataset, name="n" * 5000)))
    assert len(text) <= MOST_CHARACTERS
    assert "more lines: see to_dataframe()" in text
    assert len(repr(many[0])) <= MOST_CHARACTERS


def test_the_html_for_jupyter_has_tables_and_escapes_names(run):
    html = replace(run, dataset=replace(run.dataset, name="<script>"))._repr_html_()
    assert html.count("<table>") == 2
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    for text in ("notebook-mel", "95 % interval", "ECE", "paired difference", "that is also in the training set"):
        assert text in html


def test_the_data_frame_has_the_scores_of_each_result(run):
    frame = run.to_dataframe()
    assert frame["recipe"].tolist() == ["notebook-mel", "other"] * 2
    assert frame["protocol"].tolist() == ["random"] * 2 + ["folds"] * 2
    for row, result in zip(frame.to_dict("records"), run.results, strict=True):
        assert row["accuracy"] == result.summary.accuracy
        assert row["interval_low"] <= row["accuracy"] <= row["interval_high"]
        assert row["leak_recording"] == result.leak.recording
        assert row["training_s"] == result.seconds["training"]
    assert {"clips", "macro_f1", "log_loss", "ece", "fold_mean", "fold_sd"} <= set(frame.columns)


def test_predictions_match_the_file(run, folder):
    for recipe, protocol in (("notebook-mel", "random"), ("other", "folds")):
        frame = run.predictions(recipe, protocol)
        with (folder / recipe / protocol / "predictions.csv").open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file))
        assert frame.columns.tolist() == header
        texts = [[*map(str, row[:5]), *(f"{p:.9g}" for p in row[5:])] for row in frame.itertuples(index=False)]
        assert texts == rows


def test_models_returns_the_paths_of_all_models(run, folder):
    assert run.models("other", "folds") == [folder / "other" / "folds" / f"fold-{k}" / "model.onnx" for k in (1, 2)]
    assert all(path.exists() for path in run.models("other"))


def test_the_default_protocol_keeps_recordings_apart(run):
    assert run.result("other").protocol == "folds"
    assert run.result(B, "random").recipe.name == "other"
    assert run.result("seed-mel").recipe.name == "notebook-mel"  # the name in an earlier version


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda run: run.plot_confusion("notebook-mell"), 'no recipe in this evaluation "notebook-mell". Did you mean'),
        (lambda run: run.plot_history(recipes=["othr"]), 'Did you mean "other"'),
        (lambda run: run.plot_reliability(5), "recipes is 5: expected a recipe name"),
        (lambda run: run.plot_history([]), "expected a recipe name"),
        (lambda run: run.predictions("other", "fold"), 'no protocol in this evaluation "fold". Did you mean "folds"'),
        (lambda run: run.plot_reliability(protocol="grouped"), 'no protocol in this evaluation "grouped"'),
        (lambda run: run.plot_history(quantity="los"), 'Did you mean "loss"'),
        (lambda run: run.save_figures("figures", "pfd"), 'no figure format "pfd". Did you mean "pdf"'),
    ],
)
def test_an_unknown_name_is_rejected_with_the_nearest_match(run, call, match):
    with pytest.raises(SettingsError, match=match):
        call(run)


def test_the_history_has_a_colour_for_each_recipe_and_dashed_training_curves(run):
    axes = run.plot_history(protocol="random")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "cross-entropy loss (nats)")
    drawn = [line for line in axes.get_lines() if len(line.get_xdata())]
    assert {line.get_color() for line in drawn} == {"#0072b2", "#d55e00"}
    assert {line.get_linestyle() for line in drawn} == {"-", "--"}
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["notebook-mel", "other", "test", "training"]
    assert run.plot_history("other", quantity="accuracy").get_ylabel() == "accuracy (%)"


def test_a_recipe_without_epochs_has_no_training_curve(run):
    results = tuple(
        replace(result, folds=tuple(replace(fold, history=()) for fold in result.folds)) for result in run.results
    )
    with pytest.raises(SettingsError, match="was not trained in epochs"):
        replace(run, results=results).plot_history()


def test_plots_are_drawn_on_given_axes(run):
    from matplotlib.figure import Figure

    axes = Figure().subplots(1, 3)
    assert run.plot_history(ax=axes[0]) is axes[0]
    assert run.plot_reliability(ax=axes[1]) is axes[1]
    assert run.plot_confusion("other", ax=axes[2]) is axes[2]


def test_the_confusion_matrix_shows_counts_and_shares_of_the_row(run, city):
    axes = run.plot_confusion("other", "random")
    assert [label.get_text() for label in axes.get_yticklabels()] == list(city.classes)
    confusion = run.result("other", "random").summary.confusion
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert len(texts) == np.count_nonzero(confusion)
    row, column = np.argwhere(confusion)[0]
    share = 100 * confusion[row, column] / confusion[row].sum()
    assert texts[column, row] == f"{confusion[row, column]}\n{share:.0f} %"


def test_the_reliability_diagram_shows_the_ece_of_each_recipe(run):
    axes = run.plot_reliability()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [f"{name}, ECE {run.result(name).summary.ece:.3f}" for name in run.recipes]


def test_multi_label_results_have_no_confusion_matrix(multi_label_run, tmp_path):
    with pytest.raises(SettingsError, match="multi-label"):
        multi_label_run.plot_confusion("other")
    assert multi_label_run.plot_reliability().get_xlabel() == "probability of a class (%)"
    assert "mean_average_precision" in multi_label_run.to_dataframe().columns
    assert "mAP" in repr(multi_label_run)
    assert len(multi_label_run.save_figures(tmp_path, "png")) == 8


@pytest.mark.parametrize(("format", "signature"), [("pdf", b"%PDF"), ("SVG", b"<?xml"), ("png", b"\x89PNG")])
def test_saved_figures_are_deterministic(run, tmp_path, format, signature):
    paths = run.save_figures(tmp_path / "a", format)
    assert len(paths) == 2 * 2 + 4 * 2  # loss and accuracy of each protocol, two of each result
    assert all(path.read_bytes().startswith(signature) for path in paths)
    again = run.save_figures(str(tmp_path / "b"), format)
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]


def test_the_report_is_written_to_a_file(run, tmp_path):
    path = run.report(str(tmp_path / "report.html"))
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(OutputError, match="already exists: choose another name"):
        run.report(path, overwrite=False)
    with pytest.raises(OutputError, match="is a folder"):
        run.report(tmp_path)
