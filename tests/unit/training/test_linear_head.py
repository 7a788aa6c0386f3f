"""The linear head: scikit-learn's discriminant is its oracle, and what it says of a clip it has not heard before."""

from dataclasses import fields

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from soundmark.training import linear_head


def clouds(per_class: tuple[int, ...], d: int = 12, seed: int = 0, apart: float = 1.0):
    """Features of correlated clouds, one per class, on scales of their own; labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(per_class)), per_class)
    middles = rng.normal(0, apart, (len(per_class), d))
    x = (middles[labels] + rng.normal(size=(len(labels), d))) @ rng.normal(size=(d, d))
    return x * 10.0 ** rng.uniform(-2, 2, d) + rng.normal(0, 5, d), labels


def one_hot(labels: np.ndarray, n: int | None = None) -> np.ndarray:
    return np.eye(n or labels.max() + 1, dtype=np.float32)[labels]


def alone(n: int) -> np.ndarray:
    """Every clip a recording of its own."""
    return np.arange(n).astype(str)


@pytest.mark.parametrize("shrinkage", linear_head.SHRINKAGES)
@pytest.mark.parametrize("per_class", [(40, 40, 40), (90, 20, 10), (7, 5, 30, 9)])
def test_is_scikit_learns_discriminant(monkeypatch, shrinkage, per_class):
    """Both have S = (1 − s)·C + s·tr(C)/d·I and the logit xᵀS⁻¹m − ½ mᵀS⁻¹m + ln prior.

    scikit-learn's C is the mean of the classes' own covariances, weighed by the priors: with the shares of the classes
    for priors it is that of all that is left when the class means are taken off. The logarithms of the priors, which
    the head leaves out (all classes count alike), are taken off again.
    """
    monkeypatch.setattr(linear_head, "SHRINKAGES", (shrinkage,))
    x, labels = clouds(per_class)
    head = linear_head.fit_head(x, one_hot(labels), alone(len(x)))
    mean, spread = x.mean(0), x.std(0)
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit((x - mean) / spread, labels)
    expected = (x - mean) / spread @ oracle.coef_.T + oracle.intercept_ - np.log(oracle.priors_)
    logits = x @ head.weights.astype(np.float64) + head.bias
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_array_equal(logits.argmax(1), expected.argmax(1))
    assert head.shrinkage == shrinkage


def test_equal_classes_are_scikit_learns_with_uniform_priors(monkeypatch):
    monkeypatch.setattr(linear_head, "SHRINKAGES", (0.5,))
    x, labels = clouds((30, 30, 30))
    head = linear_head.fit_head(x, one_hot(labels), alone(90))
    z = (x - x.mean(0)) / x.std(0)
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5, priors=[1 / 3] * 3).fit(z, labels)
    expected = oracle.decision_function(z)
    logits = x @ head.weights.astype(np.float64) + head.bias
    np.testing.assert_allclose(logits - logits[:, :1], expected - expected[:, :1], atol=1e-3)


def test_the_shrinkage_is_the_one_that_is_best_on_held_out_clips():
    x, labels = clouds((30, 30, 30), d=40, apart=0.3)
    head = linear_head.fit_head(x, one_hot(labels), alone(90))
    assert set(head.losses) == set(linear_head.SHRINKAGES)
    assert head.losses[head.shrinkage] == min(head.losses.values())
    assert len(set(head.losses.values())) == len(linear_head.SHRINKAGES)
    p = np.exp(head.held_out / head.temperature)
    p /= p.sum(1, keepdims=True)
    assert -np.log(p[np.arange(90), labels]).mean() == pytest.approx(head.losses[head.shrinkage], rel=1e-4)


def by_recording(recordings: int, clips: int, seed: int = 0):
    """Features that tell the recording and nothing else; each recording has a label drawn at random."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(recordings), clips)
    x = rng.normal(size=(recordings, recordings))[of] + rng.normal(0, 0.01, (len(of), recordings))
    return x, rng.integers(0, 2, recordings)[of], np.array([f"r{i}" for i in of])


def test_what_is_said_of_a_held_out_clip_owes_nothing_to_its_recording():
    right, learnt = [], []
    for seed in range(5):
        x, labels, sources = by_recording(60, 8, seed)
        head = linear_head.fit_head(x, one_hot(labels), sources)
        for name in np.unique(sources):
            assert len(np.unique(head.fold_of[sources == name])) == 1
        right.append((head.held_out.argmax(1) == labels).mean())
        learnt.append(((x @ head.weights + head.bias).argmax(1) == labels).mean())
    assert np.mean(right) == pytest.approx(0.5, abs=0.12)  # a coin, though every training clip is known by heart
    assert min(learnt) > 0.8


def test_split_by_clip_the_same_features_would_seem_to_know():
    """The twin of the test above: what it would show if recordings were dealt to both sides."""
    x, labels, _ = by_recording(60, 8)
    head = linear_head.fit_head(x, one_hot(labels), alone(len(x)))
    assert (head.held_out.argmax(1) == labels).mean() > 0.95


def test_held_out_logits_are_those_of_a_head_that_was_fitted_without_the_fold():
    x, labels = clouds((20, 20, 20))
    sources = np.array([f"r{i // 4}" for i in range(60)])
    head = linear_head.fit_head(x, one_hot(labels), sources)
    assert set(head.fold_of) == {1, 2, 3, 4, 5}
    for fold in range(1, 6):
        seen, kept = head.fold_of != fold, head.fold_of == fold
        z = (x - x[seen].mean(0)) / x[seen].std(0)
        oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=head.shrinkage).fit(z[seen], labels[seen])
        expected = z[kept] @ oracle.coef_.T + oracle.intercept_ - np.log(oracle.priors_)
        np.testing.assert_allclose(head.held_out[kept], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("shrinkage", linear_head.SHRINKAGES)
def test_of_several_labels_each_is_told_from_the_rest(monkeypatch, shrinkage):
    """The logit of a label written out: xᵀS⁻¹(m − m̄) − ½ (m + m̄)ᵀS⁻¹(m − m̄), S of what the labels leave."""
    monkeypatch.setattr(linear_head, "SHRINKAGES", (shrinkage,))
    rng = np.random.default_rng(0)
    y = (rng.random((200, 3)) < [0.5, 0.3, 0.1]).astype(np.float64)
    x = y @ rng.normal(size=(3, 6)) + rng.normal(0, 0.5, (200, 6))
    head = linear_head.fit_head(x, y, alone(200), activation="sigmoid")
    z = (x - x.mean(0)) / x.std(0)
    design = np.column_stack([np.ones(200), y])
    left = z - design @ np.linalg.solve(design.T @ design, design.T @ z)
    c = left.T @ left / 200
    s = (1 - shrinkage) * c + shrinkage * np.trace(c) / 6 * np.eye(6)
    for k in range(3):
        m, rest = z[y[:, k] == 1].mean(0), z[y[:, k] == 0].mean(0)
        towards = np.linalg.inv(s) @ (m - rest)
        expected = z @ towards - 0.5 * (m + rest) @ towards
        np.testing.assert_allclose(x @ head.weights[:, k] + head.bias[k], expected, atol=1e-3)
    agreed = ((head.held_out > 0) == (y > 0)).mean()
    assert agreed > 0.8


def test_ten_clips_of_nine_hundred_numbers():
    rng = np.random.default_rng(0)
    labels = np.arange(10) % 2
    x = rng.normal(size=(10, 900)) + 2 * labels[:, None]
    head = linear_head.fit_head(x, one_hot(labels), alone(10))
    assert ((x @ head.weights + head.bias).argmax(1) == labels).all()
    assert (head.held_out.argmax(1) == labels).all()
    assert head.temperature == 1.0  # too few clips to tell


def test_views_are_examples_of_their_own(monkeypatch):
    """Of one shrinkage, it is the head of all the views one after the other, each clip's under its recording."""
    monkeypatch.setattr(linear_head, "SHRINKAGES", (0.5,))
    x, labels = clouds((20, 15, 25))
    views = x + np.random.default_rng(1).normal(0, 3, (3, *x.shape)) * x.std(0)
    sources = np.array([f"r{i // 4}" for i in range(60)])
    head = linear_head.fit_head(x, one_hot(labels), sources, views=views)
    expected = linear_head.fit_head(np.concatenate(views), np.tile(one_hot(labels), (3, 1)), np.tile(sources, 3))
    np.testing.assert_allclose(head.weights, expected.weights, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(head.bias, expected.bias, rtol=1e-4, atol=1e-5)
    plain = linear_head.fit_head(x, one_hot(labels), sources)
    assert not np.allclose(head.weights, plain.weights, rtol=0.1)


def test_with_views_what_is_held_out_is_the_features_and_by_a_head_that_was_fitted_without_them():
    x, labels = clouds((20, 20, 20))
    views = np.stack([x - 0.1 * x.std(0), x + 0.3 * x.std(0)])
    sources = np.array([f"r{i // 4}" for i in range(60)])
    head = linear_head.fit_head(x, one_hot(labels), sources, views=views)
    for fold in range(1, 6):
        seen, kept = head.fold_of != fold, head.fold_of == fold
        both, twice = np.concatenate(views[:, seen]), np.tile(labels[seen], 2)
        mean, spread = both.mean(0), both.std(0)
        oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=head.shrinkage).fit((both - mean) / spread, twice)
        expected = (x[kept] - mean) / spread @ oracle.coef_.T + oracle.intercept_ - np.log(oracle.priors_)
        np.testing.assert_allclose(head.held_out[kept], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("recordings", [2, 3, 4])
def test_fewer_recordings_than_folds(recordings):
    x, labels = clouds((20, 20))
    sources = np.array([f"r{i % recordings}" for i in range(40)])
    head = linear_head.fit_head(x, one_hot(labels), sources)
    assert set(head.fold_of) == set(range(1, recordings + 1))
    assert np.isfinite(head.held_out).all()
    assert head.held_out.any(axis=1).all()


def test_of_one_recording_nothing_can_be_held_out():
    x, labels = clouds((30, 30))
    head = linear_head.fit_head(x, one_hot(labels), np.full(60, "r"))
    assert ((x @ head.weights + head.bias).argmax(1) == labels).mean() > 0.8
    assert not head.held_out.any()
    assert head.temperature == 1.0  # as where there are too few clips: nothing is known


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_class_without_clips_stands_in_the_middle(activation):
    x, labels = clouds((30, 30))
    head = linear_head.fit_head(x, one_hot(labels, 3), alone(60), activation=activation)
    assert np.isfinite(head.weights).all()
    assert np.isfinite(head.held_out).all()
    assert ((x @ head.weights + head.bias)[:, :2].argmax(1) == labels).mean() > 0.8


def test_a_feature_that_never_changes_says_nothing():
    x, labels = clouds((30, 30))
    x[:, 3] = 7.0
    head = linear_head.fit_head(x, one_hot(labels), alone(60))
    assert np.isfinite(head.weights).all()
    assert not head.weights[3].any()


def test_the_same_clips_give_the_same_head():
    x, labels = clouds((30, 30, 30))
    sources = np.array([f"r{i // 3}" for i in range(90)])
    first, again, other = (linear_head.fit_head(x, one_hot(labels), sources, seed=seed) for seed in (1, 1, 2))
    for field in fields(linear_head.LinearHead):
        np.testing.assert_equal(getattr(first, field.name), getattr(again, field.name))
    assert not np.array_equal(first.fold_of, other.fold_of)
