"""Backbones from ONNX files: what they take and give, from metadata or options, and which files are refused."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from soundmark.errors import BundleError, SettingsError
from soundmark.models.pretrained.backbone_file import load_backbone_file, read_backbone_file
from soundmark.spectrograms import LogMel, Mel, Waveform
from support import hostile_graphs
from support.backbones import write_mn04, write_small
from support.memory import run_measured
from support.models import random_backbone

SOUNDS = np.random.default_rng(0).normal(0, 0.1, (5, 16_000)).astype(np.float32)


def loaded(path, representation=None, *, window_s=None, output=None, rate_hz=None):
    found = read_backbone_file(str(path), representation or LogMel(), output=output, rate_hz=rate_hz)
    kind = found.representation if window_s is None else found.representation.for_window(window_s)
    return load_backbone_file(str(path), kind, found.output, found.sha256), found


def run(path, output, sounds, name="sound"):
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run([output], {name: sounds})[0]


def changed(path, change):
    proto = onnx.load_from_string(path.read_bytes())
    change(proto)
    path.write_bytes(proto.SerializeToString())
    return path


def test_the_embedding_is_that_of_the_file(tmp_path):
    path = write_small(tmp_path / "small.onnx")
    backbone, found = loaded(path)
    assert found.representation == Waveform(rate_hz=16000, window_samples=16_000)
    assert (found.output, found.fixed_window) == ("embedding", True)
    assert backbone.n_features == backbone.embedding_size == 64
    np.testing.assert_allclose(backbone.features(SOUNDS[:, None]), run(path, "embedding", SOUNDS), rtol=1e-5, atol=1e-6)


def test_only_what_the_embedding_depends_on_is_kept(tmp_path):
    """The scores of a classifier are ten times the size of the embedding; they may use operators that are refused."""

    def add(proto):
        proto.graph.node.append(helper.make_node("TopK", ["scores", "k"], ["best", "which"], axis=1))
        proto.graph.initializer.append(numpy_helper.from_array(np.array([2]), "k"))
        proto.graph.output.append(onnx.ValueInfoProto(name="best"))

    path = changed(write_small(tmp_path / "small.onnx"), add)
    backbone, _ = loaded(path)
    operators = {node.op_type for node in onnx.load_from_string(backbone.graph).graph.node}
    assert "STFT" in operators
    assert "TopK" not in operators
    with pytest.raises(BundleError, match="the operator TopK is not allowed"):
        loaded(path, output="best")


@pytest.mark.parametrize("opset", [17, 18])
def test_a_variable_length_becomes_the_window_of_the_recipe(tmp_path, opset):
    path = write_small(tmp_path / "small.onnx", samples="samples")
    backbone, found = loaded(path, window_s=0.5)
    assert not found.fixed_window
    expected = run(path, "embedding", SOUNDS[:, :8000])
    np.testing.assert_allclose(backbone.features(SOUNDS[:, None, :8000]), expected, rtol=1e-5, atol=1e-6)


def test_the_duration_in_the_metadata_is_the_window(tmp_path):
    metadata = {"sample_rate": "16000", "sample_duration": "0.5", "embedding_outputs_key": "embedding"}
    found = loaded(write_small(tmp_path / "small.onnx", samples="samples", metadata=metadata))[1]
    assert (found.representation.window_samples, found.fixed_window) == (8000, True)


def test_a_batch_of_one_is_run_window_by_window(tmp_path):
    path = write_small(tmp_path / "small.onnx", batch=1)
    backbone, _ = loaded(path)
    assert backbone.rows_per_run == 1
    expected = np.concatenate([run(path, "embedding", sound[None]) for sound in SOUNDS])
    np.testing.assert_allclose(backbone.features(SOUNDS[:, None]), expected, rtol=1e-5, atol=1e-6)


def test_a_channel_axis_is_added(tmp_path):
    path = write_small(tmp_path / "small.onnx", channel=True)
    backbone, _ = loaded(path)
    expected = run(path, "embedding", SOUNDS[:, None])
    np.testing.assert_allclose(backbone.features(SOUNDS[:, None]), expected, rtol=1e-5, atol=1e-6)


def test_embeddings_over_time_are_averaged(tmp_path):
    path = write_small(tmp_path / "small.onnx", axes="time")
    backbone, _ = loaded(path)
    frames = run(path, "embedding", SOUNDS)
    assert frames.ndim == 3
    np.testing.assert_allclose(backbone.features(SOUNDS[:, None]), frames.mean(axis=1), rtol=1e-4, atol=1e-5)


def test_embeddings_over_frequency_and_time_are_averaged(tmp_path):
    def reshape(proto):
        proto.graph.initializer.append(numpy_helper.from_array(np.array([-1, 4, 2, 8]), "four"))
        proto.graph.node.append(helper.make_node("Reshape", ["embedding", "four"], ["map"]))
        proto.graph.output.append(onnx.ValueInfoProto(name="map"))

    path = changed(write_small(tmp_path / "small.onnx"), reshape)
    backbone, _ = loaded(path, output="map")
    expected = run(path, "map", SOUNDS).mean(axis=(1, 2))
    np.testing.assert_allclose(backbone.features(SOUNDS[:, None]), expected, rtol=1e-4, atol=1e-5)


def test_a_tensor_inside_the_graph_may_be_the_embedding(tmp_path):
    path = write_small(tmp_path / "small.onnx")
    backbone, found = loaded(path, output="max")
    assert (found.output, backbone.n_features) == ("max", 32)


def test_sample_rate_and_output_may_be_given(tmp_path):
    path = changed(write_small(tmp_path / "small.onnx", metadata={}), lambda proto: None)
    found = loaded(path, output="scores", rate_hz=8000)[1]
    assert (found.representation.rate_hz, found.output) == (8000, "scores")
    settings = Waveform(rate_hz=12000, window_samples=16_000)
    assert loaded(path, settings)[1].representation == settings


def test_the_licence_in_the_metadata_is_kept(tmp_path):
    metadata = {"sample_rate": "16000", "license": "Apache-2.0"}
    assert loaded(write_small(tmp_path / "small.onnx", metadata=metadata))[1].licence == "Apache-2.0"


def test_mn04_with_its_front_end_gives_the_same_features(tmp_path):
    mn04 = random_backbone((128, 100))
    backbone, found = loaded(write_mn04(tmp_path / "mn04.onnx", mn04, 1.0))
    assert found.representation == Waveform(rate_hz=32000, window_samples=32_000)
    sounds = np.random.default_rng(0).normal(0, 0.1, (3, 32_000)).astype(np.float32)
    sounds[1, 20_000:] = 0
    expected = mn04.features(np.stack([LogMel(size=(128, 100))(sound, 32000) for sound in sounds]))
    difference = np.abs(backbone.features(sounds[:, None]) - expected).max()
    assert difference < 1e-4 * np.abs(expected).max()


def test_a_model_of_soundmark_is_a_backbone_for_its_spectrograms(tmp_path):
    from support.exports import small_model

    model = small_model(Mel(size=(32, 32)))
    model.save(tmp_path / "model.onnx")
    backbone, found = loaded(tmp_path / "model.onnx")
    assert found.representation == Mel(size=(32, 32))
    spectrograms = np.random.default_rng(0).normal(size=(2, 32, 32)).astype(np.float32)
    expected = model.bundle.run(spectrograms, found.output)
    np.testing.assert_allclose(backbone.features(spectrograms), expected, rtol=1e-5, atol=1e-6)


def test_a_spectrogram_without_metadata_is_that_of_the_recipe(tmp_path):
    path = tmp_path / "mn04.onnx"
    path.write_bytes(random_backbone((128, 100)).graph)
    _, found = loaded(path)
    assert (found.representation, found.fixed_window) == (LogMel(size=(128, 100)), True)
    with pytest.raises(BundleError, match=r"takes spectrograms \[1, 128, 100\], but .* is mel \[1, 64, 64\]"):
        loaded(path, Mel())


def test_graphs_with_a_later_opset_are_kept(tmp_path):
    path = write_small(tmp_path / "small.onnx", opset=17)
    proto = onnx.version_converter.convert_version(onnx.load_from_string(path.read_bytes()), 21)
    path.write_bytes(proto.SerializeToString())
    changed(path, lambda proto: helper.set_model_props(proto, {"sample_rate": "16000"}))
    backbone, _ = loaded(path)
    (version,) = (entry.version for entry in onnx.load_from_string(backbone.graph).opset_import)
    assert version == 21
    np.testing.assert_allclose(backbone.features(SOUNDS[:, None]), run(path, "embedding", SOUNDS), rtol=1e-5, atol=1e-6)


def test_names_in_the_file_may_be_those_of_soundmark(tmp_path):
    def rename(proto):
        names = {"both": "reshape_1", "mean": "reducemean_1", "max": "features", "weights": "axis", "mels": "waveform"}
        for node in proto.graph.node:
            for part in (node.input, node.output):
                part[:] = [names.get(name, name) for name in part]
        for tensor in proto.graph.initializer:
            tensor.name = names.get(tensor.name, tensor.name)

    path = changed(write_small(tmp_path / "small.onnx", axes="time"), rename)
    for output in ("embedding", "features", "scores"):
        backbone, _ = loaded(path, output=output)
        expected = run(path, "scores", SOUNDS) if output == "scores" else None
        if expected is not None:
            np.testing.assert_allclose(backbone.features(SOUNDS[:, None]), expected, rtol=1e-4, atol=1e-5)


def test_the_digest_depends_on_the_file(tmp_path):
    one, _ = loaded(write_small(tmp_path / "one.onnx"))
    other, _ = loaded(write_small(tmp_path / "two.onnx", metadata={"sample_rate": "16000", "license": "MIT"}))
    assert one.graph == other.graph
    assert one.digest != other.digest


def test_a_file_that_changed_is_refused(tmp_path):
    path = write_small(tmp_path / "small.onnx")
    found = read_backbone_file(str(path), LogMel())
    write_small(path, samples=8000)
    with pytest.raises(BundleError, match=r'the backbone ".*small.onnx" has changed: its SHA-256 is not'):
        load_backbone_file(str(path), found.representation, found.output, found.sha256)


@pytest.mark.parametrize(
    ("options", "given", "match"),
    [
        ({"metadata": {}}, {}, "do not contain its sample rate: give it in Hz, such as --backbone-rate 32000"),
        ({}, {"rate_hz": 8000}, "takes 16000 Hz according to its metadata, not 8000 Hz: omit --backbone-rate"),
        ({}, {"output": "embeding"}, 'has no output "embeding". Did you mean "embedding"'),
        ({"metadata": {"embedding_outputs_key": "features"}}, {}, 'has no output "features"'),
    ],
)
def test_what_is_missing_or_wrong_is_named(tmp_path, options, given, match):
    with pytest.raises(SettingsError, match=match):
        loaded(write_small(tmp_path / "small.onnx", **options), **given)


def test_several_outputs_must_be_chosen_from(tmp_path):
    path = changed(write_small(tmp_path / "small.onnx"), lambda proto: setattr(proto.graph.output[1], "name", "mean"))
    with pytest.raises(SettingsError, match="2 outputs, .* give one with --backbone-output: scores, mean"):
        loaded(path)


def _two_inputs(proto):
    proto.graph.node.insert(0, helper.make_node("Add", ["other", "sound"], ["sum"]))
    proto.graph.node[1].input[0] = "sum"
    proto.graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, ["batch", 16000]))


def _whole_numbers(proto):
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64


def _large_batch(proto):
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 8


def _one_axis(proto):
    del proto.graph.input[0].type.tensor_type.shape.dim[0]


def _subgraph(proto):
    body = helper.make_graph(
        [helper.make_node("Identity", ["sound"], ["z"])], "body", [], [onnx.ValueInfoProto(name="z")]
    )
    proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    proto.graph.node[0].input[0] = "sum"
    proto.graph.node.insert(0, helper.make_node("Add", ["sound", "chosen"], ["sum"]))
    proto.graph.node.insert(0, helper.make_node("If", ["yes"], ["chosen"], then_branch=body, else_branch=body))


def _not_finite(proto):
    proto.graph.node.append(helper.make_node("Div", ["embedding", "zero_f"], ["infinite"]))
    proto.graph.initializer.append(numpy_helper.from_array(np.float32(0), "zero_f"))


def _over_the_batch(proto):
    proto.graph.initializer.append(numpy_helper.from_array(np.array([0]), "axis_batch"))
    proto.graph.node.append(helper.make_node("ReduceSum", ["embedding", "axis_batch"], ["sum_of_all"], keepdims=1))
    proto.graph.node.append(helper.make_node("Sub", ["embedding", "sum_of_all"], ["relative"]))


def _one_number(proto):
    proto.graph.node.append(helper.make_node("ReduceMean", ["embedding"], ["one"], axes=[0, 1], keepdims=0))


@pytest.mark.parametrize(
    ("change", "output", "match"),
    [
        (_two_inputs, None, "depends on 2 inputs: sound and other; expected one, a waveform"),
        (_whole_numbers, None, r'the input "sound" .* is \?×16000 of the ONNX type 7; expected a float32 waveform'),
        (_large_batch, None, r'the input "sound" .* is 8×16000 of the ONNX type 1; .* or a batch of 1'),
        (_one_axis, None, r'the input "sound" .* is 16000 of the ONNX type 1'),
        (_subgraph, None, "refused: the operator If is not allowed"),
        (_not_finite, "infinite", "has numbers that are not finite; expected finite float32"),
        (_over_the_batch, "relative", "depends on other sounds in the batch: export it again in evaluation mode"),
        (_one_number, "one", r'the output "one" .* has the shape \[\] for one window; expected \[1, d\]'),
        (lambda proto: None, "rows", r"has the shape \[1\] for one window"),
    ],
)
def test_a_file_that_cannot_be_a_backbone_is_refused(tmp_path, change, output, match):
    path = changed(write_small(tmp_path / "small.onnx"), change)
    with pytest.raises(BundleError, match=match) as raised:
        loaded(path, output=output)
    assert "small.onnx" in str(raised.value)
    assert len(str(raised.value)) < 2500


@pytest.mark.parametrize("content", [b"", b"not an ONNX file", b"\x08\x08"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match='other.onnx" is not an ONNX file that can be used'):
        loaded(path)


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(BundleError, match='the backbone ".*none.onnx" does not exist'):
        loaded(tmp_path / "none.onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(BundleError, match='the backbone ".*" is a folder; a backbone is one .onnx file'):
        loaded(tmp_path / "folder.onnx")


NEEDED = [each for each in hostile_graphs.all_graphs() if each.kind in ("operators", "shapes", "signals", "subgraphs")]
IN_ALL = [each for each in hostile_graphs.all_graphs() if each.kind in ("external_data", "not_finite", "opsets")]
IN_ALL = [each for each in IN_ALL if each.name.split("-")[1] not in ("constant", "attribute", "sparse")]  # are cut off


@pytest.mark.parametrize("hostile", [*NEEDED, *IN_ALL], ids=lambda hostile: hostile.name)
def test_hostile_graphs_are_refused_before_the_runtime_gets_them(hostile, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("ONNX Runtime was given a hostile graph")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    path = tmp_path / "hostile.onnx"
    path.write_bytes(hostile.graph)
    output = onnx.load_from_string(hostile.graph).graph.node[-3].output[0] if hostile in NEEDED else "logits"
    with pytest.raises(BundleError, match="refused|depends on 0 inputs|cannot be used") as raised:
        loaded(path, Mel(size=(8, 8)), output=output)
    assert len(str(raised.value)) < 2500


MEASURED = """
import sys, time
sys.path.insert(0, TESTS)
from pathlib import Path
from soundmark.errors import SoundmarkError
from soundmark.models.pretrained.backbone_file import load_backbone_file, read_backbone_file
from soundmark.spectrograms import Mel
slowest = 0
for path in sorted(Path(FOLDER).iterdir()):
    for output in ("x", "logits"):
        start = time.process_time()
        try:
            found = read_backbone_file(str(path), Mel(size=(8, 8)), output=output)
            load_backbone_file(str(path), found.representation, found.output, found.sha256)
        except SoundmarkError:
            pass
        slowest = max(slowest, time.process_time() - start)
assert slowest < 2, slowest
"""


@pytest.mark.slow
def test_hostile_graphs_take_little_time_and_memory(tmp_path):
    for hostile in hostile_graphs.all_graphs():
        (tmp_path / f"{hostile.name}.onnx").write_bytes(hostile.graph)
    code = MEASURED.replace("FOLDER", repr(str(tmp_path))).replace("TESTS", repr(str(Path(__file__).parents[3])))
    _, peak_mb = run_measured(code)
    assert peak_mb < 300
