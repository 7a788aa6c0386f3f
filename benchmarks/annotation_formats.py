"""Check the annotation files of the tests with crowsetta and soundevent: the same events as soundmark reads.

pip install crowsetta soundevent
PYTHONPATH=src:tests python benchmarks/annotation_formats.py write FOLDER    # with soundmark
PYTHONPATH=tests python benchmarks/annotation_formats.py check FOLDER        # with crowsetta and soundevent
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def write(folder: Path) -> None:
    """Write the synthetic clips as annotated recordings in three formats, and what soundmark reads of each."""
    import numpy as np

    from soundmark.datasets import Dataset, synthetic
    from support.annotations import aoef, audacity, raven, write_recordings

    data = Dataset.open(synthetic.write(folder / "city"))
    for writer in (raven, audacity, aoef):
        place = folder / writer.__name__
        events = write_recordings(place, data.select(np.arange(0, 60, 3)))
        found = Dataset.open(writer(place, events))
        rows = [[c.path.name, round(c.start_s, 3), round(c.stop_s or 0.0, 3), c.label] for c in found.clips]
        (folder / f"{writer.__name__}.soundmark.json").write_text(json.dumps(sorted(rows)))


def check(folder: Path) -> None:
    """Compare the events that the other libraries read with those of soundmark."""
    for name, read in (("raven", read_raven), ("audacity", read_audacity), ("aoef", read_aoef)):
        expected = [tuple(row) for row in json.loads((folder / f"{name}.soundmark.json").read_text())]
        found = sorted(set(read(folder / name)))
        print(f"{name}: {len(found)} events, {'the same as' if found == expected else 'NOT those of'} soundmark")


def read_raven(folder: Path) -> list[tuple]:
    """Read selection tables with crowsetta, which needs UTF-8 and gives one box per view."""
    import crowsetta

    found = []
    for table in sorted(folder.glob("*.selections.txt")):
        copy = table.with_name(f"utf8.{table.name}")
        copy.write_text(table.read_bytes().decode("utf-16").replace("\r\n", "\n"))
        boxes = crowsetta.formats.bbox.Raven.from_file(copy, annot_col="Species").to_bbox()
        found += [
            (f"{table.name.split('.')[0]}.wav", round(box.onset, 3), round(box.offset, 3), box.label) for box in boxes
        ]
        copy.unlink()
    return found


def read_audacity(folder: Path) -> list[tuple]:
    """Read label files with crowsetta, after removing the frequency lines."""
    import crowsetta

    found = []
    for path in sorted(folder.glob("rec*.txt")):
        copy = path.with_name(f"plain.{path.name}")
        copy.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("\\")) + "\n")
        sequence = crowsetta.formats.seq.AudSeq.from_file(copy).to_seq()
        times = zip(sequence.onsets_s, sequence.offsets_s, sequence.labels, strict=True)
        found += [(f"{path.stem}.wav", round(float(a), 3), round(float(b), 3), str(x)) for a, b, x in times]
        copy.unlink()
    return found


def read_aoef(folder: Path) -> list[tuple]:
    """Read an annotation set with soundevent."""
    from soundevent import io

    found = []
    for clip in io.load(folder / "export.json").clip_annotations:
        for event in clip.sound_events:
            start_s, _, stop_s, _ = event.sound_event.geometry.coordinates
            found.append((clip.clip.recording.path.name, round(start_s, 3), round(stop_s, 3), event.tags[0].value))
    return found


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](Path(sys.argv[2]))
