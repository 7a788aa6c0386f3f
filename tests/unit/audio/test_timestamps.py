"""When a recording was begun: names as recorders give them, and what they write into the file."""

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
        "20240612_043000T.WAV",  # AudioMoth, where a sound set it off
        "20240612_043000-0001.wav",  # a number that the recorder counts, and no timezone a minute behind
        "20240612_043000-9999.wav",
        "20240612_043000+2500.wav",
        f"{int(MOMENT.timestamp()):08X}.WAV",  # the first AudioMoths: seconds since 1970
    ],
)
def test_a_recorders_name_is_read(name):
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
def test_what_is_no_time_is_none(name):
    assert timestamps.recording_start(name) is None


def test_a_clock_of_a_place_keeps_summer_time():
    assert timestamps.recording_start("20240612_063000.wav", zone="Europe/Berlin") == MOMENT
    assert timestamps.recording_start("20240112_053000.wav", zone="Europe/Berlin") == datetime(
        2024, 1, 12, 4, 30, tzinfo=UTC
    )
    assert timestamps.recording_start("20241027_023000.wav", zone="Europe/Berlin") == datetime(
        2024, 10, 27, 0, 30, tzinfo=UTC
    )
    assert timestamps.recording_start("20240612T043000Z.wav", zone="Europe/Berlin") == MOMENT  # it says its own


def test_an_hour_that_summer_time_leaves_out_is_that_of_a_clock_not_put_on_yet():
    assert timestamps.recording_start("20240331_023000.wav", zone="Europe/Berlin") == datetime(
        2024, 3, 31, 1, 30, tzinfo=UTC
    )


def test_a_fraction_of_a_second_in_a_name_hides_no_timezone():
    moment = timestamps.recording_start("20240612T043000.250Z.wav", zone="Europe/Berlin")
    assert moment == MOMENT.replace(microsecond=250_000)


def test_a_timezone_that_does_not_exist_is_refused():
    with pytest.raises(SettingsError, match='there is no timezone "Europe/Berlni" here: give a name as Europe/Berlin'):
        timestamps.recording_start("a.wav", zone="Europe/Berlni")


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def bext(day: bytes, clock: bytes) -> bytes:
    return chunk(b"bext", bytes(320) + day + clock + bytes(264))


def comment(text: str) -> bytes:
    return chunk(b"LIST", b"INFO" + chunk(b"ICMT", text.encode()))


def guano(text: str) -> bytes:
    return chunk(b"guan", f"GUANO|Version: 1.0\nTimestamp: {text}\nMake: Wildlife".encode())


def wav(tmp_path, *chunks: bytes, name: str = "a.wav", behind: bool = False):
    audio.write(tmp_path / name, np.zeros(101), 8000)
    data = (tmp_path / name).read_bytes()
    extra = b"".join(chunks)
    whole = data + extra if behind else data[:12] + extra + data[12:]
    (tmp_path / name).write_bytes(whole)
    return tmp_path / name


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(
    "written",
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
def test_what_a_recorder_wrote_into_the_file_is_read(tmp_path, written, behind):
    assert timestamps.recording_start(wav(tmp_path, written, behind=behind)) == MOMENT


def test_milliseconds_count(tmp_path):
    path = wav(tmp_path, comment("Recorded at 04:30:00.250 12/06/2024 (UTC) by AudioMoth"))
    assert timestamps.recording_start(path).microsecond == 250_000


def test_what_stands_inside_goes_before_the_name(tmp_path):
    name = "20200101_000000.wav"
    assert timestamps.recording_start(wav(tmp_path, name=name)).year == 2020
    assert timestamps.recording_start(wav(tmp_path, bext(b"2024-06-12", b"04:30:00"), name=name)) == MOMENT
    both = (bext(b"2021-01-01", b"00:00:00"), guano("2024-06-12T04:30:00Z"))
    assert timestamps.recording_start(wav(tmp_path, *both, name=name)) == MOMENT


def test_local_clocks_inside_take_the_timezone(tmp_path):
    assert timestamps.recording_start(wav(tmp_path, bext(b"2024-06-12", b"06:30:00")), zone="Europe/Berlin") == MOMENT
    assert timestamps.recording_start(wav(tmp_path, guano("2024-06-12T06:30:00")), zone="Europe/Berlin") == MOMENT


@pytest.mark.parametrize("form", [b"RF64", b"BW64"])
def test_a_long_file_is_read_past_its_data(tmp_path, form):
    data = np.zeros(100, np.int16).tobytes()
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, len(data), 100, 0))
    fmt = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16))
    body = b"WAVE" + sizes + fmt + b"data\xff\xff\xff\xff" + data + guano("2024-06-12T04:30:00Z")
    (tmp_path / "long.wav").write_bytes(form + b"\xff\xff\xff\xff" + body)
    assert timestamps.recording_start(tmp_path / "long.wav") == MOMENT


@pytest.mark.parametrize("cut", [0, 4, 11, 13, 19, 40])
def test_damaged_files_say_nothing(tmp_path, cut):
    path = wav(tmp_path, bext(b"2024-06-12", b"04:30:00"))
    path.write_bytes(path.read_bytes()[:cut])
    assert timestamps.recording_start(path) is None


def test_a_chunk_that_says_it_is_huge_is_not_read(tmp_path):
    head = b"RIFF\0\0\0\0WAVELIST" + struct.pack("<I", 0xFFFF_FFF0) + b"INFO"
    (tmp_path / "odd.wav").write_bytes(head + bytes(1000))
    assert timestamps.recording_start(tmp_path / "odd.wav") is None
    size = chunk(b"ds64", struct.pack("<QQQI", 0, 2**64 - 2, 0, 0))
    (tmp_path / "odd.wav").write_bytes(b"RF64\xff\xff\xff\xffWAVE" + size + b"data\xff\xff\xff\xff")
    assert timestamps.recording_start(tmp_path / "odd.wav") is None


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "20240612_043000.wav")
    assert timestamps.recording_start(tmp_path / "20240612_043000.wav") == MOMENT


def test_dates_that_no_calendar_has_are_none(tmp_path):
    assert timestamps.recording_start(wav(tmp_path, bext(b"0000-00-00", b"00:00:00"))) is None
    assert timestamps.recording_start(wav(tmp_path, guano("yesterday"))) is None
    assert timestamps.recording_start(wav(tmp_path, guano("0001-01-01T00:00:00+05:00"))) is None
    assert timestamps.recording_start(wav(tmp_path, guano("9999-12-31T23:59:59-05:00"))) is None
    assert (
        timestamps.recording_start(wav(tmp_path, comment("Recorded at 04:30:00 12/06/2024 (UTC+99) by AudioMoth")))
        is None
    )


def test_no_bytes_make_it_fail(tmp_path):
    rng = np.random.default_rng(0)
    content = wav(tmp_path, bext(b"2024-06-12", b"04:30:00"), guano("2024-06-12T04:30:00Z")).read_bytes()
    for _ in range(500):
        damaged = bytearray(content[: int(rng.integers(1, len(content)))])
        for place in rng.integers(0, len(damaged), 8):
            damaged[place] = rng.integers(256)
        (tmp_path / "a.wav").write_bytes(damaged)
        moment = timestamps.recording_start(tmp_path / "a.wav")
        assert moment is None or moment.tzinfo is UTC
