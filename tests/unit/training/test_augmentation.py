"""What training hears instead of a clip: each change has a closed form, and silence stays a number."""

import math

import numpy as np
import pytest
import torch

from soundmark.spectrograms.logmel import FLOOR, MIDDLE, SPREAD
from soundmark.training.augmentation import augment, louder, mix, restyle, warp
from soundmark.training.named_recipes import RECIPES
from soundmark.training.recipe import Augmentation

AUGMENTED = [recipe.augmentation for recipe in RECIPES.values() if recipe.augmentation != Augmentation()]


class Drawn:
    """Stands for a generator that draws what it was told to."""

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
    """Spectrograms as real ones are: from silence to loud."""
    return torch.from_numpy(np.random.default_rng(seed).uniform(FLOOR, 2.5, (n, 1, freq, time)).astype(np.float32))


def picture(freq: int, time: int, *, band: int | None = None, column: int | None = None) -> torch.Tensor:
    """A tone (one band) or a click (one column) of 1 on 0, ``[1, 1, freq, time]``."""
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
    assert len(set(starts)) == 4  # each its own


def test_what_is_not_asked_for_is_not_done():
    x = noise()
    assert torch.equal(warp(x, np.random.default_rng(0), roll=False, stretch=0.0, shift_bands=0.0), x)
    still = warp(x, Drawn(), roll=False, stretch=0.1, shift_bands=2.0)  # neither faster nor higher was drawn
    torch.testing.assert_close(still, x, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("bands", "shares"), [(2.0, {18: 1.0}), (-3.0, {23: 1.0}), (0.4, {20: 1.0}), (0.7, {19: 1.0})])
def test_a_tone_moves_by_the_bands_that_were_drawn(bands, shares):
    tone = warp(picture(64, 32, band=20), Drawn(bands=bands), roll=True, stretch=0.0, shift_bands=4.0)
    expected = torch.zeros(64)
    for band, share in shares.items():
        expected[band] = share
    torch.testing.assert_close(tone[0, 0], expected[:, None].expand(64, 32), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("start", "speed", "shares"),
    [
        (5, 1.0, {35: 1.0}),
        (50, 1.0, {54: 1.0}),  # round the end: 40 − 50 + 64
        (0, 0.5, {}),  # twice as long: 40 is heard at 80, when it is over
        (20, 0.5, {40: 1.0, 41: 1.0}),
        (0, 3.0, {13: 1.0}),  # 3 · 13 + 1
        (1, 3.0, {34: 1.0}),  # 3 · 34 + 2 − 64
    ],
)
def test_a_click_is_heard_at_the_column_that_was_drawn(start, speed, shares):
    click = warp(picture(8, 64, column=40), Drawn(start, speed), roll=True, stretch=1.1, shift_bands=0.0)
    expected = torch.zeros(64)
    for column, share in shares.items():
        expected[column] = share
    torch.testing.assert_close(click[0, 0], expected.expand(8, 64), atol=1e-4, rtol=0)


def test_beyond_the_edge_the_last_band_goes_on():
    x = noise(1, 8, 16)
    higher = warp(x, Drawn(bands=3.0), roll=False, stretch=0.0, shift_bands=3.0)
    torch.testing.assert_close(higher[0, 0, 5:], x[0, 0, 7].expand(3, 16), atol=1e-4, rtol=0)


# --- Gain -------------------------------------------------------------------------------------------------------------


def test_louder_is_that_many_decibels_of_power_more():
    x, gain_db = noise(3) + 3.0, torch.tensor([6.0, -6.0, 0.0])  # far above the floor
    power = np.exp(x.double().numpy() * SPREAD + MIDDLE)
    more = np.exp(louder(x, gain_db).double().numpy() * SPREAD + MIDDLE)
    decibels = 10 * np.log10(more / power)
    np.testing.assert_allclose(decibels, np.broadcast_to([[[[6.0]]], [[[-6.0]]], [[[0.0]]]], x.shape), atol=1e-4)


def test_quieter_than_silence_there_is_nothing():
    silence = torch.full((2, 1, 3, 3), float(FLOOR))
    assert torch.equal(louder(silence, torch.tensor([-30.0, 0.0])), silence)
    assert louder(noise(), torch.full((4,), -60.0)).min() == np.float32(FLOOR)


# --- Style ------------------------------------------------------------------------------------------------------------


def test_each_band_has_the_level_and_spread_between_its_own_and_its_partners():
    x = (
        noise(3) * torch.tensor([0.2, 0.1, 0.3])[:, None, None, None]
        + torch.tensor([1.0, 2.0, 3.0])[:, None, None, None]
    )
    share, partner = torch.tensor([0.25, 1.0, 0.5]), torch.tensor([2, 0, 1])
    styled, s = restyle(x, share, partner).double().numpy(), x.double().numpy()
    level, spread = s.mean(3), s.std(3)
    for i, (own, other) in enumerate([(0.25, 2), (1.0, 0), (0.5, 1)]):
        np.testing.assert_allclose(styled[i].mean(2), own * level[i] + (1 - own) * level[other], atol=1e-5)
        np.testing.assert_allclose(styled[i].std(2), own * spread[i] + (1 - own) * spread[other], rtol=0.01)
        for ours, before in zip(styled[i, 0], s[i, 0], strict=True):  # what happens in a band stays what it was
            assert np.corrcoef(ours, before)[0, 1] == pytest.approx(1)


def test_with_its_own_style_a_sound_is_what_it_was():
    x = noise()
    torch.testing.assert_close(restyle(x, torch.ones(4), torch.tensor([3, 2, 1, 0])), x, atol=1e-5, rtol=0)


def test_a_band_in_which_nothing_happens_is_not_blown_up():
    x = noise(2)
    x[0] = 1.0 + 1e-6 * torch.randn(1, 64, 128, generator=torch.Generator().manual_seed(0))  # a hum, and rounding
    styled = restyle(x, torch.zeros(2), torch.tensor([1, 0]))
    assert (styled[0].std(2) < 1e-2).all()


@pytest.mark.parametrize(("share", "changed"), [(0.0, 0), (0.5, 100), (1.0, 200)])
def test_so_many_batches_are_restyled_and_no_target_is(share, changed):
    generator, how = np.random.default_rng(0), Augmentation(mixstyle=0.3, mixstyle_probability=share)
    x = noise(6, 2, 4)
    found = [augment(x, torch.eye(6), how, generator) for _ in range(200)]
    assert all(torch.equal(targets, torch.eye(6)) for _, targets in found)
    assert sum(not torch.equal(styled, x) for styled, _ in found) == pytest.approx(changed, abs=changed * 0.15)


# --- Mixing -----------------------------------------------------------------------------------------------------------


def test_two_sounds_at_once_are_the_logarithm_of_the_sum_of_their_powers():
    x, targets = noise(3), torch.eye(3)
    share, partner = torch.tensor([0.25, 1.0, 0.5]), torch.tensor([2, 0, 1])
    mixed, labels = mix(x, targets, share, partner)
    s = x.double().numpy()
    for i, (own, other) in enumerate([(0.25, 2), (1.0, 0), (0.5, 1)]):
        power = own * np.exp(5.0 * s[i] - 4.5) + (1 - own) * np.exp(5.0 * s[other] - 4.5)
        np.testing.assert_allclose(mixed[i].numpy(), (np.log(power) + 4.5) / 5.0, atol=2e-6)
    torch.testing.assert_close(labels, torch.tensor([[0.25, 0, 0.75], [0, 1, 0], [0, 0.5, 0.5]]))


def test_mixup_draws_a_share_for_each_and_mixes_the_targets_alike():
    n = 64
    x = torch.arange(n, dtype=torch.float32)[:, None, None, None] / n
    mixed, targets = augment(x, torch.eye(n), Augmentation(mixup=1.0), np.random.default_rng(0))
    expected = (torch.log(targets.double() @ torch.exp(x.double().flatten() * SPREAD + MIDDLE)) - MIDDLE) / SPREAD
    torch.testing.assert_close(mixed.flatten().double(), expected, atol=1e-5, rtol=0)
    shares = targets.diagonal()
    assert len(shares.unique()) > 50
    assert 0.35 < shares.mean() < 0.65


@pytest.mark.parametrize(("share", "mixed"), [(0.0, 0), (0.5, 100), (1.0, 200)])
def test_so_many_batches_are_mixed(share, mixed):
    generator, how = np.random.default_rng(0), Augmentation(mixup=1.0, mixup_probability=share)
    targets = [augment(noise(6, 2, 2), torch.eye(6), how, generator)[1] for _ in range(200)]
    assert sum(not torch.equal(one, torch.eye(6)) for one in targets) == pytest.approx(mixed, abs=mixed * 0.15)


# --- All of it --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", AUGMENTED)
def test_the_same_generator_gives_the_same(how):
    first, again, other = (augment(noise(), torch.eye(4), how, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("how", [*AUGMENTED, Augmentation(roll=True), Augmentation(gain_db=6.0)])
def test_what_was_given_is_left_as_it_was(how):
    x, targets = noise(), torch.eye(4)
    augment(x, targets, how, np.random.default_rng(0))
    assert torch.equal(x, noise())
    assert torch.equal(targets, torch.eye(4))


@pytest.mark.parametrize("how", AUGMENTED)
@pytest.mark.parametrize("level", [FLOOR, 10.0])
def test_silence_and_the_loudest_stay_numbers(how, level):
    x = torch.full((4, 1, 64, 128), float(level))
    for seed in range(10):
        changed, targets = augment(x, torch.eye(4), how, np.random.default_rng(seed))
        assert changed.isfinite().all()
        assert changed.dtype == torch.float32
        assert changed.min() >= FLOOR - 1e-5
        torch.testing.assert_close(targets.sum(1), torch.ones(4))


def test_nothing_is_changed_by_default():
    x, targets = noise(), torch.eye(4)
    changed = augment(x, targets, Augmentation(), np.random.default_rng(0))
    assert torch.equal(changed[0], x)
    assert torch.equal(changed[1], targets)
