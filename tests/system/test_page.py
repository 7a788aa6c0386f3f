"""The web page in a real Chromium: a real siren, the microphone, an hour, a server that is killed, accessibility."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, Page, expect, sync_playwright

import soundmark as sm
from soundmark import audio
from soundmark.models.pretrained import named_models
from support.browser import find_chromium
from support.commands import run_soundmark
from support.pages import check_accessibility, free_port, opened, server_process
from support.serving import Running, running
from support.sounds import RATE_HZ, pcm, tones, wave
from unit.detection import test_unknown

pytestmark = pytest.mark.slow

MINUTE_MS = 60_000
MICROPHONE = [("low", 2.0, 4.0), ("high", 6.0, 8.0)]
DROP = """([files]) => {
  const transfer = new DataTransfer();
  for (const [name, content] of files) {
    transfer.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name));
  }
  const dropped = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.getElementById("drop").dispatchEvent(dropped);
}"""
PIXELS = """() => {
  const canvas = document.querySelector("#timeline canvas"), context = canvas.getContext("2d");
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return [canvas.width, canvas.height, btoa(Array.from(data, (c) => String.fromCharCode(c)).join(""))];
}"""


@pytest.fixture(scope="module")
def microphone(tmp_path_factory) -> Path:
    """The WAV file that is Chromium's microphone."""
    path = tmp_path_factory.mktemp("microphone") / "microphone.wav"
    audio.write(path, tones(14.0, MICROPHONE, 48_000), 48_000)
    return path


@pytest.fixture(scope="module")
def browser(microphone) -> Iterator[Browser]:
    flags = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}%noloop",
        "--mute-audio",
    ]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=find_chromium(), args=flags)
        yield opened
        opened.close()


def drop(page: Page, *files: tuple[str, bytes]) -> None:
    page.evaluate(DROP, [[[name, base64.b64encode(content).decode()] for name, content in files]])


def wait_until_done(page: Page) -> None:
    expect(page.locator("#result-state")).to_contain_text(" event")


def pixels(page: Page) -> np.ndarray:
    width, height, data = page.evaluate(PIXELS)
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[..., :3].astype(int)


@pytest.fixture(scope="module")
def tone_server(tone_detector) -> Iterator[Running]:
    with running(tone_detector) as server:
        yield server


@pytest.fixture(scope="module")
def audioset_server(mn04_weights) -> Iterator[Running]:
    with running(named_models.load("audioset")) as server:
        yield server


@pytest.fixture(scope="module")
def siren(shared, tmp_path_factory) -> Path:
    """A real siren of UrbanSound8K."""
    (source,) = (shared / "urbansound8k" / "flac").glob("fold*/157867-8-0-0.*")
    sound = audio.read(source)
    path = tmp_path_factory.mktemp("siren") / "siren.wav"
    audio.write(path, sound.samples, sound.rate_hz)
    return path


def test_a_real_siren_is_dropped(browser, audioset_server, siren, tmp_path):
    with opened(browser, audioset_server.url, viewport={"width": 1280, "height": 800}) as page:
        drop(page, ("siren.wav", siren.read_bytes()))
        wait_until_done(page)
        names = page.locator("#classes .name").all_inner_texts()
        assert any("iren" in name for name in names[:3]), names
        expected = sm.load("audioset").classify(siren, top_k=1)[0]
        assert names[0] == expected["label"]
        assert page.locator("#classes .value").first.inner_text() == f"{100 * expected['score']:.0f} %"

        # The spectrogram: the loudest pitch in the picture is that of the model's spectrogram.
        picture = pixels(page)[:260, 56:]
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100
        model = sm.load("audioset")
        sound = audio.read(siren)
        levels = model.card.representation.render(sound.samples, sound.rate_hz).pixels
        shown = picture.sum(axis=2)
        share = 0.5
        column = shown[:, int(share * shown.shape[1])].argmax() / len(shown)
        truth = levels[:, int(share * levels.shape[1])].argmax() / len(levels)
        assert column == pytest.approx(truth, abs=0.03)

        boxes = page.locator(".lane button")
        assert boxes.count() == page.locator("#events tbody tr").count() > 0

        # A click on a box plays it, and the cursor moves.
        boxes.first.click()
        expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")
        expect(page.locator("#clock")).not_to_have_text("0:00.0")
        before = pixels(page)
        first = page.locator("#clock").inner_text()
        expect(page.locator("#clock")).not_to_have_text(first)
        page.wait_for_timeout(150)
        assert (pixels(page) != before).any()

        with page.expect_download() as download:
            page.get_by_role("button", name="CSV").click()
        assert download.value.suggested_filename == "siren.csv"
        found = Path(download.value.path()).read_text()
        printed = run_soundmark("classify", siren.name, "--format", "csv", cwd=siren.parent).stdout
        assert found == printed
        assert next(csv.reader(io.StringIO(found)))[:4] == ["Start (s)", "End (s)", "Label", "Confidence"]
        for button, start in (("Audacity", b"0.0"), ("Raven", b"Selection"), ("JSON", b"["), ("PNG", b"\x89PNG")):
            with page.expect_download() as download:
                page.get_by_role("button", name=button).click()
            assert Path(download.value.path()).read_bytes().startswith(start)


def test_a_sound_unlike_the_training_data_is_shown_as_unknown(browser):
    with running(test_unknown.model(unknown=0.98)) as server, opened(browser, server.url) as page:
        drop(page, ("noise.wav", encoded(test_unknown.NOISE, test_unknown.RATE_HZ)))
        wait_until_done(page)
        first = page.locator("#classes li").first
        expect(first.locator(".name")).to_have_text("unknown")
        expect(first).to_contain_text("unlike everything that the model was trained on")
        expect(page.locator("#events tbody")).to_contain_text("unknown")


def test_why(browser, tone_server):
    with opened(browser, tone_server.url) as page:
        drop(page, ("a.wav", encoded(wave(1.0, 1))))
        wait_until_done(page)
        before = pixels(page)
        page.locator("#why").click()
        expect(page.locator("#why")).to_have_attribute("aria-pressed", "true")
        expect(page.locator("#why-text")).to_contain_text("region")
        page.wait_for_timeout(100)
        assert (pixels(page) != before).any()


def test_a_text_file_is_refused_with_a_clear_message(browser, tone_server):
    with opened(browser, tone_server.url, may_fail=True) as page:
        drop(page, ("notes.wav", b"Tuesday: rain, hardly any birds.\n"), ("good.wav", encoded(tones(3.0, []))))
        expect(page.locator("#result-error")).to_have_text(
            "\"notes.wav\" cannot be decoded: it begins with the text 'Tuesday: rain, hardly an'. "
            "Supported formats: WAV, FLAC, Ogg Vorbis, Ogg Opus, MP3 and AIFF."
        )
        expect(page.locator("#result-body")).to_be_hidden()
        check_accessibility(page)  # the name of the file that failed can be read
        page.get_by_role("button", name="good.wav: done").click()
        wait_until_done(page)
        expect(page.locator("#result-error")).to_be_hidden()


def test_the_microphone_gives_the_events_of_listen(browser, tone_server, tone_detector, microphone):
    hop_s = 0.5
    samples = audio.read(microphone).samples
    listened = sm.listen(tone_detector, io.BytesIO(pcm(samples)), rate_hz=48_000, hop_s=hop_s)
    expected = [(event.label, event.start_s) for event in listened if event.label != "background"]
    assert [label for label, _ in expected] == ["low", "high"]
    with opened(browser, tone_server.url) as page:
        page.get_by_role("tab", name="Live").click()
        page.locator("#hop").select_option("0.5")
        page.locator("#show-rejected").check()
        page.locator("#listen").click()
        expect(page.locator("#live-state")).to_have_text("Listening.")
        high = page.locator("#live-events li[data-label=high]")
        expect(high).to_be_visible(timeout=30_000)
        expect(page.locator("#now li")).not_to_have_count(0)
        page.locator("#listen").click()
        expect(page.locator("#live-state")).to_have_text("The microphone is off.")
        rows = page.locator("#live-events li").evaluate_all(
            "rows => rows.map((row) => [row.dataset.label, row.dataset.start])"
        )
        found = sorted((float(start), label) for label, start in rows if label != "background")
        assert [label for _, label in found] == [label for label, _ in expected]
        for (start_s, _), (_, expected_s) in zip(found, expected, strict=True):
            assert start_s == pytest.approx(expected_s, abs=hop_s)


TRACKS = """() => {
  window.tracks = [];
  const plain = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await plain(wanted);
    window.tracks.push(...stream.getTracks());
    return stream;
  };
}"""


@pytest.mark.parametrize(("tab", "button"), [("Live", "#listen"), ("Classify", "#record")])
def test_a_double_click_leaves_no_microphone_open(browser, tone_server, tab, button):
    with opened(browser, tone_server.url) as page:
        page.evaluate(TRACKS)
        page.get_by_role("tab", name=tab).click()
        page.evaluate(
            "button => { document.querySelector(button).click(); document.querySelector(button).click(); }", button
        )
        expect(page.locator(button)).to_have_text("Stop" if tab == "Live" else "Stop recording")
        expect(page.locator(button)).to_be_enabled()
        page.wait_for_timeout(500)
        page.locator(button).click()
        expect(page.locator(button)).to_have_text("Start listening" if tab == "Live" else "Record")
        page.wait_for_timeout(300)
        assert page.evaluate("window.tracks.map((track) => track.readyState)") == ["ended"]


@pytest.mark.long
def test_listening_begins_anew_while_the_server_finishes_the_last_sound(browser, tone_detector, monkeypatch):
    plain = type(tone_detector).score

    def score(*arguments, **options):
        time.sleep(0.7)
        return plain(*arguments, **options)

    monkeypatch.setattr(type(tone_detector), "score", score)
    with running(tone_detector) as server, opened(browser, server.url) as page:
        sockets: list[str] = []
        page.on("websocket", lambda socket: sockets.append(socket.url))
        page.get_by_role("tab", name="Live").click()
        for _ in range(2):
            page.locator("#listen").click()
            expect(page.locator("#live-state")).to_have_text("Listening.")
            page.wait_for_timeout(1500)
            page.locator("#listen").click()
            expect(page.locator("#listen")).to_have_text("Start listening")
        expect(page.locator("#live-state")).to_have_text("The microphone is off.")
        assert len(sockets) == 2


def test_a_lost_connection_and_an_overloaded_server_are_both_stated(browser, tone_server):
    """After an interruption the server gets much sound at once, and may drop some."""
    connections = []

    def answer(connection) -> None:
        connections.append(connection)
        if len(connections) == 1:
            connection.close()
        else:
            state = {"kind": "state", "level_db": -40.0, "dropped_s": 1.5}
            connection.on_message(lambda _: connection.send(json.dumps(state)))

    with opened(browser, tone_server.url) as page:
        page.route_web_socket("**/v1/listen*", answer)
        page.get_by_role("tab", name="Live").click()
        page.locator("#listen").click()
        expect(page.locator("#live-warning")).to_contain_text("1.5 s of sound were dropped")
        expect(page.locator("#live-warning")).to_contain_text("is back")


def test_times_are_rounded_as_a_whole(browser, tone_server):
    with opened(browser, tone_server.url) as page:
        texts = page.evaluate(
            """async () => {
              const { clock } = await import("/page/dom.js");
              return [clock(59.96, 1), clock(59.96), clock(3599.99, 1), clock(3725.25, 2), clock(0.29, 2), clock(61)];
            }"""
        )
    assert texts == ["1:00.0", "0:59", "1:00:00.0", "1:02:05.25", "0:00.29", "1:01"]


@pytest.mark.long
def test_a_recording_is_classified(browser, tone_server):
    with opened(browser, tone_server.url) as page:
        page.locator("#record").click()
        expect(page.locator("#record")).to_have_text("Stop recording")
        page.wait_for_timeout(3500)
        page.locator("#record").click()
        wait_until_done(page)
        expect(page.locator("#result-name")).to_contain_text("recording-")
        assert "low" in page.locator("#events tbody").inner_text()


@pytest.mark.long
def test_the_page_continues_after_the_server_was_killed(browser, tone_detector, tmp_path):
    """During an upload: the file is analysed again. During a live session: it is resumed, and the gap is stated."""
    model, port = tmp_path / "model.onnx", free_port()
    tone_detector.save(model)
    long = encoded(np.zeros(3600 * 1000, np.float32), 1000, "FLAC")
    with server_process(port, "-m", model) as first, opened(browser, f"http://127.0.0.1:{port}", may_fail=True) as page:
        drop(page, ("long.flac", long))
        expect(page.locator("#result-state")).to_contain_text("analysing")
        os.kill(first.pid, signal.SIGKILL)
        expect(page.locator("#result-state")).to_contain_text("The connection to the server was lost")
        with server_process(port, "-m", model) as second:
            page.get_by_role("tab", name="Live").click()
            page.locator("#listen").click()
            expect(page.locator("#live-state")).to_have_text("Listening.")
            os.kill(second.pid, signal.SIGKILL)
            expect(page.locator("#live-state")).to_contain_text("connecting again")
            with server_process(port, "-m", model):
                expect(page.locator("#live-warning")).to_contain_text("is back")
                expect(page.locator("#live-state")).to_have_text("Listening.")
                page.locator("#listen").click()
                page.get_by_role("tab", name="Classify").click()
                wait_until_done(page)
                expect(page.locator("#result-note")).to_contain_text("this file was analysed again")


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_every_tab_is_accessible_and_fits(browser, tone_server, scheme, size):
    viewport = {"width": size[0], "height": size[1]}
    with opened(browser, tone_server.url, viewport=viewport, color_scheme=scheme) as page:
        check_accessibility(page)
        drop(
            page,
            ("a.wav", encoded(tones(6.0, [("low", 1.0, 3.0)]))),
            ("b with a long name.wav", encoded(tones(2.0, []))),
        )
        wait_until_done(page)
        check_accessibility(page)
        for tab in ("Live", "Model"):
            page.get_by_role("tab", name=tab).click()
            check_accessibility(page)


def test_everything_is_reached_by_keyboard(browser, tone_server):
    with opened(browser, tone_server.url) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("tab", name="Live")).to_have_attribute("aria-selected", "true")
        page.keyboard.press("ArrowLeft")
        page.evaluate("location.hash = '#live'")
        expect(page.get_by_role("tab", name="Live")).to_have_attribute("aria-selected", "true")
        page.get_by_role("tab", name="Model").click()
        page.go_back()
        expect(page.locator("#panel-live")).to_be_visible()
        page.evaluate("location.hash = '#nothing'")
        expect(page.locator("#panel-live")).to_be_visible()
        page.go_back()
        page.go_back()
        expect(page.locator("#panel-classify")).to_be_visible()
        drop(page, ("a.wav", encoded(tones(20.0, [("low", 1.0, 3.0), ("high", 12.0, 15.0)]))))
        wait_until_done(page)
        page.locator("#timeline .view").focus()
        whole = page.locator(".lane button").count()
        for _ in range(4):
            page.keyboard.press("+")
        page.keyboard.press("Home")
        expect(page.locator(".lane button[aria-label^=high]")).to_have_count(0)
        page.keyboard.press("0")
        expect(page.locator(".lane button")).to_have_count(whole)
        page.keyboard.press("Space")
        expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")
        page.keyboard.press("Space")
        expect(page.locator("#play")).to_have_attribute("aria-label", "Play")


def test_the_page_asks_for_the_token(browser, tone_detector):
    token = "x" * 20
    with running(tone_detector, token=token) as server:
        context = browser.new_context()
        page = context.new_page()
        page.goto(server.url)
        page.keyboard.press("Escape")
        page.get_by_role("textbox", name="Token").fill("wrong")
        page.get_by_role("button", name="Continue").click()
        expect(page.locator("#token-error")).to_have_text("This is not the token of this server.")
        page.get_by_role("textbox", name="Token").fill(token)
        page.get_by_role("button", name="Continue").click()
        expect(page.locator("html")).to_have_attribute("data-ready", "true")
        drop(page, ("a.wav", encoded(tones(2.0, []))))
        wait_until_done(page)
        context.close()


def test_the_model_tab_shows_the_card(browser, audioset_server):
    with opened(browser, f"{audioset_server.url}") as page:
        page.get_by_role("tab", name="Model").click()
        expect(page.locator("#summary")).to_contain_text("CC BY 4.0 (data), MIT licence (pretrained weights)")
        expect(page.locator("#all-classes li:visible")).to_have_count(527)
        page.locator("#find-class").fill("siren")
        assert page.locator("#all-classes li:visible").count() == 5


@pytest.mark.long
def test_overload_is_shown(browser, tone_detector, monkeypatch):
    plain = type(tone_detector).score

    def score(*arguments, **options):
        time.sleep(3.0)
        return plain(*arguments, **options)

    monkeypatch.setattr(type(tone_detector), "score", score)
    with running(tone_detector) as server, opened(browser, server.url) as page:
        page.get_by_role("tab", name="Live").click()
        page.locator("#listen").click()
        expect(page.locator("#live-warning")).to_contain_text("cannot keep up")
        page.locator("#listen").click()
        expect(page.locator("#live-state")).to_have_text("The microphone is off.")


@pytest.mark.long(300)
def test_an_hour_of_flac_is_shown_while_it_is_analysed(browser, audioset_server, siren, tmp_path):
    """The siren at 30:00 of an hour of quiet noise is found there."""
    sound = audio.read(siren)
    hour = np.random.default_rng(0).normal(0, 1e-3, 3600 * sound.rate_hz).astype(np.float32)
    at = 1800 * sound.rate_hz
    hour[at : at + len(sound.samples)] += sound.samples
    path = tmp_path / "hour.flac"
    soundfile.write(path, hour, sound.rate_hz)
    with opened(browser, audioset_server.url) as page:
        page.set_input_files("#files", path)
        expect(page.locator("#result-state")).to_contain_text("of 1:00:00", timeout=2 * MINUTE_MS)
        assert 0 < float(page.locator("#progress").get_attribute("value")) < 1
        assert page.locator("#classes li").count() > 0
        expect(page.locator("#result-state")).to_contain_text(" event", timeout=5 * MINUTE_MS)
        rows = page.locator("#events tbody tr", has_text="iren").all_inner_texts()
        assert any(1790 <= float(row.split()[1]) <= 1804 for row in rows), rows


def encoded(samples: np.ndarray, rate_hz: int = RATE_HZ, container: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container)
    return file.getvalue()
