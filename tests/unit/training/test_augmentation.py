"""Augmentation: each change compared with its closed form, random draws, finite results for silence and full scale."""

import math

import numpy as np
import pytest
import torch

from soundmark.spectrograms.logmel import FLOOR, MIDDLE, SPREAD
from soundmark.training.epochs.augmentation import apply_gain, augment, mixstyle, mixup, warp
from soundmark.training.named_recipes import RECIPES
from soundmark.training.recipe import Augmentation

AUGMENTED = [recipe.augmentation for recipe in RECIPES.values() if recipe.augmentation != Augmentation()]


class FixedGenerator:
    """Replaces a random generator: it returns the given start column, speed and band shift."""

    def __init__(self, start: int = 0, speed: float = 1.0, bands: float = 0.0) -> None:
        self.start, self.uniforms = start, [math.log(speed), bands]

    def integers(self, low: int, high: int, n: int) -> np.ndarray:
        assert low <= self.start < high
        return np.full(n, self.start)

    def uniform(self, low: float, high: float, n: int) -> np.ndarray:
        value = self.uniforms.pop(0)
        assert low <= value <= high
        return np.full(n, value)


def noise(n: int = 4, freq: int = 64, time: int = 128, seed: int = 0) -> torch.Tensor:
    """Random spectrograms with the range of real ones, from silence to loud."""
    return torch.from_numpy(np.random.default_rng(seed).uniform(FLOOR, 2.5, (n, 1, freq, time)).astype(np.float32))


def spectrogram(freq: int, time: int, *, band: int | None = None, column: int | None = None) -> torch.Tensor:
    """A tone (one band) or a click (one column) with the value 1 on 0, ``[1, 1, freq, time]``."""
    x = torch.zeros(1, 1, freq, time)
    x[:, :, slice(None) if band is None else band, slice(None) if column is None else column] = 1
    return x


# --- Warp -------------------------------------------------------------------------------------------------------------


def test_rolling_keeps_every_column_and_their_order():
    x = noise()
    rolled = warp(x, np.random.default_rng(3), roll=True, stretch=0.0, shift_bands=0.0)
    starts = []
    for before, after in zip(x, rolled, strict=True):
        (by,) = [by for by in range(128) if torch.equal(torch.roll(before, by, 2), after)]
        starts.append(by)
    assert len(set(starts)) == 4  # a different shift for each


def test_warp_without_options_or_with_zero_draws_changes_nothing():
    x = noise()
    assert torch.equal(warp(x, np.random.default_rng(0), roll=False, stretch=0.0, shift_bands=0.0), x)
    unchanged = warp(x, FixedGenerator(), roll=False, stretch=0.1, shift_bands=2.0)
    torch.testing.assert_close(unchanged, x, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("bands", "shares"), [(2.0, {18: 1.0}), (-3.0, {23: 1.0}), (0.4, {20: 1.0}), (0.7, {19: 1.0})])
def test_a_tone_is_shifted_by_the_drawn_number_of_bands(bands, shares):
    tone = warp(spectrogram(64, 32, band=20), FixedGenerator(bands=bands), roll=True, stretch=0.0, shift_bands=4.0)
    expected = torch.zeros(64)
    for band, share in shares.items():
        expected[band] = share
    torch.testing.assert_close(tone[0, 0], expected[:, None].expand(64, 32), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("start", "speed", "shares"),
    [
        (5, 1.0, {35: 1.0}),
        (50, 1.0, {54: 1.0}),  # wraps around: 40 − 50 + 64
        (0, 0.5, {}),  # half speed: column 40 moves to 80, beyond the end
        (20, 0.5, {40: 1.0, 41: 1.0}),
        (0, 3.0, {13: 1.0}),  # 3 · 13 + 1
        (1, 3.0, {34: 1.0}),  # 3 · 34 + 2 − 64
    ],
)
def test_a_click_moves_to_the_column_given_by_start_and_speed(start, speed, shares):
    click = warp(spectrogram(8, 64, column=40), FixedGenerator(start, speed), roll=True, stretch=1.1, shift_bands=0.0)
    expected = torch.zeros(64)
    for column, share in shares.items():
        expected[column] = share
    torch.testing.assert_close(click[0, 0], expected.expand(8, 64), atol=1e-4, rtol=0)


def test_the_last_band_is_repeated_beyond_the_edge():
    x = noise(1, 8, 16)
    higher = warp(x, FixedGenerator(bands=3.0), roll=False, stretch=0.0, shift_bands=3.0)
    torch.testing.assert_close(higher[0, 0, 5:], x[0, 0, 7].expand(3, 16), atol=1e-4, rtol=0)


# --- Gain -------------------------------------------------------------------------------------------------------------


def test_gain_adds_decibels_of_power():
    x, gain_db = noise(3) + 3.0, torch.tensor([6.0, -6.0, 0.0])  # far above the floor
    before = np.exp(x.double().numpy() * SPREAD + MIDDLE)
    after = np.exp(apply_gain(x, gain_db).double().numpy() * SPREAD + MIDDLE)
    decibels = 10 * np.log10(after / before)
    np.testing.assert_allclose(decibels, np.broadcast_to([[[[6.0]]], [[[-6.0]]], [[[0.0]]]], x.shape), atol=1e-4)


def test_gain_does_not_go_below_silence():
    silence = torch.full((2, 1, 3, 3), float(FLOOR))
    assert torch.equal(apply_gain(silence, torch.tensor([-30.0, 0.0])), silence)
    assert apply_gain(noise(), torch.full((4,), -60.0)).min() == np.float32(FLOOR)


# --- MixStyle ---------------------------------------------------------------------------------------------------------


def test_mixstyle_interpolates_mean_and_sd_of_each_band_with_the_partner():
    x = (
        noise(3) * torch.tensor([0.2, 0.1, 0.3])[:, None, None, None]
        + torch.tensor([1.0, 2.0, 3.0])[:, None, None, None]
    )
    share, partner = torch.tensor([0.25, 1.0, 0.5]), torch.tensor([2, 0, 1])
    styled, s = mixstyle(x, share, partner).double().numpy(), x.double().numpy()
    level, spread = s.mean(3), s.std(3)
    for i, (own, other) in enumerate([(0.25, 2), (1.0, 0), (0.5, 1)]):
        np.testing.assert_allclose(styled[i].mean(2), own * level[i] + (1 - own) * level[other], atol=1e-5)
        np.testing.assert_allclose(styled[i].std(2), own * spread[i] + (1 - own) * spread[other], rtol=0.01)
        for ours, before in zip(styled[i, 0], s[i, 0], strict=True):  # the course over time is the same
            assert np.corrcoef(ours, before)[0, 1] == pytest.approx(1)


def test_mixstyle_with_weight_1_changes_nothing():
    x = noise()
    torch.testing.assert_close(mixstyle(x, torch.ones(4), torch.tensor([3, 2, 1, 0])), x, atol=1e-5, rtol=0)


def test_mixstyle_does_not_amplify_a_constant_band():
    x = noise(2)
    x[0] = 1.0 + 1e-6 * torch.randn(
        1, 64, 128, generator=torch.Generator().manual_seed(0)
    )  # constant but for rounding errors
    styled = mixstyle(x, torch.zeros(2), torch.tensor([1, 0]))
    assert (styled[0].std(2) < 1e-2).all()


@pytest.mark.parametrize(("share", "changed"), [(0.0, 0), (0.5, 100), (1.0, 200)])
def test_mixstyle_has_its_probability_and_keeps_the_targets(share, changed):
    generator, how = np.random.default_rng(0), Augmentation(mixstyle=0.3, mixstyle_probability=share)
    x = noise(6, 2, 4)
    found = [augment(x, torch.eye(6), how, generator) for _ in range(200)]
    assert all(torch.equal(targets, torch.eye(6)) for _, targets in found)
    assert sum(not torch.equal(styled, x) for styled, _ in found) == pytest.approx(changed, abs=changed * 0.15)


# --- Mixup ------------------------------------------------------------------------------------------------------------


def test_a_mixture_is_the_logarithm_of_the_weighted_sum_of_powers():
    x, targets = noise(3), torch.eye(3)
    share, partner = torch.tensor([0.25, 1.0, 0.5]), torch.tensor([2, 0, 1])
    mixed, labels = mixup(x, targets, share, partner)
    s = x.double().numpy()
    for i, (own, other) in enumerate([(0.25, 2), (1.0, 0), (0.5, 1)]):
        power = own * np.exp(5.0 * s[i] - 4.5) + (1 - own) * np.exp(5.0 * s[other] - 4.5)
        np.testing.assert_allclose(mixed[i].numpy(), (np.log(power) + 4.5) / 5.0, atol=2e-6)
    torch.testing.assert_close(labels, torch.tensor([[0.25, 0, 0.75], [0, 1, 0], [0, 0.5, 0.5]]))


def test_mixup_draws_a_weight_per_clip_and_mixes_the_targets_with_it():
    n = 64
    x = torch.arange(n, dtype=torch.float32)[:, None, None, None] / n
    mixed, targets = augment(x, torch.eye(n), Augmentation(mixup=1.0), np.random.default_rng(0))
    expected = (torch.log(targets.double() @ torch.exp(x.double().flatten() * SPREAD + MIDDLE)) - MIDDLE) / SPREAD
    torch.testing.assert_close(mixed.flatten().double(), expected, atol=1e-5, rtol=0)
    shares = targets.diagonal()
    assert len(shares.unique()) > 50
    assert 0.35 < shares.mean() < 0.65


@pytest.mark.parametrize(("share", "mixed"), [(0.0, 0), (0.5, 100), (1.0, 200)])
def test_mixup_has_its_probability(share, mixed):
    generator, how = np.random.default_rng(0), Augmentation(mixup=1.0, mixup_probability=share)
    targets = [augment(noise(6, 2, 2), torch.eye(6), how, generator)[1] for _ in range(200)]
    assert sum(not torch.equal(one, torch.eye(6)) for one in targets) == pytest.approx(mixed, abs=mixed * 0.15)


# --- All together -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", AUGMENTED)
def test_the_same_seed_gives_the_same_result(how):
    first, again, other = (augment(noise(), torch.eye(4), how, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("how", [*AUGMENTED, Augmentation(roll=True), Augmentation(gain_db=6.0)])
def test_the_inputs_are_not_modified(how):
    x, targets = noise(), torch.eye(4)
    augment(x, targets, how, np.random.default_rng(0))
    assert torch.equal(x, noise())
    assert torch.equal(targets, torch.eye(4))


@pytest.mark.parametrize("how", AUGMENTED)
@pytest.mark.parametrize("level", [FLOOR, 10.0])
def test_results_for_silence_and_full_scale_are_finite(how, level):
    x = torch.full((4, 1, 64, 128), float(level))
    for seed in range(10):
        changed, targets = augment(x, torch.eye(4), how, np.random.default_rng(seed))
        assert changed.isfinite().all()
        assert changed.dtype == torch.float32
        assert changed.min() >= FLOOR - 1e-5
        torch.testing.assert_close(targets.sum(1), torch.ones(4))


def test_the_default_augmentation_changes_nothing():
    x, targets = noise(), torch.eye(4)
    changed = augment(x, targets, Augmentation(), np.random.default_rng(0))
    assert torch.equal(changed[0], x)
    assert torch.equal(changed[1], targets)
