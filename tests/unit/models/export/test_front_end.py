"""The ONNX front end computes the same spectrograms as NumPy."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from soundmark import audio
from soundmark.errors import BundleError, SettingsError
from soundmark.models import bundle, card_text
from soundmark.models.bundle import Bundle
from soundmark.models.classifier import Model
from soundmark.models.export import front_end, waveform
from soundmark.spectrograms import Image, Mel, Representation
from support.exports import MEL_ENLARGED, REPRESENTATIONS, small_model

pytestmark = pytest.mark.slow

SECONDS = (0.5, 4.0, 5.0, 9.0)


def edge_lengths(r: Representation) -> list[int]:
    """Lengths around one frame, one window, and the minimum number of frames that fill all columns."""
    n_fft, hop = r.n_fft, r.hop_samples  # type: ignore[attr-defined]
    filled = (r.size[1] - 1) * hop
    edges = (1, 2, n_fft // 2, n_fft - 1, n_fft, n_fft + 1, filled - 1, filled, 4 * r.rate_hz - 1, 4 * r.rate_hz + 1)
    return sorted({n for n in (*edges, *(round(s * r.rate_hz) for s in SECONDS)) if n > 0})


def front_end_session(r: Representation, samples: int | None, opset: int = 20) -> onnxruntime.InferenceSession:
    """A graph that consists of the front end only, checked by ONNX's own checker."""
    nodes = front_end.Nodes("front_end")
    out = front_end.build(r, nodes, "waveform", samples)
    graph = helper.make_graph(
        nodes.nodes,
        "front_end",
        [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", samples or "samples"])],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, ["batch", 1, *r.shape])],
        nodes.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bundle.session(model.SerializeToString())


def assert_equals_numpy(session: onnxruntime.InferenceSession, r: Representation, waveforms: np.ndarray) -> None:
    (spectrograms,) = session.run(None, {"waveform": waveforms})
    expected = np.stack([r(waveform, r.rate_hz) for waveform in waveforms])
    assert spectrograms.shape == (len(waveforms), 1, *r.shape)
    np.testing.assert_allclose(spectrograms[:, 0], expected, atol=1e-3)


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_front_end_of_any_length_equals_numpy(name):
    r = REPRESENTATIONS[name]
    session = front_end_session(r, None)
    for n in edge_lengths(r):
        assert_equals_numpy(session, r, waveform.signals(n, r.rate_hz))


@pytest.mark.parametrize("name", [*REPRESENTATIONS, "mel-enlarged"])
def test_front_end_of_fixed_length_equals_numpy(name):
    r = REPRESENTATIONS.get(name, MEL_ENLARGED)
    for n in edge_lengths(r):
        assert_equals_numpy(front_end_session(r, n), r, waveform.signals(n, r.rate_hz))


@pytest.mark.parametrize("name", ["mel", "logmel", "logmel-scratch"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_front_end_equals_numpy_on_real_clips(shared, name, dynamic):
    r = REPRESENTATIONS[name]
    clips = sorted((shared / "urbansound8k" / "flac" / "fold1").glob("*.flac"))[::100]
    session = front_end_session(r, None if dynamic else 4 * r.rate_hz)
    for clip in clips:
        samples = audio.read(clip, rate_hz=r.rate_hz).samples
        assert_equals_numpy(session, r, (samples if dynamic else np.resize(samples, 4 * r.rate_hz))[None])


@pytest.mark.parametrize("opset", [13, 17, 18, 20])
def test_front_end_is_valid_from_opset_13_on(opset):
    for name in ("mel", "logmel"):
        r = REPRESENTATIONS[name]
        assert_equals_numpy(front_end_session(r, None, opset), r, waveform.signals(30_000, r.rate_hz))


def test_spectrogram_of_a_clip_does_not_depend_on_its_batch():
    r = REPRESENTATIONS["mel"]
    session, waveforms = front_end_session(r, None), waveform.signals(20_000, r.rate_hz)
    (batch,) = session.run(None, {"waveform": waveforms})
    single = np.concatenate([session.run(None, {"waveform": waveform[None]})[0] for waveform in waveforms])
    np.testing.assert_array_equal(batch, single)


@pytest.mark.parametrize("n", [4, 31, 32, 45, 1024, 2048])
def test_power_spectrum_equals_numpy(n):
    nodes = front_end.Nodes("dft")
    window = np.hanning(n + 2)[1:-1].astype(np.float32)
    out = front_end.power_spectrum(nodes, "frames", window)
    bins = front_end.output_bins(n)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes.nodes,
        "dft",
        [value("frames", TensorProto.FLOAT, ["batch", "count", n])],
        [value(out, TensorProto.FLOAT, ["batch", "count", len(bins)])],
        nodes.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    frames = np.random.default_rng(0).normal(size=(2, 3, n)).astype(np.float32)
    (power,) = bundle.session(model.SerializeToString()).run(None, {"frames": frames})
    expected = np.abs(np.fft.rfft(frames.astype(np.float64) * window)) ** 2
    np.testing.assert_allclose(power, expected[..., bins], rtol=1e-4, atol=1e-4 * n)
    assert set(bins) == set(range(n // 2 + 1))


def test_model_card_lists_the_representations_that_the_front_end_supports():
    for kind in REPRESENTATIONS.values():
        nodes = front_end.Nodes("x")
        if kind.name in card_text.EXPORTABLE:
            assert front_end.build(kind.of({}), nodes, "waveform", 1000)
        else:
            with pytest.raises(SettingsError, match="cannot be exported"):
                front_end.build(kind.of({}), nodes, "waveform", 1000)


def test_unsupported_models_are_refused():
    with pytest.raises(SettingsError, match="a model for image spectrograms cannot be exported with its front end"):
        waveform.with_front_end(small_model(Image()))
    with pytest.raises(SettingsError, match="cannot be exported for any length: use --with-front-end without"):
        waveform.with_front_end(small_model(MEL_ENLARGED), dynamic=True)
    model = small_model(Mel())
    proto = onnx.load_from_string(model.bundle.graph)
    proto.opset_import[0].version = 12
    with pytest.raises(BundleError, match="opset 12, but exporting needs opset 13 or later"):
        waveform.with_front_end(Model(Bundle(proto.SerializeToString(), model.card)))
