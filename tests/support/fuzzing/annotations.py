"""Annotated recordings in each format, and folders of corrections."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from random import Random

from soundmark.datasets import Dataset
from support.annotations import WRITERS
from support.fuzzing.mutators import encoded, mutated_text, mutated_value, to_json
from support.fuzzing.sounds import encoded_sound
from support.fuzzing.tables import check_dataset, check_descriptions, mutated_cells
from support.fuzzing.target import Beat, Case, Target, expect

EVENTS = [("rec1.wav", 0.1, 0.3, "wren"), ("rec1.wav", 0.35, 0.4, "robin"), ("rec2.wav", 0.0, 0.2, "wren")]
CORRECTIONS = (
    "path,label,start,end,source,source_start,source_end,decision,asked,score,model,reviewer,time,undoes,id\n"
    "clips/a_4f1c9a8be2d07365.wav,wren,0,0.2,rec1.wav 9c3b2a10,0.1,0.3,yes,wren,0.9,abc,ann,2026-01-01T00:00:00,,"
    "c0123456789abcde\n"
    ",,,,rec1.wav 9c3b2a10,0.3,0.5,no,wren,0.4,abc,ann,2026-01-01T00:00:01,,c0123456789abcdf\n"
    ",,,,,,,undo,,,,ann,2026-01-01T00:00:02,c0123456789abcdf,c0123456789abce0\n"
)


class Annotations(Target):
    """Label files of all formats and tables of corrections, opened as data sets and described."""

    name = "annotations"
    is_text = True

    def seeds(self) -> list[Case]:
        sounds = {name: encoded_sound("WAV", "PCM_16", 1, 4000) for name in ("rec1.wav", "rec2.wav")}
        found = []
        for write in WRITERS:
            with tempfile.TemporaryDirectory() as folder:
                write(Path(folder), EVENTS)
                files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*.*")}
            found += [Case({**sounds, **files}, main) for main in files]
        clips = {"clips/a_4f1c9a8be2d07365.wav": sounds["rec1.wav"]}
        return [*found, *[Case({"corrections.csv": CORRECTIONS.encode(), **clips}, "corrections.csv")] * 3]

    def mutated(self, seed: Case, rng: Random) -> Case:
        text = seed.data.decode()
        if seed.main.endswith(".json") and rng.random() < 0.8:
            return seed.with_data(encoded(to_json(mutated_value(json.loads(text), rng), rng), rng))
        if seed.main.endswith((".csv", ".tsv", ".txt")) and rng.random() < 0.6:
            text = mutated_cells(text, rng)
        if rng.random() < 0.5:
            text = mutated_text(text, rng)
        return seed.with_data(encoded(text[:2_000_000], rng))

    def names(self, path: Path) -> tuple[str, ...]:
        return (path.name, str(path.parent), "data set")

    def check(self, path: Path, rng: Random, beat: Beat) -> None:
        opened = path if rng.random() < 0.4 and path.name != "corrections.csv" else path.parent
        options = {} if path.name == "corrections.csv" else rng.choice(({}, {}, {"complete": True}))
        data = Dataset.open(opened, **options)
        check_dataset(data)
        beat("open again")
        expect(Dataset.open(opened, **options) == data, "opened twice, the data sets differ")
        beat("describe")
        check_descriptions(data)
