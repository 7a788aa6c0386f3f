"""Everything that differs between single-label and multi-label data, through one interface."""

import numpy as np
import pytest

from soundmark.errors import SettingsError
from soundmark.metrics import multi_label, single_label
from soundmark.metrics.task import TASKS, Task

LOGITS = np.array([[2.0, -1.0, 0.5], [-800.0, 0.0, 800.0], [0.1, 0.2, 0.3]])
P = np.array([[0.7, 0.2, 0.6], [0.1, 0.8, 0.9], [0.4, 0.3, 0.2]])
LABELS = np.array([0, 1, 0])
TARGETS = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]], np.float32)


def test_the_two_tasks_are_found_by_data_activation_and_truth():
    assert Task.of(multi_label=False) is Task.named("softmax") is Task.of_truth(LABELS) is TASKS["single-label"]
    assert Task.of(multi_label=True) is Task.named("sigmoid") is Task.of_truth(TARGETS) is TASKS["multi-label"]
    assert Task.of_scores({"mean_average_precision": 0.5}).figure == "mAP"
    assert Task.of_scores({}).figure == "accuracy"
    with pytest.raises(SettingsError, match=r'no activation "relu"\. Known: softmax, sigmoid\.'):
        Task.named("relu")


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_undoing_a_temperature_gives_the_probabilities_without_it(task: Task):
    logits = LOGITS[[0, 2]]
    undone = task.undo_temperature(task.probabilities(logits, 2.5), 2.5)
    np.testing.assert_allclose(undone, task.probabilities(logits), rtol=1e-6)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_log_odds_are_those_of_the_probabilities_and_finite_where_these_are_rounded(task: Task):
    p = task.probabilities(LOGITS[[0, 2]])[:, 1]
    np.testing.assert_allclose(task.log_odds(LOGITS[[0, 2]], 1), np.log(p / (1 - p)))
    assert np.isfinite(task.log_odds(LOGITS, 2)).all()


def test_a_softmax_sums_to_one_and_a_sigmoid_need_not():
    np.testing.assert_allclose(Task.named("softmax").probabilities(LOGITS).sum(1), 1)
    np.testing.assert_allclose(Task.named("sigmoid").probabilities(LOGITS)[1], [0, 0.5, 1], atol=1e-12)


def test_cross_entropy_is_the_log_loss_of_the_probabilities():
    one, many = Task.named("softmax"), Task.named("sigmoid")
    logits = LOGITS[[0, 2, 0]]
    assert one.cross_entropy(logits, np.eye(3)[LABELS]) == pytest.approx(
        single_label.log_loss(LABELS, one.probabilities(logits))
    )
    assert many.cross_entropy(logits, TARGETS) / 3 == pytest.approx(
        multi_label.log_loss(TARGETS, many.probabilities(logits))
    )


def test_mistakes_are_the_wrong_answers():
    one = Task.named("softmax").mistakes(LABELS, P)
    assert (one.rows.tolist(), one.predicted.tolist(), one.probabilities.tolist()) == ([1], [2], [0.9])
    many = Task.named("sigmoid").mistakes(TARGETS, P, [0.5, 0.5, 0.5])
    assert (many.rows.tolist(), many.predicted.tolist(), many.probabilities.tolist()) == ([1], [2], [0.9])


def test_labels_figures_chance_and_thresholds():
    one, many = TASKS.values()
    assert one.predicted(P, "abc") == ["a", "c", "a"]
    assert many.predicted(P, "abc") == ["a;c", "b;c", ""]
    assert one.headline(LABELS, P) == pytest.approx(2 / 3)
    assert many.headline(TARGETS, P) == multi_label.mean_average_precision(TARGETS, P)
    assert one.chance(LABELS) == pytest.approx(2 / 3)
    assert many.chance(TARGETS) == pytest.approx(1 / 3)
    assert one.thresholds(None, 3) is None
    assert many.thresholds(None, 3).tolist() == [0.5, 0.5, 0.5]
    assert many.thresholds((0.25, 0.5, 1.0), 3).tolist() == [0.25, 0.5, 1.0]
    assert np.isnan(many.mcnemar_p(TARGETS, P, P))
    assert one.mcnemar_p(LABELS, P, P) == 1.0


def test_the_summaries_have_one_interface():
    one = single_label.summarize(LABELS, P, classes="abc", sources=["x", "y", "z"])
    many = multi_label.summarize(TARGETS, P, classes="abc", sources=["x", "y", "z"])
    assert (one.second_figure.name, many.second_figure.name) == ("Top 2", "Micro F1")
    assert one.class_columns == ()
    values = [[column.value(scores) for column in many.class_columns] for scores in many.class_figures]
    assert values[0] == [many.per_class[0].average_precision, 0.5]
    assert one.confusion_matrix is one.confusion
    assert many.confusion_matrix is None
    assert (one.per_clip(3).n, many.per_clip(3).n) == (1, 1)
