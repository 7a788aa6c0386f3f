"""Audio in: every encoding, librosa's numbers, slices, damage, and one clear sentence for what is no sound."""

import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from soundmark import audio
from soundmark.audio import decoding
from soundmark.errors import AudioError, OutputError

# librosa asks audioread for its back ends, and the standard library is parting with some of those.
pytestmark = pytest.mark.filterwarnings("ignore:'(aifc|audioop|sunau)' is deprecated:DeprecationWarning")

ENCODINGS = [
    ("wav", "WAV", "PCM_U8"),
    ("wav", "WAV", "PCM_16"),
    ("wav", "WAV", "PCM_24"),
    ("wav", "WAV", "PCM_32"),
    ("wav", "WAV", "FLOAT"),
    ("wav", "WAV", "DOUBLE"),
    ("wav", "WAV", "MS_ADPCM"),
    ("wav", "WAV", "IMA_ADPCM"),
    ("wav", "WAV", "ULAW"),
    ("wav", "WAVEX", "PCM_16"),
    ("wav", "WAVEX", "PCM_24"),
    ("wav", "RF64", "PCM_16"),
    ("flac", "FLAC", "PCM_S8"),
    ("flac", "FLAC", "PCM_16"),
    ("flac", "FLAC", "PCM_24"),
    ("ogg", "OGG", "VORBIS"),
    ("opus", "OGG", "OPUS"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
    ("aiff", "AIFF", "PCM_16"),
    ("au", "AU", "PCM_16"),
]


def noise(frames: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return (0.2 * np.random.default_rng(seed).standard_normal((frames, channels))).clip(-1, 1)


def encoded(samples: np.ndarray, rate_hz: int = 44100, container: str = "WAV", subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """One second of stereo noise at 8 kHz."""
    path = tmp_path / "street.wav"
    path.write_bytes(encoded(noise(8000, 2), 8000))
    return path


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("suffix", "container", "subtype"), ENCODINGS)
def test_every_encoding_gives_librosas_samples_bit_for_bit(tmp_path, suffix, container, subtype, channels):
    path = tmp_path / f"clip.{suffix}"
    soundfile.write(path, noise(24000, channels), 24000, format=container, subtype=subtype)
    theirs, rate_hz = librosa.load(path, sr=None)
    ours = audio.read(path)
    assert ours.rate_hz == rate_hz == 24000
    assert ours.samples.dtype == np.float32
    np.testing.assert_array_equal(ours.samples, theirs)
    info = audio.info(path)
    assert (info.rate_hz, info.channels, info.container, info.subtype) == (24000, channels, container, subtype)
    assert info.note is None
    assert ours.note is None


def test_eight_channels_at_192_khz(tmp_path):
    path = tmp_path / "array.wav"
    soundfile.write(path, noise(19200, 8), 192000, format="WAVEX", subtype="PCM_24")
    theirs, _ = librosa.load(path, sr=None)
    np.testing.assert_allclose(audio.read(path).samples, theirs, atol=1e-7)
    assert audio.info(path).channels == 8


@pytest.mark.parametrize("frames", [1, 2, 511, 44100, 44101, 176400])
@pytest.mark.parametrize("rate_hz", [8000, 11024, 16000, 22050, 44100, 48000, 192000])
def test_resampling_is_librosas(tmp_path, rate_hz, frames):
    path = tmp_path / "clip.wav"
    soundfile.write(path, noise(frames, 2), rate_hz, subtype="PCM_16")
    theirs, _ = librosa.load(path, sr=22050)
    ours = audio.read(path, rate_hz=22050)
    assert ours.rate_hz == 22050
    np.testing.assert_array_equal(ours.samples, theirs)


def test_resampled_length_is_rounded_up_and_never_short():
    for frames in (1, 2, 3, 319, 320, 321, 44099, 44100, 44101):
        assert len(audio.resample(np.ones(frames, np.float32), 48000, 22050)) == -(-frames * 22050 // 48000)


def test_real_clips_are_read_as_librosa_reads_them(urbansound8k_native):
    paths = sorted(urbansound8k_native.rglob("*.wav"))[::20]
    assert len(paths) > 30
    for path in paths:
        np.testing.assert_array_equal(audio.read(path, rate_hz=22050).samples, librosa.load(path)[0], err_msg=str(path))


def test_bytes_files_and_pipes_read_like_paths(wav):
    expected = audio.read(wav).samples
    np.testing.assert_array_equal(audio.read(str(wav)).samples, expected)
    np.testing.assert_array_equal(audio.read(wav.read_bytes()).samples, expected)
    with wav.open("rb") as file:
        file.seek(100)  # wherever it stands
        np.testing.assert_array_equal(audio.read(file).samples, expected)
        assert audio.info(file).frames == 8000
    with subprocess.Popen(["cat", str(wav)], stdout=subprocess.PIPE) as pipe:
        np.testing.assert_array_equal(audio.read(pipe.stdout).samples, expected)


def test_opposite_channels_cancel_to_silence():
    tone = np.sin(np.arange(1000))
    sound = audio.read(encoded(np.stack([tone, -tone], axis=1), subtype="FLOAT"))
    np.testing.assert_array_equal(sound.samples, np.zeros(1000))


def test_one_sample_is_a_sound():
    assert audio.read(encoded(np.array([[0.5]]))).samples.tolist() == [0.5]


def test_to_mono_means_and_refuses():
    np.testing.assert_array_equal(audio.to_mono(np.array([[1, 2, 6]], np.float32)), [3])
    np.testing.assert_array_equal(audio.to_mono(np.array([1, 2], np.float32)), [1, 2])
    with pytest.raises(AudioError, match=r"shape \[n\] or \[n, channels\], and these have \[1, 1, 1\]"):
        audio.to_mono(np.zeros((1, 1, 1), np.float32))


# ── slices ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")])
def test_a_slice_is_that_part_of_the_whole(container, subtype):
    source = encoded(noise(320000, 2), 8000, container, subtype)
    whole = audio.read(source).samples
    np.testing.assert_allclose(audio.read(source, start_s=2.5, stop_s=4).samples, whole[20000:32000], atol=1e-6)
    np.testing.assert_allclose(audio.read(source, start_s=36, stop_s=39).samples, whole[288000:312000], atol=1e-6)
    np.testing.assert_allclose(audio.read(source, start_s=39.999).samples, whole[-8:], atol=1e-6)
    assert len(audio.read(source, stop_s=1 / 8000).samples) == 1


@pytest.mark.parametrize("seconds", [0.3, 10, 40])
def test_the_end_of_an_ogg_vorbis_file_is_where_it_is(seconds):
    """libsndfile 1.2.2 itself misses most places of the last page."""
    source = encoded(noise(round(seconds * 8000)), 8000, "OGG", "VORBIS")
    whole = audio.read(source).samples
    for before_end in (5000, 3000, 2000, 1000, 256, 8, 1):
        if before_end < len(whole):
            ours = audio.read(source, start_s=(len(whole) - before_end) / 8000).samples
            np.testing.assert_allclose(ours, whole[-before_end:], atol=1e-6)


def test_a_slice_does_not_read_the_rest(tmp_path):
    path = tmp_path / "hour.wav"
    soundfile.write(path, np.zeros(8000 * 60), 8000)

    class Counting(io.FileIO):
        count = 0

        def readinto(self, buffer):
            read = super().readinto(buffer)
            Counting.count += read or 0
            return read

        def read(self, size=-1):
            data = super().read(size)
            Counting.count += len(data)
            return data

    with Counting(path) as file:
        assert audio.read(file, start_s=30, stop_s=31).duration_s == 1
    assert 16000 <= Counting.count < 50000  # of 960 044 bytes


def test_a_file_longer_than_a_block_is_whole(tmp_path):
    samples = noise(decoding.BLOCK_FRAMES * 2 + 5).astype(np.float32)
    read = audio.read(encoded(samples, 8000, subtype="FLOAT")).samples
    np.testing.assert_array_equal(read, samples[:, 0])


@pytest.mark.parametrize(
    ("start_s", "stop_s", "message"),
    [
        (1.0, None, r'"street.wav" lasts 1.000 s, and the slice starts at 1 s, where nothing is left'),
        (0.0, 1.011, r"lasts 1.000 s, and the slice ends at 1.011 s: end it by then"),
        (0.5, 0.25, r"from 0.5 s to 0.25 s holds no sample: end it later"),
        (0.5, 0.5, r"holds no sample"),
        (-0.1, None, r"a slice from -0.1 s to None s cannot be cut"),
        (float("nan"), None, r"cannot be cut"),
        (0.0, float("inf"), r"cannot be cut"),
    ],
)
def test_a_slice_that_is_not_there_is_refused(wav, monkeypatch, start_s, stop_s, message):
    monkeypatch.chdir(wav.parent)
    with pytest.raises(AudioError, match=message):
        audio.read("street.wav", start_s=start_s, stop_s=stop_s)


def test_a_table_may_round_an_end_up_by_a_hundredth(wav):
    assert len(audio.read(wav, start_s=0.5, stop_s=1.01).samples) == 4000


@pytest.mark.parametrize("rate_hz", [0, -1, 22050.0, True, "22050"])
def test_a_rate_that_is_none_is_refused(wav, rate_hz):
    with pytest.raises(AudioError, match="must be a whole number above 0"):
        audio.read(wav, rate_hz=rate_hz)


# ── what is no sound ───────────────────────────────────────────────────────────────────────────────────────────────


def test_missing_files_are_named_with_what_is_near(wav, monkeypatch):
    with pytest.raises(AudioError, match=r'stret.wav" does not exist: ".*" holds no "stret.wav"; did you mean "street'):
        audio.read(wav.with_name("stret.wav"))
    with pytest.raises(AudioError, match=r'" holds no "nowhere"\.$'):
        audio.read(wav.parent / "nowhere" / "deep" / "clip.wav")
    monkeypatch.chdir(wav.parent)
    with pytest.raises(AudioError, match=r'^"nope.flac" does not exist\.$'):
        audio.read("nope.flac")
    with pytest.raises(AudioError, match=r"cannot be opened: Not a directory"):
        audio.read(wav / "clip.wav")


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"\0\0\0\x20ftypM4A \0\0\0\0", "it is MPEG-4"),
        (b"\x89PNG\r\n\x1a\n", "it is a PNG picture"),
        (b"PK\x03\x04\x14\0", "it is a ZIP archive"),
        (b"\0" * 400, "it begins with nothing but zeros"),
        (
            "Głośno, ciągle i długo: nagranie z ulicy, której już nie ma".encode(),
            "it begins with the text 'Głośno, ciągle",
        ),
        (encoded(noise(100))[:30], "it is cut off before its first sample"),
        (encoded(noise(100))[:24] + bytes(4) + encoded(noise(100))[28:], "its header is damaged"),
    ],
)
def test_what_was_renamed_or_damaged_is_said(head, what):
    with pytest.raises(AudioError, match=f"the bytes cannot be read as sound: {what}"):
        audio.read(head)


@pytest.mark.parametrize("rate_hz", [1, 39, 1_000_001, 2_000_000_000])
def test_a_rate_that_only_a_damaged_header_says_is_refused(rate_hz):
    damaged = encoded(noise(100))
    damaged = damaged[:24] + rate_hz.to_bytes(4, "little") + damaged[28:]
    for use in (audio.read, audio.info):
        with pytest.raises(AudioError, match=f"its rate is {rate_hz} Hz, and 40 to 1000000 Hz can be meant"):
            use(damaged)
    assert audio.read(damaged[:24] + (40).to_bytes(4, "little") + damaged[28:]).rate_hz == 40


def test_a_header_without_its_samples_says_how_many_bytes_are_missing():
    with pytest.raises(AudioError, match="has no samples: it is cut off: 0 of the 200 bytes that its header declares"):
        audio.read(encoded(noise(100))[:44])


@pytest.mark.skipif(os.name == "nt", reason="Windows makes links and pipes otherwise")
def test_links_pipes_and_names_that_are_not_utf8(tmp_path, wav):
    (tmp_path / "gone.wav").symlink_to("nowhere.wav")
    with pytest.raises(AudioError, match=r'gone.wav" is a link to "nowhere.wav", which does not exist\.$'):
        audio.read(tmp_path / "gone.wav")
    pipe = tmp_path / "pipe.flac"
    os.mkfifo(pipe)
    writer = subprocess.Popen(["sh", "-c", f'cat > "{pipe}"'], stdin=subprocess.PIPE)
    writer.stdin.write(encoded(noise(100), container="FLAC"))
    writer.stdin.close()
    assert len(audio.read(pipe).samples) == 100
    writer.wait(timeout=60)
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.wav"))
    try:
        strange.write_bytes(wav.read_bytes())
    except OSError:
        return  # a file system that knows UTF-8 alone
    np.testing.assert_array_equal(audio.read(strange).samples, audio.read(wav).samples)


def test_folders_empty_files_and_text_are_told_apart(tmp_path):
    with pytest.raises(AudioError, match="is a folder, not a sound file"):
        audio.read(tmp_path)
    path = tmp_path / "clip.wav"
    path.write_bytes(b"")
    with pytest.raises(AudioError, match=r'clip.wav" cannot be read as sound: it is empty\. WAV, FLAC'):
        audio.read(path)
    path.write_text("this is a story\nof old\n" * 20)
    with pytest.raises(AudioError, match="it begins with the text 'this is a story'"):
        audio.read(path)
    path.write_bytes(os.urandom(16) + b"\0\xff" * 1000)
    with pytest.raises(AudioError, match="its format is not known"):
        audio.read(path)
    raw = tmp_path / "clip.raw"
    raw.write_bytes(bytes(1000))
    with pytest.raises(AudioError, match=r'clip.raw" cannot be read as sound'):
        audio.info(raw)


def test_bytes_are_named_as_bytes():
    with pytest.raises(AudioError, match="the bytes cannot be read as sound: it is empty"):
        audio.read(b"")
    with pytest.raises(AudioError, match="the bytes cannot be read as sound: it begins with the text 'hello'"):
        audio.info(io.BytesIO(b"hello"))
    with pytest.raises(AudioError, match="None is no sound: give a path, bytes or a file"):
        audio.read(None)


@pytest.mark.parametrize("name", ["a b\n'c\".wav", "Straße 街.wav"])
def test_odd_names_are_names(tmp_path, name):
    path = tmp_path / name
    audio.write(path, np.zeros(10), 8000)
    assert len(audio.read(path).samples) == 10


def test_a_name_that_no_file_can_have():
    with pytest.raises(AudioError, match="cannot be opened"):
        audio.read("a\0b.wav")


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="Windows has other permissions")
def test_a_file_that_may_not_be_read(wav):
    for folder in (wav.parent, *(parent for parent in wav.parents if "pytest-" in parent.name)):
        folder.chmod(0o755)
    wav.chmod(0o000)
    code = (
        "import os, sys, soundfile\n"
        "from soundmark import audio, errors\n"
        "if os.geteuid() == 0: os.setuid(65534)  # root may read anything\n"
        "try: audio.read(sys.argv[1])\n"
        "except errors.AudioError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, wav], capture_output=True, text=True, check=True)
    assert 'street.wav" may not be read by this user: change its permissions' in done.stdout


def test_a_header_for_no_frames():
    source = encoded(np.zeros((0, 1)))
    with pytest.raises(AudioError, match=r"the bytes has no samples: it holds a header for 0 frames. Record it again"):
        audio.read(source)
    assert audio.info(source).note == "has no samples: it holds a header for 0 frames"


def test_samples_that_are_no_numbers_are_counted():
    samples = np.zeros((100, 2))
    samples[3, 0], samples[4] = np.nan, np.inf
    with pytest.raises(AudioError, match=r"the bytes holds 3 samples that are no numbers \(NaN or infinite\)"):
        audio.read(encoded(samples, subtype="FLOAT"))
    assert len(audio.read(encoded(samples, 1000, subtype="FLOAT"), start_s=0.005).samples) == 95


# ── what is cut off ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "AIFF", "AU", "W64"])
def test_a_truncated_file_is_read_as_far_as_it_goes(container):
    samples = noise(8000, 2)
    whole = encoded(samples, 8000, container)
    cut = whole[: len(whole) // 2]
    sound = audio.read(cut)
    assert 3900 < len(sound.samples) <= 4000
    np.testing.assert_array_equal(sound.samples, audio.read(whole).samples[: len(sound.samples)])
    assert "is cut off" in sound.note
    assert sound.note == audio.info(cut).note


def test_a_truncated_flac_keeps_what_comes_before_the_damage():
    whole = encoded(noise(80000), 8000, "FLAC")
    sound = audio.read(whole[: len(whole) * 3 // 4])
    assert 50000 < len(sound.samples) < 61000
    np.testing.assert_array_equal(sound.samples, audio.read(whole).samples[: len(sound.samples)])
    assert sound.note.startswith("cannot be decoded beyond")
    with pytest.raises(AudioError, match=r"has no samples: it cannot be decoded beyond 9.900 s"):
        audio.read(whole[: len(whole) * 3 // 4], start_s=9.9)


def test_a_truncated_ogg_says_so():
    whole = encoded(noise(80000), 8000, "OGG", "VORBIS")
    sound = audio.read(whole[: len(whole) // 2])
    assert 0 < len(sound.samples) < 80000
    assert "last Ogg page" in sound.note


# ── writing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_written_samples_read_back_within_16_bits(tmp_path):
    path = tmp_path / "tone.wav"
    tone = np.sin(np.arange(1000, dtype=np.float32)) * np.float32(0.9)
    audio.write(path, tone, 22050)
    assert audio.info(path) == audio.AudioInfo(22050, 1000, 1, "WAV", "PCM_16")
    np.testing.assert_allclose(audio.read(path).samples, tone, atol=1 / 32768)
    audio.write(path, np.stack([tone, tone], axis=1) * 2, 22050)  # clipped, and in place of the other
    assert audio.read(path).samples.max() == pytest.approx(1, abs=1e-4)
    assert [file.name for file in tmp_path.iterdir()] == ["tone.wav"]


def test_what_cannot_be_written_says_why(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r'cannot write ".*tone\.wav": there is a file of that name'):
        audio.write(tmp_path / "file" / "tone.wav", np.zeros(10), 8000)
    (tmp_path / "file").unlink()
    for samples in (np.zeros(0), np.full(5, np.nan), np.zeros((2, 2, 2))):
        with pytest.raises(AudioError, match=r"is no sound: it needs finite samples"):
            audio.write(tmp_path / "tone.wav", samples, 8000)
    assert not list(tmp_path.iterdir())


# ── a long file, decoded by several threads ────────────────────────────────────────────────────────────────────────


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(decoding, "BLOCK_FRAMES", 1 << 12)
    monkeypatch.setattr(decoding, "PART_FRAMES", 1 << 13)


def in_parts(path, **how):
    with ThreadPoolExecutor(3) as pool, audio.stream(path, pool=pool, **how) as flow:
        samples = np.concatenate(list(flow))
        return samples, flow.note


LONG = (0.5 * np.sin(np.arange(100_003) / 7)[:, None] * [1.0, 0.3]).astype(np.float32)


@pytest.mark.parametrize("suffix", [".flac", ".wav", ".aiff", ".ogg", ".mp3"])
@pytest.mark.parametrize("how", [{}, {"rate_hz": 16000}, {"start_s": 0.3, "stop_s": 1.7}])
def test_a_file_decoded_in_parts_is_the_file(tmp_path, small_parts, suffix, how):
    path = tmp_path / f"long{suffix}"
    soundfile.write(path, LONG, 44_100)
    samples, note = in_parts(path, **how)
    expected = audio.read(path, **how)
    np.testing.assert_array_equal(samples, expected.samples)
    assert note == expected.note


@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_a_damaged_file_decoded_in_parts_is_read_as_far_as_it_goes(tmp_path, small_parts, share):
    path = tmp_path / "cut.flac"
    soundfile.write(path, LONG, 44_100)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    samples, note = in_parts(path)
    expected = audio.read(path)
    np.testing.assert_array_equal(samples, expected.samples)
    assert note == expected.note


def test_nan_in_a_file_decoded_in_parts_is_counted(tmp_path, small_parts):
    spoilt = LONG.copy()
    spoilt[[10, 50_000, 100_000], 0] = np.nan
    soundfile.write(tmp_path / "nan.wav", spoilt, 44_100, subtype="FLOAT")
    with pytest.raises(AudioError, match="holds 3 samples that are no numbers"):
        in_parts(tmp_path / "nan.wav")
