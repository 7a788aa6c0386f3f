"""Find the start time of a recording in its metadata or its file name.

The first that is found is used: GUANO metadata, AudioMoth's comment, the broadcast chunk ``bext``, the file name. Times
without an offset are in UTC, unless a timezone is given. At the end of summer time, an ambiguous local time means the
first of the two. At its start, a local time that does not exist is converted with the offset before the change. The
``TimeReference`` of ``bext`` is not used: its timecode need not be the time of day. A damaged file has no metadata.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import BinaryIO
from zoneinfo import ZoneInfo

from soundmark.audio import riff
from soundmark.errors import SettingsError

MOST_CHUNKS = 64  # maximum number of RIFF chunks that are examined


# Only offsets that are in use: the 0001 in "20240612_043000-0001.wav" is a serial number of the recorder.
OFFSET = r"(?P<offset>Z|[+-](?:(?:0[1-9]|1[0-4]):?(?:00|30|45)|00:?00))?"


IN_NAME = re.compile(
    r"(?<!\d)(?P<date>\d{4}-?\d{2}-?\d{2})[_T -]?(?P<time>\d{2}[-:]?\d{2}[-:]?\d{2})"
    rf"(?P<fraction>\.\d{{1,6}})?{OFFSET}(?!\d)"
)


HEXADECIMAL = re.compile(r"[0-9A-F]{8}", re.IGNORECASE)  # names of early AudioMoths: seconds since 1970


YEARS = range(1970, 2200)


AUDIOMOTH_YEARS = range(2016, 2040)  # eight hexadecimal digits outside of these years are a name


AUDIOMOTH = re.compile(
    r"Recorded at (?P<clock>\d{2}:\d{2}:\d{2})(?P<fraction>\.\d+)? (?P<day>\d{2}/\d{2}/\d{4}) "
    r"(?:by|\(UTC(?P<offset>[+-](?:0?\d|1[0-4])(?::[0-5]\d)?)?\))"  # the first firmware omits "(UTC)"
)


GUANO = re.compile(r"^Timestamp: *(\S+)", re.MULTILINE)


def recording_start(path: str | PathLike[str], *, zone: str = "UTC", name: str | None = None) -> datetime | None:
    """Return the time of a recording's first sample, in UTC; None if it is unknown.

    ``zone`` is the timezone of times without an offset, such as "Europe/Berlin". ``name`` is the name of the recording
    if it differs from that of the file at ``path``.

    Raises:
        SettingsError: there is no such timezone.

    >>> recording_start("SMU01_20240612_043000.wav")
    datetime.datetime(2024, 6, 12, 4, 30, tzinfo=datetime.timezone.utc)
    >>> recording_start("20240612_043000.wav", zone="Europe/Berlin").hour, recording_start("street.wav")
    (2, None)
    """
    local = timezone_named(zone)
    path = Path(path)
    found = _in_file(path, local) or _in_name(Path(name or path).stem, local)
    return found.astimezone(UTC) if found else None


def timezone_named(name: str) -> tzinfo:
    """Return the timezone called ``name``.

    Raises:
        SettingsError: there is no such timezone.

    >>> timezone_named("Berlin")
    Traceback (most recent call last):
    soundmark.errors.SettingsError: unknown timezone "Berlin": give a name such as Europe/Berlin, or UTC.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (TypeError, KeyError, ValueError, OSError) as error:
        raise SettingsError(f'unknown timezone "{name}": give a name such as Europe/Berlin, or UTC.') from error


def _in_name(stem: str, local: tzinfo) -> datetime | None:
    if HEXADECIMAL.fullmatch(stem):
        moment = datetime.fromtimestamp(int(stem, 16), UTC)
        if moment.year in AUDIOMOTH_YEARS:
            return moment
    for match in IN_NAME.finditer(stem):
        digits = re.sub(r"\D", "", match["date"] + match["time"])
        if (local_time := _parsed(digits, "%Y%m%d%H%M%S")) is not None:
            return _add_fraction(local_time, match["fraction"]).replace(tzinfo=_offset(match["offset"]) or local)
    return None


def _in_file(path: Path, local: tzinfo) -> datetime | None:
    """Return the time in the metadata of a WAV file, from the most reliable chunk that has one."""
    try:
        if not path.is_file():  # a pipe can be read only once
            return None
        with path.open("rb") as file:
            chunks = _metadata(file)
    except (OSError, ValueError):  # a damaged size can be larger than any file
        return None
    text = chunks.get(b"guan", b"").decode("utf-8", "replace")
    return _guano(text, local) or _audiomoth(chunks.get(b"LIST", b"")) or _bext(chunks.get(b"bext", b""), local)


def _metadata(file: BinaryIO) -> dict[bytes, bytes]:
    """Return the content of the WAV chunks that can contain a time, by chunk name."""
    if not riff.is_wave(file.read(riff.HEADER_BYTES)):
        return {}
    chunks = islice(riff.read_chunks(file, {b"guan", b"LIST", b"bext"}), MOST_CHUNKS)
    return {c.name: c.content for c in chunks if c.content and (c.name != b"LIST" or c.content[:4] == b"INFO")}


def _guano(text: str, local: tzinfo) -> datetime | None:
    """Parse GUANO metadata. Source: GUANO metadata specification 1.0, field Timestamp (ISO 8601)."""
    found = GUANO.search(text)
    try:
        moment = datetime.fromisoformat(found[1]) if found else None
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or local) if moment and moment.year in YEARS else None


def _audiomoth(info: bytes) -> datetime | None:
    """Parse AudioMoth's comment. Source: AudioMoth-Firmware-Basic, ``setHeaderComment``."""
    found = AUDIOMOTH.search(info.decode("latin-1"))
    moment = _parsed(f"{found['day']} {found['clock']}", "%d/%m/%Y %H:%M:%S") if found else None
    if found is None or moment is None:
        return None
    return _add_fraction(moment, found["fraction"]).replace(tzinfo=_offset(found["offset"]) or UTC)


def _bext(chunk: bytes, local: tzinfo) -> datetime | None:
    """Parse a ``bext`` chunk. Source: EBU Tech 3285, OriginationDate and OriginationTime (bytes 320 to 338)."""
    digits = re.sub(r"\D", "", chunk[320:338].decode("latin-1"))
    moment = _parsed(digits, "%Y%m%d%H%M%S") if len(digits) == 14 else None
    return moment.replace(tzinfo=local) if moment else None


def _parsed(text: str, pattern: str) -> datetime | None:
    """Parse a date and time; return None if it is invalid."""
    try:
        moment = datetime.strptime(text, pattern)
    except ValueError:
        return None
    return moment if moment.year in YEARS else None


def _add_fraction(moment: datetime, fraction: str | None) -> datetime:
    """Add a fraction of a second, such as ".25"."""
    return moment + timedelta(seconds=float(fraction or 0))


def _offset(text: str | None) -> timezone | None:
    """Parse an offset such as "Z", "+0200", "-03:30" or "+2"; return None for an empty one."""
    if not text:
        return None
    if text == "Z":
        return UTC
    hours, minutes = re.fullmatch(r"[+-](\d{1,2}):?(\d{2})?", text).groups()  # type: ignore[union-attr]
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(hours), minutes=int(minutes or 0)))
