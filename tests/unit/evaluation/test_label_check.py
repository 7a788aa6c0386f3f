"""The label check: ranking by log odds, several labels, wrong labels that are found, the table and the page."""

import csv
import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soundmark.datasets import Clip, Dataset
from soundmark.errors import DatasetError, SettingsError
from soundmark.evaluation.label_check import LabelCheck, check_labels, find_suspects, rank_labels
from soundmark.training.named_recipes import recipe_named
from support.comparisons import with_clips

TRANSFER = recipe_named("transfer")


def clip(name: str, label: str, source: str) -> Clip:
    return Clip(path=Path(f"{name}.wav"), label=label, source=source)


def pets(*clips: Clip, multi_label: bool = False) -> Dataset:
    classes = ("cat", "dog", "owl")
    return Dataset(name="pets", root=Path(), classes=classes, clips=clips, multi_label=multi_label)


def test_recordings_are_ranked_by_the_mean_log_odds_of_their_clips():
    data = pets(clip("a", "cat", "1"), clip("b", "cat", "1"), clip("c", "dog", "2"), clip("d", "owl", "2"))
    p = np.array([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.5, 0.3], [0.98, 0.01, 0.01]])
    found = rank_labels(data, np.arange(4), p)
    assert [(one.recording, one.label, one.predicted, one.clips) for one in found] == [
        ("2", "owl", "cat", (3,)),  # its recording has another label too
        ("1", "cat", "dog", (1, 0)),
        ("2", "dog", "owl", (2,)),
    ]
    assert found[0].log_odds == pytest.approx(math.log(0.01 / 0.98))
    assert found[1].log_odds == pytest.approx((math.log(0.6 / 0.3) + math.log(0.1 / 0.8)) / 2)
    assert [one.is_contradicted for one in found] == [True, True, False]


def test_in_multi_label_data_a_label_is_missing_or_too_much():
    data = pets(clip("a", "cat;dog", "1"), clip("b", "", "2"), clip("c", "owl", "3"), multi_label=True)
    p = np.array([[0.9, 0.2, 0.1], [0.1, 0.1, 0.95], [0.1, 0.1, 0.9]])
    found = rank_labels(data, np.arange(3), p)
    assert [(one.label, one.predicted) for one in found] == [("", "owl"), ("cat;dog", "no dog"), ("owl", "cat")]
    assert found[0].log_odds == pytest.approx(math.log(0.05 / 0.95))
    assert found[1].log_odds == pytest.approx(math.log(0.2 / 0.8))


def test_certain_predictions_have_finite_log_odds():
    data = pets(clip("a", "cat", "1"), clip("b", "cat", "2"))
    found = rank_labels(data, np.arange(2), np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    assert all(math.isfinite(one.log_odds) for one in found)


@pytest.fixture(scope="module")
def relabelled(sibling_city) -> Dataset:
    """The clips of one recording of dogs are labelled as sirens."""
    source = next(one.source for one in sibling_city.clips if one.label == "dog_bark")
    clips = (replace(one, label="siren") if one.source == source else one for one in sibling_city.clips)
    return replace(sibling_city, clips=tuple(clips))


def test_a_wrong_label_is_among_the_first_because_its_recording_was_not_trained(relabelled, mn04_weights):
    """It is one of the three recordings of dogs, so the two others are contradicted too."""
    found = find_suspects(relabelled, TRANSFER, jobs=1)
    first = next(one for one in found.suspects[:5] if one.recording == "4000")
    assert (first.label, first.predicted, len(first.clips), first.is_contradicted) == ("siren", "dog_bark", 3, True)
    again = check_labels(relabelled, "transfer", jobs=1, quiet=True)
    assert again.suspects == found.suspects
    assert sum(len(one.clips) for one in found.suspects) == len(relabelled.clips)


def test_the_page_plays_the_first_recordings_and_escapes_names(city, tmp_path):
    data = with_clips(city, source=None)
    data = replace(data, clips=(*data.clips[:30], replace(data.clips[30], path=Path("<b>gone.wav")), *data.clips[31:]))
    p = np.eye(10)[data.labels] * 0.9 + 0.01
    p[30] = np.eye(10)[(data.labels[30] + 1) % 10]
    check = LabelCheck(dataset=data, recipe=TRANSFER, suspects=rank_labels(data, np.arange(60), p), skipped=())
    assert check.listed == 5
    page = check.save(tmp_path / "labels.html").read_text(encoding="utf-8")
    assert page.count("<article") == 5
    assert page.count("<audio") == 4
    assert "This clip could not be read again." in page
    assert "&lt;b&gt;gone.wav" in page
    assert "<b>gone" not in page
    assert "<script" not in page
    assert "http://" not in page
    rows = list(csv.reader(io.StringIO(check.save(tmp_path / "labels.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 61
    assert rows[1][0].endswith("/<b>gone.wav")
    assert len(repr(check).splitlines()) == 7
    assert len(check.to_dataframe()) == 60


def test_only_recipes_with_a_backbone_and_known_suffixes(city, tmp_path):
    with pytest.raises(SettingsError, match="the recipe scratch cannot check labels: .* such as transfer"):
        check_labels(city, "scratch")
    check = LabelCheck(dataset=city, recipe=TRANSFER, suspects=(), skipped=())
    with pytest.raises(SettingsError, match=r'"labels.png" is neither a table nor a page: .* .csv or .html'):
        check.save(tmp_path / "labels.png")


def test_a_single_recording_cannot_be_checked(city, mn04_weights):
    two = [int(np.flatnonzero(city.labels == label)[0]) for label in (0, 3)]
    with pytest.raises(DatasetError, match="has too few recordings to check labels: at least 2"):
        find_suspects(with_clips(city.select(two), source="one"), TRANSFER, jobs=1)
