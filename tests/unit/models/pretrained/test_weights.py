"""Pretrained weights are found on disk or downloaded once, and verified; a local server replaces the release page."""

import hashlib
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from soundmark.errors import WeightsError
from soundmark.models.pretrained import weights
from soundmark.runtime import downloads
from support.servers import QuietHandler, serving

CONTENT = bytes(range(256)) * 1000  # 256 kB: several blocks
MAX_BYTES = 300_000


class ReleaseServer(HTTPServer):
    """Responds with ``body``, and records the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []
        self.body = CONTENT
        self.content_length: int | str | None = len(CONTENT)
        self.status = 200
        self.garbage = self.chunked = False

    def handle_error(self, *_: object) -> None:
        """Ignore a client that closes the connection early."""


class Handler(QuietHandler, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ReleaseServer

    def do_GET(self) -> None:
        server = self.server
        server.requests.append(self.path)
        self.close_connection = True
        if server.garbage:
            self.wfile.write(b"not an HTTP response\r\n\r\n")
            return
        self.send_response(server.status)
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"ffff\r\n" + server.body[:1000])  # the connection is closed within the chunk
            return
        if server.content_length is not None:
            self.send_header("Content-Length", str(server.content_length))
        self.end_headers()
        self.wfile.write(server.body)


@pytest.fixture
def release(monkeypatch):
    server = ReleaseServer()
    with serving(server) as address:
        monkeypatch.setattr(weights, "RELEASE", f"{address}/v0/")
        yield server


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, no weights folder, and a release of one small file."""
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SOUNDMARK_WEIGHTS", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    small = weights.Weights("small.pt", hashlib.sha256(CONTENT).hexdigest(), MAX_BYTES)
    monkeypatch.setattr(weights, "WEIGHTS", {"mn04": small})
    return tmp_path / "cache" / "weights"


def files(folder) -> list[str]:
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


def test_weights_folder_comes_first(release, cache, tmp_path, monkeypatch):
    for folder in (tmp_path / "mine", cache):
        folder.mkdir(parents=True)
        (folder / "small.pt").write_bytes(CONTENT)
    monkeypatch.setenv("SOUNDMARK_WEIGHTS", str(tmp_path / "mine"))
    assert weights.find("mn04") == tmp_path / "mine" / "small.pt"
    assert release.requests == []


@pytest.mark.parametrize("named", [None, "elsewhere", ""])
def test_cache_comes_second(release, cache, tmp_path, monkeypatch, named):
    cache.mkdir(parents=True)
    (cache / "small.pt").write_bytes(CONTENT)
    if named is not None:
        monkeypatch.setenv("SOUNDMARK_WEIGHTS", named and str(tmp_path / named))
    assert weights.find("mn04") == cache / "small.pt"
    assert release.requests == []


def test_missing_weights_are_downloaded_once(release, cache):
    calls = []
    found = weights.find("mn04", lambda *call: calls.append(call))
    assert found == cache / "small.pt"
    assert found.read_bytes() == CONTENT
    assert weights.find("mn04") == found
    assert release.requests == ["/v0/small.pt"]
    assert files(cache) == ["small.pt"]
    done = [call[1] for call in calls]
    assert {(call[0], call[2], call[3]) for call in calls} == {("downloading mn04", 256, "kB")}
    assert done == sorted(done)
    assert done[0] == 65
    assert done[-1] == 256


def test_download_without_content_length(release, cache):
    release.content_length = None
    calls = []
    assert weights.find("mn04", lambda *call: calls.append(call)).read_bytes() == CONTENT
    assert calls[-1] == ("downloading mn04", 256, 300, "kB")


@pytest.mark.parametrize("where", ["named", "cache"])
def test_file_with_a_wrong_checksum_is_refused(release, cache, tmp_path, monkeypatch, where):
    folder = cache if where == "cache" else tmp_path / "mine"
    folder.mkdir(parents=True)
    (folder / "small.pt").write_bytes(CONTENT[:-1] + b"x")
    if where == "named":
        monkeypatch.setenv("SOUNDMARK_WEIGHTS", str(folder))
    with pytest.raises(WeightsError, match=r'small.pt" is not the released small.pt: .*Delete it') as caught:
        weights.find("mn04")
    assert str(folder / "small.pt") in str(caught.value)
    assert weights.WEIGHTS["mn04"].sha256 in str(caught.value)
    assert release.requests == []
    (folder / "small.pt").unlink()
    assert weights.find("mn04").parent == cache


@pytest.mark.parametrize(
    "body", [CONTENT[:-1], CONTENT + b"x", b"", b"<html>sign in</html>", CONTENT * 4], ids=lambda body: str(len(body))
)
def test_download_with_a_wrong_checksum_is_not_kept(release, cache, body):
    release.body, release.content_length = body, len(body)
    with pytest.raises(WeightsError, match="the download of mn04 is not the released small.pt"):
        weights.find("mn04")
    assert files(cache) == []


def test_download_stops_at_the_maximum_size(release, cache):
    release.body = CONTENT * 100
    release.content_length = len(release.body)
    calls = []
    with pytest.raises(WeightsError, match="is not the released small.pt"):
        weights.find("mn04", lambda *call: calls.append(call))
    assert calls[-1][1] * 1000 < MAX_BYTES + downloads.BLOCK_BYTES
    assert files(cache) == []


@pytest.mark.parametrize("fault", ["truncated", "chunk", "garbage", "length"])
def test_broken_connection_gives_one_clear_message(release, cache, fault):
    if fault == "truncated":
        release.body = CONTENT[:1000]
    release.chunked, release.garbage = fault == "chunk", fault == "garbage"
    release.content_length = "many" if fault == "length" else release.content_length
    with pytest.raises(WeightsError, match="mn04") as caught:
        weights.find("mn04")
    assert_remedy(str(caught.value), release, cache)
    assert files(cache) == []


@pytest.mark.parametrize(("status", "reason"), [(403, "Forbidden"), (404, "Not Found"), (503, "Service Unavailable")])
def test_http_error_names_its_reason(release, cache, status, reason):
    release.status = status
    with pytest.raises(
        WeightsError, match=f"the weights of mn04 are not stored locally and cannot be downloaded: .*{reason}"
    ) as caught:
        weights.find("mn04")
    assert_remedy(str(caught.value), release, cache)
    assert files(cache) == []
    release.status = 200
    assert weights.find("mn04").read_bytes() == CONTENT


def test_message_without_network_names_the_folder_for_the_file(release, cache, monkeypatch):
    monkeypatch.setattr(weights, "RELEASE", "http://127.0.0.1:9/v0/")  # a closed port
    with pytest.raises(WeightsError, match="not stored locally and cannot be downloaded: .*refused") as caught:
        weights.find("mn04")
    assert "http://127.0.0.1:9/v0/small.pt" in str(caught.value)
    assert f'copy it to "{cache}", or to the folder in SOUNDMARK_WEIGHTS' in str(caught.value)


def assert_remedy(message: str, release: ReleaseServer, cache) -> None:
    assert f"Download http://127.0.0.1:{release.server_port}/v0/small.pt in another way and copy it to" in message
    assert f'copy it to "{cache}", or to the folder in SOUNDMARK_WEIGHTS' in message
