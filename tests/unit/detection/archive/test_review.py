"""Reviews: which windows are asked for, and that a threshold is called safe when its precision is as wanted."""

from pathlib import Path

import numpy as np
import pytest

import soundmark as sm
from soundmark import audio
from soundmark.detection.archive import review
from soundmark.detection.archive.indexing import build_index
from soundmark.detection.inputs import Input
from soundmark.errors import SettingsError
from support.models import tone_embedder

RATE_HZ = 22_050


def simulated(seed: int, *, shift: float, ceiling: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores of 1 000 windows, and which contain the class, with a shift and with a share of wrong high scores."""
    random = np.random.default_rng(seed)
    scores = random.beta(0.3, 0.5, 1000)
    log_odds = 2 * np.log(scores / (1 - scores)) - shift
    return scores, random.random(1000) < ceiling / (1 + np.exp(-log_odds))


def reviewed(scores: np.ndarray, truth: np.ndarray, n: int, seed: int) -> review.PrecisionCurve:
    chosen = np.zeros(0, np.int64)
    while len(chosen) < n:
        new = review.next_windows(scores, chosen, truth[chosen], min(5, n - len(chosen)), seed=seed)
        chosen = np.concatenate([chosen, new])
    assert len(np.unique(chosen)) == n
    return review.precision_curve(scores, chosen, truth[chosen])


def test_a_threshold_is_called_safe_where_its_precision_is_as_wanted():
    right = called = possible = 0
    for shift, ceiling in ((0.0, 1.0), (1.5, 1.0), (-1.0, 0.95), (0.0, 0.85)):
        for seed in range(8):
            scores, truth = simulated(seed, shift=shift, ceiling=ceiling)
            possible += max(truth[scores >= threshold].mean() for threshold in review.THRESHOLDS) >= 0.9
            threshold = reviewed(scores, truth, 40, seed).safe_threshold
            if threshold is not None:
                called += 1
                right += truth[scores >= threshold].mean() >= 0.9
    assert right >= 0.9 * called
    assert called >= 0.7 * possible


def test_the_interval_contains_the_precision():
    inside = total = 0
    for seed in range(20):
        scores, truth = simulated(seed, shift=0.5, ceiling=1.0)
        chosen = review.sample(scores, 60, seed=seed)
        curve = review.precision_curve(scores, chosen, truth[chosen])
        for threshold, low, high in zip(curve.thresholds, curve.low, curve.high, strict=True):
            true = truth[scores >= threshold].mean()
            inside, total = inside + (low <= true <= high), total + 1
    assert inside / total > 0.85


def test_windows_are_sampled_evenly_over_the_score():
    scores = np.concatenate([np.full(980, 0.01), np.linspace(0.05, 0.99, 20)])
    chosen = review.sample(scores, 10, seed=3)
    assert len(set(np.floor(scores[chosen] * 10).tolist())) >= 9
    assert sorted(review.sample(scores, 5000).tolist()) == list(range(1000))


def test_few_windows_have_no_precision():
    curve = review.precision_curve(np.array([0.2, 0.9, 0.95]), np.array([1]), np.array([True]))
    assert np.isnan(curve.precision).all()
    assert curve.safe_threshold is None
    left = review.next_windows(np.array([0.2, 0.9, 0.95]), np.array([0, 1, 2]), np.ones(3, bool), 2)
    assert left.tolist() == []


@pytest.fixture
def index(tmp_path: Path) -> sm.Index:
    random = np.random.default_rng(0)
    for number in range(30):
        hz = 200 if number % 2 else 6000
        tone = 0.3 * np.sin(2 * np.pi * hz * np.arange(RATE_HZ) / RATE_HZ)
        sound = (tone + random.normal(0, 0.02, RATE_HZ)).astype(np.float32)
        audio.write(tmp_path / "sounds" / f"{number:02}.wav", sound, RATE_HZ)
    files = [Input(str(path), path.name) for path in sorted((tmp_path / "sounds").iterdir())]
    build_index(files, tone_embedder(), tmp_path / "index")
    return sm.Index.open(tmp_path / "index")


def test_all_windows_of_an_index_are_reviewed_once(index: sm.Index):
    session = index.review("low", wanted=0.8)
    seen = []
    while windows := session.next(4):
        for window in windows:
            assert (window.label, window.score) == (
                "low",
                pytest.approx(float(index.scores("low")[int(Path(window.file).stem)])),
            )
            session.answer(window, contains=int(Path(window.file).stem) % 2 == 1)
            seen.append(window.file)
    assert len(seen) == len(set(seen)) == 30
    assert session.safe_threshold is not None
    assert repr(session).startswith("Review(low: 30 windows reviewed, 15 contain it; 0.")
    session.answer(index.windows([0], "low")[0], contains=True)
    assert "30 windows reviewed, 16 contain it" in repr(session)


def test_what_cannot_be_reviewed_is_refused(index: sm.Index):
    with pytest.raises(SettingsError, match=r'the index has no class "lo". Did you mean "low"'):
        index.review("lo")
    with pytest.raises(SettingsError, match="wanted is 90: expected a precision between 0 and 1"):
        index.review("low", wanted=90)
    with pytest.raises(SettingsError, match="was not returned by next: answer those only"):
        index.review("low").answer(index.windows([0], "low")[0], contains=True)
