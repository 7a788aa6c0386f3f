"""Sound files: every container and encoding that libsndfile writes."""

from __future__ import annotations

import io
from pathlib import Path
from random import Random

import numpy as np
import soundfile

from soundmark import audio
from soundmark.audio import capture, decoding, limits
from soundmark.audio.timestamps import recording_start
from soundmark.errors import AudioError, SoundmarkError
from support.fuzzing.mutators import mutated_bytes
from support.fuzzing.target import Beat, Case, Target, expect, expect_equal

WITHOUT_HEADER = ("RAW", "SD2")  # SD2 has its header in another file
LONG = {
    ("WAV", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
    ("CAF", "ALAC_16"),
}
MOST_SAMPLES = 20_000_000  # read at once by the checks
SUFFIXES = {"OGG": "ogg", "MP3": "mp3", "FLAC": "flac", "AIFF": "aiff", "CAF": "caf", "AU": "au", "W64": "w64"}


class Sounds(Target):
    """Sound files, read as a whole, in blocks, in part, from bytes, and as a live source."""

    name = "sounds"
    is_text = True

    def seeds(self) -> list[Case]:
        found = []
        for container in soundfile.available_formats():
            if container in WITHOUT_HEADER:
                continue
            for subtype in soundfile.available_subtypes(container):
                lengths = (37, 4000, 80_000) if (container, subtype) in LONG else (37, 4000)
                for channels in (1, 2, 6):
                    for frames in lengths[: 3 if channels == 1 else 2]:
                        data = encoded_sound(container, subtype, channels, frames)
                        if data:
                            name = f"in.{SUFFIXES.get(container, 'wav')}"
                            found.append(Case({name: data}, name))
        wav = encoded_sound("WAV", "PCM_16", 1, 2000)
        found.append(Case({"in.wav": _with_metadata(wav)}, "in.wav"))
        return found

    def mutated(self, seed: Case, rng: Random) -> Case:
        data = seed.data
        if rng.random() < 0.01:
            return seed
        data = mutated_bytes(data, rng, head=rng.choice((64, 200, 800)))
        if data[:4] == b"OggS" and len(data) < 40_000 and rng.random() < 0.7:
            data = with_valid_checksums(data)
        return seed.with_data(data)

    def check(self, path: Path, rng: Random, beat: Beat) -> None:
        beat("timestamps")
        recording_start(path)
        beat("live")
        self._check_live(path)
        beat("info")
        about = audio.info(path)
        expect(about.frames >= 0 and about.channels >= 1, f"info: {about}")
        beat("read")
        if about.frames > MOST_SAMPLES:
            _check_start(path, about)
            return
        sound = audio.read(path)
        _check_sound(sound, about)
        beat("read again")
        _check_same(audio.read(path), sound, "read twice")
        beat("bytes")
        try:
            from_bytes = audio.read(path.read_bytes())
        except AudioError as error:  # libsndfile does not read some damaged headers from memory
            expect("the audio data" in str(error), f"a message about bytes: {error}")
        else:
            _check_same(from_bytes, sound, "read from bytes")
        beat("blocks")
        with audio.stream(path) as stream:
            blocks = list(stream)
        expect_equal(np.concatenate(blocks), sound.samples, "blocks and the whole")
        expect(stream.note == sound.note, f"notes of blocks and the whole: {stream.note}, {sound.note}")
        beat("resample")
        self._check_resampled(path, sound, rng)
        beat("slice")
        self._check_slice(path, sound, about, rng)

    def _check_resampled(self, path: Path, sound: audio.Sound, rng: Random) -> None:
        rate_hz = rng.choice((8000, 16000, 22050, 48000))
        if sound.duration_s > 300:
            return
        resampled = audio.read(path, rate_hz=rate_hz)
        expect(bool(np.isfinite(resampled.samples).all()), "resampled samples are not finite")
        expected = sound.duration_s * rate_hz
        expect(abs(len(resampled.samples) - expected) <= 2, f"resampled to {len(resampled.samples)}, not {expected}")

    def _check_slice(self, path: Path, sound: audio.Sound, about: audio.AudioInfo, rng: Random) -> None:
        start, stop = sorted(rng.randrange(len(sound.samples) + 1) for _ in range(2))
        part = audio.read(path, start_s=start / sound.rate_hz, stop_s=max(stop, start + 1) / sound.rate_hz)
        _check_finite(part)
        seeks_exactly = about.container in decoding.SEEKS_EXACTLY and not about.subtype.startswith("ALAC")
        if sound.note is None and seeks_exactly and part.note is None:  # a damaged ALAC packet may be of any length
            expect_equal(part.samples, sound.samples[start : start + len(part.samples)], "a slice and the whole")

    def _check_live(self, path: Path) -> None:
        """Read the first bytes as a pipe of a live source, which may be of another format than the source expects."""
        try:
            source = capture.pcm.open_pcm(io.BytesIO(path.read_bytes()[:100_000]), rate_hz=8000)
            for block in source.blocks():
                expect(bool(np.isfinite(block.samples).all()), "a live block is not finite")
        except SoundmarkError as error:
            expect("standard input" in str(error), f"a message of a live source: {error}")


def encoded_sound(container: str, subtype: str, channels: int, frames: int) -> bytes:
    """A tone with noise as a sound file; empty if libsndfile does not write this combination."""
    rate_hz = 48_000 if subtype == "OPUS" else 8000
    t = np.arange(frames) / rate_hz
    tone = 0.3 * np.sin(2 * np.pi * 440 * t) + np.random.default_rng(frames).normal(0, 0.01, frames)
    file = io.BytesIO()
    try:
        soundfile.write(file, np.stack([tone] * channels, axis=1), rate_hz, format=container, subtype=subtype)
    except (soundfile.LibsndfileError, ValueError, RuntimeError):
        return b""
    return file.getvalue()


def _with_metadata(wav: bytes) -> bytes:
    """A WAV file with the chunks in which recorders store the time."""
    guano = b"GUANO|Version:1.0\nTimestamp: 2024-06-12T04:30:00+02:00\n"
    comment = b"Recorded at 04:30:00 12/06/2024 (UTC) by AudioMoth 0123456789ABCDEF"
    icmt = b"INFOICMT" + len(comment).to_bytes(4, "little") + comment
    bext = bytes(320) + b"2024-06-1204:30:00" + bytes(264)
    chunks = b"".join(
        name + len(content).to_bytes(4, "little") + content + bytes(len(content) % 2)
        for name, content in ((b"guan", guano), (b"LIST", icmt), (b"bext", bext))
    )
    return wav[:12] + chunks + wav[12:]


def _check_finite(sound: audio.Sound) -> None:
    samples = sound.samples
    expect(samples.ndim == 1 and samples.dtype == np.float32 and len(samples) > 0, f"samples: {samples.shape}")
    expect(bool(np.isfinite(samples).all()), "samples are not finite")
    note = sound.note or ""
    expect(note.isprintable() and len(note) < 300, f"the note is {note!r}")


def _check_sound(sound: audio.Sound, about: audio.AudioInfo) -> None:
    _check_finite(sound)
    n = len(sound.samples)
    expect(sound.rate_hz == about.rate_hz, f"rate {sound.rate_hz} and {about.rate_hz}")
    expect(n <= about.frames, f"{n} samples of {about.frames} frames")
    slack = decoding.MPEG_SLACK_FRAMES if about.container == "MP3" else 0
    expect(n >= about.frames - slack or sound.note is not None, f"{n} samples of {about.frames} frames without a note")


def _check_same(sound: audio.Sound, other: audio.Sound, what: str) -> None:
    expect_equal(sound.samples, other.samples, what)
    expect((sound.rate_hz, sound.note) == (other.rate_hz, other.note), f"{what}: {sound.note!r}, {other.note!r}")


def _check_start(path: Path, about: audio.AudioInfo) -> None:
    """Read the start of a sound that is too long to be read twice."""
    n = 0
    with audio.stream(path) as stream:
        for block in stream:
            expect(bool(np.isfinite(block).all()), "samples are not finite")
            expect(block.nbytes <= 4 * limits.BLOCK_VALUES, f"a block of {block.nbytes} bytes")
            n += len(block)
            if n > MOST_SAMPLES:
                return
    if stream.note is None:
        raise AudioError(f"{path.name}: {n} samples of {about.frames} frames without a note")


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if crc & 0x80000000 else crc << 1
        table.append(crc)
    return table


CRC = _crc_table()


def with_valid_checksums(ogg: bytes) -> bytes:
    """Set the checksum of each page: libogg ignores pages with a wrong one. Source: RFC 3533, section 6."""
    data, at = bytearray(ogg), 0
    while (at := data.find(b"OggS", at)) >= 0 and at + 27 <= len(data):
        n_segments = data[at + 26]
        stop = at + 27 + n_segments + sum(data[at + 27 : at + 27 + n_segments])
        data[at + 22 : at + 26] = bytes(4)
        crc = 0
        for byte in data[at:stop]:
            crc = (crc << 8 & 0xFFFFFFFF) ^ CRC[crc >> 24 ^ byte]
        data[at + 22 : at + 26] = crc.to_bytes(4, "little")
        at = max(stop, at + 4) if stop <= len(data) else at + 4
    return bytes(data)
