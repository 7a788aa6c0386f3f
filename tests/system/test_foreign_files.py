"""No command replaces, changes or deletes a file that soundmark did not write, whatever name it has.

Each command runs once in an empty folder, which shows the names that it writes. Then it runs once for each name and
each kind of thing that can be in its way: a file, a read-only file, a link to a file or to a folder, and a folder.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from soundmark import Corrections, audio
from soundmark.detection.analysis import analyze
from soundmark.runtime.output_folder import MANIFEST
from support.backbones import write_small
from support.commands import run_soundmark
from support.foreign_files import KINDS, changes, snapshot
from support.models import tone_embedder, tone_model
from support.sounds import RATE_HZ, pcm, tones

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.name == "nt", reason="the tests need symbolic links"),
]

TRAINING = ("--recipe", "notebook-mel", "--epochs", "1", "--batch-size", "4", "--quiet")
COMMANDS = {
    "classify": ("classify", "sounds", "-m", "model.onnx", "-o", "out", "--quiet"),
    "classify --format jsonl": ("classify", "sounds", "-m", "model.onnx", "-o", "out", "--format", "jsonl", "--fresh"),
    "classify --shard": ("classify", "sounds", "-m", "model.onnx", "-o", "out", "--shard", "1/2", "--quiet"),
    "merge": ("merge", "out", "shards/1", "shards/2"),
    "merge corrections": ("merge", "out", "corrections"),
    "train": ("train", "sounds", "-o", "out", *TRAINING),
    "train --fresh": ("train", "sounds", "-o", "out", *TRAINING, "--fresh"),
    "compare": ("compare", "sounds", "-o", "out", *TRAINING, "--protocol", "random"),
    "compare --fresh": ("compare", "sounds", "-o", "out", *TRAINING, "--protocol", "random", "--fresh"),
    "evaluate": ("evaluate", "sounds", "-m", "model.onnx", "-o", "out", "--quiet"),
    "evaluate --events": ("evaluate", "events.csv", "-m", "model.onnx", "-o", "out", "--events", "--quiet"),
    "curve": ("curve", "sounds", "-o", "out", "--backbone", "backbone.onnx", "--draws", "1", "--quiet"),
    "spectrograms": ("spectrograms", "sounds", "out", "--quiet"),
    "export": ("export", "model.onnx", "--with-front-end", "-o", "out/export.onnx", "--quiet"),
    "export --for": ("export", "model.onnx", "--for", "birdnet-go", "-o", "out", "--quiet"),
    "explain": ("explain", "sounds/low/20240612_043000.wav", "-m", "model.onnx", "-o", "out/why.png"),
    "inspect": ("inspect", "sounds", "-o", "out/pets.png", "--quiet"),
    "index": ("index", "sounds", "-m", "embedder.onnx", "-o", "out", "--quiet"),
    "index --fresh": ("index", "sounds", "-m", "embedder.onnx", "-o", "out", "--fresh", "--quiet"),
    "summary": ("summary", "results.csv", "-o", "out/when.png"),
    "listen": (
        "listen", "-", "--rate", RATE_HZ, "-m", "model.onnx", "--save", "out", "--save-at-most", "0.001", "--quiet"
    ),
}  # fmt: skip
ALSO = {  # names that a finished run does not leave
    "train": ("checkpoint.safetensors", "refit.safetensors", "predictions.csv"),
    "train --fresh": ("checkpoint.safetensors", "refit.safetensors", "predictions.csv"),
    "classify": ("files/thesis.txt", "results.jsonl", "parameters.json", "files"),
    "listen": ("20200101T000000.000Z_low.wav",),
}
RESULTS = "Start (s),End (s),Label,Confidence,File\n3000.0,4200.0,siren,0.9,20240612_230000.wav\n"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """A folder with a data set of two classes, a model for it, and results."""
    folder = tmp_path_factory.mktemp("inputs")
    for number in range(4):
        for label in ("low", "high"):
            samples = tones(1.0, [(label, 0.1 * number, 1.0)])
            audio.write(folder / "sounds" / label / f"20240612_04300{number}.wav", samples, RATE_HZ)
    tone_model().bundle.write(folder / "model.onnx")
    tone_embedder().bundle.write(folder / "embedder.onnx")
    write_small(folder / "backbone.onnx")
    (folder / "results.csv").write_text(RESULTS)
    (folder / "events.csv").write_text("path,label,start,end\nsounds/low/20240612_043000.wav,low,0,1\n")
    for shard in ("1", "2"):
        analyze(folder / "sounds", tone_model(), folder / "shards" / shard, shard=f"{shard}/2", quiet=True)
    sound = folder / "sounds" / "low" / "20240612_043000.wav"
    Corrections(folder / "corrections").add(sound, 0, 1, decision="label", label="low")
    return folder


@pytest.fixture(scope="module")
def run(inputs, tmp_path_factory) -> Callable[[str, Path], int]:
    """A function that runs a command of ``COMMANDS`` with its output in a folder, and returns the exit status."""
    cache = tmp_path_factory.mktemp("cache")
    stream = pcm(tones(6.0, [("low", 1.0, 2.0), ("low", 4.0, 5.0)]))

    def call(command: str, out: Path) -> int:
        words = [out / word[3:].lstrip("/") if str(word).startswith("out") else word for word in COMMANDS[command]]
        done = run_soundmark(*words, cwd=inputs, env={"SOUNDMARK_CACHE": cache}, input=stream)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode

    return call


@pytest.fixture(scope="module")
def names(run, tmp_path_factory) -> Callable[[str], list[str]]:
    """A function that returns the names that a command writes, and those of their folders."""
    known: dict[str, list[str]] = {}

    def of(command: str) -> list[str]:
        if command not in known:
            out = tmp_path_factory.mktemp("clean") / "out"
            out.mkdir()
            assert run(command, out) == 0
            found = {path.relative_to(out).as_posix() for path in out.rglob("*")}
            assert found, "the command writes nothing"
            found |= {".lock"} | (set() if command == "merge corrections" else {MANIFEST})
            known[command] = sorted({*found, *ALSO.get(command, ())})
        return known[command]

    return of


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.removeprefix("put_"))
@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_foreign_is_changed_in_an_empty_folder(run, names, tmp_path, command, kind):
    for number, name in enumerate(names(command)):
        place, elsewhere = tmp_path / f"{number}", tmp_path / f"{number}" / "elsewhere"
        elsewhere.mkdir(parents=True)
        (place / "out" / name).parent.mkdir(parents=True)
        kind(place / "out" / name, elsewhere)
        before = snapshot(place)
        status = run(command, place / "out")
        after = snapshot(place)
        assert changes(before, after) == [], (name, status)
        assert [path for path in after if path not in before and str(elsewhere) in path] == [], name


@pytest.mark.parametrize("command", ["classify", "train --fresh", "compare --fresh", "spectrograms"])
def test_an_own_file_that_became_foreign_is_kept_under_another_name_or_refused(run, names, tmp_path, command):
    run(command, tmp_path / "clean")
    for number, name in enumerate(names(command)):
        out = shutil.copytree(tmp_path / "clean", tmp_path / f"{number}", symlinks=True)
        if (out / name).is_file() and name not in (".lock", MANIFEST):
            (out / name).write_text("mine")
            run(command, out)
            kept = [path for path in out.rglob("*") if path.is_file() and path.read_text(errors="replace") == "mine"]
            assert len(kept) == 1, name


@pytest.mark.parametrize("command", ["export", "explain", "inspect", "summary"])
def test_a_single_file_is_replaced_only_with_overwrite(run, tmp_path, command, monkeypatch):
    target = tmp_path / Path(next(str(word) for word in COMMANDS[command] if str(word).startswith("out"))).name
    target.write_text("mine")
    assert run(command, tmp_path) == 2
    assert target.read_text() == "mine"
    monkeypatch.setitem(COMMANDS, command, (*COMMANDS[command], "--overwrite"))
    assert run(command, tmp_path) == 0
    assert target.read_bytes() != b"mine"
