"""The included recordings of nature: complete, attributed, audible, and the same variations on each run."""

import csv
import itertools
from importlib import resources

import numpy as np
import pytest

from soundmark.audio import nature

FOLDER = resources.files("soundmark.audio.nature")
LICENCES = {"CC0-1.0", "CC-BY-3.0", "CC-BY-SA-3.0"}


@pytest.fixture(scope="module")
def recordings() -> tuple[nature.Recording, ...]:
    return nature.recordings(16000)


def test_each_recording_has_a_group_an_author_a_licence_and_a_source():
    rows = list(csv.DictReader((FOLDER / "sounds.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 76
    assert all(row["author"] and row["source"] and row["licence"] in LICENCES for row in rows)
    times = [(float(row["start_s"]), float(row["stop_s"])) for row in rows]
    assert all(0.5 < stop - start < 10.001 for start, stop in times)
    assert all(stop < start for (_, stop), (start, _) in itertools.pairwise(times))


def test_the_recordings_are_audible_and_end_before_the_next_one(recordings):
    groups = nature.recording_groups()
    assert tuple(recording.group for recording in recordings) == groups
    for recording in recordings:
        assert recording.samples.dtype == np.float32
        assert 0.1 < np.abs(recording.samples).max() < 1
        assert np.square(recording.samples[-8000:]).mean() < 100 * np.square(recording.samples).mean()


def test_a_variation_depends_on_the_generator_alone(recordings):
    same = [nature.variation(recordings[5], np.random.default_rng([1, 2]), 32000) for _ in range(2)]
    np.testing.assert_array_equal(*same)
    other = nature.variation(recordings[5], np.random.default_rng([1, 3]), 32000)
    assert not np.array_equal(same[0], other)


def test_variations_have_levels_from_minus_60_to_minus_10_dbfs(recordings):
    sounds = [nature.variation(recording, np.random.default_rng(n), 16000) for n, recording in enumerate(recordings)]
    levels = np.array([10 * np.log10(np.square(sound, dtype=np.float64).mean()) for sound in sounds])
    assert levels.min() > -62
    assert levels.max() < -9
    assert np.ptp(levels) > 40


@pytest.mark.parametrize("n", [1, 2, 100, 16000 * 25])
def test_a_variation_has_any_length(recordings, n):
    sound = nature.variation(recordings[0], np.random.default_rng(0), n)
    assert sound.shape == (n,)
    assert np.isfinite(sound).all()
