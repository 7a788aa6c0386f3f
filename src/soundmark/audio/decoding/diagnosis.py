"""Explain in one sentence why a file cannot be decoded: missing, a folder, another format, damaged."""

from __future__ import annotations

import codecs
import os
import re
from bisect import bisect
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from soundmark.runtime.checks import is_url
from soundmark.runtime.text import reason_unreadable

FileSource = str | os.PathLike[str] | bytes | BinaryIO

NEIGHBOURS = 25  # names on each side that are compared with the name of a missing file


SUPPORTED = "Supported formats: WAV, FLAC, Ogg Vorbis, Ogg Opus, MP3 and AIFF"


def why_unreadable(source: FileSource, name: str, error: Exception) -> str:
    """Return the message for a source that libsndfile could not open.

    >>> why_unreadable(b"", "the upload", ValueError())[:41]
    'the upload cannot be decoded: it is empty'
    """
    try:
        head = _head(source)
    except FileNotFoundError:  # only a path is not found
        if is_url(os.fspath(source)):  # type: ignore[arg-type]
            return f"{name} is an address: give it to `soundmark classify` or soundmark.analyze, or download the file."
        return f"{name} {reason_missing(Path(source))}"  # type: ignore[arg-type]
    except IsADirectoryError:
        return f"{name} is a folder, not a sound file: name a file in it."
    except PermissionError:
        return f"{name} cannot be read (permission denied): change its permissions, or remove it from the inputs."
    except (OSError, ValueError) as failure:
        return f"{name} cannot be opened: {reason_unreadable(failure)}."
    return f"{name} cannot be decoded: {_identify(head) or damage(error)}. {SUPPORTED}."


def _head(source: FileSource) -> bytes:
    """Read the first 64 bytes of a source."""
    if isinstance(source, bytes):
        return source[:64]
    if isinstance(source, str | os.PathLike):
        if Path(source).is_dir():
            raise IsADirectoryError  # Windows would raise PermissionError
        with Path(source).open("rb") as file:
            return file.read(64)
    source.seek(0)
    return source.read(64)


# Signatures of files that are often mistaken for, or renamed to, sound files: offset, bytes, description.
_SIGNATURES = (
    (4, b"ftyp", "it is MPEG-4 (M4A, AAC): convert it first"),
    (0, b"\x1aE\xdf\xa3", "it is WebM or Matroska: convert it first"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "it is Windows Media (WMA): convert it first"),
    (0, b"#!AMR", "it is AMR: convert it first"),
    (0, b"PK\x03\x04", "it is a ZIP archive: unpack it first"),
    (0, b"\x1f\x8b", "it is gzip: unpack it first"),
    (0, b"\x89PNG", "it is a PNG image"),
    (0, b"\xff\xd8\xff", "it is a JPEG image"),
    (0, b"%PDF", "it is a PDF"),
)


def _identify(head: bytes) -> str | None:
    """Describe the content of a file that is not a sound, from its first bytes; None if it is not recognised."""
    if not head:
        return "it is empty"
    if not any(head):
        return "it begins with zeros only"
    for start, signature, description in _SIGNATURES:
        if head.startswith(signature, start):
            return description
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)  # the last character may be incomplete
    except UnicodeDecodeError:
        return None
    if all(character.isprintable() or character.isspace() for character in text):
        return f"it begins with the text {text.split(chr(10))[0].strip()[:24]!r}"
    return None


def damage(error: Exception) -> str:
    """Translate an error of libsndfile to plain English.

    >>> damage(ValueError("Error : psf_fseek() failed."))
    'unexpected end of file'
    """
    reason = _error_text(error)
    for original, translation in (
        ("Format not recognised", "its format is not recognised"),
        ("not a regular file", "it is damaged, or truncated at its start"),
        ("file is malformed", "it is damaged, or truncated at its start"),
        ("No 'data' chunk marker", "it is truncated before its first sample"),
        ("unimplemented format", "its header is damaged, or its encoding is not supported"),
        ("SF_INFO struct incomplete", "its header is damaged"),
        ("psf_fseek() failed", "unexpected end of file"),
    ):
        if original in reason:
            return translation
    return reason


def reason_missing(path: Path) -> str:
    """Explain why a path does not exist: a broken link, or the first missing part and the name closest to it.

    >>> reason_missing(Path(__file__).with_name("spol.py")).split("; ")[1]
    'did you mean "spool.py"?'
    """
    if path.is_symlink():
        return f'is a link to "{path.readlink()}", which does not exist.'
    for parent in path.parents:
        if parent.is_dir():
            missing = path.relative_to(parent).parts[0]
            close = get_close_matches(missing, _similar_names(parent, missing))
            close = [name for name in close if get_close_matches(Path(missing).stem, [Path(name).stem])]  # not ".onnx"
            where = "" if path == Path(missing) else f': "{parent}" contains no "{missing}"'
            return f"does not exist{where}" + (f'; did you mean "{close[0]}"?' if close else ".")
        if parent.exists():
            return f'does not exist: "{parent}" is a file, not a folder.'
    return "does not exist: no part of its path exists."


def _similar_names(folder: Path, missing: str) -> list[str]:
    """Return the names in a folder among which one may resemble ``missing``; none if this user may not list it.

    In a large folder, these are its neighbours in two orders, by beginning and by end. So the cost for each missing
    file does not grow with the folder, which is listed once (again when it changes).
    """
    try:
        by_beginning, by_end = _sorted_names(str(folder), folder.stat().st_mtime_ns)
    except OSError:
        return []
    if len(by_beginning) <= 4 * NEIGHBOURS:
        return by_beginning
    ends = _neighbours(by_end, missing[::-1])
    return sorted({*_neighbours(by_beginning, missing), *(name[::-1] for name in ends)})


@lru_cache(maxsize=2)
def _sorted_names(folder: str, changed_ns: int) -> tuple[list[str], list[str]]:
    """Return the names in a folder, sorted; and spelled backwards, sorted. ``changed_ns`` makes the cache current."""
    names = os.listdir(folder)  # noqa: PTH208 - only names are needed
    return sorted(names), sorted(name[::-1] for name in names)


def _neighbours(names: list[str], name: str) -> list[str]:
    at = bisect(names, name)
    return names[max(0, at - NEIGHBOURS) : at + NEIGHBOURS]


def _error_text(error: BaseException) -> str:
    """Return the text of an error without the file name, which the message already contains."""
    text = str(getattr(error, "error_string", None) or getattr(error, "strerror", None) or error)
    return text.removeprefix("Error : ").rstrip(". ")


# libsndfile's header log has lines such as "data : 176400 (should be 88178)", where 88178 bytes are present.
_TRUNCATED = re.compile(r"^\s*(?:data|SSND|riff|Data Size)\s*:\s*(\d+)\s*\(should be (\d+)\)", re.MULTILINE)


_UNFINISHED_BYTES = 0xFFFF_0000  # a recorder that streams to a file writes such a size as a placeholder


def header_note(log: str) -> str | None:
    """Return a note if libsndfile's header log shows that the file is truncated.

    >>> header_note("data : 176400 (should be 88178)")
    'is truncated: 88178 of the 176400 bytes declared in its header are present'
    """
    for declared, present in _TRUNCATED.findall(log):
        if int(present) < int(declared) < _UNFINISHED_BYTES:
            return f"is truncated: {present} of the {declared} bytes declared in its header are present"
    return "is truncated: its last Ogg page is missing" if "lacks an end-of-stream bit" in log else None
