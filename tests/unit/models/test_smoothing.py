"""WindowSmoother and the level of events."""

import numpy as np
import pytest

from soundmark.audio.level import a_weighted_power, a_weighting_db, mean_power, power_db
from soundmark.models.events import EventTracker, Segment, WindowSmoother

# IEC 61672-1:2013, table 3: design goals of the A-weighting, in dB.
TABLE = {
    10: -70.4, 12.5: -63.4, 16: -56.7, 20: -50.5, 25: -44.7, 31.5: -39.4, 40: -34.6, 50: -30.2, 63: -26.2, 80: -22.5,
    100: -19.1, 125: -16.1, 160: -13.4, 200: -10.9, 250: -8.6, 315: -6.6, 400: -4.8, 500: -3.2, 630: -1.9, 800: -0.8,
    1000: 0.0, 1250: 0.6, 1600: 1.0, 2000: 1.2, 2500: 1.3, 3150: 1.2, 4000: 1.0, 5000: 0.5, 6300: -0.1, 8000: -1.1,
    10000: -2.5, 12500: -4.3, 16000: -6.6, 20000: -9.3,
}  # fmt: skip


def smoothed(values, hop_s=2.0, window_s=4.0, last_start_s=None):
    smoother = WindowSmoother(hop_s)
    starts = [hop_s * i for i in range(len(values))]
    if last_start_s is not None:
        starts[-1] = last_start_s
    found = []
    for start, value in zip(starts, values, strict=True):
        found += smoother.push(Segment(start, start + window_s, np.array([value])))
    return found + smoother.end()


def slow_twin(values, starts, window_s=4.0):
    result = []
    for a in starts:
        weights = np.array([max(0.0, window_s - abs(a - b)) for b in starts])
        result.append(float(weights @ values / weights.sum()))
    return result


@pytest.mark.parametrize("hop_s", [0.5, 1.0, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("n", [1, 2, 5, 30])
def test_probabilities_are_averaged_by_overlap(hop_s: float, n: int):
    values = np.random.default_rng(0).random(n)
    found = smoothed(values, hop_s)
    np.testing.assert_allclose(
        [float(w.probabilities[0]) for w in found], slow_twin(values, [hop_s * i for i in range(n)])
    )
    assert [w.start_s for w in found] == [hop_s * i for i in range(n)]


def test_without_overlap_nothing_is_averaged():
    assert [float(w.probabilities[0]) for w in smoothed([0.1, 0.9, 0.2], 4.0)] == [0.1, 0.9, 0.2]


def test_a_window_is_returned_after_half_a_window_and_the_buffer_does_not_grow():
    smoother, delays = WindowSmoother(2.0), []
    for i in range(1000):
        window = Segment(2.0 * i, 2.0 * i + 4, np.array([0.5]))
        delays += [window.stop_s - each.stop_s for each in smoother.push(window)]
        assert len(smoother._windows) <= 3
    assert set(delays) == {2.0}


def test_the_level_of_an_event_is_that_of_its_mean_power():
    tracker = EventTracker(("dog",), threshold=0.5, calibration_db=100.0)
    found = []
    for i, power in enumerate((1e-6, 0.01, 0.03, 1e-6)):
        p = np.array([0.9 if power > 1e-3 else 0.1])
        found += tracker.step(Segment(4.0 * i, 4.0 * i + 4, p, power, power / 10))
    (event,) = found + tracker.end()
    assert event.level_dbfs == pytest.approx(10 * np.log10(0.02))
    assert event.level_dba == pytest.approx(10 * np.log10(0.002) + 100)


def test_a_weighting_is_that_of_the_standard():
    exact_hz = [1000 * 10 ** (round(10 * np.log10(f / 1000)) / 10) for f in TABLE]
    np.testing.assert_allclose(a_weighting_db(exact_hz), list(TABLE.values()), atol=0.06)


@pytest.mark.parametrize("frequency_hz", [100, 1000, 5000])
@pytest.mark.parametrize("n", [31999, 32000])
def test_a_weighted_power_of_a_sine(frequency_hz: int, n: int):
    sine = np.sin(2 * np.pi * frequency_hz * np.arange(n) / 32000).astype(np.float32)
    assert power_db(mean_power(sine)) == pytest.approx(-3.01, abs=0.01)
    gain_db = power_db(a_weighted_power(sine, 32000)) - power_db(mean_power(sine))
    assert gain_db == pytest.approx(float(a_weighting_db(frequency_hz)), abs=0.05)


def test_silence_has_a_finite_level():
    assert (
        power_db(mean_power(np.zeros(0, np.float32))) == power_db(a_weighted_power(np.zeros(8, np.float32), 8)) == -160
    )
