"""Small data sets on disk in each supported layout, and the files that the tests of the layouts need."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from soundmark import audio

URBANSOUND8K_HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class"
ESC50_HEADER = "filename,fold,target,category,esc10,src_file,take"


def write_placeholders(root: Path, *names: str) -> Path:
    """Write files that only have a name and a size, with their folders; return ``root``."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x" * len(name))
    return root


def write_table(path: Path, *rows: str, encoding: str = "utf-8") -> Path:
    """Write the rows of a table, with its folder; return ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(rows).encode(encoding))
    return path


def write_tone(path: Path, seconds: float = 1.0, rate_hz: int = 8000) -> Path:
    """Write a sine to a WAV file, with its folder; return ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    audio.write(path, 0.5 * np.sin(np.arange(round(seconds * rate_hz)) * 0.3), rate_hz)
    return path


def write_urbansound8k(folder: Path) -> Path:
    """Write a copy of UrbanSound8K with three rows; the file of the second row is missing."""
    root = write_placeholders(folder / "UrbanSound8K", "audio/fold5/100032-3-0-0.wav", "audio/fold1/7061-6-0-0.wav")
    write_table(
        root / "metadata" / "UrbanSound8K.csv",
        URBANSOUND8K_HEADER,
        "7061-6-0-0.wav,7061,9.012075,9.835306,1,1,6,gun_shot",
        "24074-1-0-7.wav,24074,21.5,25.5,2,2,1,car_horn",
        "100032-3-0-0.wav,100032,0.0,0.317551,2,5,3,dog_bark",
    )
    return root


def write_esc50(folder: Path) -> Path:
    """Write a copy of ESC-50 with four rows; the file of the last row is missing."""
    root = write_placeholders(
        folder / "ESC-50-master", "audio/1-100032-A-0.wav", "audio/2-1-A-14.wav", "audio/3-9-B-7.wav"
    )
    write_table(
        root / "meta" / "esc50.csv",
        ESC50_HEADER,
        "2-1-A-14.wav,2,14,chirping_birds,False,1,A",
        "1-100032-A-0.wav,1,0,dog,True,100032,A",
        "3-9-B-7.wav,3,7,rooster,True,9,B",
        "5-9-B-7.wav,5,7,rooster,True,9,C",
    )
    return root


def write_labels(folder: Path) -> Path:
    """Write a CSV table of three clips; the file of the second row is missing."""
    write_placeholders(folder / "pets", "rex.wav", "sub/mia.wav")
    return write_table(
        folder / "pets" / "labels.csv",
        "path,label,start,end,fold,source",
        "rex.wav,dog,0,1.5,1,r1",
        "gone.wav,dog,0,1,1,r1",
        "sub/mia.wav,cat,,,2,",
    )


def write_class_folders(folder: Path) -> Path:
    """Write class folders with folds; one file has an unsupported format and one class folder is empty."""
    root = write_placeholders(
        folder / "zoo", "dog/fold1/rex.wav", "dog/fold2/fido.wav", "cat/1/mia.flac", "cat/2/tom.m4a"
    )
    (root / "empty").mkdir()
    return root


def write_annotations(folder: Path) -> Path:
    """Write a table of annotations of three clips; the file of the second row is missing."""
    write_placeholders(folder / "pets", "rex.wav", "sub/mia.wav")
    return write_table(
        folder / "pets" / "events.csv", "filename,category", "rex.wav,dog", "gone.wav,dog", "mia.wav,cat"
    )


def write_corrections(folder: Path) -> Path:
    """Write a folder of corrections with three decisions; the clip of the second row is missing."""
    root = write_placeholders(folder / "corrections", "clips/rex.wav", "clips/mia.wav")
    write_table(
        root / "corrections.csv",
        "path,label,start,end,source,source_start,source_end,decision,asked,score,model,reviewer,time,undoes,id",
        "clips/rex.wav,dog,0,1.5,dawn.wav 1a2b3c4d,2,3.5,yes,dog,0.5,,ann,2026-11-28T00:00:00Z,,c000000000000001",
        "clips/gone.wav,dog,0,1.5,dawn.wav 1a2b3c4d,5,6.5,label,,,,ann,2026-11-28T00:00:01Z,,c000000000000002",
        "clips/mia.wav,cat,0,1,dusk.wav 5e6f7a8b,0,1,label,dog,0.4,,ben,2026-11-28T00:00:02Z,,c000000000000003",
    )
    return root


WRITERS: dict[str, Callable[[Path], Path]] = {
    "corrections": write_corrections,
    "urbansound8k": write_urbansound8k,
    "esc50": write_esc50,
    "annotations": write_annotations,
    "table": write_labels,
    "folders": write_class_folders,
}
"""By layout, a function that writes a small data set with missing or unusable files."""
