"""Several data sets as one: recordings stay apart, and corrections stay with the recording that they are about."""

from pathlib import Path

import numpy as np
import pytest

import soundmark as sm
from soundmark import audio
from soundmark.datasets.layouts.joining import joined
from soundmark.errors import DatasetError

RATE_HZ = 8000


def write_dataset(folder: Path, *, seed: int) -> sm.Dataset:
    """Two clips of each of two classes; the clips of a class are of one recording."""
    rows = ["path,label,fold,source"]
    for number, label in enumerate(("wren", "owl")):
        for take in range(2):
            name = f"{label}-{take}.wav"
            noise = np.random.default_rng([seed, number, take]).normal(0, 0.1, 4 * RATE_HZ)
            audio.write(folder / name, noise, RATE_HZ)
            rows.append(f"{name},{label},{number + 1},{number}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return sm.Dataset.open(folder / "labels.csv")


@pytest.fixture
def data(tmp_path: Path) -> sm.Dataset:
    return write_dataset(tmp_path / "data", seed=1)


def test_recordings_with_equal_names_in_two_data_sets_are_different(data, tmp_path: Path):
    both = joined([data, write_dataset(tmp_path / "more", seed=2)])
    assert (len(both), both.classes, both.name, both.root) == (8, ("wren", "owl"), "labels + labels 2", data.root)
    assert sorted(set(both.sources)) == ["0", "1", "labels 2/0", "labels 2/1"]


def test_a_correction_of_a_clip_replaces_it_and_keeps_its_recording_and_fold(data, tmp_path: Path, caplog):
    corrections = sm.Corrections(tmp_path / "corrections")
    corrections.add(data[0].path, 0.5, 4.0, decision="label", label="robin", asked="wren")
    corrections.add(data[1].path, 0.0, 1.0, decision="label", label="robin")
    elsewhere = tmp_path / "elsewhere" / data[0].path.name
    audio.write(elsewhere, np.random.default_rng(9).normal(0, 0.1, 4 * RATE_HZ), RATE_HZ)
    other = corrections.add(elsewhere, 0, 2, decision="yes", asked="owl")
    both = joined([data, sm.Dataset.open(corrections.folder)])
    assert [(clip.label, clip.source, clip.fold) for clip in both.clips] == [
        ("wren", "0", 1),
        ("owl", "1", 2),
        ("owl", "1", 2),
        ("robin", "0", 1),
        ("robin", "0", 1),
        ("owl", other.source, None),
    ]
    assert caplog.messages == ["labels + corrections: corrections replace 1 clip."]
    assert both.classes == ("wren", "owl", "robin")


def test_a_clip_is_in_the_result_once(data, caplog):
    both = joined([data, data])
    assert len(both) == 4
    assert caplog.messages == ["labels + labels 2: 4 clips in more than one data set, used once."]
    assert joined([data]) is data
    with pytest.raises(DatasetError, match="at least one"):
        joined([])


def test_corrections_of_two_people_are_of_the_same_recordings(data, tmp_path: Path):
    people = [sm.Corrections(tmp_path / name) for name in ("ann", "ben")]
    for number, person in enumerate(people):
        person.add(data[0].path, number, number + 1, decision="label", label="wren")
    both = joined([sm.Dataset.open(person.folder) for person in people])
    assert len(both) == 2
    assert len(set(both.sources)) == 1


def test_multi_label_data_make_the_result_multi_label(data, tmp_path: Path):
    corrections = sm.Corrections(tmp_path / "corrections")
    corrections.add(data[0].path, 0.0, 1.0, decision="label", label=["wren", "robin"])
    both = joined([data, sm.Dataset.open(corrections.folder)])
    assert both.multi_label
    np.testing.assert_array_equal(both.targets[-1], [1, 0, 1])
