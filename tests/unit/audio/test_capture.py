"""Where live sound comes from: PCM of every sort, and a real server whose stream stalls, drops and comes back."""

import http.server
import io
import itertools
import re
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from soundmark.audio.capture import microphone, network, pcm
from soundmark.detection.live import monitor
from soundmark.detection.live.monitor import StreamCallbacks
from soundmark.detection.settings import DetectionSettings
from soundmark.errors import AudioError, SettingsError
from support.models import tone_model
from support.sounds import RATE_HZ, tones

WAVE = (0.5 * np.sin(np.arange(4001) / 9)).astype(np.float32)


def encoded(samples: np.ndarray, sample_format: str) -> bytes:
    if sample_format == "f32":
        return samples.astype("<f4").tobytes()
    bits = {"u8": 8, "s16": 16, "s24": 24, "s32": 32}[sample_format]
    whole = np.round(samples.astype(np.float64) * 2 ** (bits - 1)).clip(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if sample_format == "u8":
        return (whole + 128).astype("u1").tobytes()
    if sample_format == "s24":
        return whole.astype("<i4").view("u1").reshape(-1, 4)[:, :3].tobytes()
    return whole.astype({"s16": "<i2", "s32": "<i4"}[sample_format]).tobytes()


def joined(source) -> np.ndarray:
    return np.concatenate([block.samples for block in source.blocks()])


@pytest.mark.parametrize(
    ("sample_format", "error"), [("u8", 2**-8), ("s16", 2**-16), ("s24", 1e-7), ("s32", 1e-7), ("f32", 0)]
)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_every_format_is_read_to_its_last_frame(sample_format, error, channels):
    data = encoded(np.repeat(WAVE, channels), sample_format)
    found = joined(pcm.open_pcm(io.BytesIO(data), rate_hz=8000, channels=channels, sample_format=sample_format))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, WAVE, atol=error + 1e-7)


def test_a_frame_that_is_cut_off_is_none():
    data = encoded(np.repeat(WAVE, 2), "s16")[:-1]
    assert len(joined(pcm.open_pcm(io.BytesIO(data), rate_hz=8000, channels=2))) == len(WAVE) - 1


def test_what_is_no_number_is_silence():
    data = np.array([0.5, np.nan, np.inf, -0.5], "<f4").tobytes()
    blocks = list(pcm.open_pcm(io.BytesIO(1000 * data), rate_hz=8000, sample_format="f32").blocks())
    assert blocks[0].samples[:4].tolist() == [0.5, 0.0, 0.0, -0.5]
    assert len([block for block in blocks if block.note]) == 1
    assert "heard as silence" in blocks[0].note


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
def test_a_wav_is_heard_without_its_header_and_what_follows_its_data(subtype, sample_format, container, endless):
    """As arecord and ffmpeg write to a pipe: the size of the data is not known when the header is written."""
    stereo = np.stack([WAVE, WAVE], axis=1)
    data = wav(stereo, subtype=subtype, container=container)
    place = data.index(b"data") + 4
    data = data[:place] + (b"\xff" * 4 + data[place + 4 :] if endless else data[place:] + b"LIST\4\0\0\0INFO")
    source = pcm.open_pcm(io.BytesIO(data), rate_hz=8000, channels=2, sample_format=sample_format)
    np.testing.assert_allclose(joined(source), WAVE, atol=2**-7)


def test_a_wav_of_another_kind_is_refused_with_what_to_type():
    source = pcm.open_pcm(io.BytesIO(wav(np.zeros((100, 2)), 44_100, "PCM_24")), rate_hz=8000)
    with pytest.raises(
        SettingsError, match="a WAV of another kind: give --rate 44100 --channels 2 --sample-format s24"
    ):
        list(source.blocks())


@pytest.mark.parametrize("cut", [4, 11, 20, 30, 43])
def test_a_wav_that_ends_in_its_header_has_no_sound(cut):
    assert list(pcm.open_pcm(io.BytesIO(wav(WAVE)[:cut]), rate_hz=8000).blocks()) == []


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (wav(WAVE, container="FLAC"), "what comes in is FLAC, and PCM is heard here: decode it first, as ffmpeg"),
        (wav(WAVE, container="OGG", subtype="VORBIS"), "what comes in is Ogg"),
        (wav(WAVE, subtype="MS_ADPCM"), "what comes in is a WAV whose format is no PCM"),
    ],
)
def test_what_is_encoded_is_refused_and_not_heard_as_noise(data, why):
    with pytest.raises(AudioError, match=why):
        list(pcm.open_pcm(io.BytesIO(data), rate_hz=8000).blocks())


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5])
def test_the_shortest_pipes_are_read_to_their_last_frame(n):
    data = encoded(WAVE[:n], "s16")
    assert sum(len(block.samples) for block in pcm.open_pcm(io.BytesIO(data), rate_hz=8000).blocks()) == n
    slowest = pcm.open_pcm(io.BytesIO(encoded(WAVE[: 9 * n], "u8")), rate_hz=40, sample_format="u8")
    assert sum(len(block.samples) for block in slowest.blocks()) == 9 * n


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"sample_format": "s61"}, 'there is no sample format "s61". Did you mean "s16"'),
        ({"rate_hz": 4}, "the rate is 4 Hz: give the one it was recorded at, 40 to 1000000"),
        ({"channels": 100}, "there are 100 channels: give a number from 1 to 64"),
    ],
)
def test_pcm_that_cannot_be_meant_is_refused(options, why):
    with pytest.raises(SettingsError, match=why):
        pcm.open_pcm(io.BytesIO(), **({"rate_hz": 8000} | options))


class Radio(http.server.BaseHTTPRequestHandler):
    """A station that plays ten seconds without saying how long it is; what it does then is its server's plan."""

    def do_GET(self):
        plan = next(self.server.plan)
        if plan == "refuse":
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Type", self.server.kind)
        if plan == "file":
            self.send_header("Content-Length", str(len(self.server.sound)))
        self.end_headers()
        data = self.server.sound
        if plan in ("stall", "stall and cut"):
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            time.sleep(1.5)
            self.wfile.write(data[len(data) // 2 :] if plan == "stall" else data[len(data) // 2 : -len(data) // 4])
        else:
            self.wfile.write(data[: len(data) // 2] if plan == "cut" else data)

    def log_message(self, *_):
        pass


@pytest.fixture
def radio():
    """``radio(plan...)``: the address of a real server."""
    servers = []

    def start(*plan: str, sound: bytes | None = None, kind: str = "audio/ogg") -> str:
        pytest.importorskip("av", reason="addresses are heard through PyAV: pip install soundmark[codecs]")
        played = sound or wav(tones(10.0, [("low", 2.0, 4.0)]), RATE_HZ, "VORBIS", "OGG")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Radio)
        server.kind, server.sound, server.plan = kind, played, itertools.chain(plan, itertools.repeat(plan[-1]))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/live"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_address_is_heard(radio):
    source = network.open_network(radio("whole"))
    assert source.rate_hz == RATE_HZ
    assert source.is_live
    found = np.concatenate([block.samples for block in itertools.islice(source.blocks(), 100)])
    expected = tones(10.0, [("low", 2.0, 4.0)])[: len(found)]
    assert np.corrcoef(found, expected)[0, 1] > 0.99


def test_a_stream_that_drops_is_taken_up_again_and_says_so(radio):
    waited = []
    source = network.open_network(radio("cut", "refuse", "refuse", "whole"), sleep=waited.append)
    notes, lost, samples = [], 0.0, 0
    for block in source.blocks():
        samples += len(block.samples)
        lost += block.lost_s
        if block.note:
            notes.append(block.note)
        if len(notes) == 4 and samples > 12 * RATE_HZ:
            break
    assert waited == [1.0, 2.0, 4.0]
    assert "dropped (" in notes[0]
    assert notes[0].endswith("trying again in 1 s")
    assert "trying again in 2 s" in notes[1]
    assert "is back after" in notes[3]
    assert lost >= 0


def test_a_stream_that_stalls_goes_on_where_it_was(radio):
    found = []
    for block in network.open_network(radio("stall"), sleep=lambda s: None).blocks():
        if block.note:
            break
        found.append(block.samples)
    assert len(np.concatenate(found)) == pytest.approx(10 * RATE_HZ, abs=2048)


def test_an_address_that_does_not_answer_is_refused(radio):
    with pytest.raises(AudioError, match=r'"http://127.0.0.1:9/live" cannot be heard: Connection refused'):
        network.open_network("http://127.0.0.1:9/live")
    with pytest.raises(AudioError, match="cannot be heard"):
        network.open_network(radio("refuse"))


def test_a_station_that_stalls_drops_and_comes_back_is_heard_with_true_times(radio, monkeypatch):
    """The whole way: address to events. The tone is two to four seconds into what the station plays, twice."""
    monkeypatch.setattr(monitor, "STALLED_S", 0.5)
    monkeypatch.setattr(monitor, "MOST_WAITING_S", 60.0)  # the station sends as fast as it can
    monkeypatch.setattr(network, "BACK_OFF_S", (0.3, 0.6))
    notes, events, read = [], [], []
    source = network.open_network(radio("stall and cut", "refuse", "whole"))

    def blocks():
        for block in source.blocks():
            read.append(block)
            if len([block for block in read if "dropped" in (block.note or "")]) > 2:
                return
            yield block

    told = StreamCallbacks(event=lambda event, began: events.append(event), note=notes.append)
    state = monitor.monitor(tone_model(), replace(source, blocks=blocks), DetectionSettings(), told, hop_s=0.5)
    assert [note.split(",")[0].split(":")[0] for note in notes[:2]] == [
        "no sound has come for 0.5 s",
        "sound comes again",
    ]
    ours = [note.removeprefix(f'"{source.name}" ') for note in notes if source.name in note]
    assert [ours[0][:9], ours[0][-21:], ours[1][-21:]] == [
        "dropped (",
        "trying again in 0.3 s",
        "trying again in 0.6 s",
    ]
    assert re.fullmatch(r"is back after \d s", ours[2])
    gone_s = sum(block.lost_s for block in read)
    assert 0.9 <= gone_s <= 10.0
    assert state.lost_s == pytest.approx(gone_s)
    before_s = state.analyzed_s - gone_s - 10.0  # what had come before it dropped
    low = [event for event in events if event.label == "low"]
    starts, stops = [[getattr(event, at) for event in low] for at in ("start_s", "stop_s")]
    assert starts == pytest.approx([2.0, before_s + gone_s + 2.0], abs=0.5)
    assert stops == pytest.approx([4.0, before_s + gone_s + 4.0], abs=0.5)


def until_it_drops(source) -> list:
    return list(itertools.takewhile(lambda block: "dropped" not in (block.note or ""), source.blocks()))


def test_a_packet_that_is_damaged_is_left_out_and_the_stream_goes_on(radio):
    clean = wav(tones(10.0, [("low", 0.0, 10.0)]), RATE_HZ, "MPEG_LAYER_III", "MP3")
    middle = len(clean) // 2
    damaged = clean[:middle] + bytes(range(256)) * 12 + clean[middle + 3072 :]
    found = until_it_drops(network.open_network(radio("whole", sound=damaged, kind="audio/mpeg"), sleep=lambda s: None))
    missing_s = 10.0 - sum(len(block.samples) for block in found) / RATE_HZ
    assert missing_s < 3.0
    assert found[-1].samples.std() > 0.1


def test_a_wav_without_an_end_that_drops_is_no_file_that_is_over(radio):
    data = wav(tones(4.0, []), RATE_HZ)
    place = data.index(b"data") + 4
    endless = data[:4] + b"\xff\xff\xff\x7f" + data[8:place] + b"\xff\xff\xff\x7f" + data[place + 4 :]
    blocks = network.open_network(radio("whole", sound=endless, kind="audio/wav"), sleep=lambda s: None).blocks()
    notes = [block.note for block in itertools.islice(blocks, 2000) if block.note]
    assert "dropped (" in notes[0]
    assert "is back" in notes[1]


def test_a_file_at_an_address_is_heard_to_its_end(radio):
    found = list(network.open_network(radio("file", sound=wav(WAVE), kind="audio/wav")).blocks())
    assert sum(len(block.samples) for block in found) == len(WAVE)


def test_sound_that_the_server_left_out_counts_as_time_that_went_by(radio):
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("flac", rate=8000, layout="mono")
        for number in range(40):  # 0.1 s each; three seconds lack behind the twentieth
            frame = av.AudioFrame.from_ndarray(np.full((1, 800), 99, np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = 8000, 800 * number + (24_000 if number >= 20 else 0)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    source = network.open_network(radio("whole", sound=file.getvalue(), kind="video/x-matroska"), sleep=lambda s: None)
    found = until_it_drops(source)
    lost = [(round(block.lost_s, 1), index) for index, block in enumerate(found) if block.lost_s]
    before = sum(len(block.samples) for block in found[: lost[0][1]])
    assert [seconds for seconds, _ in lost] == [3.0]
    assert before == pytest.approx(16_000, abs=5000)  # FLAC's frames are of their own length


def test_a_playlist_from_elsewhere_opens_no_file_here(radio, tmp_path):
    (tmp_path / "mine.wav").write_bytes(wav(WAVE))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{tmp_path}/mine.wav\n#EXT-X-ENDLIST\n"
    url = radio("whole", sound=playlist.encode(), kind="application/vnd.apple.mpegurl")
    with pytest.raises(AudioError, match="cannot be heard|holds no sound"):
        network.open_network(url)


def test_a_password_is_not_shown(radio):
    url = radio("cut", "refuse")
    source = network.open_network(url.replace("://", "://me:secret@"), sleep=lambda s: None)
    notes = [block.note for block in itertools.islice(source.blocks(), 400) if block.note]
    assert source.name == url
    assert notes
    assert not [note for note in notes if "secret" in note]
    with pytest.raises(AudioError, match='^"http://127.0.0.1:9/live" cannot be heard'):
        network.open_network("http://me:secret@127.0.0.1:9/live")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "concat:/etc/passwd|x", "street.wav", "pipe://0"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(SettingsError, match="is no address that is heard"):
        network.open_network(url)


def test_the_microphone_hands_out_what_its_callback_was_given(monkeypatch):
    """Without a sound card: a module that stands for sounddevice, with its names, calls back as PortAudio does.

    Of the three blocks, 0.3 s lie lost between the second and the third: the sound card's clock says so.
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
    assert [block.note for block in found] == [None, None, "the microphone lost sound: the machine was busy", None]
    assert [round(block.lost_s, 3) for block in found] == [0.0, 0.0, 0.299, 0.0]


def test_no_microphone_is_said(monkeypatch):
    def none(device, kind):
        raise ValueError("No input device matching 'x'")

    monkeypatch.setattr(microphone, "_sounddevice", lambda: SimpleNamespace(PortAudioError=OSError, query_devices=none))
    with pytest.raises(AudioError, match='there is no microphone "x" here: .* Plug one in, or name a source'):
        microphone.open_microphone("x")


def test_a_microphone_that_is_taken_is_said(monkeypatch):
    class InputStream:
        def __init__(self, **_):
            raise OSError("Device unavailable")

    info = {"index": 3, "default_samplerate": 16000.0}
    module = SimpleNamespace(PortAudioError=OSError, query_devices=lambda *_: info, InputStream=InputStream)
    monkeypatch.setattr(microphone, "_sounddevice", lambda: module)
    with pytest.raises(AudioError, match="the microphone cannot be heard: Device unavailable. Is it in use"):
        next(microphone.open_microphone().blocks())
