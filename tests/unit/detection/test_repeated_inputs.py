"""Files and results that are given more than once are counted once."""

import os
from pathlib import Path

from soundmark.detection.inputs import files, without_repeats
from soundmark.detection.summary import summarize
from support.layouts import write_tone


def test_a_folder_under_three_names(tmp_path: Path, monkeypatch):
    write_tone(tmp_path / "rec" / "a.wav")
    write_tone(tmp_path / "rec" / "b.wav")
    monkeypatch.chdir(tmp_path)
    found, repeats = without_repeats(files(["rec", "./rec", str(tmp_path / "rec"), "rec/a.wav"]))
    assert [item.path for item in found] == [os.path.join("rec", "a.wav"), os.path.join("rec", "b.wav")]  # noqa: PTH118
    assert repeats == 5


def test_results_given_twice_do_not_double_the_minutes(tmp_path: Path):
    results = tmp_path / "results"
    results.mkdir()
    (results / "results.csv").write_text(
        "Start (s),End (s),Label,Confidence,File\n0,60,siren,0.9,20240612_230000.wav\n"
    )
    once = summarize(results).minutes.sum()
    assert once == 1.0
    assert summarize([results, tmp_path / "." / "results", results / "results.csv"]).minutes.sum() == once
