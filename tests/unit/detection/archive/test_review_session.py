"""Reviews that are kept: decisions on disk, undo, several reviewers, the order of the windows."""

from pathlib import Path

import numpy as np
import pytest

import soundmark as sm
from soundmark.detection.archive import review
from soundmark.detection.archive.corrections import Corrections
from soundmark.detection.archive.review_session import Decision, Review
from soundmark.errors import AudioError, SettingsError
from support.archives import tone_archive


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> sm.Index:
    """Ten recordings of 6 s, windows of 1 s."""
    return sm.Index.open(tone_archive(tmp_path_factory.mktemp("archive"), n=10))


@pytest.fixture
def corrections(tmp_path: Path) -> Corrections:
    return Corrections(tmp_path / "corrections")


def truth(index: sm.Index) -> np.ndarray:
    return index.scores("low") > 0.6


def decide(session: Review, n: int, contains: np.ndarray) -> list[int]:
    """Decide ``n`` windows, in the order in which they are asked for; return their numbers."""
    numbers = []
    for _ in range(n):
        number = session.upcoming()[0]
        session.decide(number, "yes" if contains[number] else "no")
        numbers.append(number)
    return numbers


def test_a_review_goes_on_from_the_decisions_on_disk(index, corrections):
    first = index.review("low", corrections=corrections)
    contains = truth(index)
    numbers = decide(first, 13, contains)
    assert len(set(numbers)) == 13
    upcoming, curve = first.upcoming(), first.curve
    again = index.review("low", corrections=corrections.folder)
    assert again.upcoming() == upcoming
    assert [(each.number, each.contains) for each in again.decisions] == [(n, contains[n]) for n in numbers]
    np.testing.assert_array_equal(again.curve.low, curve.low)
    assert index.review("high", corrections=corrections).decisions == []
    labelled = {clip.label for clip in sm.Dataset.open(corrections.folder).clips}
    assert labelled == {"low"}
    assert len(sm.Dataset.open(corrections.folder).clips) == contains[numbers].sum()


def test_the_windows_are_those_of_the_statistics(index):
    """The first ten evenly over the score, then five at a time; a skipped one leaves the others in place."""
    session, contains, scores = index.review("low", seed=3), truth(index), index.scores("low")
    evenly = review.sample(scores, review.EVENLY, seed=3).tolist()
    assert session.upcoming() == evenly
    session.decide(evenly[0], "skip")
    assert session.upcoming() == evenly[1:]
    session.decide(evenly[0], "yes")
    for number in evenly[1:]:
        session.decide(number, "yes" if contains[number] else "no")
    answers = np.array([True, *contains[evenly[1:]]])
    five = review.next_windows(scores, np.array(evenly), answers, 5, seed=3).tolist()
    assert session.upcoming() == five
    session.decide(five[1], "skip")
    assert session.upcoming() == [five[0], *five[2:]]
    decide(session, 4, contains)
    assert not set(session.upcoming()) & {*evenly, *five}
    assert len(session.upcoming()) == 5


def test_all_windows_are_asked_for_once_and_then_none(index, corrections):
    session = index.review("low", corrections=corrections)
    session.decide(session.upcoming()[3], "skip")
    numbers = decide(session, len(index) - 1, truth(index))
    assert len(set(numbers)) == len(index) - 1
    assert session.upcoming() == []
    assert "59 windows reviewed" in repr(session)


def test_undo(index, corrections):
    for kept in (None, corrections):
        session = index.review("low", corrections=kept)
        first, second = decide(session, 2, truth(index))
        assert session.undo() == second
        assert session.upcoming()[0] == second
        assert session.undo(first) == first
        assert session.undo(first) is None
        assert session.undo() is None
        assert session.decisions == []
    assert len(corrections.rows.corrections) == 4  # two decisions, and two that undo them


def test_undo_of_a_changed_decision_restores_the_earlier_one(index, corrections):
    session = index.review("low", corrections=corrections)
    session.decide(7, "yes")
    session.decide(7, "skip")
    session.undo()
    assert [(each.number, each.decision) for each in session.decisions] == [(7, "yes")]


def test_another_class_means_that_this_one_is_absent(index, corrections):
    session = index.review("low", corrections=corrections)
    session.decide(7, "label", "owl")
    session.decide(8, "none")
    for each in (session, index.review("low", corrections=corrections)):
        assert [(one.number, one.decision, one.label, one.contains) for one in each.decisions] == [
            (7, "label", "owl", False),
            (8, "none", "", False),
        ]
    assert sorted(clip.label for clip in sm.Dataset.open(corrections.folder).clips) == ["background", "owl"]


def test_what_is_written_names_the_window_and_the_model(index, corrections):
    session = index.review("low", corrections=corrections, reviewer="ann")
    session.decide(7, "yes")
    (row,) = corrections.standing()
    window = index.windows([7], "low")[0]
    assert (row.asked, row.label, row.reviewer, row.model) == ("low", "low", "ann", index.model_digest)
    assert row.score == pytest.approx(window.score, abs=1e-6)
    assert (row.source_start_s, row.source_end_s) == (window.start_s, window.stop_s)
    clip = sm.Dataset.open(corrections.folder).clips[0]
    expected = sm.audio.read(window.file, start_s=window.start_s, stop_s=window.stop_s).samples
    np.testing.assert_allclose(sm.audio.read(clip.path).samples, expected, atol=1e-6)


def test_decisions_of_other_processes_and_reviewers_count(index, corrections):
    session = index.review("low", corrections=corrections, reviewer="ann")
    other = index.review("low", corrections=Corrections(corrections.folder), reviewer="bob")
    session.decide(7, "yes")
    assert [each.number for each in other.decisions] == [7]
    other.decide(7, "no")
    other.decide(9, "yes")
    assert session.decisions == other.decisions
    assert [(each.number, each.contains) for each in session.decisions] == [(7, False), (9, True)]


def test_a_decision_about_another_class_leaves_this_review_unchanged(index, corrections):
    """Also where the classes exclude each other, so that the window has the label given last."""
    session = index.review("low", corrections=corrections)
    session.decide(7, "yes")
    index.review("high", corrections=corrections).decide(7, "yes")
    assert [(each.number, each.contains) for each in index.review("low", corrections=corrections).decisions] == [
        (7, True)
    ]
    assert [clip.label for clip in sm.Dataset.open(corrections.folder).clips] == ["high"]


def test_a_moved_archive_keeps_its_decisions(tmp_path, corrections):
    """Recordings are known by their name and content."""
    for name in ("here", "there"):
        index = sm.Index.open(tone_archive(tmp_path / name, n=2))
        session = index.review("low", corrections=corrections)
        if name == "here":
            session.decide(7, "yes")
        else:
            assert [each.number for each in session.decisions] == [7]


def test_what_is_invalid_is_refused(index, corrections, tmp_path):
    session = index.review("low", corrections=corrections)
    with pytest.raises(SettingsError, match='no decision "yess". Did you mean "yes"'):
        session.decide(0, "yess")
    with pytest.raises(SettingsError, match="there is no window 60: the index has 60 windows"):
        session.decide(60, "yes")
    for decision, label in (("label", ""), ("label", "low"), ("yes", "dog")):
        with pytest.raises(SettingsError, match='give another class with the decision "label"'):
            session.decide(0, decision, label)
    with pytest.raises(SettingsError, match="the label"):
        session.decide(0, "label", "a;b")
    assert session.decisions == []
    gone = sm.Index.open(tone_archive(tmp_path / "gone", n=1))
    (tmp_path / "gone" / "recordings" / "tones-0.wav").unlink()
    with pytest.raises(AudioError, match="cannot be read"):
        gone.review("low", corrections=corrections).decide(0, "no")


def test_how_many_more_reviews_are_needed(index):
    """The simulated number agrees with what follows, over many archives; none is promised where none is possible."""
    predicted, actual, chances, became_safe = [], [], [], []
    for seed in range(12):
        random = np.random.default_rng(seed)
        scores = random.beta(0.3, 0.5, 1000)
        contains = random.random(1000) < scores
        bins = review.binned(scores)
        chosen = np.zeros(0, np.int64)
        estimate = None
        while len(chosen) < 60:
            chosen = np.concatenate([chosen, review.next_windows(scores, chosen, contains[chosen], 5, bins=bins)])
            if len(chosen) == 15:
                estimate = review.outlook(scores, chosen, contains[chosen], bins=bins)
                chances.append(estimate.chance)
            is_safe = review.precision_curve(scores, chosen, contains[chosen], bins=bins).safe_threshold is not None
            if len(chosen) >= 15 and is_safe:
                break
        became_safe.append(is_safe)
        if is_safe:
            predicted.append(estimate.reviews)
            actual.append(len(chosen) - 15)
    assert abs(np.median(predicted) - np.median(actual)) <= 10
    assert abs(np.mean(chances) - np.mean(became_safe)) <= 0.3
    scores = np.random.default_rng(0).beta(0.3, 0.5, 1000)
    chosen = review.sample(scores, 60)
    wrong = np.random.default_rng(1).random(60) < 0.4 * scores[chosen]
    assert review.outlook(scores, chosen, wrong).chance < 0.1
    assert index.review("background").outlook == review.Outlook(None, 0.0)  # no window has a score of 0.05


def test_a_decision_is_shown():
    assert Decision(3, "skip").contains is None
