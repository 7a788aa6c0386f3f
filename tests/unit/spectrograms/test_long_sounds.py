"""Hours of sound: pictures of a limited width, in a limited amount of memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from soundmark.audio import resampling
from soundmark.spectrograms import REPRESENTATIONS, Image, Mel, Representation, drawing, from_settings
from soundmark.spectrograms import image as image_module
from soundmark.spectrograms import representation as representation_module
from support.memory import run_measured
from support.sounds import wave

RATE_HZ = 22_050
MINUTES = 10
MOST_MB = 550  # the samples, in float32, are 106 MB; without averages, a coloured picture took 2.2 GB

SOUND = f"""
import numpy as np
samples = np.random.default_rng(0).standard_normal({MINUTES} * 60 * 44_100, np.float32)
from pathlib import Path
from soundmark.spectrograms import drawing, from_settings
made = from_settings({{"name": NAME}})
"""


@pytest.fixture(params=REPRESENTATIONS)
def representation(request: pytest.FixtureRequest) -> Representation:
    return from_settings({"name": request.param})


@pytest.mark.slow
@pytest.mark.parametrize("axes", [False, True])
@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_a_picture_of_a_long_sound_takes_little_memory(tmp_path: Path, name: str, axes: bool):
    path = tmp_path / "long.png"
    code = f"drawing.draw(made.render(samples, 44_100), Path({str(path)!r}), colours='magma', axes={axes})"
    _, peak_mb = run_measured(SOUND.replace("NAME", repr(name)) + code)
    assert path.stat().st_size
    assert peak_mb < MOST_MB


@pytest.mark.parametrize("most", [100, 7, 1])
def test_the_picture_is_that_of_all_frames_averaged(
    representation: Representation, monkeypatch: pytest.MonkeyPatch, most: int
):
    samples = wave(4.0, rate_hz=RATE_HZ)
    full = representation.render(samples, RATE_HZ).pixels.astype(float)
    monkeypatch.setattr(representation_module, "MOST_COLUMNS", most)
    monkeypatch.setattr(image_module, "BLOCK_FRAMES", 20)
    picture = representation.render(samples, RATE_HZ)
    n = -(-full.shape[1] // most)
    groups = [full[:, at : at + n].mean(axis=1) for at in range(0, full.shape[1], n)]
    assert picture.pixels.shape == (len(full), len(groups))
    assert len(groups) <= most
    assert picture.duration_s == 4.0
    if representation.name != "logmel":  # whose range follows from the loudest value
        assert np.abs(picture.pixels - np.stack(groups, axis=1)).max() < 2


def test_features_of_a_long_sound_are_those_of_all_frames(monkeypatch: pytest.MonkeyPatch):
    samples = wave(40.0, rate_hz=RATE_HZ)
    expected = Image().unquantised(samples)
    monkeypatch.setattr(image_module, "MOST_FRAMES", 2000)  # of 3 444, which are 15 for each column
    monkeypatch.setattr(image_module, "BLOCK_FRAMES", 300)
    found = Image().unquantised(samples)
    assert not np.array_equal(found, expected)
    assert np.abs(found - expected).max() < 0.02


def test_a_coloured_picture_has_the_colours_of_matplotlib(tmp_path: Path):
    import matplotlib
    from PIL import Image as Pillow

    picture = Mel().render(wave(2.0, rate_hz=RATE_HZ), RATE_HZ)
    drawing.draw(picture, tmp_path / "a.png", colours="viridis", axes=False)
    expected = (255 * matplotlib.colormaps["viridis"](picture.pixels)[..., :3]).round()
    assert np.array_equal(np.asarray(Pillow.open(tmp_path / "a.png")), expected)


@pytest.mark.parametrize("n", [1, 999, 1000, 1001, 44_100])
def test_a_sound_is_resampled_in_blocks_to_the_same_samples(monkeypatch: pytest.MonkeyPatch, n: int):
    samples = wave(2.0, rate_hz=44_100)[:n]
    expected = resampling.resample(samples, 44_100, 22_050)
    monkeypatch.setattr(resampling, "BLOCK_SAMPLES", 1000)
    assert np.array_equal(resampling.resample(samples, 44_100, 22_050), expected)
    assert len(expected) == -(-n // 2)


@pytest.mark.slow
def test_a_long_sound_is_measured_in_blocks():
    code = """
import numpy as np
samples = np.full(1 << 25, 0.1, np.float32)
from soundmark.datasets.inspection import measure
print(measure(samples, 8000))
"""
    output, peak_mb = run_measured(code)
    assert "level_dbfs=-20.0" in output
    assert peak_mb < 134 + 150  # the samples, and Python with its modules
