"""Limits on decoding: memory does not depend on what a header declares, and no file holds more than its bytes."""

import io
import os
import re
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundmark import audio
from soundmark.audio import limits
from soundmark.audio.decoding import last_block
from soundmark.errors import AudioError
from support.memory import run_measured

MOST_MB = 300
STREAM = """
import sys
from soundmark import audio
with audio.stream(sys.stdin.buffer if {path!r} == "-" else {path!r}, rate_hz=22050) as stream:
    print(sum(map(len, stream)), stream.note)
"""


def write_constant(path: Path, seconds: float, rate_hz: int, channels: int = 1, subtype: str = "PCM_16") -> Path:
    block = np.ones((max(1, (1 << 22) // channels), channels), np.int16)
    missing = round(seconds * rate_hz)
    with soundfile.SoundFile(path, "w", rate_hz, channels, subtype) as file:
        while missing > 0:
            file.write(block[:missing])
            missing -= len(block)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "rate_hz", "channels"), [(15_000, 40, 1), (2, 44_100, 1024), (0.5, 192_000, 1024)])
def test_memory_does_not_grow_with_channels_or_a_low_rate(tmp_path, seconds, rate_hz, channels):
    path = write_constant(tmp_path / "odd.wav", seconds, rate_hz, channels)
    output, peak_mb = run_measured(STREAM.format(path=str(path)))
    assert output == f"{round(seconds * 22_050)} None\n"
    assert peak_mb < MOST_MB


@pytest.mark.slow
def test_a_long_pipe_is_streamed_in_bounded_memory(tmp_path):
    path = write_constant(tmp_path / "long.wav", 8000, 44_100)  # 700 MB
    output, peak_mb = run_measured(STREAM.format(path="-"), input=path)
    assert output == f"{8000 * 22_050} None\n"
    assert peak_mb < MOST_MB


@pytest.mark.parametrize("longer", [False, True])
def test_a_pipe_longer_than_the_limit_is_refused(tmp_path, monkeypatch, longer):
    monkeypatch.setattr("soundmark.audio.decoding.spool.MEMORY_BYTES", 1 << 12)
    path = write_constant(tmp_path / "a.wav", 1, 8000)
    monkeypatch.setattr(limits, "PIPE_BYTES", path.stat().st_size - longer)
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(path.read_bytes()), daemon=True)
    writer.start()
    if longer:
        with pytest.raises(AudioError, match=r'pipe" is too long for a pipe: at most 0 MiB are read from one. Save it'):
            audio.read(tmp_path / "pipe")
    else:
        np.testing.assert_array_equal(audio.read(tmp_path / "pipe").samples, audio.read(path).samples)
    writer.join(timeout=60)


def test_a_sound_that_does_not_fit_in_memory_is_streamed_or_read_in_parts(tmp_path):
    path = write_constant(tmp_path / "night.flac", 10 * 3600, 8000)
    assert path.stat().st_size < 5e6
    with pytest.raises(AudioError, match=r'night.flac" lasts 36000.0 s, too long to be read at once: at most 33554'):
        audio.read(path)
    with pytest.raises(AudioError, match="at most 12173.9 s at 22050 Hz are. Divide it into shorter files, or read a"):
        audio.read(path, rate_hz=22_050)
    assert audio.read(path, start_s=35_000, stop_s=35_001).duration_s == 1
    with audio.stream(path) as stream:
        assert sum(map(len, stream)) == 10 * 3600 * 8000


def test_a_sound_longer_than_a_month_is_refused(tmp_path, monkeypatch):
    path = write_constant(tmp_path / "a.wav", 10, 8000, 2)
    for name, least in (("FILE_S", 10), ("FILE_VALUES", 160_000)):
        with monkeypatch.context() as patch:
            patch.setattr(limits, name, least)
            assert audio.read(path).duration_s == 10
            patch.setattr(limits, name, least - 1)
            with pytest.raises(AudioError, match=r'a.wav" is too long: its header declares 0.0 h at 8000 Hz, 2'):
                audio.read(path)
            assert audio.read(path, stop_s=4).duration_s == 4


def w64(subtype: str, declared_bytes: int) -> bytes:
    """A second at 8 kHz, in a W64 file that declares another size of its samples."""
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.sin(np.arange(8000)), 8000, format="W64", subtype=subtype)
    data = bytearray(file.getvalue())
    start = 40
    while data[start : start + 4] != b"data":
        start += -(-struct.unpack_from("<Q", data, start + 16)[0] // 8) * 8
    struct.pack_into("<Q", data, start + 16, declared_bytes + 24)
    return bytes(data)


@pytest.mark.parametrize(
    ("subtype", "declared_bytes"),
    [
        *((subtype, 1 << 62) for subtype in ("PCM_16", "ULAW", "FLOAT", "MS_ADPCM", "IMA_ADPCM", "GSM610")),
        ("GSM610", 1 << 63),  # libsndfile takes these for billions of frames, and decodes noise
        ("GSM610", 0xFFFF_FF00_0000_0220),
    ],
)
def test_a_header_cannot_declare_more_than_the_file_holds(tmp_path, subtype, declared_bytes):
    path = tmp_path / "a.w64"
    path.write_bytes(w64(subtype, declared_bytes))
    info = audio.info(path)
    assert 1 <= info.duration_s < 1.1
    sound = audio.read(path)
    assert 1 <= sound.duration_s < 1.1
    if declared_bytes > 1 << 62:
        assert re.match(
            r"is damaged: its header declares \d+\.\d+ s, and a file of this size holds at most 1", info.note
        )
        assert sound.note == info.note


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "IMA_ADPCM"), ("W64", "IMA_ADPCM"), ("WAV", "GSM610")])
@pytest.mark.parametrize("cut", [2, 10, 64, 100])
def test_a_last_block_that_is_cut_off_is_not_completed_with_noise(container, subtype, cut):
    file = io.BytesIO()
    tone = 0.3 * np.sin(0.3 * np.arange(8000))
    soundfile.write(file, tone, 8000, format=container, subtype=subtype)
    whole, part = audio.read(file.getvalue()), audio.read(file.getvalue()[:-cut])
    n = len(part.samples)
    assert whole.note is None
    assert len(whole.samples) - 700 < n < len(whole.samples)
    assert np.array_equal(part.samples, whole.samples[:n])
    assert part.note.startswith("is truncated: ")
    assert audio.info(file.getvalue()[:-cut]).frames == n


@pytest.mark.parametrize("channels", [1, 2])
def test_a_short_last_block_that_the_header_declares_is_read_without_a_note(channels):
    file = io.BytesIO()
    soundfile.write(file, np.full((1200, channels), 0.3), 8000, format="WAV", subtype="IMA_ADPCM")
    whole = audio.read(file.getvalue())
    shorter = bytearray(file.getvalue()[: -100 * channels])
    struct.pack_into("<I", shorter, 4, len(shorter) - 8)
    at = shorter.index(b"data")
    struct.pack_into("<I", shorter, at + 4, len(shorter) - at - 8)
    part = audio.read(bytes(shorter))
    assert part.note is None
    assert len(part.samples) == len(whole.samples) - 200
    assert np.array_equal(part.samples, whole.samples[: len(part.samples)])


def test_a_damaged_size_of_a_chunk_before_the_samples_is_no_error():
    file = io.BytesIO(b"riff".ljust(40, b"\0") + b"junk".ljust(16, b"\0") + b"\xff" * 8)
    assert last_block.complete_frames(file, "W64", "GSM610", 1, "Block Align : 65\nSamples/Block : 320") is None
