"""Tiles are what the representation computes, in any blocks, without seams."""

import numpy as np
import pytest

from soundmark.serving.spectrogram_tiles import (
    RANGE_DB,
    SpectrogramTiles,
    averaged_columns,
    tiles_of_recording,
    tiles_of_stream,
)
from soundmark.spectrograms import Image, LogMel, Mel, Waveform
from support.sounds import wave


def levels_of(representation, samples, rate_hz):
    """The pixels of ``render`` on the scale of the tiles."""
    image = representation.render(samples, rate_hz)
    silence = representation.render(np.zeros(rate_hz * 5, np.float32), rate_hz)
    db = image.pixels / 255 * (image.db_max - image.db_min) + image.db_min
    return np.clip((db - silence.db_min) / RANGE_DB, 0, 1) * 255


@pytest.mark.parametrize("representation", [LogMel(), Mel(), Image(rate_hz=32000)], ids=lambda kind: kind.name)
def test_a_clip_of_one_window_is_one_tile_with_the_values_of_the_model(representation):
    rate_hz = representation.rate_hz
    samples = wave(4.0, 1, rate_hz)
    tiles = tiles_of_recording(representation, rate_hz, 4.0, 4.0)
    (tile,) = [*tiles.push(0, samples), *tiles.end()]
    expected = levels_of(representation, samples, rate_hz)
    columns = tile.pixels.shape[1]
    assert columns == min(400, expected.shape[1])
    np.testing.assert_array_equal(tile.pixels, averaged_columns(expected.astype(np.float32), columns))


def test_the_tiles_of_a_long_sound_equal_its_spectrogram_without_seams():
    samples = wave(17.3, 2, 32000)
    tiles = tiles_of_recording(LogMel(), 32000, 17.3, 4.0)
    found = [tile for block in np.array_split(samples, 41) for tile in tiles.push(position(tiles), block)]
    found += tiles.end()
    pixels = np.concatenate([tile.pixels for tile in found], axis=1).astype(int)
    expected = levels_of(LogMel(), samples, 32000)
    assert pixels.shape[1] == expected.shape[1]
    # Each tile has the range of 80 dB below its own maximum, so only levels above that are compared.
    loud = expected > expected.max() - 255 * 60 / RANGE_DB
    assert np.abs(pixels - expected)[loud].max() <= 1.5


@pytest.mark.parametrize("representation", [Mel(), Waveform(rate_hz=22050)], ids=lambda kind: kind.name)
def test_a_quiet_moment_of_a_stream_is_displayed_as_quiet(representation):
    samples = wave(3.0, 4, 22050)
    samples[44100:] *= 0.001  # -60 dB
    tiles = tiles_of_stream(representation, 22050, 4.0)
    found = [*tiles.push(0, samples), *tiles.end()]
    loud, quiet = found[6], found[-1]
    assert loud.pixels.max() - quiet.pixels.max() > 255 * 40 / RANGE_DB


def position(tiles: SpectrogramTiles) -> int:
    return tiles._buffer_start + len(tiles._buffer)


@pytest.mark.parametrize("blocks", [1, 7, 400])
def test_tiles_do_not_depend_on_the_blocks(blocks):
    samples = wave(12.0, 3)
    found = []
    for count in (1, blocks):
        tiles, at, pixels = tiles_of_stream(Mel(), 22050, 1.0), 0, []
        for block in np.array_split(samples, count):
            pixels += [tile.pixels for tile in tiles.push(at, block)]
            at += len(block)
        found.append(np.concatenate(pixels + [tile.pixels for tile in tiles.end()], axis=1))
    np.testing.assert_array_equal(*found)


def test_a_gap_in_a_stream_is_a_gap_between_tiles():
    tiles = tiles_of_stream(LogMel(), 32000, 10.0)
    second = np.zeros(32000, np.float32)
    found = [*tiles.push(0, second), *tiles.push(96000, second), *tiles.end()]
    times = [(tile.start_s, tile.stop_s) for tile in found]
    assert times == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1), (3, 3.25), (3.25, 3.5), (3.5, 3.75), (3.75, 4)]


def test_a_long_recording_has_a_bounded_number_of_columns():
    tiles = tiles_of_recording(LogMel(), 32000, 12 * 3600.0, 10.0)
    (tile,) = tiles.push(0, np.zeros(12 * 32000, np.float32))
    assert tile.pixels.shape == (128, 20)  # 80 000 in twelve hours


def test_memory_does_not_grow_with_a_stream():
    tiles = tiles_of_stream(Mel(), 22050, 4.0)
    for second in range(60):
        tiles.push(second * 22050, np.zeros(22050, np.float32))
    assert len(tiles._buffer) <= 6 * 22050
