"""Corrections: a data set that several people append to; nothing acknowledged is lost, nothing unknown is a label."""

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

import soundmark as sm
from soundmark import audio
from soundmark.datasets.layouts.corrections import source_name
from soundmark.detection.archive.corrections import HEADER
from soundmark.errors import AudioError, DatasetError, OutputError, SettingsError
from support.commands import run_soundmark
from support.foreign_files import KINDS, changes, put_folder, snapshot

RATE_HZ = 8000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """10 s of noise, quiet enough that its lowest bits matter."""
    path = tmp_path / "archive" / "dawn.wav"
    audio.write(path, np.random.default_rng(0).normal(0, 0.1, 10 * RATE_HZ), RATE_HZ)
    return path


@pytest.fixture
def corrections(tmp_path: Path) -> sm.Corrections:
    return sm.Corrections(tmp_path / "corrections")


def labels(corrections: sm.Corrections) -> list[tuple[str, str]]:
    data = sm.Dataset.open(corrections.folder)
    return [(clip.label, clip.source) for clip in data.clips]


def test_a_correction_is_a_clip_with_exactly_the_samples_of_the_section(recording, corrections):
    added = corrections.add(
        recording, 2.5, 4.0, decision="label", label="wren", reviewer="ann", score=0.25, asked="owl"
    )
    (clip,) = sm.Dataset.open(corrections.folder).clips
    assert (clip.label, clip.source, clip.start_s, clip.stop_s) == ("wren", source_name(recording), 0.0, 1.5)
    np.testing.assert_array_equal(clip.read().samples, audio.read(recording, start_s=2.5, stop_s=4.0).samples)
    (row,) = sm.Corrections(corrections.folder).standing()
    assert row == added
    assert (row.source_start_s, row.source_end_s, row.reviewer, row.score, row.asked) == (2.5, 4.0, "ann", 0.25, "owl")
    assert row.time.endswith("Z")


def test_a_no_or_a_skip_is_never_a_clip(recording, corrections):
    for number, decision in enumerate(("no", "skip")):
        assert corrections.add(recording, number, number + 1, decision=decision, asked="wren").path == ""
    with pytest.raises(DatasetError, match="no clip with a label: 2 decisions"):
        sm.Dataset.open(corrections.folder)
    corrections.add(recording, 5, 6, decision="yes", asked="owl")
    data = sm.Dataset.open(corrections.folder)
    assert (data.classes, len(data), data.skipped, data.multi_label) == (("owl",), 1, (), False)


def test_none_of_the_classes_is_the_background(recording, corrections):
    corrections.add(recording, 0, 1, decision="none", asked="wren")
    from soundmark.datasets.dataset import with_background

    assert with_background(sm.Dataset.open(corrections.folder), "auto").background == ("background",)


def test_a_later_decision_of_the_same_reviewer_replaces_an_earlier_one_and_undo_brings_it_back(recording, corrections):
    corrections.add(recording, 0, 1, decision="yes", asked="wren")
    second = corrections.add(recording, 0, 1, decision="label", label="owl", asked="wren")
    source = source_name(recording)
    assert labels(corrections) == [("owl", source)]
    corrections.undo(second)
    assert labels(corrections) == [("wren", source)]
    no = corrections.add(recording, 0, 1, decision="no", asked="wren")
    assert [each.decision for each in corrections] == ["no"]
    other = corrections.add(recording, 0, 1, decision="no", asked="owl")
    corrections.undo(no.id)
    assert [each.decision for each in corrections] == ["yes", "no"]
    with pytest.raises(SettingsError, match="undone already"):
        corrections.undo(no)
    with pytest.raises(SettingsError, match='have no decision "c000000000000000"'):
        corrections.undo("c000000000000000")
    assert other in corrections.standing()


def test_a_no_about_another_class_leaves_the_label(recording, corrections):
    corrections.add(recording, 0, 1, decision="yes", asked="wren")
    corrections.add(recording, 0, 1, decision="no", asked="owl")
    assert [label for label, _ in labels(corrections)] == ["wren"]


def test_sections_on_which_reviewers_disagree_are_skipped_with_both_views(recording, corrections):
    corrections.add(recording, 0, 1, decision="yes", asked="wren", reviewer="ann")
    corrections.add(recording, 0, 1, decision="label", label="owl", reviewer="ben")
    corrections.add(recording, 1, 2, decision="yes", asked="wren", reviewer="ann")
    corrections.add(recording, 1, 2, decision="yes", asked="wren", reviewer="ben")
    corrections.add(recording, 3, 4, decision="yes", asked="wren", reviewer="ann")
    corrections.add(recording, 3, 4, decision="no", asked="wren", reviewer="ben")
    data = sm.Dataset.open(corrections.folder)
    assert [clip.label for clip in data.clips] == ["wren"]
    assert [item.reason for item in data.skipped] == [
        "row 2: the reviewers disagree: ann says wren and ben says owl",
        "row 6: the reviewers disagree: ann says wren and ben says no wren",
    ]


def test_several_classes_make_it_multi_label(recording, corrections):
    corrections.add(recording, 0, 1, decision="label", label=["wren", "owl"])
    corrections.add(recording, 1, 2, decision="label", label="wren")
    data = sm.Dataset.open(corrections.folder)
    assert (data.multi_label, data.classes, data.clips[0].label) == (True, ("owl", "wren"), "wren;owl")


@pytest.mark.parametrize("cut", [1, 5, 17, 40])
def test_a_torn_last_row_is_ignored_and_repaired(recording, corrections, cut: int):
    for number in range(2):
        corrections.add(recording, number, number + 1, decision="label", label='the "wren", mostly')
    whole = corrections.table.read_bytes()
    corrections.table.write_bytes(whole[:-cut])
    kept = 2 if cut == 1 else 1  # without its line end, a row is still complete
    assert len(sm.Corrections(corrections.folder)) == kept
    assert sm.Dataset.open(corrections.folder).skipped == ()
    corrections.add(recording, 5, 6, decision="label", label="owl")
    data = sm.Dataset.open(corrections.folder)
    assert [clip.label for clip in data.clips] == ['the "wren", mostly'] * kept + ["owl"]
    assert data.skipped == ()
    assert corrections.table.read_bytes().startswith(whole[: len(whole) - 1 if cut == 1 else len(whole) // 2])


@pytest.mark.parametrize("length", [0, 3, len(HEADER)])
def test_a_torn_header_is_written_anew(recording, corrections, length: int):
    corrections.folder.mkdir()
    corrections.table.write_text(HEADER[:length])
    corrections.add(recording, 0, 1, decision="yes", asked="wren")
    assert [label for label, _ in labels(corrections)] == ["wren"]


def test_a_damaged_row_is_reported_and_the_others_are_read(recording, corrections):
    for number in range(3):
        corrections.add(recording, number, number + 1, decision="label", label="wren")
    lines = corrections.table.read_text().splitlines(keepends=True)
    corrections.table.write_text("".join([lines[0], lines[1], lines[2][:30] + '"\n', lines[3]]))
    data = sm.Dataset.open(corrections.folder)
    assert len(data) == 2
    assert [(item.path, item.reason) for item in data.skipped] == [
        ("corrections.csv", "row 3: it is incomplete or damaged")
    ]


def test_a_kill_between_clip_and_row_leaves_a_clip_that_does_no_harm(recording, corrections, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sm.Corrections, "_append", killed)
        with pytest.raises(KeyboardInterrupt):
            corrections.add(recording, 0, 1, decision="label", label="wren")
    assert len(list((corrections.folder / "clips").iterdir())) == 1
    assert len(corrections) == 0
    corrections.add(recording, 1, 2, decision="label", label="owl")
    assert [label for label, _ in labels(corrections)] == ["owl"]


def test_two_folders_joined_by_hand_or_by_merge_have_all_clips_once(recording, corrections, tmp_path: Path):
    other = sm.Corrections(tmp_path / "other")
    for each, reviewer in ((corrections, "ann"), (other, "ben")):
        each.add(recording, 0, 1, decision="yes", asked="wren", reviewer=reviewer)
        each.add(recording, 1, 2, decision="yes", asked=f"owl of {reviewer}", reviewer=reviewer)
    other.undo(other.standing()[1])
    by_hand = sm.Corrections(tmp_path / "by hand")
    (by_hand.folder / "clips").mkdir(parents=True)
    for each in (corrections, other, other):
        for clip in (each.folder / "clips").iterdir():
            (by_hand.folder / "clips" / clip.name).write_bytes(clip.read_bytes())
        with by_hand.table.open("ab") as file:
            file.write(each.table.read_bytes())
    assert corrections.merge(other.folder) == 3
    assert corrections.merge(other.folder) == 0
    for merged in (corrections, by_hand):
        assert sorted(label for label, _ in labels(merged)) == ["owl of ann", "wren"]
        assert len(list((merged.folder / "clips").iterdir())) == 2
        assert merged.rows.damaged == ()
    with pytest.raises(DatasetError, match="not a folder of corrections"):
        corrections.merge(tmp_path)


def test_the_corrections_of_two_people_are_merged_by_the_command(recording, corrections, tmp_path: Path):
    other = sm.Corrections(tmp_path / "other")
    corrections.add(recording, 0, 1, decision="yes", asked="wren", reviewer="ann")
    other.add(recording, 1, 2, decision="yes", asked="owl", reviewer="ben")
    for said in ("2 decisions added; 2 count.", "0 decisions added; 2 count."):
        done = run_soundmark("merge", tmp_path / "both", corrections.folder, other.folder)
        assert (done.returncode, done.stderr.strip()) == (0, said)
    assert [label for label, _ in labels(sm.Corrections(tmp_path / "both"))] == ["wren", "owl"]


def test_names_of_equal_recordings_of_different_content_differ(tmp_path: Path):
    for name, value in (("a", 0.1), ("b", 0.2)):
        audio.write(tmp_path / name / "rec.wav", np.full(8000, value), RATE_HZ)
    names = {source_name(tmp_path / name / "rec.wav") for name in "ab"}
    assert len(names) == 2
    assert all(name.startswith("rec.wav ") for name in names)


def test_sections_are_found_again_in_recordings_that_moved(recording, corrections, tmp_path: Path):
    corrections.add(recording, 2, 3, decision="label", label="wren")
    corrections.add(recording, 4, 5, decision="no", asked="wren")
    other = tmp_path / "other" / "dawn.wav"
    audio.write(other, np.zeros(8000), RATE_HZ)
    moved = tmp_path / "moved" / "dawn.wav"
    moved.parent.mkdir()
    recording.rename(moved)
    gone = str(tmp_path / "gone" / "dawn.wav")
    found = corrections.located([str(tmp_path / "none.wav"), gone, str(other), str(moved)])
    assert [(clip.path, clip.start_s, clip.stop_s, clip.label) for _, clip in found] == [
        (moved, 2.0, 3.0, "wren"),
        (moved, 4.0, 5.0, ""),
    ]


@pytest.mark.parametrize("name", ["../../evil", "a/b", "C:\\evil", ".", "\u202eevil", "x" * 400, "Zaunkönig"])
def test_a_name_from_outside_is_never_a_path(corrections, name: str):
    sound = sm.Sound(np.full(8000, 0.1, np.float32), RATE_HZ)
    added = corrections.add(sound, 0, 1, decision="label", label=name.replace("\u202e", ""), source=name)
    assert (corrections.folder / added.path).resolve().parent == (corrections.folder / "clips").resolve()
    assert len(Path(added.path).name) < 100
    assert [clip.label for clip in sm.Dataset.open(corrections.folder).clips] == [added.label]


def test_a_table_from_elsewhere_cannot_name_files_outside_of_its_clips(recording, corrections):
    added = corrections.add(recording, 0, 1, decision="label", label="wren")
    text = corrections.table.read_text()
    for path in ("../archive/dawn.wav", "/etc/passwd", "clips/../../archive/dawn.wav", "clips/.hidden.wav"):
        corrections.table.write_text(text.replace(added.path, path))
        assert len(sm.Corrections(corrections.folder).rows.damaged) == 1, path


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"decision": "maybe"}, "there is no decision"),
        ({"decision": "undo"}, 'there is no decision "undo"'),
        ({"decision": "label"}, 'the label "" is not valid'),
        ({"decision": "label", "label": "a;b"}, "without a semicolon"),
        ({"decision": "label", "label": "a\nb"}, "a line of at most"),
        ({"decision": "no", "asked": "wren", "label": "owl"}, "has no label"),
        ({"decision": "label", "label": "wren", "start_s": 3.0, "end_s": 3.0}, "the first smaller"),
        ({"decision": "label", "label": "wren", "start_s": float("nan")}, "the first smaller"),
        ({"decision": "label", "label": "wren", "reviewer": "x" * 201}, "at most 200"),
    ],
)
def test_what_is_not_valid_is_refused_and_leaves_nothing(recording, corrections, wrong, message):
    values = {"start_s": 0.0, "end_s": 1.0, **wrong}
    with pytest.raises(SettingsError, match=message):
        corrections.add(recording, values.pop("start_s"), values.pop("end_s"), **values)
    assert not corrections.folder.exists()


def test_a_section_outside_of_the_recording_is_refused(recording, corrections):
    with pytest.raises(AudioError, match="dawn.wav"):
        corrections.add(recording, 20.0, 21.0, decision="label", label="wren")
    with pytest.raises(SettingsError, match="need a source"):
        corrections.add(sm.Sound(np.zeros(10, np.float32), 10), 0, 1, decision="label", label="wren")


def test_a_clip_with_speech_is_discarded_and_its_decision_kept(recording, tmp_path: Path):
    class Speech:
        def find(self, sound: sm.Sound) -> str | None:
            return "Speech" if sound.duration_s > 1.5 else None

    corrections = sm.Corrections(tmp_path / "corrections", speech=Speech())
    spoken = corrections.add(recording, 0, 2, decision="yes", asked="wren", reviewer="ann")
    corrections.add(recording, 3, 4, decision="yes", asked="owl", reviewer="ann")
    assert (spoken.path, spoken.label) == ("", "wren")
    assert [each.label for each in corrections] == ["wren", "owl"]
    data = sm.Dataset.open(corrections.folder)
    assert ([clip.label for clip in data.clips], data.skipped) == (["owl"], ())
    assert len(list((corrections.folder / "clips").iterdir())) == 1


def test_the_disk_is_bounded(recording, tmp_path: Path):
    small = sm.Corrections(tmp_path / "small", max_bytes=20_000)
    small.add(recording, 0, 1, decision="label", label="wren")
    with pytest.raises(OutputError, match="the limit is 0.02 MB"):
        small.add(recording, 1, 2, decision="label", label="wren")
    assert small.add(recording, 0, 1, decision="label", label="owl").path  # this clip is there already
    small.add(recording, 1, 2, decision="no", asked="wren")
    assert [label for label, _ in labels(small)] == ["owl"]


def test_a_table_with_other_columns_is_not_touched(recording, corrections):
    corrections.folder.mkdir()
    corrections.table.write_text("path,label\nmine.wav,wren\n")
    with pytest.raises(OutputError, match="has other columns"):
        corrections.add(recording, 0, 1, decision="label", label="owl")
    assert corrections.table.read_text() == "path,label\nmine.wav,wren\n"


@pytest.mark.skipif(os.name == "nt", reason="the test needs symbolic links")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.removeprefix("put_"))
def test_nothing_foreign_is_changed(recording, tmp_path: Path, kind):
    other = sm.Corrections(tmp_path / "other")
    clip = other.add(recording, 0, 1, decision="label", label="wren").path
    for number, name in enumerate(("corrections.csv", "clips", clip, ".lock")):
        place, elsewhere = tmp_path / f"{number}", tmp_path / f"{number}" / "elsewhere"
        elsewhere.mkdir(parents=True)
        (place / "out" / name).parent.mkdir(parents=True)
        kind(place / "out" / name, elsewhere)
        before = snapshot(place)
        corrections = sm.Corrections(place / "out")
        is_allowed = kind is put_folder and name == "clips"
        calls = (partial(corrections.add, recording, 0, 1, decision="none"), partial(corrections.merge, other.folder))
        for call in calls:
            with nullcontext() if is_allowed else pytest.raises((OutputError, DatasetError)):
                call()
        after = snapshot(place)
        assert changes(before, after) == [], name
        assert [path for path in after if path not in before and str(elsewhere) in path] == [], name


@pytest.mark.skipif(os.name == "nt", reason="the test needs symbolic links")
@pytest.mark.parametrize("target", ["secret.txt", "pipe", "/dev/zero"])
def test_a_clip_of_a_merged_folder_cannot_be_a_link_out_of_it(recording, corrections, tmp_path: Path, target: str):
    other = sm.Corrections(tmp_path / "other")
    clip = other.folder / other.add(recording, 0, 1, decision="label", label="wren").path
    (tmp_path / "secret.txt").write_text("secret")
    os.mkfifo(tmp_path / "pipe")
    clip.unlink()
    clip.symlink_to(tmp_path / target)
    with pytest.raises(AudioError, match="is a link out of its folder of corrections"):
        corrections.merge(other.folder)
    clip.unlink()
    os.mkfifo(clip)
    with pytest.raises(AudioError, match="cannot be read: it is not a regular file"):
        corrections.merge(other.folder)
    assert len(corrections) == 0


def test_clips_of_the_same_name_with_other_sounds_are_not_mixed_up(recording, corrections, tmp_path: Path):
    other = sm.Corrections(tmp_path / "other")
    clip = other.add(recording, 0, 1, decision="label", label="wren").path
    corrections.add(recording, 2, 3, decision="label", label="owl")
    audio.write(corrections.folder / clip, audio.read(recording, start_s=5.0, stop_s=6.0).samples, RATE_HZ)
    with pytest.raises(OutputError, match="exists already and is another clip"):
        corrections.merge(other.folder)
    same = audio.read(other.folder / clip).samples
    soundfile.write(corrections.folder / clip, same, RATE_HZ, format="WAV", subtype="PCM_24")  # other bytes
    assert (corrections.folder / clip).read_bytes() != (other.folder / clip).read_bytes()
    assert corrections.merge(other.folder) == 1


def test_a_label_that_is_too_long_is_a_damaged_row(recording, corrections):
    corrections.add(recording, 0, 1, decision="label", label="wren")
    corrections.add(recording, 1, 2, decision="label", label="owl")
    table = corrections.table.read_text()
    corrections.table.write_text(table.replace("wren", "w" * 100_000).replace("owl", "owl;robin"))
    assert [label for label, _ in labels(corrections)] == ["owl;robin"]
    assert [each.reason for each in corrections.rows.damaged] == ["row 2: it is incomplete or damaged"]


@pytest.mark.skipif(os.name == "nt", reason="the test needs pipes")
def test_a_table_that_is_a_pipe_is_not_waited_for(recording, corrections):
    corrections.folder.mkdir()
    os.mkfifo(corrections.table)
    with pytest.raises(DatasetError, match="cannot be read: it is not a regular file"):
        len(corrections)
    with pytest.raises(OutputError, match="is not a regular file"):
        corrections.add(recording, 0, 1, decision="no", asked="wren")


@pytest.mark.skipif(os.name == "nt", reason="the test needs pipes")
def test_a_recording_that_is_a_pipe_is_not_waited_for(corrections, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match="is not a regular file"):
        corrections.add(tmp_path / "pipe.wav", 0, 1, decision="no", asked="wren")


def test_threads_and_processes_add_at_once(recording, corrections):
    code = f"""
        import soundmark as sm
        corrections = sm.Corrections({str(corrections.folder)!r})
        for number in range(8):
            corrections.add({str(recording)!r}, number, number + 1, decision="label", label="wren", reviewer="REVIEWER")
    """
    processes = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(code).replace("REVIEWER", name)], env=os.environ)
        for name in ("ann", "ben")
    ]
    with ThreadPoolExecutor(4) as pool:
        one = [
            pool.submit(corrections.add, recording, number, number + 1, decision="label", label="owl", reviewer="cleo")
            for number in range(8)
        ]
        assert len({each.result().id for each in one}) == 8
    assert [process.wait(60) for process in processes] == [0, 0]
    rows = sm.Corrections(corrections.folder).rows
    assert (len(rows.corrections), rows.damaged) == (24, ())
    assert len(list((corrections.folder / "clips").iterdir())) == 8
