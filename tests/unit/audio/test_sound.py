"""Reading audio: every encoding, equality with librosa, slices, damaged files, and clear error messages."""

import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from soundmark import audio
from soundmark.audio import decoding, limits
from soundmark.errors import AudioError, OutputError
from support.fuzzing.sounds import encoded_sound
from support.layouts import write_placeholders
from support.operations import operations

# librosa imports audioread, which imports deprecated modules of the standard library.
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


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 2 000 files, whose names differ by their number."""
    return write_placeholders(tmp_path_factory.mktemp("large"), *(f"rec_{number:04}.wav" for number in range(2000)))


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
def test_every_encoding_equals_librosa_bit_for_bit(tmp_path, suffix, container, subtype, channels):
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
def test_resampling_equals_librosa(tmp_path, rate_hz, frames):
    path = tmp_path / "clip.wav"
    soundfile.write(path, noise(frames, 2), rate_hz, subtype="PCM_16")
    theirs, _ = librosa.load(path, sr=22050)
    ours = audio.read(path, rate_hz=22050)
    assert ours.rate_hz == 22050
    np.testing.assert_array_equal(ours.samples, theirs)


def test_resampled_length_is_rounded_up():
    for frames in (1, 2, 3, 319, 320, 321, 44099, 44100, 44101):
        assert len(audio.resample(np.ones(frames, np.float32), 48000, 22050)) == -(-frames * 22050 // 48000)


def test_real_clips_equal_librosa(urbansound8k_native):
    paths = sorted(urbansound8k_native.rglob("*.wav"))[::20]
    assert len(paths) > 30
    for path in paths:
        np.testing.assert_array_equal(audio.read(path, rate_hz=22050).samples, librosa.load(path)[0], err_msg=str(path))


def test_bytes_files_and_pipes_give_the_same_samples_as_paths(wav):
    expected = audio.read(wav).samples
    np.testing.assert_array_equal(audio.read(str(wav)).samples, expected)
    np.testing.assert_array_equal(audio.read(wav.read_bytes()).samples, expected)
    with wav.open("rb") as file:
        file.seek(100)  # the position does not matter
        np.testing.assert_array_equal(audio.read(file).samples, expected)
        assert audio.info(file).frames == 8000
    with subprocess.Popen(["cat", str(wav)], stdout=subprocess.PIPE) as pipe:
        np.testing.assert_array_equal(audio.read(pipe.stdout).samples, expected)


def test_opposite_channels_cancel_to_silence():
    tone = np.sin(np.arange(1000))
    sound = audio.read(encoded(np.stack([tone, -tone], axis=1), subtype="FLOAT"))
    np.testing.assert_array_equal(sound.samples, np.zeros(1000))


def test_sound_of_one_sample():
    assert audio.read(encoded(np.array([[0.5]]))).samples.tolist() == [0.5]


def test_to_mono_averages_channels_and_rejects_other_shapes():
    np.testing.assert_array_equal(audio.to_mono(np.array([[1, 2, 6]], np.float32)), [3])
    np.testing.assert_array_equal(audio.to_mono(np.array([1, 2], np.float32)), [1, 2])
    with pytest.raises(AudioError, match=r"shape \[n\] or \[n, channels\]; these have \[1, 1, 1\]"):
        audio.to_mono(np.zeros((1, 1, 1), np.float32))


# ── slices ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")])
def test_slice_equals_that_part_of_the_file(container, subtype):
    source = encoded(noise(320000, 2), 8000, container, subtype)
    full = audio.read(source).samples
    np.testing.assert_allclose(audio.read(source, start_s=2.5, stop_s=4).samples, full[20000:32000], atol=1e-6)
    np.testing.assert_allclose(audio.read(source, start_s=36, stop_s=39).samples, full[288000:312000], atol=1e-6)
    np.testing.assert_allclose(audio.read(source, start_s=39.999).samples, full[-8:], atol=1e-6)
    assert len(audio.read(source, stop_s=1 / 8000).samples) == 1


@pytest.mark.parametrize("seconds", [0.3, 10, 40])
def test_slices_at_the_end_of_an_ogg_vorbis_file(seconds):
    """libsndfile 1.2.2 seeks to wrong frames in the last page."""
    source = encoded(noise(round(seconds * 8000)), 8000, "OGG", "VORBIS")
    full = audio.read(source).samples
    for before_end in (5000, 3000, 2000, 1000, 256, 8, 1):
        if before_end < len(full):
            ours = audio.read(source, start_s=(len(full) - before_end) / 8000).samples
            np.testing.assert_allclose(ours, full[-before_end:], atol=1e-6)


def test_slice_does_not_read_the_rest_of_the_file(tmp_path):
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


def test_file_longer_than_a_block_is_read_completely(tmp_path):
    samples = noise(limits.BLOCK_FRAMES * 2 + 5).astype(np.float32)
    read = audio.read(encoded(samples, 8000, subtype="FLOAT")).samples
    np.testing.assert_array_equal(read, samples[:, 0])


@pytest.mark.parametrize(
    ("start_s", "stop_s", "message"),
    [
        (1.0, None, r'"street.wav" lasts 1.000 s; the slice starts at 1 s, after its end'),
        (0.0, 1.011, r"lasts 1.000 s; the slice ends at 1.011 s: end it at 1.000 s or before"),
        (0.5, 0.25, r"from 0.5 s to 0.25 s contains no samples: end it later"),
        (0.5, 0.5, r"contains no samples"),
        (-0.1, None, r"lasts 1.000 s; the slice from -0.1 s to its end is invalid"),
        (float("nan"), None, r"is invalid"),
        (0.0, float("inf"), r"is invalid"),
    ],
)
def test_invalid_slice_is_rejected(wav, monkeypatch, start_s, stop_s, message):
    monkeypatch.chdir(wav.parent)
    with pytest.raises(AudioError, match=message):
        audio.read("street.wav", start_s=start_s, stop_s=stop_s)


def test_slice_may_exceed_the_end_by_a_rounding_error(wav):
    assert len(audio.read(wav, start_s=0.5, stop_s=1.01).samples) == 4000


@pytest.mark.parametrize("rate_hz", [0, -1, 22050.0, True, "22050"])
def test_invalid_sample_rate_is_rejected(wav, rate_hz):
    with pytest.raises(AudioError, match="must be a whole number above 0"):
        audio.read(wav, rate_hz=rate_hz)


# ── files that cannot be decoded ───────────────────────────────────────────────────────────────────────────────────


def test_an_address_is_not_reported_as_a_missing_file():
    with pytest.raises(AudioError, match=r"^\"http://127.0.0.1/a.wav\" is an address: .*soundmark.analyze"):
        audio.read("http://127.0.0.1/a.wav")


def test_missing_file_is_named_with_the_closest_match(wav, monkeypatch):
    with pytest.raises(
        AudioError, match=r'stret.wav" does not exist: ".*" contains no "stret.wav"; did you mean "street'
    ):
        audio.read(wav.with_name("stret.wav"))
    with pytest.raises(AudioError, match=r'" contains no "nowhere"\.$'):
        audio.read(wav.parent / "nowhere" / "deep" / "clip.wav")
    monkeypatch.chdir(wav.parent)
    with pytest.raises(AudioError, match=r'^"nope.flac" does not exist\.$'):
        audio.read("nope.flac")
    with pytest.raises(AudioError, match=r"cannot be opened: Not a directory"):
        audio.read(wav / "clip.wav")


@pytest.mark.parametrize(
    ("missing", "close"),
    [("rec_0012.wa", "rec_0012.wav"), ("reK_1999.wav", "rec_1999.wav"), ("Rec_0500.wav", "rec_0500.wav")],
)
def test_the_closest_match_is_found_in_a_large_folder(large_folder, missing, close):
    with pytest.raises(AudioError, match=rf'contains no "{missing}"; did you mean "{close}"'):
        audio.read(large_folder / missing)


def test_a_file_that_is_alike_in_its_ending_only_is_not_suggested(tmp_path):
    write_placeholders(tmp_path, "model.onnx")
    with pytest.raises(AudioError, match=r'contains no "nowhere.onnx"\.$'):
        audio.read(tmp_path / "nowhere.onnx")


def read_missing(folder: Path, n: int) -> None:
    for number in range(n):
        with pytest.raises(AudioError, match="does not exist"):
            audio.read(folder / f"no_{number:04}.wav")


def test_a_large_folder_is_not_listed_for_each_missing_file(large_folder, monkeypatch):
    listed, listdir = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or listdir(path))
    read_missing(large_folder, 20)
    assert len(listed) <= 1


def test_a_missing_file_costs_the_same_in_a_large_folder(tmp_path, large_folder):
    small = write_placeholders(tmp_path, *(f"rec_{number:04}.wav" for number in range(200)))
    for folder in (small, large_folder):
        read_missing(folder, 1)
    assert operations(lambda: read_missing(large_folder, 10)) < 1.5 * operations(lambda: read_missing(small, 10))


def test_a_new_file_is_suggested(tmp_path):
    read_missing(tmp_path, 1)
    write_placeholders(tmp_path, "no_0000.flac")
    with pytest.raises(AudioError, match='did you mean "no_0000.flac"'):
        audio.read(tmp_path / "no_0000.wav")


@pytest.mark.parametrize(
    ("head", "description"),
    [
        (b"\0\0\0\x20ftypM4A \0\0\0\0", "it is MPEG-4"),
        (b"\x89PNG\r\n\x1a\n", "it is a PNG image"),
        (b"PK\x03\x04\x14\0", "it is a ZIP archive"),
        (b"\0" * 400, "it begins with zeros only"),
        (
            "Głośno, ciągle i długo: nagranie z ulicy, której już nie ma".encode(),
            "it begins with the text 'Głośno, ciągle",
        ),
        (encoded(noise(100))[:30], "it is truncated before its first sample"),
        (encoded(noise(100))[:24] + bytes(4) + encoded(noise(100))[28:], "its header is damaged"),
    ],
)
def test_renamed_or_damaged_file_is_described(head, description):
    with pytest.raises(AudioError, match=f"the audio data cannot be decoded: {description}"):
        audio.read(head)


@pytest.mark.parametrize("rate_hz", [1, 39, 1_000_001, 2_000_000_000])
def test_sample_rate_out_of_range_means_a_damaged_header(rate_hz):
    damaged = encoded(noise(100))
    damaged = damaged[:24] + rate_hz.to_bytes(4, "little") + damaged[28:]
    for use in (audio.read, audio.info):
        with pytest.raises(
            AudioError, match=f"damaged header: its sample rate is {rate_hz} Hz; supported: 40 Hz to 1 MHz"
        ):
            use(damaged)
    assert audio.read(damaged[:24] + (40).to_bytes(4, "little") + damaged[28:]).rate_hz == 40


def test_header_without_samples_reports_the_missing_bytes():
    with pytest.raises(AudioError, match="has no samples: it is truncated: 0 of the 200 bytes declared in its header"):
        audio.read(encoded(noise(100))[:44])


@pytest.mark.skipif(os.name == "nt", reason="Windows has other links and pipes")
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
        return  # the file system supports UTF-8 names only
    np.testing.assert_array_equal(audio.read(strange).samples, audio.read(wav).samples)


def test_folders_empty_files_and_text_have_their_own_messages(tmp_path):
    with pytest.raises(AudioError, match="is a folder, not a sound file"):
        audio.read(tmp_path)
    path = tmp_path / "clip.wav"
    path.write_bytes(b"")
    with pytest.raises(AudioError, match=r'clip.wav" cannot be decoded: it is empty\. Supported formats: WAV, FLAC'):
        audio.read(path)
    path.write_text("this is a story\nof old\n" * 20)
    with pytest.raises(AudioError, match="it begins with the text 'this is a story'"):
        audio.read(path)
    path.write_bytes(os.urandom(16) + b"\0\xff" * 1000)
    with pytest.raises(AudioError, match="its format is not recognised"):
        audio.read(path)
    raw = tmp_path / "clip.raw"
    raw.write_bytes(bytes(1000))
    with pytest.raises(AudioError, match=r'clip.raw" cannot be decoded'):
        audio.info(raw)


def test_messages_about_bytes_and_other_sources():
    with pytest.raises(AudioError, match="the audio data cannot be decoded: it is empty"):
        audio.read(b"")
    with pytest.raises(AudioError, match="the audio data cannot be decoded: it begins with the text 'hello'"):
        audio.info(io.BytesIO(b"hello"))
    with pytest.raises(AudioError, match="None is not an audio source: give a path, bytes or a file"):
        audio.read(None)


@pytest.mark.parametrize("name", ["a b\n'c\".wav", "Straße 街.wav"])
def test_names_with_special_characters(tmp_path, name):
    path = tmp_path / name
    audio.write(path, np.zeros(10), 8000)
    assert len(audio.read(path).samples) == 10


def test_invalid_file_name():
    with pytest.raises(AudioError, match="cannot be opened"):
        audio.read("a\0b.wav")


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="Windows has other permissions")
def test_file_without_read_permission(wav):
    for folder in (wav.parent, *(parent for parent in wav.parents if "pytest-" in parent.name)):
        folder.chmod(0o755)
    wav.chmod(0o000)
    code = (
        "import os, sys, soundfile\n"
        "from soundmark import audio, errors\n"
        "if os.geteuid() == 0: os.setuid(65534)  # root can read every file\n"
        "try: audio.read(sys.argv[1])\n"
        "except errors.AudioError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, wav], capture_output=True, text=True, check=True)
    assert 'street.wav" cannot be read (permission denied): change its permissions' in done.stdout


def test_header_that_declares_no_frames():
    source = encoded(np.zeros((0, 1)))
    with pytest.raises(
        AudioError, match="the audio data has no samples: it declares 0 frames in its header. Record it"
    ):
        audio.read(source)
    assert audio.info(source).note == "has no samples: it declares 0 frames in its header"


def test_samples_that_are_not_finite_are_counted():
    samples = np.zeros((100, 2))
    samples[3, 0], samples[4] = np.nan, np.inf
    with pytest.raises(AudioError, match=r"data contains 3 samples that are not finite numbers \(NaN, infinite"):
        audio.read(encoded(samples, subtype="FLOAT"))
    assert len(audio.read(encoded(samples, 1000, subtype="FLOAT"), start_s=0.005).samples) == 95


@pytest.mark.parametrize("loud", [3e38, -2e30])
def test_samples_whose_sum_may_exceed_the_range_of_float32_are_refused(loud):
    samples = np.full((100, 2), loud)
    with pytest.raises(AudioError, match="data contains 200 samples that are not finite numbers"):
        audio.read(encoded(samples, subtype="FLOAT"), rate_hz=16_000)
    with pytest.raises(AudioError, match="data contains 200 samples that are not finite numbers"):
        audio.read(encoded(samples, subtype="DOUBLE"))


@pytest.mark.parametrize("suffix", [".au", ".snd", ".vox", ".gsm"])
def test_bytes_without_a_header_are_not_decoded_to_noise_because_of_their_suffix(tmp_path, suffix):
    path = tmp_path / f"page{suffix}"
    path.write_bytes(b"<!DOCTYPE html>" * 40)
    with pytest.raises(AudioError, match=rf'page{suffix}" cannot be decoded: it begins with the text'):
        audio.read(path)
    path.write_bytes(bytes(range(255, 0, -1)) * 8)
    with pytest.raises(AudioError, match="cannot be decoded: its format is not recognised"):
        audio.info(path)


def test_a_slice_equals_the_whole_of_a_file_whose_header_declares_an_odd_start():
    data = encoded(np.random.default_rng(0).uniform(-0.5, 0.5, (400, 6)), container="AU", subtype="ALAW")
    data = data[:4] + (23).to_bytes(4, "big") + data[8:]
    whole, part = audio.read(data), audio.read(data, start_s=100 / 44_100)
    np.testing.assert_array_equal(part.samples, whole.samples[100:])


def test_a_slice_of_a_damaged_mp3_that_libsndfile_seeks_beyond_its_end():
    """With some of these bytes changed, it seeks to frame 12 205 of 8 000 instead of 7 900."""
    whole, outcomes = encoded_sound("MP3", "MPEG_LAYER_III", 1, 8000), set()
    for at in range(850, 880):
        try:
            outcomes.add(len(audio.read(whole[:at] + b"\xff" + whole[at + 1 :], start_s=7900 / 8000).samples) > 0)
        except AudioError as error:
            outcomes.add(str(error).split(":")[0])
    assert outcomes == {True, "the audio data has no samples"}


@pytest.mark.parametrize("offset", range(0, 1024, 31))
def test_a_header_that_declares_more_frames_than_a_float_can_count(wav, monkeypatch, offset):
    monkeypatch.setattr(decoding, "held_frames", lambda source, file: 2**62 + offset)
    with pytest.raises(AudioError, match=r'street.wav" is too long: its header declares'):
        audio.read(wav)


# ── truncated files ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "AIFF", "AU", "W64"])
def test_truncated_file_is_read_to_its_end(container):
    samples = noise(8000, 2)
    complete = encoded(samples, 8000, container)
    truncated = complete[: len(complete) // 2]
    sound = audio.read(truncated)
    assert 3900 < len(sound.samples) <= 4000
    np.testing.assert_array_equal(sound.samples, audio.read(complete).samples[: len(sound.samples)])
    assert "is truncated" in sound.note
    assert sound.note == audio.info(truncated).note


def test_truncated_flac_is_read_up_to_the_damage():
    complete = encoded(noise(80000), 8000, "FLAC")
    sound = audio.read(complete[: len(complete) * 3 // 4])
    assert 50000 < len(sound.samples) < 61000
    np.testing.assert_array_equal(sound.samples, audio.read(complete).samples[: len(sound.samples)])
    assert sound.note.startswith("cannot be decoded beyond")
    with pytest.raises(AudioError, match=r"has no samples: it cannot be decoded beyond 9.900 s"):
        audio.read(complete[: len(complete) * 3 // 4], start_s=9.9)


def test_truncated_ogg_has_a_note():
    complete = encoded(noise(80000), 8000, "OGG", "VORBIS")
    sound = audio.read(complete[: len(complete) // 2])
    assert 0 < len(sound.samples) < 80000
    assert "last Ogg page" in sound.note


# ── writing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_written_samples_are_equal_within_16_bits(tmp_path):
    path = tmp_path / "tone.wav"
    tone = np.sin(np.arange(1000, dtype=np.float32)) * np.float32(0.9)
    audio.write(path, tone, 22050)
    assert audio.info(path) == audio.AudioInfo(22050, 1000, 1, "WAV", "PCM_16")
    np.testing.assert_allclose(audio.read(path).samples, tone, atol=1 / 32768)
    audio.write(path, np.stack([tone, tone], axis=1) * 2, 22050)  # clipped; replaces the first file
    assert audio.read(path).samples.max() == pytest.approx(1, abs=1e-4)
    assert [file.name for file in tmp_path.iterdir()] == ["tone.wav"]


def test_write_errors(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r'cannot write ".*tone\.wav": a file with this name exists'):
        audio.write(tmp_path / "file" / "tone.wav", np.zeros(10), 8000)
    (tmp_path / "file").unlink()
    for samples in (np.zeros(0), np.full(5, np.nan), np.zeros((2, 2, 2))):
        with pytest.raises(AudioError, match=r"cannot write .*: expected finite samples of the shape"):
            audio.write(tmp_path / "tone.wav", samples, 8000)
    assert not list(tmp_path.iterdir())


# ── long files decoded by several threads ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(limits, "BLOCK_FRAMES", 1 << 12)


def read_in_parallel(path, **options):
    with ThreadPoolExecutor(3) as pool, audio.stream(path, pool=pool, **options) as stream:
        samples = np.concatenate(list(stream))
        return samples, stream.note


LONG = (0.5 * np.sin(np.arange(100_003) / 7)[:, None] * [1.0, 0.3]).astype(np.float32)


@pytest.mark.parametrize("suffix", [".flac", ".wav", ".aiff", ".ogg", ".mp3"])
@pytest.mark.parametrize("options", [{}, {"rate_hz": 16000}, {"start_s": 0.3, "stop_s": 1.7}])
def test_parallel_decoding_gives_the_same_samples(tmp_path, small_parts, suffix, options):
    path = tmp_path / f"long{suffix}"
    soundfile.write(path, LONG, 44_100)
    samples, note = read_in_parallel(path, **options)
    expected = audio.read(path, **options)
    np.testing.assert_array_equal(samples, expected.samples)
    assert note == expected.note


@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_parallel_decoding_of_a_truncated_file_reads_it_to_its_end(tmp_path, small_parts, share):
    path = tmp_path / "cut.flac"
    soundfile.write(path, LONG, 44_100)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    samples, note = read_in_parallel(path)
    expected = audio.read(path)
    np.testing.assert_array_equal(samples, expected.samples)
    assert note == expected.note


def test_parallel_decoding_counts_nan(tmp_path, small_parts):
    samples = LONG.copy()
    samples[[10, 50_000, 100_000], 0] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 44_100, subtype="FLOAT")
    with pytest.raises(AudioError, match="contains 3 samples that are not finite numbers"):
        read_in_parallel(tmp_path / "nan.wav")


@pytest.mark.parametrize(("start_s", "stop_s"), [(1e308, None), (0.0, 1e308), (1e308, 1.5e308)])
def test_a_slice_at_the_largest_times_is_outside_of_the_sound(start_s, stop_s, tmp_path):
    audio.write(tmp_path / "a.wav", np.zeros(8000, np.float32), 8000)
    with pytest.raises(AudioError, match=r'a.wav" lasts 1.000 s; the slice (starts|ends) at 1e\+308 s'):
        audio.read(tmp_path / "a.wav", start_s=start_s, stop_s=stop_s)


def test_every_truncation_of_an_aiff_in_memory_raises_nothing_in_callbacks(capfd):
    file = io.BytesIO()
    soundfile.write(file, np.zeros(100), 8000, format="AIFF")
    for size in range(60):
        with suppress(AudioError):
            audio.read(file.getvalue()[:size])
    with pytest.raises(AudioError, match="its header is damaged, or its encoding is not supported"):
        audio.read(file.getvalue()[:23])
    assert capfd.readouterr() == ("", "")
