"""Compare ``mel`` with librosa 0.11 and OpenCV, from file to result: the difference is at most 0.001 dB."""

import cv2
import librosa
import numpy as np
import pytest
import soundfile
from threadpoolctl import threadpool_limits

from soundmark import audio
from soundmark.errors import SettingsError
from soundmark.spectrograms import Mel
from soundmark.spectrograms.mel import mel_bank, mel_edges_hz

TOLERANCE_DB = 1e-3
pytestmark = [
    pytest.mark.filterwarnings("ignore:n_fft=2048 is too large:UserWarning"),  # librosa, for short clips
    pytest.mark.filterwarnings(
        "ignore:'(aifc|audioop|sunau)' is deprecated:DeprecationWarning"
    ),  # audioread, imported by librosa
]


def reference(path, size=(64, 64)) -> np.ndarray:
    """The code of the notebook."""
    y, sr = librosa.load(path)
    power = librosa.feature.melspectrogram(y=y, sr=sr)
    return cv2.resize(librosa.amplitude_to_db(power, ref=np.max), size[::-1], interpolation=cv2.INTER_AREA)


def difference_db(path, size=(64, 64)) -> float:
    sound = audio.read(path)
    return float(np.abs(Mel(size=size)(sound.samples, sound.rate_hz) - reference(path, size)).max())


@threadpool_limits.wrap(limits=1)  # several threads make the reference several times slower
def test_real_clips_in_native_encodings(urbansound8k_native):
    paths = sorted(urbansound8k_native.rglob("*.wav"))
    short = [path for path in paths if audio.info(path).duration_s < 1.5]  # fewer than 64 frames
    chosen = short + [path for path in paths if path not in set(short)][:: max(1, len(paths) // 300)]
    assert len(chosen) >= 300
    assert len(short) >= 20
    worst = max((difference_db(path), path.name) for path in chosen)
    assert worst[0] <= TOLERANCE_DB, worst


@pytest.mark.parametrize("seconds", [1e-9, 0.0545, 0.5, 1.46, 1.48, 1.5, 3.0, 4.0, 4.037])
@pytest.mark.parametrize("rate_hz", [8000, 11024, 44100, 192000])
def test_noise_of_any_rate_and_length(tmp_path, rate_hz, seconds):
    path = tmp_path / "noise.wav"
    frames = max(1, round(seconds * rate_hz))
    soundfile.write(path, 0.3 * np.random.default_rng(0).standard_normal((frames, 2)), rate_hz, subtype="PCM_24")
    assert difference_db(path) <= TOLERANCE_DB


def extreme_sounds() -> dict[str, np.ndarray]:
    t = np.arange(4 * 22050)
    return {
        "silence": np.zeros(len(t)),
        "offset": np.full(len(t), 0.999),
        "offset, short": np.full(600, 0.999),
        "slow square": 0.999 * np.sign(np.sin(t * 0.003)),
        "fast square": 0.999 * np.sign(np.sin(t * 0.9)),
        "click": (t == 30000) * 0.999,
        "loud tone, faint noise": 0.99 * np.sin(t * 0.1) + 1e-4 * np.random.default_rng(0).standard_normal(len(t)),
        "faint tone": 1e-4 * np.sin(t * 0.1),
        "fainter than the floor": 1e-6 * np.sin(t * 0.1),
        "half silent": np.sin(t * 0.3) * (t > 44100),
    }


@pytest.mark.parametrize("name", extreme_sounds())
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_extreme_sounds(tmp_path, name, subtype):
    path = tmp_path / "sound.wav"
    soundfile.write(path, extreme_sounds()[name], 22050, subtype=subtype)
    assert difference_db(path) <= TOLERANCE_DB


@pytest.mark.parametrize("size", [(128, 173), (128, 64), (64, 173), (100, 50), (256, 64), (64, 256), (1, 1)])
def test_other_sizes_equal_opencv(tmp_path, size):
    path = tmp_path / "noise.wav"
    soundfile.write(path, 0.3 * np.random.default_rng(0).standard_normal(88200), 22050)
    assert difference_db(path, size) <= TOLERANCE_DB


def test_other_parameters_equal_librosa():
    y = 0.3 * np.random.default_rng(0).standard_normal(30000).astype(np.float32)
    power = librosa.feature.melspectrogram(y=y, sr=16000, n_fft=1000, hop_length=300, n_mels=40)
    decibels = librosa.amplitude_to_db(power, ref=np.max, top_db=50)
    expected = cv2.resize(decibels, (64, 32), interpolation=cv2.INTER_AREA)
    mel = Mel(rate_hz=16000, n_fft=1000, hop_samples=300, n_mels=40, top_db=50, size=(32, 64))
    np.testing.assert_allclose(mel(y, 16000), expected, atol=TOLERANCE_DB)


@pytest.mark.parametrize(
    ("rate_hz", "n_fft", "n_mels"), [(22050, 2048, 128), (8000, 512, 40), (1600, 256, 20), (44100, 1023, 64)]
)
def test_filters_equal_librosa(rate_hz, n_fft, n_mels):
    expected = librosa.filters.mel(sr=rate_hz, n_fft=n_fft, n_mels=n_mels)
    np.testing.assert_allclose(mel_bank(rate_hz, n_fft, n_mels).dense(), expected, atol=1e-8)
    edges_hz = librosa.mel_frequencies(n_mels + 2, fmin=0, fmax=rate_hz / 2)
    np.testing.assert_allclose(mel_edges_hz(rate_hz, n_mels), edges_hz, rtol=1e-12)


def test_silence_is_0_db_everywhere():
    np.testing.assert_array_equal(Mel()(np.zeros(88200), 22050), np.zeros((64, 64)))


def test_minimum_of_a_quiet_clip_is_above_minus_80_db():
    tone = 0.001 * np.sin(np.arange(88200) * 0.1)
    loud, quiet = Mel()(1000 * tone, 22050), Mel()(tone, 22050)
    assert loud.min() == pytest.approx(-80)
    assert -80 < quiet.min() < -20
    assert quiet.max() == pytest.approx(loud.max(), abs=1e-4)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_fft": 1}, "n_fft of mel is 1; it must be 2 or more"),
        ({"hop_samples": 0}, "hop_samples of mel is 0; it must be a whole number above 0"),
        ({"n_mels": 12.5}, "n_mels of mel is 12.5"),
        ({"top_db": 0}, "top_db of mel is 0; it must be a number of decibels above 0"),
        ({"top_db": float("nan")}, "top_db of mel is nan"),
        ({"rate_hz": None}, "rate_hz of mel is None"),
    ],
)
def test_invalid_parameters_are_rejected(parameters, message):
    with pytest.raises(SettingsError, match=message):
        Mel(**parameters)
