"""Live sound: the events of a file with the same samples, told in time; stalls, drops, a machine that is too slow."""

import io
import json
import os
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
from support.models import TONE_CLASSES, tone_model
from support.sounds import RATE_HZ, pcm, tones

EVENTS = [("low", 10.3, 14.1), ("high", 25.0, 31.2), ("low", 45.6, 48.5)]


@pytest.fixture(scope="module")
def model() -> Model:
    return tone_model()


@pytest.fixture(scope="module")
def minute() -> np.ndarray:
    return tones(60.0, EVENTS)


def heard(model: Model, source: LiveSource, *, hop_s=None, settings=None, **told):
    events = []
    state = monitor.monitor(
        model,
        source,
        settings or DetectionSettings(),
        StreamCallbacks(event=lambda e, began: events.append(e), **told),
        hop_s=hop_s,
    )
    return events, state


def piped(samples: np.ndarray, rate_hz: int = RATE_HZ) -> LiveSource:
    return pcm_source.open_pcm(io.BytesIO(pcm(samples)), rate_hz=rate_hz)


def in_order(events) -> list:
    return sorted(events, key=lambda event: (event.start_s, TONE_CLASSES.index(event.label)))


@pytest.mark.parametrize("hop_s", [1.0, 0.5, 0.25])
def test_three_known_events_are_placed_within_a_hop_and_told_once(model, minute, hop_s):
    events, state = heard(model, piped(minute), hop_s=hop_s)
    found = [event for event in events if event.label != "background"]
    assert [event.label for event in found] == [label for label, *_ in EVENTS]
    for event, (_, start_s, stop_s) in zip(found, EVENTS, strict=True):
        assert abs(event.start_s - start_s) <= hop_s
        assert abs(event.stop_s - stop_s) <= hop_s
    assert state.analyzed_s == pytest.approx(60.0, abs=1e-3)


@pytest.mark.parametrize("hop_s", [1.0, 0.5, 0.25])
def test_an_event_is_told_within_a_hop_of_its_end(model, minute, hop_s):
    """In the stream's own time: how much of it had come when the line was said, whatever computing adds."""
    given, told = [0], []

    def blocks():
        for start in range(0, len(minute), 1102):
            given[0] = start + 1102
            yield Block(minute[start : start + 1102])

    ear_ = monitor.StreamProcessor(
        model,
        LiveSource("-", RATE_HZ, blocks, is_live=False),
        DetectionSettings(),
        StreamCallbacks(event=lambda event, began: told.append((event, given[0] / RATE_HZ))),
        hop_s=hop_s,
    )
    for block in blocks():
        ear_.process(block)
    ends = [(event, at_s) for event, at_s in told if event.label != "background"]
    assert len(ends) == 3
    for event, at_s in ends:
        assert at_s - event.stop_s <= hop_s + 0.2


@pytest.mark.parametrize("hop_s", [None, 0.5, 0.3])
@pytest.mark.parametrize(("rate_hz", "channels"), [(22_050, 1), (44_100, 2), (8_000, 1)])
def test_it_is_what_the_file_is_and_what_python_hears(model, tmp_path, hop_s, rate_hz, channels):
    mono = tones(12.7, [("low", 2.3, 4.1), ("high", 7.0, 9.2)], rate_hz)
    samples = np.stack([mono] * channels, axis=1)
    audio.write(tmp_path / "a.wav", samples, rate_hz)
    source = pcm_source.open_pcm(io.BytesIO(pcm(samples.reshape(-1))), rate_hz=rate_hz, channels=channels)
    rows = []
    events, _ = heard(model, source, hop_s=hop_s, state=lambda state: rows.append(state.probabilities))
    overlap = 0.0 if hop_s is None else 1 - hop_s
    expected = model.events(tmp_path / "a.wav", overlap=overlap)
    file = analyze_file(model, Input(str(tmp_path / "a.wav"), "a.wav"), DetectionSettings(overlap=overlap))
    assert list(file.events) == expected
    assert [(e.label, e.start_s, e.stop_s) for e in in_order(events)] == [
        (e.label, pytest.approx(e.start_s), pytest.approx(e.stop_s)) for e in expected
    ]
    for mine, theirs in zip(in_order(events), expected, strict=True):
        assert mine.confidence == pytest.approx(theirs.confidence, abs=1e-4)
    last = model.scores(tmp_path / "a.wav", overlap=overlap).probabilities[-1]
    np.testing.assert_allclose(rows[-1], last, atol=1e-4)


@pytest.mark.parametrize("seconds", [0.3, 1.0, 1.04])
def test_a_stream_that_is_shorter_than_a_window_is_heard_whole(model, seconds):
    events, _ = heard(model, piped(tones(seconds, [("low", 0.0, 9.0)])))
    assert [(event.label, event.start_s) for event in events] == [("low", 0.0)]
    assert events[0].stop_s == pytest.approx(seconds, abs=1e-4)


def test_a_stream_of_nothing_has_no_event(model):
    assert heard(model, pcm_source.open_pcm(io.BytesIO(b""), rate_hz=8000))[0] == []


# ── sources that stall, drop, and come faster than they can be heard ───────────────────────────────────────────────


def live_source(*blocks, rate_hz: int = RATE_HZ) -> LiveSource:
    """A live source of ready blocks; a number among them is a pause in seconds."""

    def come():
        for block in blocks:
            if isinstance(block, float):
                time.sleep(block)
            else:
                yield block

    return LiveSource("microphone", rate_hz, come, is_live=True)


def test_a_stall_is_said_once_and_its_end_too(model, monkeypatch):
    monkeypatch.setattr(monitor, "STALLED_S", 0.3)
    notes = []
    sound = Block(tones(0.5, []))
    heard(model, live_source(sound, 1.2, sound), note=notes.append)
    assert [note.split(",")[0] for note in notes] == [
        "no sound has come for 0.3 s: waiting for it",
        "sound comes again",
    ]


def test_digital_silence_is_said_once(model, monkeypatch):
    monkeypatch.setattr(monitor, "SILENT_S", 1.0)
    notes = []
    zeros = np.zeros(RATE_HZ // 2, np.float32)
    heard(model, piped(np.concatenate([*[zeros] * 5, tones(1.0, [])])), note=notes.append)
    assert [note.split(",")[0] for note in notes] == ["nothing but zeros for 1 s: is it muted", "sound again"]


def test_what_was_lost_leaves_times_true(model, monkeypatch):
    monkeypatch.setattr(monitor, "MOST_WAITING_S", 60.0)
    before, behind = tones(5.0, [("low", 1.0, 2.5)]), tones(5.0, [("high", 2.0, 3.5)])
    events, state = heard(
        model, live_source(Block(before), Block(behind[:1000], lost_s=20.0, note="back"), Block(behind[1000:]))
    )
    places = [(event.label, round(event.start_s)) for event in events if event.label != "background"]
    assert places == [("low", 1), ("high", 27)]
    assert state.lost_s == 20.0
    assert state.analyzed_s == pytest.approx(30.0, abs=0.01)


def test_before_a_gap_every_sample_is_heard_and_behind_a_long_one_an_event_is_another(model):
    spans, scored = [], Model.score
    before, behind = tones(2.6, [("low", 1.0, 9.0)]), tones(0.7, [("low", 0.0, 9.0)])
    with pytest.MonkeyPatch.context() as patch:

        def score(self, windows, *rest, **how):
            spans.extend((window.start, window.stop) for window in windows)
            return scored(self, windows, *rest, **how)

        patch.setattr(Model, "score", score)
        events, state = heard(model, live_source(Block(before), Block(behind, lost_s=20.0)))
    in_seconds = [(round(start / RATE_HZ, 2), round(stop / RATE_HZ, 2)) for start, stop in spans]
    assert in_seconds == [(0.0, 1.0), (1.0, 2.0), (1.6, 2.6), (22.6, 23.3)]
    low = [(e.start_s, e.stop_s) for e in events if e.label == "low"]
    assert low == [(1.0, pytest.approx(2.6, abs=1e-3)), (pytest.approx(22.6, abs=1e-3), pytest.approx(23.3, abs=1e-3))]
    assert state.account() == "20.0 s of 23.3 s went by unheard: 0.0 s were dropped, 20.0 s did not come"


def test_a_machine_that_is_too_slow_is_never_further_behind_than_what_may_wait(model, monkeypatch):
    """How old a window is when it is scored: at most what may wait, and what the one before it took."""
    score, sound = Model.score, tones(20.0, [])
    began, over, ages = [0.0], [False], []

    def slow(self, windows, *rest, **how):
        ages.append(time.monotonic() - began[0] - windows[-1].stop / RATE_HZ)
        time.sleep(0.0 if over[0] else 0.4)
        return score(self, windows, *rest, **how)

    def blocks():
        began[0] = time.monotonic()
        for number, start in enumerate(range(0, round(7.0 * RATE_HZ), 1102)):
            time.sleep(max(0.0, began[0] + (number + 1) * 1102 / RATE_HZ - time.monotonic()))
            yield Block(sound[start : start + 1102])
        over[0] = True

    monkeypatch.setattr(Model, "score", slow)
    monkeypatch.setattr(monitor, "MOST_WAITING_S", 1.5)
    _, state = heard(model, LiveSource("microphone", RATE_HZ, blocks, is_live=True), hop_s=0.1)
    assert state.dropped_s > 0.5
    assert state.lost_s == pytest.approx(state.dropped_s)
    assert state.analyzed_s == pytest.approx(7.0, abs=0.1)
    assert 1.0 < max(ages) <= 1.5 + 0.4 + 0.3
    assert "of 7.0 s went by unheard" in state.account()


def test_a_machine_that_is_too_slow_drops_counts_and_keeps_up(model, monkeypatch):
    score = Model.score
    monkeypatch.setattr(Model, "score", lambda *given, **how: time.sleep(0.1) or score(*given, **how))
    monkeypatch.setattr(monitor, "MOST_WAITING_S", 1.0)
    sound = tones(12.0, [])
    blocks: list = []
    for start in range(0, len(sound), 1102):  # ten times as fast as a second a second: no machine hears it all
        blocks += [Block(sound[start : start + 1102]), 0.005]
    notes: list[str] = []
    _, state = heard(model, live_source(*blocks), hop_s=0.1, note=notes.append)
    assert state.dropped_s > 1.0
    assert state.lost_s == pytest.approx(state.dropped_s, abs=0.2)
    assert state.analyzed_s == pytest.approx(12.0, abs=0.2)  # what was dropped is counted as time that went by
    assert "cannot keep up" in notes[0]


def test_a_pipe_waits_and_nothing_is_dropped(model, monkeypatch):
    score = Model.score
    monkeypatch.setattr(Model, "score", lambda *given, **how: time.sleep(0.02) or score(*given, **how))
    monkeypatch.setattr(monitor, "MOST_WAITING_S", 0.2)
    events, state = heard(model, piped(tones(20.0, [("low", 5.0, 8.0)])))
    assert state.dropped_s == state.lost_s == 0
    assert [event.label for event in events if event.label != "background"] == ["low"]


def test_a_source_that_fails_for_good_is_an_error_and_what_was_under_way_is_told(model):
    def blocks():
        yield Block(tones(3.0, [("low", 0.0, 3.0)]))
        raise AudioError("the microphone is gone")

    events = []
    with pytest.raises(AudioError, match="the microphone is gone"):
        monitor.monitor(
            model,
            LiveSource("microphone", RATE_HZ, blocks, is_live=True),
            DetectionSettings(),
            StreamCallbacks(event=lambda e, began: events.append(e)),
        )
    assert [event.label for event in events] == ["low"]


def test_live_events_have_their_time_on_the_clock(model):
    began = []
    monitor.monitor(
        model,
        live_source(Block(tones(3.0, [("low", 1.0, 2.0)]))),
        DetectionSettings(),
        StreamCallbacks(event=lambda event, at: began.append(at)),
        clock=lambda: datetime(2024, 6, 12, 4, 30, 3, tzinfo=UTC),
    )
    assert set(began) == {datetime(2024, 6, 12, 4, 30, tzinfo=UTC)}


def test_the_time_on_the_clock_follows_a_sound_card_that_is_slow_and_a_stream_that_stalled():
    anchor, began = backlog.StartEstimate(rate_hz=100), datetime(2024, 6, 12, tzinfo=UTC)
    second = Block(np.zeros(100, np.float32))
    for place in range(1, 3601):  # a second of this card lasts 1.001
        anchor.add(second, began + timedelta(seconds=1.001 * place))
    assert (anchor.started - began).total_seconds() == pytest.approx(3.6, abs=0.13)
    now = began + timedelta(seconds=3603.6 + 20)  # nothing came for 20 s, and it goes on where it was
    for place in range(1, 200):
        anchor.add(second, now + timedelta(seconds=place))
    assert (anchor.started - began).total_seconds() == pytest.approx(23.6, abs=1e-3)


@pytest.mark.parametrize("most_s", [0.0, -1.0, float("nan")])
def test_a_duration_that_is_none_is_refused(model, most_s):
    with pytest.raises(SettingsError, match="the duration is .* s: give more than 0"):
        monitor.monitor(model, piped(tones(1.0, [])), DetectionSettings(), StreamCallbacks(), duration_s=most_s)


def test_the_backlog_lets_the_reader_go_when_nobody_listens():
    backlog = Backlog(most_s=1.0, rate_hz=10, drops=False)
    done = []

    def read():
        for _ in range(10):
            if not backlog.put(Block(np.zeros(5, np.float32))):
                done.append(True)
                return

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.05)
    backlog.close()
    thread.join(2)
    assert done == [True]


@pytest.mark.parametrize("hop_s", [0.0, -1.0, 1.5])
def test_a_hop_that_cannot_be_meant_is_refused(model, hop_s):
    with pytest.raises(SettingsError, match="the hop is .* s: give more than 0 and at most the model's window, 1 s"):
        heard(model, piped(tones(1.0, [])), hop_s=hop_s)


# ── the command ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def command(model, tmp_path: Path) -> list[str]:
    model.bundle.write(tmp_path / "ear.onnx")
    return [sys.executable, "-m", "soundmark.cli", "listen", "-m", str(tmp_path / "ear.onnx")]


def test_a_stream_in_real_time_is_told_of_as_it_goes(command):
    sound = tones(9.0, [("low", 2.2, 3.9), ("high", 5.5, 7.0)])
    lines: list[tuple[float, dict]] = []
    typed = [*command, "-", "--rate", str(RATE_HZ), "--hop", "0.5", "--real-time"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    with subprocess.Popen(typed, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:

        def read():
            for line in process.stdout:
                lines.append((time.monotonic(), json.loads(line)))

        reader = threading.Thread(target=read)
        reader.start()
        time.sleep(2.5)  # it loads the model
        began = time.monotonic()
        for number, start in enumerate(range(0, len(sound), 1102)):
            process.stdin.write(pcm(sound[start : start + 1102]))
            process.stdin.flush()
            time.sleep(max(0.0, began + (number + 1) * 0.05 - time.monotonic()))
        process.stdin.close()
        reader.join(20)
        assert process.wait(20) == 0
    found = [(at - began, event) for at, event in lines if event["label"] != "background"]
    assert [event["label"] for _, event in found] == ["low", "high"]
    for at_s, event in found:
        assert at_s - event["stop_s"] <= 0.5 + 0.2 + 1.0  # a second for a machine that has other things to do
        assert event["start_utc"].endswith("Z")


def test_ctrl_c_tells_what_is_under_way(command):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*command, "-", "--rate", str(RATE_HZ)], **pipes) as process:
        process.stdin.write(pcm(tones(4.0, [("low", 0.0, 4.0)])))
        process.stdin.flush()
        time.sleep(3.0)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert [json.loads(line)["label"] for line in out.splitlines()] == ["low"]
    assert err.decode().splitlines() == ["soundmark: stopped."]


def test_clips_are_kept_beside_the_lines(command, tmp_path):
    sound = tones(8.0, [("low", 2.0, 3.5), ("high", 5.0, 6.0)])
    done = subprocess.run(
        [*command, "-", "--rate", str(RATE_HZ), "--save", str(tmp_path / "kept"), "--format", "jsonl"],
        input=pcm(sound),
        capture_output=True,
        check=True,
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    kept = sorted((tmp_path / "kept").iterdir())
    assert sorted(path.stem.split("Z_")[1] for path in kept) == sorted(event["label"] for event in events)


def test_what_went_by_unheard_is_said_in_the_end_however_quiet(model, capsys, monkeypatch):
    source = live_source(Block(tones(2.0, [])), Block(tones(2.0, []), lost_s=3.0))
    live_output.listen_and_output(model, source, DetectionSettings(), form="jsonl", quiet=True)
    err = capsys.readouterr().err
    assert err == "warning: 3.0 s of 7.0 s went by unheard: 0.0 s were dropped, 3.0 s did not come\n"


def test_what_cannot_be_posted_stands_in_the_view(model, capsys, monkeypatch):
    monkeypatch.setattr(webhook, "TRIES_AFTER_S", (0.0,))
    sound = tones(4.0, [("low", 1.0, 3.0)])
    live_output.listen_and_output(model, piped(sound), DetectionSettings(), form="view", post="http://127.0.0.1:9/")
    assert "did not take" in capsys.readouterr().out


def test_the_view_is_drawn_and_ends_well(model, capsys):
    live_output.listen_and_output(model, piped(tones(4.0, [("low", 1.0, 3.0)])), DetectionSettings(), form="view")
    told = capsys.readouterr().out
    assert "dBFS" in told
    assert "low" in told
