"""A file, bytes or an open file to blocks of mono ``float32`` samples, or one sentence that says why not.

Decoding is libsndfile's: WAV of every sort, FLAC, Ogg Vorbis and Opus, MP3, AIFF and more. A sound is never held whole
here: an hour, or a day, goes through block by block.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from soundmark.audio.diagnosis import FileSource, damage, header_note, why_unreadable
from soundmark.errors import AudioError
from soundmark.runtime import parallel

Samples = npt.NDArray[np.float32]


BLOCK_FRAMES = 1 << 18  # decoded at once: a clip in one go, an hour without ever holding all its channels


PART_FRAMES = 1 << 19  # decoded by one thread, where several share a long file; a multiple of the above


PARTS_AHEAD = 3  # parts that are decoded, and not asked for yet


SEEKS_EXACTLY = ("WAV", "WAVEX", "W64", "RF64", "FLAC", "AIFF", "AU", "CAF")  # not MP3, nor Ogg


SALVAGE_FRAMES = 1 << 10  # decoded at once where a decoder gives up on the way; a whole share of the above


MPEG_SLACK_FRAMES = 2 * 1152  # an MP3's header only estimates: two MPEG frames short is no damage


VORBIS_PAGE_FRAMES = 255 * 1024  # the most that a page holds: 255 packets of half a long block each


LOWEST_RATE_HZ = 40  # hearing begins at 20 Hz; a header that says less, or more than the most, is damaged, and would


LARGEST_RATE_HZ = 1_000_000  # stretch a second to hours when it is resampled


END_TOLERANCE_S = 0.01  # a table that rounds its times may point this far beyond the end


# These hold at most 16 (32) bits, so that integers lose nothing, and libsndfile hands integers out several times
# faster than floats. The mean of the integers is then the mean of the floats, bit for bit.
INTEGER_TYPES = {"PCM_S8": "int16", "PCM_U8": "int16", "PCM_16": "int16", "PCM_32": "int32"}


NEVER_NAN = {*INTEGER_TYPES, "PCM_24", "MS_ADPCM", "IMA_ADPCM", "ULAW", "ALAW"}


class Blocks:
    """The mono blocks of a sound, in order, as far as it can be decoded; they can be gone through once.

    ``rate_hz`` and ``frames``, how many there should be, are known before; ``note``, what was missing, after. Where it
    holds no samples, or some that are no numbers, going through it ends in an ``AudioError``.
    """

    def __init__(
        self, source: FileSource, name: str, file: Any, start: int, stop: int, pool: Executor | None = None
    ) -> None:
        self.name, self.rate_hz, self.frames = name, int(file.samplerate), stop - start
        self.note: str | None = None
        self._source, self._file, self._start, self._stop, self._pool = source, file, start, stop, pool
        self._decoded = self._not_numbers = 0

    def __iter__(self) -> Iterator[Samples]:
        import soundfile

        gave_up = None
        try:
            if self._pool and self._can_be_divided():
                yield from self._divided(self._pool)
            if self._decoded < self.frames:
                yield from self._decode(self._file, BLOCK_FRAMES)
        except soundfile.LibsndfileError:  # up to a block's worth of sound may stand before the place
            with opened(self._source, self.name) as again:
                try:
                    yield from self._decode(again, SALVAGE_FRAMES)
                except soundfile.LibsndfileError as error:
                    where_s = (self._start + self._decoded) / self.rate_hz
                    gave_up = f"cannot be decoded beyond {where_s:.3f} s ({damage(error)})"
        self._conclude(gave_up)

    def _can_be_divided(self) -> bool:
        """Whether a place in the middle can be gone to exactly, in a file that others can open, and it is long."""
        on_disk = isinstance(self._source, str | os.PathLike)
        return on_disk and self.frames > 2 * PART_FRAMES and self._file.format in SEEKS_EXACTLY

    def _divided(self, pool: Executor) -> Iterator[Samples]:
        """The blocks, decoded in parts by several threads, up to the first part that is damaged or too short."""
        parts = range(self._start, self._stop, PART_FRAMES)
        for part in parallel.map_ordered(self._part, parts, pool, most=PARTS_AHEAD):
            if part is None:
                return
            self._not_numbers += part[1]
            self._decoded += len(part[0])
            if not self._not_numbers:
                yield part[0]

    def _part(self, start: int) -> tuple[Samples, int] | None:
        """The part that begins at frame ``start``, and its values that are no numbers; None: it is damaged."""
        import soundfile

        frames = min(PART_FRAMES, self._stop - start)
        try:
            with opened(self._source, self.name) as file:
                file.seek(start)
                block, scale = _read(file, frames)
        except (AudioError, soundfile.LibsndfileError):
            return None
        return (mean_of_channels(block, scale), _not_numbers(file, block)) if len(block) == frames else None

    def _decode(self, file: Any, frames: int) -> Iterator[Samples]:
        """The blocks from start to stop but for those that were decoded before, ``frames`` at a time."""
        known, done = self._decoded, 0
        _seek(file, self._start)
        while done < self.frames:
            block, scale = _read(file, min(frames, self.frames - done))
            if not len(block):
                return
            done += len(block)
            if done <= known:
                continue
            self._decoded = done
            self._not_numbers += _not_numbers(file, block)
            if not self._not_numbers:
                yield mean_of_channels(block, scale)

    def _conclude(self, gave_up: str | None) -> None:
        stop, there = self._stop / self.rate_hz, (self._start + self._decoded) / self.rate_hz
        slack = MPEG_SLACK_FRAMES if self._file.format == "MP3" else 0
        end = f"ends after {there:.3f} s of the {stop:.3f} s that should be there"
        ended = end if self._decoded + slack < self.frames else None
        self.note = gave_up or header_note(self._file.extra_info) or ended
        if not self._decoded:
            raise AudioError(f"{self.name} has no samples: it {self.note or end}. Record it again, or leave it out.")
        if self._not_numbers:
            n = self._not_numbers
            these = "1 sample that is no number" if n == 1 else f"{n} samples that are no numbers"
            raise AudioError(
                f"{self.name} holds {these} (NaN or infinite): write it again from its origin, or leave it out."
            )


@contextmanager
def blocks(
    source: FileSource, *, start_s: float = 0.0, stop_s: float | None = None, pool: Executor | None = None
) -> Iterator[Blocks]:
    """The blocks of a path, of bytes or of an open binary file, between ``start_s`` and ``stop_s`` (None: the end).

    A long file that can be entered in the middle is decoded by the ``pool`` of threads, a part by each: the samples are
    the same.

    Raises ``AudioError`` for a sound that cannot be opened, and for a slice outside of it.

    >>> import soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.full((300_000, 2), [0.5, 0.25]), 8000, format="WAV")
    >>> with blocks(file.getvalue()) as sound:
    ...     sound.rate_hz, sound.frames, [len(block) for block in sound], sound.note
    (8000, 300000, [262144, 37856], None)
    """
    name, source = name_of(source), reopenable(source)
    with opened(source, name) as file:
        yield Blocks(source, name, file, *_slice_frames(file, name, start_s, stop_s), pool)


def _read(file: Any, frames: int) -> tuple[npt.NDArray[Any], float]:
    """The next ``frames`` of an open file, [n, channels], and what they are multiplied by to lie within −1…1."""
    kind = INTEGER_TYPES.get(file.subtype, "float32")
    scale = {"int16": 2.0**-15, "int32": 2.0**-31, "float32": 1.0}[kind]
    return file.read(frames, dtype=kind, always_2d=True), scale


def _not_numbers(file: Any, block: npt.NDArray[Any]) -> int:
    """How many values of a block are NaN or infinite."""
    return 0 if file.subtype in NEVER_NAN else block.size - int(np.count_nonzero(np.isfinite(block)))


def _seek(file: Any, start: int) -> None:
    """Make ``start`` the next frame that is read.

    In the last page of an Ogg Vorbis file libsndfile (1.2.2) lands beside the mark and does not say so: there it is led
    to the page from before it.
    """
    safe = max(0, file.frames - VORBIS_PAGE_FRAMES)
    if file.subtype == "VORBIS" and start > safe:
        file.seek(safe)
        file.read(start - safe, dtype="float32")
    elif start:
        file.seek(start)


def mean_of_channels(block: npt.NDArray[Any], scale: float) -> Samples:
    """[n, channels] integers or floats, times ``scale``, to [n].

    Column by column: ``np.mean`` takes ten times as long on so short an axis.

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
    mono /= np.float32(channels / scale)  # the scale is a power of two: this is the float mean, bit for bit
    return mono


def _slice_frames(file: Any, name: str, start_s: float, stop_s: float | None) -> tuple[int, int]:
    """The frames that a slice in seconds stands for; raises where they are not all there."""
    rate_hz, frames = file.samplerate, file.frames
    duration = f"{frames / rate_hz:.3f} s"
    if frames == 0:
        why = header_note(file.extra_info) or "holds a header for 0 frames"
        raise AudioError(f"{name} has no samples: it {why}. Record it again, or leave it out.")
    if not (math.isfinite(start_s) and start_s >= 0) or (stop_s is not None and not math.isfinite(stop_s)):
        raise AudioError(f"a slice from {start_s} s to {stop_s} s cannot be cut from {name}: use 0 to {duration}.")
    start = round(start_s * rate_hz)
    stop = frames if stop_s is None else round(stop_s * rate_hz)
    if start >= frames:
        raise AudioError(f"{name} lasts {duration}, and the slice starts at {start_s:g} s, where nothing is left.")
    if stop > frames + END_TOLERANCE_S * rate_hz:
        raise AudioError(f"{name} lasts {duration}, and the slice ends at {stop_s:g} s: end it by then.")
    if stop <= start:
        raise AudioError(f"a slice of {name} from {start_s:g} s to {stop_s:g} s holds no sample: end it later.")
    return start, min(stop, frames)


@contextmanager
def opened(source: FileSource, name: str) -> Iterator[Any]:
    """The ``soundfile.SoundFile`` of a source, which messages call ``name``; ``AudioError`` where it cannot be opened.

    >>> with opened(b"RIFF", "the upload"):
    ...     pass
    Traceback (most recent call last):
    soundmark.errors.AudioError: the upload cannot be read as sound: it begins with the text 'RIFF'. WAV, FLAC, ...
    """
    import soundfile

    stream: Any = io.BytesIO(source) if isinstance(source, bytes) else source
    if hasattr(stream, "seek"):
        stream.seek(0)
    try:
        file = soundfile.SoundFile(stream if hasattr(stream, "read") else native_path(stream))
    except (soundfile.LibsndfileError, OSError, TypeError, ValueError) as error:
        raise AudioError(why_unreadable(source, name, error)) from error
    with file:
        if not LOWEST_RATE_HZ <= file.samplerate <= LARGEST_RATE_HZ:
            raise AudioError(
                f"{name} says that its rate is {file.samplerate} Hz, and {LOWEST_RATE_HZ} to {LARGEST_RATE_HZ} Hz can "
                "be meant: its header is damaged. Correct it, or leave it out."
            )
        yield file


def native_path(path: str | os.PathLike[str]) -> str | bytes:
    """A path as libsndfile takes it: on POSIX systems a name is bytes, which need not be UTF-8.

    >>> native_path(Path("street.wav")) in (b"street.wav", "street.wav")
    True
    """
    return os.fspath(path) if os.name == "nt" else os.fsencode(path)


def reopenable(source: FileSource) -> FileSource:
    """A source that can be read from its beginning as often as need be: a pipe's bytes in place of a pipe.

    >>> reopenable(b"RIFF")
    b'RIFF'
    """
    if isinstance(source, bytes):
        return source
    if isinstance(source, str | os.PathLike):
        return _piped(Path(source)) or source
    if not hasattr(source, "read"):
        raise AudioError(f"{source!r} is no sound: give a path, bytes or a file opened in binary mode.")
    return source if source.seekable() else source.read()


def _piped(path: Path) -> bytes | None:
    """What comes out of a named pipe; None for any other path. libsndfile cannot go back in a pipe."""
    try:
        return path.read_bytes() if path.is_fifo() else None
    except (OSError, ValueError):  # whoever opens it will say so
        return None


def name_of(source: FileSource) -> str:
    """How a message names a source.

    >>> name_of(Path("street.wav")), name_of(b"RIFF")
    ('"street.wav"', 'the bytes')
    """
    if isinstance(source, bytes):
        return "the bytes"
    name = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    return f'"{os.fspath(name)}"' if isinstance(name, str | os.PathLike) else "the bytes"
