"""Download files: bounded in size and time, resumed by range requests, and verified by their checksum.

``download`` fetches a small file, such as pretrained weights, in one attempt and writes it atomically. ``fetch``
continues a large file: it appends to a partial file, asks the server for the missing bytes only (``Range`` with
``If-Range``), and tries again after a cut or a stall.

A server may redirect at most five times, and never from https to http.
"""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundmark.errors import SoundmarkError, WeightsError
from soundmark.runtime import atomic
from soundmark.runtime.checks import parse_json
from soundmark.runtime.checksums import file_checksum
from soundmark.runtime.progress import Progress, no_progress

BLOCK_BYTES = 1 << 16

TEMPORARY = (408, 425, 429)  # statuses below 500 after which another attempt may succeed


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """How often a download is tried, and how long it waits."""

    tries: int = 4
    """Consecutive attempts that receive less than ``least_bytes``."""
    wait_s: float = 1.0
    """Time before the second attempt; doubled for each further one."""
    timeout_s: float = 30.0
    """Time without data, or with less than ``least_bytes``, after which an attempt ends."""
    least_bytes: int = 16_000
    """An attempt that receives more was useful: the count of attempts starts again."""


ONCE = Attempts(tries=1)


class _TooLargeError(Exception):
    """The server sends more than is allowed."""


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows at most five redirects, to HTTP and HTTPS only, and none from HTTPS to another scheme."""

    max_redirections = 5

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the next request, or raise an error."""
        if not newurl.startswith("https:" if req.type == "https" else ("http:", "https:")):
            reason = f"the server redirects from {req.type} to {newurl.split(':')[0]}"
            raise urllib.error.HTTPError(newurl, code, reason, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(
    url: str,
    path: Path,
    *,
    sha256: str,
    max_bytes: int,
    what: str,
    label: str,
    remedy: str = "",
    progress: Progress = no_progress,
    error: type[SoundmarkError] = WeightsError,
) -> Path:
    """Download ``url`` to ``path`` in an existing folder; return ``path``.

    At most ``max_bytes`` plus one block are read. ``what`` is the name of the content in messages, such as "the weights
    of mn04"; ``label`` is its name in progress. ``remedy`` is a sentence of advice for the user.

    Raises:
        error: the server cannot be reached or returns an error, or the content does not have the SHA-256 ``sha256``.
        OutputError: ``path`` cannot be written.

    >>> source = folder / "source.bin"
    >>> _ = source.write_bytes(b"abc")
    >>> import hashlib
    >>> digest = hashlib.sha256(b"abc").hexdigest()
    >>> copied = download(source.as_uri(), folder / "copy.bin", sha256=digest, max_bytes=10, what="abc", label="abc")
    >>> copied.read_bytes()
    b'abc'
    """
    with atomic.replacing(path) as temporary:
        transfer = _Transfer(url, temporary, max_bytes, f"downloading {label}", "kB", progress, ONCE)
        try:
            transfer.run()
            content_is_right = file_checksum(temporary) == sha256
        except _TooLargeError:
            content_is_right = False
        except _FailedError as failure:
            raise error(
                f"{what} are not stored locally and cannot be downloaded: {failure}. {remedy}".rstrip()
            ) from failure
        if not content_is_right:
            name = url.rpartition("/")[2]
            raise error(f"the download of {label} is not the released {name}: its SHA-256 differs. {remedy}".rstrip())
    return path


def fetch(
    url: str,
    part: Path,
    *,
    max_bytes: int,
    label: str,
    remedy: str,
    size: int | None = None,
    is_verified: bool = False,
    progress: Progress = no_progress,
    attempts: Attempts | None = None,
    error: type[SoundmarkError] = WeightsError,
) -> int:
    """Append to the partial file ``part`` until it is the complete content of ``url``; return its size in bytes.

    What identifies the content (``ETag`` or ``Last-Modified``) is kept in ``<part>.json``, so that the next call
    continues the same content. Without it, the download starts again, unless ``is_verified`` says that the caller
    compares a checksum. ``size`` is the expected size in bytes, if it is known. A server that sends more than
    ``max_bytes`` (or ``size``) is stopped there, and ``part`` is emptied.

    Raises:
        error: the server cannot be reached, returns an error, or sends too much or too little, after all attempts.
        OutputError: ``part`` cannot be written.

    >>> _ = (folder / "source.bin").write_bytes(b"abc")
    >>> url = (folder / "source.bin").as_uri()
    >>> fetch(url, folder / "copy.part", max_bytes=10, label="abc", remedy="Try again.")
    3
    """
    limit = min(max_bytes, size or max_bytes)
    transfer = _Transfer(url, part, limit, f"downloading {label}", "MB", progress, attempts or Attempts())
    transfer.expected, transfer.is_verified, transfer.state = size, is_verified, part.with_name(f"{part.name}.json")
    try:
        return transfer.run()
    except _TooLargeError as failure:
        _empty(part)
        raise error(
            f"{label} cannot be downloaded: the server sends more than {limit} bytes, the expected maximum. {remedy}"
        ) from failure
    except _FailedError as failure:
        raise error(f"{label} cannot be downloaded: {failure}. {remedy}") from failure


class _FailedError(Exception):
    """An attempt failed; ``is_final`` if another one cannot succeed."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


class _Transfer:
    """One file on its way from a server to the disk."""

    def __init__(
        self, url: str, part: Path, limit: int, description: str, unit: str, progress: Progress, attempts: Attempts
    ) -> None:
        self.url, self.part, self.limit, self.attempts = url, part, limit, attempts
        self.description, self.unit, self.progress = description, unit, progress
        self.expected: int | None = None
        self.is_verified = False
        self.state: Path | None = None

    def run(self) -> int:
        """Try until the file is complete; return its size."""
        failed = 0
        while True:
            before = _size(self.part)
            try:
                return self._attempt()
            except _FailedError as failure:
                gained = _size(self.part) - before >= self.attempts.least_bytes
                failed = 1 if gained else failed + 1
                if failure.is_final or failed >= self.attempts.tries:
                    raise
            time.sleep(self.attempts.wait_s * 2 ** (failed - 1))

    def _attempt(self) -> int:
        offset, validator = self._resumable()
        if offset and offset in (self.expected, self._complete_size()):
            return offset
        try:
            with self._opened(offset, validator) as response:
                offset, total = self._start(response, offset, validator)
                size = self._receive(response, offset, total)
            self._save_state(validator_of(response.headers), size)
            return size
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416 and offset:
                    return self._after_416(offset, error.headers)
                is_final = error.code < 500 and error.code not in TEMPORARY
                raise _FailedError(str(error.reason or error), is_final=is_final) from error
        except (OSError, ValueError, http.client.HTTPException) as error:  # URLError is an OSError
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
            raise _FailedError(str(reason), is_final=isinstance(error, ValueError)) from error

    def _opened(self, offset: int, validator: str) -> Any:
        headers = {"User-Agent": "soundmark", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if validator:
                headers["If-Range"] = validator
        request = urllib.request.Request(self.url, headers=headers)  # noqa: S310 (a fixed https address)
        return urllib.request.build_opener(Redirects).open(request, timeout=self.attempts.timeout_s)

    def _resumable(self) -> tuple[int, str]:
        """Return the number of bytes that can be kept, and what identifies the content."""
        if self.state is None:
            return 0, ""
        state = _read_state(self.state)
        validator = str(state.get("validator") or "")
        size = _size(self.part)
        is_complete = size > 0 and state.get("complete") == size
        if state.get("url") != self.url or not (validator or self.is_verified or is_complete):
            return 0, ""
        return (size, validator) if size <= self.limit else (0, "")

    def _start(self, response: Any, offset: int, validator: str) -> tuple[int, int | None]:
        """Return where the response begins, and the complete size if it is declared."""
        found = validator_of(response.headers)
        if offset and getattr(response, "status", None) == 206:
            start, total = content_range(response.headers.get("Content-Range", ""))
            if start != offset or (validator and found and found != validator):
                _empty(self.part)
                raise _FailedError("the server continues at another position")
        else:  # the complete content: the server ignores ranges, or has new content
            declared = response.headers.get("Content-Length")
            offset, total = 0, _number(declared)
            if declared and total is None:
                raise _FailedError(f"the server declares a Content-Length of {declared[:40]!r}")
            _empty(self.part)
        if self.expected is not None and total is not None and total != self.expected:
            _empty(self.part)
            raise _FailedError(f"the server declares {total} bytes instead of {self.expected}")
        if offset == 0:
            self._save_state(found)
        return offset, total

    def _save_state(self, validator: str, complete: int | None = None) -> None:
        if self.state is not None:
            atomic.write_text(self.state, json.dumps({"url": self.url, "validator": validator, "complete": complete}))

    def _complete_size(self) -> int | None:
        """Return the size of the content if an earlier call received all of it."""
        complete = _read_state(self.state).get("complete") if self.state else None
        return complete if isinstance(complete, int) else None

    def _receive(self, response: Any, offset: int, total: int | None) -> int:
        for block in filter(None, _blocks(response, self.attempts)):
            offset += len(block)
            _append(self.part, block)
            shown = total or self.expected or self.limit
            scale = 1000 if self.unit == "kB" else 1_000_000
            self.progress(self.description, offset // scale, max(min(shown, self.limit), offset) // scale, self.unit)
            if offset > self.limit:
                raise _TooLargeError
        declared = self.expected if self.expected is not None else total
        if declared is not None and offset != declared:
            raise _FailedError(f"the connection ended after {offset} of {declared} bytes")
        return offset

    def _after_416(self, offset: int, headers: Any) -> int:
        """The server has no bytes after ``offset``: the file is complete, or the content is another one."""
        _, total = content_range(headers.get("Content-Range", ""))
        if total == offset and self.expected in (None, offset):
            return offset
        _empty(self.part)
        raise _FailedError("the server has other content than before")


def _blocks(response: Any, attempts: Attempts) -> Iterator[bytes]:
    """Yield the content in blocks of at most 64 KiB; before an error, what arrived until then.

    Raises:
        OSError: less than ``least_bytes`` arrived within the time limit.
    """
    block = bytearray()
    try:
        for data in _received(response, attempts):
            block += data
            if len(block) >= BLOCK_BYTES:
                yield bytes(block[:BLOCK_BYTES])
                del block[:BLOCK_BYTES]
    except (OSError, http.client.HTTPException):
        yield bytes(block)
        raise
    yield bytes(block)


def _received(response: Any, attempts: Attempts) -> Iterator[bytes]:
    since_s, received = time.monotonic(), 0
    while data := response.read1(BLOCK_BYTES):
        yield data
        received += len(data)
        if (now_s := time.monotonic()) - since_s > attempts.timeout_s:
            if received < attempts.least_bytes:
                raise TimeoutError(f"only {received} bytes arrived in {now_s - since_s:.0f} s")
            since_s, received = now_s, 0


def validator_of(headers: Any) -> str:
    """Return what identifies the content for ``If-Range``; a weak ETag does not.

    >>> validator_of({"ETag": '"v1"'}), validator_of({"ETag": 'W/"v1"', "Last-Modified": "Sat, 1 Jan 2000"})
    ('"v1"', 'Sat, 1 Jan 2000')
    """
    tag = headers.get("ETag") or ""
    return str(tag if tag.startswith('"') else headers.get("Last-Modified") or "")


def content_range(text: str) -> tuple[int | None, int | None]:
    """Return the first byte and the complete size of a ``Content-Range``; None for what it does not say.

    >>> content_range("bytes 10-19/44"), content_range("bytes */44"), content_range("")
    ((10, 44), (None, 44), (None, None))
    """
    found = re.fullmatch(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(\d{1,18}|\*)", text.strip())
    return (_number(found[1]), _number(found[2])) if found else (None, None)


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,18}", text) else None


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state = parse_json(path.read_bytes()[:10_000].decode())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise atomic.cannot_write(path, error) from error


def _append(path: Path, block: bytes) -> None:
    try:
        with path.open("ab") as file:
            file.write(block)
    except OSError as error:
        remedy = "Free some disk space, then run the same command again." if error.errno in atomic.DISK_FULL else None
        raise atomic.cannot_write(path, error, remedy) from error


def _empty(path: Path) -> None:
    try:
        path.open("wb").close()
    except OSError as error:
        raise atomic.cannot_write(path, error) from error
