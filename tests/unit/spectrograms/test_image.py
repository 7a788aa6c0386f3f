"""Compare ``image`` with SciPy, scikit-image and Pillow, from file to result."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy.signal
import skimage.transform
import soundfile
from PIL import Image as Pillow
from threadpoolctl import threadpool_limits

from soundmark import audio
from soundmark.errors import SettingsError
from soundmark.spectrograms import Image

# librosa imports audioread, which imports deprecated modules of the standard library.
pytestmark = pytest.mark.filterwarnings("ignore:'(aifc|audioop|sunau)' is deprecated:DeprecationWarning")

FULL_SCALE_TOLERANCE = 2e-4
NEAR_INTEGER = 1e-4  # grey levels: uint8 truncates, so values this close to an integer may differ by one
IDENTICAL_SHARE = 0.999


def reference(path: Path, shape=(224, 224), db=(-100, -20)) -> np.ndarray:
    """The image of OpenSoundscape 0.7 before quantisation, computed with the libraries that it calls."""
    y, sr = librosa.load(path, sr=None)
    _, _, power = scipy.signal.spectrogram(y, sr, window="hann", nperseg=512, noverlap=256, scaling="spectrum")
    with np.errstate(divide="ignore"):
        decibels = np.clip(10 * np.log10(power), *db)
    white = 1 - (decibels - db[0]) / (db[1] - db[0])
    return skimage.transform.resize(white[::-1], shape)


def compare(path: Path, image: Image | None = None) -> float:
    """Return the largest difference before quantisation; assert the tolerances after it."""
    image = image or Image()
    sound = audio.read(path)
    expected = reference(path, image.image_shape)
    levels = (expected * 255).astype(np.uint8)
    ours = image.png_pixels(sound.samples, sound.rate_hz)
    assert np.abs(ours.astype(int) - levels).max() <= 1, path
    exact = expected.astype(np.float64) * 255
    is_clear = np.abs(exact - np.round(exact)) > NEAR_INTEGER
    assert not is_clear.any() or (ours == levels)[is_clear].mean() >= IDENTICAL_SHARE, path
    small = np.asarray(Pillow.fromarray(levels).resize(image.size[::-1]))
    assert np.abs(image(sound.samples, sound.rate_hz) * 255 - small).max() <= 2.001, path
    return float(np.abs(image.unquantised(sound.samples) - expected).max())


@threadpool_limits.wrap(limits=1)  # several threads make the references several times slower
def test_real_clips_in_native_encodings(urbansound8k_native):
    paths = sorted(urbansound8k_native.rglob("*.wav"))
    short = [path for path in paths if audio.info(path).duration_s < 1.5]
    chosen = short + [path for path in paths if path not in set(short)][:: max(1, len(paths) // 300)]
    assert len(chosen) >= 300
    worst = max((compare(path), path.name) for path in chosen)
    assert worst[0] <= FULL_SCALE_TOLERANCE, worst


@pytest.mark.parametrize("frames", [512, 513, 767, 768, 2617, 57344 + 255, 57344 + 256, 57344 + 512, 176400, 178046])
@pytest.mark.parametrize("rate_hz", [8000, 11024, 44100, 192000])
def test_noise_of_any_rate_and_length(tmp_path, rate_hz, frames):
    path = tmp_path / "noise.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal((frames, 2)), rate_hz, subtype="PCM_24")
    assert compare(path) <= FULL_SCALE_TOLERANCE


def extreme_sounds() -> dict[str, np.ndarray]:
    t = np.arange(4 * 22050)
    noise = np.random.default_rng(0).standard_normal(len(t))
    return {
        "silence": np.zeros(len(t)),
        "offset": np.full(len(t), 0.999),
        "offset, quiet noise": 0.9 + 1e-4 * noise,
        "slow square": 0.999 * np.sign(np.sin(t * 0.003)),
        "fast square": 0.999 * np.sign(np.sin(t * 0.9)),
        "click": (t == 30000) * 0.999,
        "loud tone, faint noise": 0.99 * np.sin(t * 0.1) + 3e-5 * noise,
        "faint tone": 1e-4 * np.sin(t * 0.1),
        "half silent": 0.99 * np.sin(t * 0.3) * (t > 44100),
    }


@pytest.mark.parametrize("name", extreme_sounds())
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_extreme_sounds(tmp_path, name, subtype):
    path = tmp_path / "sound.wav"
    soundfile.write(path, extreme_sounds()[name], 22050, subtype=subtype)
    assert compare(path) <= FULL_SCALE_TOLERANCE


@pytest.mark.parametrize(
    "image", [Image(image_shape=(100, 300)), Image(image_shape=(257, 344)), Image(image_shape=(300, 50), size=(32, 48))]
)
def test_other_shapes_equal_scikit_image(tmp_path, image):
    path = tmp_path / "noise.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(88200), 22050)
    assert compare(path, image) <= FULL_SCALE_TOLERANCE


def test_fixed_sample_rate_resamples():
    samples = 0.1 * np.random.default_rng(0).standard_normal(88200)
    at_22k = audio.resample(samples, 44100, 22050)
    np.testing.assert_array_equal(Image(rate_hz=22050)(samples, 44100), Image()(at_22k, 22050))


def test_sound_shorter_than_a_segment_is_padded_with_zeros():
    samples = 0.1 * np.random.default_rng(0).standard_normal(511)
    np.testing.assert_array_equal(Image()(samples, 8000), Image()(np.append(samples, 0), 8000))


def test_silence_is_white_and_full_scale_is_black():
    assert (Image().png_pixels(np.zeros(44100), 44100) == 255).all()
    noise = 1e6 * np.random.default_rng(0).standard_normal(44100)
    assert (Image().png_pixels(noise, 44100) == 0).all()


def test_tone_has_its_level_in_its_row():
    """A sine of amplitude a has the power a² / 2: −43.01 dB at a = 0.01, so 1 − 56.99 / 80 of full white."""
    tone = 0.01 * np.sin(2 * np.pi * 64 / 512 * np.arange(512 * 224))  # bin 64 of 0…256
    white = Image(image_shape=(257, 437)).unquantised(tone.astype(np.float32))
    assert white[256 - 64].mean() == pytest.approx(1 - (100 - 43.0103) / 80, abs=1e-4)
    assert white[: 256 - 67].min() == 1
    assert white[256 - 61 :].min() == 1


def test_png_gives_the_same_features_bit_for_bit(tmp_path):
    samples = 0.1 * np.random.default_rng(0).standard_normal(88200)
    path = tmp_path / "clip.png"
    Pillow.fromarray(Image().png_pixels(samples, 22050)).save(path)
    read = Image().from_pixels(np.asarray(Pillow.open(path)))
    np.testing.assert_array_equal(read, Image()(samples, 22050))


def test_coloured_image_is_rejected():
    with pytest.raises(SettingsError, match=r"must be greyscale, uint8 .*; this one is uint8 of \[10, 10, 3\]"):
        Image().from_pixels(np.zeros((10, 10, 3), np.uint8))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"segment_samples": 1}, "segment_samples of image is 1; it must be 2 or more"),
        ({"overlap_samples": 512}, "overlap_samples of image is 512; it must be from 0 to 511"),
        ({"overlap_samples": -1}, "overlap_samples of image is -1"),
        ({"overlap_samples": 0.0}, "overlap_samples of image is 0.0"),
        ({"overlap_samples": False}, "overlap_samples of image is False"),
        ({"db_min": -201.0}, "db_min of image is -201.0; it must be a number of decibels from -200 to 200"),
        ({"db_max": 5536}, "db_max of image is 5536; it must be above db_min, -100.0, and at most 200"),
        ({"db_max": -100}, "db_max of image is -100; it must be above db_min, -100.0"),
        ({"db_min": float("-inf")}, "db_min of image is -inf"),
        ({"image_shape": (224,)}, r"image_shape of image is \(224,\); it must be two whole numbers"),
        ({"rate_hz": 22050.0}, "rate_hz of image is 22050.0; it must be None or a whole number above 0"),
    ],
)
def test_invalid_parameters_are_rejected(parameters, message):
    with pytest.raises(SettingsError, match=message):
        Image(**parameters)
