"""comparison with several seeds: folders, scores over seeds, paired differences, resuming."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from soundmark.cli import tables
from soundmark.evaluation import comparison, report
from soundmark.evaluation.plan import describe_cost, make_plan
from soundmark.metrics import intervals, significance
from soundmark.models import bundle
from soundmark.runtime.output_folder import MANIFEST
from support.comparisons import SMALL_RECIPES, UNIT_FILES, find_result, read_metrics, read_table
from support.reports import without_data

pytestmark = pytest.mark.slow


def read_correct(folder: Path, recipe: str, protocol: str) -> tuple[list[list[bool]], list[str]]:
    """Return whether each prediction is correct, a list for each seed, and the recordings of the clips."""
    rows = [read_table(folder / recipe / protocol / f"seed-{seed}" / "predictions.csv") for seed in (0, 1)]
    assert [row["path"] for row in rows[0]] == [row["path"] for row in rows[1]]
    return [[row["label"] == row["predicted"] for row in one] for one in rows], [row["source"] for row in rows[0]]


def test_each_seed_has_a_folder_under_the_protocol(seeded_run, comparison_run):
    for recipe in ("notebook-image", "notebook-mel"):
        for seed in ("seed-0", "seed-1"):
            assert {path.name for path in (seeded_run / recipe / "random" / seed).iterdir()} == UNIT_FILES
            names = {path.name for path in (seeded_run / recipe / "folds" / seed).iterdir()}
            assert names == {"fold-1", "fold-2", "predictions.csv"}
            assert {path.name for path in (seeded_run / recipe / "folds" / seed / "fold-1").iterdir()} == UNIT_FILES
        assert {path.name for path in (seeded_run / recipe / "folds").iterdir()} == {"seed-0", "seed-1"}
        for single, first in (("random", "random/seed-0"), ("folds/fold-2", "folds/seed-0/fold-2")):
            one_seed, first_seed = comparison_run / recipe / single, seeded_run / recipe / first
            assert (one_seed / "predictions.csv").read_bytes() == (first_seed / "predictions.csv").read_bytes()
        random = seeded_run / recipe / "random"
        predictions = [(random / seed / "predictions.csv").read_bytes() for seed in ("seed-0", "seed-1")]
        assert predictions[0] != predictions[1]
        assert bundle.read_bundle(seeded_run / recipe / "random/seed-1/model.onnx").card.recipe["seed"] == 1


@pytest.mark.parametrize("protocol", ["random", "folds"])
@pytest.mark.parametrize("recipe", ["notebook-image", "notebook-mel"])
def test_scores_are_over_clips_and_seeds(seeded_run, sibling_city, recipe, protocol):
    result = find_result(read_metrics(seeded_run), recipe, protocol)
    (first, second), sources = read_correct(seeded_run, recipe, protocol)
    each = [np.mean(first), np.mean(second)]
    assert result["n_test"] == len(first)
    assert (result["accuracy"], result["seed_mean"]) == pytest.approx((np.mean(each), np.mean(each)))
    assert result["seeds"] == [{"seed": 0, "accuracy": each[0]}, {"seed": 1, "accuracy": each[1]}]
    assert result["seed_sd"] == pytest.approx(abs(each[0] - each[1]) / np.sqrt(2))
    assert np.sum(result["confusion"]) == 2 * len(first)
    assert sum(one["support"] for one in result["per_class"]) == len(first)
    assert sum(one["n"] for one in result["per_salience"].values()) == len(first)
    interval = intervals.score_interval(np.concatenate([first, second]), np.tile(sources, 2))
    assert result["accuracy_interval"] == pytest.approx([interval.low, interval.high])


def test_fold_scores_are_means_over_seeds(seeded_run):
    result = find_result(read_metrics(seeded_run), "notebook-mel", "folds")
    assert [(fold["seed"], fold["fold"]) for fold in result["folds"]] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    a, b, c, d = (fold["accuracy"] for fold in result["folds"])
    assert result["fold_mean"] == pytest.approx((a + b + c + d) / 4)
    assert result["fold_sd"] == pytest.approx(abs((a + c) / 2 - (b + d) / 2) / np.sqrt(2))
    single = find_result(read_metrics(seeded_run), "notebook-mel", "random")
    assert single["fold_sd"] is None


def test_recipes_are_paired_by_seed_and_mcnemar_counts_each_clip_once(seeded_run):
    found = next(c for c in read_metrics(seeded_run)["comparisons"] if c["protocol"] == "folds")
    (image, image_again), sources = read_correct(seeded_run, "notebook-image", "folds")
    (mel, mel_again), _ = read_correct(seeded_run, "notebook-mel", "folds")
    gain = np.mean([image, image_again], axis=0) - np.mean([mel, mel_again], axis=0)
    assert found["difference"] == pytest.approx(np.mean(gain))
    both = np.concatenate([np.asarray(a, float) - b for a, b in ((image, mel), (image_again, mel_again))])
    interval = intervals.difference_interval(both, np.tile(sources, 2))
    assert found["interval"] == pytest.approx([interval.low, interval.high])
    assert found["p"] == pytest.approx(significance.sign_flip_p(gain, sources, seed=0))
    assert found["mcnemar_p"] == pytest.approx(significance.mcnemar_p(image, mel))
    assert found["clips"] == len(image)


def test_one_seed_has_no_standard_deviation(comparison_run):
    for result in read_metrics(comparison_run)["results"]:
        assert result["seeds"] == [{"seed": 0, "accuracy": result["accuracy"]}]
        assert result["seed_mean"] == result["accuracy"]
        assert result["seed_sd"] is None


def test_a_run_with_several_seeds_resumes(seeded_run, sibling_city, tmp_path):
    folder = shutil.copytree(seeded_run, tmp_path / "run")
    lost = folder / "notebook-mel" / "folds" / "seed-1" / "fold-2"
    (lost / "model.onnx").unlink()
    (folder / "notebook-mel" / "random" / "seed-0" / ".model.onnx.4711.part").write_bytes(b"half")
    with (folder / MANIFEST).open("a") as file:  # a kill while the file was written
        file.write('{"pending": "notebook-mel/random/seed-0/model.onnx"}\n')
    plan = make_plan(sibling_city, SMALL_RECIPES, folds=[1, 2], seeds=2)
    expected = "12 trainings (random × 1, folds × 2, for each recipe and each of 2 seeds), 11 already finished"
    assert expected in describe_cost(plan, folder)
    trained = comparison.run_plan(plan, folder)
    assert read_metrics(folder) == read_metrics(seeded_run)
    assert [fold.seed for fold in trained.results[0].folds] == [0, 1]
    unit = "notebook-mel/folds/seed-1/fold-2/predictions.csv"
    assert (folder / unit).read_bytes() == (seeded_run / unit).read_bytes()
    assert list(folder.rglob("*.part")) == []


def test_trainings_of_other_seeds_are_listed_and_fresh_removes_them(seeded_run, sibling_city, tmp_path, caplog):
    folder = shutil.copytree(seeded_run, tmp_path / "run")
    one_seed = make_plan(sibling_city, SMALL_RECIPES[1:], protocols=["random"])
    comparison.run_plan(one_seed, folder)
    (warning,) = [message for message in caplog.messages if "not part of this comparison" in message]
    assert "notebook-mel/folds/seed-1/fold-2" in warning
    assert "notebook-mel/random/seed-0," in warning
    assert not warning.endswith("notebook-mel/random")
    comparison.run_plan(one_seed, folder, fresh=True)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.is_file()}
    assert files - {".lock", MANIFEST} == {"metrics.json", *(f"notebook-mel/random/{name}" for name in UNIT_FILES)}


def test_the_report_and_the_table_show_the_standard_deviation_over_seeds(sibling_city, seeded_run, capsys):
    found = comparison.run_plan(make_plan(sibling_city, SMALL_RECIPES, folds=[1, 2], seeds=2), seeded_run)
    page = report.render(found)
    result = find_result(read_metrics(seeded_run), "notebook-mel", "folds")
    mean, spread = f"{100 * result['seed_mean']:.1f}", f"± {100 * result['seed_sd']:.1f}"
    assert f"<strong>{mean} %</strong>" in page
    assert f"<td>{spread}</td>" in page
    assert "Counts over 2 seeds: each clip is counted 2 times." in page
    assert page.count("Scores by fold, mean of 2 seeds") == 1
    folds = [fold["accuracy"] for fold in result["folds"]]
    assert f"<td>{50 * (folds[1] + folds[3]):.1f} %</td></tr>" in page
    assert not re.search(r"\bnan\b", without_data(page), re.IGNORECASE)
    tables.show_evaluation(found)
    table = " ".join(capsys.readouterr().out.split())
    each = ", ".join(f"{seed['seed']} ({100 * seed['accuracy']:.1f})" for seed in result["seeds"])
    assert f"notebook-mel, folds: {mean} {spread} %, mean ± SD over the seeds {each}" in table
