"""Files of HTTP servers, read by range requests; a file of a server without ranges is a pipe.

Time, size and redirects are bounded: a server that sends slowly, more than it was asked for, or another file than
before, is an error. A redirect leads to HTTP or HTTPS only, and never from HTTPS to HTTP.
"""

from __future__ import annotations

import http.client
import io
import re
import string
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from soundmark.audio.remote.range_file import BLOCK_BYTES, PermanentError, RangeFile
from soundmark.runtime.downloads import TEMPORARY, Redirects, content_range, validator_of

TIMEOUT_S = 30.0  # without any byte


BLOCK_S = 60.0  # for a block; in a pipe, on average, and once more


def open_http(url: str) -> RangeFile | HttpPipe:
    """Open the file at ``url``.

    Raises:
        OSError, ValueError: it cannot be read.

    >>> open_http("http://127.0.0.1:9/a.wav")
    Traceback (most recent call last):
    urllib.error.URLError: <urlopen error [Errno 111] Connection refused>
    """
    response = _requested(url, 0, BLOCK_BYTES)
    if response.status != 206:
        return HttpPipe(url, response)
    with response:
        start, size = content_range(response.headers.get("Content-Range", ""))
        if start != 0 or size is None:
            raise OSError("the server states no size of the file")
        head = _body(response, min(size, BLOCK_BYTES))
        validator = validator_of(response.headers)
    return RangeFile(url, size, lambda start, stop: _fetched(url, start, stop, size, validator), head=head)


def identity(url: str) -> list[str] | None:
    """Return size and validator of the file at ``url``; None if the server does not state them.

    Raises:
        OSError, ValueError: it cannot be read.

    >>> identity("http://127.0.0.1:9/a.wav")
    Traceback (most recent call last):
    urllib.error.URLError: <urlopen error [Errno 111] Connection refused>
    """
    with _requested(url, 0, 1) as response:
        _, size = content_range(response.headers.get("Content-Range", ""))
        validator = validator_of(response.headers)
    return [str(size), validator] if response.status == 206 and size is not None and validator else None


class HttpPipe(io.RawIOBase):
    """The content of a response as a file without positions; decoding copies it to a temporary file."""

    def __init__(self, name: str, response: Any) -> None:
        super().__init__()
        self.name, self._response = name, response
        self._since_s, self._n_bytes = time.monotonic(), 0

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has arrived into ``buffer``.

        Raises:
            OSError: the connection was cut, or is too slow.
        """
        try:
            found = self._response.read1(min(len(buffer), BLOCK_BYTES))
        except http.client.HTTPException as error:
            raise OSError("the connection was cut") from error
        self._n_bytes += len(found)
        if not found and self._response.length:  # http.client does not mind
            raise OSError(
                f"the connection ended after {self._n_bytes} of {self._n_bytes + self._response.length} bytes"
            )
        if (taken_s := time.monotonic() - self._since_s) > BLOCK_S * (1 + self._n_bytes / BLOCK_BYTES):
            raise TimeoutError(f"only {self._n_bytes} bytes arrived in {taken_s:.0f} s")
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        """Close the connection."""
        self._response.close()
        super().close()


def _requested(url: str, start: int, stop: int, headers: Mapping[str, str] | None = None) -> Any:
    """Request a range; return the open response."""
    given = {"User-Agent": "soundmark", "Accept-Encoding": "identity", "Range": f"bytes={start}-{stop - 1}"}
    request = urllib.request.Request(_encoded(url), headers=given | dict(headers or {}))  # noqa: S310 - its scheme was checked
    try:
        response = urllib.request.build_opener(Redirects).open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        with error:
            if error.code in (404, 410):
                raise FileNotFoundError(url) from error
            if error.code in (401, 403):
                raise PermissionError(url) from error
            reason = f"the server answers {error.code} {error.reason}"
            raise (OSError if error.code >= 500 or error.code in TEMPORARY else PermanentError)(reason) from error
    except http.client.InvalidURL as error:
        raise PermanentError("it is not a valid address") from error
    except http.client.HTTPException as error:
        raise OSError(f"the answer is not HTTP ({type(error).__name__})") from error
    if response.headers.get("Content-Encoding", "identity") != "identity":
        response.close()
        raise PermanentError("the server sends it compressed")
    return response


def _encoded(url: str) -> str:
    """Return a URL with what HTTP does not allow in a path, such as spaces and umlauts, as ``%`` and its code."""
    scheme, _, rest = url.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return f"{scheme}://{host}{quote(rest[len(host) :], safe=string.punctuation, errors='surrogateescape')}"


def _fetched(url: str, start: int, stop: int, size: int, validator: str) -> bytes:
    """Return the bytes from ``start`` to ``stop`` of a file that is expected to be the same as before."""
    headers = {"If-Range": validator} if validator else {}
    with _requested(url, start, stop, headers) as response:
        if response.status != 206 or content_range(response.headers.get("Content-Range", "")) != (start, size):
            raise PermanentError("it changed while it was read")
        if validator and validator_of(response.headers) not in ("", validator):
            raise PermanentError("it changed while it was read")
        return _body(response, stop - start)


def _body(response: Any, size: int) -> bytes:
    """Read ``size`` bytes within the time limit."""
    since_s, body = time.monotonic(), bytearray()
    try:
        while len(body) < size and (part := response.read1(size - len(body))):
            body += part
            if time.monotonic() - since_s > BLOCK_S:
                raise TimeoutError(f"only {len(body)} bytes arrived in {BLOCK_S:.0f} s")
    except http.client.HTTPException as error:
        raise OSError("the connection was cut") from error
    if len(body) < size:
        raise OSError(f"the connection ended after {len(body)} of {size} bytes")
    return bytes(body)
