"""Results folders: complete after an interrupted run resumes, and never written into another folder."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from soundmark import audio
from soundmark.detection import inputs
from soundmark.detection.inputs import Input
from soundmark.detection.results_folder import JOURNAL, analyze_to_folder, unique_names
from soundmark.detection.settings import DetectionSettings
from soundmark.errors import OutputError
from soundmark.runtime.output_folder import MANIFEST
from support.operations import operations
from support.sounds import RATE_HZ, wave

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    """Sixty clips in two folders with equal file names, three of them broken, and two recordings of half a minute."""
    folder = tmp_path_factory.mktemp("sounds")
    for number in range(60):
        audio.write(folder / f"fold{number % 2}" / f"{number // 2}.wav", wave(0.6, number), RATE_HZ)
    for number in range(2):
        audio.write(folder / "long" / f"{number}.wav", wave(30.0, number), RATE_HZ)
    (folder / "fold0" / "3.wav").write_text("no sound")
    (folder / "fold1" / "4.wav").write_bytes(b"")
    (folder / "fold1" / "5.wav").write_bytes((folder / "fold1" / "6.wav").read_bytes()[:20])
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a results folder without the journal, whose lines may be in another order after a resumed run."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (JOURNAL, MANIFEST, ".lock")
    }


def files_of(*paths: Path) -> list:
    return list(inputs.files([str(path) for path in paths]))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_input_is_a_result_or_a_named_failure(random_model, sounds, tmp_path):
    done = analyze_to_folder(random_model, files_of(sounds), DetectionSettings(), tmp_path / "out")
    assert (done.analyzed, done.resumed, len(done.failures)) == (59, 0, 3)
    assert len(rows(tmp_path / "out" / "files.csv")) == 59
    failed = rows(tmp_path / "out" / "errors.csv")
    assert [Path(row["File"]).name for row in failed] == ["3.wav", "4.wav", "5.wav"]
    assert "begins with the text 'no sound'" in failed[0]["Reason"]
    assert "it is empty" in failed[1]["Reason"]
    events = rows(tmp_path / "out" / "results.csv")
    assert list(events[0])[:5] == ["Start (s)", "End (s)", "Label", "Confidence", "File"]
    assert {row["File"] for row in rows(tmp_path / "out" / "files.csv")} >= {row["File"] for row in events}
    assert len(events) == done.events
    parameters = json.loads((tmp_path / "out" / "parameters.json").read_text())
    assert parameters["parameters"]["overlap"] == 0.0
    assert parameters["classes"] == list(random_model.classes)


def test_the_results_files_of_all_inputs_add_up_to_the_common_one(random_model, sounds, tmp_path):
    analyze_to_folder(random_model, files_of(sounds / "fold0", sounds / "fold1"), DetectionSettings(), tmp_path / "out")
    own = sorted((tmp_path / "out" / "files").iterdir())
    assert len(own) == 57
    assert "0.wav~2.csv" in {path.name for path in own}  # of the second folder
    found = [row for path in own for row in rows(path)]
    key = lambda row: (row["File"], row["Start (s)"])  # noqa: E731
    assert sorted(found, key=key) == sorted(rows(tmp_path / "out" / "results.csv"), key=key)


@pytest.mark.parametrize(("kill", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_killed_run_resumes_to_the_same_results(random_model, sounds, tmp_path, kill, status):
    random_model.bundle.write(tmp_path / "m.onnx")
    command = [sys.executable, "-m", "soundmark.cli", "classify", str(sounds), "-m", str(tmp_path / "m.onnx")]
    subprocess.run([*command, "-o", str(tmp_path / "uninterrupted")], capture_output=True, check=False)
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [*command, "-o", str(killed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    journal = killed / JOURNAL
    while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= 20):
        time.sleep(0.002)
    process.send_signal(kill)
    _, messages = process.communicate(timeout=30)
    assert process.returncode == status, messages
    assert "Traceback" not in messages
    before = journal.read_bytes().count(b"\n")
    assert 20 <= before < 59
    again = subprocess.run([*command, "-o", str(killed)], capture_output=True, text=True, check=False)
    assert again.returncode == 1  # the three broken files are reported again
    assert again.stderr.count("soundmark: ") == 3
    assert f"Analysed 59 files ({before} of them in an earlier run)" in again.stderr
    assert contents(killed) == contents(tmp_path / "uninterrupted")


def test_only_changed_files_are_analysed_again(random_model, sounds, tmp_path):
    audio.write(tmp_path / "a.wav", wave(1.0, 1), RATE_HZ)
    files = [*files_of(sounds / "long"), Input(str(tmp_path / "a.wav"), "a.wav")]
    analyze_to_folder(random_model, files, DetectionSettings(), tmp_path / "out")
    audio.write(tmp_path / "a.wav", wave(1.0, 2), RATE_HZ)
    os.utime(tmp_path / "a.wav", (1, 1))
    assert analyze_to_folder(random_model, files, DetectionSettings(), tmp_path / "out").resumed == 2
    assert analyze_to_folder(random_model, files, DetectionSettings(overlap=0.5), tmp_path / "out").resumed == 0
    assert analyze_to_folder(random_model, files, DetectionSettings(), tmp_path / "out", form="jsonl").resumed == 3
    assert analyze_to_folder(random_model, files, DetectionSettings(), tmp_path / "out", fresh=True).resumed == 0


def test_a_folder_with_other_files_is_rejected_and_unchanged(random_model, sounds, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "results.csv").write_text("mine")
    with pytest.raises(OutputError, match='is not a results folder: it contains "results.csv". Choose a new folder'):
        analyze_to_folder(random_model, files_of(sounds / "long"), DetectionSettings(), tmp_path / "thesis")
    assert (tmp_path / "thesis" / "results.csv").read_text() == "mine"


def test_progress_is_reported(random_model, sounds, tmp_path):
    states = []
    files = files_of(sounds)
    analyze_to_folder(random_model, files, DetectionSettings(), tmp_path / "out", on_progress=states.append)
    assert [state.done for state in states] == sorted(state.done for state in states)
    assert states[-1].done == states[-1].files == 62
    assert states[-1].share == 1.0
    assert states[-1].analyzed_s == pytest.approx(57 * 0.6 + 60, abs=0.1)
    assert all(0 <= state.share <= 1 for state in states)


def test_standard_input_has_the_same_results_as_its_file(random_model, sounds, tmp_path, monkeypatch):
    data = (sounds / "long" / "0.wav").read_bytes()
    with (tmp_path / "piped.wav").open("w+b") as pipe:
        pipe.write(data)
        pipe.seek(0)
        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": pipe}))
        analyze_to_folder(
            random_model, [Input("-", "-"), *files_of(sounds / "long")], DetectionSettings(), tmp_path / "out"
        )
    found = rows(tmp_path / "out" / "files.csv")
    assert found[0]["File"] == "-"
    assert {key: value for key, value in found[0].items() if key != "File"} == {
        key: value for key, value in found[1].items() if key != "File"
    }


def test_a_file_without_events_is_not_a_failure(random_model, tmp_path):
    audio.write(tmp_path / "s.wav", np.zeros(RATE_HZ), RATE_HZ)
    done = analyze_to_folder(
        random_model, files_of(tmp_path / "s.wav"), DetectionSettings(min_confidence=1.0), tmp_path / "out"
    )
    assert (done.analyzed, done.without_event, done.failures) == (1, 1, [])


def test_inputs_with_long_or_equal_names_have_separate_results_files(random_model, tmp_path):
    names = ["a/x.wav", "b/x.wav", "c/X.wav", "d/x.wav~2", "e/" + "L" * 240 + ".wav", "f/" + "ż" * 120 + ".wav"]
    for number, name in enumerate(names):
        audio.write(tmp_path / "in" / "sound.wav", wave(0.5, number), RATE_HZ)
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / "sound.wav").rename(tmp_path / "in" / name)
    files = [Input(str(tmp_path / "in" / name), Path(name).name) for name in names]
    done = analyze_to_folder(random_model, files, DetectionSettings(), tmp_path / "out")
    assert (done.analyzed, done.failures) == (6, [])
    own = list((tmp_path / "out" / "files").iterdir())
    assert sorted(row["File"] for path in own for row in rows(path)) == sorted(file.path for file in files)


def test_stale_and_partial_files_are_removed(random_model, sounds, tmp_path):
    analyze_to_folder(random_model, files_of(sounds / "long"), DetectionSettings(), tmp_path / "out")
    with (tmp_path / "out" / MANIFEST).open("a") as manifest:  # as a killed run leaves it
        manifest.write('{"pending": "files/x.csv"}\n')
    (tmp_path / "out" / "files" / ".x.csv.4711.part").write_text("partial")
    (one, _) = files_of(sounds / "long")
    analyze_to_folder(random_model, [one], DetectionSettings(), tmp_path / "out", form="jsonl")
    assert sorted(contents(tmp_path / "out")) == [
        "errors.csv",
        "files.csv",
        "files/0.wav.jsonl",
        "parameters.json",
        "results.jsonl",
    ]


# ── names of results files ─────────────────────────────────────────────────────────────────────────────────────────


def test_names_of_results_files_are_unique_on_every_file_system():
    names = ["a.wav", "b.wav", "A.wav", "a.wav", "a.wav~2", "a.wav", "x/a.wav", "ä" * 150, "ä" * 150]
    found = list(unique_names(names))
    assert found[:7] == ["a.wav", "b.wav", "A.wav~2", "a.wav~3", "a.wav~2~2", "a.wav~4", "x/a.wav"]
    assert found[8] == found[7] + "~2"
    assert len(found[8].encode()) < 255 - len(".selections.txt")
    assert len({name.casefold() for name in found}) == len(names)


@pytest.mark.parametrize("name", ["rec.wav", "ä" * 150])
def test_equal_names_cost_the_same_for_each_file(name):
    small, large = (operations(lambda n=n: list(unique_names([name] * n))) for n in (500, 2000))
    assert large < 4.2 * small


# ── foreign files ──────────────────────────────────────────────────────────────────────────────────────────────────


def analyze_pair(model, sounds, out, **options):
    return analyze_to_folder(model, files_of(sounds / "long"), DetectionSettings(), out, **options)


def test_a_folder_with_a_parameters_json_of_another_program_is_rejected(random_model, sounds, tmp_path):
    (tmp_path / "p" / "files").mkdir(parents=True)
    (tmp_path / "p" / "parameters.json").write_text("{}")
    (tmp_path / "p" / "files" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match='"[^"]*p" is not a results folder: it contains "files"'):
        analyze_pair(random_model, sounds, tmp_path / "p")
    assert (tmp_path / "p" / "files" / "thesis.txt").read_text() == "mine"


def test_a_foreign_file_between_the_results_is_kept(random_model, sounds, tmp_path):
    analyze_pair(random_model, sounds, tmp_path / "out")
    (tmp_path / "out" / "files" / "thesis.txt").write_text("mine")
    analyze_pair(random_model, sounds, tmp_path / "out", form="jsonl")
    analyze_pair(random_model, sounds, tmp_path / "out", fresh=True)
    assert (tmp_path / "out" / "files" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["files/0.wav.jsonl", "results.jsonl", "files.csv"])
def test_a_foreign_file_in_the_way_is_kept_and_the_run_refused(random_model, sounds, tmp_path, name):
    analyze_pair(random_model, sounds, tmp_path / "out")
    (tmp_path / "out" / MANIFEST).write_text('{"soundmark_manifest": 1, "adopts": false}\n')
    path = tmp_path / "out" / name
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists already and was not written by soundmark. Move it, or choose"):
        analyze_pair(random_model, sounds, tmp_path / "out", form="jsonl")
    assert path.read_text() == "mine"


def test_files_behind_a_link_are_kept(random_model, sounds, tmp_path):
    analyze_pair(random_model, sounds, tmp_path / "out")
    (tmp_path / "out" / "files").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "thesis.txt").write_text("mine")
    (tmp_path / "out" / "files").symlink_to(tmp_path / "elsewhere")
    before = contents(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match=r'files" is a symbolic link: soundmark follows none in its output folder'):
        analyze_pair(random_model, sounds, tmp_path / "out", form="jsonl")
    assert contents(tmp_path / "elsewhere") == before


def test_the_output_folder_itself_may_be_a_link(random_model, sounds, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    assert analyze_pair(random_model, sounds, tmp_path / "out").resumed == 0
    assert analyze_pair(random_model, sounds, tmp_path / "out", form="jsonl").resumed == 2
    assert not (tmp_path / "disk" / "results.csv").exists()


def test_an_input_below_the_results_is_kept(random_model, sounds, tmp_path):
    analyze_pair(random_model, sounds, tmp_path / "out")
    inside = tmp_path / "out" / "files" / "rec.wav"
    inside.write_bytes((sounds / "long" / "0.wav").read_bytes())
    for form in ("csv", "jsonl"):
        analyze_to_folder(random_model, files_of(inside), DetectionSettings(), tmp_path / "out", form=form)
    assert inside.read_bytes() == (sounds / "long" / "0.wav").read_bytes()


def test_a_results_file_that_the_user_edited_is_kept(random_model, sounds, tmp_path, caplog):
    analyze_pair(random_model, sounds, tmp_path / "out")
    (tmp_path / "out" / "files" / "0.wav.csv").write_text("corrected by hand")
    analyze_pair(random_model, sounds, tmp_path / "out")
    assert (tmp_path / "out" / "files" / "0.wav.csv.changed").read_text() == "corrected by hand"
    assert 'was changed after soundmark wrote it: it is kept as "0.wav.csv.changed"' in caplog.text


def test_recordings_of_equal_name_size_and_time_in_other_folders_are_analysed(random_model, tmp_path, monkeypatch):
    name = "20240612_043000.wav"
    answers = []
    for number, recorder in enumerate(("A", "B")):
        audio.write(tmp_path / recorder / name, wave(3.0, number), RATE_HZ)
        os.utime(tmp_path / recorder / name, (1e9, 1e9))
        monkeypatch.chdir(tmp_path / recorder)
        done = analyze_to_folder(random_model, files_of(Path()), DetectionSettings(), Path("../out"))
        assert done.resumed == 0
        answers.append(done.results[0].answer)
    assert answers[0] != answers[1]
