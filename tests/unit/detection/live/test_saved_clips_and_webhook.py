"""The clip of each event within a bound on the disk, and events posted to a real server that is not always well."""

import http.server
import json
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from soundmark import audio
from soundmark.detection.live import saved_clips, webhook
from soundmark.errors import SettingsError
from soundmark.models.events import Event

RATE_HZ = 8000
BEGAN = datetime(2024, 6, 12, 4, 30, tzinfo=UTC)


def event(start_s: float, stop_s: float, label: str = "dog bark") -> Event:
    return Event(label=label, start_s=start_s, stop_s=stop_s, confidence=0.9, peak=0.9)


def clips_of(folder: Path, seconds: float = 60.0, most_bytes: int = 10**9) -> saved_clips.SavedClips:
    clips = saved_clips.SavedClips(folder, rate_hz=RATE_HZ, most_bytes=most_bytes)
    samples = (np.arange(round(seconds * RATE_HZ)) % 100 / 200).astype(np.float32)
    for start in range(0, len(samples), 400):
        clips.add(start, samples[start : start + 400])
    return clips


def test_a_clip_is_the_sound_of_its_event_with_a_margin(tmp_path):
    path = clips_of(tmp_path / "kept").save(event(10.0, 12.0), BEGAN)
    assert path.name == "20240612T043010.000Z_dog_bark.wav"
    sound = audio.read(path)
    assert (sound.rate_hz, sound.duration_s) == (RATE_HZ, 3.0)
    start = round(9.5 * RATE_HZ)
    np.testing.assert_allclose(sound.samples, np.arange(start, start + 3 * RATE_HZ) % 100 / 200, atol=1e-4)


def test_of_a_very_long_event_the_end_is_kept_and_of_a_forgotten_one_nothing(tmp_path):
    clips = clips_of(tmp_path / "kept", seconds=200.0)
    assert audio.info(clips.save(event(0.0, 200.0), BEGAN)).duration_s == pytest.approx(saved_clips.KEPT_S, abs=0.2)
    assert clips.save(event(1.0, 2.0), BEGAN) is None


def test_the_oldest_clips_go_first_and_nobody_elses_files(tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "mine.wav").write_bytes(bytes(100_000))
    clips = clips_of(folder, most_bytes=100_000)  # two clips of three seconds, 48 kB each
    for start_s in (5.0, 10.0, 15.0, 20.0):
        clips.save(event(start_s, start_s + 2), BEGAN)
    assert sorted(path.name[:15] for path in folder.iterdir()) == ["20240612T043015", "20240612T043020", "mine.wav"]


@pytest.mark.parametrize("label", ["../../etc/passwd", "a/b", "", "\u202ename", "x" * 300, "zażółć"])
def test_no_label_leaves_the_folder(tmp_path, label):
    path = clips_of(tmp_path / "kept").save(event(1.0, 2.0, label), BEGAN)
    assert path.parent == tmp_path / "kept"
    assert saved_clips.OURS.fullmatch(path.name)


def test_two_events_of_the_same_moment_and_label_are_two_clips(tmp_path):
    clips = clips_of(tmp_path / "kept")
    paths = [clips.save(event(1.0, stop_s), BEGAN) for stop_s in (2.0, 3.0, 4.0)]
    assert [path.name[19:] for path in paths] == ["Z_dog_bark.wav", "Z_dog_bark_2.wav", "Z_dog_bark_3.wav"]
    assert [audio.info(path).duration_s for path in paths] == [2.0, 3.0, 4.0]
    assert all(saved_clips.OURS.fullmatch(path.name) for path in paths)


def test_a_folder_called_like_a_clip_and_a_link_are_left_alone_and_no_end(tmp_path):
    folder = tmp_path / "kept"
    (folder / "20200101T000000.000Z_dog.wav").mkdir(parents=True)
    (tmp_path / "far.wav").write_bytes(bytes(10**6))
    (folder / "20200101T000001.000Z_dog.wav").symlink_to(tmp_path / "far.wav")
    clips = clips_of(folder, most_bytes=1)
    newest = [clips.save(event(start_s, start_s + 1), BEGAN) for start_s in (5.0, 10.0)][-1]
    assert {path.name[:15] for path in folder.iterdir()} == {"20200101T000000", "20200101T000001", newest.name[:15]}
    assert (tmp_path / "far.wav").stat().st_size == 10**6


def test_a_clip_that_another_listener_deleted_is_no_end(tmp_path, monkeypatch):
    clips = clips_of(tmp_path / "kept", most_bytes=1)
    gone = clips.save(event(1.0, 2.0), BEGAN)
    stat = Path.stat
    monkeypatch.setattr(
        Path, "is_file", lambda path: path.unlink() or True if path == gone else bool(stat(path, follow_symlinks=True))
    )
    assert clips.save(event(5.0, 6.0), BEGAN).name in {path.name for path in clips.folder.iterdir()}


def test_a_full_disk_is_said_and_no_end(tmp_path, monkeypatch):
    clips = clips_of(tmp_path / "kept")
    (tmp_path / "kept").rmdir()
    (tmp_path / "kept").write_text("a file")
    said = []
    saved_clips.save_or_report(clips, event(1.0, 2.0), BEGAN, said.append)
    assert said
    assert "cannot write" in said[0]


@pytest.mark.parametrize(("text", "size"), [("500", 500e6), ("1MB", 1e6), ("2 gb", 2e9)])
def test_a_bound_is_in_megabytes(text, size):
    assert saved_clips.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-5", "much", "5TB"])
def test_a_bound_that_is_none_is_refused(text):
    with pytest.raises(SettingsError, match="the bound is .*: give megabytes, as 500, or 2GB"):
        saved_clips.parse_size(text)


@pytest.fixture
def hook():
    """A real server that answers by its plan, and keeps what it was given."""

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = self.server.plan.pop(0) if self.server.plan else 200
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            if status == 200:
                self.server.got.append((self.path, self.headers["Content-Type"], body))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.got, server.plan = [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}/events"
    yield server
    server.shutdown()
    server.server_close()


def test_an_event_is_posted_though_the_server_fails_twice(hook):
    hook.plan, waited = [500, 503], []
    post = webhook.Webhook(hook.url, note=pytest.fail, sleep=waited.append)
    post.post('{"label": "dog"}')
    post.post('{"label": "siren"}')
    post.close()
    assert [body["label"] for _, _, body in hook.got] == ["dog", "siren"]
    assert hook.got[0][1] == "application/json"
    assert waited == [0.0, 1.0, 4.0, 0.0]
    assert (post.posted, post.failed) == (2, 0)


def test_what_cannot_be_posted_is_said_and_the_next_is_tried(hook):
    hook.plan, said = [500] * len(webhook.TRIES_AFTER_S), []
    post = webhook.Webhook(hook.url, note=said.append, sleep=lambda s: None)
    post.post('{"label": "dog"}')
    post.post('{"label": "siren"}')
    post.close()
    assert [body["label"] for _, _, body in hook.got] == ["siren"]
    assert said == [f'"{hook.url}" did not take 1 event so far: it answered 500']


def test_nobody_is_sent_elsewhere(hook):
    hook.plan, said = [302] * len(webhook.TRIES_AFTER_S), []
    post = webhook.Webhook(hook.url, note=said.append, sleep=lambda s: None)
    post.post("{}")
    post.close()
    assert hook.got == []
    assert "it answered 302" in said[0]


def test_a_server_that_is_not_there_holds_nobody_up():
    said: list[str] = []
    post = webhook.Webhook("http://127.0.0.1:9/", note=said.append, sleep=lambda s: None)
    post.post("{}")
    post.close()
    assert "Connection refused" in said[0]


def test_a_server_that_speaks_no_http_is_said_and_the_thread_lives(hook):
    """What is no HTTP raises what is no OSError."""
    listener = socket.create_server(("127.0.0.1", 0))

    def babble():
        for _ in webhook.TRIES_AFTER_S:
            with listener.accept()[0] as connection:
                connection.recv(1 << 16)
                connection.sendall(b"220 smtp here\r\n\r\n")

    threading.Thread(target=babble, daemon=True).start()
    said: list[str] = []
    post = webhook.Webhook(f"http://127.0.0.1:{listener.getsockname()[1]}/", note=said.append, sleep=lambda s: None)
    post.post("{}")
    post.post("{}")
    time.sleep(0.5)
    listener.close()
    post.close()
    assert len(said) == post.failed == 2
    assert "220 smtp here" in said[0]


def test_what_is_still_to_be_posted_at_the_end_is_said(hook):
    hook.plan, said = [500] * 100, []
    post = webhook.Webhook(hook.url, note=said.append, sleep=lambda s: time.sleep(5 * bool(s)))
    for _ in range(3):
        post.post("{}")
    began = time.monotonic()
    post.close(0.5)
    assert time.monotonic() - began < 1.0
    assert said == [f'"{hook.url}" was not sent the last 3 events: there was no time left to try again']


@pytest.mark.parametrize("url", ["ftp://a", "file:///etc/passwd", "http://", "example.org"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(SettingsError, match="cannot be posted to: give http"):
        webhook.Webhook(url, note=print)
