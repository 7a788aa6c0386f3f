"""`soundmark demo`, as a newcomer runs it: whole, and its report opened in a real browser."""

import json
import os
import subprocess
import sys

import pytest

from soundmark.cli import synthetic_demo
from soundmark.errors import OutputError
from support.browser import examine


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    place = tmp_path_factory.mktemp("demo")
    environment = {**os.environ, "SOUNDMARK_CACHE": str(place / "cache"), "COLUMNS": "100"}
    command = [sys.executable, "-m", "soundmark.cli", "demo"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=place, timeout=1500)
    assert done.returncode == 0, done.stderr
    return place / "demo", done


def test_a_folder_of_something_else_is_left_alone_and_one_of_a_killed_synthesis_is_not(tmp_path, monkeypatch):
    def reached(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(synthetic_demo.synthetic, "write", reached)
    (tmp_path / ".city-x1y2" / "city").mkdir(parents=True)
    with pytest.raises(InterruptedError):
        synthetic_demo.run_demo(tmp_path)
    assert not (tmp_path / ".city-x1y2").exists()
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds something else"):
        synthetic_demo.run_demo(tmp_path)


@pytest.mark.slow
def test_both_recipes_learn_and_neither_is_perfect(demo):
    folder, _ = demo
    results = json.loads((folder / "metrics.json").read_text())["results"]
    assert sorted((r["recipe"], r["protocol"]) for r in results) == [
        (recipe, protocol) for recipe in ("notebook-image", "notebook-mel") for protocol in ("folds", "random")
    ]
    for result in results:
        assert 0.35 < result["accuracy"] < 1, (result["recipe"], result["protocol"])  # chance is 0.1


@pytest.mark.slow
def test_says_where_everything_is_and_classifies_a_clip_nobody_heard(demo):
    folder, done = demo
    assert "unseen-siren.wav" in done.stdout
    assert "demo/report.html" in done.stderr.replace("\n", "")
    assert "batch 16" in done.stderr
    for name in ("report.html", "metrics.json", "unseen-siren.wav", "city/metadata/UrbanSound8K.csv"):
        assert (folder / name).is_file()


@pytest.mark.slow
def test_the_report_opens_in_a_browser(demo):
    folder, _ = demo
    page = examine((folder / "report.html").read_text())
    assert page["errors"] == []
    assert page["violations"] == []
    assert [request for request in page["requests"] if not request.startswith("data:")] == []
    assert page["images"]
    assert all(width > 0 for _, width in page["images"])
    assert page["sounds"]
    assert all(sound["seconds"] > 0 for sound in page["sounds"])
    assert "synthetic city" in page["text"]
