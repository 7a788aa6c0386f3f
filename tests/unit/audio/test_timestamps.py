"""The start time of a recording: file names and metadata of common recorders."""

import os
import struct
from datetime import UTC, datetime

import numpy as np
import pytest

from soundmark import audio
from soundmark.audio import timestamps
from soundmark.errors import SettingsError

MOMENT = datetime(2024, 6, 12, 4, 30, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "name",
    [
        "20240612_043000.WAV",  # AudioMoth
        "SMU01_20240612_043000.wav",  # Song Meter
        "S4A00123_20240612_043000_0.wav",
        "20240612T043000Z.wav",
        "20240612T063000+0200_mast.wav",
        "2024-06-12T04-30-00.flac",
        "2024-06-12 04:30:00.wav",
        "site7-20240612T013000-0300.wav",
        "swift_20240612_100000+0530.wav",
        "20240612_043000T.WAV",  # AudioMoth, triggered recording
        "20240612_043000-0001.wav",  # a serial number, not a timezone offset of one minute
        "20240612_043000-9999.wav",
        "20240612_043000+2500.wav",
        f"{int(MOMENT.timestamp()):08X}.WAV",  # early AudioMoths: seconds since 1970
    ],
)
def test_file_names_of_recorders(name):
    assert timestamps.recording_start(name) == MOMENT


@pytest.mark.parametrize(
    "name",
    [
        "street.wav",
        "101415-3-0-2.wav",  # UrbanSound8K
        "1-100032-A-0.wav",  # ESC-50
        "20241340_043000.wav",
        "20240612_250000.wav",
        "20240612.wav",
        "00000012.wav",
        "deadbeef.wav",
        "120240612_0430001.wav",
        "99991231_235959-0100.wav",
        "20240612_240000.wav",
        "x\0y.wav",
    ],
)
def test_names_without_a_time_give_none(name):
    assert timestamps.recording_start(name) is None


def test_local_times_follow_summer_time():
    assert timestamps.recording_start("20240612_063000.wav", zone="Europe/Berlin") == MOMENT
    assert timestamps.recording_start("20240112_053000.wav", zone="Europe/Berlin") == datetime(
        2024, 1, 12, 4, 30, tzinfo=UTC
    )
    assert timestamps.recording_start("20241027_023000.wav", zone="Europe/Berlin") == datetime(
        2024, 10, 27, 0, 30, tzinfo=UTC
    )
    assert timestamps.recording_start("20240612T043000Z.wav", zone="Europe/Berlin") == MOMENT  # it has its own offset


def test_time_skipped_by_summer_time_uses_the_offset_before_the_change():
    assert timestamps.recording_start("20240331_023000.wav", zone="Europe/Berlin") == datetime(
        2024, 3, 31, 1, 30, tzinfo=UTC
    )


def test_timezone_after_a_fraction_of_a_second():
    moment = timestamps.recording_start("20240612T043000.250Z.wav", zone="Europe/Berlin")
    assert moment == MOMENT.replace(microsecond=250_000)


def test_unknown_timezone_is_rejected():
    with pytest.raises(SettingsError, match='unknown timezone "Europe/Berlni": give a name such as Europe/Berlin'):
        timestamps.recording_start("a.wav", zone="Europe/Berlni")


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def bext(day: bytes, clock: bytes) -> bytes:
    return chunk(b"bext", bytes(320) + day + clock + bytes(264))


def comment(text: str) -> bytes:
    return chunk(b"LIST", b"INFO" + chunk(b"ICMT", text.encode()))


def guano(text: str) -> bytes:
    return chunk(b"guan", f"GUANO|Version: 1.0\nTimestamp: {text}\nMake: Wildlife".encode())


def wav(tmp_path, *chunks: bytes, name: str = "a.wav", at_end: bool = False):
    audio.write(tmp_path / name, np.zeros(101), 8000)
    data = (tmp_path / name).read_bytes()
    extra = b"".join(chunks)
    content = data + extra if at_end else data[:12] + extra + data[12:]
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize(
    "metadata",
    [
        bext(b"2024-06-12", b"04:30:00"),
        bext(b"2024:06:12", b"04-30-00"),
        comment("Recorded at 04:30:00 12/06/2024 (UTC) by AudioMoth 24E1440360371AF3 at medium gain"),
        comment("Recorded at 04:30:00 12/06/2024 by AudioMoth 24E1440360371AF3 at gain setting 2"),
        comment("Recorded at 06:30:00 12/06/2024 (UTC+2) by AudioMoth 24E1440360371AF3"),
        comment("Recorded at 01:00:00 12/06/2024 (UTC-3:30) by AudioMoth 24E1440360371AF3"),
        guano("2024-06-12T04:30:00Z"),
        guano("2024-06-12T06:30:00+02:00"),
    ],
)
def test_metadata_of_recorders(tmp_path, metadata, at_end):
    assert timestamps.recording_start(wav(tmp_path, metadata, at_end=at_end)) == MOMENT


def test_milliseconds_are_preserved(tmp_path):
    path = wav(tmp_path, comment("Recorded at 04:30:00.250 12/06/2024 (UTC) by AudioMoth"))
    assert timestamps.recording_start(path).microsecond == 250_000


def test_metadata_takes_precedence_over_the_name(tmp_path):
    name = "20200101_000000.wav"
    assert timestamps.recording_start(wav(tmp_path, name=name)).year == 2020
    assert timestamps.recording_start(wav(tmp_path, bext(b"2024-06-12", b"04:30:00"), name=name)) == MOMENT
    both = (bext(b"2021-01-01", b"00:00:00"), guano("2024-06-12T04:30:00Z"))
    assert timestamps.recording_start(wav(tmp_path, *both, name=name)) == MOMENT


def test_timezone_applies_to_metadata_without_offset(tmp_path):
    assert timestamps.recording_start(wav(tmp_path, bext(b"2024-06-12", b"06:30:00")), zone="Europe/Berlin") == MOMENT
    assert timestamps.recording_start(wav(tmp_path, guano("2024-06-12T06:30:00")), zone="Europe/Berlin") == MOMENT


@pytest.mark.parametrize("form", [b"RF64", b"BW64"])
def test_metadata_after_the_data_of_a_long_file(tmp_path, form):
    data = np.zeros(100, np.int16).tobytes()
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, len(data), 100, 0))
    fmt = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16))
    body = b"WAVE" + sizes + fmt + b"data\xff\xff\xff\xff" + data + guano("2024-06-12T04:30:00Z")
    (tmp_path / "long.wav").write_bytes(form + b"\xff\xff\xff\xff" + body)
    assert timestamps.recording_start(tmp_path / "long.wav") == MOMENT


@pytest.mark.parametrize("length", [0, 4, 11, 13, 19, 40])
def test_truncated_files_give_none(tmp_path, length):
    path = wav(tmp_path, bext(b"2024-06-12", b"04:30:00"))
    path.write_bytes(path.read_bytes()[:length])
    assert timestamps.recording_start(path) is None


def test_chunk_that_declares_a_huge_size_is_not_read(tmp_path):
    head = b"RIFF\0\0\0\0WAVELIST" + struct.pack("<I", 0xFFFF_FFF0) + b"INFO"
    (tmp_path / "odd.wav").write_bytes(head + bytes(1000))
    assert timestamps.recording_start(tmp_path / "odd.wav") is None
    size = chunk(b"ds64", struct.pack("<QQQI", 0, 2**64 - 2, 0, 0))
    (tmp_path / "odd.wav").write_bytes(b"RF64\xff\xff\xff\xffWAVE" + size + b"data\xff\xff\xff\xff")
    assert timestamps.recording_start(tmp_path / "odd.wav") is None


def test_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "20240612_043000.wav")
    assert timestamps.recording_start(tmp_path / "20240612_043000.wav") == MOMENT


def test_invalid_dates_give_none(tmp_path):
    assert timestamps.recording_start(wav(tmp_path, bext(b"0000-00-00", b"00:00:00"))) is None
    assert timestamps.recording_start(wav(tmp_path, guano("yesterday"))) is None
    assert timestamps.recording_start(wav(tmp_path, guano("0001-01-01T00:00:00+05:00"))) is None
    assert timestamps.recording_start(wav(tmp_path, guano("9999-12-31T23:59:59-05:00"))) is None
    assert (
        timestamps.recording_start(wav(tmp_path, comment("Recorded at 04:30:00 12/06/2024 (UTC+99) by AudioMoth")))
        is None
    )


def test_damaged_bytes_never_raise(tmp_path):
    rng = np.random.default_rng(0)
    content = wav(tmp_path, bext(b"2024-06-12", b"04:30:00"), guano("2024-06-12T04:30:00Z")).read_bytes()
    for _ in range(500):
        damaged = bytearray(content[: int(rng.integers(1, len(content)))])
        for position in rng.integers(0, len(damaged), 8):
            damaged[position] = rng.integers(256)
        (tmp_path / "a.wav").write_bytes(damaged)
        moment = timestamps.recording_start(tmp_path / "a.wav")
        assert moment is None or moment.tzinfo is UTC
