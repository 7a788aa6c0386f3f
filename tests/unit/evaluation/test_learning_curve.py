"""Learning curves: which recordings are drawn, that none is in both parts, scores, files, resuming."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soundmark.datasets import Clip, Dataset
from soundmark.errors import DatasetError, OutputError, SettingsError
from soundmark.evaluation import curve_run
from soundmark.evaluation.curve_run import make_curve_plan, run_curve
from soundmark.evaluation.learning_curve import Measured, jackknife_covariance, measure
from soundmark.runtime import checksums
from soundmark.training.named_recipes import recipe_named
from support.comparisons import SMALL_RECIPES, with_clips

SMALL, TRANSFER = replace(SMALL_RECIPES[1], epochs=1), recipe_named("transfer")


def dataset(recordings: dict[str, int], *, folds: int = 3, clips: int = 2, multi_label: bool = False) -> Dataset:
    """Clips without files, ``clips`` from each of some recordings of each label, in turns in the folds."""
    found = [
        Clip(path=Path(f"{label}-{r}-{c}.wav"), label=label, source=f"{label}-{r}", fold=1 + r % folds)
        for label, n in recordings.items()
        for r in range(n)
        for c in range(clips)
    ]
    classes = tuple(sorted({name for label in recordings for name in label.split(";") if name}))
    return Dataset(name="pets", root=Path(), classes=classes, clips=tuple(found), multi_label=multi_label)


def test_no_recording_is_in_training_and_test_and_every_class_is_trained():
    data = dataset({"cat": 9, "dog": 30, "owl": 15})
    leaking = replace(data.clips[0], path=Path("again.wav"), fold=2)  # its recording is in fold 1 too
    data = replace(data, clips=(*data.clips, leaking))
    plan = make_curve_plan(data, TRANSFER)
    assert plan.sizes == (1, 2, 4, 8)
    jobs = list(plan.jobs())
    assert len(jobs) == plan.trainings == 3 * (4 * 10 + 1)
    for _, _, split in jobs:
        assert not set(data.sources[split.train]) & set(data.sources[split.test])
        assert data.targets[split.train].any(axis=0).all()
        recordings = set(data.sources[split.train])
        everything = np.flatnonzero(np.isin(data.sources, list(recordings)) & (data.fold_of != split.fold))
        assert set(split.train) == set(everything)  # all clips of a recording, or none


def test_classes_are_drawn_in_proportion_and_smaller_draws_are_part_of_larger_ones():
    plan = make_curve_plan(dataset({"cat": 12, "dog": 36}), TRANSFER)  # 8 and 24 training recordings
    jobs = {(size, draw, split.fold): split.train for size, draw, split in plan.jobs()}
    classes = plan.dataset.targets
    counts = [classes[jobs[size, 0, 1]].sum(axis=0).tolist() for size in (1, 2, 4, 8, None)]
    assert counts == [[2, 4], [2, 6], [4, 12], [8, 24], [16, 48]]  # clips: two from each recording
    for draw in range(plan.draws):
        for small, large in ((1, 2), (2, 4), (4, 8)):
            assert set(jobs[small, draw, 2]) <= set(jobs[large, draw, 2])
    assert len({tuple(jobs[4, draw, 1]) for draw in range(plan.draws)}) > 5


def test_draws_follow_from_the_seed():
    data = dataset({"cat": 12, "dog": 12})
    first, again, other = (
        [tuple(split.train) for _, _, split in make_curve_plan(data, replace(TRANSFER, seed=seed)).jobs()]
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_recording_with_several_labels_counts_for_the_rarest_one():
    data = dataset({"dog": 20, "dog;siren": 8, "": 8}, multi_label=True)
    for size, _, split in make_curve_plan(data, TRANSFER).jobs():
        assert data.targets[split.train].any(axis=0).all(), size


def test_unknown_recordings_are_tested_on_a_random_split_without_folds():
    data = with_clips(dataset({"cat": 12, "dog": 12}, clips=1), fold=None, source=None)
    plan = make_curve_plan(data, TRANSFER)
    assert (plan.protocol, len(plan.splits), plan.per_class) == ("random", 1, 8.0)


@pytest.mark.parametrize("draws", [0, 101, 1.5])
def test_a_number_of_draws_out_of_range_is_refused(draws):
    with pytest.raises(SettingsError, match="draws is .*: expected a whole number from 1 to 100"):
        make_curve_plan(dataset({"cat": 9, "dog": 9}), TRANSFER, draws=draws)


def test_too_few_recordings_are_refused():
    with pytest.raises(DatasetError, match="pets has 1.0 training recordings per class: .* at least 2"):
        make_curve_plan(dataset({"cat": 2, "dog": 2}, folds=3), TRANSFER)


def measured(data: Dataset, right: list[list[float]]) -> list[Measured]:
    """Probabilities of which a fraction is right, by size and draw; the last size is all."""
    rng, n = np.random.default_rng(0), len(data.classes)
    sizes = []
    for i, draws in enumerate(right):
        wrong = [rng.random(len(data.clips)) >= share for share in draws]
        answers = tuple(np.eye(n, dtype=np.float32)[(data.labels + one) % n] for one in wrong)
        size = None if i == len(right) - 1 else 2**i
        sizes.append(Measured(size=size, per_class=2.0**i, recordings=n * 2.0**i, probabilities=answers))
    return sizes


def test_scores_intervals_and_classes_are_those_of_the_clips():
    data = dataset({"cat": 30, "dog": 30, "owl": 30})
    sizes = measured(data, [[0.5, 0.55], [0.6, 0.65], [0.7, 0.65], [0.72]])
    curve = measure(data, TRANSFER, "folds", np.arange(180), sizes)
    for point, size in zip(curve.points, sizes, strict=True):
        assert point.scores == tuple(float((p.argmax(1) == data.labels).mean()) for p in size.probabilities)
        assert point.interval.low < point.score < point.interval.high
    assert curve.extrapolation is not None
    assert curve.extrapolation.interval.low < curve.extrapolation.score < 1
    assert {one.label for one in curve.classes} == {"cat", "dog", "owl"}
    gains = [one.extrapolation.curve_gain for one in curve.classes if one.extrapolation]
    assert gains == sorted(gains, reverse=True)
    assert curve.rows()[-1][:3] == ["all", "24", "1"]
    assert curve.sentences()[0].startswith("Twice as many recordings: accuracy +")
    assert curve.sentences()[1].startswith(f"The class {curve.classes[0].label} (30 recordings) would gain most: F1 +")


def test_a_score_that_cannot_grow_is_not_reported_as_a_loss():
    data = dataset({"cat": 30, "dog": 30, "owl": 30})
    curve = measure(data, TRANSFER, "folds", np.arange(180), measured(data, [[0.9, 0.95], [0.99, 0.98], [1, 1], [1]]))
    assert curve.extrapolation is not None
    assert curve.extrapolation.gain < 0
    assert curve.sentences()[0].startswith("Twice as many recordings: accuracy about as now, 9")


def test_two_sizes_or_one_draw_give_no_extrapolation():
    data = dataset({"cat": 10, "dog": 10})
    for right in ([[0.5, 0.6], [0.8]], [[0.5], [0.7], [0.8]]):
        curve = measure(data, TRANSFER, "folds", np.arange(40), measured(data, right))
        assert curve.extrapolation is None
        assert "cannot be extrapolated" in curve.sentences()[0]
        json.dumps(curve.to_json(), allow_nan=False)


def test_multi_label_curves_have_map_and_average_precision():
    data = dataset({"dog": 12, "dog;siren": 12, "": 12}, multi_label=True)
    perfect = data.targets.astype(np.float32)
    noisy = perfect + np.random.default_rng(0).normal(0, 0.8, perfect.shape).astype(np.float32)
    sizes = [
        Measured(size=1, per_class=1.0, recordings=2, probabilities=(noisy, noisy[::-1])),
        Measured(size=None, per_class=2.0, recordings=4, probabilities=(perfect,)),
    ]
    curve = measure(data, TRANSFER, "folds", np.arange(72), sizes)
    assert curve.points[-1].score == 1.0
    assert curve.points[0].score < 0.9
    assert "mAP % [95 %]" in curve.header
    assert curve.class_header[2] == "AP %"


def test_the_covariance_of_means_without_each_group_is_that_of_a_mean():
    values = np.random.default_rng(0).normal(0, 1, (30, 2))
    left_out = np.array([np.delete(values, i, axis=0).mean(axis=0) for i in range(30)])
    np.testing.assert_allclose(jackknife_covariance(left_out), np.cov(values.T) / 30, rtol=1e-9)


def test_the_figure_names_its_axes_and_units_on_a_logarithmic_axis():
    data = dataset({"cat": 30, "dog": 30})
    curve = measure(data, TRANSFER, "folds", np.arange(120), measured(data, [[0.5, 0.6], [0.7, 0.8], [0.9]]))
    axes = curve.plot()
    assert "recordings per class" in axes.get_xlabel()
    assert axes.get_ylabel() == "accuracy on held-out recordings (%)"
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "4", "8"]
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["measured, 95 % interval", "extrapolated, 80 % interval"]


@pytest.fixture(scope="module")
def network_curve(city, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("curve") / "out"
    run_curve(make_curve_plan(city, SMALL, draws=1), folder)
    return folder


def test_a_finished_curve_is_read_again_without_training(city, network_curve, monkeypatch):
    before = (network_curve / "curve.json").read_bytes()
    monkeypatch.setattr(curve_run, "train_unit", None)  # training would fail
    run_curve(make_curve_plan(city, SMALL, draws=1), network_curve)
    after = json.loads((network_curve / "curve.json").read_bytes())
    assert {**json.loads(before), "seconds": 0, "sha256": 0} == {**after, "seconds": 0, "sha256": 0}
    assert checksums.verified(after)["points"][-1]["recordings"] == 20.0
    assert (network_curve / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_another_recipe_is_refused_and_fresh_starts_over(city, network_curve):
    other = replace(SMALL, epochs=2)
    with pytest.raises(OutputError, match="contains the learning curve of another recipe or of other data"):
        run_curve(make_curve_plan(city, other, draws=1), network_curve)
    notes = network_curve / "notes.txt"
    notes.write_text("mine")
    run_curve(make_curve_plan(city, other, draws=1), network_curve, fresh=True)
    assert notes.read_text() == "mine"
    found = json.loads((network_curve / "curve.json").read_bytes())
    assert found["recipe"]["epochs"] == 2


def test_a_damaged_result_is_computed_again(city, network_curve, caplog):
    path = network_curve / "curve.json"
    found = json.loads(path.read_bytes())
    path.write_text(json.dumps({**found, "protocol": "random"}))
    recipe = replace(SMALL, epochs=found["recipe"]["epochs"])
    with caplog.at_level(logging.WARNING, "soundmark"):
        run_curve(make_curve_plan(city, recipe, draws=1), network_curve)
    assert "was damaged or changed after it was written: it is recomputed" in caplog.text
    assert json.loads(path.read_bytes())["protocol"] == "folds"


def test_all_recordings_give_the_accuracy_of_a_comparison(city, mn04_weights, tmp_path):
    """Heads without calibration answer like those of ``compare``; the same call gives the same curve."""
    from soundmark.evaluation.comparison import compare

    first, again = (run_curve(make_curve_plan(city, TRANSFER, draws=2), tmp_path / "curve") for _ in range(2))
    run = compare(city, "transfer", tmp_path / "run", protocols="folds", quiet=True)
    assert first.points[-1].score == pytest.approx(run.results[0].summary.headline.value)
    assert replace(first, seconds=0) == replace(again, seconds=0)
