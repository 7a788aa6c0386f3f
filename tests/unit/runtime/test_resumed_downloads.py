"""Large downloads from a server that cuts, stalls, lies, ignores ranges and redirects."""

import urllib.error
import urllib.request

import pytest

from soundmark.errors import DatasetError, OutputError
from soundmark.runtime import downloads
from soundmark.runtime.downloads import Attempts, fetch
from support.hostile_downloads import hostile

CONTENT = bytes(range(256)) * 2000  # 512 kB
FAST = Attempts(tries=3, wait_s=0.001, timeout_s=0.5)


def fetched(server, folder, **changes):
    options = {"max_bytes": 1_000_000, "label": "the data", "remedy": "Try again.", "error": DatasetError}
    return fetch(server.address, folder / "data.part", attempts=FAST, **{**options, **changes})


@pytest.mark.parametrize("fault", ["cut", "stall", "too long"])
def test_download_continues_where_it_was_after_a_fault(fault, tmp_path):
    with hostile(CONTENT, fault, "") as server:
        assert fetched(server, tmp_path) == len(CONTENT)
    assert (tmp_path / "data.part").read_bytes() == CONTENT
    assert server.ranges[0] == ""
    assert server.ranges[1].startswith("bytes=")
    assert server.sent < 1.2 * len(CONTENT)


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_next_call_continues_what_an_earlier_one_received(fault, tmp_path):
    with hostile(CONTENT, fault, "503", "503", "503", "503") as server:
        with pytest.raises(DatasetError, match="the data cannot be downloaded: .*Try again"):
            fetched(server, tmp_path)
        size = (tmp_path / "data.part").stat().st_size
        assert size > len(CONTENT) // 3
        server.faults[:] = [""]
        fetched(server, tmp_path)
    assert server.ranges[-1] == f"bytes={size}-"
    assert (tmp_path / "data.part").read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["ignore ranges", "other range", "416"])
def test_server_that_does_not_continue_makes_the_download_start_again(fault, tmp_path):
    with hostile(CONTENT, "cut", fault, "") as server:
        fetched(server, tmp_path)
    assert (tmp_path / "data.part").read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["", "no tag"])
def test_changed_content_is_downloaded_from_its_beginning(fault, tmp_path):
    with hostile(CONTENT, "cut", "503", "503", "503") as server:
        with pytest.raises(DatasetError, match="cannot be downloaded"):
            fetched(server, tmp_path)
        server.content, server.tag, server.faults[:] = CONTENT[::-1], '"v2"', [fault]
        fetched(server, tmp_path)
    assert (tmp_path / "data.part").read_bytes() == CONTENT[::-1]


def test_content_without_a_validator_is_only_continued_if_the_caller_verifies_it(tmp_path):
    with hostile(CONTENT, "no tag") as server:
        fetched(server, tmp_path)
        (tmp_path / "data.part").write_bytes(CONTENT[:1000])
        fetched(server, tmp_path)
        assert server.ranges[-1] == ""
        (tmp_path / "data.part").write_bytes(CONTENT[:1000])
        fetched(server, tmp_path, is_verified=True)
        assert server.ranges[-1] == "bytes=1000-"
    assert (tmp_path / "data.part").read_bytes() == CONTENT


def test_complete_file_is_not_requested_again(tmp_path):
    with hostile(CONTENT, "") as server:
        fetched(server, tmp_path)
        fetched(server, tmp_path)
    assert len(server.ranges) == 1


def test_416_for_a_file_that_is_complete_ends_the_download(tmp_path):
    with hostile(CONTENT, "cut", "") as server:
        fetched(server, tmp_path)
        state = tmp_path / "data.part.json"
        state.write_text(state.read_text().replace(str(len(CONTENT)), "null"))  # killed before it was noted
        assert fetched(server, tmp_path) == len(CONTENT)
    assert server.ranges[-1] == f"bytes={len(CONTENT)}-"


@pytest.mark.parametrize("fault", ["cut early", "too short", "503", "429"])
def test_number_of_useless_attempts_is_bounded(fault, tmp_path):
    with hostile(CONTENT, fault) as server, pytest.raises(DatasetError, match="the data cannot be downloaded: "):
        fetched(server, tmp_path, size=len(CONTENT))
    assert len(server.ranges) == 3


def test_missing_file_is_not_tried_again(tmp_path):
    with hostile(CONTENT, "404") as server, pytest.raises(DatasetError, match="cannot be downloaded: Not Found"):
        fetched(server, tmp_path)
    assert len(server.ranges) == 1


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_endless_content_is_stopped_and_deleted(size, tmp_path):
    most = size or 600_000
    with hostile(CONTENT, "endless") as server, pytest.raises(DatasetError, match=f"more than {most} bytes"):
        fetched(server, tmp_path, size=size, max_bytes=600_000)
    assert (tmp_path / "data.part").read_bytes() == b""


def test_wrong_declared_size_is_refused_before_it_is_received(tmp_path):
    with (
        hostile(CONTENT, "") as server,
        pytest.raises(DatasetError, match=f"declares {len(CONTENT)} bytes instead of 77"),
    ):
        fetched(server, tmp_path, size=77)


def test_content_without_length_is_received(tmp_path):
    with hostile(CONTENT, "no length") as server:
        assert fetched(server, tmp_path) == len(CONTENT)


def test_redirects_are_followed_and_bounded(tmp_path):
    with hostile(CONTENT, "redirect", "redirect", "") as server:
        fetched(server, tmp_path)
    with hostile(CONTENT, "redirect") as server, pytest.raises(DatasetError, match="redirect"):
        fetched(server, tmp_path)
    assert len(server.ranges) <= 7


def test_redirect_from_https_to_http_is_refused(tmp_path):
    request = urllib.request.Request("https://example.org/data")
    with pytest.raises(urllib.error.HTTPError, match="redirects from https to http") as caught:
        downloads.Redirects().redirect_request(request, None, 302, "Found", {}, "http://example.org/data")
    caught.value.close()


def test_trickle_counts_as_a_stall(tmp_path):
    with hostile(CONTENT[:400], "") as server:
        server.block_bytes, server.pause_s = 1, 0.02
        with pytest.raises(DatasetError, match="bytes arrived in"):
            fetched(server, tmp_path)


def test_full_disk_is_one_message_and_what_was_received_is_kept(tmp_path, monkeypatch):
    opened, written = type(tmp_path).open, []

    def full(path, *arguments, **options):
        if path.name == "data.part" and arguments == ("ab",):
            written.append(path)
            if len(written) > 2:
                raise OSError(28, "No space left on device")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(type(tmp_path), "open", full)
    with hostile(CONTENT) as server, pytest.raises(OutputError, match="No space left on device. Free some disk space"):
        fetched(server, tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "data.part").stat().st_size == 2 * downloads.BLOCK_BYTES
    with hostile(CONTENT) as server:
        fetched(server, tmp_path)
    assert (tmp_path / "data.part").read_bytes() == CONTENT
