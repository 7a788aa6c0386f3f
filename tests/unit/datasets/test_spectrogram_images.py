"""Spectrogram images: one per clip, redrawn after changes, with skipped clips reported."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundmark.datasets import Clip, Dataset, spectrogram_images
from soundmark.errors import OutputError
from soundmark.runtime import parallel
from soundmark.runtime.output_folder import MANIFEST
from soundmark.spectrograms import Image


def write(path: Path, frequency_hz: float = 500.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(4000) / 8000), 8000)
    return path


@pytest.fixture
def pets(tmp_path: Path) -> Dataset:
    for name in ("dog/a.wav", "dog/a.flac", "dog/a_2.wav", "cat/a.wav"):
        write(tmp_path / "pets" / name)
    return Dataset.open(tmp_path / "pets")


def draw(data: Dataset, folder: Path, **settings: object) -> spectrogram_images.SavedImages:
    return spectrogram_images.save_images(data, Image(), folder, jobs=1, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("a.wav", "a.flac", "a_2.wav"), ["a.png", "a_2.png", "a_2_2.png"]),
        (("a_2.wav", "a.wav", "a.flac"), ["a_2.png", "a.png", "a_3.png"]),
        (("a.wav", "A.wav"), ["a.png", "A_2.png"]),  # the same file on a case-insensitive file system
        (("a.b.wav", "a.c.wav"), ["a.b.png", "a.c.png"]),
    ],
)
def test_image_names_are_unique(files: tuple[str, ...], expected: list[str]):
    clips = tuple(Clip(path=Path(name), label="dog") for name in files)
    data = Dataset(name="pets", root=Path(), classes=("dog",), clips=clips)
    assert [path.name for path in spectrogram_images.image_names(data)] == expected


def test_there_is_one_image_per_clip(pets: Dataset, tmp_path: Path):
    assert draw(pets, tmp_path / "out").count == 4
    assert len(list((tmp_path / "out").rglob("*.png"))) == 4


def test_a_changed_file_of_the_same_size_is_drawn_again(pets: Dataset, tmp_path: Path):
    draw(pets, tmp_path / "out")
    image = tmp_path / "out" / "cat" / "a.png"
    before, source = image.read_bytes(), pets.root / "cat" / "a.wav"
    old = source.stat()
    write(source, 3000.0)
    os.utime(source, ns=(old.st_atime_ns, old.st_mtime_ns + 1_000_000_000))
    assert source.stat().st_size == old.st_size
    draw(Dataset.open(pets.root), tmp_path / "out")
    assert image.read_bytes() != before


def test_images_with_other_settings_are_redrawn_after_an_interruption(pets: Dataset, tmp_path: Path, monkeypatch):
    draw(pets, tmp_path / "out")
    grey = (tmp_path / "out" / "cat" / "a.png").read_bytes()

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parallel, "map_unordered", interrupt)
        with pytest.raises(KeyboardInterrupt):
            draw(pets, tmp_path / "out", colours="magma")
    assert draw(pets, tmp_path / "out", colours="magma").count == 4
    assert (tmp_path / "out" / "cat" / "a.png").read_bytes() != grey


def test_a_folder_with_images_of_another_data_set_is_an_error(pets: Dataset, tmp_path: Path):
    draw(pets, tmp_path / "out")
    write(tmp_path / "others" / "dog" / "b.wav")
    with pytest.raises(
        OutputError, match=r'out" contains the spectrogram images of another data set, pets in ".*pets"'
    ):
        draw(Dataset.open(tmp_path / "others"), tmp_path / "out")


@pytest.mark.parametrize("axes", [False, True])
def test_a_clip_with_a_sample_far_beyond_full_scale_is_skipped(pets: Dataset, tmp_path: Path, axes: bool):
    loud = pets.root / "dog" / "a_2.wav"
    soundfile.write(loud, np.array([0.0, 1e13, 0.1], np.float32), 8000, subtype="FLOAT")
    saved = draw(pets, tmp_path / "out", axes=axes)
    assert saved.count == 3
    (skipped,) = saved.skipped
    assert skipped.path == "dog/a_2.wav"
    assert skipped.reason.startswith(f'"{loud}": a sample is ±1e+13')


def test_an_image_title_can_contain_any_characters(pets: Dataset, tmp_path: Path):  # pytest turns warnings into errors
    clip = replace(pets.clips[0], label="犬 $x_1^$")
    data = replace(pets, classes=(clip.label,), clips=(clip,))
    assert draw(data, tmp_path / "out", axes=True).count == 1


@pytest.mark.parametrize("name", ["cat/a.png", "spectrograms.json"])
def test_a_foreign_file_is_kept_and_the_folder_refused(pets: Dataset, tmp_path: Path, name: str):
    draw(pets, tmp_path / "out")
    (tmp_path / "out" / MANIFEST).unlink()
    path = tmp_path / "out" / name
    path.write_text('{"dataset": ["/", "mine"]}' if name == "spectrograms.json" else "mine")
    before = path.read_text()
    with pytest.raises(OutputError, match="Choose an empty folder"):
        draw(pets, tmp_path / "out", colours="magma")
    assert path.read_text() == before


def test_an_image_that_the_user_edited_is_kept(pets: Dataset, tmp_path: Path):
    draw(pets, tmp_path / "out")
    image = tmp_path / "out" / "cat" / "a.png"
    image.write_text("edited")
    draw(pets, tmp_path / "out")
    assert image.read_text() == "edited"
    draw(pets, tmp_path / "out", colours="magma")
    assert image.with_name("a.png.changed").read_text() == "edited"


def test_images_are_not_drawn_through_a_link(pets: Dataset, tmp_path: Path):
    draw(pets, tmp_path / "out")
    (tmp_path / "out" / "cat").rename(tmp_path / "elsewhere")
    (tmp_path / "out" / "cat").symlink_to(tmp_path / "elsewhere")
    before = (tmp_path / "elsewhere" / "a.png").read_bytes()
    with pytest.raises(OutputError, match='cat" is a symbolic link: soundmark follows none'):
        draw(pets, tmp_path / "out", colours="magma")
    assert (tmp_path / "elsewhere" / "a.png").read_bytes() == before


@pytest.mark.slow
def test_images_of_worker_processes_are_own_files(pets: Dataset, tmp_path: Path):
    for colours in (None, "magma"):
        assert spectrogram_images.save_images(pets, Image(), tmp_path / "out", colours=colours, jobs=2).count == 4
    assert not list((tmp_path / "out").rglob("*.changed"))


def test_images_of_an_earlier_version_are_adopted(pets: Dataset, tmp_path: Path):
    draw(pets, tmp_path / "out")
    (tmp_path / "out" / MANIFEST).unlink()
    assert draw(pets, tmp_path / "out").count == 4
    assert draw(pets, tmp_path / "out", colours="magma").count == 4
    assert len(list((tmp_path / "out").rglob("*.png"))) == 4


@pytest.mark.parametrize("letter", ["x", "ä", "語", "𝔸"])
def test_a_name_is_shortened_by_bytes_and_stays_distinct(city, letter):
    clips = tuple(replace(city.clips[0], label=letter * 900 + end) for end in "ab")
    data = replace(city, classes=tuple(clip.label for clip in clips), clips=clips)
    folders = [path.parent.name for path in spectrogram_images.image_names(data)]
    assert len(set(folders)) == 2
    assert all(len(name.encode()) <= 200 for name in folders)
