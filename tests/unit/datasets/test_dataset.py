"""``Dataset``: classes, labels, folds, recordings, fingerprint and window length."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from soundmark.datasets import Clip, Dataset, Skipped
from soundmark.datasets.dataset import relative, typical_length_s
from soundmark.errors import DatasetError
from support.layouts import write_labels, write_tone


def clips(*labels: str) -> tuple[Clip, ...]:
    return tuple(Clip(path=Path(f"{i}.wav"), label=label) for i, label in enumerate(labels))


# --- Classes and clips ------------------------------------------------------------------------------------------------


def test_an_unknown_label_is_an_error():
    with pytest.raises(DatasetError, match=r'label "fox" is not a class of pets. Known: cat, dog'):
        Dataset(name="pets", root=Path(), classes=("cat", "dog"), clips=clips("dog", "fox"))


def test_a_duplicate_class_is_an_error():
    with pytest.raises(DatasetError, match='duplicate class "dog" in pets: list each class once'):
        Dataset(name="pets", root=Path(), classes=("dog", "dog"), clips=())


def test_a_data_set_is_immutable():
    data = Dataset(name="pets", root=Path(), classes=("dog",), clips=clips("dog"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "zoo"  # type: ignore[misc]


def test_a_data_set_without_clips_has_empty_arrays():
    data = Dataset(name="none", root=Path(), classes=("dog",), clips=())
    assert data.labels.shape == data.sources.shape == data.fold_of.shape == (0,)
    assert data.folds == ()
    assert data.share == "0 of 0 clips (100 %)"


def test_select_and_without_keep_order():
    data = Dataset(name="pets", root=Path(), classes=("cat", "dog"), clips=clips("cat", "dog", "dog"))
    assert [clip.path.name for clip in data.select(np.array([2, 0])).clips] == ["2.wav", "0.wav"]
    assert [clip.path.name for clip in data.without([1]).clips] == ["0.wav", "2.wav"]
    assert data.without([0]).classes == ("cat", "dog")
    assert data.without([]) == data


# --- Number of clips --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("available", "complete", "share"),
    [
        (1, 8732, "1 of 8 732 clips (< 1 %)"),
        (3, 4, "3 of 4 clips (75 %)"),
        (999, 1000, "999 of 1 000 clips (99 %)"),
        (4, 4, "4 of 4 clips (100 %)"),
        (5, 4, "5 of 5 clips (100 %)"),
        (5, None, "5 of 5 clips (100 %)"),
    ],
)
def test_share_is_the_number_of_clips_with_a_percentage(available: int, complete: int | None, share: str):
    data = Dataset(name="x", root=Path(), classes=("a",), clips=clips("a") * available, complete_size=complete)
    assert data.share == share


def test_share_counts_skipped_files():
    data = Dataset(name="x", root=Path(), classes=("a",), clips=clips("a"), skipped=(Skipped("b.wav", "gone"),) * 3)
    assert data.share == "1 of 4 clips (25 %)"


# --- Recordings and paths ---------------------------------------------------------------------------------------------


def test_an_unknown_source_is_replaced_by_the_path():
    pair = (Clip(path=Path("d/a.wav"), label="x"), Clip(path=Path("d/b.wav"), label="x", source="7"))
    assert Dataset(name="d", root=Path("d"), classes=("x",), clips=pair).sources.tolist() == ["a.wav", "7"]


def test_sources_are_known_only_if_every_clip_has_one():
    tagged, bare = Clip(path=Path("a.wav"), label="x", source="7"), Clip(path=Path("b.wav"), label="x")
    data = Dataset(name="x", root=Path(), classes=("x",), clips=(tagged, bare))
    assert not data.sources_known
    assert data.select([0]).sources_known


def test_relative_path_inside_and_outside_the_root(tmp_path: Path):
    assert relative(tmp_path / "a" / "b.wav", tmp_path) == "a/b.wav"
    assert relative(tmp_path / "a" / ".." / "b.wav", tmp_path) == "b.wav"
    assert relative(tmp_path / "b.wav", tmp_path / "a") == "../b.wav"
    assert relative(tmp_path / "ab" / "c.wav", tmp_path / "a") == "../ab/c.wav"


# --- Fingerprint ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"label": "cat"}, {"fold": 3}, {"source": "r2"}, {"start_s": 0.5}, {"stop_s": 1.0}])
def test_fingerprint_changes_with_a_clip_the_classes_or_the_order(tmp_path: Path, change: dict[str, object]):
    data = Dataset.open(write_labels(tmp_path))
    changed = dataclasses.replace(data, clips=(dataclasses.replace(data.clips[0], **change), *data.clips[1:]))
    assert changed.fingerprint != data.fingerprint
    assert dataclasses.replace(data, classes=data.classes[::-1]).fingerprint != data.fingerprint
    assert data.select([1, 0]).fingerprint != data.fingerprint


def test_fingerprint_differs_between_single_label_and_multi_label_data():
    single = Dataset(name="x", root=Path(), classes=("a", "b"), clips=clips("a", "b"))
    multi = dataclasses.replace(single, multi_label=True)
    assert multi.fingerprint != single.fingerprint
    assert multi.targets.tolist() == single.targets.tolist() == [[1, 0], [0, 1]]


# --- Window length ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lengths_s", "window_s"),
    [
        ([0.0001], 0.1),
        ([4.0], 4.0),
        ([4.0 + 1 / 44100], 4.0),  # one sample too long
        ([4.002], 4.1),
        ([1.0, 1.5, 3.0], 3.0),  # at most twice the median: the longest clip
        ([5.0] * 10 + [28.0], 5.0),  # longer: the median, so that one long file does not stretch all windows
        ([120.0] * 8, 10.0),  # a model with windows of 120 s could not be loaded
        ([0.3, 2.0, 600.0], 2.0),
    ],
)
def test_typical_length_is_the_longest_clip_or_the_median_rounded_up(lengths_s: list[float], window_s: float):
    of_lengths = [Clip(path=Path("a.wav"), label="x", stop_s=length) for length in lengths_s]
    assert typical_length_s(of_lengths) == window_s


def test_typical_length_reads_file_headers(tmp_path: Path):
    path, missing = write_tone(tmp_path / "mia.wav", 2.0), Clip(path=tmp_path / "none.wav", label="x")
    entire, section = Clip(path=path, label="x"), Clip(path=path, label="x", start_s=1.5)
    assert typical_length_s([entire]) == 2.0
    assert typical_length_s([section]) == 0.5
    assert typical_length_s([missing, entire]) == 2.0
    assert typical_length_s([missing]) == 4.0
    assert typical_length_s([]) == 4.0
