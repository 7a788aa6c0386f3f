"""Indexes of archives: their parameters, journal and records."""

from __future__ import annotations

import json
import logging
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np

from soundmark.detection.archive import store
from soundmark.detection.archive.index import Index
from soundmark.runtime import checksums
from support.archives import tone_archive
from support.fuzzing.mutators import encoded, mutated_bytes, mutated_value, to_json
from support.fuzzing.target import Beat, Case, Target, expect

FILES = ("index.json", "recordings.jsonl", "windows.bin")


class Indexes(Target):
    """The files of an index, opened, described and searched by windows of the index itself."""

    name = "indexes"

    def seeds(self) -> list[Case]:
        logging.getLogger("soundmark").setLevel(logging.ERROR)  # damaged recordings are warned of
        with tempfile.TemporaryDirectory() as folder:
            index = tone_archive(Path(folder), n=2, seconds=3)
            files = {name: (index / name).read_bytes() for name in (*FILES, "model.onnx")}
        return [Case(files, name) for name in FILES]

    def mutated(self, seed: Case, rng: Random) -> Case:
        if seed.main == "windows.bin" or rng.random() < 0.2:
            changed = seed.with_data(mutated_bytes(seed.data, rng))
            return _with_crc32(changed) if seed.main == "windows.bin" and rng.random() < 0.8 else changed
        if seed.main == "index.json":
            return seed.with_data(encoded(to_json(mutated_value(json.loads(seed.data), rng), rng), rng))
        return seed.with_data(b"".join(_mutated_line(line, rng) for line in seed.data.splitlines()))

    def names(self, path: Path) -> tuple[str, ...]:
        return (str(path.parent), path.parent.name, path.name)

    def check(self, path: Path, rng: Random, beat: Beat) -> None:
        index = Index.open(path.parent)
        repr(index)
        beat("scores")
        scores = index.all_scores()
        expect(scores.shape == (len(index), len(index.classes)), f"scores {scores.shape}")
        expect(len(index.embeddings()) == len(index), "embeddings")
        beat("windows")
        for window in index.windows(np.arange(min(5, len(index)))):
            repr(window)
        beat("model")
        expect(index.model.bundle.digest == index.model_digest, "the model is another one")


def _with_crc32(case: Case) -> Case:
    """Give the recordings of changed records a valid crc32, so that their values are read."""
    values = json.loads(case.files["index.json"])
    parameters = store.Parameters(**{name: values[name] for name in store.Parameters.__dataclass_fields__})
    size, lines = parameters.record_type.itemsize, []
    for line in case.files["recordings.jsonl"].splitlines():
        entry = checksums.verified(json.loads(line))
        first = len(store.HEADER) + size * entry["first"]
        entry["crc32"] = zlib.crc32(case.files["windows.bin"][first : first + size * entry["windows"]])
        lines.append(json.dumps(checksums.with_checksum(entry)).encode() + b"\n")
    return replace(case, files={**case.files, "recordings.jsonl": b"".join(lines)})


def _mutated_line(line: bytes, rng: Random) -> bytes:
    """Change an entry of the journal, and give it a valid checksum."""
    values = checksums.verified(json.loads(line))
    try:
        changed = json.loads(to_json(mutated_value(values, rng), rng))
        return json.dumps(checksums.with_checksum(changed)).encode() + b"\n"
    except (ValueError, TypeError, AttributeError, RecursionError):  # not an entry: written as it is
        return line + b"\n"
