"""Pretrained weights are looked for, fetched once and verified; a server of our own plays the release's page."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from soundmark.errors import WeightsError
from soundmark.models import weights
from soundmark.runtime import downloads

CONTENT = bytes(range(256)) * 1000  # 256 kB: several blocks
LEAST = 300_000


class Page(HTTPServer):
    """Answers with ``answer``; counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.answer = CONTENT
        self.announced: int | None = len(CONTENT)
        self.status = 200
        self.garbage = self.chunked = False

    def handle_error(self, *_: object) -> None:
        """A client that hangs up in the middle is meant."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Page

    def do_GET(self) -> None:
        page = self.server
        page.asked.append(self.path)
        self.close_connection = True
        if page.garbage:
            self.wfile.write(b"what you seek is not here\r\n\r\n")
            return
        self.send_response(page.status)
        if page.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"ffff\r\n" + page.answer[:1000])  # and hangs up in the middle of the chunk
            return
        if page.announced is not None:
            self.send_header("Content-Length", str(page.announced))
        self.end_headers()
        self.wfile.write(page.answer)

    def log_message(self, *_: object) -> None:
        """Not on the terminal."""


@pytest.fixture
def page(monkeypatch):
    server = Page()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setattr(weights, "RELEASE", f"http://127.0.0.1:{server.server_port}/v0/")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, no folder named, and a release of one small file."""
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SOUNDMARK_WEIGHTS", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    released = weights.Weights("small.pt", hashlib.sha256(CONTENT).hexdigest(), LEAST)
    monkeypatch.setattr(weights, "WEIGHTS", {"mn04": released})
    return tmp_path / "cache" / "weights"


def files(folder) -> list[str]:
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


def test_the_folder_that_was_named_comes_first(page, cache, tmp_path, monkeypatch):
    for folder in (tmp_path / "mine", cache):
        folder.mkdir(parents=True)
        (folder / "small.pt").write_bytes(CONTENT)
    monkeypatch.setenv("SOUNDMARK_WEIGHTS", str(tmp_path / "mine"))
    assert weights.find("mn04") == tmp_path / "mine" / "small.pt"
    assert page.asked == []


@pytest.mark.parametrize("named", [None, "elsewhere", ""])
def test_then_the_cache(page, cache, tmp_path, monkeypatch, named):
    cache.mkdir(parents=True)
    (cache / "small.pt").write_bytes(CONTENT)
    if named is not None:
        monkeypatch.setenv("SOUNDMARK_WEIGHTS", named and str(tmp_path / named))
    assert weights.find("mn04") == cache / "small.pt"
    assert page.asked == []


def test_else_they_are_fetched_once(page, cache):
    told = []
    found = weights.find("mn04", lambda *one: told.append(one))
    assert found == cache / "small.pt"
    assert found.read_bytes() == CONTENT
    assert weights.find("mn04") == found
    assert page.asked == ["/v0/small.pt"]
    assert files(cache) == ["small.pt"]
    done = [one[1] for one in told]
    assert {(one[0], one[2], one[3]) for one in told} == {("fetching mn04", 256, "kB")}
    assert done == sorted(done)
    assert done[0] == 65
    assert done[-1] == 256


def test_a_server_that_does_not_say_how_long_it_is(page, cache):
    page.announced = None
    told = []
    assert weights.find("mn04", lambda *one: told.append(one)).read_bytes() == CONTENT
    assert told[-1] == ("fetching mn04", 256, 300, "kB")


@pytest.mark.parametrize("where", ["named", "cache"])
def test_another_file_of_that_name_is_not_used(page, cache, tmp_path, monkeypatch, where):
    folder = cache if where == "cache" else tmp_path / "mine"
    folder.mkdir(parents=True)
    (folder / "small.pt").write_bytes(CONTENT[:-1] + b"x")
    if where == "named":
        monkeypatch.setenv("SOUNDMARK_WEIGHTS", str(folder))
    with pytest.raises(WeightsError, match=r'small.pt" is not the small.pt that was released.* delete it') as caught:
        weights.find("mn04")
    assert str(folder / "small.pt") in str(caught.value)
    assert weights.WEIGHTS["mn04"].sha256 in str(caught.value)
    assert page.asked == []
    (folder / "small.pt").unlink()
    assert weights.find("mn04").parent == cache


@pytest.mark.parametrize(
    "answer", [CONTENT[:-1], CONTENT + b"x", b"", b"<html>sign in</html>", CONTENT * 4], ids=lambda a: str(len(a))
)
def test_an_answer_that_is_not_the_file_is_not_kept(page, cache, answer):
    page.answer, page.announced = answer, len(answer)
    with pytest.raises(WeightsError, match="what was fetched for mn04 is not the small.pt that was released"):
        weights.find("mn04")
    assert files(cache) == []


def test_no_more_is_fetched_than_the_file_can_have(page, cache):
    page.answer = CONTENT * 100
    page.announced = len(page.answer)
    told = []
    with pytest.raises(WeightsError, match="is not the small.pt that was released"):
        weights.find("mn04", lambda *one: told.append(one))
    assert told[-1][1] * 1000 < LEAST + downloads.BLOCK_BYTES
    assert files(cache) == []


@pytest.mark.parametrize("trouble", ["cut", "chunk", "garbage", "length"])
def test_a_connection_that_breaks_is_said_in_a_sentence(page, cache, trouble):
    if trouble == "cut":
        page.answer = CONTENT[:1000]
    page.chunked, page.garbage = trouble == "chunk", trouble == "garbage"
    page.announced = "many" if trouble == "length" else page.announced
    with pytest.raises(WeightsError, match="mn04") as caught:
        weights.find("mn04")
    says_where_to_put_it(str(caught.value), page, cache)
    assert files(cache) == []


@pytest.mark.parametrize(("status", "says"), [(403, "Forbidden"), (404, "Not Found"), (503, "Service Unavailable")])
def test_a_server_that_refuses(page, cache, status, says):
    page.status = status
    with pytest.raises(
        WeightsError, match=f"the weights of mn04 are not here and cannot be fetched: .*{says}"
    ) as caught:
        weights.find("mn04")
    says_where_to_put_it(str(caught.value), page, cache)
    assert files(cache) == []
    page.status = 200
    assert weights.find("mn04").read_bytes() == CONTENT


def test_without_a_network_it_is_said_where_to_put_the_file(page, cache, monkeypatch):
    monkeypatch.setattr(weights, "RELEASE", "http://127.0.0.1:9/v0/")  # where nobody listens
    with pytest.raises(WeightsError, match="not here and cannot be fetched: .*refused") as caught:
        weights.find("mn04")
    assert "http://127.0.0.1:9/v0/small.pt" in str(caught.value)
    assert f'put it into "{cache}" or into a folder that SOUNDMARK_WEIGHTS names' in str(caught.value)


def says_where_to_put_it(message: str, page: Page, cache) -> None:
    assert f"Fetch http://127.0.0.1:{page.server_port}/v0/small.pt elsewhere and put it into" in message
    assert f'"{cache}" or into a folder that SOUNDMARK_WEIGHTS names' in message
