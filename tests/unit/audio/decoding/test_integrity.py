"""Damage that libsndfile conceals: reported where the container shows it, and never for an intact file."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundmark import audio
from soundmark.audio.decoding import integrity

SECONDS = 12

MIDDLE = 0.5


def encoded(container: str, subtype: str, rate_hz: int = 44_100, channels: int = 1) -> bytes:
    """Encode a tone in noise: the noise makes every packet different and long."""
    n = SECONDS * rate_hz
    noise = np.random.default_rng(0).standard_normal((n, channels))
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate_hz, channels, format=container, subtype=subtype) as out:
        for start in range(0, n, 4096):  # libsndfile's Vorbis encoder crashes on long arrays
            tone = 0.3 * np.sin(0.05 * np.arange(start, min(n, start + 4096)))
            out.write(tone[:, None] + 0.05 * noise[start : start + 4096])
    return file.getvalue()


def note_of(sound: bytes, **part: float) -> str | None:
    return audio.read(sound, **part).note


KINDS = [
    ("OGG", "VORBIS", 44_100, 1),
    ("OGG", "VORBIS", 22_050, 2),
    ("OGG", "OPUS", 48_000, 2),
    ("OGG", "OPUS", 16_000, 1),
    ("MP3", "MPEG_LAYER_III", 44_100, 2),  # MPEG 1
    ("MP3", "MPEG_LAYER_III", 22_050, 1),  # MPEG 2
    ("MP3", "MPEG_LAYER_III", 8_000, 1),  # MPEG 2.5
    ("CAF", "ALAC_16", 44_100, 2),
    ("CAF", "ALAC_20", 44_100, 1),
]


@pytest.mark.parametrize(("container", "subtype", "rate_hz", "channels"), KINDS)
def test_an_intact_file_has_no_note(container: str, subtype: str, rate_hz: int, channels: int) -> None:
    assert note_of(encoded(container, subtype, rate_hz, channels)) is None


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind[0] == "OGG"])
def test_one_changed_bit_in_an_ogg_file_is_reported_where_it_is(kind: tuple[str, str, int, int]) -> None:
    sound = bytearray(encoded(*kind))
    sound[int(MIDDLE * len(sound))] ^= 1
    (damage,) = integrity.damaged_ogg_pages(io.BytesIO(sound))
    assert damage.n == 1
    rate_hz = 48_000 if kind[1] == "OPUS" else kind[2]
    assert damage.start / rate_hz < MIDDLE * SECONDS + 1
    assert damage.stop / rate_hz > MIDDLE * SECONDS - 1
    note = note_of(bytes(sound))
    assert note is not None
    assert note.startswith("is damaged: 1 Ogg page is invalid or missing, between ")


def test_a_slice_beside_the_damage_has_no_note() -> None:
    sound = bytearray(encoded("OGG", "VORBIS"))
    sound[int(MIDDLE * len(sound))] ^= 1
    assert note_of(bytes(sound), stop_s=3) is None
    assert note_of(bytes(sound), start_s=5, stop_s=7) is not None


def test_missing_ogg_pages_are_counted() -> None:
    sound = encoded("OGG", "VORBIS")
    pages = [sound.index(b"OggS")]
    while (following := sound.find(b"OggS", pages[-1] + 1)) > 0:
        pages.append(following)
    without = sound[: pages[10]] + sound[pages[13] :]
    (damage,) = integrity.damaged_ogg_pages(io.BytesIO(without))
    assert damage.n == 3


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind[0] == "MP3"])
def test_bytes_missing_from_an_mp3_are_reported_where_they_are(kind: tuple[str, str, int, int]) -> None:
    sound = encoded(*kind)
    middle = int(MIDDLE * len(sound))
    note = note_of(sound[:middle] + sound[middle + 3001 :])
    assert note is not None
    assert note.startswith("is damaged: 1 MP3 frame is invalid or missing, between ")
    assert MIDDLE * SECONDS - 1 < float(note.split("between ")[1].split(" s")[0]) < MIDDLE * SECONDS + 1


def test_tags_at_the_start_between_and_after_mp3_frames_are_no_damage() -> None:
    sound = encoded("MP3", "MPEG_LAYER_III")
    tag = b"ID3\x04\x00\x00" + bytes((0, 0, 2, 0)) + b"\xff" * 256
    ending = b"TAG" + b"a title".ljust(125)
    assert list(integrity.damaged_mpeg_frames(io.BytesIO(tag + sound + ending))) == []
    assert list(integrity.damaged_mpeg_frames(io.BytesIO(sound + ending + tag + sound + ending))) == []


def test_zeros_over_whole_alac_packets_are_reported() -> None:
    sound = bytearray(encoded("CAF", "ALAC_16"))
    middle = int(MIDDLE * len(sound))
    sound[middle : middle + 30_000] = bytes(30_000)
    note = note_of(bytes(sound))
    assert note is not None
    assert "ALAC packets are invalid or missing, between 5." in note


def test_a_file_is_checked_once_for_all_its_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bird.ogg"
    path.write_bytes(encoded("OGG", "VORBIS"))
    checked = []
    monkeypatch.setattr(integrity, "damaged_ogg_pages", lambda file: iter(checked.append(file) or ()))
    for start_s in range(10):
        audio.read(path, start_s=start_s, stop_s=start_s + 1)
    assert len(checked) == 1


@pytest.mark.parametrize("seed", range(40))
def test_no_damage_ends_in_an_exception(seed: int) -> None:
    random = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    sound = bytearray(encoded(*kind)[: random.integers(10, 60_000)])
    for _ in range(random.integers(1, 30)):
        at = int(random.integers(len(sound)))
        sound[at : at + 8] = struct.pack("<q", random.integers(-(1 << 62), 1 << 62))
    for check in (integrity.damaged_ogg_pages, integrity.damaged_mpeg_frames, integrity.damaged_alac_packets):
        assert all(damage.n > 0 for damage in check(io.BytesIO(bytes(sound))))


def caf(packet_table: bytes, declared: int) -> bytes:
    """Return a CAF file with this packet table, whose chunk declares a size of ``declared`` bytes."""
    description = struct.pack(">d4sIIIII", 44_100, b"alac", 0, 0, 4096, 1, 16)
    data = struct.pack(">4sq", b"data", 4 + 4096) + bytes(4 + 4096)
    table = struct.pack(">4sq", b"pakt", declared) + bytes(24) + packet_table
    return b"caff" + bytes(4) + struct.pack(">4sq", b"desc", len(description)) + description + data + table


@pytest.mark.parametrize(
    ("check", "hostile"),
    [
        (integrity.damaged_ogg_pages, b"OggS" * 1_000_000),
        (integrity.damaged_ogg_pages, (b"OggS" + bytes(22) + b"\xff" * 256) * 10_000),
        (integrity.damaged_mpeg_frames, b"\xff" * 4_000_000),
        (integrity.damaged_mpeg_frames, b"\xff\xfb\x90\x64" * 1_000_000),
        (integrity.damaged_alac_packets, caf(b"\xff" * 1_000_000, 1 << 62)),
        (integrity.damaged_alac_packets, caf(b"\x01" * 1_000_000, -1)),
    ],
    ids=["ogg names", "ogg headers", "sync bytes", "frame headers", "endless number", "tiny packets"],
)
def test_hostile_files_take_little_memory_and_time(check: Callable, hostile: bytes) -> None:
    started = time.process_time()
    assert len(list(check(io.BytesIO(hostile)))) < 5000
    assert time.process_time() - started < 5
