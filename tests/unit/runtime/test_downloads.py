"""Downloads from a local server: bounded in size, verified, and written atomically."""

import hashlib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from soundmark.errors import DatasetError, WeightsError
from soundmark.runtime.downloads import BLOCK_BYTES, download
from support.servers import QuietHandler, serving

CONTENT = bytes(range(256)) * 1000


class FileHandler(QuietHandler, SimpleHTTPRequestHandler):
    """Serves files."""


@pytest.fixture
def url(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "small.bin").write_bytes(CONTENT)
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), partial(FileHandler, directory=folder))) as address:
        yield f"{address}/small.bin"


def fetch(url, path, **changes):
    options = {"sha256": hashlib.sha256(CONTENT).hexdigest(), "max_bytes": 300_000, "what": "the data", "label": "data"}
    return download(url, path, **{**options, **changes})


def test_file_is_complete_and_progress_ends_at_its_size(url, tmp_path):
    steps = []
    path = fetch(url, tmp_path / "got.bin", progress=lambda *step: steps.append(step))
    assert path.read_bytes() == CONTENT
    assert steps[-1] == ("downloading data", 256, 256, "kB")


def test_wrong_content_is_rejected_and_leaves_no_file(url, tmp_path):
    with pytest.raises(
        WeightsError, match="the download of data is not the released small.bin: its SHA-256 differs. Ask us."
    ):
        fetch(url, tmp_path / "got.bin", sha256="0" * 64, remedy="Ask us.")
    assert not list(tmp_path.glob("*got.bin*"))


def test_size_is_bounded(url, tmp_path):
    steps = []
    with pytest.raises(WeightsError, match="is not the released small.bin"):
        fetch(url, tmp_path / "got.bin", max_bytes=1000, progress=lambda *step: steps.append(step))
    assert steps[-1][1] <= (1000 + BLOCK_BYTES) // 1000


def test_error_has_the_given_type(url, tmp_path):
    with pytest.raises(
        DatasetError, match="the data are not stored locally and cannot be downloaded: File not found.$"
    ):
        fetch(url + "x", tmp_path / "got.bin", error=DatasetError)


def test_existing_file_is_kept_if_the_download_fails(url, tmp_path):
    path = tmp_path / "got.bin"
    path.write_bytes(b"before")
    with pytest.raises(WeightsError):
        fetch(url, path, sha256="0" * 64)
    assert path.read_bytes() == b"before"
