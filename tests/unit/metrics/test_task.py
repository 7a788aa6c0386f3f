"""``Task``: the common interface of single-label and multi-label data."""

import numpy as np
import pytest

from soundmark.errors import SettingsError
from soundmark.metrics import multi_label, single_label
from soundmark.metrics.task import TASKS, Task

LOGITS = np.array([[2.0, -1.0, 0.5], [-800.0, 0.0, 800.0], [0.1, 0.2, 0.3]])
P = np.array([[0.7, 0.2, 0.6], [0.1, 0.8, 0.9], [0.4, 0.3, 0.2]])
LABELS = np.array([0, 1, 0])
TARGETS = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]], np.float32)


def test_a_task_is_selected_by_data_activation_labels_or_scores():
    assert Task.of(multi_label=False) is Task.named("softmax") is Task.of_truth(LABELS) is TASKS["single-label"]
    assert Task.of(multi_label=True) is Task.named("sigmoid") is Task.of_truth(TARGETS) is TASKS["multi-label"]
    assert Task.of_scores({"mean_average_precision": 0.5}).figure == "mAP"
    assert Task.of_scores({}).figure == "accuracy"
    with pytest.raises(SettingsError, match=r'no activation "relu"\. Known: softmax, sigmoid\.'):
        Task.named("relu")


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_undo_temperature_returns_the_probabilities_without_temperature(task: Task):
    logits = LOGITS[[0, 2]]
    without = task.undo_temperature(task.probabilities(logits, 2.5), 2.5)
    np.testing.assert_allclose(without, task.probabilities(logits), rtol=1e-6)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_log_odds_match_the_probabilities_and_are_finite_for_extreme_logits(task: Task):
    p = task.probabilities(LOGITS[[0, 2]])[:, 1]
    np.testing.assert_allclose(task.log_odds(LOGITS[[0, 2]], 1), np.log(p / (1 - p)))
    assert np.isfinite(task.log_odds(LOGITS, 2)).all()


def test_softmax_probabilities_sum_to_one_and_sigmoid_probabilities_need_not():
    np.testing.assert_allclose(Task.named("softmax").probabilities(LOGITS).sum(1), 1)
    np.testing.assert_allclose(Task.named("sigmoid").probabilities(LOGITS)[1], [0, 0.5, 1], atol=1e-12)


def test_cross_entropy_is_the_log_loss_of_the_probabilities():
    single, multi = Task.named("softmax"), Task.named("sigmoid")
    logits = LOGITS[[0, 2, 0]]
    assert single.cross_entropy(logits, np.eye(3)[LABELS]) == pytest.approx(
        single_label.log_loss(LABELS, single.probabilities(logits))
    )
    assert multi.cross_entropy(logits, TARGETS) / 3 == pytest.approx(
        multi_label.log_loss(TARGETS, multi.probabilities(logits))
    )


def test_mistakes_are_the_misclassified_clips():
    single = Task.named("softmax").mistakes(LABELS, P)
    assert (single.rows.tolist(), single.predicted.tolist(), single.probabilities.tolist()) == ([1], [2], [0.9])
    multi = Task.named("sigmoid").mistakes(TARGETS, P, [0.5, 0.5, 0.5])
    assert (multi.rows.tolist(), multi.predicted.tolist(), multi.probabilities.tolist()) == ([1], [2], [0.9])


def test_predicted_labels_main_metric_chance_level_and_thresholds():
    single, multi = TASKS.values()
    assert single.predicted(P, "abc") == ["a", "c", "a"]
    assert multi.predicted(P, "abc") == ["a;c", "b;c", ""]
    assert single.headline(LABELS, P) == pytest.approx(2 / 3)
    assert multi.headline(TARGETS, P) == multi_label.mean_average_precision(TARGETS, P)
    assert single.chance(LABELS) == pytest.approx(2 / 3)
    assert multi.chance(TARGETS) == pytest.approx(1 / 3)
    assert single.thresholds(None, 3) is None
    assert multi.thresholds(None, 3).tolist() == [0.5, 0.5, 0.5]
    assert multi.thresholds((0.25, 0.5, 1.0), 3).tolist() == [0.25, 0.5, 1.0]
    assert np.isnan(multi.mcnemar_p(TARGETS, P, P))
    assert single.mcnemar_p(LABELS, P, P) == 1.0


def test_summaries_have_a_common_interface():
    single = single_label.summarize(LABELS, P, classes="abc", sources=["x", "y", "z"])
    multi = multi_label.summarize(TARGETS, P, classes="abc", sources=["x", "y", "z"])
    assert (single.second_figure.name, multi.second_figure.name) == ("Top 2", "Micro F1")
    assert single.class_columns == ()
    values = [[column.value(scores) for column in multi.class_columns] for scores in multi.class_figures]
    assert values[0] == [multi.per_class[0].average_precision, 0.5]
    assert single.confusion_matrix is single.confusion
    assert multi.confusion_matrix is None
    assert (single.per_clip(3).n, multi.per_clip(3).n) == (1, 1)
