"""Decode a file, bytes or an open file to blocks of mono ``float32`` samples.

libsndfile decodes WAV of every kind, FLAC, Ogg Vorbis and Opus, MP3, AIFF and more. Decoding is block by block, so that
memory use does not grow with the length of a recording. A sound that cannot be decoded raises an ``AudioError``.

In reading order:

    diagnosis   explain why a file cannot be decoded
    last_block  count the frames of a last block that is cut off
    integrity   find damage that libsndfile conceals, in Ogg, MP3 and ALAC
    spool       copy a pipe to a temporary file
    worker      the process that decodes untrusted files
    isolation   decode untrusted files in worker processes with limits
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from soundmark.audio import limits
from soundmark.audio.decoding import integrity, last_block
from soundmark.audio.decoding.diagnosis import FileSource, damage, header_note, why_unreadable
from soundmark.audio.decoding.spool import spooled
from soundmark.errors import AudioError, processing
from soundmark.runtime import parallel

Samples = npt.NDArray[np.float32]


PART_BLOCKS = 2  # blocks that one thread decodes when several decode a long file


PARTS_AHEAD = 3  # parts that are decoded ahead of the consumer


SEEKS_EXACTLY = ("WAV", "WAVEX", "W64", "RF64", "FLAC", "AIFF", "AU", "CAF")  # not MP3, nor Ogg


SALVAGE_FRAMES = 1 << 10  # decoded at once after a decoding error; at most, and a divisor of, limits.block_frames


MPEG_SLACK_FRAMES = 2 * 1152  # an MP3 header estimates the length: two missing MPEG frames are normal


VORBIS_PAGE_FRAMES = 255 * 1024  # maximum length of a page: 255 packets of half a long block each


# A sample rate outside this range means a damaged header: audible frequencies begin at 20 Hz. Resampling from such a
# rate could stretch one second to hours.
LOWEST_RATE_HZ = 40


LARGEST_RATE_HZ = 1_000_000


END_TOLERANCE_S = 0.01  # a table with rounded times may exceed the end of a recording by this much


# Decoding these to integers is lossless (at most 16 or 32 bits), and libsndfile returns integers several times faster
# than floats. The mean of the integers, scaled, equals the mean of the floats bit for bit.
INTEGER_TYPES = {"PCM_S8": "int16", "PCM_U8": "int16", "PCM_16": "int16", "PCM_32": "int32"}


# Sums of channels and resampling of larger samples may exceed the range of float32. ``check_samples`` allows less.
LARGEST_FINITE = 1e30


# Encodings that cannot represent NaN or infinity.
NEVER_NAN = {*INTEGER_TYPES, "PCM_24", "MS_ADPCM", "IMA_ADPCM", "ULAW", "ALAW"}


RECORD_AGAIN = "Record it again, or remove it from the inputs."


UNNAMED = "the audio data"  # the name in messages of bytes, or of a file without a name


STANDARD_INPUT = "<stdin>"  # Python's name of the file


NO_FRAMES = "declares 0 frames in its header"


class Blocks:
    """Iterate once over the mono blocks of a sound, as far as it can be decoded.

    ``rate_hz`` and ``frames`` (the expected number of frames) are available at once. After the iteration, ``note``
    states what was missing. The iteration raises ``AudioError`` if the sound has no samples, or samples that are not
    finite.
    """

    def __init__(
        self, source: FileSource, name: str, file: Any, held: int, start: int, stop: int, pool: Executor | None = None
    ) -> None:
        self.name, self.rate_hz, self.frames = name, int(file.samplerate), stop - start
        self.note: str | None = None
        self._source, self._file, self._held, self._pool = source, file, held, pool
        self._start, self._stop = start, stop
        self._block_frames = limits.block_frames(self.rate_hz, file.channels)
        self._part_frames = PART_BLOCKS * self._block_frames
        self._decoded = self._n_not_finite = 0

    def __iter__(self) -> Iterator[Samples]:
        import soundfile

        decoding_error = None
        try:
            if self._pool and self._is_divisible():
                yield from self._decode_in_parallel(self._pool)
            if self._decoded < self.frames:
                yield from self._decode(self._file, self._block_frames)
        except soundfile.LibsndfileError:  # decode again in small blocks, to keep the sound before the error
            with opened(self._source, self.name) as reopened:
                try:
                    yield from self._decode(reopened, SALVAGE_FRAMES)
                except soundfile.LibsndfileError as error:
                    where_s = (self._start + self._decoded) / self.rate_hz
                    decoding_error = f"cannot be decoded beyond {where_s:.3f} s ({damage(error)})"
        self._conclude(decoding_error)

    def _is_divisible(self) -> bool:
        """Return whether the file is long, on disk, and in a format in which libsndfile seeks exactly."""
        on_disk = isinstance(self._source, str | os.PathLike)
        return on_disk and self.frames > 2 * self._part_frames and self._file.format in SEEKS_EXACTLY

    def _decode_in_parallel(self, pool: Executor) -> Iterator[Samples]:
        """Yield blocks that several threads decode, up to the first part that is damaged or too short."""
        parts = range(self._start, self._stop, self._part_frames)
        for part in parallel.map_ordered(self._decode_part, parts, pool, most=PARTS_AHEAD):
            if part is None:
                return
            self._n_not_finite += part[1]
            self._decoded += len(part[0])
            if not self._n_not_finite:
                yield part[0]

    def _decode_part(self, start: int) -> tuple[Samples, int] | None:
        """Return the part from frame ``start`` and its number of values that are not finite; None if it is damaged."""
        import soundfile

        frames = min(self._part_frames, self._stop - start)
        try:
            with opened(self._source, self.name) as file:
                file.seek(start)
                block, scale = _read(file, frames)
        except (AudioError, soundfile.LibsndfileError):
            return None
        return (mean_of_channels(block, scale), _n_not_finite(file, block)) if len(block) == frames else None

    def _decode(self, file: Any, frames: int) -> Iterator[Samples]:
        """Yield the blocks that were not decoded before, ``frames`` at a time."""
        n_known, done = self._decoded, 0
        _seek(file, self._start)
        while done < self.frames:
            block, scale = _read(file, min(frames, self.frames - done))
            if not len(block):
                return
            done += len(block)
            if done <= n_known:
                continue
            self._decoded = done
            self._n_not_finite += _n_not_finite(file, block)
            if not self._n_not_finite:
                yield mean_of_channels(block, scale)

    def _conclude(self, decoding_error: str | None) -> None:
        expected_s, decoded_s = self._stop / self.rate_hz, (self._start + self._decoded) / self.rate_hz
        end = f"ends after {decoded_s:.3f} s of the expected {expected_s:.3f} s"
        truncation = end if self._is_truncated() else None
        overstated = overstated_note(self._held, self._file)
        self.note = decoding_error or header_note(self._file.extra_info) or overstated or truncation
        if self.note is truncation:
            damaged = self._damage_note()
            self.note = f"{damaged}; it {truncation}" if damaged and truncation else damaged or truncation
        if not self._decoded:
            raise AudioError(f"{self.name} has no samples: it {self.note or end}. {RECORD_AGAIN}")
        if n := self._n_not_finite:
            values = "1 sample that is not a finite number" if n == 1 else f"{n} samples that are not finite numbers"
            raise AudioError(
                f"{self.name} contains {values} (NaN, infinite or beyond ±1e30): export it again from its source, "
                "or remove it from the inputs."
            )

    def _is_truncated(self) -> bool:
        missing = self.frames - self._decoded
        return missing > 0 and (missing > MPEG_SLACK_FRAMES or self._file.format != "MP3")

    def _damage_note(self) -> str | None:
        frames = self._start, self._stop
        return integrity.damage_note(self._source, self._file.format, self._file.subtype, frames, self.rate_hz)


@contextmanager
def blocks(
    source: FileSource,
    *,
    start_s: float = 0.0,
    stop_s: float | None = None,
    pool: Executor | None = None,
    name: str | None = None,
) -> Iterator[Blocks]:
    """Open a path, bytes or a binary file; give its blocks between ``start_s`` and ``stop_s`` (None: the end).

    With a ``pool`` of threads, a long file in a format with exact seeking is decoded in parallel. The samples are the
    same. ``name`` is the name of the source in messages (default: its path).

    Raises:
        AudioError: the sound cannot be opened, or the slice is outside of it.

    >>> import soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.full((300_000, 2), [0.5, 0.25]), 8000, format="WAV")
    >>> with blocks(file.getvalue()) as sound:
    ...     sound.rate_hz, sound.frames, [len(block) for block in sound], sound.note
    (8000, 300000, [262144, 37856], None)
    """
    name = name or name_of(source)
    with processing(name), reopenable(source) as again, opened(again, name) as file:
        held = held_frames(again, file)
        start, stop = _slice_frames(file, held, name, start_s, stop_s)
        limits.check_file(name, stop - start, file.samplerate, file.channels)
        yield Blocks(again, name, file, held, start, stop, pool)


def held_frames(source: FileSource, file: Any) -> int:
    """Return the number of frames of an open ``file``: as its header declares, but no more than ``source`` can hold.

    libsndfile believes the header of a W64 file in GSM 6.10, and decodes hours of noise beyond the end of a few bytes.

    >>> import soundfile
    >>> encoded = io.BytesIO()
    >>> soundfile.write(encoded, np.zeros(8000), 8000, format="WAV")
    >>> with opened(encoded.getvalue(), UNNAMED) as file:
    ...     held_frames(encoded.getvalue(), file)
    8000
    """
    declared = int(file.frames)
    subtype = file.subtype  # of FLAC, that of the decoded samples
    held = None if file.format == "FLAC" else limits.held_frames(_n_bytes(source), subtype, file.channels)
    complete = _complete_frames(source, file) if subtype in last_block.SUBTYPES else None
    return min(n for n in (declared, held, complete) if n is not None)


def overstated_note(held: int, file: Any) -> str | None:
    """Return a note if the header of ``file`` declares more frames than ``source`` can hold.

    >>> import soundfile
    >>> encoded = io.BytesIO()
    >>> soundfile.write(encoded, np.zeros(8000), 8000, format="WAV")
    >>> with opened(encoded.getvalue(), UNNAMED) as file:
    ...     overstated_note(held_frames(encoded.getvalue(), file), file)
    """
    if held == file.frames:
        return None
    block = last_block.block_of(file.format, file.subtype, file.extra_info)
    if file.frames - held <= (block[1] if block else 0):  # the last block may be shorter, or only a byte that pads
        return None
    return (
        f"is damaged: its header declares {file.frames / file.samplerate:.3f} s, and a file of this size holds at most "
        f"{held / file.samplerate:.3f} s"
    )


def _complete_frames(source: FileSource, file: Any) -> int | None:
    """Return the frames that the blocks of ``file`` hold; None if its encoding has no blocks that can be cut off."""
    about = file.format, file.subtype, file.channels, file.extra_info
    if last_block.block_of(file.format, file.subtype, file.extra_info) is None:
        return None
    if isinstance(source, bytes):
        return last_block.complete_frames(io.BytesIO(source), *about)
    if isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as raw:
            return last_block.complete_frames(raw, *about)
    position = source.tell()
    try:
        return last_block.complete_frames(source, *about)
    finally:
        source.seek(position)


def _n_bytes(source: FileSource) -> int:
    if isinstance(source, bytes):
        return len(source)
    if isinstance(source, str | os.PathLike):
        return Path(source).stat().st_size
    position = source.tell()
    size = source.seek(0, os.SEEK_END)
    source.seek(position)
    return size


def _read(file: Any, frames: int) -> tuple[npt.NDArray[Any], float]:
    """Read the next ``frames`` of an open file, [n, channels]; return them and the factor that scales them to −1…1."""
    subtype = file.subtype  # looked up by libsndfile at each access
    kind = INTEGER_TYPES.get(subtype, "float32")
    scale = {"int16": 2.0**-15, "int32": 2.0**-31, "float32": 1.0}[kind]
    if subtype.startswith("MPEG") and file.tell() > file.frames:  # libsndfile seeks beyond the end of a damaged one
        return np.empty((0, file.channels), kind), scale
    return file.read(frames, dtype=kind, always_2d=True), scale


def _n_not_finite(file: Any, block: npt.NDArray[Any]) -> int:
    """Count the values of a block that are NaN or infinite, or as large as if they were."""
    if block.dtype.kind == "i" or file.subtype in NEVER_NAN:
        return 0
    n_valid = np.count_nonzero((block >= -LARGEST_FINITE) & (block <= LARGEST_FINITE))
    return block.size - int(n_valid)


def _seek(file: Any, start: int) -> None:
    """Seek to the frame ``start``.

    libsndfile 1.2.2 seeks to a wrong frame in the last page of an Ogg Vorbis file, without an error. There, seek to a
    frame before that page and decode up to ``start``. It opens an AU file with a damaged header at another frame than
    the one to which it seeks as the first.
    """
    safe = max(0, file.frames - VORBIS_PAGE_FRAMES)
    if start > safe and file.subtype == "VORBIS":
        file.seek(safe)
        file.read(start - safe, dtype="float32")
    elif start or file.format == "AU":
        file.seek(start)


def mean_of_channels(block: npt.NDArray[Any], scale: float) -> Samples:
    """Average the channels of a block [n, channels] of integers or floats, times ``scale``; return [n].

    The columns are added one by one: ``np.mean`` takes ten times as long on such a short axis.

    >>> mean_of_channels(np.array([[16384, 0]], np.int16), 2.0**-15)
    array([0.25], dtype=float32)
    """
    floats = block.astype(np.float32, copy=False)
    channels = block.shape[1]
    if channels == 1:
        return floats[:, 0] if scale == 1.0 else floats[:, 0] * np.float32(scale)
    mono: Samples = floats[:, 0] + floats[:, 1]
    for channel in range(2, channels):
        mono += floats[:, channel]
    mono /= np.float32(channels / scale)  # the scale is a power of two: the result equals the float mean bit for bit
    return mono


def _slice_frames(file: Any, frames: int, name: str, start_s: float, stop_s: float | None) -> tuple[int, int]:
    """Convert a slice in seconds to frames; raise ``AudioError`` if it is outside of the sound."""
    rate_hz = file.samplerate
    duration = f"{frames / rate_hz:.3f} s"
    if frames == 0:
        why = header_note(file.extra_info) or NO_FRAMES
        raise AudioError(f"{name} has no samples: it {why}. {RECORD_AGAIN}")
    if not (math.isfinite(start_s) and start_s >= 0) or (stop_s is not None and not math.isfinite(stop_s)):
        end = "its end" if stop_s is None else f"{stop_s} s"
        raise AudioError(f"{name} lasts {duration}; the slice from {start_s} s to {end} is invalid.")
    # Limited before they are rounded: the product of a time near the largest float and the rate is infinite.
    start = round(min(start_s * rate_hz, 2.0 * frames))
    latest = frames + math.ceil(END_TOLERANCE_S * rate_hz)  # exact for any number of frames that a header declares
    stop = frames if stop_s is None else round(min(stop_s * rate_hz, 2 * latest))
    if start >= frames:
        raise AudioError(f"{name} lasts {duration}; the slice starts at {start_s:g} s, after its end.")
    if stop > latest:
        raise AudioError(f"{name} lasts {duration}; the slice ends at {stop_s:g} s: end it at {duration} or before.")
    if stop <= start:
        raise AudioError(f"the slice of {name} from {start_s:g} s to {stop_s:g} s contains no samples: end it later.")
    return start, min(stop, frames)


class _Bytes(io.BytesIO):
    """Bytes in which a damaged header can seek before the start: libsndfile's callbacks must not raise exceptions."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()  # unmoved: libsndfile compares it with the position that it wanted


@contextmanager
def opened(source: FileSource, name: str) -> Iterator[Any]:
    """Open a source as a ``soundfile.SoundFile``. ``name`` is the name of the source in messages.

    Raises:
        AudioError: the source cannot be opened.

    >>> with opened(b"RIFF", "the upload"):
    ...     pass
    Traceback (most recent call last):
    soundmark.errors.AudioError: the upload cannot be decoded: it begins with the text 'RIFF'. Supported formats: ...
    """
    import soundfile

    stream: Any = _Bytes(source) if isinstance(source, bytes) else source
    if hasattr(stream, "seek"):
        stream.seek(0)
    try:
        file = soundfile.SoundFile(stream if hasattr(stream, "read") else native_path(stream))
    except (soundfile.LibsndfileError, OSError, TypeError, ValueError) as error:
        raise AudioError(why_unreadable(source, name, error)) from error
    with file:
        if file.format == "RAW":  # assumed from a suffix such as .au: without header, any bytes are decoded to noise
            raise AudioError(why_unreadable(source, name, ValueError("Format not recognised")))
        if not LOWEST_RATE_HZ <= file.samplerate <= LARGEST_RATE_HZ:
            raise AudioError(
                f"{name} has a damaged header: its sample rate is {file.samplerate} Hz; supported: {LOWEST_RATE_HZ} Hz "
                f"to {LARGEST_RATE_HZ // 1_000_000} MHz. Correct the header, or remove the file from the inputs."
            )
        yield file


def native_path(path: str | os.PathLike[str]) -> str | bytes:
    """Return a path in the form that libsndfile accepts: bytes on POSIX systems, where a name need not be UTF-8.

    >>> native_path(Path("street.wav")) in (b"street.wav", "street.wav")
    True
    """
    return os.fspath(path) if os.name == "nt" else os.fsencode(path)


@contextmanager
def reopenable(source: FileSource) -> Iterator[FileSource]:
    """Give a source that can be read several times from the start: for a pipe, a copy that is deleted afterwards.

    Raises:
        AudioError: the source is not an audio source, or a pipe cannot be copied.

    >>> with reopenable(b"RIFF") as source:
    ...     source
    b'RIFF'
    """
    if isinstance(source, bytes):
        yield source
    elif isinstance(source, str | os.PathLike):
        if _is_pipe(Path(source)):
            with Path(source).open("rb") as pipe, _copied(pipe, name_of(source)) as copy:
                yield copy
        else:
            yield source
    elif not hasattr(source, "read"):
        raise AudioError(f"{source!r} is not an audio source: give a path, bytes or a file opened in binary mode.")
    elif source.seekable():
        yield source
    else:
        with _copied(source, name_of(source)) as copy:
            yield copy


@contextmanager
def _copied(pipe: BinaryIO, name: str) -> Iterator[FileSource]:
    try:
        copy = spooled(pipe, name)
    except OSError as error:
        raise AudioError(f"{name} cannot be read from its pipe: {error.strerror or error}.") from error
    if isinstance(copy, bytes):
        yield copy
    else:
        with copy:
            yield copy


def _is_pipe(path: Path) -> bool:
    try:
        return path.is_fifo()
    except (OSError, ValueError):  # opening the path raises a clear error
        return False


def name_of(source: FileSource) -> str:
    """Return the name of a source for messages.

    >>> name_of(Path("street.wav")), name_of(b"RIFF")
    ('"street.wav"', 'the audio data')
    """
    if isinstance(source, bytes):
        return UNNAMED
    name = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    if not isinstance(name, str | os.PathLike) or name == STANDARD_INPUT:
        return UNNAMED
    return f'"{os.fspath(name)}"'
