"""A stream is split into the same windows as the complete recording, at lengths around every edge."""

import numpy as np
import pytest

from soundmark.audio.windows import hop_samples, windows
from soundmark.errors import SettingsError
from soundmark.models.windows import WindowCutter


def cut_stream(n: int, window_samples: float, hop: int, block: int) -> list[tuple[int, int, np.ndarray, int]]:
    samples = np.arange(n, dtype=np.float32)
    cutter = WindowCutter(window_samples, hop)
    found = []
    for start in range(0, n, block):
        found += [(w.start, w.stop, w.samples.copy(), w.new_from) for w in cutter.push(samples[start : start + block])]
    return found + [(w.start, w.stop, w.samples.copy(), w.new_from) for w in cutter.end()]


@pytest.mark.parametrize("n", [1, 99, 100, 101, 105, 106, 199, 200, 201, 250, 300, 1234])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("block", [1, 7, 100, 5000])
def test_stream_is_split_like_the_complete_recording(n, overlap, block):
    found = cut_stream(n, 100.0, hop_samples(100.0, overlap), block)
    assert [(start, stop) for start, stop, *_ in found] == list(windows(n, 100.0, overlap))
    for start, stop, samples, _ in found:
        np.testing.assert_array_equal(samples, np.arange(start, stop))


@pytest.mark.parametrize("n", [105, 106, 250, 1234])
def test_new_samples_of_the_windows_tile_the_recording(n):
    found = cut_stream(n, 100.0, 25, 64)
    edges = [(new_from, stop) for _, stop, _, new_from in found]
    assert edges[0][0] == 0
    assert edges[-1][1] == n
    assert [stop for _, stop in edges[:-1]] == [new_from for new_from, _ in edges[1:]]


def test_window_length_with_a_fraction_is_rounded_like_for_the_complete_recording():
    assert [w[:2] for w in cut_stream(1000, 99.6, 100, 33)] == list(windows(1000, 99.6))


def test_buffer_is_at_most_a_window_and_a_block():
    cutter = WindowCutter(1000.0, hop=100)
    for _ in range(500):
        for _ in cutter.push(np.zeros(300, np.float32)):
            pass
        assert cutter.buffered_samples <= 1050 + 300 + 100


def test_empty_stream_has_no_windows():
    assert list(WindowCutter(100.0, hop=100).end()) == []


def test_new_windows_start_after_a_gap():
    cutter = WindowCutter(100.0, hop=100)
    before = [w.start for w in cutter.push(np.zeros(250, np.float32))]
    cutter.skip(60)
    after = [(w.start, w.stop) for w in cutter.push(np.ones(150, np.float32))]
    assert before == [0, 100]
    assert after == [(310, 410)]
    assert [(w.start, w.stop, w.new_from) for w in cutter.end()] == [(360, 460, 410)]


@pytest.mark.parametrize("n", [1, 50, 99, 100, 105, 106, 150, 250, 437])
@pytest.mark.parametrize("hop", [25, 100])
@pytest.mark.parametrize("before", [0, 40, 100, 130, 250])
def test_stream_after_a_gap_is_split_like_a_separate_recording(n, hop, before):
    cutter = WindowCutter(100.0, hop)
    list(cutter.push(np.zeros(before, np.float32)))
    cutter.skip(60)
    sound = np.arange(n, dtype=np.float32)
    found = [(w.start, w.stop, w.samples.copy()) for part in np.array_split(sound, 7) for w in cutter.push(part)]
    found += [(w.start, w.stop, w.samples.copy()) for w in cutter.end()]
    first = before + 60
    assert [(start - first, stop - first) for start, stop, _ in found] == list(windows(n, 100.0, 1 - hop / 100))
    for start, stop, samples in found:
        np.testing.assert_array_equal(samples, np.arange(start - first, stop - first))


def test_uncovered_samples_are_counted_and_part_of_the_last_window_before_a_gap():
    cutter = WindowCutter(100.0, hop=100)
    list(cutter.push(np.zeros(250, np.float32)))
    assert cutter.uncovered == 50
    assert [(w.start, w.stop, w.new_from) for w in cutter.end()] == [(150, 250, 200)]
    assert cutter.uncovered == 0
    cutter.skip(10)
    assert (cutter.uncovered, cutter.n_samples) == (0, 260)


@pytest.mark.parametrize("overlap", [-0.1, 1.0, float("nan")])
def test_overlap_outside_0_to_1_is_refused(overlap):
    with pytest.raises(SettingsError, match=r"overlap is .*: expected a fraction of the window, at least 0"):
        hop_samples(100.0, overlap)


@pytest.mark.parametrize("window_samples", [1e-9, 0.4, 1.0])
def test_a_window_has_at_least_one_sample(window_samples):
    cutter = WindowCutter(window_samples, hop=1)
    cut = [*cutter.push(np.zeros(3, np.float32)), *cutter.end()]
    assert [(window.start, window.stop) for window in cut] == [(0, 1), (1, 2), (2, 3)]
    assert list(windows(3, window_samples)) == [(0, 1), (1, 2), (2, 3)]
