"""Live sources: PCM in every format, a real HTTP server whose stream stalls, drops and returns, and a microphone."""

import http.server
import io
import itertools
import re
import time
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from soundmark.audio.capture import microphone, network, pcm
from soundmark.audio.capture.source import mono_block
from soundmark.detection.live import monitor
from soundmark.detection.live.monitor import StreamCallbacks
from soundmark.detection.settings import DetectionSettings
from soundmark.errors import AudioError, SettingsError
from support.models import tone_model
from support.servers import QuietHandler, serving
from support.sounds import RATE_HZ, tones

pytestmark = pytest.mark.slow

WAVE = (0.5 * np.sin(np.arange(4001) / 9)).astype(np.float32)


def encoded(samples: np.ndarray, sample_format: str) -> bytes:
    if sample_format == "f32":
        return samples.astype("<f4").tobytes()
    bits = {"u8": 8, "s16": 16, "s24": 24, "s32": 32}[sample_format]
    integers = np.round(samples.astype(np.float64) * 2 ** (bits - 1)).clip(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if sample_format == "u8":
        return (integers + 128).astype("u1").tobytes()
    if sample_format == "s24":
        return integers.astype("<i4").view("u1").reshape(-1, 4)[:, :3].tobytes()
    return integers.astype({"s16": "<i2", "s32": "<i4"}[sample_format]).tobytes()


def joined(source) -> np.ndarray:
    return np.concatenate([block.samples for block in source.blocks()])


@pytest.mark.parametrize(
    ("sample_format", "error"), [("u8", 2**-8), ("s16", 2**-16), ("s24", 1e-7), ("s32", 1e-7), ("f32", 0)]
)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_every_sample_format_is_read_to_its_last_frame(sample_format, error, channels):
    data = encoded(np.repeat(WAVE, channels), sample_format)
    found = joined(pcm.open_pcm(io.BytesIO(data), rate_hz=8000, channels=channels, sample_format=sample_format))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, WAVE, atol=error + 1e-7)


def test_incomplete_last_frame_is_ignored():
    data = encoded(np.repeat(WAVE, 2), "s16")[:-1]
    assert len(joined(pcm.open_pcm(io.BytesIO(data), rate_hz=8000, channels=2))) == len(WAVE) - 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e13, -3e38])
def test_invalid_samples_are_replaced_by_silence_and_counted(value):
    data = np.array([0.5, value, value, -0.5], "<f4").tobytes()
    blocks = list(pcm.open_pcm(io.BytesIO(1000 * data), rate_hz=8000, sample_format="f32").blocks())
    assert blocks[0].samples[:4].tolist() == [0.5, 0.0, 0.0, -0.5]
    assert sum(block.n_invalid for block in blocks) == 2000


def test_an_invalid_sample_does_not_silence_the_other_channel():
    block = mono_block(np.array([[0.5, np.nan], [0.25, 0.75], [1e13, -1.0]], np.float32))
    assert block.samples.tolist() == [0.25, 0.5, -0.5]
    assert block.n_invalid == 2


def wav(samples: np.ndarray, rate_hz: int = 8000, subtype: str = "PCM_16", container: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(
    ("subtype", "sample_format"),
    [("PCM_U8", "u8"), ("PCM_16", "s16"), ("PCM_24", "s24"), ("PCM_32", "s32"), ("FLOAT", "f32")],
)
@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
@pytest.mark.parametrize("endless", [False, True])
def test_wav_on_a_pipe_is_read_without_header_and_trailing_chunks(subtype, sample_format, container, endless):
    """``endless``: arecord and ffmpeg write a placeholder, as the size is unknown when they write the header."""
    stereo = np.stack([WAVE, WAVE], axis=1)
    data = wav(stereo, subtype=subtype, container=container)
    size_at = data.index(b"data") + 4
    data = data[:size_at] + (b"\xff" * 4 + data[size_at + 4 :] if endless else data[size_at:] + b"LIST\4\0\0\0INFO")
    source = pcm.open_pcm(io.BytesIO(data), rate_hz=8000, channels=2, sample_format=sample_format)
    np.testing.assert_allclose(joined(source), WAVE, atol=2**-7)


def test_wav_of_another_format_is_rejected_with_the_options_to_use():
    source = pcm.open_pcm(io.BytesIO(wav(np.zeros((100, 2)), 44_100, "PCM_24")), rate_hz=8000)
    with pytest.raises(
        SettingsError, match="a WAV of another format: give --rate 44100 --channels 2 --sample-format s24"
    ):
        list(source.blocks())


@pytest.mark.parametrize("length", [4, 11, 20, 30, 43])
def test_wav_truncated_in_its_header_gives_no_blocks(length):
    assert list(pcm.open_pcm(io.BytesIO(wav(WAVE)[:length]), rate_hz=8000).blocks()) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            wav(WAVE, container="FLAC"),
            "standard input contains FLAC, but raw PCM is expected: decode it first, for exam",
        ),
        (wav(WAVE, container="OGG", subtype="VORBIS"), "standard input contains Ogg"),
        (wav(WAVE, subtype="MS_ADPCM"), "standard input contains a WAV that is not PCM"),
    ],
)
def test_encoded_audio_is_rejected(data, message):
    with pytest.raises(AudioError, match=message):
        list(pcm.open_pcm(io.BytesIO(data), rate_hz=8000).blocks())


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5])
def test_shortest_inputs_are_read_to_their_last_frame(n):
    data = encoded(WAVE[:n], "s16")
    assert sum(len(block.samples) for block in pcm.open_pcm(io.BytesIO(data), rate_hz=8000).blocks()) == n
    slowest = pcm.open_pcm(io.BytesIO(encoded(WAVE[: 9 * n], "u8")), rate_hz=40, sample_format="u8")
    assert sum(len(block.samples) for block in slowest.blocks()) == 9 * n


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_format": "s61"}, 'there is no sample format "s61". Did you mean "s16"'),
        ({"rate_hz": 4}, "the sample rate is 4 Hz: expected 40 to 1000000 Hz"),
        ({"channels": 100}, "channels is 100: expected a whole number from 1 to 64"),
    ],
)
def test_invalid_pcm_options_are_rejected(options, message):
    with pytest.raises(SettingsError, match=message):
        pcm.open_pcm(io.BytesIO(), **({"rate_hz": 8000} | options))


class StreamHandler(QuietHandler, http.server.BaseHTTPRequestHandler):
    """Send ten seconds of audio without a content length, according to the next behaviour of the server."""

    def do_GET(self):
        behaviour = next(self.server.behaviours)
        if behaviour == "refuse":
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Type", self.server.content_type)
        if behaviour == "file":
            self.send_header("Content-Length", str(len(self.server.sound)))
        self.end_headers()
        data = self.server.sound
        if behaviour in ("stall", "stall and drop"):
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            time.sleep(1.5)
            self.wfile.write(data[len(data) // 2 :] if behaviour == "stall" else data[len(data) // 2 : -len(data) // 4])
        else:
            self.wfile.write(data[: len(data) // 2] if behaviour == "drop" else data)


@pytest.fixture
def radio():
    """``radio(*behaviours)`` starts an HTTP server, with a behaviour for each connection, and returns its URL."""
    servers = ExitStack()

    def start(*behaviours: str, sound: bytes | None = None, content_type: str = "audio/ogg") -> str:
        pytest.importorskip("av", reason="network streams need PyAV: pip install soundmark[codecs]")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), StreamHandler)
        server.sound = sound or wav(tones(10.0, [("low", 2.0, 4.0)]), RATE_HZ, "VORBIS", "OGG")
        server.content_type = content_type
        server.behaviours = itertools.chain(behaviours, itertools.repeat(behaviours[-1]))
        return f"{servers.enter_context(serving(server))}/live"

    with servers:
        yield start


def test_stream_is_received(radio):
    source = network.open_network(radio("complete"))
    assert source.rate_hz == RATE_HZ
    assert source.is_live
    found = np.concatenate([block.samples for block in itertools.islice(source.blocks(), 100)])
    expected = tones(10.0, [("low", 2.0, 4.0)])[: len(found)]
    assert np.corrcoef(found, expected)[0, 1] > 0.99


def test_dropped_stream_is_reconnected_with_notes(radio):
    waits_s = []
    source = network.open_network(radio("drop", "refuse", "refuse", "complete"), sleep=waits_s.append)
    notes, gaps, samples = [], [], 0
    for block in source.blocks():
        samples += len(block.samples)
        if block.lost_s:
            gaps.append(block.note)
        if block.note:
            notes.append(block.note)
        if len(notes) == 4 and samples > 12 * RATE_HZ:
            break
    assert waits_s == [1.0, 2.0, 4.0]
    assert "dropped (" in notes[0]
    assert notes[0].endswith("trying again in 1 s")
    assert "trying again in 2 s" in notes[1]
    assert "is connected again after" in notes[3]
    assert gaps == [notes[3]]


def test_stalled_stream_continues_without_loss(radio):
    found = []
    for block in network.open_network(radio("stall"), sleep=lambda s: None).blocks():
        if block.note:
            break
        found.append(block.samples)
    assert len(np.concatenate(found)) == pytest.approx(10 * RATE_HZ, abs=2048)


def test_unreachable_url_raises_an_error(radio):
    with pytest.raises(AudioError, match='cannot open "http://127.0.0.1:9/live": Connection refused'):
        network.open_network("http://127.0.0.1:9/live")
    with pytest.raises(AudioError, match="cannot open"):
        network.open_network(radio("refuse"))


def test_events_of_a_stream_that_stalls_drops_and_returns_have_correct_times(radio, monkeypatch):
    """From URL to events. The tone is at 2 to 4 s of the sound, which the server sends twice."""
    monkeypatch.setattr(monitor, "STALLED_S", 0.5)
    monkeypatch.setattr(monitor, "MAX_QUEUED_S", 60.0)  # the server sends as fast as it can
    monkeypatch.setattr(network, "BACK_OFF_S", (0.3, 0.6))
    notes, events, read = [], [], []
    source = network.open_network(radio("stall and drop", "refuse", "complete"))

    def blocks():
        for block in source.blocks():
            read.append(block)
            if len([block for block in read if "dropped" in (block.note or "")]) > 2:
                return
            yield block

    callbacks = StreamCallbacks(event=lambda event, began: events.append(event), note=notes.append)
    state = monitor.monitor(tone_model(), replace(source, blocks=blocks), DetectionSettings(), callbacks, hop_s=0.5)
    assert [note.split(" after")[0].split(":")[0] for note in notes[:2]] == [
        "no audio received for 0.5 s",
        "audio received again",
    ]
    ours = [note.removeprefix(f'"{source.name}" ') for note in notes if source.name in note]
    assert [ours[0][:9], ours[0][-21:], ours[1][-21:]] == [
        "dropped (",
        "trying again in 0.3 s",
        "trying again in 0.6 s",
    ]
    assert re.fullmatch(r"is connected again after \d s", ours[2])
    lost_s = sum(block.lost_s for block in read)
    assert lost_s >= 0.9
    assert state.lost_s == pytest.approx(lost_s)
    before_s = state.analyzed_s - lost_s - 10.0  # received before the drop
    low = [event for event in events if event.label == "low"]
    starts, stops = [[getattr(event, at) for event in low] for at in ("start_s", "stop_s")]
    assert starts == pytest.approx([2.0, before_s + lost_s + 2.0], abs=0.5)
    assert stops == pytest.approx([4.0, before_s + lost_s + 4.0], abs=0.5)


def blocks_before_drop(source) -> list:
    return list(itertools.takewhile(lambda block: "dropped" not in (block.note or ""), source.blocks()))


def test_damaged_packet_is_skipped(radio):
    clean = wav(tones(10.0, [("low", 0.0, 10.0)]), RATE_HZ, "MPEG_LAYER_III", "MP3")
    middle = len(clean) // 2
    damaged = clean[:middle] + bytes(range(256)) * 12 + clean[middle + 3072 :]
    url = radio("complete", sound=damaged, content_type="audio/mpeg")
    found = blocks_before_drop(network.open_network(url, sleep=lambda s: None))
    missing_s = 10.0 - sum(len(block.samples) for block in found) / RATE_HZ
    assert missing_s < 3.0
    assert found[-1].samples.std() > 0.1


def test_dropped_endless_wav_is_not_a_complete_file(radio):
    data = wav(tones(4.0, []), RATE_HZ)
    size_at = data.index(b"data") + 4
    endless = data[:4] + b"\xff\xff\xff\x7f" + data[8:size_at] + b"\xff\xff\xff\x7f" + data[size_at + 4 :]
    url = radio("complete", sound=endless, content_type="audio/wav")
    blocks = network.open_network(url, sleep=lambda s: None).blocks()
    notes = [block.note for block in itertools.islice(blocks, 2000) if block.note]
    assert "dropped (" in notes[0]
    assert "is connected again" in notes[1]


def test_file_at_a_url_is_read_to_its_end(radio):
    found = list(network.open_network(radio("file", sound=wav(WAVE), content_type="audio/wav")).blocks())
    assert sum(len(block.samples) for block in found) == len(WAVE)


def test_gap_in_the_timestamps_counts_as_lost(radio):
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("flac", rate=8000, layout="mono")
        for number in range(40):  # 0.1 s each; a gap of 3 s after the twentieth
            frame = av.AudioFrame.from_ndarray(np.full((1, 800), 99, np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = 8000, 800 * number + (24_000 if number >= 20 else 0)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    url = radio("complete", sound=file.getvalue(), content_type="video/x-matroska")
    found = blocks_before_drop(network.open_network(url, sleep=lambda s: None))
    lost = [(round(block.lost_s, 1), index) for index, block in enumerate(found) if block.lost_s]
    before = sum(len(block.samples) for block in found[: lost[0][1]])
    assert [seconds for seconds, _ in lost] == [3.0]
    assert before == pytest.approx(16_000, abs=5000)  # FLAC has another frame length


def test_remote_playlist_cannot_open_local_files(radio, tmp_path):
    (tmp_path / "mine.wav").write_bytes(wav(WAVE))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{tmp_path}/mine.wav\n#EXT-X-ENDLIST\n"
    url = radio("complete", sound=playlist.encode(), content_type="application/vnd.apple.mpegurl")
    with pytest.raises(AudioError, match="cannot open|contains no audio stream"):
        network.open_network(url)


def test_password_is_not_displayed(radio):
    url = radio("drop", "refuse")
    source = network.open_network(url.replace("://", "://me:secret@"), sleep=lambda s: None)
    notes = [block.note for block in itertools.islice(source.blocks(), 400) if block.note]
    assert source.name == url
    assert notes
    assert not [note for note in notes if "secret" in note]
    with pytest.raises(AudioError, match='^cannot open "http://127.0.0.1:9/live"'):
        network.open_network("http://me:secret@127.0.0.1:9/live")


@pytest.mark.parametrize(
    ("url", "displayed"),
    [
        ("http://host/a?b=1", "http://host/a?b=1"),
        ("http://host:8080/@me/live", "http://host:8080/@me/live"),
        ("http://me:secret@host:8080/live", "http://host:8080/live"),
        ("http://me:sec@ret@host/live", "http://host/live"),
        ("http://me:sec/secret@host/live", "http://host/live"),
        ("http://me:1#secret@host/live", "http://host/live"),
        ("me:secret@host/live", "host/live"),
        ("http:/me:secret@host", "host"),
    ],
)
def test_a_password_is_removed_wherever_it_ends(url, displayed):
    assert network.without_password(url) == displayed


def test_the_message_for_an_unsupported_url_does_not_contain_the_password():
    with pytest.raises(SettingsError, match='^"ftp://host/live" is not a supported stream URL'):
        network.open_network("ftp://me:secret@host/live")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "concat:/etc/passwd|x", "street.wav", "pipe://0"])
def test_unsupported_url_is_rejected(url):
    with pytest.raises(SettingsError, match="is not a supported stream URL"):
        network.open_network(url)


def test_microphone_yields_the_blocks_of_its_callback(monkeypatch):
    """A fake sounddevice module calls the callback like PortAudio, so that no sound card is needed.

    By the clock of the sound card, 0.3 s are lost between the second and the third block.
    """
    stereo = np.stack([WAVE[:400], WAVE[:400] / 2], axis=1)

    class InputStream:
        def __init__(self, *, callback, samplerate, blocksize, dtype, device):
            self.callback = callback
            assert (samplerate, blocksize, dtype, device) == (16000, 800, "float32", 3)

        def __enter__(self):
            overflow = SimpleNamespace(input_overflow=True)
            self.callback(stereo, 400, SimpleNamespace(inputBufferAdcTime=7.0), None)
            self.callback(stereo, 400, SimpleNamespace(inputBufferAdcTime=7.026), None)
            self.callback(stereo, 400, SimpleNamespace(inputBufferAdcTime=7.35), overflow)
            self.callback(stereo, 400, SimpleNamespace(inputBufferAdcTime=7.375), overflow)

        def __exit__(self, *_):
            pass

    module = SimpleNamespace(
        InputStream=InputStream,
        PortAudioError=OSError,
        query_devices=lambda device, kind: {"index": 3, "default_samplerate": 16000.0},
    )
    monkeypatch.setattr(microphone, "_sounddevice", lambda: module)
    source = microphone.open_microphone()
    found = list(itertools.islice(source.blocks(), 4))
    np.testing.assert_allclose(found[0].samples, stereo.mean(axis=1), atol=1e-7)
    assert [block.note for block in found] == [None, None, "the microphone lost audio: the system was too busy", None]
    assert [round(block.lost_s, 3) for block in found] == [0.0, 0.0, 0.299, 0.0]


def test_unknown_microphone_raises_an_error(monkeypatch):
    def fail(device, kind):
        raise ValueError("No input device matching 'x'")

    monkeypatch.setattr(microphone, "_sounddevice", lambda: SimpleNamespace(PortAudioError=OSError, query_devices=fail))
    with pytest.raises(AudioError, match='cannot find microphone "x": .* Connect one, or give another source'):
        microphone.open_microphone("x")


def test_microphone_in_use_raises_an_error(monkeypatch):
    class InputStream:
        def __init__(self, **_):
            raise OSError("Device unavailable")

    info = {"index": 3, "default_samplerate": 16000.0}
    module = SimpleNamespace(PortAudioError=OSError, query_devices=lambda *_: info, InputStream=InputStream)
    monkeypatch.setattr(microphone, "_sounddevice", lambda: module)
    with pytest.raises(AudioError, match="cannot record from the microphone: Device unavailable. Is it in use"):
        next(microphone.open_microphone().blocks())
