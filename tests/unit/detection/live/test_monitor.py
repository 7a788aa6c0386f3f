"""Live audio: the same events as for a file with the same samples, reported in time; stalls, gaps, overload."""

import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from soundmark import audio
from soundmark.audio.capture import pcm as pcm_source
from soundmark.audio.capture.source import Block, LiveSource
from soundmark.cli import live_output
from soundmark.detection.file_analysis import analyze_file
from soundmark.detection.inputs import Input
from soundmark.detection.live import backlog, monitor, webhook
from soundmark.detection.live.backlog import Backlog
from soundmark.detection.live.monitor import StreamCallbacks
from soundmark.detection.settings import DetectionSettings
from soundmark.errors import AudioError, SettingsError
from soundmark.models.classifier import Model
from support.commands import run_soundmark
from support.models import TONE_CLASSES
from support.sounds import RATE_HZ, pcm, tones

EVENTS = [("low", 10.3, 14.1), ("high", 25.0, 31.2), ("low", 45.6, 48.5)]


@pytest.fixture(scope="module")
def model(tone_detector) -> Model:
    return tone_detector


@pytest.fixture(scope="module")
def minute() -> np.ndarray:
    return tones(60.0, EVENTS)


def detect(model: Model, source: LiveSource, *, hop_s=None, **callbacks):
    """Classify a source until it ends; return its events and the final state."""
    events = []
    state = monitor.monitor(
        model,
        source,
        DetectionSettings(),
        StreamCallbacks(event=lambda event, started: events.append(event), **callbacks),
        hop_s=hop_s,
    )
    return events, state


def pipe_of(samples: np.ndarray, rate_hz: int = RATE_HZ) -> LiveSource:
    """A pipe of PCM, which waits while the listener is busy."""
    return pcm_source.open_pcm(io.BytesIO(pcm(samples)), rate_hz=rate_hz)


def by_onset(events) -> list:
    return sorted(events, key=lambda event: (event.start_s, TONE_CLASSES.index(event.label)))


@pytest.mark.parametrize("hop_s", [1.0, 0.5, 0.25])
def test_onset_and_offset_of_known_events_are_accurate_to_a_hop(model, minute, hop_s):
    events, state = detect(model, pipe_of(minute), hop_s=hop_s)
    found = [event for event in events if event.label != "background"]
    assert [event.label for event in found] == [label for label, *_ in EVENTS]
    for event, (_, start_s, stop_s) in zip(found, EVENTS, strict=True):
        assert abs(event.start_s - start_s) <= hop_s
        assert abs(event.stop_s - stop_s) <= hop_s
    assert state.analyzed_s == pytest.approx(60.0, abs=1e-3)


@pytest.mark.parametrize("hop_s", [1.0, 0.5, 0.25])
def test_an_event_is_reported_within_a_hop_of_its_offset(model, minute, hop_s):
    """Measured in stream time: the amount of audio received when the event is reported."""
    received, reported = [0], []

    def blocks():
        for start in range(0, len(minute), 1102):
            received[0] = start + 1102
            yield Block(minute[start : start + 1102])

    processor = monitor.StreamProcessor(
        model,
        LiveSource("-", RATE_HZ, blocks, is_live=False),
        DetectionSettings(),
        StreamCallbacks(event=lambda event, started: reported.append((event, received[0] / RATE_HZ))),
        hop_s=hop_s,
    )
    for block in blocks():
        processor.process(block)
    tone_events = [(event, at_s) for event, at_s in reported if event.label != "background"]
    assert len(tone_events) == 3
    for event, at_s in tone_events:
        assert at_s - event.stop_s <= hop_s + 0.2


@pytest.mark.parametrize("hop_s", [None, 0.5, 0.3])
@pytest.mark.parametrize(("rate_hz", "channels"), [(22_050, 1), (44_100, 2), (8_000, 1)])
def test_a_stream_gives_the_same_events_and_scores_as_a_file(model, tmp_path, hop_s, rate_hz, channels):
    mono = tones(12.7, [("low", 2.3, 4.1), ("high", 7.0, 9.2)], rate_hz)
    samples = np.stack([mono] * channels, axis=1)
    audio.write(tmp_path / "a.wav", samples, rate_hz)
    source = pcm_source.open_pcm(io.BytesIO(pcm(samples.reshape(-1))), rate_hz=rate_hz, channels=channels)
    probabilities = []
    events, _ = detect(model, source, hop_s=hop_s, state=lambda state: probabilities.append(state.probabilities))
    overlap = 0.0 if hop_s is None else 1 - hop_s
    expected = model.events(tmp_path / "a.wav", overlap=overlap)
    file = analyze_file(model, Input(str(tmp_path / "a.wav"), "a.wav"), DetectionSettings(overlap=overlap))
    assert list(file.events) == expected
    assert [(e.label, e.start_s, e.stop_s) for e in by_onset(events)] == [
        (e.label, pytest.approx(e.start_s), pytest.approx(e.stop_s)) for e in expected
    ]
    for event, other in zip(by_onset(events), expected, strict=True):
        assert event.confidence == pytest.approx(other.confidence, abs=1e-4)
    last = model.scores(tmp_path / "a.wav", overlap=overlap).probabilities[-1]
    np.testing.assert_allclose(probabilities[-1], last, atol=1e-4)


@pytest.mark.parametrize("seconds", [0.3, 1.0, 1.04])
def test_a_stream_shorter_than_a_window_is_one_event(model, seconds):
    events, _ = detect(model, pipe_of(tones(seconds, [("low", 0.0, 9.0)])))
    assert [(event.label, event.start_s) for event in events] == [("low", 0.0)]
    assert events[0].stop_s == pytest.approx(seconds, abs=1e-4)


def test_an_empty_stream_has_no_events(model):
    assert detect(model, pcm_source.open_pcm(io.BytesIO(b""), rate_hz=8000))[0] == []


# ── sources that stall, have gaps, or deliver faster than the machine classifies ───────────────────────────────────


def live_source(*items) -> LiveSource:
    """A live source of the given blocks; a number is a pause in seconds."""

    def blocks():
        for item in items:
            if isinstance(item, float):
                time.sleep(item)
            else:
                yield item

    return LiveSource("microphone", RATE_HZ, blocks, is_live=True)


class Overload:
    """A live source that delivers eight blocks while one window is scored, so that the machine cannot keep up.

    Source and model take turns, so the test does not depend on the speed of the machine. ``behind_s`` lists, for each
    scored window, how much audio had been delivered after its end.
    """

    def __init__(self, samples: np.ndarray) -> None:
        self.samples, self.behind_s = samples, []
        self.delivered, self.allowed = 0, 24  # samples; blocks, enough for the first window
        self.waiting = self.ended = False
        self.turn = threading.Condition()

    def blocks(self):
        for start in range(0, len(self.samples), 1102):
            with self.turn:
                if not self.allowed:
                    self.waiting = True
                    self.turn.notify_all()
                    assert self.turn.wait_for(lambda: self.allowed, timeout=20)
                self.allowed -= 1
                self.delivered = start + 1102
            yield Block(self.samples[start : start + 1102])
        with self.turn:
            self.ended = True
            self.turn.notify_all()

    def score(self, score, model, windows, *rest, **options):
        with self.turn:
            self.behind_s.append((self.delivered - windows[-1].stop) / RATE_HZ)
            self.allowed, self.waiting = self.allowed + 8, False
            self.turn.notify_all()
            assert self.turn.wait_for(lambda: self.waiting or self.ended, timeout=20)
        return score(model, windows, *rest, **options)

    def detect(self, model, monkeypatch, **callbacks):
        score = Model.score
        monkeypatch.setattr(Model, "score", lambda *args, **options: self.score(score, *args, **options))
        source = LiveSource("microphone", RATE_HZ, self.blocks, is_live=True)
        return detect(model, source, hop_s=0.1, **callbacks)


def test_a_stall_and_its_end_are_reported_once(model, monkeypatch):
    monkeypatch.setattr(monitor, "STALLED_S", 0.3)
    notes = []
    sound = Block(tones(0.5, []))
    detect(model, live_source(sound, 1.2, sound), note=notes.append)
    assert [note.split(" after")[0] for note in notes] == [
        "no audio received for 0.3 s: waiting for the source",
        "audio received again",
    ]


def test_digital_silence_and_its_end_are_reported_once(model, monkeypatch):
    monkeypatch.setattr(monitor, "SILENT_S", 1.0)
    notes = []
    zeros = np.zeros(RATE_HZ // 2, np.float32)
    detect(model, pipe_of(np.concatenate([*[zeros] * 5, tones(1.0, [])])), note=notes.append)
    assert [note.split(" after")[0] for note in notes] == [
        "digital silence for 1 s: is the source muted or unplugged?",
        "audio again",
    ]


def test_event_times_stay_correct_after_a_gap(model, monkeypatch):
    monkeypatch.setattr(monitor, "MAX_QUEUED_S", 60.0)
    before, after = tones(5.0, [("low", 1.0, 2.5)]), tones(5.0, [("high", 2.0, 3.5)])
    events, state = detect(
        model, live_source(Block(before), Block(after[:1000], lost_s=20.0, note="back"), Block(after[1000:]))
    )
    onsets = [(event.label, round(event.start_s)) for event in events if event.label != "background"]
    assert onsets == [("low", 1), ("high", 27)]
    assert state.lost_s == 20.0
    assert state.analyzed_s == pytest.approx(30.0, abs=0.01)


def test_a_long_gap_ends_an_event_and_all_samples_before_it_are_classified(model):
    spans, original = [], Model.score
    before, after = tones(2.6, [("low", 1.0, 9.0)]), tones(0.7, [("low", 0.0, 9.0)])
    with pytest.MonkeyPatch.context() as patch:

        def score(self, windows, *rest, **options):
            spans.extend((window.start, window.stop) for window in windows)
            return original(self, windows, *rest, **options)

        patch.setattr(Model, "score", score)
        events, state = detect(model, live_source(Block(before), Block(after, lost_s=20.0)))
    in_seconds = [(round(start / RATE_HZ, 2), round(stop / RATE_HZ, 2)) for start, stop in spans]
    assert in_seconds == [(0.0, 1.0), (1.0, 2.0), (1.6, 2.6), (22.6, 23.3)]
    low = [(e.start_s, e.stop_s) for e in events if e.label == "low"]
    assert low == [(1.0, pytest.approx(2.6, abs=1e-3)), (pytest.approx(22.6, abs=1e-3), pytest.approx(23.3, abs=1e-3))]
    assert state.loss_report() == (
        "20.0 s of 23.3 s were not analysed: 0.0 s were dropped, 20.0 s were not delivered by the source"
    )


def test_results_of_an_overloaded_machine_are_late_by_at_most_the_length_of_the_queue(model, monkeypatch):
    monkeypatch.setattr(monitor, "MAX_QUEUED_S", 1.5)
    overload = Overload(tones(7.0, []))
    _, state = overload.detect(model, monkeypatch)
    assert 1.0 < max(overload.behind_s) <= 1.5
    assert state.dropped_s > 0.5
    assert state.lost_s == pytest.approx(state.dropped_s)
    assert state.analyzed_s == pytest.approx(7.0, abs=0.1)


def test_an_overloaded_machine_drops_audio_and_reports_it(model, monkeypatch):
    monkeypatch.setattr(monitor, "MAX_QUEUED_S", 1.2)
    notes: list[str] = []
    _, state = Overload(tones(12.0, [])).detect(model, monkeypatch, note=notes.append)
    assert state.dropped_s > 1.0
    assert state.lost_s == pytest.approx(state.dropped_s, abs=0.2)
    assert state.analyzed_s == pytest.approx(12.0, abs=0.2)  # includes the dropped audio
    assert "cannot keep up" in notes[0]
    assert state.loss_report().startswith(f"{state.lost_s:.1f} s of 12.0 s were not analysed")


def test_overload_is_reported_at_most_once_a_minute_with_a_count(model):
    """692 gaps within 70 s of the clock are reported twice: at the first one, and a minute later."""
    notes, now = [], [datetime(2024, 6, 12, 4, 30, tzinfo=UTC)]
    callbacks = StreamCallbacks(note=notes.append)
    source = live_source()
    processor = monitor.StreamProcessor(model, source, DetectionSettings(), callbacks, clock=lambda: now[0])
    for _ in range(692):
        now[0] += timedelta(seconds=0.1)
        processor.process(Block(np.zeros(0, np.float32), lost_s=20.0, dropped_s=20.0))
    assert notes == [
        "this machine cannot keep up: 20.0 s of audio were dropped so far, in 1 gap",
        "this machine cannot keep up: 12,020.0 s of audio were dropped so far, in 601 gaps",
    ]
    assert processor.state.dropped_s == pytest.approx(692 * 20.0)


@pytest.mark.parametrize("value", [np.nan, 1e13, 9e10])
def test_an_invalid_sample_does_not_end_the_stream(model, value):
    """9e10 is below the limit: no sample that passes it may stop the analysis, at any sample rate."""
    sound = tones(12.0, [("low", 8.0, 10.0)], 44_100)
    sound[44_100] = value
    source = pcm_source.open_pcm(io.BytesIO(sound.astype("<f4").tobytes()), rate_hz=44_100, sample_format="f32")
    events, state = detect(model, source)
    assert state.analyzed_s == pytest.approx(12.0, abs=0.01)
    assert "low" in [event.label for event in events if event.start_s > 7]


def test_invalid_samples_are_reported_at_most_once_a_minute_and_counted(model):
    notes, now = [], [datetime(2024, 6, 12, 4, 30, tzinfo=UTC)]
    callbacks = StreamCallbacks(note=notes.append)
    processor = monitor.StreamProcessor(model, live_source(), DetectionSettings(), callbacks, clock=lambda: now[0])
    for _ in range(100):
        processor.process(Block(np.ones(100, np.float32), n_invalid=3))
        now[0] += timedelta(seconds=1)
    assert notes == [
        "samples that are NaN, infinite or far beyond full scale are replaced by silence: 3 so far",
        "samples that are NaN, infinite or far beyond full scale are replaced by silence: 183 so far",
    ]
    assert processor.state.loss_report() == "300 invalid samples were replaced by silence"


def test_a_pipe_waits_and_nothing_is_dropped(model, monkeypatch):
    score = Model.score
    monkeypatch.setattr(Model, "score", lambda *args, **options: time.sleep(0.02) or score(*args, **options))
    monkeypatch.setattr(monitor, "MAX_QUEUED_S", 0.2)
    events, state = detect(model, pipe_of(tones(20.0, [("low", 5.0, 8.0)])))
    assert state.dropped_s == state.lost_s == 0
    assert [event.label for event in events if event.label != "background"] == ["low"]


def test_a_source_that_fails_raises_its_error_and_the_running_event_is_reported(model):
    def blocks():
        yield Block(tones(3.0, [("low", 0.0, 3.0)]))
        raise AudioError("the microphone is gone")

    events = []
    with pytest.raises(AudioError, match="the microphone is gone"):
        monitor.monitor(
            model,
            LiveSource("microphone", RATE_HZ, blocks, is_live=True),
            DetectionSettings(),
            StreamCallbacks(event=lambda event, started: events.append(event)),
        )
    assert [event.label for event in events] == ["low"]


def test_live_events_have_the_start_time_of_the_stream(model):
    times = []
    monitor.monitor(
        model,
        live_source(Block(tones(3.0, [("low", 1.0, 2.0)]))),
        DetectionSettings(),
        StreamCallbacks(event=lambda event, started: times.append(started)),
        clock=lambda: datetime(2024, 6, 12, 4, 30, 3, tzinfo=UTC),
    )
    assert set(times) == {datetime(2024, 6, 12, 4, 30, tzinfo=UTC)}


def test_the_start_time_follows_a_slow_sound_card_and_a_stalled_stream():
    estimate, start = backlog.StartEstimate(rate_hz=100), datetime(2024, 6, 12, tzinfo=UTC)
    second = Block(np.zeros(100, np.float32))
    for n in range(1, 3601):  # a second of this card lasts 1.001 s
        estimate.add(second, start + timedelta(seconds=1.001 * n))
    assert (estimate.started - start).total_seconds() == pytest.approx(3.6, abs=0.13)
    resumed = start + timedelta(seconds=3603.6 + 20)  # after a stall of 20 s, without lost samples
    for n in range(1, 200):
        estimate.add(second, resumed + timedelta(seconds=n))
    assert (estimate.started - start).total_seconds() == pytest.approx(23.6, abs=1e-3)


@pytest.mark.parametrize("duration_s", [0.0, -1.0, float("nan")])
def test_an_invalid_duration_is_rejected(model, duration_s):
    with pytest.raises(SettingsError, match="the duration to listen is .* s: expected more than 0"):
        monitor.monitor(model, pipe_of(tones(1.0, [])), DetectionSettings(), StreamCallbacks(), duration_s=duration_s)


def test_closing_the_backlog_ends_the_thread_that_waits_for_room():
    backlog = Backlog(capacity_s=1.0, rate_hz=10, drops=False)
    accepted = []

    def read():
        for _ in range(10):
            accepted.append(backlog.put(Block(np.zeros(5, np.float32))))
            if not accepted[-1]:
                return

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.05)
    backlog.close()
    thread.join(10)
    assert not thread.is_alive()
    assert accepted[-1] is False


@pytest.mark.parametrize("hop_s", [0.0, -1.0, 1.5])
def test_an_invalid_hop_is_rejected(model, hop_s):
    message = "the hop is .* s: expected more than 0 and at most the model's window, 1 s"
    with pytest.raises(SettingsError, match=message):
        detect(model, pipe_of(tones(1.0, [])), hop_s=hop_s)


# ── the command ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def command(model, tmp_path: Path) -> list[str]:
    model.bundle.write(tmp_path / "tones.onnx")
    return [sys.executable, "-m", "soundmark.cli", "listen", "-m", str(tmp_path / "tones.onnx")]


def printed_events(process: subprocess.Popen) -> queue.Queue[dict]:
    """The events that ``soundmark listen`` prints, as they arrive."""
    events: queue.Queue[dict] = queue.Queue()

    def read():
        for line in process.stdout:
            events.put(json.loads(line))

    threading.Thread(target=read, daemon=True).start()
    return events


@pytest.mark.slow
def test_an_event_is_printed_while_the_stream_is_still_running(command):
    """Each event is printed before more audio arrives than a hop after its offset (or the test times out)."""
    samples, hop_s = tones(9.0, [("low", 2.2, 3.9), ("high", 5.5, 7.0)]), 0.5
    arguments = [*command, "-", "--rate", str(RATE_HZ), "--hop", str(hop_s), "--real-time"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        events, written = printed_events(process), 0
        for label, offset_s in (("low", 3.9), ("high", 7.0)):
            until = round((offset_s + hop_s + 0.2) * RATE_HZ)
            process.stdin.write(pcm(samples[written:until]))
            process.stdin.flush()
            written = until
            while (event := events.get(timeout=60))["label"] == "background":
                pass
            assert event["label"] == label
            assert event["stop_s"] == pytest.approx(offset_s, abs=hop_s)
            assert event["start_utc"].endswith("Z")
        process.stdin.write(pcm(samples[written:]))
        process.stdin.close()
        assert process.wait(60) == 0


@pytest.mark.slow
def test_ctrl_c_prints_the_running_event(command):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*command, "-", "--rate", str(RATE_HZ)], **pipes) as process:
        events = printed_events(process)
        process.stdin.write(pcm(tones(4.0, [("low", 2.0, 4.0)])))
        process.stdin.flush()
        assert events.get(timeout=60)["label"] == "background"  # it ends where "low" starts, so "low" is running
        process.send_signal(signal.SIGINT)
        assert events.get(timeout=60)["label"] == "low"
        assert process.wait(60) == 130
        assert process.stderr.read().decode().splitlines() == ["soundmark: stopped."]
    assert events.empty()


@pytest.mark.slow
def test_saved_clips_match_the_printed_events(model, tmp_path):
    sound = tones(8.0, [("low", 2.0, 3.5), ("high", 5.0, 6.0)])
    model.bundle.write(tmp_path / "tones.onnx")
    options = ["-m", tmp_path / "tones.onnx", "--rate", RATE_HZ, "--save", tmp_path / "clips", "--format", "jsonl"]
    done = run_soundmark("listen", "-", *options, input=pcm(sound))
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    clips = sorted((tmp_path / "clips").glob("*.wav"))
    assert sorted(path.stem.split("Z_")[1] for path in clips) == sorted(event["label"] for event in events)


def test_lost_audio_is_reported_at_the_end_even_if_quiet(model, capsys):
    source = live_source(Block(tones(2.0, [])), Block(tones(2.0, []), lost_s=3.0))
    live_output.listen_and_output(model, source, DetectionSettings(), form="jsonl", quiet=True)
    err = capsys.readouterr().err
    assert err == (
        "warning: 3.0 s of 7.0 s were not analysed: 0.0 s were dropped, 3.0 s were not delivered by the source\n"
    )


def test_the_live_view_shows_webhook_failures(model, capsys, monkeypatch):
    monkeypatch.setattr(webhook, "RETRY_DELAYS_S", (0.0,))
    source = pipe_of(tones(4.0, [("low", 1.0, 3.0)]))
    live_output.listen_and_output(model, source, DetectionSettings(), form="view", post="http://127.0.0.1:9/")
    assert "could not be posted" in capsys.readouterr().out


def test_the_live_view_shows_level_and_classes(model, capsys):
    live_output.listen_and_output(model, pipe_of(tones(4.0, [("low", 1.0, 3.0)])), DetectionSettings(), form="view")
    output = capsys.readouterr().out
    assert "dBFS" in output
    assert "low" in output
