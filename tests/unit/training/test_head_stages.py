"""Heads of growing training sets, scored on recordings that none of them was fitted on."""

import numpy as np
import pytest

from soundmark.datasets import splits
from soundmark.training.transfer import head_stages, linear_head
from soundmark.training.transfer.backgrounds import Backgrounds


@pytest.fixture
def clips() -> dict[str, np.ndarray]:
    """60 clips of 30 recordings and four classes; the last class is only in the second half."""
    rng = np.random.default_rng(0)
    labels = np.where(np.arange(60) < 30, np.arange(60) % 3, np.arange(60) % 4)
    views = rng.normal(0, 1.0, (2, 60, 6)) + np.eye(4, 6)[labels] * 3
    sources = (np.arange(60) // 2).astype(str)
    return {"views": views.astype(np.float32), "targets": np.eye(4)[labels], "sources": sources}


@pytest.mark.parametrize("with_backgrounds", [False, True])
def test_each_stage_is_fitted_without_the_recordings_that_it_scores(clips, with_backgrounds):
    """Against a plain loop over the folds."""
    views, targets, sources = clips.values()
    noises = np.random.default_rng(1).normal(size=(10, 6)).astype(np.float32)
    groups = np.array(["synthetic"] * 6 + ["rain"] * 4)
    backgrounds = Backgrounds(features=noises, groups=groups) if with_backgrounds else None
    stages = [np.arange(60) < 30, np.arange(60) < 45, np.ones(60, bool)]
    found = list(
        head_stages.held_out_logits(
            views, targets, sources, stages, shrinkage=0.5, backgrounds=backgrounds, activation="softmax", seed=3
        )
    )
    fold_of = splits.assign_folds(sources, targets, k=5, seed=3)
    for stage, logits in zip(stages, found, strict=True):
        for fold in range(1, 6):
            train, test = stage & (fold_of != fold), fold_of == fold
            assert not set(sources[train]) & set(sources[test])
            others = backgrounds and backgrounds.moments(4, len(views))
            weights, bias = linear_head.fit_weights(views[:, train], targets[train], 0.5, others=others)
            expected = views[0][test] @ weights[:, :4] + bias[:4]
            known = targets[train].any(axis=0)
            np.testing.assert_allclose(logits[test][:, known], expected[:, known], rtol=2e-3, atol=2e-3)
            assert (logits[test][:, ~known] == head_stages.ABSENT).all()


def test_a_class_that_a_stage_does_not_have_is_never_predicted(clips):
    views, targets, sources = clips.values()
    first, _ = head_stages.held_out_logits(
        views, targets, sources, [np.arange(60) < 30, np.ones(60, bool)], shrinkage=0.5
    )
    assert (first.argmax(axis=1) < 3).all()


def test_a_stage_without_clips_knows_nothing(clips):
    views, targets, sources = clips.values()
    nothing, everything = head_stages.held_out_logits(
        views, targets, sources, [np.zeros(60, bool), np.ones(60, bool)], shrinkage=0.5
    )
    assert (nothing == head_stages.ABSENT).all()
    assert (everything.argmax(axis=1) == targets.argmax(axis=1)).mean() > 0.8


def test_the_work_ends_when_the_check_raises(clips):
    views, targets, sources = clips.values()

    def stop():
        raise InterruptedError

    stages = [np.ones(60, bool)]
    with pytest.raises(InterruptedError):
        list(head_stages.held_out_logits(views, targets, sources, stages, shrinkage=0.5, check=stop))
