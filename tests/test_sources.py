"""Where live sound comes from: PCM of every sort, and a real server whose stream stalls, drops and comes back."""

import http.server
import io
import itertools
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from hearing import RATE_HZ, street
from soundmark import sources
from soundmark.errors import AudioError, SettingsError

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
    found = joined(sources.pcm(io.BytesIO(data), rate_hz=8000, channels=channels, sample_format=sample_format))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, WAVE, atol=error + 1e-7)


def test_a_frame_that_is_cut_off_is_none():
    data = encoded(np.repeat(WAVE, 2), "s16")[:-1]
    assert len(joined(sources.pcm(io.BytesIO(data), rate_hz=8000, channels=2))) == len(WAVE) - 1


def test_what_is_no_number_is_silence():
    data = np.array([0.5, np.nan, np.inf, -0.5], "<f4").tobytes()
    blocks = list(sources.pcm(io.BytesIO(1000 * data), rate_hz=8000, sample_format="f32").blocks())
    assert blocks[0].samples[:4].tolist() == [0.5, 0.0, 0.0, -0.5]
    assert len([block for block in blocks if block.note]) == 1
    assert "heard as silence" in blocks[0].note


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
        sources.pcm(io.BytesIO(), **({"rate_hz": 8000} | options))


class Radio(http.server.BaseHTTPRequestHandler):
    """A station that plays ten seconds without saying how long it is; what it does then is its server's plan."""

    def do_GET(self):
        plan = next(self.server.plan)
        if plan == "refuse":
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Type", "audio/ogg")
        self.end_headers()
        data = self.server.sound
        if plan == "stall":
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            time.sleep(1.5)
            self.wfile.write(data[len(data) // 2 :])
        else:
            self.wfile.write(data if plan == "whole" else data[: len(data) // 2])

    def log_message(self, *_):
        pass


@pytest.fixture
def radio():
    """``radio(plan...)``: the address of a real server."""
    servers = []

    def start(*plan: str) -> str:
        file = io.BytesIO()
        soundfile.write(file, street(10.0, [("low", 2.0, 4.0)]), RATE_HZ, format="OGG", subtype="VORBIS")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Radio)
        server.sound, server.plan = file.getvalue(), itertools.chain(plan, itertools.repeat(plan[-1]))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/live"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_address_is_heard(radio):
    source = sources.address(radio("whole"))
    assert source.rate_hz == RATE_HZ
    assert source.is_live
    found = np.concatenate([block.samples for block in itertools.islice(source.blocks(), 100)])
    expected = street(10.0, [("low", 2.0, 4.0)])[: len(found)]
    assert np.corrcoef(found, expected)[0, 1] > 0.99


def test_a_stream_that_drops_is_taken_up_again_and_says_so(radio):
    waited = []
    source = sources.address(radio("cut", "refuse", "refuse", "whole"), sleep=waited.append)
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
    for block in sources.address(radio("stall"), sleep=lambda s: None).blocks():
        if block.note:
            break
        found.append(block.samples)
    assert len(np.concatenate(found)) == pytest.approx(10 * RATE_HZ, abs=2048)


def test_an_address_that_does_not_answer_is_refused(radio):
    with pytest.raises(AudioError, match=r'"http://127.0.0.1:9/live" cannot be heard: Connection refused'):
        sources.address("http://127.0.0.1:9/live")
    with pytest.raises(AudioError, match="cannot be heard"):
        sources.address(radio("refuse"))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "concat:/etc/passwd|x", "street.wav", "pipe://0"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(SettingsError, match="is no address that is heard"):
        sources.address(url)


def test_the_microphone_hands_out_what_its_callback_was_given(monkeypatch):
    """Without a sound card: a module that stands for sounddevice, with its names, calls back as PortAudio does."""
    stereo = np.stack([WAVE[:400], WAVE[:400] / 2], axis=1)

    class InputStream:
        def __init__(self, *, callback, samplerate, blocksize, dtype, device):
            self.callback = callback
            assert (samplerate, blocksize, dtype, device) == (16000, 800, "float32", 3)

        def __enter__(self):
            self.callback(stereo, 400, None, None)
            self.callback(stereo, 400, None, SimpleNamespace(input_overflow=True))

        def __exit__(self, *_):
            pass

    module = SimpleNamespace(
        InputStream=InputStream,
        PortAudioError=OSError,
        query_devices=lambda device, kind: {"index": 3, "default_samplerate": 16000.0},
    )
    monkeypatch.setattr(sources, "_sounddevice", lambda: module)
    source = sources.microphone()
    first, second = itertools.islice(source.blocks(), 2)
    np.testing.assert_allclose(first.samples, stereo.mean(axis=1), atol=1e-7)
    assert (first.note, second.note) == (None, "the microphone lost sound: the machine was busy")


def test_no_microphone_is_said(monkeypatch):
    def none(device, kind):
        raise ValueError("No input device matching 'x'")

    monkeypatch.setattr(sources, "_sounddevice", lambda: SimpleNamespace(PortAudioError=OSError, query_devices=none))
    with pytest.raises(AudioError, match='there is no microphone "x" here: .* Plug one in, or name a source'):
        sources.microphone("x")
