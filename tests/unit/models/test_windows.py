"""Sounds cut into windows: the stream as the whole, at every length on both sides of an edge."""

import numpy as np
import pytest

from soundmark.errors import SettingsError
from soundmark.models.windows import WindowCutter, hop_samples, windows


def cut(n: int, window_samples: float, hop: int, block: int) -> list[tuple[int, int, np.ndarray, int]]:
    samples = np.arange(n, dtype=np.float32)
    cutter = WindowCutter(window_samples, hop)
    found = []
    for start in range(0, n, block):
        found += [(w.start, w.stop, w.samples.copy(), w.new_from) for w in cutter.push(samples[start : start + block])]
    return found + [(w.start, w.stop, w.samples.copy(), w.new_from) for w in cutter.end()]


@pytest.mark.parametrize("n", [1, 99, 100, 101, 105, 106, 199, 200, 201, 250, 300, 1234])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("block", [1, 7, 100, 5000])
def test_a_stream_is_cut_as_the_whole_is(n, overlap, block):
    found = cut(n, 100.0, hop_samples(100.0, overlap), block)
    assert [(start, stop) for start, stop, *_ in found] == list(windows(n, 100.0, overlap))
    for start, stop, samples, _ in found:
        np.testing.assert_array_equal(samples, np.arange(start, stop))


@pytest.mark.parametrize("n", [105, 106, 250, 1234])
def test_what_is_new_in_each_window_tiles_the_sound(n):
    found = cut(n, 100.0, 25, 64)
    edges = [(new_from, stop) for _, stop, _, new_from in found]
    assert edges[0][0] == 0
    assert edges[-1][1] == n
    assert [stop for _, stop in edges[:-1]] == [new_from for new_from, _ in edges[1:]]


def test_a_window_of_a_fraction_of_a_sample_is_rounded_as_for_the_whole():
    assert [w[:2] for w in cut(1000, 99.6, 100, 33)] == list(windows(1000, 99.6))


def test_no_more_is_held_than_a_window_and_a_block():
    cutter = WindowCutter(1000.0, hop=100)
    for _ in range(500):
        for _ in cutter.push(np.zeros(300, np.float32)):
            pass
        assert len(cutter._held) <= 1050 + 300 + 100


def test_nothing_is_cut_of_no_sound():
    assert list(WindowCutter(100.0, hop=100).end()) == []


def test_behind_lost_sound_a_window_begins_anew():
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
def test_behind_lost_sound_a_stream_is_cut_as_a_sound_of_its_own(n, hop, before):
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


def test_what_is_in_no_window_is_counted_and_heard_at_an_end_before_what_is_lost():
    cutter = WindowCutter(100.0, hop=100)
    list(cutter.push(np.zeros(250, np.float32)))
    assert cutter.uncovered == 50
    assert [(w.start, w.stop, w.new_from) for w in cutter.end()] == [(150, 250, 200)]
    assert cutter.uncovered == 0
    cutter.skip(10)
    assert (cutter.uncovered, cutter.n_samples) == (0, 260)


@pytest.mark.parametrize("overlap", [-0.1, 1.0, float("nan")])
def test_an_overlap_that_is_no_share_is_refused(overlap):
    with pytest.raises(SettingsError, match=r"overlap is .*: give a share of the window, at least 0 and below 1"):
        hop_samples(100.0, overlap)
