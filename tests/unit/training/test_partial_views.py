"""Partial views: a part of the clip, and nothing louder than clip and background."""

import numpy as np

from soundmark.spectrograms.logmel import FLOOR, MIDDLE, QUIETEST, SPREAD
from soundmark.training.transfer.partial_views import partial_view, partial_view_of_samples


def test_a_partial_view_has_a_part_of_the_clip_in_one_piece():
    rng = np.random.default_rng(0)
    clip, silence = np.full((4, 100), 1.0, np.float32), np.full((1, 4, 100), FLOOR, np.float32)
    for _ in range(20):
        view = partial_view(clip, silence, rng)
        audible = (view > 0.99).all(0)
        assert view.dtype == np.float32
        assert 30 <= audible.sum() <= 100
        assert np.ptp(np.flatnonzero(audible)) == audible.sum() - 1
        assert view.max() <= 1.001


def test_the_background_is_0_to_60_db_below_the_clip():
    rng = np.random.default_rng(0)
    clip, noise = np.full((4, 100), 1.0, np.float32), np.full((1, 4, 100), 0.5, np.float32)
    powers = [np.exp(partial_view(clip, noise, rng).astype(np.float64) * SPREAD + MIDDLE) - QUIETEST for _ in range(20)]
    quietest = [10 * np.log10(power.min() / np.exp(SPREAD + MIDDLE)) for power in powers]
    assert -61 < min(quietest) < max(quietest) <= 3.1


def test_a_partial_view_of_samples_has_a_part_of_the_clip_in_one_piece():
    rng = np.random.default_rng(0)
    clip = np.arange(1, 1001, dtype=np.float32)
    for _ in range(20):
        view = partial_view_of_samples(clip, np.zeros(1000, np.float32), rng)
        audible = np.flatnonzero(view)
        assert view.dtype == np.float32
        assert 300 <= len(audible) <= 1000
        assert np.ptp(audible) == len(audible) - 1
        assert (np.diff(view[audible]) == 1).all()


def test_the_background_of_samples_is_0_to_60_db_below_the_clip():
    rng = np.random.default_rng(0)
    clip = np.zeros(1000, np.float32)
    clip[:500] = 0.2
    noise, clip_db = rng.normal(0, 3, 1000).astype(np.float32), 10 * np.log10(0.02)
    levels = []
    for _ in range(50):
        view = partial_view_of_samples(clip, noise, rng)
        levels.append(10 * np.log10(np.square(view).reshape(10, 100).mean(axis=1).min()) - clip_db)
    assert -63 < min(levels) < -45
    assert -10 < max(levels) < 2


def test_silence_stays_silent():
    silence = np.zeros(100, np.float32)
    assert not partial_view_of_samples(silence, np.ones(100, np.float32), np.random.default_rng(0)).any()
