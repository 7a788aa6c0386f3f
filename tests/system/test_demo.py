"""`soundmark demo` from start to end, and its report in a real browser."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

import soundmark as sm
from soundmark import audio
from soundmark.cli import synthetic_demo
from soundmark.errors import OutputError
from support.browser import examine


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    environment = {**os.environ, "SOUNDMARK_CACHE": str(folder / "cache"), "COLUMNS": "100"}
    command = [sys.executable, "-m", "soundmark.cli", "demo"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=1500)
    assert done.returncode == 0, done.stderr
    return folder / "demo", done


def test_the_folder_may_contain_a_partial_synthesis_but_no_other_files(tmp_path, monkeypatch):
    def stop(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(synthetic_demo.synthetic, "write", stop)
    (tmp_path / ".city-x1y2" / "city").mkdir(parents=True)
    with pytest.raises(InterruptedError):
        synthetic_demo.run_demo(tmp_path)
    assert not (tmp_path / ".city-x1y2").exists()
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="contains other files"):
        synthetic_demo.run_demo(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="the test needs symbolic links")
def test_what_a_killed_synthesis_left_is_removed_and_files_of_others_are_kept(tmp_path, monkeypatch):
    def kill(*_: object) -> None:
        raise InterruptedError

    def killed(folder: Path) -> None:
        audio.write(folder.with_name(".city-x1y2") / "city" / "audio" / "fold1" / "1.wav", [0.0], 8000)
        raise InterruptedError

    notes, target = tmp_path / ".city-notes", tmp_path / "elsewhere" / "empty"
    notes.mkdir()
    (notes / "thesis.txt").write_text("mine")
    target.mkdir(parents=True)
    (tmp_path / "demo").mkdir()
    for name, path in ((".city-notes", notes), (".city-link", target.parent)):
        (tmp_path / "demo" / name).symlink_to(path)
    (tmp_path / "demo" / ".city-mine").mkdir()
    (tmp_path / "demo" / ".city-mine" / "thesis.txt").write_text("mine")
    for step in (killed, kill):
        monkeypatch.setattr(synthetic_demo.synthetic, "write", step)
        with pytest.raises(InterruptedError):
            synthetic_demo.run_demo(tmp_path / "demo")
    assert (notes / "thesis.txt").exists()
    assert target.exists()
    assert sorted(path.name for path in (tmp_path / "demo").glob(".city-*")) == [
        ".city-link",
        ".city-mine",
        ".city-notes",
    ]
    assert (tmp_path / "demo" / ".city-mine" / "thesis.txt").read_text() == "mine"


@pytest.mark.long(700)
def test_both_recipes_learn_and_neither_is_perfect(demo):
    folder, _ = demo
    results = json.loads((folder / "metrics.json").read_text())["results"]
    assert sorted((r["recipe"], r["protocol"]) for r in results) == [
        (recipe, protocol) for recipe in ("notebook-image", "notebook-mel") for protocol in ("folds", "random")
    ]
    for result in results:
        assert 0.35 < result["accuracy"] < 1, (result["recipe"], result["protocol"])  # chance is 0.1


@pytest.mark.long(700)
def test_prints_the_paths_of_the_results_and_classifies_an_unseen_clip(demo):
    folder, done = demo
    assert "unseen-siren.wav" in done.stdout
    assert "demo/report.html" in done.stderr.replace("\n", "")
    assert "batch 16" in done.stderr
    for name in ("report.html", "metrics.json", "unseen-siren.wav", "city/metadata/UrbanSound8K.csv"):
        assert (folder / name).is_file()


@pytest.mark.long(700)
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


@pytest.mark.long(700)
def test_serves_its_model_after_a_finished_run(demo):
    folder, _ = demo
    command = [sys.executable, "-m", "soundmark.cli", "demo", "--serve", "--quiet"]
    environment = {**os.environ, "SOUNDMARK_CACHE": str(folder.parent / "cache"), "BROWSER": "true"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, cwd=folder.parent, text=True, **pipes) as process:
        try:
            page = next(line for line in process.stdout if line.startswith("Page: "))
            answer = requests.post(
                f"{page.removeprefix('Page: ').strip()}v1/classify",
                (folder / "unseen-siren.wav").read_bytes(),
                timeout=60,
            )
        finally:
            process.terminate()
            messages = process.communicate(timeout=60)[1]
    printed = sm.load(folder / "notebook-mel" / "random" / "model.onnx").classify(folder / "unseen-siren.wav")
    assert answer.json()[0]["classes"][0]["label"] == printed[0]["label"]
    assert "Drop demo/unseen-siren.wav on the page" in messages
