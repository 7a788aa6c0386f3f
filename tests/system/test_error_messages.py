"""docs/errors.md, row by row: each is set up and typed as it stands there, and what is seen must be what it says."""

import csv
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from onnx import TensorProto, helper

from soundmark import audio
from soundmark.models import bundle
from soundmark.models.card import Card
from soundmark.models.classifier import load
from soundmark.models.export import waveform
from soundmark.spectrograms import Image, Mel

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
RATE_HZ = 22050
PREFIXES = ("soundmark: ", "warning: ", "left out: ")  # of what stands on standard error; the rest is in the result

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the commands are typed into a POSIX shell")


@dataclass(frozen=True)
class Row:
    """A row of the page; "…" in a sentence stands for anything."""

    number: int
    typed: str
    seen: tuple[str, ...]
    status: int


def rows() -> list[Row]:
    cells = [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if re.match(r"\| \d+ \|", line)
    ]
    return [
        Row(int(number), typed.strip("`"), tuple(re.findall(r"`([^`]+)`", seen)), int(status))
        for number, _, typed, seen, status in cells
    ]


ROWS = {row.number: row for row in rows()}
SITUATIONS: dict[int, Callable[[Path], object]] = {}
AFTERWARDS: dict[int, Callable[[Path, subprocess.CompletedProcess[str]], None]] = {}
FORBIDDEN: set[int] = set()  # rows that need permissions which root would override
CHANGED: dict[int, set[str]] = {}  # files that a row's situation itself takes away


def situation(*numbers: int) -> Callable:
    """What is there when the commands of these rows are typed."""

    def note(function: Callable) -> Callable:
        for number in numbers:
            assert number not in SITUATIONS, number
            SITUATIONS[number] = function
        return function

    return note


def afterwards(*numbers: int) -> Callable:
    """What else must hold after the commands of these rows."""

    def note(function: Callable) -> Callable:
        AFTERWARDS.update(dict.fromkeys(numbers, function))
        return function

    return note


def test_the_page_and_the_tests_have_the_same_rows():
    assert len(ROWS) >= 36
    assert list(ROWS) == list(range(1, len(ROWS) + 1))
    assert set(SITUATIONS) == set(ROWS)
    assert set(AFTERWARDS) | FORBIDDEN | set(CHANGED) <= set(ROWS)


@pytest.mark.parametrize("row", [pytest.param(row, id=f"{row.number}-{row.typed[:60]}") for row in ROWS.values()])
def test_what_is_typed_is_answered_as_the_page_says(row: Row, shell, tmp_path: Path):
    here = furnish(tmp_path / "here", shell)
    SITUATIONS[row.number](here)
    before = contents(here)
    done = shell(row.typed, here, obey_permissions=row.number in FORBIDDEN)
    told = f"{row.typed}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stdout + done.stderr, told
    assert done.returncode == row.status, told
    lines = [line for line in done.stderr.splitlines() if line.startswith(PREFIXES)]
    expected = [text for text in row.seen if text.startswith(PREFIXES)]
    assert len(lines) == len(expected), told
    for text, line in zip(expected, lines, strict=True):
        assert re.fullmatch(pattern(text), line), f"{text}\n{line}"
    result = " ".join(done.stdout.split())
    for text in row.seen:
        if not text.startswith(PREFIXES):
            assert re.search(pattern(text), result), f"{text}\n{done.stdout}"
    if row.status == 2:
        assert done.stdout == "", told
    AFTERWARDS.get(row.number, lambda here, done: None)(here, done)
    subprocess.run(["chmod", "-R", "u+rwX", str(here)], check=True)
    after = contents(here)
    for path, content in before.items():
        gone = path in CHANGED.get(row.number, set())
        assert gone or content is None or after[path] == content, f"{path} is another\n{told}"
    assert not [path for path in after if path.endswith(".part")]


def pattern(text: str) -> str:
    return ".*".join(map(re.escape, text.split("…")))


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder, as nothing of it may be lost; None where it may not be read."""
    found: dict[str, bytes | None] = {}
    for path in folder.rglob("*"):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = os.fsencode(path.readlink())
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes() if os.access(path, os.R_OK) else None
    return found


# ── the shell that is typed into ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Type a line into a shell in which ``soundmark`` is the command that is tested."""
    home = tmp_path_factory.mktemp("home")
    command = home / "bin" / "soundmark"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m soundmark.cli "$@"\n')
    command.chmod(0o755)
    card = Card(classes=("cat", "dog"), representation=Mel(), window_s=0.5)
    bundle.Bundle(pitch_graph(), card).write(home / "model.onnx")
    for i in range(4):
        tone(home / "pets" / "dog" / f"{i}.wav", 200 + 20 * i)
        tone(home / "pets" / "cat" / f"{i}.wav", 3000 + 100 * i)

    def type_in(line: str, here: Path, *, obey_permissions: bool = False) -> subprocess.CompletedProcess[str]:
        environment = {
            **{name: value for name, value in os.environ.items() if name != "SOUNDMARK_WEIGHTS"},
            "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
            "SOUNDMARK_CACHE": os.environ.get("ROW_CACHE", str(home / "cache")),
            "COLUMNS": "1000",  # so that no cell of a table is folded
        }
        typed = [*OBEYING, "bash", "-c", line] if obey_permissions else ["bash", "-c", line]
        return subprocess.run(typed, cwd=here, capture_output=True, text=True, env=environment, timeout=300)

    type_in.home = home
    return type_in


# Runs what follows so that it obeys permissions even as root, whose capabilities are to override them (Linux). Another
# user's process would do as well, but can seldom read this one's interpreter.
OBEYING = (
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


def forbid(path: Path, mode: int = 0) -> None:
    """Take permissions away, and skip the test where that stops nobody."""
    path.chmod(mode)
    probe = subprocess.run([*OBEYING, "test", "-w" if mode else "-r", str(path)])
    if probe.returncode == 0:
        pytest.skip("this user may read and write everything, and cannot be kept from it here")


def pitch_graph() -> bytes:
    """A graph that is right: "dog" where the lower half of a mel spectrogram is the louder one, else "cat"."""
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


def furnish(here: Path, shell) -> Path:
    """What every row begins with: a model, one good sound, and a data set of two classes."""
    here.mkdir()
    shutil.copy(shell.home / "model.onnx", here)
    shutil.copytree(shell.home / "pets", here / "pets")
    shutil.copy(here / "pets" / "dog" / "0.wav", here / "good.wav")
    return here


def tone(path: Path, hz: float = 220.0, rate_hz: int = RATE_HZ, seconds: float = 0.5, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    rng = np.random.default_rng(round(hz))
    samples = 0.4 * np.sin(2 * np.pi * hz * time_s) + 0.01 * rng.standard_normal(len(time_s))
    audio.write(path, np.stack([samples] * channels, axis=1), rate_hz)
    return path


def answers(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The best class of each file in the output of ``classify --format json``."""
    return {entry["file"]: entry["classes"][0]["label"] for entry in json.loads(done.stdout) if "classes" in entry}


# ── sound files ────────────────────────────────────────────────────────────────────────────────────────────────────


def encoded(samples: np.ndarray, container: str = "WAV", subtype: str | None = None, rate_hz: int = RATE_HZ) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


NOISE = 0.1 * np.random.default_rng(0).standard_normal(4 * RATE_HZ).astype(np.float32)


@situation(1, 2)
def nothing_more(here: Path) -> None:
    pass


@situation(3)
def an_empty_file(here: Path) -> None:
    (here / "empty.wav").touch()


@situation(4)
def a_header_without_samples(here: Path) -> None:
    (here / "header.wav").write_bytes(encoded(NOISE[:0]))


@situation(5)
def a_header_cut_short(here: Path) -> None:
    (here / "cut.wav").write_bytes(encoded(NOISE)[:30])


@situation(6, 7, 8, 9)
def halves(here: Path) -> None:
    for ending, container in (("wav", "WAV"), ("flac", "FLAC"), ("ogg", "OGG"), ("mp3", "MP3")):
        whole = encoded(NOISE, container)
        (here / f"cut.{ending}").write_bytes(whole[: len(whole) // 2])


@situation(10)
def a_renamed_text(here: Path) -> None:
    (here / "notes.wav").write_text("Tuesday: rain, hardly any traffic\n")


@situation(11)
def other_kinds_renamed(here: Path) -> None:
    (here / "a.wav").write_bytes(b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom" + bytes(200))
    (here / "b.wav").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    (here / "c.wav").write_bytes(b"PK\x03\x04" + bytes(200))


@situation(12)
def bytes_that_mean_nothing(here: Path) -> None:
    (here / "noise.wav").write_bytes(np.random.default_rng(0).bytes(5000))


def floats(path: Path, value: float) -> None:
    samples = NOISE.copy()
    samples[100] = value
    path.write_bytes(encoded(samples, "WAV", "FLOAT"))


@situation(13)
def a_sample_that_is_nan(here: Path) -> None:
    floats(here / "nan.wav", np.nan)


@situation(14)
def an_infinite_sample(here: Path) -> None:
    floats(here / "inf.wav", -np.inf)


@situation(15)
def a_sample_beyond_all_measure(here: Path) -> None:
    floats(here / "loud.wav", 1e20)


@situation(16)
def a_header_that_says_one_hertz(here: Path) -> None:
    whole = encoded(NOISE)
    (here / "slow.wav").write_bytes(whole[:24] + struct.pack("<I", 1) + whole[28:])


@situation(17)
def one_sample(here: Path) -> None:
    (here / "one.wav").write_bytes(encoded(NOISE[:1]))


@situation(18)
def a_studio_recording(here: Path) -> None:
    tone(here / "studio.wav", 230, 192_000, channels=8)


@afterwards(1, 3, 4, 5, 10, 12, 13, 14, 15, 16, 19, 21, 23)
def the_good_one_is_answered(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert answers(done) == {"good.wav": "dog"}
    named = [entry["file"] for entry in json.loads(done.stdout) if "error" in entry]
    assert len(named) == len(done.stderr.splitlines())


@afterwards(6, 7, 8, 9)
def the_half_is_answered_with_a_note(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    (entry,) = json.loads(done.stdout)
    assert len(entry["classes"]) == 2
    assert f"warning: {entry['note']}" in done.stderr.splitlines()


@afterwards(17, 18)
def it_is_answered(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert len(answers(done)) == 1
    assert answers(done).get("studio.wav") in (None, "dog")


FORBIDDEN |= {19, 20, 21, 35, 36, 59, 70, 76, 95}


@situation(19)
def a_secret_file(here: Path) -> None:
    forbid(tone(here / "secret.wav"))


@situation(20, 36)
def a_folder_locked_within(here: Path) -> None:
    tone(here / "pets" / "locked" / "a.wav")
    forbid(here / "pets" / "locked")


@situation(21)
def a_locked_folder(here: Path) -> None:
    tone(here / "locked" / "secret.wav")
    forbid(here / "locked")


@afterwards(20)
def the_others_are_answered(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    expected = {f"pets/{label}/{i}.wav": label for label in ("cat", "dog") for i in range(4)}
    assert answers(done) == expected


CHANGED[22] = {"many/1.wav"}


@situation(22)
def a_file_that_vanishes(here: Path) -> None:
    """The first file is a pipe: when it is opened the folder has been listed, and then the second one goes."""
    for name in ("many/1.wav", "many/2.wav"):
        tone(here / name)
    os.mkfifo(here / "pipe")
    (here / "many" / "0.wav").symlink_to("../pipe")

    def vanish() -> None:
        with (here / "pipe").open("wb") as pipe:
            (here / "many" / "1.wav").unlink()
            pipe.write((here / "good.wav").read_bytes())

    threading.Thread(target=vanish, daemon=True).start()


@afterwards(22)
def what_is_left_is_answered(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert answers(done) == {"many/0.wav": "dog", "many/2.wav": "dog"}


@situation(23)
def links_to_nowhere(here: Path) -> None:
    (here / "gone.wav").symlink_to("nowhere.wav")
    (here / "circle.wav").symlink_to("circle.wav")


ODD = ("zażółć ☃.wav", "two words.wav", 'it\'s "here".wav', "[red]loud[bold].wav", "a,b;c.wav", "=1+1.wav", "%s.wav")


@situation(24)
def odd_names(here: Path) -> None:
    for name in (*ODD, "two\nlines.wav", "-v.wav"):
        tone(here / "odd" / name)


@afterwards(24)
def every_name_is_as_it_was(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    found = list(csv.DictReader(io.StringIO(done.stdout, newline="")))
    assert {row["File"] for row in found} == {f"odd/{name}" for name in (*ODD, "two\nlines.wav", "-v.wav")}
    assert all(row["Label"] == "dog" for row in found)


@situation(25)
def a_broken_file_of_an_odd_name(here: Path) -> None:
    tone(here / "odd" / "[b]good\none[bold].wav")
    (here / "odd" / "two\nlines [red].wav").write_text("no sound\n")


@afterwards(25)
def a_name_is_one_cell(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert "odd/[b]good\\none[bold].wav  dog" in done.stdout
    assert len(done.stderr.splitlines()) == 1


@situation(26)
def a_name_with_a_dash(here: Path) -> None:
    tone(here / "-good.wav")


@situation(27)
def a_folder_of_texts(here: Path) -> None:
    (here / "notes").mkdir()
    (here / "notes" / "monday.txt").write_text("rain\n")


@situation(28)
def a_folder_from_a_phone(here: Path) -> None:
    tone(here / "phone" / "a.wav")
    (here / "phone" / "b.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    tone(here / "phone" / "__MACOSX" / "a.wav")
    tone(here / "phone" / "._a.wav")


@afterwards(28)
def only_what_was_meant_is_answered(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert answers(done) == {"phone/a.wav": "dog"}


@situation(29, 30)
def a_broken_clip(here: Path) -> None:
    (here / "pets" / "dog" / "4.wav").write_text("no sound\n")


@afterwards(30)
def the_other_pictures_are_there(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert len(list((here / "pictures").rglob("*.png"))) == 8


# ── tables and folders ─────────────────────────────────────────────────────────────────────────────────────────────


@situation(31, 32, 34)
def the_pets_alone(here: Path) -> None:
    pass


@situation(33)
def an_empty_folder(here: Path) -> None:
    (here / "empty").mkdir()


@situation(35)
def a_locked_data_set(here: Path) -> None:
    forbid(here / "pets")


@situation(37)
def a_class_without_sounds(here: Path) -> None:
    (here / "pets" / "bird").mkdir()


@situation(38)
def what_systems_leave_behind(here: Path) -> None:
    for name in ("__MACOSX/dog/0.wav", ".hidden/a.wav", "@eaDir/a.wav", "dog/._0.wav"):
        tone(here / "pets" / name)
    for name in (".DS_Store", "dog/.DS_Store", "dog/Thumbs.db", "dog/notes.txt", "readme.md"):
        (here / "pets" / name).write_bytes(b"x")


@situation(39)
def links_in_a_class_folder(here: Path) -> None:
    for name, leads_to in (("gone.wav", "nowhere.wav"), ("circle.wav", "circle.wav"), ("back", "../../pets")):
        (here / "pets" / "dog" / name).symlink_to(leads_to)


@situation(40)
def a_folder_with_a_table(here: Path) -> None:
    (here / "folder").mkdir()
    (here / "folder" / "labels.csv").write_text("path,label\n../good.wav,dog\n")


def table(path: Path, *lines: str, encoding: str = "utf-8", end: str = "\n") -> None:
    path.write_bytes("".join(line + end for line in lines).encode(encoding))


PETS = ("pets/dog/0.wav,dog", "pets/cat/0.wav,cat")


@situation(41)
def tables_in_dialects(here: Path) -> None:
    shutil.copy(here / "good.wav", here / "pets" / "a,b.wav")
    table(here / "bom.csv", "path,label", '"pets/a,b.wav","dog, big"', PETS[1], encoding="utf-8-sig")
    table(here / "semicolons.csv", "sep=;", "path;label", "pets/a,b.wav;dog, big", "pets/cat/0.wav;cat")
    table(here / "tabs.csv", "Label\tPath", "dog, big\tpets/a,b.wav", "cat\tpets/cat/0.wav", end="\r\n")
    table(here / "windows.csv", "path,label", '".\\pets\\a,b.wav","dog, big"', "pets\\cat\\0.wav,cat", end="\r\n")


@afterwards(41)
def all_dialects_say_the_same(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert len(re.findall(r"^dog, big +1 +1 *$", done.stdout, re.MULTILINE)) == 4
    assert done.stdout.count("none found") == 4


@situation(42)
def a_table_in_latin_1(here: Path) -> None:
    table(here / "latin.csv", "path,label", PETS[0], "pets/cat/0.wav,Kätzchen", encoding="latin-1")


@situation(43)
def a_table_with_another_column(here: Path) -> None:
    table(here / "files.csv", "file,label", *PETS)


@situation(44)
def a_table_without_rows(here: Path) -> None:
    table(here / "header.csv", "path,label")


@situation(45)
def an_empty_table(here: Path) -> None:
    (here / "empty.csv").touch()


@situation(46)
def a_row_too_short(here: Path) -> None:
    table(here / "short.csv", "path,label", PETS[0], "pets/cat/0.wav")


@situation(47)
def a_row_too_long(here: Path) -> None:
    table(here / "long.csv", "path,label", PETS[0], "pets/cat/0.wav,cat, small")


@situation(48)
def a_row_without_label(here: Path) -> None:
    table(here / "labels.csv", "path,label", PETS[0], "pets/cat/0.wav,")


@situation(49)
def a_label_that_urbansound8k_does_not_have(here: Path) -> None:
    tone(here / "city" / "audio" / "fold1" / "1-0-0-0.wav")
    (here / "city" / "metadata").mkdir()
    table(
        here / "city" / "metadata" / "UrbanSound8K.csv",
        "slice_file_name,fsID,start,end,salience,fold,classID,class",
        "1-0-0-0.wav,1,0,0.5,1,1,8,sirens",
    )


@situation(50)
def a_quote_without_its_end(here: Path) -> None:
    table(here / "quote.csv", "path,label", '"pets/dog/0.wav,dog', PETS[1])


@situation(51)
def an_end_before_its_start(here: Path) -> None:
    table(here / "times.csv", "path,label,start,end", "pets/dog/0.wav,dog,0.4,0.1")


@situation(52)
def a_negative_time(here: Path) -> None:
    table(here / "times.csv", "path,label,start,end", "pets/dog/0.wav,dog,-0.1,0.1")


@situation(53)
def a_decimal_comma(here: Path) -> None:
    table(here / "times.csv", "path;label;start;end", "pets/dog/0.wav;dog;0,1;0,4")


@situation(54)
def a_start_beyond_the_end(here: Path) -> None:
    table(here / "times.csv", "path,label,start,end", "pets/dog/0.wav,dog,7,8", "pets/cat/0.wav,cat,0,0.4")


@situation(55)
def a_row_twice(here: Path) -> None:
    table(here / "twice.csv", "path,label", *PETS, PETS[0])


@situation(56)
def a_row_without_its_file(here: Path) -> None:
    table(here / "partly.csv", "path,label", *PETS, "pets/dog/99.wav,dog")


@situation(57)
def no_row_with_its_file(here: Path) -> None:
    table(here / "elsewhere.csv", "path,label", "C:\\sounds\\rex.wav,dog", "C:\\sounds\\mia.wav,cat")


@situation(58)
def a_row_with_a_folder(here: Path) -> None:
    table(here / "folders.csv", "path,label", *PETS, "pets/dog,dog")


@situation(59)
def a_secret_table(here: Path) -> None:
    table(here / "pets.csv", "path,label", *PETS)
    forbid(here / "pets.csv")


# ── splits ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@situation(60)
def one_class(here: Path) -> None:
    shutil.rmtree(here / "pets" / "cat")


@situation(61)
def two_clips(here: Path) -> None:
    for label in ("cat", "dog"):
        for i in range(1, 4):
            (here / "pets" / label / f"{i}.wav").unlink()


@situation(62, 68)
def birds(here: Path) -> None:
    for name in ("tit/0.wav", "tit/1.wav", "owl/0.wav", "owl/1.wav"):
        tone(here / "birds" / name)


@situation(63)
def two_folds(here: Path) -> None:
    rows = [f"pets/{label}/{i}.wav,{label},{1 + i % 2}" for label in ("cat", "dog") for i in range(4)]
    table(here / "folds.csv", "path,label,fold", *rows)


@situation(64)
def folds_for_some(here: Path) -> None:
    table(here / "folds.csv", "path,label,fold", f"{PETS[0]},1", f"{PETS[1]},2", "pets/cat/1.wav,cat,")


@situation(65)
def a_fold_in_words(here: Path) -> None:
    table(here / "folds.csv", "path,label,fold", f"{PETS[0]},train", f"{PETS[1]},test")


@situation(66)
def a_class_in_one_fold(here: Path) -> None:
    rows = [f"pets/dog/{i}.wav,dog,{1 + i % 2}" for i in range(4)] + [f"pets/cat/{i}.wav,cat,1" for i in range(4)]
    table(here / "folds.csv", "path,label,fold", *rows)


@situation(67)
def a_class_of_one_clip(here: Path) -> None:
    shutil.rmtree(here / "pets" / "cat")
    tone(here / "pets" / "wolf" / "0.wav")  # the fifth clip, which the notebook's seed deals to the test side


@afterwards(66, 67)
def it_is_measured(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert (here / "run" / "report.html").exists()
    (result,) = json.loads((here / "run" / "metrics.json").read_text())["results"]
    assert 0 <= result["accuracy"] <= 1


# ── output ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@situation(69, 75, 77, 78, 79, 80, 81, 82, 84)
def the_pets(here: Path) -> None:
    pass


@situation(70, 76)
def a_folder_that_is_read_only(here: Path) -> None:
    (here / "readonly").mkdir()
    forbid(here / "readonly", 0o555)


@situation(71, 72, 86)
def another_run(here: Path) -> None:
    (here / "run").mkdir()
    shutil.copy(here / "model.onnx", here / "run")


@situation(73)
def other_pictures(here: Path) -> None:
    (here / "pictures" / "dog").mkdir(parents=True)
    (here / "pictures" / "dog" / "0.png").write_bytes(b"my dog")


@situation(74)
def pictures_of_other_data(here: Path) -> None:
    birds(here)
    (here / "pictures").mkdir()
    (here / "pictures" / "spectrograms.json").write_text(json.dumps({"dataset": ["/sounds/pets", "pets"]}))


@situation(83)
def clips_to_score(here: Path) -> None:
    two_folds(here)


@afterwards(77, 78)
def nothing_but_the_sentence(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert len(done.stderr.splitlines()) == 1


@afterwards(79, 80, 81, 82, 83)
def nothing_is_half_written(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    for name in ("pets.png", "run/model.onnx", "run/checkpoint.safetensors", "scores/predictions.csv"):
        assert not (here / name).exists()
    assert not list(here.rglob("*.png"))
    assert done.returncode != -signal.SIGXFSZ


# ── models ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@situation(85)
def no_other_model(here: Path) -> None:
    pass


@situation(87)
def a_text_for_a_model(here: Path) -> None:
    (here / "notes.onnx").write_text("the model is on the other laptop\n")


@situation(88)
def an_empty_model(here: Path) -> None:
    (here / "empty.onnx").touch()


@situation(89)
def noise_for_a_model(here: Path) -> None:
    (here / "noise.onnx").write_bytes(np.random.default_rng(0).bytes(5000))


@situation(90)
def half_a_model(here: Path) -> None:
    whole = (here / "model.onnx").read_bytes()
    (here / "half.onnx").write_bytes(whole[: len(whole) // 2])


@situation(91)
def a_changed_byte(here: Path) -> None:
    content = bytearray((here / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (here / "changed.onnx").write_bytes(content)


@situation(92)
def a_model_of_another_program(here: Path) -> None:
    (here / "other.onnx").write_bytes(pitch_graph())


def with_card(here: Path, name: str, **changes: object) -> None:
    """The model with another card, sealed as if it had been written so."""
    model = bundle.read_bundle(here / "model.onnx")

    class Other:
        def to_json(self) -> str:
            return json.dumps({**json.loads(model.card.to_json()), **changes})

    bundle.Bundle(model.graph, Other()).write(here / name)  # type: ignore[arg-type]


@situation(93)
def a_model_of_tomorrow(here: Path) -> None:
    with_card(here, "later.onnx", schema=2, representation={"name": "wavelet"})


@situation(94)
def a_card_without_classes(here: Path) -> None:
    with_card(here, "strange.onnx", classes=[])


@situation(95)
def a_secret_model(here: Path) -> None:
    shutil.copy(here / "model.onnx", here / "secret.onnx")
    forbid(here / "secret.onnx")


@situation(96)
def sounds_at_other_rates(here: Path) -> None:
    for khz in (8, 44, 96):
        tone(here / f"low{khz}.wav", 230, {44: 44_100}.get(khz, khz * 1000))
        tone(here / f"high{khz}.wav", 3150, {44: 44_100}.get(khz, khz * 1000))


@afterwards(96)
def the_answers_are_right(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    expected = {"low": "dog", "high": "cat"}
    assert answers(done) == {f"{pitch}{khz}.wav": label for pitch, label in expected.items() for khz in (8, 44, 96)}


# ── options ────────────────────────────────────────────────────────────────────────────────────────────────────────


@situation(*range(97, 111), *range(112, 127))
def nothing_at_all(here: Path) -> None:
    pass


@situation(111)
def a_recipe_with_a_slip(here: Path) -> None:
    (here / "mine.toml").write_text('name = "mine"\nrepresentation = "mel"\nepoch = 3\n')


@afterwards(*range(97, 127))
def nothing_was_begun(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert not (here / "run").exists()


# ── training all the same ──────────────────────────────────────────────────────────────────────────────────────────


@situation(127)
def a_clip_that_is_cut_off(here: Path) -> None:
    whole = (here / "pets" / "dog" / "0.wav").read_bytes()
    (here / "pets" / "dog" / "4.wav").write_bytes(whole[: len(whole) // 2])


SITUATIONS[128] = SITUATIONS[66]


@situation(129)
def a_name_of_other_bytes(here: Path) -> None:
    try:
        for path in (here / "pets").glob("*/*.wav"):
            folder, name = os.fsencode(path.parent), os.fsencode(path.name)
            os.rename(path, os.path.join(folder, b"\xff" + name))  # noqa: PTH104, PTH118 - a Path is text
    except OSError:
        pytest.skip("names are UTF-8 on this system")


@afterwards(129)
def its_results_can_be_read(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert json.loads((here / "run" / "metrics.json").read_text(encoding="utf-8"))["results"]
    assert b"cat/\xff" in b"".join(path.read_bytes() for path in (here / "run").rglob("predictions.csv"))


# ── protocols and seeds ────────────────────────────────────────────────────────────────────────────────────────────


@situation(130, 134, 135)
def pets_without_recordings(here: Path) -> None:
    pass


@situation(131)
def one_recording(here: Path) -> None:
    rows = [f"pets/{label}/{i}.wav,{label},all" for label in ("cat", "dog") for i in range(4)]
    table(here / "one.csv", "path,label,source", *rows)


@situation(132)
def two_clips_of_each_recording(here: Path) -> None:
    rows = [f"pets/{label}/{i}.wav,{label},{label}-{i // 2}" for label in ("cat", "dog") for i in range(4)]
    table(here / "sources.csv", "path,label,source", *rows)


@afterwards(132)
def the_recordings_are_kept_apart_beside_it(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    results = json.loads((here / "run" / "metrics.json").read_text())["results"]
    assert [(one["protocol"], one["leak"]["recording"] > 0) for one in results] == [
        ("random", True),
        ("grouped", False),
    ]


@situation(133)
def a_recording_in_every_fold(here: Path) -> None:
    rows = [f"pets/{label}/{i}.wav,{label},{1 + i % 2},{label}" for label in ("cat", "dog") for i in range(4)]
    table(here / "torn.csv", "path,label,fold,source", *rows)


@afterwards(133)
def the_page_says_so(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert "These folds do not keep recordings together: 100.0 %" in (here / "run" / "report.html").read_text("utf-8")


# ── explaining ─────────────────────────────────────────────────────────────────────────────────────────────────────


@situation(136, 137, 138, 140, 141)
def only_good_things(here: Path) -> None:
    pass


@situation(139)
def a_sound_that_is_cut_off(here: Path) -> None:
    whole = (here / "good.wav").read_bytes()
    (here / "cut.wav").write_bytes(whole[: len(whole) // 2])


@afterwards(136, 137, 138, 140, 141)
def no_picture_is_there(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert not list(here.glob("why*"))


@afterwards(139)
def the_picture_is_whole(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert (here / "why.png").read_bytes().startswith(b"\x89PNG")


# ── several labels to a clip ───────────────────────────────────────────────────────────────────────────────────────


@situation(142)
def both_labels_on_every_clip(here: Path) -> None:
    rows = [f"pets/{label}/{i}.wav,cat;dog,{1 + i % 2}" for label in ("cat", "dog") for i in range(4)]
    table(here / "same.csv", "path,label,fold", *rows)


@situation(143)
def a_stranger_within_a_cell(here: Path) -> None:
    table(here / "several.csv", "path,label", "pets/dog/0.wav,dog", "pets/dog/1.wav,dog;fox", "pets/cat/0.wav,cat")


# ── pretrained weights ─────────────────────────────────────────────────────────────────────────────────────────────


@situation(144)
def other_weights(here: Path) -> None:
    (here / "weights").mkdir()
    (here / "weights" / "mn04_as_mAP_432.pt").write_bytes(b"not these")


@situation(145)
def no_weights(here: Path) -> None:
    pass


# ── files, folders and hours ───────────────────────────────────────────────────────────────────────────────────────


@situation(146, 147, 151, 152, 153, 157, 158)
def only_what_every_row_has(here: Path) -> None:
    pass


@situation(148, 149, 150)
def a_list_of_files(here: Path) -> None:
    (here / "list.txt").write_text("good.wav\ngone.wav\n")


@afterwards(148, 150)
def the_good_one_of_a_list_is_answered(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert answers(done) == {"good.wav": "dog"}


@situation(154, 155)
def thresholds_that_cannot_be_meant(here: Path) -> None:
    (here / "mine.toml").write_text("dgo = 0.7\n")
    (here / "mine.csv").write_text("label,threshold\ndog,70\n")


@situation(156)
def a_folder_of_somebody_elses(here: Path) -> None:
    (here / "notes").mkdir()
    (here / "notes" / "todo.txt").write_text("mine")


@situation(159)
def an_empty_file_beside_a_good_one(here: Path) -> None:
    (here / "empty.wav").touch()


@afterwards(159)
def it_stands_in_the_table_of_errors(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    with (here / "out" / "errors.csv").open(newline="") as file:
        assert [row["File"] for row in csv.DictReader(file)] == ["empty.wav"]
    with (here / "out" / "results.csv").open(newline="") as file:
        assert [(row["File"], row["Label"]) for row in csv.DictReader(file)] == [("good.wav", "dog")]


@situation(160)
def a_journal_with_a_damaged_line(here: Path) -> None:
    (here / "again").mkdir()
    (here / "again" / "journal.jsonl").write_text('{"key": "1234", "sha256": "5678"}\n')


CHANGED[160] = {"again/journal.jsonl"}


# ── exporting ──────────────────────────────────────────────────────────────────────────────────────────────────────


@situation(161, 163, 166, 167, 168, 169, 170, 173)
def only_a_model_and_sounds(here: Path) -> None:
    pass


@situation(162)
def a_model_of_pictures(here: Path) -> None:
    with_card(here, "pictures.onnx", representation=Image().settings())


SITUATIONS[164] = birds


@situation(165)
def a_model_of_8_bits(here: Path) -> None:
    with_card(here, "small.onnx", data={"int8": {}})


@situation(171)
def a_folder_of_notes(here: Path) -> None:
    (here / "notes").mkdir()
    (here / "notes" / "list.txt").write_text("rain")


@situation(172)
def an_export(here: Path) -> None:
    waveform.export_waveform_model(load(here / "model.onnx"), here / "out.onnx")


@afterwards(161, 162, 163, 164, 165, 166, 167, 168, 169, 171)
def nothing_was_exported(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert {path.name for path in here.rglob("*.onnx")} <= {"model.onnx", "pictures.onnx", "small.onnx"}


@afterwards(170)
def it_was_exported(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert b"soundmark_export" in (here / "model-waveform.onnx").read_bytes()


# ── listening, and what was heard when ─────────────────────────────────────────────────────────────────────────────


@situation(174, 175, 176, 177, 178, 179, 180, 181, 182, 183, 190, 192, 194)
def nothing_but_what_every_row_has(here: Path) -> None:
    pass


@situation(193)
def a_flac(here: Path) -> None:
    samples, rate_hz = soundfile.read(here / "good.wav")
    soundfile.write(here / "good.flac", samples, rate_hz)


@situation(195, 196)
def packages_as_they_are_where_the_extras_are_not(here: Path) -> None:
    (here / "bare").mkdir()
    (here / "bare" / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    missing = "raise ModuleNotFoundError(\"No module named 'av'\", name='av')\n"
    (here / "bare" / "av.py").write_text(missing)


EVENTS = "Start (s),End (s),Label,Confidence,File"


@situation(184, 185, 186, 187, 189)
def tables_of_results(here: Path) -> None:
    timed = "0,4,dog,0.9,20240612_043000.wav"
    table(here / "heard.csv", EVENTS, "0,4,dog,0.9,good.wav")
    table(here / "other.csv", "path,label", "good.wav,dog")
    table(here / "odd.csv", EVENTS, timed, "4,soon,dog,0.9,20240612_043000.wav")
    table(here / "some.csv", EVENTS, timed, "0,4,dog,0.9,good.wav")


@situation(188)
def results_with_a_damaged_table(here: Path) -> None:
    (here / "heard").mkdir()
    table(here / "heard" / "results.csv", EVENTS, "0,4,dog,0.9,20240612_043000.wav")
    table(here / "heard" / "files.csv", "File,Duration (s),Start (UTC)", "20240612_043000.wav,4,half past four")


@situation(191)
def a_name_with_a_number_behind_the_time(here: Path) -> None:
    tone(here / "20240612_043000-9999.wav")


@afterwards(191)
def it_is_heard(here: Path, done: subprocess.CompletedProcess[str]) -> None:
    (one,) = json.loads(done.stdout)
    assert one["began"] == "2024-06-12T04:30:00.000Z"
