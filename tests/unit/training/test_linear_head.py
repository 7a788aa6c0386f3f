"""The linear head, compared with scikit-learn's discriminant; held-out logits, views, degenerate data."""

from dataclasses import fields

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from soundmark.training.transfer import linear_head


def clusters(per_class: tuple[int, ...], d: int = 12, seed: int = 0, apart: float = 1.0):
    """Features of correlated clusters, one per class, with different scales; and labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(per_class)), per_class)
    middles = rng.normal(0, apart, (len(per_class), d))
    x = (middles[labels] + rng.normal(size=(len(labels), d))) @ rng.normal(size=(d, d))
    return x * 10.0 ** rng.uniform(-2, 2, d) + rng.normal(0, 5, d), labels


def one_hot(labels: np.ndarray, n: int | None = None) -> np.ndarray:
    return np.eye(n or labels.max() + 1, dtype=np.float32)[labels]


def unique_sources(n: int) -> np.ndarray:
    """A separate recording for every clip."""
    return np.arange(n).astype(str)


@pytest.mark.parametrize("shrinkage", linear_head.SHRINKAGES)
@pytest.mark.parametrize("per_class", [(40, 40, 40), (90, 20, 10), (7, 5, 30, 9)])
def test_logits_are_those_of_scikit_learns_discriminant(monkeypatch, shrinkage, per_class):
    """Both use S = (1 − s)·C + s·tr(C)/d·I and the logit xᵀS⁻¹m − ½ mᵀS⁻¹m + ln prior.

    scikit-learn's C is the mean of the class covariances, weighted by the priors. With the class frequencies as priors,
    it is the covariance of the residuals from the class means. The head has no prior terms (all classes are equally
    probable), so the test subtracts them.
    """
    monkeypatch.setattr(linear_head, "SHRINKAGES", (shrinkage,))
    x, labels = clusters(per_class)
    head = linear_head.fit_head(x, one_hot(labels), unique_sources(len(x)))
    mean, spread = x.mean(0), x.std(0)
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit((x - mean) / spread, labels)
    expected = (x - mean) / spread @ oracle.coef_.T + oracle.intercept_ - np.log(oracle.priors_)
    logits = x @ head.weights.astype(np.float64) + head.bias
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_array_equal(logits.argmax(1), expected.argmax(1))
    assert head.shrinkage == shrinkage


def test_balanced_classes_match_scikit_learn_with_uniform_priors(monkeypatch):
    monkeypatch.setattr(linear_head, "SHRINKAGES", (0.5,))
    x, labels = clusters((30, 30, 30))
    head = linear_head.fit_head(x, one_hot(labels), unique_sources(90))
    z = (x - x.mean(0)) / x.std(0)
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5, priors=[1 / 3] * 3).fit(z, labels)
    expected = oracle.decision_function(z)
    logits = x @ head.weights.astype(np.float64) + head.bias
    np.testing.assert_allclose(logits - logits[:, :1], expected - expected[:, :1], atol=1e-3)


def loss_of_each_shrinkage(monkeypatch, x, labels):
    losses = {}
    for shrinkage in linear_head.SHRINKAGES:
        with monkeypatch.context() as patched:
            patched.setattr(linear_head, "SHRINKAGES", (shrinkage,))
            losses |= linear_head.fit_head(x, one_hot(labels), unique_sources(len(x))).losses
    return losses


@pytest.mark.parametrize(("apart", "d", "seed"), [(0.3, 40, 0), (0.1, 4, 0), (3, 10, 1), (0.2, 200, 2), (0.5, 90, 3)])
def test_the_selected_shrinkage_has_the_lowest_held_out_loss(monkeypatch, apart, d, seed):
    x, labels = clusters((30, 30, 30), d=d, apart=apart, seed=seed)
    losses = loss_of_each_shrinkage(monkeypatch, x, labels)
    head = linear_head.fit_head(x, one_hot(labels), unique_sources(90))
    assert head.losses == {shrinkage: losses[shrinkage] for shrinkage in head.losses}
    assert head.losses[head.shrinkage] == min(losses.values())
    assert 3 <= len(head.losses) <= 5 or head.shrinkage in (0.3, 1.0)  # the middle, and one direction until it rises
    p = np.exp(head.held_out / head.temperature)
    p /= p.sum(1, keepdims=True)
    assert -np.log(p[np.arange(90), labels]).mean() == pytest.approx(head.losses[head.shrinkage], rel=1e-4)


def by_recording(recordings: int, clips: int, seed: int = 0):
    """Features that identify the recording and nothing else; each recording has a random label."""
    rng = np.random.default_rng(seed)
    recording = np.repeat(np.arange(recordings), clips)
    x = rng.normal(size=(recordings, recordings))[recording] + rng.normal(0, 0.01, (len(recording), recordings))
    return x, rng.integers(0, 2, recordings)[recording], np.array([f"r{i}" for i in recording])


def test_held_out_logits_do_not_depend_on_the_recording_of_the_clip():
    held_out, training = [], []
    for seed in range(5):
        x, labels, sources = by_recording(60, 8, seed)
        head = linear_head.fit_head(x, one_hot(labels), sources)
        for name in np.unique(sources):
            assert len(np.unique(head.fold_of[sources == name])) == 1
        held_out.append((head.held_out.argmax(1) == labels).mean())
        training.append(((x @ head.weights + head.bias).argmax(1) == labels).mean())
    assert np.mean(held_out) == pytest.approx(0.5, abs=0.12)  # chance, although the head fits the training clips
    assert min(training) > 0.8


def test_a_split_by_clip_of_the_same_features_would_show_leakage():
    """The counterpart of the test above, with clips of one recording on both sides."""
    x, labels, _ = by_recording(60, 8)
    head = linear_head.fit_head(x, one_hot(labels), unique_sources(len(x)))
    assert (head.held_out.argmax(1) == labels).mean() > 0.95


def test_held_out_logits_come_from_a_head_fitted_without_the_fold():
    x, labels = clusters((20, 20, 20))
    sources = np.array([f"r{i // 4}" for i in range(60)])
    head = linear_head.fit_head(x, one_hot(labels), sources)
    assert set(head.fold_of) == {1, 2, 3, 4, 5}
    for fold in range(1, 6):
        train, test = head.fold_of != fold, head.fold_of == fold
        z = (x - x[train].mean(0)) / x[train].std(0)
        oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=head.shrinkage).fit(z[train], labels[train])
        expected = z[test] @ oracle.coef_.T + oracle.intercept_ - np.log(oracle.priors_)
        np.testing.assert_allclose(head.held_out[test], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("shrinkage", linear_head.SHRINKAGES)
def test_multi_label_logits_separate_each_label_from_the_rest(monkeypatch, shrinkage):
    """The logit of a label is xᵀS⁻¹(m − m̄) − ½ (m + m̄)ᵀS⁻¹(m − m̄), with S from the residuals of a fit on labels."""
    monkeypatch.setattr(linear_head, "SHRINKAGES", (shrinkage,))
    rng = np.random.default_rng(0)
    y = (rng.random((200, 3)) < [0.5, 0.3, 0.1]).astype(np.float64)
    x = y @ rng.normal(size=(3, 6)) + rng.normal(0, 0.5, (200, 6))
    head = linear_head.fit_head(x, y, unique_sources(200), activation="sigmoid")
    z = (x - x.mean(0)) / x.std(0)
    design = np.column_stack([np.ones(200), y])
    residuals = z - design @ np.linalg.solve(design.T @ design, design.T @ z)
    c = residuals.T @ residuals / 200
    s = (1 - shrinkage) * c + shrinkage * np.trace(c) / 6 * np.eye(6)
    for k in range(3):
        m, rest = z[y[:, k] == 1].mean(0), z[y[:, k] == 0].mean(0)
        direction = np.linalg.inv(s) @ (m - rest)
        expected = z @ direction - 0.5 * (m + rest) @ direction
        np.testing.assert_allclose(x @ head.weights[:, k] + head.bias[k], expected, atol=1e-3)
    accuracy = ((head.held_out > 0) == (y > 0)).mean()
    assert accuracy > 0.8


def test_ten_clips_with_900_features():
    rng = np.random.default_rng(0)
    labels = np.arange(10) % 2
    x = rng.normal(size=(10, 900)) + 2 * labels[:, None]
    head = linear_head.fit_head(x, one_hot(labels), unique_sources(10))
    assert ((x @ head.weights + head.bias).argmax(1) == labels).all()
    assert (head.held_out.argmax(1) == labels).all()
    assert head.temperature == 1.0  # too few clips for calibration


def test_views_count_as_separate_examples(monkeypatch):
    """With a fixed shrinkage, the head equals one fitted on the concatenated views, with the same recordings."""
    monkeypatch.setattr(linear_head, "SHRINKAGES", (0.5,))
    x, labels = clusters((20, 15, 25))
    views = x + np.random.default_rng(1).normal(0, 3, (3, *x.shape)) * x.std(0)
    sources = np.array([f"r{i // 4}" for i in range(60)])
    head = linear_head.fit_head(x, one_hot(labels), sources, views=views)
    expected = linear_head.fit_head(np.concatenate(views), np.tile(one_hot(labels), (3, 1)), np.tile(sources, 3))
    np.testing.assert_allclose(head.weights, expected.weights, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(head.bias, expected.bias, rtol=1e-4, atol=1e-5)
    plain = linear_head.fit_head(x, one_hot(labels), sources)
    assert not np.allclose(head.weights, plain.weights, rtol=0.1)


def test_with_views_the_held_out_logits_are_those_of_the_features():
    x, labels = clusters((20, 20, 20))
    views = np.stack([x - 0.1 * x.std(0), x + 0.3 * x.std(0)])
    sources = np.array([f"r{i // 4}" for i in range(60)])
    head = linear_head.fit_head(x, one_hot(labels), sources, views=views)
    for fold in range(1, 6):
        train, test = head.fold_of != fold, head.fold_of == fold
        examples, example_labels = np.concatenate(views[:, train]), np.tile(labels[train], 2)
        mean, spread = examples.mean(0), examples.std(0)
        oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=head.shrinkage).fit(
            (examples - mean) / spread, example_labels
        )
        expected = (x[test] - mean) / spread @ oracle.coef_.T + oracle.intercept_ - np.log(oracle.priors_)
        np.testing.assert_allclose(head.held_out[test], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("recordings", [2, 3, 4])
def test_fewer_recordings_than_folds(recordings):
    x, labels = clusters((20, 20))
    sources = np.array([f"r{i % recordings}" for i in range(40)])
    head = linear_head.fit_head(x, one_hot(labels), sources)
    assert set(head.fold_of) == set(range(1, recordings + 1))
    assert np.isfinite(head.held_out).all()
    assert head.held_out.any(axis=1).all()


def test_with_a_single_recording_nothing_is_held_out():
    x, labels = clusters((30, 30))
    head = linear_head.fit_head(x, one_hot(labels), np.full(60, "r"))
    assert ((x @ head.weights + head.bias).argmax(1) == labels).mean() > 0.8
    assert not head.held_out.any()
    assert head.temperature == 1.0  # not calibrated


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_class_without_clips_gives_finite_logits(activation):
    x, labels = clusters((30, 30))
    head = linear_head.fit_head(x, one_hot(labels, 3), unique_sources(60), activation=activation)
    assert np.isfinite(head.weights).all()
    assert np.isfinite(head.held_out).all()
    assert ((x @ head.weights + head.bias)[:, :2].argmax(1) == labels).mean() > 0.8


def test_a_constant_feature_has_weight_zero():
    x, labels = clusters((30, 30))
    x[:, 3] = 7.0
    head = linear_head.fit_head(x, one_hot(labels), unique_sources(60))
    assert np.isfinite(head.weights).all()
    assert not head.weights[3].any()


def test_the_same_seed_gives_the_same_head():
    x, labels = clusters((30, 30, 30))
    sources = np.array([f"r{i // 3}" for i in range(90)])
    first, again, other = (linear_head.fit_head(x, one_hot(labels), sources, seed=seed) for seed in (1, 1, 2))
    for field in fields(linear_head.LinearHead):
        np.testing.assert_equal(getattr(first, field.name), getattr(again, field.name))
    assert not np.array_equal(first.fold_of, other.fold_of)
