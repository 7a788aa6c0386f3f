"""Calibration: temperature compared with SciPy's minimiser, familiarity with a slow implementation, thresholds."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import mahalanobis
from scipy.special import expit, log_expit, log_softmax, softmax

from soundmark.metrics import single_label
from soundmark.metrics.task import Task
from soundmark.training import calibration
from soundmark.training.calibration import Calibration, Familiarity, Novelty, Presence, calibrate, temperature


def logits_and_targets(activation: str, n: int, classes: int, t: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random logits, and targets drawn with the probabilities of the logits at the temperature ``t``."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, classes)) * t
    if activation == "sigmoid":
        return logits, (rng.random((n, classes)) < expit(logits / t)).astype(np.float32)
    p = softmax(logits / t, axis=1)
    labels = (p.cumsum(1) > rng.random((n, 1))).argmax(1)
    return logits, np.eye(classes, dtype=np.float32)[labels]


def slow_loss(logits: np.ndarray, targets: np.ndarray, activation: str) -> float:
    if activation == "softmax":
        return float(-(targets * log_softmax(logits, axis=1)).sum(1).mean())
    return float(-(targets * log_expit(logits) + (1 - targets) * log_expit(-logits)).sum(1).mean())


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_loss_is_the_cross_entropy(activation):
    logits, targets = logits_and_targets(activation, 50, 4, 1.0)
    assert Task.named(activation).cross_entropy(logits, targets) == pytest.approx(
        slow_loss(logits, targets, activation), rel=1e-9
    )


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_cross_entropy_of_extreme_logits_is_finite(activation):
    targets = np.eye(2)[:1]
    assert Task.named(activation).cross_entropy(np.array([[-1e4, 1e4]]), targets) == pytest.approx(2e4)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("true_temperature", [0.05, 0.7, 1.0, 6.0, 90.0])
@pytest.mark.parametrize("n", [40, 300])
def test_temperature_is_the_minimum_that_scipy_finds(activation, true_temperature, n):
    logits, targets = logits_and_targets(activation, n, 5, true_temperature, seed=n)
    smoothing = 1 / (n + 2)
    smoothed = targets * (1 - smoothing) + smoothing / (5 if activation == "softmax" else 2)
    oracle = minimize_scalar(
        lambda t: slow_loss(logits / math.exp(t), smoothed, activation),
        bounds=(math.log(0.01), math.log(1000)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    assert temperature(logits, targets, activation) == pytest.approx(math.exp(oracle.x), rel=1e-3)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("true_temperature", [0.2, 1.0, 15.0])
def test_recovers_the_temperature_of_the_targets(activation, true_temperature):
    logits, targets = logits_and_targets(activation, 20_000, 6, true_temperature)
    assert temperature(logits, targets, activation) == pytest.approx(true_temperature, rel=0.03)


def test_temperature_reduces_the_calibration_error_of_overconfident_logits():
    logits, targets = logits_and_targets("softmax", 4000, 10, 5.0)
    validation, test = slice(0, 2000), slice(2000, 4000)
    fitted = temperature(logits[validation], targets[validation])
    labels = targets[test].argmax(1)
    before, after = (single_label.ece(labels, softmax(logits[test] / t, axis=1)) for t in (1.0, fitted))
    assert before > 0.15
    assert after < 0.06  # 2 000 perfectly calibrated clips have about 0.03


@pytest.mark.parametrize(("n", "expected"), [(19, 1.0), (20, calibration.MAX_TEMPERATURE)])
def test_fewer_than_twenty_clips_are_not_used_for_calibration(n, expected):
    wrong = -20 * np.eye(2)[np.zeros(n, int)]  # confident and wrong: the higher the temperature, the better
    targets = np.eye(2)[np.zeros(n, int)]
    assert temperature(wrong, targets) == pytest.approx(expected, rel=1e-3)
    found = calibrate(wrong, targets, "softmax", familiarity=Familiarity.of(np.eye(2), np.eye(2)), raw=np.zeros(n))
    assert (found == Calibration()) == (n == 19)


# --- Familiarity ------------------------------------------------------------------------------------------------------


def shrunk(covariance: np.ndarray) -> np.ndarray:
    d = len(covariance)
    share = calibration.SHRINKAGE
    return (1 - share) * covariance + share * np.trace(covariance) / d * np.eye(d)


def slow_familiarity(known: np.ndarray, labels: np.ndarray, x: np.ndarray) -> float:
    """The raw familiarity of one embedding, with SciPy's Mahalanobis distance."""
    mean, spread = known.mean(0), known.std(0)
    z = (known - mean) / spread
    means = {k: z[labels == k].mean(0) for k in set(labels.tolist())}
    within = sum(np.outer(row - means[k], row - means[k]) for row, k in zip(z, labels.tolist(), strict=True)) / len(z)
    overall = sum(np.outer(row, row) for row in z) / len(z)
    scaled = (x - mean) / spread
    nearest = min(mahalanobis(scaled, m, np.linalg.inv(shrunk(within))) ** 2 for m in means.values())
    return mahalanobis(scaled, np.zeros(len(scaled)), np.linalg.inv(shrunk(overall))) ** 2 - nearest


@pytest.mark.parametrize(("n", "d", "classes"), [(60, 4, 3), (200, 20, 10), (15, 30, 2)])
def test_familiarity_matches_the_slow_implementation(n, d, classes):
    rng = np.random.default_rng(n)
    labels = np.arange(n) % classes
    known = (rng.normal(0, 2, (classes, d))[labels] + rng.normal(size=(n, d))) * 10.0 ** rng.uniform(-2, 2, d)
    new = known.mean(0) + rng.normal(size=(12, d)) * 2 * known.std(0)
    familiarity = Familiarity.of(known, np.eye(classes + 1)[labels])  # one class has no clips
    assert familiarity.classes.shape == (classes, d)
    expected = [slow_familiarity(known, labels, x) for x in new]
    np.testing.assert_allclose(familiarity.raw(new), expected, rtol=1e-3, atol=1e-3)


def test_familiarity_of_a_clip_is_fitted_without_its_recording():
    """With as many recordings as folds, each fold is one recording."""
    rng = np.random.default_rng(1)
    sources = np.repeat(np.arange(calibration.N_FOLDS), 4).astype(str)
    targets = np.eye(3)[np.arange(calibration.N_FOLDS) % 3].repeat(4, axis=0)
    embeddings = targets @ rng.normal(size=(3, 5)) * 4 + rng.normal(size=(len(sources), 5))
    familiarity, found = calibration.fit_familiarity(embeddings[None], targets, sources)
    for source in np.unique(sources):
        own = sources == source
        expected = Familiarity.of(embeddings[~own], targets[~own]).raw(embeddings[own])
        np.testing.assert_allclose(found[own], expected, rtol=1e-5, atol=1e-4)
    expected = Familiarity.of(embeddings, targets).raw(embeddings)
    np.testing.assert_allclose(familiarity.raw(embeddings), expected, rtol=1e-5, atol=1e-4)


def test_a_threshold_from_held_out_familiarity_keeps_its_fraction_of_new_recordings():
    """Recordings differ more than clips of one recording, so the threshold must come from held-out recordings."""
    rng = np.random.default_rng(2)
    n, d = 400, 10
    labels = np.arange(n) % 4
    recordings = rng.normal(size=(4, d))[labels] * 2 + rng.normal(size=(n, d))
    clips = (recordings[:, None] + 0.2 * rng.normal(size=(n, 5, d))).reshape(-1, d)
    targets, sources = np.eye(4)[labels].repeat(5, axis=0), np.arange(n).repeat(5).astype(str)
    train = np.arange(len(clips)) < len(clips) // 2
    _, raw = calibration.fit_familiarity(clips[None, train], targets[train], sources[train])
    new = Familiarity.of(clips[train], targets[train]).raw(clips[~train])
    assert np.mean(new >= np.quantile(raw, 0.05)) == pytest.approx(0.95, abs=0.03)


def test_class_means_of_multi_label_clips_include_all_clips_with_the_label():
    y = np.array([[1, 0], [0, 1], [1, 1], [0, 0]] * 25, np.float32)
    rng = np.random.default_rng(0)
    familiarity = Familiarity.of(y * 6 + rng.normal(size=(100, 2)), y)
    assert all(np.isfinite(part).all() for part in (familiarity.within, familiarity.overall, familiarity.classes))
    z = (y * 6 + np.random.default_rng(0).normal(size=(100, 2)) - familiarity.mean) * familiarity.scale
    np.testing.assert_allclose(familiarity.classes, [z[y[:, k] == 1].mean(0) for k in (0, 1)], atol=1e-5)


def test_familiarity_is_scaled_to_0_to_1():
    familiarity = Familiarity.of(np.eye(3), np.eye(3)).with_scale_of(np.array([10.0, 30.0]))
    assert (familiarity.middle, familiarity.spread) == (20.0, pytest.approx(10.0))
    raw = np.array([-1e9, 10.0, 20.0, 30.0, 1e9])
    np.testing.assert_allclose(familiarity.scale_raw(raw), [0, expit(-1), 0.5, expit(1), 1], atol=1e-6)


def test_clips_of_an_unknown_class_are_less_familiar():
    rng = np.random.default_rng(0)
    middles = rng.normal(0, 3, (6, 16))
    labels = np.arange(600) % 6
    clips = middles[labels] + rng.normal(size=(600, 16))
    familiarity = Familiarity.of(clips[labels < 5], np.eye(5)[labels[labels < 5]])
    raw = familiarity.raw(middles[labels] + rng.normal(size=(600, 16)))
    known, unknown = raw[labels < 5], raw[labels == 5]
    assert (known[:, None] > unknown).mean() > 0.95  # the AUROC


# --- All together -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0.5, 0.9, 0.95, 1.0])
def test_the_requested_fraction_of_clips_counts_as_known(kept):
    logits, targets = logits_and_targets("softmax", 400, 3, 2.0)
    rng = np.random.default_rng(1)
    familiarity, raw = Familiarity.of(rng.normal(size=(30, 4)), np.eye(3)[np.arange(30) % 3]), rng.gamma(2, 50, 400)
    found = calibrate(logits, targets, "softmax", familiarity=familiarity, raw=raw, kept=kept)
    assert (found.familiarity.scale_raw(raw) >= found.unknown).mean() == pytest.approx(kept, abs=1 / 400)
    assert found.clips == 400
    assert found.temperature == temperature(logits, targets)
    assert found.thresholds is None


def test_without_an_embedding_only_the_temperature_is_calibrated():
    found = calibrate(*logits_and_targets("softmax", 100, 3, 2.0), "softmax")
    assert (found.familiarity, found.unknown, found.thresholds) == (None, None, None)
    assert found.temperature != 1


def test_multi_label_thresholds_apply_to_calibrated_probabilities():
    """By construction, the labels of each class change at a known probability."""
    rng = np.random.default_rng(0)
    p = rng.random((500, 2))
    targets = (p > [0.3, 0.8]).astype(np.float32)
    logits = np.log(p / (1 - p))
    found = calibrate(logits, targets, "sigmoid")
    calibrated = expit(logits / found.temperature)
    assert ((calibrated >= np.array(found.thresholds)) == (targets > 0)).mean() > 0.99


def test_the_confidence_stays_below_1_if_all_clips_are_classified_correctly():
    labels = np.arange(50) % 5
    logits = 30.0 * np.eye(5)[labels]
    fitted = temperature(logits, np.eye(5)[labels])
    confidence = softmax(logits / fitted, axis=1).max(1)
    assert confidence == pytest.approx(1 - 1 / 52 * 4 / 5, abs=1e-4)


def test_novelty_is_the_largest_excess_over_the_training_clips_in_their_sd():
    rng = np.random.default_rng(3)
    views = rng.normal([5.0, -8.0, -8.0, 100.0], [1.0, 2.0, 0.5, 3.0], (2, 4000, 4)).astype(np.float32)
    fitted = Novelty.of(views, first=1)
    x = np.array([[1e6, -8.0, -8.0, 100.0], [5.0, -8.0, -4.0, 100.0], [5.0, -8.0, -8.0, 50.0]], np.float32)
    logits = np.concatenate(views)[:, 1:]
    expected = ((x[:, 1:] - np.quantile(logits, 0.995, axis=0)) / logits.std(0)).max(1)
    np.testing.assert_allclose(fitted(x), expected, rtol=1e-4)
    assert fitted(x).tolist() == pytest.approx([-2.5, 5.7, -2.5], abs=0.05)


def test_held_out_novelty_excludes_the_fold_of_each_clip():
    rng = np.random.default_rng(4)
    views = rng.normal(size=(2, 60, 3)).astype(np.float32)
    fold_of = np.arange(60) % 3
    found = calibration.held_out_novelty(views, 0, fold_of)
    for fold in range(3):
        expected = Novelty.of(views[:, fold_of != fold], 0)(views[0, fold_of == fold])
        np.testing.assert_allclose(found[fold_of == fold], expected)


def test_a_window_of_a_kind_that_the_training_clips_do_not_contain_has_a_lower_presence():
    rng = np.random.default_rng(5)
    logits, raw, novelties = rng.normal(3, 1, (200, 3)), rng.normal(size=200), rng.normal(size=200)
    novelty = Novelty.of(rng.normal(size=(1, 200, 4)), 0)
    fitted = Presence.of(logits, raw, np.zeros((4, 1)), np.zeros(1), 1.0, novelty=novelty, novelties=novelties)
    same = np.full((3, 2), 3.0), np.zeros((3, 1)), np.zeros(3)
    usual, new, old = fitted(*same, np.array([0.0, 4.0, -4.0]))
    assert new < 0.4 * usual
    assert old > usual
