"""`classify`, `listen`, an exported file and the Python API return the same events for a recording."""

import io
import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import version_converter

import soundmark
from soundmark import audio
from soundmark.models.bundle import Bundle
from soundmark.models.classifier import Model
from soundmark.models.events import Segment
from soundmark.models.export import waveform
from soundmark.models.streaming import RecordingAggregator, WindowScores
from soundmark.models.windows import WindowCutter
from support.commands import run_soundmark
from support.models import tone_model
from support.sounds import RATE_HZ, pcm, tones


def upgraded(model: Model) -> Model:
    """The model with the ONNX opset that an export needs."""
    graph = version_converter.convert_version(onnx.load_from_string(model.bundle.graph), 18).SerializeToString()
    return Model(Bundle(graph, model.card))


def results_of_export(model: Model, samples: np.ndarray, hop_s: float) -> tuple[np.ndarray, list]:
    """Probabilities of the windows, and events, computed with an exported file."""
    session = onnxruntime.InferenceSession(waveform.with_front_end(model, dynamic=True))

    def probabilities(segment: np.ndarray) -> np.ndarray:
        return session.run(["probabilities"], {"waveform": segment[None]})[0][0]

    cutter, aggregator = WindowCutter(RATE_HZ * 1.0, round(hop_s * RATE_HZ)), RecordingAggregator(model)
    rows, events = [], []
    for window in [*cutter.push(samples), *cutter.end()]:
        rows.append(probabilities(window.samples))
        pieces = window.pieces(cutter.hop) if cutter.hop < len(window.samples) else []
        segments = [
            Segment(a / RATE_HZ, b / RATE_HZ, probabilities(window.samples[a - window.start : b - window.start]))
            for a, b in pieces
        ]
        edges = (np.array([window.start / RATE_HZ]), np.array([window.stop / RATE_HZ]))
        events += aggregator.add(WindowScores(*edges, rows[-1][None], None, [segments]))
    return np.array(rows), aggregator.in_order([*events, *aggregator.end()])


@pytest.mark.parametrize("hop_s", [1.0, 0.25])
def test_file_stream_export_and_python_agree(tmp_path, hop_s):
    model = upgraded(tone_model())
    model.bundle.write(tmp_path / "tones.onnx")
    samples = tones(14.6, [("low", 2.3, 4.1), ("high", 7.0, 9.2), ("low", 12.0, 13.1)])
    audio.write(tmp_path / "street.wav", samples, RATE_HZ)
    samples = audio.read(tmp_path / "street.wav").samples

    loaded = soundmark.load(tmp_path / "tones.onnx")
    in_python = loaded.events(tmp_path / "street.wav", overlap=1 - hop_s)
    scores = loaded.scores(tmp_path / "street.wav", overlap=1 - hop_s).probabilities
    exported, by_export = results_of_export(model, samples, hop_s)
    np.testing.assert_allclose(exported, scores, atol=1e-4)

    def run(*arguments: str, **options) -> list[dict]:
        done = run_soundmark(*arguments, "-m", tmp_path / "tones.onnx", "--format", "jsonl", **options)
        assert done.returncode == 0, done.stderr
        return sorted(map(json.loads, done.stdout.splitlines()), key=lambda line: (line["start_s"], line["label"]))

    of_file = run("classify", str(tmp_path / "street.wav"), "--overlap", str(1 - hop_s))
    of_pcm = run("listen", "-", "--rate", str(RATE_HZ), "--hop", str(hop_s), input=pcm(samples))

    def rounded(events) -> list[tuple]:
        return sorted((round(e.start_s, 4), e.label, round(e.stop_s, 4)) for e in events)

    assert len([event for event in in_python if event.label != "background"]) == 3
    assert rounded(by_export) == rounded(in_python)
    for lines in (of_file, of_pcm):
        assert sorted((round(e["start_s"], 4), e["label"], round(e["stop_s"], 4)) for e in lines) == rounded(in_python)
    for line, event in zip(of_pcm, sorted(in_python, key=lambda e: (e.start_s, e.label)), strict=True):
        assert line["confidence"] == pytest.approx(event.confidence, abs=1e-4)
    assert [line["label"] for line in of_file] == [line["label"] for line in of_pcm]


def test_bytes_and_samples_give_the_same_events_as_the_file(tmp_path):
    model, samples = tone_model(), tones(5.0, [("low", 1.0, 2.0)])
    audio.write(tmp_path / "a.wav", samples, RATE_HZ)
    expected = model.events(tmp_path / "a.wav")
    assert model.events((tmp_path / "a.wav").read_bytes()) == expected
    assert model.events(io.BytesIO((tmp_path / "a.wav").read_bytes())) == expected
    assert model.events(samples, RATE_HZ) == expected
