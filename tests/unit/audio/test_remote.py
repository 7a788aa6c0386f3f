"""Sound files at URLs: read by ranges, from honest and hostile servers; names from outside stay names."""

import io
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import soundfile

from soundmark.audio import remote
from soundmark.audio.remote import http_file, range_file, store
from soundmark.detection.analysis import analyze
from soundmark.errors import AudioError, SettingsError
from support.object_stores import STORES
from support.servers import QuietHandler, serving
from support.sounds import RATE_HZ, wave

pytestmark = pytest.mark.slow

SECONDS = 60.0


def encoded(seconds: float = SECONDS, form: str = "FLAC", seed: int = 0) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave(seconds, seed), RATE_HZ, format=form)
    return file.getvalue()


class Server:
    """Serves ``content``, with one ``fault`` from request number ``after`` on; ``served`` counts bytes."""

    def __init__(self, content: bytes) -> None:
        self.content, self.fault, self.after = content, "", 0
        self.requests, self.served, self.tag = [], 0, '"v1"'

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append(request.headers.get("Range"))
        fault = self.fault if len(self.requests) > self.after else ""
        if fault.startswith("redirect "):
            request.send_response(302)
            request.send_header("Location", fault.partition(" ")[2])
            request.end_headers()
            return
        if fault.isdigit():
            request.send_error(int(fault))
            return
        start, stop = (int(text) for text in request.headers["Range"].removeprefix("bytes=").split("-"))
        body = self.content[start : stop + 1]
        if fault == "ignores ranges":
            request.send_response(200)
            body = self.content
        else:
            request.send_response(206)
            total = len(self.content) + (fault == "other size")
            start += fault == "other range"
            request.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{total}")
        if fault == "gzip":
            request.send_header("Content-Encoding", "gzip")
        if self.tag:
            request.send_header("ETag", '"v2"' if fault == "other content" else self.tag)
        request.send_header("Content-Length", str(len(body) + (fault == "too short")))
        request.end_headers()
        if fault == "cut":
            body = body[: len(body) // 2]
        if fault == "stall":
            request.wfile.write(body[:10])
            time.sleep(1.5)
        self.served += len(body)
        request.wfile.write(body)


@pytest.fixture
def server():
    found = Server(encoded())

    class Handler(QuietHandler, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.answer(self)

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        found.url = f"{address}/day/20240612_043000.flac"
        yield found


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(range_file, "WAIT_S", 0.001)
    monkeypatch.setattr(http_file, "TIMEOUT_S", 1.0)
    monkeypatch.setattr(range_file, "BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr(http_file, "BLOCK_BYTES", 1 << 16)


@pytest.fixture
def results(random_model, server, tmp_path):
    """What a local copy of the served file gives, without its path."""
    path = tmp_path / "20240612_043000.flac"
    path.write_bytes(server.content)
    (found,) = analyze(path, random_model, quiet=True)
    return found.events, found.answer, found.started


def test_a_url_gives_the_results_of_the_file(random_model, server, results):
    found = analyze(server.url, random_model, quiet=True)
    assert [(one.events, one.answer, one.started) for one in found] == [results]
    assert found[0].file == server.url
    assert len(server.requests) > 5
    assert all(wanted.startswith("bytes=") for wanted in server.requests)


def test_blocks_are_fetched_once_and_few_stay_in_memory(server):
    with remote.opened(server.url) as file:
        assert file.read() == server.content
        assert len(file._blocks) == range_file.BLOCKS_IN_MEMORY
    assert server.served < 1.1 * len(server.content)


def test_only_what_is_read_is_fetched(server):
    with remote.opened(server.url) as file:
        file.seek(-10, io.SEEK_END)
        assert file.read() == server.content[-10:]
    assert server.served <= 2 * range_file.BLOCK_BYTES


def test_seeking_before_the_start_does_nothing(server):
    with remote.opened(server.url) as file:
        file.seek(5)
        assert file.seek(-50, io.SEEK_CUR) == 5


@pytest.mark.parametrize("fault", ["cut", "too short", "stall", "503"])
def test_a_fault_that_passes_is_tried_again(random_model, server, results, fault):
    server.fault, server.after = fault, 2
    before = server.answer

    def once(request) -> None:
        before(request)
        if len(server.requests) > 3:
            server.fault = ""

    server.answer = once
    assert [(one.events, one.answer, one.started) for one in analyze(server.url, random_model, quiet=True)] == [results]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("cut", "the connection (ended|was cut)"),
        ("503", "the server answers 503 Service Unavailable"),
        ("404", "does not exist"),
        ("403", "permission denied"),
        ("400", "the server answers 400 Bad Request"),
        ("other content", "it changed while it was read"),
        ("other size", "it changed while it was read"),
        ("other range", "it changed while it was read"),
        ("ignores ranges", "it changed while it was read"),
        ("gzip", "the server sends it compressed"),
        ("redirect file:///etc/passwd", "redirects from http to file|answers 302"),
        ("redirect ftp://127.0.0.1/a", "redirects from http to ftp"),
    ],
)
def test_a_fault_that_stays_is_a_failure_and_never_a_result(random_model, server, fault, message):
    server.fault, server.after = fault, 3
    found = analyze(server.url, random_model, quiet=True)
    assert len(found) == 0
    (failure,) = found.failures
    assert failure.file == server.url
    assert re.match(rf'"{server.url}" .*({message})', failure.reason)


@pytest.mark.parametrize("fault", ["404", "403", "500", "gzip", "redirect file:///etc/passwd"])
def test_a_file_that_cannot_be_opened_is_a_failure(random_model, server, fault):
    server.fault = fault
    found = analyze(server.url, random_model, quiet=True)
    assert (len(found), len(found.failures)) == (0, 1)


def test_an_endless_chain_of_redirects_ends(random_model, server):
    server.fault = f"redirect {server.url}"
    (failure,) = analyze(server.url, random_model, quiet=True).failures
    assert "redirect" in failure.reason
    assert len(server.requests) < 20


def test_a_redirect_is_followed(random_model, server, results):
    original = Server(b"")
    original.fault = f"redirect {server.url}"

    class Handler(QuietHandler, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            original.answer(self)

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        found = analyze(f"{address}/20240612_043000.flac", random_model, quiet=True)
    assert [(one.events, one.answer, one.started) for one in found] == [results]


def test_a_server_without_ranges_is_copied_to_a_temporary_file(random_model, server, results):
    server.fault = "ignores ranges"
    found = analyze(server.url, random_model, quiet=True)
    assert [(one.events, one.answer, one.started) for one in found] == [results]
    assert len(server.requests) == 1


def test_a_server_that_drips_is_given_up(server, monkeypatch):
    monkeypatch.setattr(http_file, "BLOCK_S", 0.2)
    server.fault, server.after = "stall", 1
    with pytest.raises(AudioError, match="only .* bytes arrived|timed out"), remote.opened(server.url) as file:
        file.read()


def test_isolated_decoding_of_a_url(random_model, server, results):
    found = analyze(server.url, random_model, isolate=True, quiet=True)
    assert [(one.events, one.answer, one.started) for one in found] == [results]


def test_results_of_urls_resume_while_the_content_is_the_same(random_model, server, tmp_path):
    analyze(server.url, random_model, tmp_path / "out", quiet=True)
    served = server.served
    analyze(server.url, random_model, tmp_path / "out", quiet=True)
    assert server.served - served <= 1  # one byte says that it is the same
    server.tag = '"v3"'
    analyze(server.url, random_model, tmp_path / "out", quiet=True)
    assert server.served - served > len(server.content) // 2


def test_a_url_on_an_executor(random_model, server, results):
    with ThreadPoolExecutor(2) as pool:
        found = analyze([server.url, server.url + "?again"], random_model, cluster=pool, quiet=True)
    assert [(one.events, one.answer) for one in found] == [results[:2]] * 2


@pytest.mark.parametrize("url", ["ftp://example.org/a.wav", "file:///etc/passwd", "gopher://x/a", "memory://a.wav"])
def test_other_schemes_are_refused(random_model, url):
    with pytest.raises(SettingsError, match="is not a supported URL: give s3://"):
        analyze(url, random_model, quiet=True)


@pytest.mark.parametrize("url", ["http://[::1/a.wav", "https://[x]y/a.wav"])
def test_an_address_that_cannot_be_parsed_is_refused(random_model, url):
    with pytest.raises(SettingsError, match="is not a valid URL"):
        analyze(url, random_model, quiet=True)


@pytest.mark.parametrize("name", ["a b.wav", "ä.wav", "100%.wav", "a%20b.wav"])
def test_characters_of_a_url_are_encoded(random_model, server, results, name):
    (found,) = analyze(f"{server.url.rpartition('/')[0]}/{name}", random_model, quiet=True)
    assert (found.events, found.answer) == results[:2]


def test_a_url_without_a_valid_port_is_a_clear_failure(random_model):
    found = analyze("http://127.0.0.1:x/a.wav", random_model, quiet=True)
    assert "is not a valid address" in found.failures[0].reason


def test_http_has_no_patterns(random_model):
    with pytest.raises(SettingsError, match="HTTP servers have no lists of files: name each file"):
        analyze("http://127.0.0.1:9/*.wav", random_model, quiet=True)


def test_a_chained_url_is_only_a_key():
    with pytest.raises(SettingsError, match="not a supported URL"):
        remote.check("simplecache::s3://bucket/a.wav")


# ── object stores ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module", params=STORES)
def bucket(request):
    """The URL of a bucket of sounds on a local server, some of them with hostile names; and the contents by key."""
    contents = {f"2024/{number}.flac": encoded(2.0, seed=number) for number in range(3)}
    contents["2024/deep/long.flac"] = encoded(SECONDS)
    contents["2024/notes.txt"] = b"no sound"
    contents["odd/a:b\\c*.wav" if request.param == "gs" else "odd/../../../etc/passwd.wav"] = encoded(1.0, "WAV")
    contents["odd/broken.wav"] = b"no sound"
    with STORES[request.param](contents):
        yield f"{request.param}://sensors", contents


def test_objects_below_a_prefix_are_those_of_a_folder(bucket, random_model, tmp_path):
    url, contents = bucket
    for key, content in contents.items():
        if key.startswith("2024/"):
            (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / key).write_bytes(content)
    here = analyze(tmp_path / "2024", random_model, tmp_path / "here", quiet=True)
    there = analyze(f"{url}/2024/", random_model, tmp_path / "there", quiet=True)
    assert [one.events for one in there] == [one.events for one in here]
    names = ("0.flac", "1.flac", "2.flac", "deep/long.flac")
    assert [one.file for one in there] == [f"{url}/2024/{name}" for name in names]
    written = [tmp_path / run / "files" for run in ("here", "there")]
    assert [{path.relative_to(run) for path in run.rglob("*.csv")} for run in written] == [
        {Path(f"{name}.csv") for name in names}
    ] * 2


def test_a_pattern_matches_keys(bucket, random_model):
    url, _ = bucket
    assert [one.file for one in analyze(f"{url}/2024/[01].flac", random_model, quiet=True)] == [
        f"{url}/2024/0.flac",
        f"{url}/2024/1.flac",
    ]


def test_a_single_object_and_a_missing_one(bucket, random_model):
    url, _ = bucket
    other = url.replace("sensors", "nobody")
    found = analyze([f"{url}/2024/0.flac", f"{url}/none.wav", f"{other}/a.wav"], random_model, quiet=True)
    assert [one.file for one in found] == [f"{url}/2024/0.flac"]
    assert found.failures[0].reason == f'"{url}/none.wav" does not exist.'
    assert f'"{other}/a.wav"' in found.failures[1].reason


def test_hostile_keys_stay_below_the_results_folder(bucket, random_model, tmp_path):
    url, _ = bucket
    found = analyze(f"{url}/odd/", random_model, tmp_path / "a" / "b" / "out", quiet=True)
    assert (len(found), len(found.failures)) == (1, 1)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert all(name.startswith("a/b/out/") for name in written)
    name = "a_b_c_.wav" if url.startswith("gs:") else "etc/passwd.wav"
    assert f"a/b/out/files/{name}.csv" in written


def test_a_key_with_the_characters_of_a_pattern_is_read(bucket):
    url, _ = bucket
    store.write(b"1", f"{url}/patterns/a[1].wav")
    assert list(remote.listed(f"{url}/patterns/a[1].wav")) == [(f"{url}/patterns/a[1].wav", "a[1].wav")]


def test_the_version_of_an_object_is_refused_and_not_ignored(bucket, random_model):
    url, _ = bucket
    found = analyze(f"{url}/2024/0.flac?versionId=3", random_model, quiet=True)
    expected = "versions of objects are not supported" if url.startswith("s3") else "does not exist"
    assert expected in found.failures[0].reason


def test_a_pattern_without_matches_is_refused(bucket, random_model):
    url, _ = bucket
    with pytest.raises(SettingsError, match=f'"{url}/2031/\\*.wav" matches no sound files'):
        analyze(f"{url}/2031/*.wav", random_model, quiet=True)


def test_a_long_object_is_read_by_ranges(bucket, monkeypatch):
    url, contents = bucket
    fetched = []
    files = store._files(url.partition("://")[0])
    real = files.cat_file
    monkeypatch.setattr(files, "cat_file", lambda *a, **k: fetched.append(k) or real(*a, **k))
    content = contents["2024/deep/long.flac"]
    with remote.opened(f"{url}/2024/deep/long.flac") as file:
        file.seek(len(content) // 2)
        assert file.read(10) == content[len(content) // 2 :][:10]
    assert [one["end"] - one["start"] for one in fetched] == [range_file.BLOCK_BYTES]


def written_elsewhere(content: bytes, url: str) -> None:
    """Write an object as another program does, so that lists in the memory of this one do not show it."""
    import fsspec

    fsspec.filesystem(url.partition("://")[0], skip_instance_cache=True).pipe_file(url, content)


def test_an_object_that_was_replaced_after_it_was_listed_is_read_whole(bucket):
    url, _ = bucket
    key = f"{url}/changed/a.wav"
    store.write(b"first", key)
    assert list(remote.listed(f"{url}/changed/")) == [(key, "a.wav")]
    assert remote.identity(key)[0] == "5"
    written_elsewhere(b"the second is longer", key)
    with remote.opened(key) as file:
        assert file.read() == b"the second is longer"


def test_an_object_that_changes_while_it_is_read_is_an_error(bucket):
    url, _ = bucket
    key = f"{url}/replaced/a.wav"
    n = range_file.BLOCK_BYTES
    store.write(b"1" * 2 * n, key)

    def read_while_it_changes(file):
        assert file.read(10) == b"1" * 10
        written_elsewhere(b"2" * 2 * n, key)
        file.seek(n)
        assert len(file.read(10)) == 10

    message = f'"{key}" cannot be read: it changed while it was read'
    with pytest.raises(AudioError, match=message), remote.opened(key) as file:
        read_while_it_changes(file)


def test_results_of_objects_resume(bucket, random_model, tmp_path):
    url, _ = bucket
    states = []
    for _ in range(2):
        from soundmark.detection import inputs
        from soundmark.detection.results_folder import analyze_to_folder
        from soundmark.detection.settings import DetectionSettings

        files = list(inputs.files([f"{url}/2024/*.flac"]))
        found = analyze_to_folder(random_model, files, DetectionSettings(), Path(tmp_path / "out"))
        states.append((found.analyzed, found.resumed))
    assert states == [(3, 0), (3, 3)]


@pytest.mark.parametrize(
    ("sent", "wait_s", "message"),
    [(1000, 0.0, "the connection ended after 1000 of "), (20, 0.05, "bytes arrived in ")],
)
def test_a_server_without_ranges_that_cuts_or_stretches_the_file_is_a_failure(
    random_model, server, monkeypatch, sent, wait_s, message
):
    monkeypatch.setattr(http_file, "BLOCK_S", 0.3)

    class Handler(QuietHandler, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(server.content)))
            self.end_headers()
            with suppress(OSError):
                for start in range(0, 1000, sent):
                    self.wfile.write(server.content[start : start + sent])
                    time.sleep(wait_s)

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        found = analyze(f"{address}/a.flac", random_model, quiet=True)
    assert not list(found)
    assert message in found.failures[0].reason
