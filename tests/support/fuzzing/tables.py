"""Data sets: CSV tables, the tables of UrbanSound8K and ESC-50, and class folders; with links and pipes in them."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from random import Random

import numpy as np

from soundmark.datasets import Dataset, description, inspection
from soundmark.datasets.protocols import PROTOCOLS
from soundmark.errors import SoundmarkError
from soundmark.runtime.progress import no_progress
from support.fuzzing.mutators import NUMBERS, TEXTS, encoded, mutated_text
from support.fuzzing.sounds import encoded_sound
from support.fuzzing.target import Beat, Case, Target, expect
from support.layouts import ESC50_HEADER, URBANSOUND8K_HEADER

PATHS = (
    "rex.wav", "sub/mia.wav", "./rex.wav", "sub/../rex.wav", "../in/rex.wav", "link.wav", "broken.wav", "loop.wav",
    "pipe.wav", "sub", "sub/", "linked/mia.wav", "rex.wav/x", "REX.WAV", "//rex.wav", " rex.wav", "rex.wav ",
    "empty.wav",
    "broken/x.wav", "text.wav", "/etc/passwd", "/dev/zero", "/dev/null", "/proc/self/mem", "/proc/self/fd/0", "/", ".",
    "..", "~", "~/x.wav", "~root/x.wav", "a" * 300 + ".wav", "x/" * 3000 + "x.wav", "rex.wav\0", "C:\\rex.wav",
    "sub\\mia.wav", "\\\\host\\x.wav", "http://host/x.wav", "\udcff.wav", "r\u00e9x.wav", "re\u0301x.wav", "labels.csv",
)  # fmt: skip
LINKS = {"link.wav": "rex.wav", "broken.wav": "gone.wav", "loop.wav": "loop.wav", "linked": "sub", "pipe.wav": "|"}
TABLES = {
    "labels.csv": (
        "path,label,start,end,fold,source,salience,time\nrex.wav,dog,0,0.4,1,r1,1,2024-06-12T04:30:00\n"
        "sub/mia.wav,cat,,,2,r2,background,\nrex.wav,dog,0.1,,3,r1,,\nlink.wav,bird,0,0.2,4,,,\n"
    ),
    "tags.csv": "path,label\nrex.wav,dog; siren\nsub/mia.wav,\nlink.wav,dog\n",
    "labels.tsv": "path\tlabel\tfold\nrex.wav\tdog\t1\nsub/mia.wav\t\"two\twords\"\t2\n",
    "labels.txt": "label;path\ndog;rex.wav\ncat;sub/mia.wav\n",
    "metadata/UrbanSound8K.csv": (
        URBANSOUND8K_HEADER + "\n7061-6-0-0.wav,7061,9.012075,9.835306,1,1,6,gun_shot\n"
        "24074-1-0-7.wav,24074,21.5,25.5,2,2,1,car_horn\n100032-3-0-0.wav,100032,0.0,0.317551,2,5,3,dog_bark\n"
    ),
    "meta/esc50.csv": (
        ESC50_HEADER + "\n2-1-A-14.wav,2,14,chirping_birds,False,1,A\n1-100032-A-0.wav,1,0,dog,True,100032,A\n"
        "3-9-B-7.wav,3,7,rooster,True,9,B\n5-9-B-7.wav,5,7,rooster,True,9,C\n"
    ),
}  # fmt: skip
SOUNDS = {
    "labels.csv": ("rex.wav", "sub/mia.wav"),
    "metadata/UrbanSound8K.csv": ("audio/fold5/100032-3-0-0.wav", "audio/fold1/7061-6-0-0.wav"),
    "meta/esc50.csv": ("audio/1-100032-A-0.wav", "audio/2-1-A-14.wav", "audio/3-9-B-7.wav"),
}
MOST_CHARS = 2_000_000  # of a table: with cells of one letter, each takes more memory than in the file
FOLDERS = ("dog/fold1/rex.wav", "dog/fold2/fido.flac", "cat/1/mia.wav", "cat/2/tom.m4a", "bird/a/b/c.ogg", "x.wav")


class Tables(Target):
    """Tables and folders, opened with and without options, described, and read."""

    name = "tables"
    is_text = True

    def seeds(self) -> list[Case]:
        found = []
        for name, text in TABLES.items():
            own = SOUNDS.get(name, SOUNDS["labels.csv"])
            files = {each: encoded_sound("WAV", "PCM_16", 1, 4000) for each in own}
            links = {} if "/" in name else LINKS
            if links:
                files |= {"empty.wav": b"", "text.wav": b"path,label"}
            found += [Case({name: text.encode(), **files}, name, links)] * (4 if name == "labels.csv" else 1)
        sounds = {name: encoded_sound("WAV", "PCM_16", 1, 500) for name in FOLDERS}
        return [*found, Case(sounds, "", {"pipe.wav": "|", "again": "dog", "cat/up": ".."})]

    def mutated(self, seed: Case, rng: Random) -> Case:
        if not seed.main:
            return _mutated_folders(seed, rng)
        text = seed.data.decode()
        if rng.random() < 0.75:
            text = mutated_cells(text, rng)
        if rng.random() < 0.4 and len(text) < MOST_CHARS:
            text = mutated_text(text, rng)
        return seed.with_data(encoded(text[:MOST_CHARS], rng))

    def names(self, path: Path) -> tuple[str, ...]:
        return (path.name, str(path.parent), "data set")

    def check(self, path: Path, rng: Random, beat: Beat) -> None:
        opened = path if path.is_file() and rng.random() < 0.9 else path.parent
        options = rng.choice(
            (
                {},
                {},
                {},
                {},
                {"classes": ["dog", "cat", "bird"]},
                {"classes": ["cat", "dog; siren"]},
                {"subset": "esc10"},
            )
        )
        data = Dataset.open(opened, **options)
        check_dataset(data)
        beat("open again")
        again = Dataset.open(opened, **options)
        expect(again == data and again.fingerprint == data.fingerprint, "opened twice, the data sets differ")
        beat("describe")
        check_descriptions(data)
        beat("splits")
        for protocol in PROTOCOLS.values():
            try:
                for split in protocol.splits(data):
                    expect(not set(split.train) & set(split.test), f"a split of {protocol.name} overlaps")
            except SoundmarkError as error:
                expect(bool(str(error)), "no message")
        beat("clips")
        for clip in rng.sample(data.clips, min(4, len(data.clips))):
            try:
                sound = clip.read()
                expect(bool(np.isfinite(sound.samples).all()) and len(sound.samples) > 0, f"{clip}")
            except SoundmarkError as error:
                expect(clip.path.name in str(error) or not clip.path.name, f"{error} does not name {clip.path}")
        if rng.random() < 0.1:
            beat("inspect")
            repr(inspection.inspect(data, jobs=1, progress=no_progress))


def check_dataset(data: Dataset) -> None:
    expect(len(data.clips) > 0, "no clips")
    for clip in data.clips:
        expect(math.isfinite(clip.start_s) and clip.start_s >= 0, f"start {clip.start_s}")
        expect(clip.stop_s is None or clip.start_s < clip.stop_s < math.inf, f"{clip.start_s} to {clip.stop_s}")
        expect(clip.fold is None or 1 <= clip.fold <= 10_000, f"fold {clip.fold}")
        expect(set(data.labels_of(clip)) <= set(data.classes), f"label {clip.label}")
        expect(data.multi_label or bool(clip.label), "an empty label")
    expect(0 < data.window_s < math.inf, f"window {data.window_s}")
    expect(data.targets.shape == (len(data), len(data.classes)), f"targets {data.targets.shape}")
    expect(data.multi_label or bool((data.targets.sum(axis=1) == 1).all()), "not one class for each clip")
    expect(len(data.sources) == len(data.fold_of) == len(data), "sources or folds")


def check_descriptions(data: Dataset) -> None:
    expect(len(repr(data).splitlines()) <= 6, f"the repr is {data!r}")
    for text in (repr(data), data.summary(), data._repr_html_(), repr(data.clips[0])):
        expect(len(text) < 100_000, f"a description of {len(text)} characters")
    expect(int(description.counts(data).clips.sum()) == len(data), "counts")
    expect(len(data.to_dataframe()) == len(data), "the DataFrame")


def mutated_cells(text: str, rng: Random) -> str:
    delimiter = "\t" if "\t" in text else "," if "," in text else ";"
    rows = [list(row) for row in csv.reader(io.StringIO(text), delimiter=delimiter)]
    for _ in range(rng.randint(1, 4)):
        i = rng.randrange(len(rows))
        j = rng.randrange(len(rows[i])) if rows[i] else 0
        change = rng.randrange(9)
        if change <= 2 and rows[i]:
            rows[i][j] = rng.choice((rng.choice(NUMBERS), rng.choice(TEXTS), rng.choice(PATHS)))
        elif change == 3:
            k = rng.randrange(1, len(rows)) if len(rows) > 1 else 0
            column = next((n for n, name in enumerate(rows[0]) if name in ("path", "filename", "slice_file_name")), 0)
            if rows[k]:
                rows[k][min(column, len(rows[k]) - 1)] = rng.choice(PATHS)
        elif change == 4:
            rows.insert(i, list(rows[rng.randrange(len(rows))]))
        elif change == 5 and len(rows) > 2:
            del rows[i]
        elif change == 6:
            for row in rows:
                if j < len(row):
                    row.insert(rng.randrange(len(row) + 1), row[j])
        elif change == 7:
            for row in rows:
                if j < len(row):
                    del row[j]
        elif 0 < len(rows[i]) < 50:
            rows[i] = rows[i] * rng.choice((2, 3, 1000))
    written = io.StringIO()
    delimiter = delimiter if rng.random() < 0.9 else rng.choice(",;\t|: ")
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE))
    writer = csv.writer(
        written, delimiter=delimiter, quoting=quoting, escapechar="\\", lineterminator=rng.choice(("\n", "\r\n"))
    )
    if rng.random() < 0.02 and len(str(rows[-1])) < 400:
        rows += [list(rows[-1]) for _ in range(5000)]
    if rng.random() < 0.05:
        written.write(f"sep={rng.choice((delimiter, ',', ';', '', 'xx', TEXTS[rng.randrange(20)]))}\n")
    writer.writerows(rows)
    return written.getvalue()


def _mutated_folders(seed: Case, rng: Random) -> Case:
    files, links = {}, {}
    for name, content in seed.files.items():
        if not name:
            continue
        parts = name.split("/")
        for _ in range(rng.randint(0, 2)):
            short = [
                text
                for text in (*TEXTS, *NUMBERS)
                if 0 < len(text) < 80 and "/" not in text and "\0" not in text and text not in (".", "..")
            ]
            name = rng.choice(
                (*short, "fold1", "fold 2", "Fold_03", "fold0", "fold99999999", "1", "0001", "٣", ".hidden", "__MACOSX")
            )
            parts[rng.randrange(len(parts) - 1) if len(parts) > 1 else 0] = name
        if rng.random() < 0.9:
            files["/".join(parts)] = content
    for name, goal in seed.links.items():
        if rng.random() < 0.5:
            links[name] = rng.choice((goal, "..", ".", "gone", "|", "dog", "/dev/zero"))
    return Case(
        files,
        "",
        {
            name: goal
            for name, goal in links.items()
            if name.split("/")[0] in {f.split("/")[0] for f in files} or "/" not in name
        },
    )
