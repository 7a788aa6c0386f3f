"""A file, bytes or an open file to mono ``float32`` samples at a rate, and nothing else.

Decoding is libsndfile's: WAV of every sort, FLAC, Ogg Vorbis and Opus, MP3, AIFF and more. Mono is the mean of the
channels, resampling is soxr's HQ; both give librosa 0.11's numbers (``librosa.load``).

Whatever is wrong with a sound is an ``AudioError`` of one sentence that names it. A file that was cut off is read
as far as it goes, and says so in its ``note``.
"""

from __future__ import annotations

import codecs
import io
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from soundmark import atomic
from soundmark.errors import AudioError

Samples = npt.NDArray[np.float32]
Source = str | os.PathLike[str] | bytes | BinaryIO

BLOCK_FRAMES = 1 << 18  # decoded at once: a clip in one go, an hour without ever holding all its channels
SALVAGE_FRAMES = 1 << 10  # decoded at once where a decoder gives up on the way
MPEG_SLACK_FRAMES = 2 * 1152  # an MP3's header only estimates: two MPEG frames short is no damage
VORBIS_PAGE_FRAMES = 255 * 1024  # the most that a page holds: 255 packets of half a long block each
LOWEST_RATE_HZ = 40  # hearing begins at 20 Hz; a header that says less, or more than the most, is damaged, and would
LARGEST_RATE_HZ = 1_000_000  # stretch a second to hours when it is resampled
LARGEST_SAMPLE = 1e12  # beyond it float32 may not hold the square of a spectrum
END_TOLERANCE_S = 0.01  # a table that rounds its times may point this far beyond the end
SUGGESTED = "WAV, FLAC, Ogg Vorbis, Ogg Opus, MP3 and AIFF can be read"

# These hold at most 16 (32) bits, so that integers lose nothing, and libsndfile hands integers out several times
# faster than floats. The mean of the integers is then the mean of the floats, bit for bit.
INTEGER_TYPES = {"PCM_S8": "int16", "PCM_U8": "int16", "PCM_16": "int16", "PCM_32": "int32"}
NEVER_NAN = {*INTEGER_TYPES, "PCM_24", "MS_ADPCM", "IMA_ADPCM", "ULAW", "ALAW"}


@dataclass(frozen=True, eq=False)
class Sound:
    """Mono samples [n], float32, usually within −1…1, at ``rate_hz``; ``note`` says what was missing, if anything."""

    samples: Samples
    rate_hz: int
    note: str | None = None

    @property
    def duration_s(self) -> float:
        """The length in seconds.

        >>> Sound(np.zeros(11025, np.float32), rate_hz=22050).duration_s
        0.5
        """
        return len(self.samples) / self.rate_hz


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says; ``note`` is None, or what is wrong with the file as far as its header shows."""

    rate_hz: int
    frames: int
    channels: int
    container: str  # "WAV", "WAVEX", "FLAC", "OGG", "MP3", "AIFF", …
    subtype: str  # "PCM_16", "FLOAT", "MS_ADPCM", "VORBIS", …
    note: str | None = None

    @property
    def duration_s(self) -> float:
        """The length in seconds, as the header has it.

        >>> AudioInfo(rate_hz=8000, frames=2000, channels=1, container="WAV", subtype="PCM_16").duration_s
        0.25
        """
        return self.frames / self.rate_hz


def info(source: Source) -> AudioInfo:
    """What a sound is, from its header: nothing is decoded.

    A header for 0 frames is no error here but a ``note``. Raises ``AudioError`` for what cannot be opened.

    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.zeros((2400, 2)), 24000, format="WAV", subtype="PCM_24")
    >>> info(file.getvalue())
    AudioInfo(rate_hz=24000, frames=2400, channels=2, container='WAV', subtype='PCM_24', note=None)
    """
    with _opened(_reopenable(source), _name(source)) as file:
        note = _header_note(file.extra_info)
        if file.frames == 0:
            note = f"has no samples: it {note or 'holds a header for 0 frames'}"
        return AudioInfo(file.samplerate, file.frames, file.channels, file.format, file.subtype, note)


def read(source: Source, *, rate_hz: int | None = None, start_s: float = 0.0, stop_s: float | None = None) -> Sound:
    """The sound of a path, of bytes or of an open binary file: mono, and at ``rate_hz`` if one is given.

    Only the frames between ``start_s`` and ``stop_s`` (None: the end) are decoded; both are rounded to whole frames.
    With ``rate_hz`` the samples are those of ``librosa.load(path, sr=rate_hz)``, librosa 0.11. Raises ``AudioError``
    for a sound that cannot be read, holds no samples or samples that are no numbers, and for a slice outside of it.

    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.full((8000, 2), [0.5, 0.25]), 8000, format="WAV")
    >>> sound = read(file.getvalue(), start_s=0.5)
    >>> sound.samples[:2], sound.rate_hz, sound.duration_s
    (array([0.375, 0.375], dtype=float32), 8000, 0.5)
    """
    if rate_hz is not None:
        _check_rate(rate_hz, "the rate to read at")
    name = _name(source)
    source = _reopenable(source)
    with _opened(source, name) as file:
        start, stop = _slice_frames(file, name, start_s, stop_s)
        decoded = _decode(file, start, stop)
        from_hz, header_note = file.samplerate, _header_note(file.extra_info)
        slack = MPEG_SLACK_FRAMES if file.format == "MP3" else 0
    if decoded.gave_up:  # up to a block's worth of sound may stand before the place: again, in small steps
        with _opened(source, name) as file:
            decoded = _decode(file, start, stop, SALVAGE_FRAMES)
    samples = decoded.samples
    end = f"ends after {(start + len(samples)) / from_hz:.3f} s of the {stop / from_hz:.3f} s that should be there"
    note = decoded.gave_up or header_note or (end if len(samples) + slack < stop - start else None)
    if not len(samples):
        raise AudioError(f"{name} has no samples: it {note or end}. Record it again, or leave it out.")
    if decoded.not_numbers:
        n = decoded.not_numbers
        these = "1 sample that is no number" if n == 1 else f"{n} samples that are no numbers"
        raise AudioError(f"{name} holds {these} (NaN or infinite): write it again from its origin, or leave it out.")
    return Sound(samples if rate_hz is None else resample(samples, from_hz, rate_hz), rate_hz or from_hz, note)


def shortened(name: str, note: str) -> str:
    """What to say of a sound that was read with a ``note``.

    >>> shortened("street.wav", "is cut off: its last Ogg page is missing")
    '"street.wav" is cut off: its last Ogg page is missing. What is there was heard.'
    """
    return f'"{name}" {note}. What is there was heard.'


def to_mono(samples: npt.NDArray[Any]) -> Samples:
    """The mean of the channels: [n, channels] to [n], float32; [n] is handed through.

    As ``librosa.to_mono``, up to the order of summation beyond two channels.

    >>> to_mono(np.array([[1.0, 0.5], [-1.0, 1.0]], np.float32))
    array([0.75, 0.  ], dtype=float32)
    """
    samples = np.asarray(samples, np.float32)
    if samples.ndim == 1:
        return samples
    if samples.ndim != 2 or samples.shape[1] == 0:
        raise AudioError(f"samples must have the shape [n] or [n, channels], and these have {list(samples.shape)}.")
    return _mean_of_channels(samples, 1.0)


def check_samples(samples: Samples, name: str = "") -> None:
    """Refuse samples that are no numbers, or beyond ``LARGEST_SAMPLE``, with an ``AudioError`` that begins with a name.

    >>> check_samples(np.array([0, 1e13], np.float32), '"hum.wav"')
    Traceback (most recent call last):
    soundmark.errors.AudioError: "hum.wav": a sample is ±1e+13: samples should lie within −1…1. Scale them, or...
    """
    peak = max(float(samples.max(initial=0)), -float(samples.min(initial=0)))  # NaN if any sample is
    if peak <= LARGEST_SAMPLE:
        return
    bad = len(samples) - int(np.count_nonzero(np.isfinite(samples)))
    wrong = f"{bad} of {len(samples)} samples are no numbers (NaN or infinite)" if bad else f"a sample is ±{peak:g}"
    whose = f"{name}: " if name else ""
    raise AudioError(f"{whose}{wrong}: samples should lie within −1…1. Scale them, or leave this sound out.")


def resample(samples: npt.ArrayLike, from_hz: int, to_hz: int) -> Samples:
    """[n] samples at ``from_hz`` to [ceil(n · to_hz / from_hz)] at ``to_hz``, float32: soxr's HQ.

    soxr alone is sometimes a sample short; librosa pads with a zero, and so does this.

    >>> resample(np.zeros(11024, np.float32), 11024, 22050).shape
    (22050,)
    """
    import soxr

    _check_rate(from_hz, "the rate of the samples")
    _check_rate(to_hz, "the rate to resample to")
    wanted = np.ascontiguousarray(samples, np.float32)
    if wanted.ndim != 1:
        raise AudioError(f"samples must have the shape [n], and these have {list(wanted.shape)}: use to_mono first.")
    if from_hz == to_hz or not len(wanted):
        return wanted
    resampled: Samples = soxr.resample(wanted, from_hz, to_hz, quality="HQ")
    length = -(-len(wanted) * to_hz // from_hz)
    if len(resampled) < length:
        return np.pad(resampled, (0, length - len(resampled)))
    return resampled[:length]


def write(path: str | os.PathLike[str], samples: npt.ArrayLike, rate_hz: int) -> None:
    """A 16-bit WAV of samples [n] or [n, channels]; what lies outside −1…1 is clipped. It appears whole or not at all.

    Raises ``AudioError`` for samples that are no sound, ``OutputError`` where the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(folder + "/tone.wav", 0.5 * np.sin(np.arange(8000)), 8000)
    ...     info(folder + "/tone.wav").duration_s
    1.0
    """
    import soundfile

    _check_rate(rate_hz, "the rate to write at")
    array = np.asarray(samples, np.float32)
    if array.ndim not in (1, 2) or not array.size or not np.isfinite(array).all():
        raise AudioError(f"what should be written to {_name(path)} is no sound: it needs finite samples [n].")
    encoded = io.BytesIO()  # libsndfile does not say that a disk is full
    soundfile.write(encoded, array, rate_hz, format="WAV", subtype="PCM_16")
    atomic.write_bytes(path, encoded.getvalue())


# ── decoding ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class _Decoded:
    samples: Samples  # mono
    not_numbers: int  # values, over all channels, that are NaN or infinite
    gave_up: str | None  # where and why the decoder did, if it did


def _decode(file: Any, start: int, stop: int, block_frames: int = BLOCK_FRAMES) -> _Decoded:
    """The frames from start to stop, a block at a time, as far as the decoder goes."""
    import soundfile

    kind = INTEGER_TYPES.get(file.subtype, "float32")
    scale = {"int16": 2.0**-15, "int32": 2.0**-31, "float32": 1.0}[kind]
    blocks, frames, not_numbers, gave_up = [], 0, 0, None
    try:
        _seek(file, start)
        while frames < stop - start:
            block = file.read(min(block_frames, stop - start - frames), dtype=kind, always_2d=True)
            if not len(block):
                break
            if file.subtype not in NEVER_NAN:
                not_numbers += block.size - int(np.count_nonzero(np.isfinite(block)))
            blocks.append(_mean_of_channels(block, scale))
            frames += len(block)
    except soundfile.LibsndfileError as error:
        gave_up = f"cannot be decoded beyond {(start + frames) / file.samplerate:.3f} s ({_damage(error)})"
    return _Decoded(_joined(blocks), not_numbers, gave_up)


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


def _joined(blocks: list[Samples]) -> Samples:
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _mean_of_channels(block: npt.NDArray[Any], scale: float) -> Samples:
    """[n, channels] integers or floats, times ``scale``, to [n].

    Column by column: ``np.mean`` takes ten times as long on so short an axis.
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
        why = _header_note(file.extra_info) or "holds a header for 0 frames"
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


def _check_rate(rate_hz: int, what: str) -> None:
    if isinstance(rate_hz, bool) or not isinstance(rate_hz, int | np.integer) or rate_hz <= 0:
        raise AudioError(f"{what} is {rate_hz!r} Hz; it must be a whole number above 0, such as 22050.")


# ── opening, and saying why not ────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _opened(source: Source, name: str) -> Iterator[Any]:
    """The ``soundfile.SoundFile`` of a source."""
    import soundfile

    stream: Any = io.BytesIO(source) if isinstance(source, bytes) else source
    if hasattr(stream, "seek"):
        stream.seek(0)
    try:
        file = soundfile.SoundFile(stream if hasattr(stream, "read") else native_path(stream))
    except (soundfile.LibsndfileError, OSError, TypeError, ValueError) as error:
        raise AudioError(_why_not(source, name, error)) from error
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


def _reopenable(source: Source) -> Source:
    """A source that can be read from its beginning as often as need be: a pipe's bytes in place of a pipe."""
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


def _name(source: Source) -> str:
    """How a message names a source."""
    if isinstance(source, bytes):
        return "the bytes"
    name = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    return f'"{os.fspath(name)}"' if isinstance(name, str | os.PathLike) else "the bytes"


def _why_not(source: Source, name: str, error: Exception) -> str:
    """One sentence for a source that libsndfile refused."""
    try:
        head = _head(source)
    except FileNotFoundError:
        return f"{name} {_missing(Path(source))}"  # type: ignore[arg-type]  # only a path is not found
    except IsADirectoryError:
        return f"{name} is a folder, not a sound file: name a file in it."
    except PermissionError:
        return f"{name} may not be read by this user: change its permissions, or leave it out."
    except (OSError, ValueError) as refused:
        return f"{name} cannot be opened: {_reason(refused)}."
    return f"{name} cannot be read as sound: {_content(head) or _damage(error)}. {SUGGESTED}."


def _head(source: Source) -> bytes:
    """The first bytes of what is there."""
    if isinstance(source, bytes):
        return source[:64]
    if isinstance(source, str | os.PathLike):
        if Path(source).is_dir():
            raise IsADirectoryError  # Windows calls it a lack of permission
        with Path(source).open("rb") as file:
            return file.read(64)
    source.seek(0)
    return source.read(64)


# How files begin that are often taken for sounds, or renamed to be one: at which byte, with what, and what it is then.
_KINDS = (
    (4, b"ftyp", "it is MPEG-4 (M4A, AAC): convert it first"),
    (0, b"\x1aE\xdf\xa3", "it is WebM or Matroska: convert it first"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "it is Windows Media (WMA): convert it first"),
    (0, b"#!AMR", "it is AMR: convert it first"),
    (0, b"PK\x03\x04", "it is a ZIP archive: unpack it first"),
    (0, b"\x1f\x8b", "it is gzip: unpack it first"),
    (0, b"\x89PNG", "it is a PNG picture"),
    (0, b"\xff\xd8\xff", "it is a JPEG picture"),
    (0, b"%PDF", "it is a PDF"),
)


def _content(head: bytes) -> str | None:
    """What a file that is no sound is instead, from its first bytes, where that can be told."""
    if not head:
        return "it is empty"
    if not any(head):
        return "it begins with nothing but zeros"
    for start, mark, kind in _KINDS:
        if head.startswith(mark, start):
            return kind
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)  # the last character may be cut in two
    except UnicodeDecodeError:
        return None
    if all(character.isprintable() or character.isspace() for character in text):
        return f"it begins with the text {text.split(chr(10))[0].strip()[:24]!r}"
    return None


def _damage(error: Exception) -> str:
    """Why libsndfile refused, in words for people where its own are for programmers."""
    reason = _reason(error)
    for theirs, ours in (
        ("Format not recognised", "its format is not known"),
        ("not a regular file", "it is damaged, or cut off at its beginning"),
        ("file is malformed", "it is damaged, or cut off at its beginning"),
        ("No 'data' chunk marker", "it is cut off before its first sample"),
        ("SF_INFO struct incomplete", "its header is damaged"),
        ("psf_fseek() failed", "it ends there"),
    ):
        if theirs in reason:
            return ours
    return reason


def _missing(path: Path) -> str:
    """Why a path leads nowhere: a broken link, or where the way ends and what is there that has almost its name."""
    if path.is_symlink():
        return f'is a link to "{path.readlink()}", which does not exist.'
    for parent in path.parents:
        if parent.is_dir():
            missing = path.relative_to(parent).parts[0]
            close = get_close_matches(missing, _names_in(parent), n=1)
            where = "" if path == Path(missing) else f': "{parent}" holds no "{missing}"'
            return f"does not exist{where}" + (f'; did you mean "{close[0]}"?' if close else ".")
        if parent.exists():
            return f'does not exist: "{parent}" is a file, not a folder.'
    return "does not exist: no part of its path does."


def _names_in(folder: Path) -> list[str]:
    """The names in a folder; none where this user may not list it."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names are all it needs
    except OSError:
        return []


def _reason(error: BaseException) -> str:
    """An error's own words, without the name of the file, which the message has."""
    text = str(getattr(error, "error_string", None) or getattr(error, "strerror", None) or error)
    return text.removeprefix("Error : ").rstrip(". ")


# libsndfile's log of a header has lines such as "data : 176400 (should be 88178)", where 88178 bytes are there.
_SHORT = re.compile(r"^\s*(?:data|SSND|riff|Data Size)\s*:\s*(\d+)\s*\(should be (\d+)\)", re.MULTILINE)
_UNFINISHED_BYTES = 0xFFFF_0000  # a recorder that was streaming leaves such a size in place of the one it did not know


def _header_note(log: str) -> str | None:
    """What libsndfile's log of a header says of a file that was cut off."""
    for declared, there in _SHORT.findall(log):
        if int(there) < int(declared) < _UNFINISHED_BYTES:
            return f"is cut off: {there} of the {declared} bytes that its header declares are there"
    return "is cut off: its last Ogg page is missing" if "lacks an end-of-stream bit" in log else None
