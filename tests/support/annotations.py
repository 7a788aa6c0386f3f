"""The same annotations of two long recordings, written in each supported format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from soundmark import audio
from soundmark.datasets import Dataset

Event = tuple[str, float, float, str]  # file, start and stop in seconds, label

DURATION_S = 30.0

STAMP = "2026-01-01T00:00:00"


def write_recordings(folder: Path, data: Dataset, *, gap_s: float = 0.5) -> list[Event]:
    """Lay the clips of a data set into recordings of 30 s; return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    rate_hz = data.clips[0].read().rate_hz
    events, samples, at_s, number = [], np.zeros(0), 0.0, 0
    for clip in data.clips:
        sound = clip.read().samples
        length_s = round(len(sound) / rate_hz, 3)
        if number == 0 or at_s + length_s + gap_s > DURATION_S:
            if number:
                audio.write(folder / f"rec{number}.wav", samples, rate_hz)
            number, at_s = number + 1, gap_s
            samples = np.random.default_rng(number).normal(0, 1e-3, round(DURATION_S * rate_hz))
        start = round(at_s * rate_hz)
        samples[start : start + len(sound)] += sound[: len(samples) - start]
        events.append((f"rec{number}.wav", round(at_s, 3), round(at_s + length_s, 3), clip.label))
        at_s = round(at_s + length_s + gap_s, 3)
    audio.write(folder / f"rec{number}.wav", samples, rate_hz)
    return events


def _by_file(events: list[Event]) -> dict[str, list[Event]]:
    return {name: [event for event in events if event[0] == name] for name in dict.fromkeys(e[0] for e in events)}


def _raven_rows(events: list[Event]) -> list[str]:
    rows = []
    for number, (name, start_s, stop_s, label) in enumerate(events, 1):
        rows += [
            f"{number}\t{view} 1\t1\t{start_s}\t{stop_s}\t0.0\t8000.0\tC:\\data\\{name}\t{name}\t{label}"
            for view in ("Waveform", "Spectrogram")
        ]
    return rows


RAVEN = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\t"
    "Begin Path\tBegin File\tSpecies"
)


def raven(folder: Path, events: list[Event]) -> Path:
    """Write one selection table per recording, with the rows of two views, as UTF-16 with CRLF."""
    for name, own in _by_file(events).items():
        text = "\r\n".join([RAVEN, *_raven_rows(own)])
        (folder / f"{Path(name).stem}.Table.1.selections.txt").write_bytes(text.encode("utf-16"))
    return folder


def raven_one_table(folder: Path, events: list[Event]) -> Path:
    """Write one selection table for all recordings, opened one after the other."""
    rows = [RAVEN + "\tFile Offset (s)"]
    names = list(_by_file(events))
    for row in _raven_rows(events):
        cells = row.split("\t")
        shift = DURATION_S * names.index(cells[8])
        start_s, stop_s = float(cells[3]), float(cells[4])
        cells[3:5] = [f"{start_s + shift:.3f}", f"{stop_s + shift:.3f}"]
        rows.append("\t".join([*cells, str(start_s)]))
    (folder / "all.txt").write_text("\n".join(rows), encoding="utf-8")
    return folder


def audacity(folder: Path, events: list[Event]) -> Path:
    """Write a label file per recording, with frequency lines."""
    for name, own in _by_file(events).items():
        lines = [f"{a:.6f}\t{b:.6f}\t{label}\n\\\t100.000000\t4000.000000\n" for _, a, b, label in own]
        (folder / name).with_suffix(".txt").write_text("".join(lines), encoding="utf-8")
    return folder


def _table(name: str, header: str, row: str) -> Callable[[Path, list[Event]], Path]:
    def write(folder: Path, events: list[Event]) -> Path:
        lines = [header, *(row.format(file=f, stem=Path(f).stem, start=a, stop=b, label=x) for f, a, b, x in events)]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder

    return write


dcase = _table("strong.tsv", "filename\tonset\toffset\tevent_label", "{file}\t{start}\t{stop}\t{label}")
table = _table("labels.csv", "File_Name;Start_Time;End_Time;Category", '{file};"{start}";{stop};{label}')
audiofolder = _table("metadata.csv", "file_name,start,end,label", "{file},{start},{stop},{label}")
jsonl = _table(
    "metadata.jsonl", "", '{{"file_name": "{file}", "onset": {start}, "offset": {stop}, "label": "{label}"}}'
)
audioset = _table(
    "segments.csv", "# YTID, start_seconds, end_seconds, positive_labels", '{stem}, {start}, {stop}, "{label}"'
)
simple = _table("labels.csv", "path,label,start,end", "{file},{label},{start},{stop}")


def aoef(folder: Path, events: list[Event]) -> Path:
    """Write an annotation set as soundevent and Whombat write it."""

    def identifier(*parts: object) -> str:
        return str(uuid5(NAMESPACE_URL, "/".join(map(str, parts))))

    names, labels = list(_by_file(events)), sorted({event[3] for event in events})
    data = {
        "uuid": identifier("set"), "collection_type": "annotation_set", "created_on": STAMP,
        "tags": [{"id": i, "key": "event", "value": label} for i, label in enumerate(labels)],
        "recordings": [
            {"uuid": identifier(f), "path": f, "duration": DURATION_S, "channels": 1, "samplerate": 22050}
            for f in names
        ],
        "clips": [
            {"uuid": identifier("clip", f), "recording": identifier(f), "start_time": 0, "end_time": DURATION_S}
            for f in names
        ],
        "sound_events": [
            {
                "uuid": identifier("event", i), "recording": identifier(f),
                "geometry": {"type": "BoundingBox", "coordinates": [a, 100, b, 4000]},
            }
            for i, (f, a, b, _) in enumerate(events)
        ],
        "sound_event_annotations": [
            {
                "uuid": identifier("label", i), "sound_event": identifier("event", i), "created_on": STAMP,
                "tags": [labels.index(label)],
            }
            for i, (*_, label) in enumerate(events)
        ],
        "clip_annotations": [
            {
                "uuid": identifier("of", f), "clip": identifier("clip", f), "created_on": STAMP,
                "sound_events": [identifier("label", i) for i, event in enumerate(events) if event[0] == f],
            }
            for f in names
        ],
    }  # fmt: skip
    (folder / "export.json").write_text(
        json.dumps({"version": "1.1.0", "created_on": STAMP, "data": data}), encoding="utf-8"
    )
    return folder


WRITERS = (raven, raven_one_table, audacity, dcase, table, audiofolder, jsonl, audioset, simple, aoef)
"""Functions of a folder with the recordings and the events that write annotations and return the folder."""

NAMES = ("raven", "raven-one", "audacity", "dcase", "table", "audiofolder", "jsonl", "audioset", "simple", "aoef")
