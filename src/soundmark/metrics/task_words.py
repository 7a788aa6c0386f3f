"""The words in which tables and the report speak of single-label and multi-label results."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TaskWords:
    """Headings and sentences that differ between single-label and multi-label data."""

    figure_title: str  # heading of the column of headline figures
    headline: str  # what a headline figure is, as the beginning of a sentence
    headlines: str  # several of them, as the beginning of a sentence
    figures: str  # several of them, within a sentence
    chance: str  # what a score without any knowledge stands for
    looked_up: str  # knowing the recording alone would {looked_up} 80 %
    leakage: str  # with {recording}, {alike} and {looked_up}, shares of the test clips in words
    probability: str  # axis of a reliability diagram
    share: str  # the other axis
    p_value: str  # heading of the column of p-values
    without_confusion: str = ""  # why there is no confusion matrix
    paired_note: str  # below the table of paired differences, with {unit}
    paired_note_one_seed: str
    paired_note_seeds: str  # with {seeds}


_LEAKAGE = (
    "{{recording}} of the test clips come from a recording that is also trained on ({{alike}} with {match}). Looking "
    "the recording up, without hearing anything, would {result}."
)


_ANOTHER_SEED = ". None of them knows how much another training seed would change."


SINGLE_LABEL = TaskWords(
    figure_title="Accuracy",
    headline="Right answers",
    headlines="Accuracies",
    figures="accuracies",
    chance="always naming the commonest class",
    looked_up="score",
    leakage=_LEAKAGE.format(match="the same class", result="be right on {looked_up}"),
    probability="top probability",
    share="share that is right",
    p_value="Sign-flip p",
    paired_note="* McNemar’s test counts clips as if they were independent. Clips of one recording are not, so it is "
    "too sure of itself; it stands here because papers report it. Interval and sign-flip test count {unit}",
    paired_note_one_seed=_ANOTHER_SEED,
    paired_note_seeds=" and compare means of {seeds} seeds; McNemar’s test looks at the first seed’s answers alone.",
)


MULTI_LABEL = TaskWords(
    figure_title="mAP",
    headline="Mean average precision",
    headlines="Mean average precisions (mAP)",
    figures="mAPs",
    chance="no knowledge at all",
    looked_up="name all labels right of",
    leakage=_LEAKAGE.format(match="one of their labels", result="name all labels of {looked_up} right"),
    probability="probability of a class",
    share="share that is there",
    p_value="Bootstrap p",
    without_confusion="There is none: a clip has any number of classes, and each is found or not by itself.",
    paired_note="Differences of mAP; interval and p count {unit}. McNemar’s test does not apply: no clip is simply "
    "right or wrong",
    paired_note_one_seed=_ANOTHER_SEED,
    paired_note_seeds=_ANOTHER_SEED,
)
