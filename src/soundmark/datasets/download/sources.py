"""Where each data set is published: address, size, checksum, licence and citation."""

from __future__ import annotations

from dataclasses import dataclass

from soundmark.datasets.layouts import esc50, urbansound8k
from soundmark.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """A published archive that contains a data set in one folder."""

    title: str
    url: str
    homepage: str
    archive: str
    """Name of the archive on disk; ``.tar.gz`` or ``.zip``."""
    root: str
    """The folder in the archive that contains the data set."""
    n_clips: int
    licence: str
    citation: str
    max_bytes: int
    """The download stops at this size."""
    unpacked_bytes: int
    """Disk space for the unpacked files, and their maximum total size."""
    max_files: int
    size: int | None = None
    """Exact size of the archive, if it is published."""
    md5: str = ""
    """MD5 of the archive, if it is published; detects damage, not manipulation."""
    wav_frames: int | None = None
    """Frames of every clip at ``wav_rate_hz``, if all clips have the same length."""
    wav_rate_hz: int | None = None


SOURCES = {
    "urbansound8k": DataSource(
        title="UrbanSound8K",
        url="https://zenodo.org/records/1203745/files/UrbanSound8K.tar.gz?download=1",
        homepage="https://zenodo.org/records/1203745",
        archive="UrbanSound8K.tar.gz",
        root="UrbanSound8K",
        n_clips=urbansound8k.COMPLETE_SIZE,
        licence="CC BY-NC 3.0 (https://creativecommons.org/licenses/by-nc/3.0/)",
        citation=urbansound8k.CITATION,
        max_bytes=6_100_000_000,
        unpacked_bytes=8_000_000_000,
        max_files=20_000,
        size=6_023_741_708,
        md5="9aa69802bbf37fb986f71ec1483a196e",
    ),
    "esc50": DataSource(
        title="ESC-50",
        url="https://github.com/karolpiczak/ESC-50/archive/refs/heads/master.zip",
        homepage="https://github.com/karolpiczak/ESC-50",
        archive="ESC-50-master.zip",
        root="ESC-50-master",
        n_clips=2000,
        licence="CC BY-NC 3.0 (https://creativecommons.org/licenses/by-nc/3.0/); the subset ESC-10: CC BY 3.0",
        citation=esc50.CITATION,
        max_bytes=1_000_000_000,
        unpacked_bytes=1_200_000_000,
        max_files=5_000,
        wav_frames=220_500,
        wav_rate_hz=44_100,
    ),
}


def source_named(name: str) -> DataSource:
    """Return the source of the data set called ``name``.

    Raises:
        SettingsError: the name is unknown.

    >>> source_named("esc50").n_clips
    2000
    >>> source_named("esc-50")
    Traceback (most recent call last):
    soundmark.errors.SettingsError: there is no data set to download "esc-50". Did you mean "esc50"? Known: ...
    """
    if not isinstance(name, str) or name not in SOURCES:
        raise unknown_name("data set to download", name, SOURCES)
    return SOURCES[name]
