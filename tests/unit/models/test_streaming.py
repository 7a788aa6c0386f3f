"""The streaming classifier returns identical scores and events for files, pipes and blocks of any size."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from soundmark import audio
from soundmark.audio.capture.pcm import open_pcm
from soundmark.detection.live.monitor import StreamCallbacks, monitor
from soundmark.detection.settings import DetectionSettings
from soundmark.errors import SettingsError
from soundmark.models.streaming import StreamClassifier
from support.sounds import RATE_HZ, pcm, tones

EVENTS = [("low", 2.3, 4.1), ("high", 7.0, 9.2), ("low", 12.0, 13.1)]


@pytest.fixture(scope="module")
def model(tone_detector):
    return tone_detector


def split(samples: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Split samples into blocks of these sizes, repeated cyclically."""
    blocks, start = [], 0
    while start < len(samples):
        size = sizes[len(blocks) % len(sizes)]
        blocks.append(samples[start : start + size])
        start += size
    return blocks


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
@pytest.mark.parametrize("rate_hz", [RATE_HZ, 44_100, 8_000])
def test_file_and_blocks_of_any_size_give_identical_results(model, tmp_path, overlap, rate_hz):
    samples = tones(14.6, EVENTS, rate_hz)
    audio.write(tmp_path / "a.wav", samples, rate_hz)
    expected = model.events(tmp_path / "a.wav", overlap=overlap)
    scores = model.scores(tmp_path / "a.wav", overlap=overlap).probabilities
    samples = audio.read(tmp_path / "a.wav").samples
    for sizes in ([1009], [7, 50_021, 1], [10**9]):
        parts = []
        classifier = StreamClassifier(model, rate_hz, overlap=overlap, batched=True, on_scores=parts.append)
        events = [event for block in split(samples, sizes) for event in classifier.push(block)]
        assert classifier.aggregator.in_order([*events, *classifier.finish()]) == expected
        np.testing.assert_array_equal(np.concatenate([part.probabilities for part in parts]), scores)
        assert classifier.finish() == []


@pytest.mark.parametrize("overlap", [0.0, 0.75])
def test_pipe_and_blocks_give_identical_events(model, overlap):
    samples = tones(14.6, EVENTS)
    events = []
    source = open_pcm(io.BytesIO(pcm(samples)), rate_hz=RATE_HZ)
    callbacks = StreamCallbacks(event=lambda event, started: events.append(event))
    monitor(model, source, DetectionSettings(), callbacks, hop_s=1.0 - overlap)
    classifier = StreamClassifier(model, RATE_HZ, overlap=overlap)
    pushed = [event for block in split(samples, [997]) for event in classifier.push(block)]
    assert events == [*pushed, *classifier.finish()]


def test_thread_pool_does_not_change_the_results(model):
    samples = tones(60.0, EVENTS)
    single = StreamClassifier(model, RATE_HZ, overlap=0.9, batched=True)
    with ThreadPoolExecutor(3) as pool:
        shared = StreamClassifier(model, RATE_HZ, overlap=0.9, batched=True, pool=pool)
        assert shared.read(split(samples, [30_001])) == single.read([samples])
    assert shared.aggregator.answer() == single.aggregator.answer()
    assert shared.aggregator.windows == 591


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 44_100])
def test_new_windows_start_after_a_gap_and_the_rest_is_scored_or_counted(model, rate_hz):
    for score_rest, discarded_s, windows in ((True, 0.0, 4), (False, 0.5, 3)):
        parts = []
        classifier = StreamClassifier(model, rate_hz, on_scores=parts.append)
        classifier.push(tones(1.5, [("low", 0.0, 1.5)], rate_hz))
        classifier.skip(10.0, score_rest=score_rest)
        assert classifier.received_s == pytest.approx(11.5)
        classifier.push(tones(2.0, [], rate_hz))
        classifier.finish()
        assert classifier.discarded_s == pytest.approx(discarded_s)
        assert len(parts) == windows
        assert [round(float(part.start_s[0]), 6) for part in parts][-2:] == [11.5, 12.5]


def test_stopped_stream_returns_running_events_without_further_scoring(model):
    classifier = StreamClassifier(model, RATE_HZ)
    assert classifier.push(tones(2.7, [("low", 0.0, 3.0)])) == []
    assert [event.label for event in classifier.running_events] == ["low"]
    stopped = classifier.finish(score_rest=False)
    assert [(event.label, event.start_s, event.stop_s) for event in stopped] == [("low", 0.0, 2.0)]
    assert classifier.finish() == []


def test_buffer_does_not_grow_with_the_stream(model):
    classifier = StreamClassifier(model, RATE_HZ)
    block = tones(1.0, [])
    for _ in range(50):
        classifier.push(block)
        assert classifier.buffered_samples <= 2.1 * RATE_HZ


@pytest.mark.parametrize("options", [{"hop_s": 0.0}, {"hop_s": 1.5}, {"overlap": 1.0}])
def test_invalid_hop_is_refused(model, options):
    with pytest.raises(SettingsError, match="the hop is|overlap is"):
        StreamClassifier(model, RATE_HZ, **options)
