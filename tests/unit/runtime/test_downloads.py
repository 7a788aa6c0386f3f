"""A download is bounded, verified and whole; a server of the test's own answers."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from soundmark.errors import DatasetError, WeightsError
from soundmark.runtime.downloads import BLOCK_BYTES, download

CONTENT = bytes(range(256)) * 1000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Not on the terminal."""


@pytest.fixture
def url(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "small.bin").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/small.bin"
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(url, path, **changes):
    options = {"sha256": hashlib.sha256(CONTENT).hexdigest(), "max_bytes": 300_000, "what": "the data", "label": "data"}
    return download(url, path, **{**options, **changes})


def test_the_file_is_there_whole_and_progress_ends_at_its_size(url, tmp_path):
    steps = []
    path = fetch(url, tmp_path / "got.bin", progress=lambda *step: steps.append(step))
    assert path.read_bytes() == CONTENT
    assert steps[-1] == ("fetching data", 256, 256, "kB")


def test_other_content_is_refused_and_leaves_no_file(url, tmp_path):
    with pytest.raises(WeightsError, match="what was fetched for data is not the small.bin that was released. Ask us."):
        fetch(url, tmp_path / "got.bin", sha256="0" * 64, remedy="Ask us.")
    assert not list(tmp_path.glob("*got.bin*"))


def test_no_more_is_read_than_allowed(url, tmp_path):
    steps = []
    with pytest.raises(WeightsError, match="is not the small.bin"):
        fetch(url, tmp_path / "got.bin", max_bytes=1000, progress=lambda *step: steps.append(step))
    assert steps[-1][1] <= (1000 + BLOCK_BYTES) // 1000


def test_the_error_is_of_the_kind_that_was_asked_for(url, tmp_path):
    with pytest.raises(DatasetError, match="the data are not here and cannot be fetched: File not found.$"):
        fetch(url + "x", tmp_path / "got.bin", error=DatasetError)


def test_a_file_that_was_there_stays_where_the_download_fails(url, tmp_path):
    path = tmp_path / "got.bin"
    path.write_bytes(b"before")
    with pytest.raises(WeightsError):
        fetch(url, path, sha256="0" * 64)
    assert path.read_bytes() == b"before"
