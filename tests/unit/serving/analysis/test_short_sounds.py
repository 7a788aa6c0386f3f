"""Short sounds analysed in processes: the answers of the server itself, which analyses what they cannot."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soundmark.detection.settings import DetectionSettings
from soundmark.models.classifier import Model
from soundmark.serving.analysis import short_sounds
from soundmark.serving.analysis.analyzer import Analyzer
from soundmark.serving.analysis.short_sounds import ShortSounds
from soundmark.serving.http.uploads import Upload
from soundmark.serving.settings import ServerSettings
from support.sounds import tones
from unit.serving.conftest import encoded

FORMS = ("json", "jsonl", "csv", "audacity", "raven")


@pytest.fixture
def processes(detector: Model, tmp_path: Path) -> Iterator[ShortSounds]:
    found = ShortSounds(tmp_path, 2, 3600.0)
    found.use(detector)
    yield found
    found.close()


def upload(content: bytes, folder: Path, name: str = "20240612_043000.wav") -> Upload:
    return Upload(name, len(content), content, folder)


@pytest.mark.parametrize(
    "detection",
    [
        DetectionSettings(),
        DetectionSettings(top_k=2, overlap=0.5, min_confidence=0.9, merge_gap_s=1.5, unknown=False),
        DetectionSettings(thresholds={"low": 0.9, "high": 0.1}),
    ],
    ids=["default", "options", "thresholds"],
)
@pytest.mark.parametrize("form", FORMS)
def test_the_answer_is_that_of_the_server_itself(processes, detector, sound, tmp_path, form, detection):
    sent = upload(sound, tmp_path)
    found = processes.answer(detector, sent, detection, form)
    with Analyzer(detector, "model.onnx", ServerSettings(), tmp_path / "analyzer") as analyzer:
        expected = analyzer._answer(sent, detection, form, lambda: None)
    assert found == expected
    assert found.events == 2 or detection.thresholds or detection.min_confidence
    assert not list(tmp_path.glob("tmp*")), "the temporary files are deleted"


def test_what_they_cannot_answer_is_left_to_the_server(processes, detector, sound, tmp_path):
    damaged = bytearray(encoded(tones(20.0, [("low", 2.0, 4.0)]), container="MP3", subtype="MPEG_LAYER_III"))
    for at in range(len(damaged) // 4, len(damaged) // 2, 97):
        damaged[at] ^= 0xFF
    contents = {
        "a text": b"no sound",
        "half of a sound": sound[: len(sound) // 2],  # which has a note
        "damage that only its decoder reports": bytes(damaged),
        "a long sound": encoded(np.zeros(31 * 8000, np.float32), 8000),
    }
    left = {
        name: processes.answer(detector, upload(data, tmp_path), DetectionSettings(), "csv") is None
        for name, data in contents.items()
    }
    assert left == dict.fromkeys(contents, True)
    unknown_class = DetectionSettings(thresholds={"whale": 0.5})
    assert processes.answer(detector, upload(sound, tmp_path), unknown_class, "csv") is None
    assert processes.answer(detector, upload(sound, tmp_path), DetectionSettings(), "csv") is not None
    assert len(processes._workers._all) == 1, "no process ended"


def test_a_limit_on_the_duration_applies_to_them(detector, sound, tmp_path):
    processes = ShortSounds(tmp_path, 1, 5.0)
    processes.use(detector)
    assert processes.answer(detector, upload(sound, tmp_path), DetectionSettings(), "csv") is None
    processes.close()


def test_a_process_that_is_killed_is_replaced(processes, detector, sound, tmp_path):
    first = processes.answer(detector, upload(sound, tmp_path), DetectionSettings(), "csv")
    (worker,) = processes._workers._all
    worker._process.kill()
    worker._process.wait()
    assert processes.answer(detector, upload(sound, tmp_path), DetectionSettings(), "csv") is None
    assert processes.answer(detector, upload(sound, tmp_path), DetectionSettings(), "csv") == first


def test_a_process_that_sends_too_much_or_nonsense_is_ended(detector, sound, tmp_path, monkeypatch):
    faulty = tmp_path / "faulty.py"
    monkeypatch.setattr(short_sounds, "WORKER", ("-P", str(faulty)))
    header = "import struct, sys\nfor line in sys.stdin:\n    sys.stdout.buffer.write({})\n    sys.stdout.flush()\n"
    for message in (
        'struct.pack("<cI", b"R", 10**9)',
        'struct.pack("<cI", b"X", 1) + b"a"',
        'struct.pack("<cI", b"R", 1) + b"["',
        'struct.pack("<cI", b"R", 2) + b"[]" + struct.pack("<cI", b"B", 0)',
        'struct.pack("<cI", b"R", 34) + b\'{"duration_s": 1.0, "events": 0}  \' + struct.pack("<cI", b"N", 0)',
        'struct.pack("<cI", b"R", 20) + b\'{"duration_s": "1"} \' + struct.pack("<cI", b"B", 0)',
    ):
        faulty.write_text(header.format(message))
        processes = ShortSounds(tmp_path, 1, 30.0)
        processes.use(detector)
        assert processes.answer(detector, upload(sound, tmp_path), DetectionSettings(), "csv") is None
        assert not processes._workers._all
        processes.close()


def test_another_model_is_used_at_once_and_old_files_are_deleted(processes, detector, sound, tmp_path):
    def scores(model: Model) -> bytes | None:
        found = processes.answer(model, upload(sound, tmp_path), DetectionSettings(), "json")
        return found and found.body

    before = scores(detector)
    warmer = [Model(replace(detector.bundle, card=replace(detector.card, temperature=t))) for t in (2.0, 3.0)]
    processes.use(warmer[0])
    assert scores(warmer[0]) not in (None, before)
    assert scores(detector) == before, "of a request that began before"
    processes.use(warmer[1])
    assert scores(detector) is None
    assert len(list(tmp_path.glob("model-*.onnx"))) == 2


def test_a_model_that_cannot_be_written_leaves_the_analysis_to_the_server(detector, sound, tmp_path, caplog):
    (tmp_path / "file").touch()
    with Analyzer(detector, "model.onnx", ServerSettings(), tmp_path / "file") as analyzer:
        assert "short sounds are analysed by the server itself" in caplog.text
        sent = upload(sound, tmp_path)
        answer = analyzer.answer(sent, DetectionSettings(), "csv", deadline=time.monotonic() + 60)
        assert asyncio.run(answer).events == 2
