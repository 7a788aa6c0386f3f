"""analyze, listen and summarize: the same results and defaults as on the command line."""

import inspect
import io
import re
import time

import numpy as np
import pytest

from soundmark import audio
from soundmark.audio.capture.source import Block, LiveSource
from soundmark.cli.commands import classify as classify_command
from soundmark.cli.commands import listen as listen_command
from soundmark.detection.analysis import Analysis, analyze
from soundmark.detection.file_result import FileResult
from soundmark.detection.live import listener
from soundmark.detection.live.listener import listen
from soundmark.detection.summary import summarize
from soundmark.errors import SettingsError
from soundmark.models.events import Event
from support.sounds import RATE_HZ, pcm, tones

EVENTS = [("low", 2.0, 4.0), ("high", 7.0, 9.0)]


@pytest.fixture(scope="module")
def model(tone_detector):
    return tone_detector


@pytest.fixture
def sounds(tmp_path):
    folder = tmp_path / "sounds"
    for name in ("20240612_043000.wav", "20240612_053000.wav"):
        audio.write(folder / name, tones(12.0, EVENTS), RATE_HZ)
    (folder / "broken.wav").write_bytes(b"no sound")
    return folder


def test_analyze_returns_the_events_of_the_model_in_memory_and_in_a_folder(model, sounds, tmp_path):
    found = analyze(sounds, model, overlap=0.5, quiet=True)
    written = analyze([str(sounds)], model, tmp_path / "out", overlap=0.5, format="jsonl", quiet=True)
    assert len(found) == len(written) == 2
    assert list(found) == list(written)
    assert list(found[0].events) == model.events(sounds / "20240612_043000.wav", overlap=0.5)
    assert [failure.file for failure in found.failures] == [str(sounds / "broken.wav")]
    assert (tmp_path / "out" / "results.jsonl").is_file()
    table = found.to_dataframe()
    assert len(table) == sum(len(result.events) for result in found)
    assert str(table["start_utc"].iloc[0]) == "2024-06-12 04:30:00+00:00"
    summary = summarize(tmp_path / "out", timezone="Europe/Berlin")
    assert summary.by_hour[summary.labels.index("low"), 6] > 0
    assert summary.to_dataframe()["minutes"].sum() == pytest.approx(summary.minutes.sum())
    assert summary.plot().get_xlabel() == "hour of the day (Europe/Berlin)"
    summary.save(tmp_path / "when.svg")
    assert (tmp_path / "when.svg").read_bytes().startswith(b"<?xml")
    for shown in (found, written, summary):
        assert len(repr(shown)) <= 2000
        assert "low" in shown._repr_html_()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 50}, "threshold is 50: expected a number from 0 to 1"),
        ({"threshold": "high"}, "threshold is 'high': expected a number from 0 to 1"),
        ({"thresholds": {"cow": 0.5}}, 'the model has no class "cow"'),
        ({"thresholds": {"low": 5}}, 'the threshold of "low" is 5: expected a number from 0 to 1'),
        ({"thresholds": [0.5, 0.5]}, "2 thresholds for 3 classes were given"),
        ({"merge_gap_s": -1}, "merge_gap_s is -1"),
    ],
)
def test_settings_out_of_range_are_rejected(model, sounds, options, message):
    with pytest.raises(SettingsError, match=re.escape(message)):
        analyze(sounds, model, **options)
    with pytest.raises(SettingsError, match=re.escape(message)):
        listen(model, io.BytesIO(), rate_hz=RATE_HZ, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k is 0: expected a whole number of at least 1"),
        ({"top_k": 1.5}, "top_k is 1.5: expected a whole number of at least 1"),
        ({"overlap": 1.0}, "overlap is 1.0: expected a fraction of the window"),
        ({"overlap": "half"}, "overlap is 'half': expected a fraction of the window"),
        ({"release": 2}, "release is 2: expected a number from 0 to 1"),
        ({"jobs": 0}, "jobs is 0"),
        ({"format": "cvs"}, 'format "cvs"'),
    ],
)
def test_options_of_analyze_out_of_range_are_rejected(model, sounds, options, message):
    with pytest.raises(SettingsError, match=re.escape(message)):
        analyze(sounds, model, **options)


def test_listen_yields_the_events_of_the_file(model, tmp_path):
    samples = tones(12.0, EVENTS)
    audio.write(tmp_path / "a.wav", samples, RATE_HZ)
    called = []
    found = list(listen(model, io.BytesIO(pcm(samples)), rate_hz=RATE_HZ, hop_s=0.5, on_event=called.append))
    assert called == found
    spans = sorted((event.start_s, event.stop_s, event.label) for event in found)
    expected = model.events(tmp_path / "a.wav", overlap=0.5)
    assert spans == sorted((event.start_s, event.stop_s, event.label) for event in expected)


def test_ctrl_c_yields_the_running_events_and_closes_the_source(model, monkeypatch):
    closed = []

    def blocks():
        try:
            while True:
                yield Block(tones(1.0, [("low", 0.0, 1.0)]))
        finally:
            closed.append(True)

    source = LiveSource("microphone", RATE_HZ, blocks, is_live=False)
    monkeypatch.setattr(listener, "open_source", lambda *_, **__: source)
    scored, score = [], type(model).score

    def interrupted_score(*args, **options):
        scored.append(args)
        if len(scored) == 4:
            raise KeyboardInterrupt
        return score(*args, **options)

    monkeypatch.setattr(type(model), "score", interrupted_score)
    found = list(listen(model))
    assert [(event.label, event.start_s) for event in found] == [("low", 0.0)]
    deadline = time.monotonic() + 5.0
    while not closed and time.monotonic() < deadline:  # the reading thread closes it
        time.sleep(0.01)
    assert closed


def test_the_command_line_has_the_same_defaults():
    for command, function in ((classify_command.classify, analyze), (listen_command.listen, listen)):
        options, arguments = (inspect.signature(each).parameters for each in (command, function))
        names = {"min_confidence": "threshold", "merge_gap": "merge_gap_s", "rate": "rate_hz", "hop": "hop_s"}
        names |= {"duration": "duration_s"}
        shared = {name: names.get(name, name) for name in options if names.get(name, name) in arguments}
        assert len(shared) >= 10
        for name, other in shared.items():
            if name != "model":
                assert options[name].default == arguments[other].default, name


def test_reprs_are_short_for_10_000_events_and_527_classes():
    events = [
        Event(label="x" * 5000, start_s=i, stop_s=i + 1, confidence=0.5, peak=np.float64(0.5)) for i in range(10_000)
    ]
    answer = [{"label": "y" * 500, "score": 0.5}] * 527
    result = FileResult(file="z" * 4000, duration_s=1e4, answer=answer, events=events)
    for shown in (events[0], result, Analysis(results=[result] * 1000)):
        assert len(repr(shown)) <= 2000
    assert repr(Event(label="dog", start_s=0.0, stop_s=4.0, confidence=0.75, peak=0.8)) == (
        "Event(label='dog', start_s=0, stop_s=4, confidence=0.75, peak=0.8)"
    )
    assert "10,000 events" in repr(result)
