"""Why a file cannot be read as sound, in one sentence: missing, a folder, another format, damaged."""

from __future__ import annotations

import codecs
import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO

FileSource = str | os.PathLike[str] | bytes | BinaryIO

SUGGESTED = "WAV, FLAC, Ogg Vorbis, Ogg Opus, MP3 and AIFF can be read"


def why_unreadable(source: FileSource, name: str, error: Exception) -> str:
    """One sentence for a source that libsndfile refused.

    >>> why_unreadable(b"", "the upload", ValueError())[:44]
    'the upload cannot be read as sound: it is em'
    """
    try:
        head = _head(source)
    except FileNotFoundError:
        return f"{name} {_missing(Path(source))}"  # type: ignore[arg-type]  # only a path is not found
    except IsADirectoryError:
        return f"{name} is a folder, not a sound file: name a file in it."
    except PermissionError:
        return f"{name} may not be read by this user: change its permissions, or leave it out."
    except (OSError, ValueError) as refused:
        return f"{name} cannot be opened: {_error_text(refused)}."
    return f"{name} cannot be read as sound: {_content(head) or damage(error)}. {SUGGESTED}."


def _head(source: FileSource) -> bytes:
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


def damage(error: Exception) -> str:
    """Why libsndfile refused, in plain words.

    >>> damage(ValueError("Error : psf_fseek() failed."))
    'it ends there'
    """
    reason = _error_text(error)
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


def _error_text(error: BaseException) -> str:
    """An error's own words, without the name of the file, which the message has."""
    text = str(getattr(error, "error_string", None) or getattr(error, "strerror", None) or error)
    return text.removeprefix("Error : ").rstrip(". ")


# libsndfile's log of a header has lines such as "data : 176400 (should be 88178)", where 88178 bytes are there.
_SHORT = re.compile(r"^\s*(?:data|SSND|riff|Data Size)\s*:\s*(\d+)\s*\(should be (\d+)\)", re.MULTILINE)


_UNFINISHED_BYTES = 0xFFFF_0000  # a recorder that was streaming leaves such a size in place of the one it did not know


def header_note(log: str) -> str | None:
    """What libsndfile's log of a header says of a file that was cut off.

    >>> header_note("data : 176400 (should be 88178)")
    'is cut off: 88178 of the 176400 bytes that its header declares are there'
    """
    for declared, there in _SHORT.findall(log):
        if int(there) < int(declared) < _UNFINISHED_BYTES:
            return f"is cut off: {there} of the {declared} bytes that its header declares are there"
    return "is cut off: its last Ogg page is missing" if "lacks an end-of-stream bit" in log else None
