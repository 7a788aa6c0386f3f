"""The report in a browser: everything loads, and on a narrow screen nothing is cut off."""

from dataclasses import replace

import pytest

from soundmark.datasets import Dataset
from soundmark.evaluation import report
from support import browser
from support.reports import HOSTILE, ParsedPage, make_evaluation

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("width", [1280, 390])
def test_the_report_loads_without_errors_or_requests(hostile_page, width):
    found = browser.examine(hostile_page, width=width)
    assert found["errors"] == []
    assert found["violations"] == []
    assert found["served"] == ["/"]
    assert [name for name in found["requests"] if not name.startswith("data:")] == []
    assert len(found["images"]) > 10
    assert [alt for alt, pixels in found["images"] if not pixels] == []
    assert len(found["sounds"]) > 4
    assert [one for one in found["sounds"] if one["error"] or not one["seconds"]] == []
    assert found["width"] == width
    assert found["scroll_width"] <= width  # wide tables scroll within the page
    assert HOSTILE[0] in found["text"]


def test_errors_of_a_page_are_found(hostile_page):
    """Without this test, the tests above could pass on any page."""
    broken = hostile_page.replace(
        "</main>", '<img src="/missing.png" alt="x"><audio src="data:audio/mpeg;base64,AAAA"></audio></main>'
    )
    found = browser.examine(broken)
    assert found["errors"] or found["violations"]
    assert found["sounds"][-1]["error"]
    assert found["images"][-1] == ["x", 0]


@pytest.mark.parametrize("width", [390, 1100])
def test_nothing_is_cut_off_and_no_class_name_is_broken(five_recipes, width):
    found = browser.examine(report.render(five_recipes), width=width)
    assert found["errors"] == []
    assert found["width"] == width
    assert found["scroll_width"] <= width
    assert found["cut_off"] == []
    assert set(found["broken_words"]) & {*five_recipes.dataset.classes, *five_recipes.recipes} == set()
    assert found["broken_words"] == []


def test_broken_words_and_cut_off_text_are_found(five_recipes):
    """Without this test, the test above could pass on any page."""
    page = report.render(five_recipes)
    style = ".card h3 { width: 3em; overflow-wrap: anywhere; } .lede { overflow: hidden; white-space: nowrap; }"
    found = browser.examine(page.replace("</style>", f"{style}</style>"), width=390)
    assert "children_playing" in found["broken_words"]
    assert any(text.startswith("On Sounds") for text in found["cut_off"])


def test_the_report_of_real_clips_is_small_and_loads_without_errors(urbansound8k):
    data = Dataset.open(urbansound8k)
    clips = [clip for label in data.classes for clip in [one for one in data.clips if one.label == label][:12]]
    page = report.render(make_evaluation(replace(data, clips=tuple(clips))))
    ParsedPage(page)
    assert 300_000 < len(page.encode()) < 6_000_000
    found = browser.examine(page)
    assert found["errors"] == []
    assert found["served"] == ["/"]
    assert [one for one in found["sounds"] if one["error"] or not one["seconds"]] == []
