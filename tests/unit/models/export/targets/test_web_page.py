"""The exported page in a real Chromium, from a plain file server: it computes soundmark's probabilities."""

import base64
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from soundmark import audio
from soundmark.errors import SettingsError, WeightsError
from soundmark.models.classifier import Model
from soundmark.models.export.targets import export_for, page_target, web_page
from soundmark.models.pretrained import named_models
from soundmark.runtime import downloads
from soundmark.spectrograms import LogMel, Mel
from support.browser import find_chromium
from support.commands import run_soundmark
from support.exports import MEL_ENLARGED, small_model
from support.sounds import tones

pytestmark = pytest.mark.slow

MINUTE_MS = 60_000
DROP = """(files) => {
  const transfer = new DataTransfer();
  for (const [name, content] of files) {
    transfer.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name));
  }
  const dropped = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.getElementById("drop").dispatchEvent(dropped);
}"""


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder behind Python's own file server."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    path = tmp_path_factory.mktemp("microphone") / "microphone.wav"
    audio.write(path, tones(30.0, [("low", 0.0, 30.0)], 48_000), 48_000)
    flags = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={path}",
    ]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=find_chromium(), args=flags)
        yield opened
        opened.close()


@contextmanager
def opened(browser: Browser, url: str, **options) -> Iterator[Page]:
    """Open the page; check that it has no errors, and requests nothing from elsewhere."""
    context = browser.new_context(permissions=["microphone"], **options)
    page, errors, requests = context.new_page(), [], []
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url)
    try:
        expect(page.locator("html")).to_have_attribute("data-ready", "true", timeout=MINUTE_MS)
        yield page
        assert errors == []
        assert [each for each in requests if not each.startswith(url)] == []
    finally:
        context.close()


def site(model: Model, node: Path, folder: Path) -> Path:
    export_for(model, page_target(node / "node_modules" / "onnxruntime-web"), folder)
    return folder


def classified(page: Page, path: Path) -> dict[str, float]:
    page.locator("#files").set_input_files(path)
    expect(page.locator("#state")).to_have_text(f"{path.name}: done.", timeout=MINUTE_MS)
    scores = json.loads(page.locator("#classes").get_attribute("data-scores"))
    return {each["label"]: each["score"] for each in scores}


def expected(model: Model, path: Path) -> dict[str, float]:
    return {each["label"]: each["score"] for each in model.classify(path)}


SOUNDS = {
    "short.wav": (22_050, 1.0, "PCM_16", 1),
    "window.wav": (22_050, 4.0, "FLOAT", 1),
    "long.wav": (48_000, 9.3, "PCM_24", 2),
    "odd.wav": (44_100, 4.4001, "PCM_32", 1),
    "telephone.wav": (8_000, 2.0, "PCM_U8", 1),
    "other.flac": (32_000, 5.0, "PCM_16", 2),
}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for name, (rate_hz, seconds, subtype, channels) in SOUNDS.items():
        n = round(rate_hz * seconds)
        tone = 0.3 * np.sin(2 * np.pi * 700 * np.arange(n) / rate_hz)[:, None]
        soundfile.write(folder / name, rng.normal(0, 0.05, (n, channels)) + tone, rate_hz, subtype)
    return [folder / name for name in SOUNDS]


@pytest.mark.parametrize("name", ["mel", "logmel", "multi-label", "unknown"])
def test_files_get_the_probabilities_of_soundmark(name, browser, node, sounds, tmp_path):
    model = {
        "mel": lambda: small_model(Mel(), unknown=None),
        "logmel": lambda: small_model(LogMel(), window_s=2.5, unknown=0.0),
        "multi-label": lambda: small_model(Mel(), "sigmoid", unknown=None),
        "unknown": lambda: small_model(Mel(), unknown=1.0),
    }[name]()
    with served(site(model, node, tmp_path / "site")) as url, opened(browser, url) as page:
        for path in sounds:
            found = classified(page, path)
            assert next(iter(found)) == next(iter(expected(model, path)))
            assert found == pytest.approx(expected(model, path), abs=1e-3 if name == "unknown" else 1e-4), path.name


def test_a_real_siren_on_a_telephone(browser, node, mn04_weights, shared, tmp_path):
    model = named_models.load("audioset")
    (source,) = (shared / "urbansound8k" / "flac").glob("fold*/157867-8-0-0.*")
    folder = site(model, node, tmp_path / "site")
    with served(folder) as url, opened(browser, url, viewport={"width": 390, "height": 800}) as page:
        found = classified(page, source)
        assert found == pytest.approx(expected(model, source), abs=1e-4)
        assert "iren" in next(iter(found))
        assert page.locator("#classes li").first.inner_text().startswith(next(iter(found)))
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390
        violations = Axe().run(page).response["violations"]
        assert [violation["id"] for violation in violations] == []


def test_the_microphone_is_classified(browser, node, tone_detector, tmp_path):
    with served(site(tone_detector, node, tmp_path / "site")) as url, opened(browser, url) as page:
        page.locator("#listen").click()
        expect(page.locator("#name")).to_have_text("Microphone", timeout=MINUTE_MS)
        expect(page.locator("#classes li").first).to_contain_text("low", timeout=MINUTE_MS)
        page.locator("#listen").click()
        expect(page.locator("#state")).to_have_text("Stopped.")


def test_sounds_that_the_browser_resamples_are_close_and_have_a_note(browser, node, tmp_path):
    model, rng = small_model(Mel(), unknown=None), np.random.default_rng(0)
    paths = [tmp_path / "odd.wav", tmp_path / "coded.ogg", tmp_path / "exact.wav"]
    for path, rate_hz in zip(paths, (37_000, 44_100, 44_100), strict=True):
        noise = np.convolve(rng.normal(0, 0.3, 3 * rate_hz), np.ones(8) / 8, "same")
        soundfile.write(path, noise, rate_hz)
    with served(site(model, node, tmp_path / "site")) as url, opened(browser, url) as page:
        for path in paths:
            assert classified(page, path) == pytest.approx(expected(model, path), abs=0.05), path.name
            has_note = page.locator("#note").is_visible()
            assert has_note == (path.name != "exact.wav")


def test_a_loaded_page_needs_no_connection(browser, node, sounds, tmp_path):
    model = small_model(Mel(), unknown=None)
    with served(site(model, node, tmp_path / "site")) as url, opened(browser, url) as page:
        classified(page, sounds[2])  # 48 kHz: its filter is loaded
        page.context.set_offline(True)
        for path in (sounds[0], sounds[2]):
            assert classified(page, path) == pytest.approx(expected(model, path), abs=1e-4)


def test_files_are_dropped_and_classified_in_turn(browser, node, sounds, tmp_path):
    model = small_model(Mel(), unknown=None)
    with served(site(model, node, tmp_path / "site")) as url, opened(browser, url) as page:
        contents = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in sounds[:2]]
        page.evaluate(DROP, contents)
        expect(page.locator("#state")).to_have_text(f"{sounds[1].name}: done.", timeout=MINUTE_MS)
        assert page.locator("#name").inner_text() == sounds[1].name
        page.locator("#files").set_input_files(sounds[2])
        expect(page.locator("#state")).to_have_text(f"{sounds[2].name}: done.", timeout=MINUTE_MS)
        page.locator("summary").click()
        assert page.locator("#windows tr").count() == 3
        assert page.locator("#windows tr").last.inner_text().split("\t")[:2] == ["5.3", "9.3"]


def test_a_file_that_is_no_sound_is_named(browser, node, sounds, tmp_path):
    (tmp_path / "notes.wav").write_text("rain")
    with served(site(small_model(Mel()), node, tmp_path / "site")) as url, opened(browser, url) as page:
        page.locator("#files").set_input_files([tmp_path / "notes.wav"])
        expect(page.locator("#state")).to_contain_text("notes.wav: This browser cannot read the file as sound")
        assert classified(page, sounds[0])  # the next one is classified


def test_the_command_writes_the_page_again_and_keeps_foreign_files(node, tmp_path):
    small_model(Mel()).save(tmp_path / "model.onnx")
    command = ("export", tmp_path / "model.onnx", "--page", tmp_path / "site", "--runtime")
    package = node / "node_modules" / "onnxruntime-web"
    for _ in range(2):
        done = run_soundmark(*command, package)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"{tmp_path / 'site'}: for a web page, ")
    assert "Permission is hereby granted" in (tmp_path / "site" / "onnxruntime" / "LICENSE.txt").read_text()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    done = run_soundmark("export", tmp_path / "model.onnx", "--page", tmp_path / "mine", "--runtime", package)
    assert done.returncode == 2
    assert "index.html" in done.stderr
    assert (tmp_path / "mine" / "index.html").read_text() == "mine"


def test_another_version_of_the_runtime_is_refused(tmp_path):
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / web_page.RUNTIME[0].name).write_text("other")
    with pytest.raises(SettingsError, match="does not contain onnxruntime-web .*has another SHA-256. Run `npm install"):
        web_page.runtime_files(tmp_path)


def test_the_runtime_is_downloaded_once_and_verified(node, cache, tmp_path, monkeypatch):
    package = node / "node_modules" / "onnxruntime-web" / "dist"
    monkeypatch.setattr(web_page, "DOWNLOADS", package.as_uri() + "/")
    first = web_page.runtime_files(None)
    monkeypatch.setattr(downloads, "ONCE", None)  # a second download would fail
    assert web_page.runtime_files(None) == first
    monkeypatch.undo()
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(web_page, "DOWNLOADS", (tmp_path / "nowhere").as_uri() + "/")
    with pytest.raises(WeightsError, match="cannot be downloaded: .*give node_modules/onnxruntime-web with --runtime"):
        web_page.runtime_files(None)


def test_a_model_for_fixed_lengths_is_refused():
    with pytest.raises(SettingsError, match="cannot classify in a web page: a mel spectrogram whose 20 bands"):
        web_page.model_files(small_model(MEL_ENLARGED))
