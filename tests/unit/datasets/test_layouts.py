"""Every layout, recognised and read; every row that cannot be meant, refused by name."""

import csv
import dataclasses
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from soundmark import audio
from soundmark.audio.folders import FolderListing
from soundmark.datasets import Clip, Dataset, Skipped, synthetic
from soundmark.datasets.dataset import relative, typical_length_s
from soundmark.datasets.layouts import LAYOUTS, urbansound8k
from soundmark.errors import DatasetError, SettingsError

US8K = "slice_file_name,fsID,start,end,salience,fold,classID,class"
ESC = "filename,fold,target,category,esc10,src_file,take"


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x" * len(name))
    return root


def table(path: Path, *rows: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(rows).encode(encoding))
    return path


def tone(path: Path, seconds: float = 1.0, rate_hz: int = 8000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    audio.write(path, 0.5 * np.sin(np.arange(round(seconds * rate_hz)) * 0.3), rate_hz)
    return path


def a_urbansound8k(folder: Path) -> Path:
    root = touch(folder / "UrbanSound8K", "audio/fold5/100032-3-0-0.wav", "audio/fold1/7061-6-0-0.wav")
    table(
        root / "metadata" / "UrbanSound8K.csv",
        US8K,
        "7061-6-0-0.wav,7061,9.012075,9.835306,1,1,6,gun_shot",
        "24074-1-0-7.wav,24074,21.5,25.5,2,2,1,car_horn",
        "100032-3-0-0.wav,100032,0.0,0.317551,2,5,3,dog_bark",
    )
    return root


def an_esc50(folder: Path) -> Path:
    root = touch(folder / "ESC-50-master", "audio/1-100032-A-0.wav", "audio/2-1-A-14.wav", "audio/3-9-B-7.wav")
    table(
        root / "meta" / "esc50.csv",
        ESC,
        "2-1-A-14.wav,2,14,chirping_birds,False,1,A",
        "1-100032-A-0.wav,1,0,dog,True,100032,A",
        "3-9-B-7.wav,3,7,rooster,True,9,B",
        "5-9-B-7.wav,5,7,rooster,True,9,C",
    )
    return root


def a_table(folder: Path) -> Path:
    touch(folder / "pets", "rex.wav", "sub/mia.wav")
    return table(
        folder / "pets" / "labels.csv",
        "path,label,start,end,fold,source",
        "rex.wav,dog,0,1.5,1,r1",
        "gone.wav,dog,0,1,1,r1",
        "sub/mia.wav,cat,,,2,",
    )


def a_folder(folder: Path) -> Path:
    root = touch(folder / "zoo", "dog/fold1/rex.wav", "dog/fold2/fido.wav", "cat/1/mia.flac", "cat/2/tom.m4a")
    (root / "empty").mkdir()
    return root


BUILD: dict[str, Callable[[Path], Path]] = {
    "urbansound8k": a_urbansound8k,
    "esc50": an_esc50,
    "table": a_table,
    "folders": a_folder,
}
"""One small copy of each layout, in which something is missing."""


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A folder with two real sounds of one and two seconds."""
    tone(tmp_path / "rex.wav", 1.0)
    tone(tmp_path / "mia.wav", 2.0)
    return tmp_path


# --- What holds for every layout --------------------------------------------------------------------------------------


def test_every_layout_is_tested():
    assert set(BUILD) == set(LAYOUTS)


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    return request.param


def test_nothing_is_dropped_in_silence(layout: str, tmp_path: Path):
    data = Dataset.open(BUILD[layout](tmp_path))
    named = {"urbansound8k": 3, "esc50": 4, "table": 3, "folders": 5}[layout]
    assert len(data.clips) + len(data.skipped) == named
    assert data.skipped
    assert all(skipped.reason for skipped in data.skipped)


def test_every_clip_is_on_the_disk_and_of_a_class(layout: str, tmp_path: Path):
    data = Dataset.open(BUILD[layout](tmp_path))
    assert all(clip.path.is_file() for clip in data.clips)
    assert data.labels.dtype == np.int64
    assert [data.classes[i] for i in data.labels] == [clip.label for clip in data.clips]
    assert data.sources.shape == data.fold_of.shape == (len(data.clips),)
    assert not data.labels.flags.writeable


def test_fingerprint_is_the_same_at_another_place(layout: str, tmp_path: Path):
    here, there = Dataset.open(BUILD[layout](tmp_path / "a")), Dataset.open(BUILD[layout](tmp_path / "b" / "c"))
    assert here.fingerprint == there.fingerprint
    assert len(here.fingerprint) == 16
    assert here.root != there.root


def test_fingerprint_changes_with_a_file_size(layout: str, tmp_path: Path):
    path = BUILD[layout](tmp_path)
    data = Dataset.open(path)
    before = data.fingerprint
    with data.clips[0].path.open("ab") as file:
        file.write(b"!")
    assert Dataset.open(path).fingerprint != before


def test_a_refused_option_is_named(layout: str, tmp_path: Path):
    option = {"classes": ["dog"]} if layout in ("urbansound8k", "esc50") else {"subset": "esc10"}
    with pytest.raises(SettingsError, match=rf'has no option "{next(iter(option))}"'):
        Dataset.open(BUILD[layout](tmp_path), **option)


def test_opening_reads_relative_paths_too(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = BUILD[layout](tmp_path)
    absolute = Dataset.open(path)
    monkeypatch.chdir(tmp_path)
    data = Dataset.open(path.relative_to(tmp_path))
    assert data.fingerprint == absolute.fingerprint
    monkeypatch.chdir(path if path.is_dir() else path.parent)
    assert Dataset.open("." if path.is_dir() else path.name).fingerprint == absolute.fingerprint


@pytest.mark.parametrize("change", [{"label": "cat"}, {"fold": 3}, {"source": "r2"}, {"start_s": 0.5}, {"stop_s": 1.0}])
def test_fingerprint_changes_with_a_row(tmp_path: Path, change: dict[str, object]):
    data = Dataset.open(a_table(tmp_path))
    changed = dataclasses.replace(data, clips=(dataclasses.replace(data.clips[0], **change), *data.clips[1:]))
    assert changed.fingerprint != data.fingerprint
    assert dataclasses.replace(data, classes=data.classes[::-1]).fingerprint != data.fingerprint
    assert data.select([1, 0]).fingerprint != data.fingerprint


# --- The data set itself ----------------------------------------------------------------------------------------------


def clips(*labels: str) -> tuple[Clip, ...]:
    return tuple(Clip(path=Path(f"{i}.wav"), label=label) for i, label in enumerate(labels))


def test_a_label_outside_the_classes_is_refused():
    with pytest.raises(DatasetError, match=r'label "fox" is not a class of pets. Known: cat, dog'):
        Dataset(name="pets", root=Path(), classes=("cat", "dog"), clips=clips("dog", "fox"))


def test_a_class_named_twice_is_refused():
    with pytest.raises(DatasetError, match='class "dog" stands twice'):
        Dataset(name="pets", root=Path(), classes=("dog", "dog"), clips=())


def test_the_data_set_cannot_be_written_to():
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


@pytest.mark.parametrize(
    ("there", "complete", "share"),
    [
        (1, 8732, "1 of 8 732 clips (< 1 %)"),
        (3, 4, "3 of 4 clips (75 %)"),
        (999, 1000, "999 of 1 000 clips (99 %)"),
        (4, 4, "4 of 4 clips (100 %)"),
        (5, 4, "5 of 5 clips (100 %)"),
        (5, None, "5 of 5 clips (100 %)"),
    ],
)
def test_share_in_words(there: int, complete: int | None, share: str):
    data = Dataset(name="x", root=Path(), classes=("a",), clips=clips("a") * there, complete_size=complete)
    assert data.share == share


def test_share_counts_what_the_table_names():
    data = Dataset(name="x", root=Path(), classes=("a",), clips=clips("a"), skipped=(Skipped("b.wav", "gone"),) * 3)
    assert data.share == "1 of 4 clips (25 %)"


def test_sources_fall_back_on_the_path():
    pair = (Clip(path=Path("d/a.wav"), label="x"), Clip(path=Path("d/b.wav"), label="x", source="7"))
    assert Dataset(name="d", root=Path("d"), classes=("x",), clips=pair).sources.tolist() == ["a.wav", "7"]


def test_sources_are_known_only_where_every_clip_has_one():
    tagged, bare = Clip(path=Path("a.wav"), label="x", source="7"), Clip(path=Path("b.wav"), label="x")
    data = Dataset(name="x", root=Path(), classes=("x",), clips=(tagged, bare))
    assert not data.sources_known
    assert data.select([0]).sources_known


def test_relative_path_outside_the_root(tmp_path: Path):
    assert relative(tmp_path / "a" / "b.wav", tmp_path) == "a/b.wav"
    assert relative(tmp_path / "a" / ".." / "b.wav", tmp_path) == "b.wav"
    assert relative(tmp_path / "b.wav", tmp_path / "a") == "../b.wav"
    assert relative(tmp_path / "ab" / "c.wav", tmp_path / "a") == "../ab/c.wav"


def test_listing_sees_files_only(tmp_path: Path):
    touch(tmp_path, "a.wav", "folder/b.wav")
    (tmp_path / "lost.wav").symlink_to(tmp_path / "nowhere.wav")
    listing = FolderListing()
    assert listing.has(tmp_path / "a.wav")
    assert listing.size(tmp_path / "folder" / "b.wav") == len("folder/b.wav")
    assert not listing.has(tmp_path / "folder")
    assert not listing.has(tmp_path / "lost.wav")
    assert not listing.has(tmp_path / "a.wav" / "c.wav")
    assert listing.size(tmp_path / "none" / "c.wav") is None


@pytest.mark.parametrize(
    ("lengths_s", "window_s"),
    [
        ([0.0001], 0.1),
        ([4.0], 4.0),
        ([4.0 + 1 / 44100], 4.0),  # a sample too long
        ([4.002], 4.1),
        ([1.0] * 96 + [30.0] * 4, 30.0),  # the longest is heard whole
        ([1.0] * 96 + [30.2] * 4, 1.0),  # a few that are very long do not count
        ([1.0] * 90 + [60.0] * 10, 60.0),
    ],
)
def test_typical_length_is_the_longest_or_the_95th_percentile_rounded_up(lengths_s: list[float], window_s: float):
    some = [Clip(path=Path("a.wav"), label="x", stop_s=length) for length in lengths_s]
    assert typical_length_s(some) == window_s


def test_typical_length_reads_headers(pets: Path):
    some = [Clip(path=pets / "mia.wav", label="x"), Clip(path=pets / "mia.wav", label="x", start_s=1.5)]
    assert typical_length_s(some[:1]) == 2.0
    assert typical_length_s(some[1:]) == 0.5
    assert typical_length_s([Clip(path=pets / "none.wav", label="x"), *some[:1]]) == 2.0
    assert typical_length_s([Clip(path=pets / "none.wav", label="x")]) == 4.0
    assert typical_length_s([]) == 4.0


# --- What is no data set ----------------------------------------------------------------------------------------------


def test_a_wrong_path_says_what_to_give(tmp_path: Path):
    with pytest.raises(DatasetError, match=r'there is no ".*nowhere". Give the folder of UrbanSound8K'):
        Dataset.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "kind"), [("rex.wav", "a sound file, not"), ("recipe.toml", "not"), ("labels", "not")]
)
def test_a_file_that_is_no_table_is_no_data_set(pets: Path, name: str, kind: str):
    (pets / name).touch()
    with pytest.raises(DatasetError, match=rf'{name}" is {kind} a data set. Give'):
        Dataset.open(pets / name)


# --- UrbanSound8K -----------------------------------------------------------------------------------------------------


def test_urbansound8k_rows(tmp_path: Path):
    data = Dataset.open(a_urbansound8k(tmp_path))
    assert data.name == "UrbanSound8K"
    assert data.licence == "CC BY-NC 3.0"
    assert data.classes[6] == "gun_shot"
    assert data.window_s == 4.0
    first, second = data.clips
    assert first.path == data.root / "audio" / "fold1" / "7061-6-0-0.wav"
    assert (first.fold, first.source, first.salience, first.stop_s) == (1, "7061", "foreground", None)
    assert second.salience == "background"
    assert first.expected_s == pytest.approx(0.823231)
    assert data.skipped == (Skipped("audio/fold2/24074-1-0-7.wav", "row 3: it is not there"),)
    assert data.share == "2 of 8 732 clips (< 1 %)"


@pytest.mark.parametrize("off", ["..", "metadata", "audio", "metadata/UrbanSound8K.csv"])
def test_urbansound8k_one_level_off(tmp_path: Path, off: str):
    root = a_urbansound8k(tmp_path)
    data = Dataset.open(root.parent if off == ".." else root / off)
    assert data.root == root
    assert len(data.clips) == 2


@pytest.mark.parametrize("give", ["", "UrbanSound8K.csv"])
def test_urbansound8k_with_its_table_beside_the_folds(tmp_path: Path, give: str):
    root = a_urbansound8k(tmp_path)
    shutil.move(root / "metadata" / "UrbanSound8K.csv", root)
    for fold in ("fold1", "fold5"):
        shutil.move(root / "audio" / fold, root)
    (root / "audio").rmdir()
    assert [clip.path.parent.name for clip in Dataset.open(root / give).clips] == ["fold1", "fold5"]


def test_urbansound8k_without_its_table(tmp_path: Path):
    root = a_urbansound8k(tmp_path)
    shutil.rmtree(root / "metadata")
    with pytest.raises(DatasetError, match=r"looks like UrbanSound8K, but .*UrbanSound8K.csv.* is not there"):
        Dataset.open(root)


def test_urbansound8k_without_its_files(tmp_path: Path):
    root = a_urbansound8k(tmp_path)
    shutil.rmtree(root / "audio")
    with pytest.raises(DatasetError, match=r"names 3 files, and none is there: row 2 asks for .*7061-6-0-0.wav"):
        Dataset.open(root)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.wav,1,0,4,1,1,3,cat", r'row 2: there is no class "cat".*Known: air_conditioner'),
        ("a.wav,1,0,4,1,1,4,dog_bark", r'row 2: class="dog_bark" disagrees with classID=4, which is "drilling"'),
        ("a.wav,1,0,4,1,1,10,dog_bark", r'row 2: classID="10" must be a whole number, from 0 to 9'),
        ("a.wav,1,0,4,1,0,3,dog_bark", r'row 2: fold="0" must be a whole number, from 1 to 10000'),
        ("a.wav,1,0,4,1,,3,dog_bark", r'row 2: fold="" must be a whole number'),
        ("a.wav,1,0,4,1,x,3,dog_bark", r'row 2: fold="x" must be a whole number'),
        ("a.wav,1,0,4,3,1,3,dog_bark", r'row 2: salience="3" must be 1 \(foreground\) or 2'),
        ("a.wav,1,4,4,1,1,3,dog_bark", r'row 2: end="4" must lie after start=4'),
        ("a.wav,1,b,4,1,1,3,dog_bark", r'row 2: start="b" must be a number of seconds'),
        ("a.wav,1,0,,1,1,3,dog_bark", r'row 2: end="" must lie after start=0'),
        ("a.wav,,0,4,1,1,3,dog_bark", r'row 2: fsID="" must not be empty'),
        (",1,0,4,1,1,3,dog_bark", r'row 2: slice_file_name="" must not be empty'),
    ],
)
def test_urbansound8k_refuses_a_row(tmp_path: Path, row: str, message: str):
    touch(tmp_path, "audio/fold1/a.wav")
    table(tmp_path / "metadata" / "UrbanSound8K.csv", US8K, row)
    with pytest.raises(DatasetError, match=message):
        Dataset.open(tmp_path)


def test_urbansound8k_refuses_a_table_without_a_column(tmp_path: Path):
    table(tmp_path / "metadata" / "UrbanSound8K.csv", US8K.replace("fsID,", ""), "a.wav,0,4,1,1,3,dog_bark")
    with pytest.raises(
        DatasetError, match=r'UrbanSound8K.csv" has no column "fsID". Columns there: slice_file_name, start'
    ):
        Dataset.open(tmp_path)


def test_urbansound8k_of_the_real_table(shared: Path, tmp_path: Path):
    """All 8 732 rows, with empty files: the counts are those that the data set's paper prints."""
    root = tmp_path / "UrbanSound8K"
    with (shared / "urbansound8k" / "UrbanSound8K.csv").open() as file:
        names = [f"audio/fold{row['fold']}/{row['slice_file_name']}" for row in csv.DictReader(file)]
    touch(root, *names)
    (root / "metadata").mkdir()
    shutil.copy(shared / "urbansound8k" / "UrbanSound8K.csv", root / "metadata")
    started = time.perf_counter()
    data = Dataset.open(root)
    seconds = time.perf_counter() - started
    assert data.share == "8 732 of 8 732 clips (100 %)"
    assert [data.relative_path(clip) for clip in data.clips] == names
    assert data.folds == tuple(range(1, 11))
    assert np.bincount(data.labels).tolist() == [1000, 429, 1000, 1000, 1000, 1000, 374, 1000, 929, 1000]
    assert np.bincount(data.fold_of)[1:].tolist() == [873, 888, 925, 990, 936, 823, 838, 806, 816, 837]
    assert len(set(data.sources.tolist())) == 1297
    assert seconds < 2  # 0.2 on a laptop; a question to the disk for each clip would take longer on a network


def test_urbansound8k_of_the_real_clips(urbansound8k: Path):
    data = Dataset.open(urbansound8k)
    assert data.share == "2 097 of 8 732 clips (24 %)"
    assert data.folds == (1, 3, 10)
    assert np.bincount(data.labels).tolist() == [285, 82, 252, 248, 225, 261, 93, 245, 176, 230]


def test_the_synthetic_city_is_not_called_urbansound8k(tmp_path: Path):
    city = synthetic.write(tmp_path / "city", recordings_per_class=3, clips_per_recording=1)
    data = Dataset.open(city)
    assert (data.name, data.licence, data.citation) == ("synthetic city", "CC0 1.0", "")
    assert data.share == "60 of 60 clips (100 %)"
    assert data.classes == synthetic.CLASSES == urbansound8k.CLASSES


# --- ESC-50 -----------------------------------------------------------------------------------------------------------


def test_esc50_rows(tmp_path: Path):
    data = Dataset.open(an_esc50(tmp_path))
    assert (data.name, data.window_s, data.licence) == ("ESC-50", 5.0, "CC BY-NC 3.0")
    assert data.classes == ("dog", "rooster", "chirping_birds")  # by target, not by row or name
    assert data.labels.tolist() == [2, 0, 1]
    assert data.sources.tolist() == ["1", "100032", "9"]
    assert data.share == "3 of 2 000 clips (< 1 %)"


def test_esc10_is_a_subset(tmp_path: Path):
    data = Dataset.open(an_esc50(tmp_path), subset="esc10")
    assert (data.name, data.complete_size, data.licence) == ("ESC-10", 400, "CC BY 3.0")
    assert data.classes == ("dog", "rooster")
    assert data.skipped == (Skipped("audio/5-9-B-7.wav", "row 5: it is not there"),)


def test_esc50_has_no_other_subset(tmp_path: Path):
    with pytest.raises(SettingsError, match=r'no subset of ESC-50 "esc-10". Did you mean "esc10"'):
        Dataset.open(an_esc50(tmp_path), subset="esc-10")


@pytest.mark.parametrize("off", ["..", "meta", "audio", "meta/esc50.csv"])
def test_esc50_one_level_off(tmp_path: Path, off: str):
    root = an_esc50(tmp_path)
    assert Dataset.open(root.parent if off == ".." else root / off).root == root


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b.wav,1,0,cat,False,9,A", r'row 3: category="cat" disagrees with target=0, which is "dog" above'),
        ("b.wav,1,1,dog,False,9,A", r'row 3: target="1" disagrees with category="dog", which is 0 above'),
        ("b.wav,1,one,cat,False,9,A", r'row 3: target="one" must be a whole number, 0 or more'),
        ("b.wav,1.5,1,cat,False,9,A", r'row 3: fold="1.5" must be a whole number, from 1 to 10000'),
        ("b.wav,1,1,cat,maybe,9,A", r'row 3: esc10="maybe" must be True or False'),
    ],
)
def test_esc50_refuses_a_row(tmp_path: Path, row: str, message: str):
    touch(tmp_path, "audio/a.wav", "audio/b.wav")
    table(tmp_path / "meta" / "esc50.csv", ESC, "a.wav,1,0,dog,True,8,A", row)
    with pytest.raises(DatasetError, match=message):
        Dataset.open(tmp_path)


# --- CSV --------------------------------------------------------------------------------------------------------------


def test_table_rows(tmp_path: Path):
    data = Dataset.open(a_table(tmp_path))
    assert (data.name, data.root) == ("labels", tmp_path / "pets")
    assert data.classes == ("dog", "cat")  # in order of appearance
    rex, mia = data.clips
    assert (rex.start_s, rex.stop_s, rex.fold, rex.source) == (0.0, 1.5, 1, "r1")
    assert (mia.path, mia.start_s, mia.stop_s, mia.source) == (data.root / "sub" / "mia.wav", 0.0, None, None)
    assert data.skipped == (Skipped("gone.wav", "row 3: it is not there"),)
    assert data.window_s == 1.5


def test_table_takes_a_class_order(pets: Path):
    path = table(pets / "t.csv", "path,label", "rex.wav,dog", "mia.wav,cat")
    assert Dataset.open(path, classes=["cat", "dog", "fox"]).labels.tolist() == [1, 0]
    with pytest.raises(DatasetError, match=r'row 3: there is no label "cat".*Known: dog, cut'):
        Dataset.open(path, classes=["dog", "cut"])


def test_table_is_as_long_as_its_clips(pets: Path):
    assert Dataset.open(table(pets / "t.csv", "path,label", "rex.wav,dog", "rex.wav,cat")).window_s == 1.0
    assert Dataset.open(table(pets / "t.csv", "path,label,start", "mia.wav,dog,0.5")).window_s == 1.5


@pytest.mark.parametrize(
    ("rows", "encoding"),
    [
        (["path,label,fold", "rex.wav,dog,1", "mia.wav,cat,2"], "utf-8"),
        (["path,label,fold", "rex.wav,dog,1", "mia.wav,cat,2"], "utf-8-sig"),
        (["Path;LABEL; Fold ", "rex.wav;dog;1", "mia.wav;cat;2"], "utf-8"),
        (["fold\tlabel\tpath", "1.0\tdog\trex.wav", "", "2.0\tcat\tmia.wav", "\t\t"], "utf-8"),
        (["path,label,fold,", '"rex.wav","dog",1,', " mia.wav , cat , 2 ,"], "utf-8"),
        (["path,label,fold\r", "rex.wav,dog,1\r", "mia.wav,cat,2\r"], "utf-8"),
        (["path,label,fold", ".\\rex.wav,dog,1", "sub\\..\\mia.wav,cat,2"], "utf-8"),
        (["", "path,label,fold", "rex.wav,dog,1", "mia.wav,cat,2"], "utf-8"),
        (["sep=;", "path;label;fold", "rex.wav;dog;1", "mia.wav;cat;2"], "utf-8-sig"),
    ],
)
def test_table_in_all_its_dialects(pets: Path, rows: list[str], encoding: str):
    (pets / "sub").mkdir()
    data = Dataset.open(table(pets / "t.csv", *rows, encoding=encoding))
    assert [(data.relative_path(clip), clip.label, clip.fold) for clip in data.clips] == [
        ("rex.wav", "dog", 1),
        ("mia.wav", "cat", 2),
    ]
    assert data.skipped == ()


def test_table_with_quotes_and_foreign_letters(tmp_path: Path):
    tone(tmp_path / "grüße, laut.wav")
    data = Dataset.open(
        table(tmp_path / "t.csv", "path,label", '"grüße, laut.wav","Hund, ""Rex"""', '"grüße, laut.wav",a b')
    )
    assert data.classes == ('Hund, "Rex"', "a b")


# --- several labels to a clip --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows",
    [
        ["path,label", "rex.wav, siren ;dog", "mia.wav,dog", "one.wav,", "two.wav,dog;siren;dog; "],
        ["path;label", 'rex.wav;" siren ;dog"', "mia.wav;dog", "one.wav;", 'two.wav;"dog;siren;dog; "'],
        ["label\tpath", "siren;dog\trex.wav", "dog\tmia.wav", "\tone.wav", "dog;siren\ttwo.wav"],
        ["sep=;", "path;label", 'rex.wav;"siren;dog"', "mia.wav;dog", 'one.wav;";"', 'two.wav;"dog;siren"'],
    ],
)
def test_several_labels_in_a_cell_make_the_table_multi_label(pets: Path, rows):
    for name in ("one.wav", "two.wav"):
        tone(pets / name)
    data = Dataset.open(table(pets / "t.csv", *rows))
    assert data.multi_label
    assert data.classes == ("siren", "dog")
    assert [clip.label for clip in data.clips] == ["siren;dog", "dog", "", "siren;dog"]  # the same set, the same label
    assert data.targets.tolist() == [[1, 1], [0, 1], [0, 0], [1, 1]]
    assert data.targets.dtype == np.float32
    assert not data.targets.flags.writeable
    assert data.select([2, 1]).multi_label
    assert data.select([2, 1]).targets.tolist() == [[0, 0], [0, 1]]


def test_multi_label_data_has_no_labels(pets: Path):
    data = Dataset.open(table(pets / "t.csv", "path,label", "rex.wav,dog;siren", "mia.wav,dog"))
    with pytest.raises(DatasetError, match=r"t is multi-label: .* Ask for `targets`"):
        data.labels  # noqa: B018


def test_a_semicolon_that_parts_columns_parts_no_labels(pets: Path):
    data = Dataset.open(table(pets / "t.csv", "path;label", "rex.wav;dog", "mia.wav;siren"))
    assert not data.multi_label
    assert data.labels.tolist() == [0, 1]
    assert data.targets.tolist() == [[1, 0], [0, 1]]
    with pytest.raises(DatasetError, match=r"row 2 has 3 cells under 2 columns: put quotes"):
        Dataset.open(table(pets / "t.csv", "path;label", "rex.wav;dog;siren"))


def test_named_classes_hold_for_each_label_of_a_cell(pets: Path):
    path = table(pets / "t.csv", "path,label", "rex.wav,dog;siren", "mia.wav,dog")
    assert Dataset.open(path, classes=["siren", "dog", "fox"]).targets.tolist() == [[1, 1, 0], [0, 1, 0]]
    whole = Dataset.open(
        path, classes=["dog;siren", "dog"]
    )  # a name with a semicolon in it, where it is said to be one
    assert (whole.multi_label, whole.labels.tolist()) == (False, [0, 1])
    with pytest.raises(DatasetError, match=r't.csv", row 2: there is no label "siren".*Known: dog, fox'):
        Dataset.open(path, classes=["dog", "fox"])


def test_the_same_labels_in_another_order_repeat_a_row(pets: Path):
    data = Dataset.open(table(pets / "t.csv", "path,label", "rex.wav,dog;siren", "rex.wav,siren;dog"))
    assert data.skipped == (Skipped("rex.wav", "row 3: repeats row 2"),)


def test_the_fingerprint_tells_multi_label_data_apart():
    one = Dataset(name="x", root=Path(), classes=("a", "b"), clips=clips("a", "b"))
    several = dataclasses.replace(one, multi_label=True)
    assert several.fingerprint != one.fingerprint
    assert several.targets.tolist() == one.targets.tolist() == [[1, 0], [0, 1]]


def test_table_notes_a_repeated_row(pets: Path):
    path = table(pets / "t.csv", "path,label,start,end", "rex.wav,dog,0,1", "rex.wav,cat,0,1", "rex.wav,dog,0.0,1.0")
    data = Dataset.open(path)
    assert [clip.label for clip in data.clips] == ["dog", "cat"]
    assert data.skipped == (Skipped("rex.wav", "row 4: repeats row 2"),)


def test_table_reads_salience_and_time(pets: Path):
    rows = ["path,label,salience,time", "rex.wav,dog,2,2024-05-01T13:00:00", "mia.wav,cat,Foreground,"]
    first, second = Dataset.open(table(pets / "t.csv", *rows)).clips
    assert (first.salience, first.time) == ("background", "2024-05-01T13:00:00")
    assert (second.salience, second.time) == ("foreground", None)


def test_table_names_files_outside_its_folder(pets: Path):
    path = table(pets / "meta" / "t.csv", "path,label", "../rex.wav,dog", f"{pets / 'mia.wav'},cat")
    data = Dataset.open(path)
    assert [data.relative_path(clip) for clip in data.clips] == ["../rex.wav", "../mia.wav"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["path,class", "rex.wav,dog"], r't.csv" has no column "label". Columns there: path, class'),
        ([""], r'has no column "path". Columns there: none'),
        (["path,label"], r"names no clips: it has a header and no rows"),
        (["path,label,Label", "rex.wav,dog,cat"], r'has two columns "label": which one is meant'),
        (["path,label", "rex.wav,dog,big"], r"row 2 has 3 cells under 2 columns: put quotes"),
        (["path,label", "rex.wav"], r'row 2: label="" must not be empty'),
        (["path,label", "rex.wav,dog", " ,cat"], r'row 3: path="" must not be empty'),
        (["path,label,fold", "rex.wav,dog,0"], r'row 2: fold="0" must be a whole number, from 1 to 10000'),
        (["path,label,fold", "rex.wav,dog,10001"], r'fold="10001" must be a whole number, from 1 to 10000'),
        (["path,label,fold", f"rex.wav,dog,{'9' * 20}"], r'fold="9+" must be a whole number, from 1 to 10000'),
        (["path,label,fold", "rex.wav,dog,-1"], r'row 2: fold="-1" must be a whole number'),
        (["path,label,fold", "rex.wav,dog,1.5"], r'row 2: fold="1.5" must be a whole number'),
        (["path,label,fold", "rex.wav,dog,²"], r'row 2: fold="²" must be a whole number'),
        (["path,label,start", "rex.wav,dog,one"], r'row 2: start="one" must be a number of seconds, 0 or more'),
        (["path,label,start", "rex.wav,dog,-1"], r'row 2: start="-1" must be a number of seconds'),
        (["path,label,end", "rex.wav,dog,nan"], r'row 2: end="nan" must be a number of seconds'),
        (["path,label,end", "rex.wav,dog,inf"], r'row 2: end="inf" must be a number of seconds'),
        (["path;label;end", "rex.wav;dog;1,5"], r'row 2: end="1,5" must be a number of seconds, 0 or more, like 1.5'),
        (["path,label,start,end", "rex.wav,dog,2,2"], r'row 2: end="2" must lie after start=2'),
        (["path,label,start,end", "rex.wav,dog,2,1"], r'row 2: end="1" must lie after start=2'),
        (["path,label", "a.wav,dog", "b.wav,dog"], r'names 2 files, and none is there: row 2 asks for ".*a.wav"'),
        (["path,label", '"rex.wav,dog'], r"is not a CSV table \(unexpected end of data\): are all quotes closed"),
    ],
)
def test_table_refuses(pets: Path, rows: list[str], message: str):
    with pytest.raises(DatasetError, match=message):
        Dataset.open(table(pets / "t.csv", *rows))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_table_in_another_encoding_is_refused(pets: Path, encoding: str):
    with pytest.raises(DatasetError, match=r't.csv" is not UTF-8 text .*: save it as "CSV UTF-8"'):
        Dataset.open(table(pets / "t.csv", "path,label", "rex.wav,Bär", encoding=encoding))


# --- Class folders ----------------------------------------------------------------------------------------------------


def paths(data: Dataset) -> list[tuple[str, str, int | None]]:
    return [(data.relative_path(clip), clip.label, clip.fold) for clip in data.clips]


def test_folders_are_classes_in_natural_order(tmp_path: Path):
    touch(tmp_path, "take10/b.wav", "take2/10.wav", "take2/9.WAV", "Take1/deep/er/a.flac", "take2/notes.txt")
    data = Dataset.open(tmp_path)
    assert data.classes == ("Take1", "take2", "take10")
    assert paths(data) == [
        ("Take1/deep/er/a.flac", "Take1", None),
        ("take2/9.WAV", "take2", None),
        ("take2/10.wav", "take2", None),
        ("take10/b.wav", "take10", None),
    ]
    assert data.name == tmp_path.name
    assert data.skipped == ()


@pytest.mark.parametrize(
    ("names", "folds"),
    [
        (["dog/fold1/a.wav", "dog/fold2/a.wav"], [1, 2]),
        (["dog/1/a.wav", "dog/10/a.wav"], [1, 10]),
        (["dog/Fold_1/a.wav", "dog/fold_2/deep/a.wav", "dog/FOLD 3/a.wav"], [3, 1, 2]),
        (["fold1/dog/a.wav", "fold2/dog/a.wav"], [1, 2]),
        (["dog/a.wav", "dog/left/a.wav"], [None, None]),
    ],
)
def test_folders_with_folds(tmp_path: Path, names: list[str], folds: list[int | None]):
    data = Dataset.open(touch(tmp_path, *names))
    assert data.classes == ("dog",)
    assert [clip.fold for clip in data.clips] == folds


def test_numbers_on_top_are_classes(tmp_path: Path):
    data = Dataset.open(touch(tmp_path, "0/a.wav", "1/a.wav", "10/a.wav", "2/a.wav"))
    assert data.classes == ("0", "1", "2", "10")
    assert data.folds == ()


def test_fold_folders_beside_others_are_classes(tmp_path: Path):
    assert Dataset.open(touch(tmp_path, "fold1/a.wav", "dog/a.wav")).classes == ("dog", "fold1")


def test_folders_name_what_they_leave_out(tmp_path: Path):
    touch(tmp_path, "dog/a.wav", "dog/b.m4a", "loose.wav", ".hidden/c.wav", "dog/.d.wav", "docs/readme.md")
    data = Dataset.open(tmp_path)
    assert paths(data) == [("dog/a.wav", "dog", None)]
    assert data.skipped == (
        Skipped("dog/b.m4a", ".m4a files cannot be read: convert it to WAV or FLAC"),
        Skipped("loose.wav", "it stands in no class folder: put it in one that is named as its class"),
        Skipped("docs", "the class folder holds no sound file"),
    )


def test_folders_follow_links_but_not_in_circles(tmp_path: Path):
    touch(tmp_path, "elsewhere/a.wav", "zoo/dog/b.wav")
    (tmp_path / "zoo" / "cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "zoo" / "dog" / "up").symlink_to(tmp_path / "zoo")
    assert [path for path, _, _ in paths(Dataset.open(tmp_path / "zoo"))] == ["cat/a.wav", "dog/b.wav"]


def test_folders_take_a_class_order(tmp_path: Path):
    touch(tmp_path, "cat/a.wav", "dog/a.wav")
    assert Dataset.open(tmp_path, classes=("dog", "fox", "cat")).labels.tolist() == [2, 0]
    with pytest.raises(DatasetError, match=r'there is no class "dog". Known: cat, fox'):
        Dataset.open(tmp_path, classes=("cat", "fox"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.txt"], r"has no class folders with sound files in them. Folders there: none"),
        (["dog/a.txt", "cat/b.txt"], r"Folders there: cat, dog"),
        (["a.wav"], r'this looks like the folder of one class. Give its parent, ".*"'),
        (["dog/a.m4a"], r'"dog/a.m4a": .m4a files cannot be read: convert it'),
        (["fold1/a.wav"], r'"fold1/a.wav": it stands in no class folder'),
        (["a.wav", "labels.csv"], r'if "labels.csv" is its table, give ".*labels.csv"'),
        (["dog/fold0/a.wav"], r'dog/fold0": the fold of "fold0" must be a whole number from 1 to 10000'),
        ([f"dog/fold{'9' * 20}/a.wav"], r'the fold of "fold9+" must be a whole number from 1 to 10000: rename'),
        (["fold0/dog/a.wav"], r'the fold of "fold0" must be a whole number from 1 to 10000'),
    ],
)
def test_folders_refuse(tmp_path: Path, names: list[str], message: str):
    with pytest.raises(DatasetError, match=message):
        Dataset.open(touch(tmp_path, *names))


def test_a_forbidden_folder_is_named(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(folder: str) -> None:
        raise PermissionError(13, "Permission denied", folder)

    path = BUILD[layout](tmp_path)
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DatasetError, match=r'the folder ".*" cannot be read: Permission denied. Look at'):
        Dataset.open(path)


def test_a_date_folder_is_no_fold(tmp_path):
    for name in ("dog/20230115/a.wav", "cat/2/b.wav", "cat/fold3/c.wav"):
        audio.write(tmp_path / name, np.zeros(100, np.float32), 8000)
    folds = {clip.path.name: clip.fold for clip in Dataset.open(tmp_path).clips}
    assert folds == {"a.wav": None, "b.wav": 2, "c.wav": 3}
