"""The Review tab in a real Chromium: thirty windows by keyboard, undo, a killed server, thresholds, accessibility."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

import soundmark as sm
from soundmark.detection.archive import review
from soundmark.detection.settings import read_thresholds
from soundmark.serving.archives import open_archives
from support.archives import tone_archive
from support.pages import check_accessibility, free_port, opened, server_process
from support.serving import Running, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The index of 20 recordings with 120 windows."""
    return tone_archive(tmp_path_factory.mktemp("archive"), n=20)


@pytest.fixture(scope="module")
def index(folder) -> sm.Index:
    return sm.Index.open(folder)


@pytest.fixture
def server(folder, tmp_path) -> Iterator[Running]:
    archives = open_archives([folder])
    with running(archives[0].index.model, archives=archives, corrections=tmp_path / "corrections") as found:
        yield found


def truth(index: sm.Index, label: str = "low") -> np.ndarray:
    """What the simulated reviewer hears: mostly what the score says."""
    noise = np.random.default_rng(5).logistic(0, 0.2, len(index))
    scores = index.scores(label).astype(float)
    return np.log(scores / (1 - scores)) + noise > -0.5


def start(page: Page, label: str = "low") -> None:
    page.get_by_role("tab", name="Review").click()
    page.locator("#review-class").select_option(label)
    expect(page.locator("#review-question")).to_have_text(f"Does this window contain “{label}”?")
    ready(page, 0)


def ready(page: Page, reviewed: int) -> None:
    """Wait until the next window can be decided about."""
    expect(page.locator("#review-count")).to_contain_text(f"{reviewed} window{'' if reviewed == 1 else 's'} reviewed")
    expect(page.locator("[data-answer=replay]")).to_have_attribute("aria-disabled", "false")


def shown(page: Page, index: sm.Index) -> int:
    """The number of the window that is shown, from its recording and times."""
    text = page.locator("#review-about").inner_text()
    name, minutes, seconds = re.match(r"(\S+), (\d+):([\d.]+) to", text).groups()
    path = next(each.path for each in index.recordings if Path(each.path).name == name)
    start_s = 60 * int(minutes) + float(seconds)
    return index.number_of(path, start_s, start_s + 1.0)


def review_windows(page: Page, index: sm.Index, n: int, *, already: int = 0) -> list[int]:
    contains, numbers = truth(index), []
    for done in range(already, already + n):
        number = shown(page, index)
        page.keyboard.press("y" if contains[number] else "n")
        ready(page, done + 1)
        numbers.append(number)
    return numbers


def test_thirty_windows_are_reviewed_by_keyboard(browser, server, index, tmp_path):
    with opened(browser, server.url, viewport={"width": 1280, "height": 900}) as page:
        start(page)
        numbers = review_windows(page, index, 30)
        assert len(set(numbers)) == 30
        contains = truth(index)[numbers]
        expect(page.locator("#review-count")).to_have_text(f"30 windows reviewed, {contains.sum()} contain it.")

        # The threshold and the interval are those that Python computes from the same decisions.
        curve = review.precision_curve(index.scores("low"), np.array(numbers), contains)
        assert curve.safe_threshold is not None
        expect(page.locator("#review-outlook")).to_contain_text(f"From {curve.safe_threshold:.2f} on, the threshold is")
        assert page.locator("#threshold").input_value() == f"{curve.safe_threshold:g}"
        rows = page.locator("#precision-table tbody tr").evaluate_all(
            "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
        )
        for at, (threshold, precision, interval, reached, windows) in enumerate(rows):
            assert float(threshold) == pytest.approx(curve.thresholds[at])
            assert int(windows) == curve.windows[at]
            if np.isnan(curve.precision[at]):
                assert (precision, interval) == ("unknown", "")
                continue
            assert precision == percent(curve.precision[at])
            assert interval == f"{percent(curve.low[at])} to {percent(curve.high[at])}"
            assert reached == percent(curve.reached[at])
        kept = index.review("low", corrections=tmp_path / "corrections")
        assert kept.safe_threshold == curve.safe_threshold

        page.get_by_label("also in a copy of the model").check()
        page.get_by_role("button", name="Use this threshold").click()
        expect(page.locator("#threshold-done")).to_contain_text("thresholds.toml, and in use here from now on")
        folder = tmp_path / "corrections"
        assert read_thresholds(folder / "thresholds.toml") == {"low": pytest.approx(curve.safe_threshold)}
        model = sm.load(folder / "model-with-thresholds.onnx")
        assert model.event_thresholds[0] == pytest.approx(curve.safe_threshold)


def percent(value: float) -> str:
    return f"{100 * value:.{1 if 0 < value < 0.0995 else 0}f} %"


def test_the_sound_and_the_spectrogram_of_the_window_are_shown(browser, server, index):
    with opened(browser, server.url) as page:
        start(page)
        pixels = page.evaluate(
            """() => {
              const canvas = document.querySelector("#review-timeline canvas"), context = canvas.getContext("2d");
              const { data } = context.getImageData(60, 0, canvas.width - 60, 240);
              return new Set(new Uint32Array(data.buffer)).size;
            }"""
        )
        assert pixels > 100
        page.keyboard.press("r")
        expect(page.locator("#review-play")).to_have_attribute("aria-label", "Pause")
        expect(page.locator("#review-play")).to_have_text("❚❚")
        page.keyboard.press("Space")
        expect(page.locator("#review-play")).to_have_attribute("aria-label", "Play")
        assert page.evaluate("document.querySelector('#review-about').textContent").startswith("tones-")
        with page.expect_response(re.compile("/sound.*equal_loudness=true")) as response:
            page.locator("summary", has_text="Options").click()
            page.get_by_label("Equal loudness").check()
        assert response.value.headers["content-type"] == "audio/wav"


def test_undo_and_skip_and_another_class(browser, server, index, tmp_path):
    with opened(browser, server.url) as page:
        start(page)
        (first,) = review_windows(page, index, 1)
        second = shown(page, index)
        page.keyboard.press("u")
        ready(page, 0)
        assert shown(page, index) == first
        page.keyboard.press("s")
        expect(page.locator("#review-count")).to_contain_text("1 skipped")
        ready(page, 0)
        assert shown(page, index) == second
        page.keyboard.press("o")
        page.keyboard.type("hig")
        expect(page.locator("#class-options [aria-selected=true]")).to_have_text("high")
        page.keyboard.press("Enter")
        ready(page, 1)
        page.keyboard.press("o")
        expect(page.locator("#class-options li").first).to_have_text("none of the classes")
        page.keyboard.press("Escape")
        expect(page.locator("#class-dialog")).to_be_hidden()
        page.keyboard.press("o")
        page.keyboard.type("owl")
        expect(page.locator("#class-options [aria-selected=true]")).to_have_text("new class “owl”")
        page.keyboard.press("Enter")
        ready(page, 2)
        page.keyboard.press("o")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Enter")
        ready(page, 3)
    labels = [clip.label for clip in sm.Dataset.open(tmp_path / "corrections").clips]
    assert labels == ["high", "owl", "background"]
    made = index.review("low", corrections=tmp_path / "corrections").decisions
    assert [(each.number, each.decision) for each in made[:2]] == [(first, "skip"), (second, "label")]


def test_a_dialog_that_is_opened_as_soon_as_the_last_one_closed_gets_an_answer(browser, server, index):
    with opened(browser, server.url) as page:
        start(page)
        page.keyboard.press("o")
        expect(page.locator("#class-dialog")).to_be_visible()
        page.evaluate(
            """() => {
                document.getElementById("class-dialog").close();  // its event comes after the next line
                document.querySelector("[data-answer=other]").click();
            }"""
        )
        page.wait_for_function("new Promise((done) => setTimeout(() => done(true), 100))")  # the event has come
        page.keyboard.type("hig")
        expect(page.locator("#class-options [aria-selected=true]")).to_have_text("high")
        page.keyboard.press("Enter")
        ready(page, 1)


def test_a_reloaded_page_goes_on_where_it_was(browser, server, index):
    with opened(browser, server.url) as page:
        start(page)
        review_windows(page, index, 3)
        number = shown(page, index)
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-ready", "true")
        ready(page, 3)
        assert page.locator("#review-question").inner_text() == "Does this window contain “low”?"
        assert shown(page, index) == number


def test_a_review_goes_on_after_the_server_was_killed(browser, folder, index, tmp_path):
    port, contains = free_port(), truth(index)
    options = (folder, "--corrections", tmp_path / "corrections", "--no-browser")
    with (
        server_process(port, *options, command="review") as first,
        opened(browser, f"http://127.0.0.1:{port}", may_fail=True) as page,
    ):
        start(page)
        numbers = review_windows(page, index, 4)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        number = shown(page, index)
        page.keyboard.press("y" if contains[number] else "n")
        expect(page.locator("#review-error")).to_contain_text("The connection to the server was lost")
        with server_process(port, *options, command="review"):
            ready(page, 5)
            expect(page.locator("#review-error")).to_be_hidden()
            numbers += [number, *review_windows(page, index, 2, already=5)]
    made = index.review("low", corrections=tmp_path / "corrections").decisions
    assert [(each.number, each.contains) for each in made] == [(n, contains[n]) for n in numbers]


def test_the_keys_can_be_turned_off_and_do_not_disturb_typing(browser, server, index):
    with opened(browser, server.url) as page:
        start(page)
        page.locator("#reviewer").press_sequentially("yann")
        page.locator("summary", has_text="Options").click()
        page.get_by_label("Keys Y, N").uncheck()
        page.keyboard.press("y")
        page.wait_for_timeout(300)
        ready(page, 0)
        page.get_by_role("button", name="Yes").click()
        ready(page, 1)
        page.get_by_label("Keys Y, N").check()
        page.keyboard.press("n")
        ready(page, 2)


def test_it_starts_with_a_class_that_has_windows_and_a_recording_that_is_missing_can_be_skipped(browser, tmp_path):
    folder = tone_archive(tmp_path, n=1, levels_db=(-160, -120))
    archives = open_archives([folder])
    with (
        running(archives[0].index.model, archives=archives, corrections=tmp_path / "corrections") as server,
        opened(browser, server.url, may_fail=True) as page,
    ):
        (tmp_path / "recordings" / "tones-0.wav").unlink()
        page.get_by_role("tab", name="Review").click()
        expect(page.locator("#review-error")).to_contain_text("tones-0.wav")
        expect(page.locator("#review-about")).to_contain_text("cannot be shown")
        expect(page.locator("#review-question")).to_have_text("Does this window contain “high”?")
        options = page.locator("#review-class option").all_text_contents()
        assert options == ["high (6 windows)", "background (no windows)", "low (no windows)"]


def test_without_an_archive_the_page_says_how_to_get_one(browser, tone_detector):
    with running(tone_detector) as server, opened(browser, server.url, at="/#review") as page:
        expect(page.get_by_text("soundmark serve index")).to_be_visible()
        expect(page.locator("#tab-review")).to_be_hidden()
        expect(page.locator("#panel-classify")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["desktop", "phone"])
def test_it_is_accessible_and_fits(browser, server, index, scheme, size, tmp_path):
    viewport = {"width": size[0], "height": size[1]}
    with opened(browser, server.url, viewport=viewport, color_scheme=scheme) as page:
        start(page)
        check_accessibility(page)
        review_windows(page, index, 12)
        for summary in page.locator("#panel-review summary").all():
            summary.click()
        check_accessibility(page)
        page.keyboard.press("o")
        check_accessibility(page)
        page.keyboard.press("Escape")
        if folder := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=Path(folder) / f"review-{scheme}-{size[0]}.png", full_page=True)
