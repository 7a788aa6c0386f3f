"""A server that misbehaves on chosen requests, and small archives in the layouts of the published data sets."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import time
import wave
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from soundmark.datasets.download.sources import DataSource
from support.layouts import ESC50_HEADER, URBANSOUND8K_HEADER
from support.servers import QuietHandler, serving


@dataclass
class HostileServer:
    """Serves ``content``; each request takes the next of ``faults``, and the last one stays."""

    content: bytes
    faults: list[str] = field(default_factory=lambda: [""])
    tag: str = '"v1"'
    address: str = ""
    ranges: list[str] = field(default_factory=list)  # the Range header of each request
    sent: int = 0
    block_bytes: int = 1 << 14
    pause_s: float = 0.0
    holds_at: int | None = None  # sends so many bytes, and waits until this is None

    def next_fault(self) -> str:
        return self.faults.pop(0) if len(self.faults) > 1 else self.faults[0]


@contextmanager
def hostile(content: bytes, *faults: str) -> Iterator[HostileServer]:
    """Serve ``content`` with ``faults`` in a thread; ``address`` is that of the content."""
    server = HostileServer(content, list(faults) or [""])

    class Handler(QuietHandler, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, server)

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        server.address = f"{address}/content"
        yield server


def _answer(request: BaseHTTPRequestHandler, server: HostileServer) -> None:
    fault = server.next_fault()
    server.ranges.append(request.headers.get("Range", ""))
    content, wanted = server.content, request.headers.get("Range")
    if_range = request.headers.get("If-Range")
    start = 0
    if fault == "redirect":
        return _head(request, 302, {"Location": f"{server.address}?again"})
    if fault.isdigit():
        return _head(request, int(fault), {"Content-Range": f"bytes */{len(content)}"})
    if wanted and fault != "ignore ranges" and if_range in (None, server.tag):
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(content):
            return _head(request, 416, {"Content-Range": f"bytes */{len(content)}"})
    if fault == "flip":
        content = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
    body = content[start:]
    headers = {"ETag": server.tag, "Content-Length": str(len(body))}
    if fault == "no tag":
        del headers["ETag"]
    if start:
        first = start + 7 if fault == "other range" else start
        headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
    if fault == "too long":
        headers["Content-Length"] = str(len(body) + 1000)
    if fault == "too short":
        headers["Content-Length"] = str(len(body) - 1000)
    if fault == "endless":
        del headers["Content-Length"]
        body = body + bytes(10 * len(body))
    if fault == "no length":
        del headers["Content-Length"]
    _head(request, 206 if start else 200, headers)
    if fault in ("cut", "cut early"):
        body = body[: len(body) // 2 if fault == "cut" else 10]
    for place in range(0, len(body), server.block_bytes):
        block = body[place : place + server.block_bytes]
        try:
            request.wfile.write(block)
        except OSError:
            return None
        server.sent += len(block)
        time.sleep(server.pause_s)
        while server.holds_at is not None and server.sent >= server.holds_at:
            time.sleep(0.01)
        if fault == "stall" and place >= len(body) // 2:
            time.sleep(1.5)
            return None
    return None


def _head(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    request.close_connection = True
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()


def wav(frames: int, rate_hz: int, seed: int) -> bytes:
    """A WAV file of noise."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, rate_hz, frames, "NONE", ""))
        file.writeframes(np.random.default_rng(seed).integers(-9000, 9000, frames).astype("<i2").tobytes())
    return out.getvalue()


def urbansound8k_files(clips: int = 12) -> dict[str, bytes]:
    """The files of a small UrbanSound8K, with the hidden files of the published archive."""
    files = {"UrbanSound8K/.DS_Store": b"x", "UrbanSound8K/UrbanSound8K_README.txt": b"readme"}
    rows = [URBANSOUND8K_HEADER]
    for i in range(clips):
        name, fold = f"{1000 + i}-3-0-0.wav", i % 3 + 1
        files[f"UrbanSound8K/audio/fold{fold}/{name}"] = wav(8000, 8000, i)
        rows.append(f"{name},{1000 + i},0.0,1.0,1,{fold},3,dog_bark")
    files["UrbanSound8K/metadata/UrbanSound8K.csv"] = "\n".join(rows).encode()
    return files


def esc50_files(clips: int = 4) -> dict[str, bytes]:
    """The files of a small ESC-50 at its own sample rate."""
    files, rows = {"ESC-50-master/README.md": b"readme", "ESC-50-master/.github/x.yml": b"x"}, [ESC50_HEADER]
    for i in range(clips):
        name, fold = f"{i % 5 + 1}-{100 + i}-A-{i % 2}.wav", i % 5 + 1
        files[f"ESC-50-master/audio/{name}"] = wav(22_050, 4410, i)
        rows.append(f"{name},{fold},{i % 2},{('dog', 'rooster')[i % 2]},True,{100 + i},A")
    files["ESC-50-master/meta/esc50.csv"] = "\n".join(rows).encode()
    return files


def tar_gz(files: dict[str, bytes], *extra: tarfile.TarInfo) -> bytes:
    """An archive of files; ``extra`` members have no content."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    return out.getvalue()


def zipped(files: dict[str, bytes], *, links: dict[str, str] | None = None) -> bytes:
    """A zip archive of files and symbolic links."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for name, target in (links or {}).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o120777 << 16
            archive.writestr(info, target)
    return out.getvalue()


def urbansound8k_source(url: str, content: bytes, clips: int = 12, **changes: object) -> DataSource:
    """The source of a small UrbanSound8K."""
    values: dict[str, object] = {
        "title": "UrbanSound8K", "url": url, "homepage": "https://example.org", "archive": "UrbanSound8K.tar.gz",
        "root": "UrbanSound8K", "n_clips": clips, "licence": "CC BY-NC 3.0", "citation": "Salamon et al.",
        "max_bytes": 10_000_000, "unpacked_bytes": 10_000_000, "max_files": 100, "size": len(content),
        "md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
    }  # fmt: skip
    return DataSource(**{**values, **changes})


def esc50_source(url: str, clips: int = 4, **changes: object) -> DataSource:
    """The source of a small ESC-50, whose archive has no published checksum."""
    values: dict[str, object] = {
        "title": "ESC-50", "url": url, "homepage": "https://example.org", "archive": "ESC-50-master.zip",
        "root": "ESC-50-master", "n_clips": clips, "licence": "CC BY-NC 3.0", "citation": "Piczak",
        "max_bytes": 10_000_000, "unpacked_bytes": 10_000_000, "max_files": 100, "wav_frames": 22_050,
        "wav_rate_hz": 4410,
    }  # fmt: skip
    return DataSource(**{**values, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    """The contents of all files below a folder, by their paths."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
