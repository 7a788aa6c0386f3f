"""Run commands with a fault at each write, then again without: nothing wrong is ever left, and the next run completes.

``python benchmarks/faults.py`` tries every write of every command; ``tests/system/test_faults.py`` some of them.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from soundmark import audio
from soundmark.detection.analysis import analyze
from soundmark.models.bundle import Bundle
from support.commands import run_soundmark
from support.faulty_io import KILLS, fault_setting
from support.models import tone_embedder
from support.sounds import RATE_HZ, wave

COMMANDS = {
    "classify": "classify pets -m model.onnx -o out --jobs 1 --quiet",
    "classify, other settings before": "classify pets -m model.onnx -o out --jobs 1 --quiet --format jsonl --top-k 1",
    "classify --shard": "classify pets -m model.onnx -o out --shard 1/2 --jobs 1 --quiet",
    "merge": "merge out parts/1 parts/2",
    "spectrograms": "spectrograms pets out --jobs 1 --quiet",
    "evaluate": "evaluate pets -m model.onnx -o out --jobs 1 --quiet",
    "evaluate --events": "evaluate pets -m model.onnx -o out --events --jobs 1 --quiet",
    "index": "index pets -m embedder.onnx -o out --jobs 1 --quiet",
    "inspect": "inspect pets -o out/figure.png --overwrite --jobs 1 --quiet",
    "explain": "explain pets/a/0.wav -m model.onnx -o out/figure.png --overwrite",
    "export": "export model.onnx --with-front-end -o out/exported.onnx --overwrite",
    "train": "train pets -o out --recipe tiny.toml --jobs 1 --quiet",
    "compare": "compare pets -o out --recipe tiny.toml --protocol random --jobs 1 --quiet",
    "curve": "curve pets -o out --recipe tiny.toml --draws 1 --jobs 1 --quiet",
}
"""The commands that write a folder, by name."""


GROWING = ("journal.jsonl", "windows.bin")


YEAR_S = 365 * 86_400


TINY = """name = "tiny"
network = "notebook_cnn"
epochs = 1
batch_size = 4
[representation]
name = "mel"
size = [24, 24]
"""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One command with one fault at one write; ``faults`` is empty if all is as it should be."""

    command: str
    fault: str
    n: int
    faults: tuple[str, ...]
    message: str


def make_workplace(folder: Path, bundle: Bundle) -> Path:
    """Write what the commands read: sounds of two classes, a model of these classes, a recipe, and two shards."""
    for number in range(8):
        label = ("a", "b")[number % 2]
        audio.write(folder / "pets" / label / f"{number}.wav", wave(0.6, number), RATE_HZ)
    bundle.write(folder / "model.onnx")
    tone_embedder().bundle.write(folder / "embedder.onnx")
    (folder / "tiny.toml").write_text(TINY)
    for number in (1, 2):
        analyze(folder / "pets", folder / "model.onnx", folder / "parts" / str(number), shard=f"{number}/2", quiet=True)
    return folder


def stable(folder: Path) -> dict[str, str]:
    """The results in a folder, without times: what must be equal in each run."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or path.name.startswith(".") or path.suffix in (".onnx", ".html", ".safetensors"):
            continue
        text = path.read_bytes().decode("latin-1").replace(str(folder.parent), "")
        text = re.sub(r"[0-9a-f]{64}", "", text)  # keys of results: they contain the paths of temporary folders
        if path.name == "history.csv":
            text = re.sub(r",[^,\n]*$", "", text, flags=re.MULTILINE)
        if path.name in ("metrics.json", "curve.json"):
            text = re.sub(r'"(command|sha256)": ".*"|"(seconds|training|testing|features)": [\d.e-]+', "", text)
        found[name] = "".join(sorted(text.splitlines(True))) if path.name in GROWING else text
    return found


def date_files(*folders: Path, by_s: int) -> None:
    """Move the times of all files by ``by_s`` seconds; into the future: as after a clock that was set back."""
    for path in (path for folder in folders for path in folder.rglob("*")):
        found = path.lstat()
        os.utime(path, (found.st_atime + by_s, found.st_mtime + by_s), follow_symlinks=False)


class FaultyRuns:
    """A command in copies of a ``workplace``."""

    def __init__(self, workplace: Path, name: str, temporary: Path) -> None:
        self.name, self._workplace, self._temporary = name, workplace, temporary
        self.words = COMMANDS[name].split()
        with self._place() as place:
            self._counter = temporary / "counter"
            done = self._run(place, fault_setting("SIGKILL", 0, place / "out", self._counter))
            assert done.returncode == 0, done.stderr
            self.writes = int(self._counter.read_text())
            self.expected = stable(place / "out")

    def trial(self, fault: str, n: int) -> Trial:
        """Run with a fault at the n-th write, then again."""
        with self._place() as place:
            out = place / "out"
            done = self._run(place, fault_setting(fault, n, out, self._counter))
            wrong = []
            if fault in KILLS:
                wrong += [] if done.returncode == -9 else [f"status {done.returncode} after SIGKILL"]
            else:
                wrong += [] if done.returncode in (0, 2) else [f"status {done.returncode}: {done.stderr}"]
                errors = [line for line in done.stderr.splitlines() if line.startswith("soundmark:")]
                wrong += [] if len(errors) == (done.returncode != 0) else [f"{len(errors)} messages: {done.stderr}"]
            wrong += [f"traceback: {done.stderr}"] if "Traceback" in done.stderr else []
            wrong += self._wrong_files(stable(out)) if out.is_dir() else []
            if fault == "clock set back":
                date_files(place / "out", place / "cache", by_s=YEAR_S)
            again = self._run(place, {})
            if again.returncode != 0:
                wrong.append(f"the next run: status {again.returncode}, {again.stderr.strip()}")
            elif stable(out) != self.expected:
                wrong.append("the next run: other results")
            wrong += [f"left: {path.name}" for path in out.rglob("*.part")]
        message = "" if fault in KILLS else done.stderr.strip()
        return Trial(command=self.name, fault=fault, n=n, faults=tuple(wrong), message=message)

    def _wrong_files(self, found: Mapping[str, str]) -> Iterator[str]:
        """Files of the interrupted run whose content is neither that of a finished run nor of the run before it."""
        before = self._before
        for name, text in found.items():
            if Path(name).name in GROWING or name.endswith((".toml", "key.json")):
                continue
            if text not in (self.expected.get(name), before.get(name)) and name in self.expected:
                yield f"{name} is neither old nor new"

    def _run(self, place: Path, setting: Mapping[str, str]):
        environment = {"SOUNDMARK_CACHE": place / "cache", "OMP_NUM_THREADS": "1", **setting}
        return run_soundmark(*self.words, cwd=place, env=environment)

    def _place(self):
        place = tempfile.TemporaryDirectory(dir=self._temporary)
        shutil.copytree(self._workplace, place.name, dirs_exist_ok=True)
        self._before = {}
        if "other settings" in self.name:
            run_soundmark(*COMMANDS["classify"].split(), cwd=Path(place.name))
            self._before = stable(Path(place.name) / "out")
        return _Entered(place)


class _Entered:
    """A temporary folder that is entered as a path."""

    def __init__(self, folder: tempfile.TemporaryDirectory) -> None:
        self._folder = folder

    def __enter__(self) -> Path:
        return Path(self._folder.name)

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()
