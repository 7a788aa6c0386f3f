"""Decoding in worker processes: the same results, and a file that ends its worker is one failure."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundmark import audio
from soundmark.audio import decoding
from soundmark.audio.decoding import isolation, worker
from soundmark.audio.decoding.isolation import Decoders
from soundmark.errors import AudioError
from soundmark.runtime.parallel import worker_pool
from soundmark.runtime.parallel.worker import PARENT_VARIABLE
from support import faulty_decoder


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders(2) as decoders:
        yield decoders


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoders]:
    monkeypatch.setattr(isolation, "WORKER", ("-P", str(faulty_decoder.__file__)))
    with Decoders() as decoders:
        yield decoders


def sound_file(container: str, subtype: str, *, seconds: float = 2.0, channels: int = 2) -> bytes:
    rate_hz = 48_000
    values = 0.2 * np.random.default_rng(0).standard_normal((int(seconds * rate_hz), channels))
    file = io.BytesIO()
    soundfile.write(file, np.clip(values, -1, 1), rate_hz, format=container, subtype=subtype)
    return file.getvalue()


def outcome(blocks: object, source: object, **part: float | None) -> tuple:
    """Return all that a caller sees of a source: properties, samples and note; or the message of its error."""
    try:
        with blocks(source, **part) as sound:  # type: ignore[operator]
            samples = np.concatenate(list(sound))
            return sound.rate_hz, sound.frames, samples.tobytes(), sound.note
    except AudioError as error:
        return (str(error),)


CONTAINERS = [
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("AIFF", "PCM_S8"),
]


@pytest.mark.parametrize(("container", "subtype"), CONTAINERS)
@pytest.mark.parametrize("kind", ["whole", "slice", "cut", "changed", "empty", "text"])
def test_results_notes_and_errors_are_those_of_decoding_here(
    decoders: Decoders, container: str, subtype: str, kind: str, tmp_path: Path
) -> None:
    data = sound_file(container, subtype)
    if kind == "cut":
        data = data[: len(data) // 2]
    elif kind == "changed":
        data = data[: len(data) // 2] + bytes(500) + data[len(data) // 2 + 500 :]
    elif kind in {"empty", "text"}:
        data = {"empty": b"", "text": b"no sound"}[kind]
    part = {"start_s": 0.25, "stop_s": 1.5} if kind == "slice" else {}
    path = tmp_path / f"street.{container.lower()}"
    path.write_bytes(data)
    here = outcome(decoding.blocks, path, **part)
    assert outcome(decoders.blocks, path, **part) == here
    for source in (data, io.BytesIO(data)):
        assert outcome(decoders.blocks, source, **part) == outcome(decoding.blocks, source, **part)


def test_a_missing_file_has_the_same_message(decoders: Decoders, tmp_path: Path) -> None:
    for path in ("none.wav", tmp_path, tmp_path / "none.wav"):
        assert outcome(decoders.blocks, path) == outcome(decoding.blocks, path)


def test_a_long_file_is_decoded_by_several_threads_to_the_same_samples(decoders: Decoders, tmp_path: Path) -> None:
    path = tmp_path / "hour.flac"
    path.write_bytes(sound_file("FLAC", "PCM_16", seconds=60, channels=1))
    assert outcome(decoders.blocks, path) == outcome(decoding.blocks, path)


def test_a_name_that_is_not_utf8_can_be_decoded(decoders: Decoders, tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n.wav")
    Path(path).write_bytes(sound_file("WAV", "PCM_16"))
    assert outcome(decoders.blocks, path) == outcome(decoding.blocks, path)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("crash", "its decoder ended unexpectedly (SIGSEGV)"),
        ("exit", "its decoder ended unexpectedly (exit status 3)"),
        ("lie", "its decoder returned invalid data"),
        ("garbage", "its decoder returned invalid data"),
        ("hang", "its decoder takes too long"),
        ("memory", "this takes more than 1024 MiB"),
    ],
)
def test_a_fault_ends_its_file_and_the_next_one_is_decoded(
    faulty: Decoders, fault: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "STALL_S", 3.0)
    for name in (fault, "street"):
        (tmp_path / f"{name}.wav").write_bytes(sound_file("WAV", "PCM_16"))
    (message,) = outcome(faulty.blocks, tmp_path / f"{fault}.wav")
    assert message.startswith(f'"{tmp_path / fault}.wav" cannot be decoded: {reason}')
    assert outcome(faulty.blocks, tmp_path / "street.wav") == outcome(decoding.blocks, tmp_path / "street.wav")


def test_errors_that_a_decoder_prints_are_a_note_and_not_printed(
    decoders: Decoders, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(sound_file("MP3", "MPEG_LAYER_III", seconds=20))
    for at in range(len(data) // 4, len(data) // 2, 997):
        data[at] ^= 0xFF
    path = tmp_path / "street.mp3"
    path.write_bytes(data)
    note = outcome(decoders.blocks, path)[-1]
    assert "is damaged: " in note
    assert capfd.readouterr().err == ""
    path.write_bytes(sound_file("MP3", "MPEG_LAYER_III"))
    assert outcome(decoders.blocks, path)[-1] is None, "messages of the file before"


def test_a_stream_that_is_not_read_to_its_end_does_not_disturb_the_next_one(decoders: Decoders) -> None:
    data = sound_file("WAV", "PCM_16", seconds=30)
    with decoders.blocks(data) as sound:
        next(iter(sound))
    assert outcome(decoders.blocks, data) == outcome(decoding.blocks, data)


def test_closing_ends_the_workers_while_they_decode(faulty: Decoders, tmp_path: Path) -> None:
    (tmp_path / "street.wav").write_bytes(sound_file("WAV", "PCM_16", seconds=60))
    with faulty.blocks(tmp_path / "street.wav") as sound:
        processes = [worker._process for worker in faulty._all]
        blocks = iter(sound)
        next(blocks)
        started = time.monotonic()
        faulty.close()
        assert time.monotonic() - started < 5
    assert [process.poll() for process in processes] == [-9]


@pytest.mark.skipif(os.name != "posix", reason="the parent's ID says nothing on this system")
def test_a_worker_whose_parent_was_killed_while_it_started_exits(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    environment = os.environ | {PARENT_VARIABLE: str(killed.pid)}
    command = [sys.executable, "-P", faulty_decoder.__file__, "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment) as running:
        running.stdin.write(json.dumps({"path": "hang.wav"}).encode() + b"\n")
        running.stdin.flush()
        assert running.wait(30) == 1


def test_a_stream_resamples_what_a_worker_decodes(decoders: Decoders) -> None:
    data = sound_file("WAV", "PCM_16")
    expected = audio.read(data, rate_hz=22_050)
    with audio.stream(data, rate_hz=22_050, decoders=decoders) as flow:
        np.testing.assert_array_equal(np.concatenate(list(flow)), expected.samples)


def test_only_a_worker_process_limits_itself(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="there are no limits on this system")
    kinds = (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_FSIZE)
    before = [resource.getrlimit(kind) for kind in kinds]
    path = tmp_path / "street.wav"
    path.write_bytes(sound_file("WAV", "PCM_16"))
    request = {"path": str(path), "name": "street.wav", "start_s": 0.0, "stop_s": None}
    assert [kind for kind, _ in worker.answer(request)] == [worker.SOUND, worker.BLOCK, worker.END]
    assert [resource.getrlimit(kind) for kind in kinds] == before
