"""The terms for single-label and multi-label results in tables and in the report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TaskWords:
    """Headings and sentences that differ between single-label and multi-label data."""

    figure_title: str  # column heading of the headline figure
    figure_name: str  # the headline figure spelled out, at the beginning of a sentence
    chance: str  # the classifier whose score is the chance level
    leakage: str  # with {recording}, {same_class} and {lookup}, percentages of the test clips
    probability: str  # x axis of a reliability diagram
    share: str  # y axis of a reliability diagram
    p_value: str  # column heading of the p-value
    without_confusion: str = ""  # why there is no confusion matrix
    paired_note: str  # below the table of paired differences, with {unit}
    paired_note_one_seed: str
    paired_note_seeds: str  # with {seeds}


_LEAKAGE = (
    "{{recording}} of the test clips come from a recording that is also in the training set ({{same_class}} with "
    "{match}). A lookup of the recording, without its sound, {result}."
)


_ANOTHER_SEED = ". They do not include the variation between training seeds."


SINGLE_LABEL = TaskWords(
    figure_title="Accuracy",
    figure_name="Accuracy",
    chance="always predicting the most frequent class",
    leakage=_LEAKAGE.format(match="the same class", result="reaches an accuracy of {lookup}"),
    probability="confidence",
    share="accuracy",
    p_value="Sign-flip p",
    paired_note="* McNemar’s test assumes independent clips. Clips from the same recording are not, so its p-value "
    "is too small; it is listed because papers report it. Interval and sign-flip test are computed over {unit}",
    paired_note_one_seed=_ANOTHER_SEED,
    paired_note_seeds=" and compare means over {seeds} seeds; McNemar’s test uses the first seed only.",
)


MULTI_LABEL = TaskWords(
    figure_title="mAP",
    figure_name="Mean average precision (mAP)",
    chance="random scores",
    leakage=_LEAKAGE.format(match="one of their labels", result="predicts all labels of {lookup} of them correctly"),
    probability="probability of a class",
    share="share of clips with the class",
    p_value="Permutation p",
    without_confusion="Not available for multi-label data: a clip can have several classes.",
    paired_note="Differences of mAP; interval and p-value are computed over {unit}. McNemar’s test does not apply to "
    "multi-label data",
    paired_note_one_seed=_ANOTHER_SEED,
    paired_note_seeds=_ANOTHER_SEED,
)
