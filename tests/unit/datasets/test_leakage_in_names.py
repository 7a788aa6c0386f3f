"""What file names suggest about the recordings of clips."""

from pathlib import Path

import numpy as np
import pytest

from soundmark import audio
from soundmark.datasets import Clip, Dataset, inspection
from soundmark.datasets.leakage import recordings_in_names


def data_of(**names: list[str]) -> Dataset:
    clips = tuple(
        Clip(path=Path(label, f"{name}.wav"), label=label) for label, found in names.items() for name in found
    )
    return Dataset(name="sounds", root=Path(), classes=tuple(names), clips=clips)


def write_tone(path: Path, f_hz: float) -> None:
    path.parent.mkdir(exist_ok=True)
    audio.write(path, 0.5 * np.sin(2 * np.pi * f_hz * np.arange(8000) / 8000), 8000)


@pytest.mark.parametrize(
    ("names", "clips", "recordings"),
    [
        ("rec12_001 rec12_002 rec13_001 rec14_001", 2, "1 recording"),
        ("106905-8-0-3 106905-8-0-4 24347-8-0-88 24347-8-0-88b 24347-8-0-9", 4, "2 recordings"),
        ("20240612_043000_1 20240612_043000_2 20240612_044000_1", 2, "1 recording"),
        ("Mikro 2 - 1, Mikro 2 - 2, Mikro 3 - 1", 2, "1 recording"),
    ],
)
def test_names_with_a_recording_and_a_clip_number_are_counted(names, clips, recordings):
    found = names.split(", ") if "," in names else names.split()
    data = data_of(siren=found, dog=["a", "b"])
    assert recordings_in_names(data).startswith(
        f"the file names suggest that {clips} of {len(data.clips)} clips come from {recordings} ("
    )


@pytest.mark.parametrize(
    "names",
    [
        "dog_001 dog_002 dog_003",  # the class, not a recording
        "1 2 3",
        "2024-06-12 2024-06-13 2024-06-14",
        "2024-06-12_04-30-00 2024-06-12_04-30-10",
        "20240612_043000 20240612_044000",
        "20240612_0430 20240612_0440",
        "AM3_20240612_0430 AM3_20240612_0440",
        "site1_2024_001 site1_2024_002",
        "1-100032-A-0 1-100038-A-0 1-100038-B-0",  # ESC-50
        "class1_01 class1_02 class1_03",  # all clips of the class
        "XC123456 XC123457",
    ],
)
def test_other_names_suggest_nothing(names):
    assert recordings_in_names(data_of(dog=names.split(), cat=["x", "y"])) == ""


def test_a_few_similar_names_and_known_recordings_suggest_nothing():
    few = data_of(dog=["r1_1", "r1_2", *map(str, range(30))])
    assert recordings_in_names(few) == ""
    clips = tuple(Clip(path=Path(f"r1_{i}.wav"), label="dog", source="r1") for i in range(4))
    assert recordings_in_names(Dataset(name="a", root=Path(), classes=("dog",), clips=clips)) == ""


def test_inspect_says_what_the_names_suggest(tmp_path):
    for i, name in enumerate(["dog/r1_1", "dog/r1_2", "dog/r2_1", "cat/a", "cat/b"]):
        write_tone(tmp_path / f"{name}.wav", 300 + 50 * i)
    warnings = inspection.inspect(tmp_path, jobs=1, quiet=True).warnings
    assert warnings == (
        'the file names suggest that 2 of 5 clips come from 1 recording ("dog/r1_1.wav" and "dog/r1_2.wav"). Clips of '
        "one recording must not be in training and test at once: name the recordings in a CSV table with the columns "
        "path, label and source.",
    )


def test_inspect_warns_about_classes_that_differ_in_case(tmp_path):
    for i, name in enumerate(["Dog/1", "Dog/2", "dog/1", "dog/2", "cat/1", "cat/2"]):
        write_tone(tmp_path / f"{name}.wav", 300 + 50 * i)
    warnings = inspection.inspect(tmp_path, jobs=1, quiet=True).warnings
    assert warnings == (
        'the classes "Dog" and "dog" differ only in upper and lower case: give them one name if they are one class.',
    )
