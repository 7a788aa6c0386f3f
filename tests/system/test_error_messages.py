"""Run the command of each row of docs/errors.md and compare its output with the row."""

import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper

from soundmark import audio
from soundmark.detection.analysis import analyze
from soundmark.detection.archive.corrections import Corrections
from soundmark.detection.archive.index import Index
from soundmark.detection.file_result import FileResult
from soundmark.detection.journal import Journal
from soundmark.models import bundle
from soundmark.models.card import Card
from soundmark.models.classifier import load
from soundmark.models.export import waveform
from soundmark.runtime import atomic, checksums, output_folder
from soundmark.spectrograms import Image, Mel
from support.backbones import write_small
from support.commands import run_soundmark
from support.models import tone_embedder

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
RATE_HZ = 22050
WITHOUT_SHELL_SYNTAX = re.compile(r"soundmark [^|<>&;$()`*]*")
PREFIXES = ("soundmark: ", "warning: ", "skipped: ")  # of lines on standard error; other texts are in standard output

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the commands need a POSIX shell")


@dataclass(frozen=True)
class Row:
    """A row of the page; "…" in a text matches anything."""

    number: int
    command: str
    output: tuple[str, ...]
    status: int


def rows() -> list[Row]:
    cells = [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if re.match(r"\| \d+ \|", line)
    ]
    return [
        Row(int(number), command.strip("`"), tuple(re.findall(r"`([^`]+)`", output)), int(status))
        for number, _, command, output, status in cells
    ]


ROWS = {row.number: row for row in rows()}
SETUPS: dict[int, Callable[[Path], object]] = {}
CHECKS: dict[int, Callable[[Path, subprocess.CompletedProcess[str]], None]] = {}
WITHOUT_PERMISSION: set[int] = set()  # rows that test missing permissions, which root would override
DELETED_FILES: dict[int, set[str]] = {}  # files that the setup of a row deletes


def setup_of(*numbers: int) -> Callable:
    """Register a function that creates the files for the commands of these rows."""

    def register(function: Callable) -> Callable:
        for number in numbers:
            assert number not in SETUPS, number
            SETUPS[number] = function
        return function

    return register


def no_files(folder: Path) -> None:
    """Create no files: those that all rows share are enough."""


def check_after(*numbers: int) -> Callable:
    """Register a function with further checks after the commands of these rows."""

    def register(function: Callable) -> Callable:
        CHECKS.update(dict.fromkeys(numbers, function))
        return function

    return register


def test_every_row_has_a_setup():
    assert len(ROWS) >= 36
    assert list(ROWS) == list(range(1, len(ROWS) + 1))
    assert set(SETUPS) == set(ROWS)
    assert set(CHECKS) | WITHOUT_PERMISSION | set(DELETED_FILES) <= set(ROWS)


@pytest.mark.parametrize("row", [pytest.param(row, id=f"{row.number}-{row.command[:60]}") for row in ROWS.values()])
def test_output_of_the_command_is_as_documented(row: Row, shell, tmp_path: Path):
    folder = create_common_files(tmp_path / "here", shell)
    SETUPS[row.number](folder)
    before = contents(folder)
    done = shell(row.command, folder, with_permissions=row.number in WITHOUT_PERMISSION)
    report = f"{row.command}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stdout + done.stderr, report
    assert done.returncode == row.status, report
    lines = [line for line in done.stderr.splitlines() if line.startswith(PREFIXES)]
    expected = [text for text in row.output if text.startswith(PREFIXES)]
    assert len(lines) == len(expected), report
    for text, line in zip(expected, lines, strict=True):
        assert re.fullmatch(pattern(text), line), f"{text}\n{line}"
    result = " ".join(done.stdout.split())
    for text in row.output:
        if not text.startswith(PREFIXES):
            assert re.search(pattern(text), result), f"{text}\n{done.stdout}"
    if row.status == 2:
        assert done.stdout == "", report
    CHECKS.get(row.number, lambda folder, done: None)(folder, done)
    subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=True)
    after = contents(folder)
    for path, content in before.items():
        is_deleted = path in DELETED_FILES.get(row.number, set())
        assert is_deleted or content is None or after[path] == content, f"{path} was changed\n{report}"
    assert not [path for path in after if path.endswith(".part")]


def pattern(text: str) -> str:
    return ".*".join(map(re.escape, text.split("…")))


def contents(folder: Path) -> dict[str, bytes | None]:
    """The contents of all files below a folder; None for a file without read permission."""
    found: dict[str, bytes | None] = {}
    for path in folder.rglob("*"):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = os.fsencode(path.readlink())
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes() if os.access(path, os.R_OK) else None
    return found


# ── the shell ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module", params=["forked", pytest.param("new process", marks=pytest.mark.long)])
def shell(request, tmp_path_factory):
    """Return a function that runs a line in a shell in which ``soundmark`` is the tested command.

    Lines without shell syntax run in a fork of a process that has imported soundmark; in the long battery, all lines
    run in a shell and a new Python process.
    """
    home = tmp_path_factory.mktemp("home")
    program = home / "bin" / "soundmark"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m soundmark.cli "$@"\n')
    program.chmod(0o755)
    card = Card(classes=("cat", "dog"), representation=Mel(), window_s=0.5)
    bundle.Bundle(pitch_graph(), card).write(home / "model.onnx")
    for i in range(4):
        tone(home / "pets" / "dog" / f"{i}.wav", 200 + 20 * i)
        tone(home / "pets" / "cat" / f"{i}.wav", 3000 + 100 * i)

    def run_line(line: str, folder: Path, *, with_permissions: bool = False) -> subprocess.CompletedProcess[str]:
        environment = {
            **{name: value for name, value in os.environ.items() if name != "SOUNDMARK_WEIGHTS"},
            "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
            "SOUNDMARK_CACHE": os.environ.get("ROW_CACHE", str(home / "cache")),
            "COLUMNS": "1000",  # no cell of a table is wrapped
        }
        if request.param == "forked" and WITHOUT_SHELL_SYNTAX.fullmatch(line) and not with_permissions:
            settings = {name: environment.get(name) for name in ("SOUNDMARK_CACHE", "SOUNDMARK_WEIGHTS", "COLUMNS")}
            return run_soundmark(*shlex.split(line)[1:], cwd=folder, env=settings)
        command = [*(WITH_PERMISSIONS if with_permissions else ()), "bash", "-c", line]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, timeout=300)

    run_line.home = home
    return run_line


# Runs a command so that file permissions apply to it even if it runs as root (Linux): it drops the capabilities that
# override them. A process of another user often cannot read this one's interpreter.
WITH_PERMISSIONS = (
    sys.executable,
    "-c",
    """if True:
    import ctypes, os, sys
    PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
    if os.geteuid() == 0:
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.execvp(sys.argv[1], sys.argv[1:])
    """,
)


def remove_permissions(path: Path, mode: int = 0) -> None:
    """Remove permissions; skip the test if they have no effect."""
    path.chmod(mode)
    probe = subprocess.run([*WITH_PERMISSIONS, "test", "-w" if mode else "-r", str(path)])
    if probe.returncode == 0:
        pytest.skip("permissions have no effect for this user on this system")


def pitch_graph() -> bytes:
    """A classifier of pitch: "dog" if the lower half of a mel spectrogram is louder than the upper half, else "cat"."""
    freq, time = Mel().shape
    weights = np.zeros((freq, time, 2), np.float32)
    weights[: freq // 2, :, 1] = weights[freq // 2 :, :, 0] = 20 / (freq * time)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["spectrogram"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "pitch",
        [helper.make_tensor_value_info("spectrogram", TensorProto.FLOAT, ["batch", 1, freq, time])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor("weights", TensorProto.FLOAT, [freq * time, 2], weights.reshape(-1))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def create_common_files(folder: Path, shell) -> Path:
    """Create the files that all rows share: a model, a sound, and a data set of two classes."""
    folder.mkdir()
    shutil.copy(shell.home / "model.onnx", folder)
    shutil.copytree(shell.home / "pets", folder / "pets")
    shutil.copy(folder / "pets" / "dog" / "0.wav", folder / "good.wav")
    return folder


def tone(path: Path, hz: float = 220.0, rate_hz: int = RATE_HZ, seconds: float = 0.5, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    rng = np.random.default_rng(round(hz))
    samples = 0.4 * np.sin(2 * np.pi * hz * time_s) + 0.01 * rng.standard_normal(len(time_s))
    audio.write(path, np.stack([samples] * channels, axis=1), rate_hz)
    return path


def predictions(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The best class of each file in the output of ``classify --format json``."""
    return {entry["file"]: entry["classes"][0]["label"] for entry in json.loads(done.stdout) if "classes" in entry}


# ── sound files ──────────────────────────────────────────────────────────────────────────────────────────────────────


def encoded(samples: np.ndarray, container: str = "WAV", subtype: str | None = None, rate_hz: int = RATE_HZ) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


NOISE = 0.1 * np.random.default_rng(0).standard_normal(4 * RATE_HZ).astype(np.float32)


setup_of(1, 2)(no_files)


@setup_of(3)
def an_empty_file(folder: Path) -> None:
    (folder / "empty.wav").touch()


@setup_of(4)
def a_header_without_samples(folder: Path) -> None:
    (folder / "header.wav").write_bytes(encoded(NOISE[:0]))


@setup_of(5)
def a_truncated_header(folder: Path) -> None:
    (folder / "cut.wav").write_bytes(encoded(NOISE)[:30])


@setup_of(6, 7, 8, 9)
def truncated_files(folder: Path) -> None:
    for ending, container in (("wav", "WAV"), ("flac", "FLAC"), ("ogg", "OGG"), ("mp3", "MP3")):
        complete = encoded(NOISE, container)
        (folder / f"cut.{ending}").write_bytes(complete[: len(complete) // 2])


@setup_of(10)
def a_text_file_with_the_suffix_wav(folder: Path) -> None:
    (folder / "notes.wav").write_text("Tuesday: rain, hardly any traffic\n")


@setup_of(11)
def other_formats_with_the_suffix_wav(folder: Path) -> None:
    (folder / "a.wav").write_bytes(b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom" + bytes(200))
    (folder / "b.wav").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    (folder / "c.wav").write_bytes(b"PK\x03\x04" + bytes(200))


@setup_of(12)
def random_bytes(folder: Path) -> None:
    (folder / "noise.wav").write_bytes(np.random.default_rng(0).bytes(5000))


def write_float_wav(path: Path, value: float) -> None:
    samples = NOISE.copy()
    samples[100] = value
    path.write_bytes(encoded(samples, "WAV", "FLOAT"))


@setup_of(13)
def a_nan_sample(folder: Path) -> None:
    write_float_wav(folder / "nan.wav", np.nan)


@setup_of(14)
def an_infinite_sample(folder: Path) -> None:
    write_float_wav(folder / "inf.wav", -np.inf)


@setup_of(15)
def a_sample_far_above_full_scale(folder: Path) -> None:
    write_float_wav(folder / "loud.wav", 1e20)


@setup_of(16)
def a_sample_rate_of_1_hz(folder: Path) -> None:
    complete = encoded(NOISE)
    (folder / "slow.wav").write_bytes(complete[:24] + struct.pack("<I", 1) + complete[28:])


@setup_of(17)
def one_sample(folder: Path) -> None:
    (folder / "one.wav").write_bytes(encoded(NOISE[:1]))


@setup_of(18)
def a_recording_with_8_channels_at_192_khz(folder: Path) -> None:
    tone(folder / "studio.wav", 230, 192_000, channels=8)


@check_after(1, 3, 4, 5, 10, 12, 13, 14, 15, 16, 19, 21, 23)
def the_readable_file_is_classified(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert predictions(done) == {"good.wav": "dog"}
    named = [entry["file"] for entry in json.loads(done.stdout) if "error" in entry]
    assert len(named) == len(done.stderr.splitlines())


@check_after(6, 7, 8, 9)
def the_decodable_part_is_classified(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    (entry,) = json.loads(done.stdout)
    assert len(entry["classes"]) == 2
    assert f"warning: {entry['note']}" in done.stderr.splitlines()


@check_after(17, 18)
def the_file_is_classified(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert len(predictions(done)) == 1
    assert predictions(done).get("studio.wav") in (None, "dog")


WITHOUT_PERMISSION |= {19, 20, 21, 35, 36, 59, 70, 76, 95}


@setup_of(19)
def an_unreadable_file(folder: Path) -> None:
    remove_permissions(tone(folder / "secret.wav"))


@setup_of(20, 36)
def an_unreadable_class_folder(folder: Path) -> None:
    tone(folder / "pets" / "locked" / "a.wav")
    remove_permissions(folder / "pets" / "locked")


@setup_of(21)
def an_unreadable_folder(folder: Path) -> None:
    tone(folder / "locked" / "secret.wav")
    remove_permissions(folder / "locked")


@check_after(20)
def the_other_files_are_classified(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    expected = {f"pets/{label}/{i}.wav": label for label in ("cat", "dog") for i in range(4)}
    assert predictions(done) == expected


DELETED_FILES[22] = {"many/1.wav"}


@setup_of(22)
def a_file_that_is_deleted_meanwhile(folder: Path) -> None:
    """The first input is a pipe: opening it shows that the folder was listed; then a file in the folder is deleted."""
    for name in ("many/1.wav", "many/2.wav"):
        tone(folder / name)
    os.mkfifo(folder / "pipe")

    def delete_while_reading() -> None:
        with (folder / "pipe").open("wb") as pipe:
            (folder / "many" / "1.wav").unlink()
            pipe.write((folder / "good.wav").read_bytes())

    threading.Thread(target=delete_while_reading, daemon=True).start()


@check_after(22)
def the_remaining_files_are_classified(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert predictions(done) == {"pipe": "dog", "many/2.wav": "dog"}


@setup_of(23)
def broken_links(folder: Path) -> None:
    (folder / "gone.wav").symlink_to("nowhere.wav")
    (folder / "circle.wav").symlink_to("circle.wav")


ODD = ("zażółć ☃.wav", "two words.wav", 'it\'s "here".wav', "[red]loud[bold].wav", "a,b;c.wav", "=1+1.wav", "%s.wav")


@setup_of(24)
def unusual_file_names(folder: Path) -> None:
    for name in (*ODD, "two\nlines.wav", "-v.wav"):
        tone(folder / "odd" / name)


@check_after(24)
def file_names_are_unchanged(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    found = list(csv.DictReader(io.StringIO(done.stdout, newline="")))
    assert {row["File"] for row in found} == {f"odd/{name}" for name in (*ODD, "two\nlines.wav", "-v.wav")}
    assert all(row["Label"] == "dog" for row in found)


@setup_of(25)
def an_undecodable_file_with_an_unusual_name(folder: Path) -> None:
    tone(folder / "odd" / "[b]good\none[bold].wav")
    (folder / "odd" / "two\nlines [red].wav").write_text("no sound\n")


@check_after(25)
def a_name_is_one_table_cell(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert "odd/[b]good\\none[bold].wav  dog" in done.stdout
    assert len(done.stderr.splitlines()) == 1


@setup_of(26)
def a_name_that_begins_with_a_dash(folder: Path) -> None:
    tone(folder / "-good.wav")


@setup_of(27)
def a_folder_of_text_files(folder: Path) -> None:
    (folder / "notes").mkdir()
    (folder / "notes" / "monday.txt").write_text("rain\n")


@setup_of(28)
def a_folder_with_an_m4a_file(folder: Path) -> None:
    tone(folder / "phone" / "a.wav")
    (folder / "phone" / "b.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    tone(folder / "phone" / "__MACOSX" / "a.wav")
    tone(folder / "phone" / "._a.wav")


@check_after(28)
def only_the_wav_is_classified(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert predictions(done) == {"phone/a.wav": "dog"}


@setup_of(29, 30)
def an_undecodable_clip(folder: Path) -> None:
    (folder / "pets" / "dog" / "4.wav").write_text("no sound\n")


@check_after(30)
def the_other_images_are_written(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert len(list((folder / "pictures").rglob("*.png"))) == 8


# ── tables and folders ───────────────────────────────────────────────────────────────────────────────────────────────


setup_of(31, 32, 34)(no_files)


@setup_of(33)
def an_empty_folder(folder: Path) -> None:
    (folder / "empty").mkdir()


@setup_of(35)
def an_unreadable_data_set(folder: Path) -> None:
    remove_permissions(folder / "pets")


@setup_of(37)
def a_class_without_sounds(folder: Path) -> None:
    (folder / "pets" / "bird").mkdir()


@setup_of(38)
def hidden_and_system_files(folder: Path) -> None:
    for name in ("__MACOSX/dog/0.wav", ".hidden/a.wav", "@eaDir/a.wav", "dog/._0.wav"):
        tone(folder / "pets" / name)
    for name in (".DS_Store", "dog/.DS_Store", "dog/Thumbs.db", "dog/notes.txt", "readme.md"):
        (folder / "pets" / name).write_bytes(b"x")


@setup_of(39)
def links_in_a_class_folder(folder: Path) -> None:
    for name, leads_to in (("gone.wav", "nowhere.wav"), ("circle.wav", "circle.wav"), ("back", "../../pets")):
        (folder / "pets" / "dog" / name).symlink_to(leads_to)


@setup_of(40)
def a_folder_with_a_table(folder: Path) -> None:
    (folder / "folder").mkdir()
    (folder / "folder" / "labels.csv").write_text("name,kind\n../good.wav,dog\n")


def table(path: Path, *lines: str, encoding: str = "utf-8", end: str = "\n") -> None:
    path.write_bytes("".join(line + end for line in lines).encode(encoding))


PETS = ("pets/dog/0.wav,dog", "pets/cat/0.wav,cat")


@setup_of(41)
def tables_in_csv_dialects(folder: Path) -> None:
    shutil.copy(folder / "good.wav", folder / "pets" / "a,b.wav")
    table(folder / "bom.csv", "path,label", '"pets/a,b.wav","dog, big"', PETS[1], encoding="utf-8-sig")
    table(folder / "semicolons.csv", "sep=;", "path;label", "pets/a,b.wav;dog, big", "pets/cat/0.wav;cat")
    table(folder / "tabs.csv", "Label\tPath", "dog, big\tpets/a,b.wav", "cat\tpets/cat/0.wav", end="\r\n")
    table(folder / "windows.csv", "path,label", '".\\pets\\a,b.wav","dog, big"', "pets\\cat\\0.wav,cat", end="\r\n")


@check_after(41)
def all_dialects_give_the_same_data_set(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert len(re.findall(r"^dog, big +1 +1 *$", done.stdout, re.MULTILINE)) == 4
    assert done.stdout.count("none found") == 4


@setup_of(42)
def a_latin_1_table(folder: Path) -> None:
    table(folder / "latin.csv", "path,label", PETS[0], "pets/cat/0.wav,Kätzchen", encoding="latin-1")


@setup_of(43)
def a_table_without_a_path_column(folder: Path) -> None:
    table(folder / "files.csv", "clip,label", *PETS)


@setup_of(44)
def a_table_without_rows(folder: Path) -> None:
    table(folder / "header.csv", "path,label")


@setup_of(45)
def an_empty_table(folder: Path) -> None:
    (folder / "empty.csv").touch()


@setup_of(46)
def a_row_with_too_few_cells(folder: Path) -> None:
    table(folder / "short.csv", "path,label", PETS[0], "pets/cat/0.wav")


@setup_of(47)
def a_row_with_too_many_cells(folder: Path) -> None:
    table(folder / "long.csv", "path,label", PETS[0], "pets/cat/0.wav,cat, small")


@setup_of(48)
def a_row_with_an_empty_label(folder: Path) -> None:
    table(folder / "labels.csv", "path,label", PETS[0], "pets/cat/0.wav,")


@setup_of(49)
def an_unknown_label(folder: Path) -> None:
    tone(folder / "city" / "audio" / "fold1" / "1-0-0-0.wav")
    (folder / "city" / "metadata").mkdir()
    table(
        folder / "city" / "metadata" / "UrbanSound8K.csv",
        "slice_file_name,fsID,start,end,salience,fold,classID,class",
        "1-0-0-0.wav,1,0,0.5,1,1,8,sirens",
    )


@setup_of(50)
def an_unclosed_quote(folder: Path) -> None:
    table(folder / "quote.csv", "path,label", '"pets/dog/0.wav,dog', PETS[1])


@setup_of(51)
def an_end_before_the_start(folder: Path) -> None:
    table(folder / "times.csv", "path,label,start,end", "pets/dog/0.wav,dog,0.4,0.1")


@setup_of(52)
def a_negative_time(folder: Path) -> None:
    table(folder / "times.csv", "path,label,start,end", "pets/dog/0.wav,dog,-0.1,0.1")


@setup_of(53)
def a_decimal_comma(folder: Path) -> None:
    table(folder / "times.csv", "path,label,start,end", 'pets/dog/0.wav,dog,"0,1","0,4"')


@setup_of(54)
def a_start_after_the_end_of_the_file(folder: Path) -> None:
    table(folder / "times.csv", "path,label,start,end", "pets/dog/0.wav,dog,7,8", "pets/cat/0.wav,cat,0,0.4")


@setup_of(55)
def a_duplicate_row(folder: Path) -> None:
    table(folder / "twice.csv", "path,label", *PETS, PETS[0])


@setup_of(56)
def a_row_with_a_missing_file(folder: Path) -> None:
    table(folder / "partly.csv", "path,label", *PETS, "pets/dog/99.wav,dog")


@setup_of(57)
def a_table_with_only_missing_files(folder: Path) -> None:
    table(folder / "elsewhere.csv", "path,label", "C:\\sounds\\rex.wav,dog", "C:\\sounds\\mia.wav,cat")


@setup_of(58)
def a_row_with_a_folder_path(folder: Path) -> None:
    table(folder / "folders.csv", "path,label", *PETS, "pets/dog,dog")


@setup_of(59)
def an_unreadable_table(folder: Path) -> None:
    table(folder / "pets.csv", "path,label", *PETS)
    remove_permissions(folder / "pets.csv")


# ── splits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@setup_of(60)
def one_class(folder: Path) -> None:
    shutil.rmtree(folder / "pets" / "cat")


@setup_of(61)
def two_clips(folder: Path) -> None:
    for label in ("cat", "dog"):
        for i in range(1, 4):
            (folder / "pets" / label / f"{i}.wav").unlink()


@setup_of(62, 68)
def birds(folder: Path) -> None:
    for name in ("tit/0.wav", "tit/1.wav", "owl/0.wav", "owl/1.wav"):
        tone(folder / "birds" / name)


@setup_of(63)
def two_folds(folder: Path) -> None:
    rows = [f"pets/{label}/{i}.wav,{label},{1 + i % 2}" for label in ("cat", "dog") for i in range(4)]
    table(folder / "folds.csv", "path,label,fold", *rows)


@setup_of(64)
def folds_for_some_clips(folder: Path) -> None:
    table(folder / "folds.csv", "path,label,fold", f"{PETS[0]},1", f"{PETS[1]},2", "pets/cat/1.wav,cat,")


@setup_of(65)
def a_fold_that_is_not_a_number(folder: Path) -> None:
    table(folder / "folds.csv", "path,label,fold", f"{PETS[0]},train", f"{PETS[1]},test")


@setup_of(66)
def a_class_in_one_fold(folder: Path) -> None:
    rows = [f"pets/dog/{i}.wav,dog,{1 + i % 2}" for i in range(4)] + [f"pets/cat/{i}.wav,cat,1" for i in range(4)]
    table(folder / "folds.csv", "path,label,fold", *rows)


@setup_of(67)
def a_class_with_one_clip(folder: Path) -> None:
    shutil.rmtree(folder / "pets" / "cat")
    tone(folder / "pets" / "wolf" / "0.wav")  # the fifth clip, which the notebook's seed puts into the test set


@check_after(66, 67)
def the_report_is_written(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert (folder / "run" / "report.html").exists()
    (result,) = json.loads((folder / "run" / "metrics.json").read_text())["results"]
    assert 0 <= result["accuracy"] <= 1


# ── output ───────────────────────────────────────────────────────────────────────────────────────────────────────────


setup_of(69, 75, 77, 78, 79, 80, 81, 82, 84)(no_files)


@setup_of(70, 76)
def a_read_only_folder(folder: Path) -> None:
    (folder / "readonly").mkdir()
    remove_permissions(folder / "readonly", 0o555)


@setup_of(71)
def another_run_of_soundmark(folder: Path) -> None:
    with output_folder.opened(folder / "run"):
        atomic.write_bytes(folder / "run" / "model.onnx", (folder / "model.onnx").read_bytes())


@setup_of(72, 86)
def another_run(folder: Path) -> None:
    (folder / "run").mkdir()
    shutil.copy(folder / "model.onnx", folder / "run")


@setup_of(73)
def other_images(folder: Path) -> None:
    (folder / "pictures" / "dog").mkdir(parents=True)
    (folder / "pictures" / "dog" / "0.png").write_bytes(b"my dog")


@setup_of(74)
def images_of_another_data_set(folder: Path) -> None:
    birds(folder)
    (folder / "pictures").mkdir()
    (folder / "pictures" / "spectrograms.json").write_text(json.dumps({"dataset": ["/sounds/pets", "pets"]}))


@setup_of(83)
def clips_to_evaluate(folder: Path) -> None:
    two_folds(folder)


@check_after(77, 78)
def only_the_message_is_printed(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert len(done.stderr.splitlines()) == 1


@check_after(79, 80, 81, 82, 83)
def no_partial_file_is_left(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    for name in ("pets.png", "run/model.onnx", "run/checkpoint.safetensors", "scores/predictions.csv"):
        assert not (folder / name).exists()
    assert not list(folder.rglob("*.png"))
    assert done.returncode != -signal.SIGXFSZ


# ── models ───────────────────────────────────────────────────────────────────────────────────────────────────────────


setup_of(85)(no_files)


@setup_of(87)
def a_text_file_as_model(folder: Path) -> None:
    (folder / "notes.onnx").write_text("the model is on the other laptop\n")


@setup_of(88)
def an_empty_model(folder: Path) -> None:
    (folder / "empty.onnx").touch()


@setup_of(89)
def random_bytes_as_model(folder: Path) -> None:
    (folder / "noise.onnx").write_bytes(np.random.default_rng(0).bytes(5000))


@setup_of(90)
def a_truncated_model(folder: Path) -> None:
    complete = (folder / "model.onnx").read_bytes()
    (folder / "half.onnx").write_bytes(complete[: len(complete) // 2])


@setup_of(91)
def a_changed_byte(folder: Path) -> None:
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "changed.onnx").write_bytes(content)


@setup_of(92)
def a_model_of_another_program(folder: Path) -> None:
    (folder / "other.onnx").write_bytes(pitch_graph())


def with_card(folder: Path, name: str, **changes: object) -> None:
    """Write the model with a changed card and a valid checksum."""
    model = bundle.read_bundle(folder / "model.onnx")

    class Other:
        def to_json(self) -> str:
            return json.dumps({**json.loads(model.card.to_json()), **changes})

    bundle.Bundle(model.graph, Other()).write(folder / name)  # type: ignore[arg-type]


@setup_of(93)
def a_model_with_a_later_schema(folder: Path) -> None:
    with_card(folder, "later.onnx", schema=2, representation={"name": "wavelet"})


@setup_of(94)
def a_card_without_classes(folder: Path) -> None:
    with_card(folder, "strange.onnx", classes=[])


@setup_of(95)
def an_unreadable_model(folder: Path) -> None:
    shutil.copy(folder / "model.onnx", folder / "secret.onnx")
    remove_permissions(folder / "secret.onnx")


@setup_of(96)
def sounds_at_other_rates(folder: Path) -> None:
    for khz in (8, 44, 96):
        tone(folder / f"low{khz}.wav", 230, {44: 44_100}.get(khz, khz * 1000))
        tone(folder / f"high{khz}.wav", 3150, {44: 44_100}.get(khz, khz * 1000))


@check_after(96)
def the_predictions_are_right(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    expected = {"low": "dog", "high": "cat"}
    assert predictions(done) == {f"{pitch}{khz}.wav": label for pitch, label in expected.items() for khz in (8, 44, 96)}


# ── options ──────────────────────────────────────────────────────────────────────────────────────────────────────────


setup_of(*range(97, 111), *range(112, 127), 218, 219)(no_files)


@setup_of(111)
def a_recipe_with_a_misspelt_field(folder: Path) -> None:
    (folder / "mine.toml").write_text('name = "mine"\nrepresentation = "mel"\nepoch = 3\n')


@check_after(*range(97, 127))
def nothing_is_written(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert not (folder / "run").exists()


# ── training with warnings ───────────────────────────────────────────────────────────────────────────────────────────


@setup_of(127)
def a_truncated_clip(folder: Path) -> None:
    complete = (folder / "pets" / "dog" / "0.wav").read_bytes()
    (folder / "pets" / "dog" / "4.wav").write_bytes(complete[: len(complete) // 2])


SETUPS[128] = SETUPS[66]


@setup_of(129)
def file_names_that_are_not_utf_8(folder: Path) -> None:
    try:
        for path in (folder / "pets").glob("*/*.wav"):
            parent, name = os.fsencode(path.parent), os.fsencode(path.name)
            os.rename(path, os.path.join(parent, b"\xff" + name))  # noqa: PTH104, PTH118 - a Path is text
    except OSError:
        pytest.skip("file names are UTF-8 on this system")


@check_after(129)
def the_results_can_be_read(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert json.loads((folder / "run" / "metrics.json").read_text(encoding="utf-8"))["results"]
    assert b"cat/\xff" in b"".join(path.read_bytes() for path in (folder / "run").rglob("predictions.csv"))


# ── protocols and seeds ──────────────────────────────────────────────────────────────────────────────────────────────


setup_of(130, 134, 135)(no_files)


@setup_of(131)
def one_recording(folder: Path) -> None:
    rows = [f"pets/{label}/{i}.wav,{label},all" for label in ("cat", "dog") for i in range(4)]
    table(folder / "one.csv", "path,label,source", *rows)


@setup_of(132)
def two_clips_of_each_recording(folder: Path) -> None:
    rows = [f"pets/{label}/{i}.wav,{label},{label}-{i // 2}" for label in ("cat", "dog") for i in range(4)]
    table(folder / "sources.csv", "path,label,source", *rows)


@check_after(132)
def both_protocols_are_evaluated(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    results = json.loads((folder / "run" / "metrics.json").read_text())["results"]
    assert [(one["protocol"], one["leak"]["recording"] > 0) for one in results] == [
        ("random", True),
        ("grouped", False),
    ]


@setup_of(133)
def a_recording_in_every_fold(folder: Path) -> None:
    rows = [f"pets/{label}/{i}.wav,{label},{1 + i % 2},{label}" for label in ("cat", "dog") for i in range(4)]
    table(folder / "torn.csv", "path,label,fold,source", *rows)


@check_after(133)
def the_report_states_the_leakage(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert "These folds do not keep recordings together: 100.0 %" in (folder / "run" / "report.html").read_text("utf-8")


# ── explain ──────────────────────────────────────────────────────────────────────────────────────────────────────────


setup_of(136, 137, 138, 140, 141)(no_files)


@setup_of(139)
def a_truncated_sound(folder: Path) -> None:
    complete = (folder / "good.wav").read_bytes()
    (folder / "cut.wav").write_bytes(complete[: len(complete) // 2])


@check_after(136, 137, 138, 140, 141)
def no_image_is_written(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert not list(folder.glob("why*"))


@check_after(139)
def the_image_is_written(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert (folder / "why.png").read_bytes().startswith(b"\x89PNG")


# ── multi-label data ─────────────────────────────────────────────────────────────────────────────────────────────────


@setup_of(142)
def both_labels_on_every_clip(folder: Path) -> None:
    rows = [f"pets/{label}/{i}.wav,cat;dog,{1 + i % 2}" for label in ("cat", "dog") for i in range(4)]
    table(folder / "same.csv", "path,label,fold", *rows)


@setup_of(143)
def an_unknown_label_in_a_multi_label_cell(folder: Path) -> None:
    table(folder / "several.csv", "path,label", "pets/dog/0.wav,dog", "pets/dog/1.wav,dog;fox", "pets/cat/0.wav,cat")


# ── pretrained weights ───────────────────────────────────────────────────────────────────────────────────────────────


@setup_of(144)
def weights_with_a_wrong_checksum(folder: Path) -> None:
    (folder / "weights").mkdir()
    (folder / "weights" / "mn04_as_mAP_432.pt").write_bytes(b"not these")


setup_of(145, 220)(no_files)


# ── inputs and results folders of classify ───────────────────────────────────────────────────────────────────────────


setup_of(146, 147, 151, 152, 153, 157, 158)(no_files)


@setup_of(148, 149, 150)
def a_list_of_files(folder: Path) -> None:
    (folder / "list.txt").write_text("good.wav\ngone.wav\n")


@check_after(148, 150)
def the_listed_file_is_classified(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert predictions(done) == {"good.wav": "dog"}


@setup_of(154, 155)
def invalid_thresholds(folder: Path) -> None:
    (folder / "mine.toml").write_text("dgo = 0.7\n")
    (folder / "mine.csv").write_text("label,threshold\ndog,70\n")


@setup_of(156)
def a_folder_with_other_files(folder: Path) -> None:
    (folder / "notes").mkdir()
    (folder / "notes" / "todo.txt").write_text("mine")


@setup_of(159)
def an_empty_file_beside_a_sound(folder: Path) -> None:
    (folder / "empty.wav").touch()


@check_after(159)
def it_is_listed_in_errors_csv(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    with (folder / "out" / "errors.csv").open(newline="") as file:
        assert [row["File"] for row in csv.DictReader(file)] == ["empty.wav"]
    with (folder / "out" / "results.csv").open(newline="") as file:
        assert [(row["File"], row["Label"]) for row in csv.DictReader(file)] == [("good.wav", "dog")]


@setup_of(160)
def a_journal_with_a_damaged_line(folder: Path) -> None:
    path = folder / "again" / "journal.jsonl"
    path.parent.mkdir()
    with Journal(path) as journal:
        journal.add(
            "1234", FileResult(file="a.wav", duration_s=4.0, answer=[{"label": "dog", "score": 0.9}], events=[])
        )
    with path.open("a") as file:
        file.write('{"key": "1234", "sha256": "5678"}\n')


DELETED_FILES[160] = {"again/journal.jsonl"}


# ── export ───────────────────────────────────────────────────────────────────────────────────────────────────────────


setup_of(161, 163, 166, 167, 168, 169, 170, 173)(no_files)


@setup_of(162)
def a_model_of_images(folder: Path) -> None:
    with_card(folder, "pictures.onnx", representation=Image().settings())


SETUPS[164] = birds


@setup_of(165)
def an_int8_model(folder: Path) -> None:
    with_card(folder, "small.onnx", data={"int8": {}})


@setup_of(171)
def a_folder_of_notes(folder: Path) -> None:
    (folder / "notes").mkdir()
    (folder / "notes" / "list.txt").write_text("rain")


@setup_of(172)
def an_exported_graph(folder: Path) -> None:
    waveform.export_waveform_model(load(folder / "model.onnx"), folder / "out.onnx")


@check_after(161, 162, 163, 164, 165, 166, 167, 168, 169, 171)
def nothing_is_exported(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert {path.name for path in folder.rglob("*.onnx")} <= {"model.onnx", "pictures.onnx", "small.onnx"}


@check_after(170)
def the_export_is_written(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert b"soundmark_export" in (folder / "model-waveform.onnx").read_bytes()


# ── listen and summary ───────────────────────────────────────────────────────────────────────────────────────────────


setup_of(174, 175, 176, 177, 178, 179, 180, 181, 182, 183, 190, 192, 194)(no_files)


@setup_of(193)
def a_flac(folder: Path) -> None:
    samples, rate_hz = soundfile.read(folder / "good.wav")
    soundfile.write(folder / "good.flac", samples, rate_hz)


@setup_of(195, 196)
def packages_that_cannot_be_imported(folder: Path) -> None:
    (folder / "bare").mkdir()
    (folder / "bare" / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    missing = "raise ModuleNotFoundError(\"No module named 'av'\", name='av')\n"
    (folder / "bare" / "av.py").write_text(missing)


EVENTS = "Start (s),End (s),Label,Confidence,File"


@setup_of(184, 185, 186, 187, 189)
def tables_of_results(folder: Path) -> None:
    timed = "0,4,dog,0.9,20240612_043000.wav"
    table(folder / "events.csv", EVENTS, "0,4,dog,0.9,good.wav")
    table(folder / "other.csv", "path,label", "good.wav,dog")
    table(folder / "odd.csv", EVENTS, timed, "4,soon,dog,0.9,20240612_043000.wav")
    table(folder / "some.csv", EVENTS, timed, "0,4,dog,0.9,good.wav")


@setup_of(188)
def results_with_a_damaged_table(folder: Path) -> None:
    (folder / "results").mkdir()
    table(folder / "results" / "results.csv", EVENTS, "0,4,dog,0.9,20240612_043000.wav")
    table(folder / "results" / "files.csv", "File,Duration (s),Start (UTC)", "20240612_043000.wav,4,half past four")


@setup_of(214, 215, 217)
def nothing_more_for_events(folder: Path) -> None:
    no_files(folder)


@setup_of(216)
def annotations_of_an_owl(folder: Path) -> None:
    table(folder / "owls.csv", "path,label,start,end", "good.wav,owl,0,1")


@setup_of(191)
def a_number_after_the_time_in_a_name(folder: Path) -> None:
    tone(folder / "20240612_043000-9999.wav")


@check_after(191)
def its_start_time_is_known(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    (one,) = json.loads(done.stdout)
    assert one["began"] == "2024-06-12T04:30:00.000Z"


@setup_of(197)
def a_decoder_that_crashes(folder: Path) -> None:
    """A crash of libsndfile in the worker process only, for one file."""
    (folder / "crash.wav").write_bytes((folder / "good.wav").read_bytes())
    (folder / "crashing").mkdir()
    (folder / "crashing" / "sitecustomize.py").write_text(
        "import ctypes, sys\n"
        "if 'soundmark.audio.decoding.worker' in sys.orig_argv:\n"
        "    import soundfile\n"
        "    opened = soundfile.SoundFile\n"
        "    soundfile.SoundFile = lambda file: ctypes.string_at(0) if file == b'crash.wav' else opened(file)\n"
    )


@setup_of(198)
def an_mp3_with_changed_bytes(folder: Path) -> None:
    samples = 0.2 * np.random.default_rng(0).standard_normal(10 * 44_100)
    soundfile.write(folder / "intact.mp3", samples, 44_100)
    data = bytearray((folder / "intact.mp3").read_bytes())
    for at in range(len(data) // 3, 2 * len(data) // 3, 1500):
        data[at] ^= 0xFF
    (folder / "damaged.mp3").write_bytes(data)


@setup_of(199)
def a_text_with_a_suffix_of_sounds_without_header(folder: Path) -> None:
    (folder / "notes.au").write_text("Tuesday: rain, hardly any birds.\n" * 9)


@setup_of(200)
def a_recipe_with_large_spectrograms(folder: Path) -> None:
    (folder / "large.toml").write_text('name = "large"\n[representation]\nname = "mel"\nsize = [64, 5000]\n')


# ── windows, background, ultrasound ──────────────────────────────────────────────────────────────────────────────────

setup_of(*range(201, 212))(no_files)


@setup_of(212)
def twins_with_different_labels(folder: Path) -> None:
    tone(folder / "twins" / "cat" / "1.wav", 330)
    for name in ("cat", "dog"):
        tone(folder / "twins" / name / "0.wav", 220)


@setup_of(213)
def an_almost_silent_clip(folder: Path) -> None:
    for i, name in enumerate(("cat/1", "dog/2", "dog/3")):
        tone(folder / "quiet" / f"{name}.wav", 220 + 10 * i)
    faint = 0.0003 * np.sin(np.arange(RATE_HZ))
    (folder / "quiet" / "cat" / "0.wav").write_bytes(encoded(faint))


setup_of(221, 229)(no_files)


@setup_of(222)
def a_foreign_copy_of_a_data_set(folder: Path) -> None:
    (folder / "data" / "UrbanSound8K").mkdir(parents=True)
    (folder / "data" / "UrbanSound8K" / "notes.txt").write_text("mine")


@setup_of(223)
def another_archive(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "UrbanSound8K.tar.gz").write_bytes(b"x" * 1000)


@setup_of(224, 225)
def a_small_disk(folder: Path) -> None:
    """1 GB of free disk space for UrbanSound8K, 9 GB for ESC-50, and no waiting."""
    (folder / "small").mkdir()
    (folder / "small" / "sitecustomize.py").write_text(
        "import shutil, sys, time\n"
        "free = 9 * 10**9 if 'esc50' in sys.orig_argv else 10**9\n"
        "shutil.disk_usage = lambda path: type('Usage', (), {'free': free})\n"
        "if 'esc50' in sys.orig_argv:\n"
        "    time.sleep = lambda seconds: None\n"
    )


@setup_of(226)
def an_archive_of_esc50(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "ESC-50-master.zip").write_bytes(b"x" * 1000)


@setup_of(227)
def an_archive_with_a_path_outside(folder: Path) -> None:
    zip_of_esc50(folder, {"../evil": b"evil"})


@setup_of(228)
def an_archive_with_one_clip(folder: Path) -> None:
    table = b"filename,fold,target,category,esc10,src_file,take\n1-1-A-0.wav,1,0,dog,True,1,A\n"
    zip_of_esc50(folder, {"ESC-50-master/audio/1-1-A-0.wav": b"x", "ESC-50-master/meta/esc50.csv": table})


@setup_of(234)
def a_table_with_too_many_rows(folder: Path) -> None:
    (folder / "rows.csv").write_text("path,label\n" + "a,b\n" * 1_100_000)


@setup_of(235)
def a_table_with_a_long_row(folder: Path) -> None:
    (folder / "wide.csv").write_text("a," * 600_000 + "path,label\n")


@setup_of(236)
def a_label_file_with_too_many_labels(folder: Path) -> None:
    (folder / "dawn.txt").write_text("1\t2\twren\n" * 1_100_000)


def zip_of_esc50(folder: Path, files: dict[str, bytes]) -> None:
    (folder / "data").mkdir()
    with zipfile.ZipFile(folder / "data" / "ESC-50-master.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


setup_of(230, 231, 232)(no_files)


@setup_of(233)
def fine_tuning(folder: Path) -> None:
    shutil.copy(
        Path(__file__).parents[1] / "data" / "v0.1" / "recipes" / "transfer-finetune.toml", folder / "mine.toml"
    )


@setup_of(237)
def two_sounds(folder: Path) -> None:
    for name in ("cat", "dog"):
        tone(folder / "few" / name / "0.wav", 440)


@setup_of(238)
def a_learning_curve_of_other_data(folder: Path) -> None:
    (folder / "run").mkdir()
    found = checksums.with_checksum({"dataset": {"fingerprint": "0"}, "recipe": {}})
    (folder / "run" / "curve.json").write_text(json.dumps(found))


setup_of(239, 240, 241)(no_files)


@setup_of(242, 243, 244, 245, 246, 247, 248, 249)
def backbone_files(folder: Path) -> None:
    (folder / "text.onnx").write_text("not a network")
    small = write_small(folder / "small.onnx", metadata={})
    proto = onnx.load(small)
    proto.graph.output[1].name = "mean"
    onnx.save(proto, folder / "outputs.onnx")
    proto = onnx.load(small)
    helper.set_model_props(proto, {"sample_rate": "16000", "embedding_outputs_key": "found"})
    proto.graph.node.append(helper.make_node("NonZero", ["embedding"], ["found"]))
    onnx.save(proto, folder / "loop.onnx")


setup_of(250, 251, 252, 253, 254, 255, 256, 257, 258, 276)(no_files)


setup_of(259, 260, *range(264, 270))(no_files)


def analyzed(folder: Path, name: str, **options) -> None:
    """Results of the data set in a folder of this name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        analyze("pets", "model.onnx", name, quiet=True, **options)


@setup_of(261)
def one_of_two_shards(folder: Path) -> None:
    analyzed(folder, "parts/1", shard="1/2")


@setup_of(262)
def a_run_without_shards(folder: Path) -> None:
    analyzed(folder, "whole")


@setup_of(263)
def shards_with_different_options(folder: Path) -> None:
    analyzed(folder, "parts/1", shard="1/2")
    analyzed(folder, "parts/2", shard="2/2", top_k=1)


setup_of(270, 275)(no_files)


@setup_of(271, 272, 273, 274)
def an_index(folder: Path) -> None:
    tone_embedder().save(folder / "embedder.onnx")
    tone_embedder(2.0).save(folder / "other.onnx")
    Index.build(folder / "pets", folder / "embedder.onnx", folder / "index", quiet=True)


setup_of(277, 279, 281, 283, 284, 285)(no_files)


@setup_of(278)
def a_multi_label_model(folder: Path) -> None:
    with_card(folder, "several.onnx", activation="sigmoid")


SETUPS[280] = a_folder_of_notes
SETUPS[282] = a_model_of_images


@check_after(277, 278, 279, 280, 281, 282)
def nothing_is_written_for_other_programs(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert not (folder / "site").exists()
    assert {path.name for path in folder.rglob("*.onnx")} <= {"model.onnx", "pictures.onnx", "several.onnx"}


setup_of(286)(no_files)


@setup_of(287)
def a_results_folder(folder: Path) -> None:
    """Results of embedder.onnx for sounds/0.wav and 1.wav, by relative paths."""
    tone_embedder().save(folder / "embedder.onnx")
    for i in range(2):
        tone(folder / "sounds" / f"{i}.wav", 300)
    soundmark = ("classify", "sounds", "-m", "embedder.onnx", "-o", "results", "--quiet")
    assert run_soundmark(*soundmark, cwd=folder).returncode == 0


@setup_of(288, 289, 290, 291, 292, 293)
def two_indexes(folder: Path) -> None:
    an_index(folder)
    Index.build(folder / "good.wav", folder / "other.onnx", folder / "index2", quiet=True)
    atomic.write_text(folder / "mine.toml", "lwo = 0.5\n")


@setup_of(294)
def an_embedder(folder: Path) -> None:
    tone_embedder().save(folder / "embedder.onnx")


@setup_of(295, 296, 297)
def corrections_of_two_reviewers(folder: Path) -> None:
    recording = folder / "good.wav"
    corrections, answers = Corrections(folder / "corrections"), Corrections(folder / "answers")
    corrections.add(recording, 0.0, 0.1, decision="yes", asked="wren", reviewer="ann")
    corrections.add(recording, 0.0, 0.1, decision="no", asked="wren", reviewer="ben")
    for other in (recording, folder / "pets" / "dog" / "0.wav"):
        corrections.add(other, 0.1, 0.2, decision="yes", asked="wren", reviewer="ann")
        corrections.add(other, 0.2, 0.3, decision="yes", asked="owl", reviewer="ann")
    answers.add(recording, 0.0, 0.1, decision="no", asked="wren")
    changed = Corrections(folder / "changed")
    changed.merge(corrections.folder)
    changed.table.write_text("file,class\na.wav,wren\n")


setup_of(298, 299)(no_files)


@setup_of(300)
def results_without_a_recording(folder: Path) -> None:
    a_results_folder(folder)
    (folder / "sounds" / "1.wav").unlink()


@setup_of(301)
def results_without_recordings(folder: Path) -> None:
    a_results_folder(folder)
    shutil.rmtree(folder / "sounds")


@setup_of(302)
def unfinished_results_of_another_model(folder: Path) -> None:
    a_results_folder(folder)
    tone_embedder(2.0).save(folder / "other.onnx")
    (folder / "results" / "files.csv").unlink()
