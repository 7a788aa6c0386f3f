"""Check an unpacked data set against what is known of it: metadata, count, WAV headers, and a list of digests."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path

from soundmark.audio import riff
from soundmark.datasets.dataset import Dataset
from soundmark.datasets.download.sources import DataSource
from soundmark.errors import DatasetError
from soundmark.runtime.checksums import file_checksum
from soundmark.runtime.progress import Progress, no_progress
from soundmark.runtime.text import one_line

AGAIN = "Delete the folder and run the same command again."

MAX_LIST_BYTES = 10_000_000


def verify_content(source: DataSource, root: Path) -> None:
    """Check that every clip of the metadata exists, that there is no other, and that WAV headers are as specified.

    Raises:
        DatasetError: the data set is incomplete, or a file is not as specified.

    >>> from soundmark.datasets.download.sources import SOURCES
    >>> verify_content(SOURCES["esc50"], folder)
    Traceback (most recent call last):
    soundmark.errors.DatasetError: ...
    """
    data = Dataset.open(root)
    if data.name != source.title:
        raise DatasetError(f'"{root}" does not contain {source.title}: its metadata is missing. {AGAIN}')
    if data.skipped or len(data.clips) != source.n_clips:
        first = f', for example "{data.skipped[0].path}"' if data.skipped else ""
        raise DatasetError(
            f'"{root}" contains {len(data.clips)} of the {source.n_clips} clips of {source.title}{first}. {AGAIN}'
        )
    named = {clip.path for clip in data.clips}
    for path in sorted((root / "audio").rglob("*.wav")):
        if path not in named:
            raise DatasetError(f'"{path}" is not in the metadata of {source.title}. {AGAIN}')
    if source.wav_frames and source.wav_rate_hz:
        for path in sorted(named):
            _check_wav(path, source.wav_frames, source.wav_rate_hz)


def _check_wav(path: Path, frames: int, rate_hz: int) -> None:
    found: tuple[int, float] | None = None
    with path.open("rb") as file:
        if riff.is_wave(file.read(riff.HEADER_BYTES)):
            rate, frame_bytes = 0, 0
            for chunk in riff.read_chunks(file, {b"fmt "}):
                if chunk.name == b"fmt " and len(chunk.content) >= 16:
                    rate, _, frame_bytes = struct.unpack("<IIH", chunk.content[4:14])
                if chunk.name == b"data":
                    present = min(chunk.size, path.stat().st_size - file.tell())
                    found = (rate, present / (frame_bytes or 1))
                    break
    if found != (rate_hz, frames):
        raise DatasetError(f'"{path}" is not a WAV file of {frames / rate_hz:g} s at {rate_hz} Hz. {AGAIN}')


def read_digests(path: Path) -> dict[str, str]:
    r"""Read a list of digests: lines ``<SHA-256 or MD5>  <path>``, as of ``sha256sum``; return the digest by path.

    Raises:
        DatasetError: the file cannot be read, or a line is not of this form.

    >>> _ = (folder / "list.sha256").write_text("0" * 64 + "  audio/1.wav\n")
    >>> list(read_digests(folder / "list.sha256"))
    ['audio/1.wav']
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LIST_BYTES + 1)
        lines = data.decode().splitlines()
    except (OSError, ValueError) as error:
        raise DatasetError(f'"{path}" cannot be read as a list of digests: {one_line(error)}.') from error
    if len(data) > MAX_LIST_BYTES:
        raise DatasetError(f'"{path}" is too large for a list of digests.')
    found = {}
    for number, line in enumerate(lines, start=1):
        match = re.fullmatch(r"([0-9a-fA-F]{64}|[0-9a-fA-F]{32}) [ *](.+)", line)
        if not match:
            raise DatasetError(
                f'"{path}", line {number}: expected a SHA-256 or MD5, two spaces and a path, as sha256sum writes them.'
            )
        found[match[2].removeprefix("./")] = match[1].lower()
    return found


def verify_digests(
    root: Path, digests: Mapping[str, str], progress: Progress = no_progress, *, list_name: str = "the list of digests"
) -> None:
    """Check that each listed file below ``root`` exists and has its digest.

    Raises:
        DatasetError: a file is missing or differs.

    >>> _ = (folder / "a.txt").write_text("abc")
    >>> verify_digests(folder, {"a.txt": "900150983cd24fb0d6963f7d28e17f72"})
    >>> verify_digests(folder, {"a.txt": "0" * 32})
    Traceback (most recent call last):
    soundmark.errors.DatasetError: ...a.txt" differs from the list of digests. Delete the folder and run the same ...
    """
    for number, (name, digest) in enumerate(digests.items(), start=1):
        path = root / name
        if ".." in Path(name).parts or Path(name).is_absolute() or not path.is_file():
            raise DatasetError(f'"{path}" is in {list_name}, but does not exist. {AGAIN}')
        if file_checksum(path, "sha256" if len(digest) == 64 else "md5") != digest:
            raise DatasetError(f'"{path}" differs from {list_name}. {AGAIN}')
        progress(f"verifying {root.name}", number, len(digests), "files")
