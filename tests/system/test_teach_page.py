"""The Teach tab in a real Chromium: a class taught from five examples, regions, going back, a killed server."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page, expect

import soundmark as sm
from soundmark.serving.archives import open_archives
from support.pages import check_accessibility, free_port, opened, server_process
from support.serving import Running, running
from support.teaching import TeachingSet, teaching_set

pytestmark = pytest.mark.slow

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> TeachingSet:
    return teaching_set(tmp_path_factory.mktemp("teaching"))


@pytest.fixture(scope="module")
def index(material) -> sm.Index:
    return sm.Index.open(material.index)


@pytest.fixture
def server(material, tmp_path) -> Iterator[Running]:
    archives = open_archives([material.index])
    model = archives[0].index.model
    with running(model, archives=archives, corrections=tmp_path / "corrections", training=material.data) as found:
        yield found


def open_tab(page: Page) -> None:
    page.get_by_role("tab", name="Teach").click()
    expect(page.locator("#teach-windows li").first).to_be_visible()
    expect(page.locator("#teach-labels button").first).to_be_enabled()


def shown(page: Page, index: sm.Index) -> int:
    """The number of the window that is shown, from its recording and times."""
    text = page.locator("#teach-about").inner_text()
    name, minutes, seconds = re.match(r"(\S+), (\d+):([\d.]+) to", text).groups()
    path = next(each.path for each in index.recordings if Path(each.path).name == name)
    start_s = 60 * int(minutes) + float(seconds)
    return index.number_of(path, start_s, start_s + 1.0)


def labelled(page: Page, n: int) -> None:
    expect(page.locator("#teach-counts")).to_contain_text(f"{n} label{'' if n == 1 else 's'} of")
    expect(page.locator("#teach-labels button").first).to_be_enabled()


def find(page: Page, index: sm.Index, material: TeachingSet, name: str, without: set[int]) -> int:
    """Select a listed window whose sound is ``name``, of a recording without one that was labelled."""
    recordings = {number // 6 for number in without}
    for row in page.locator("#teach-windows button").all():
        row.click()
        expect(row).to_have_attribute("aria-pressed", "true")
        number = shown(page, index)
        if material.truth[number] == name and number // 6 not in recordings:
            return number
    raise AssertionError(f"no window with {name} is listed")


def teach_middle(page: Page, index: sm.Index, material: TeachingSet, n: int = 5) -> set[int]:
    """Label ``n`` windows as "middle": the first through the dialog, the others with the key of its button."""
    numbers: set[int] = set()
    first = find(page, index, material, "middle", numbers)
    page.keyboard.press("m")
    expect(page.locator("#windows-title")).to_contain_text("Like r")
    page.locator("#teach-order").select_option("suggestions")
    for done in range(n):
        number = find(page, index, material, "middle", numbers)
        numbers.add(number)
        if done == 0:
            page.locator("body").press("c")
            page.locator("#class-input").fill("middle")
            page.keyboard.press("Enter")
        else:
            keys = [text.strip() for text in page.locator("#teach-labels button").all_inner_texts()]
            key = next(text for text in keys if text.startswith("middle"))[-1]
            page.locator("body").press(key)
        labelled(page, done + 1)
        if done + 1 < n:
            page.locator("body").press("m")  # windows of other recordings that sound like the one shown
            page.locator("#teach-order").select_option("suggestions")
            page.locator("#teach-order").dispatch_event("change")
    assert first is not None
    return numbers


def train(page: Page, number: int) -> None:
    page.get_by_role("button", name="Train on the labels").click()
    expect(page.locator("#train-state")).to_contain_text(f"Model {number} was trained on")


def test_a_class_taught_from_five_examples_is_found_elsewhere_and_one_click_goes_back(
    browser, server, material, index, tmp_path
):
    with opened(browser, server.url, viewport=WIDE) as page:
        open_tab(page)
        expect(page.get_by_role("button", name="Train on the labels")).to_be_disabled()  # there are none
        numbers = teach_middle(page, index, material)
        train(page, 1)
        expect(page.locator("#model-name")).to_contain_text("taught 1")
        page.locator("#teach-order").select_option("top")
        page.locator("#teach-class").select_option("middle")
        expect(page.locator("#windows-title")).to_have_text("Highest scores of middle")
        expect(page.locator("#teach-windows li")).to_have_count(20)
        # All 16 windows with the sound are on top, the 11 that nobody labelled too.
        answer = server.get("/v1/archives/index/top", params={"class": "middle", "n": 16}).json()
        top = {window["number"] for window in answer["windows"]}
        assert {material.truth[number] for number in top} == {"middle"}
        assert len(top - numbers) == 11
        first = answer["windows"][0]
        expect(page.locator("#teach-windows li").first).to_contain_text(f"{first['file']}, 0:0{first['start_s']:.1f}")

        cells = page.locator("#teach-scores tbody tr").evaluate_all(
            "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
        )
        (report,) = [each["report"] for each in server.get("/v1/teach").json()["models"]]
        assert [row[0] for row in cells] == [
            "Accuracy, all clips", "Macro F1, all clips", "Accuracy, your labels", "Macro F1, your labels",
        ]  # fmt: skip
        assert cells[2][1].startswith("0 %0 % to ")
        assert cells[2][2].startswith("100 %")
        assert report["held_out"]["corrections"]["after"]["accuracy"]["value"] == 1.0
        assert page.locator("#teach-curve svg").get_attribute("aria-label").endswith("100 % with 5.")
        check_accessibility(page)
        page.screenshot(path=tmp_path / "teach.png", full_page=True)

        with page.expect_download() as download:
            page.get_by_role("link", name="Download model 1").click()
        assert sm.load(download.value.path()).classes == ("background", "high", "low", "middle")
        page.get_by_role("button", name="Use the model before teaching").click()
        expect(page.locator("#train-state")).to_have_text("The model before teaching is in use.")
        expect(page.locator("#model-name")).to_have_text("model.onnx")
        assert server.get("/v1/model").json()["classes"] == ["low", "high", "background"]


def test_a_region_is_marked_with_the_mouse_and_with_the_keyboard(browser, server, index, tmp_path):
    with opened(browser, server.url, viewport=WIDE) as page:
        open_tab(page)
        box = page.locator("#teach-timeline canvas").bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 60)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 80, steps=5)
        page.mouse.up()
        start, stop = (float(page.locator(f"#region-{end}").input_value()) for end in ("start", "stop"))
        assert stop - start > 1.0
        page.locator("#teach-labels button").first.click()
        labelled(page, 1)
        (clip,) = sm.Dataset.open(tmp_path / "corrections").clips
        assert clip.stop_s == pytest.approx(stop - start, abs=0.02)

        page.locator("#teach-timeline .view").focus()
        page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 60)  # the cursor
        page.keyboard.press("o")
        end = float(page.locator("#region-stop").input_value())
        page.mouse.click(box["x"] + box["width"] * 0.3, box["y"] + 60)
        page.keyboard.press("i")
        begin = float(page.locator("#region-start").input_value())
        assert 0.3 < end - begin < 3.0
        # A label of another person is not undone with the key.
        other = {"archive": "index", "window": 0, "decision": "label", "label": "low", "reviewer": "ben"}
        server.post("/v1/teach/labels", json.dumps(other))
        page.keyboard.press("u")
        labelled(page, 1)
        expect(page.locator("#teach-classes")).to_have_text("low 1")
        page.keyboard.press("u")
        page.wait_for_timeout(300)
        (kept,) = sm.Corrections(tmp_path / "corrections").standing()
        assert kept.reviewer == "ben"
        sm.Corrections(tmp_path / "corrections").undo(kept)
        with pytest.raises(sm.DatasetError, match="no clip with a label"):
            sm.Dataset.open(tmp_path / "corrections")


def test_the_page_on_a_phone(browser, server, index, material, tmp_path):
    with opened(browser, server.url, at="#teach", viewport=PHONE, has_touch=True, color_scheme="dark") as page:
        expect(page.locator("#teach-labels button").first).to_be_enabled()
        check_accessibility(page)
        page.screenshot(path=tmp_path / "phone.png", full_page=True)


def test_without_a_folder_the_tab_says_how_to_switch_corrections_on(browser, material):
    archives = open_archives([material.index])
    with (
        running(archives[0].index.model, archives=archives) as server,
        opened(browser, server.url, at="#teach") as page,
    ):
        expect(page.locator("#teach-note")).to_contain_text("--corrections DIR")
        expect(page.locator("#teach-note .option")).to_have_css("white-space", "nowrap")  # not broken after "--"
        check_accessibility(page)


def test_a_server_killed_during_a_training_loses_nothing_and_the_page_says_what_happened(
    browser, material, index, tmp_path
):
    port, folder = free_port(), tmp_path / "corrections"
    options = (material.index, "--corrections", folder, "--train-data", material.data.root)
    with server_process(port, *options) as process, opened(browser, f"http://127.0.0.1:{port}", may_fail=True) as page:
        open_tab(page)
        numbers = [number for number, name in enumerate(material.truth) if name == "middle"][:10:2]
        for number in numbers:  # by another person
            body = {"archive": "index", "window": number, "decision": "label", "label": "middle"}
            requests.post(f"http://127.0.0.1:{port}/v1/teach/labels", json.dumps(body), timeout=60)
        page.evaluate("window.dispatchEvent(new Event('focus'))")  # the page is looked at again
        page.get_by_role("button", name="Train on the labels").click()
        journal = folder / "models" / "versions.jsonl"
        for _ in range(1000):
            if journal.exists():
                break
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        trained = b'"trained"' in journal.read_bytes()
        expect(page.locator("#teach-error")).to_contain_text("connection to the server was lost")
        with server_process(port, *options):
            expect(page.locator("#teach-error")).to_be_hidden(timeout=30_000)
            if not trained:
                expect(page.locator("#train-state")).to_contain_text("was interrupted. Nothing is lost: train again.")
            labelled(page, 5)
            train(page, 2 if trained else 1)
    assert len(sm.Corrections(folder)) == 5
