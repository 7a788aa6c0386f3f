"""The graph of an untrusted model: hostile ones are refused before ONNX Runtime sees them, with the reason."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest

from soundmark.errors import BundleError
from soundmark.models.bundle import graph_check, operators, read_bundle, shapes, wire_format
from support import hostile_graphs

HOSTILE = hostile_graphs.all_graphs()


@pytest.fixture
def no_runtime(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("ONNX Runtime was given a hostile graph")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)


def test_there_are_twelve_of_each_kind():
    assert set(Counter(each.kind for each in HOSTILE).values()) == {12}
    assert len({each.name for each in HOSTILE}) == len(HOSTILE) == 156


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_a_hostile_graph_is_refused(hostile, tmp_path, no_runtime):
    path = hostile.write(tmp_path)
    with pytest.raises(BundleError, match=hostile.reason) as raised:
        read_bundle(path)
    assert str(path) in str(raised.value)
    assert len(str(raised.value)) < 1500


def test_the_graph_that_they_are_made_from_is_allowed(tmp_path):
    data = hostile_graphs.seal(hostile_graphs.model())
    checked = graph_check.check(data, "model.onnx")
    assert checked.inputs == {"spectrogram": (1, 1, 8, 8)}
    assert checked.outputs == {"logits": (1, 3)}
    hostile_graphs.Hostile("none", "good", data, "").write(tmp_path)
    assert read_bundle(tmp_path / "good.onnx").run(np.ones((2, 8, 8), np.float32)).tolist() == [[64.0] * 3] * 2


@pytest.mark.parametrize("message", wire_format.MESSAGES)
def test_the_messages_have_the_fields_of_onnx(message):
    descriptors = {
        "model": onnx.ModelProto,
        "operator set": onnx.OperatorSetIdProto,
        "entry": onnx.StringStringEntryProto,
        "graph": onnx.GraphProto,
        "node": onnx.NodeProto,
        "attribute": onnx.AttributeProto,
        "tensor": onnx.TensorProto,
        "value": onnx.ValueInfoProto,
        "type": onnx.TypeProto,
        "tensor type": onnx.TypeProto.Tensor,
        "shape": onnx.TensorShapeProto,
        "side": onnx.TensorShapeProto.Dimension,
    }
    known = {number: name for number, (name, _) in wire_format.MESSAGES[message].items()}
    expected = {field.number: field.name for field in descriptors[message].DESCRIPTOR.fields}
    assert known == {number: expected[number] for number in known}
    assert set(expected) - set(known) <= set()
    refused = {name for name, kind in wire_format.MESSAGES[message].values() if kind == "refused"}
    assert refused <= set(graph_check.REFUSED)


@pytest.mark.parametrize("cut", [1, 10, 100, 500, -1, -10])
def test_a_truncated_graph_is_refused(cut):
    data = hostile_graphs.seal(hostile_graphs.model())
    with pytest.raises(BundleError, match='"cut.onnx" is refused'):
        graph_check.check(data[:cut], "cut.onnx")


SHAPE_EXAMPLES = [
    ("Conv", [(2, 3, 17, 9), (4, 3, 3, 2)], {"strides": [2, 1], "pads": [1, 0, 1, 0], "dilations": [1, 2]}),
    ("Conv", [(2, 4, 17, 9), (8, 2, 3, 3)], {"group": 2, "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", [(2, 3, 17), (4, 3, 5)], {}),
    ("MaxPool", [(2, 3, 17, 9)], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("MaxPool", [(2, 3, 17, 9)], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", [(2, 3, 17, 9)], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("GlobalAveragePool", [(2, 3, 5, 6)], {}),
    ("MatMul", [(5, 1, 3, 4), (2, 4, 6)], {}),
    ("Gemm", [(4, 3), (5, 4)], {"transA": 1, "transB": 1}),
    ("Add", [(2, 1, 4), (3, 1)], {}),
    ("Flatten", [(2, 3, 4)], {"axis": 2}),
    ("Flatten", [(2, 3, 4)], {"axis": -1}),
    ("Transpose", [(2, 3, 4)], {"perm": [2, 0, 1]}),
    ("Transpose", [(2, 3, 4)], {}),
    ("Concat", [(2, 3, 4), (2, 5, 4)], {"axis": -2}),
    ("Softmax", [(2, 3)], {"axis": -1}),
    ("ReduceL2", [(2, 3, 4)], {"axes": [1], "keepdims": 0}),
    ("ReduceMean", [(2, 3, 4)], {"axes": [-1, 0]}),
    ("ReduceMax", [(2, 3, 4)], {"keepdims": 0}),
]


@pytest.mark.parametrize(("operator", "inputs", "attributes"), SHAPE_EXAMPLES)
def test_the_shape_is_that_of_onnx_runtime(operator, inputs, attributes):
    names = [f"i{i}" for i in range(len(inputs))]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(operator, names, ["y"], **attributes)],
        "one",
        [onnx.helper.make_tensor_value_info(n, 1, list(s)) for n, s in zip(names, inputs, strict=True)],
        [onnx.helper.make_tensor_value_info("y", 1, None)],
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    arrays = {name: np.ones(shape, np.float32) for name, shape in zip(names, inputs, strict=True)}
    (expected,) = session.run(None, arrays)
    given = {key: value.encode() if isinstance(value, str) else value for key, value in attributes.items()}
    found = operators.result_of(shapes.Call(operator, [shapes.Value(shape) for shape in inputs], given))
    assert found.shapes == (expected.shape,)


@pytest.mark.parametrize(
    ("operator", "shape", "numbers", "expected"),
    [
        ("Reshape", (2, 3, 4), (0, -1), (2, 12)),
        ("Reshape", (2, 3, 4), (4, 0, 2), (4, 3, 2)),
        ("Squeeze", (1, 3, 1), (-1,), (1, 3)),
        ("Unsqueeze", (3, 4), (0, -1), (1, 3, 4, 1)),
        ("ReduceSum", (3, 4), (1,), (3, 1)),
    ],
)
def test_the_shape_follows_from_a_constant(operator, shape, numbers, expected):
    constant = shapes.Value((len(numbers),), True, numbers)
    assert operators.result_of(shapes.Call(operator, [shapes.Value(shape), constant])).shapes == (expected,)


def test_logits_that_overflow_are_refused_after_the_run(tmp_path):
    proto = hostile_graphs.model()
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.full((64, 3), 3e38, np.float32), "W"))
    hostile_graphs.Hostile("run", "odd", hostile_graphs.seal(proto), "").write(tmp_path)
    with pytest.raises(BundleError, match=r'the output "logits" of ".*odd.onnx" contains inf; allowed: finite numbers'):
        read_bundle(tmp_path / "odd.onnx").run(np.ones((2, 8, 8), np.float32))


@pytest.mark.parametrize(("weight", "match"), [(9.0, "contains 576; allowed: from 0 to 1"), (-1.0, "contains -64")])
def test_a_familiarity_out_of_range_is_refused_after_the_run(tmp_path, weight, match):
    w = onnx.numpy_helper.from_array(np.full((64, 1), weight, np.float32), "V")
    axes = onnx.numpy_helper.from_array(np.array([1]), "axes")
    nodes = [
        onnx.helper.make_node("Flatten", ["spectrogram"], ["g"]),
        onnx.helper.make_node("Gemm", ["g", "V"], ["h"]),
        onnx.helper.make_node("Squeeze", ["h", "axes"], ["familiarity"]),
    ]
    proto = hostile_graphs.model(nodes, [w, axes])
    proto.graph.output.append(onnx.helper.make_tensor_value_info("familiarity", 1, ["batch"]))
    hostile_graphs.Hostile("run", "odd", hostile_graphs.seal(proto), "").write(tmp_path)
    with pytest.raises(BundleError, match=f'the output "familiarity" .* {match}'):
        read_bundle(tmp_path / "odd.onnx").run(np.ones((2, 8, 8), np.float32), "familiarity")


def wide(n_columns: int) -> onnx.ModelProto:
    """A graph that pads the spectrogram by ``n_columns``, applies a convolution, and goes on with the mean."""
    nodes = [
        onnx.helper.make_node("Conv", ["spectrogram", "k"], ["m"], pads=[1, 1, 1, 1 + n_columns]),
        onnx.helper.make_node("Relu", ["m"], ["r"]),
        onnx.helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        onnx.helper.make_node("Mul", ["p", "spectrogram"], ["y"]),
    ]
    proto = hostile_graphs.model(nodes, [hostile_graphs.tensor("k", 1, 1, 3, 3)])
    proto.graph.node[4].input[0] = "y"
    return proto


def test_the_numbers_that_are_in_memory_at_the_same_time_are_limited():
    data = hostile_graphs.seal(wide(1000))
    row = 2 * 8 * 1008 + 64  # m, r and the spectrogram; the mean is added when m is no longer needed
    assert graph_check.check(data, "model.onnx").rows_per_run == min(graph_check.MAX_LIVE_VALUES // row, 1024)
    most = (graph_check.MAX_LIVE_VALUES - 64) // 16 - 8
    graph_check.check(hostile_graphs.seal(wide(most)), "model.onnx")
    with pytest.raises(
        BundleError, match=r"it needs 3.4e\+07 numbers at a time or more for 1 window; allowed: 3.4e\+07"
    ):
        graph_check.check(hostile_graphs.seal(wide(most + 1)), "model.onnx")


def test_rows_that_are_run_one_after_the_other_give_the_same_result(tmp_path, monkeypatch):
    batch = np.random.default_rng(0).normal(0, 1, (7, 8, 8)).astype(np.float32)
    hostile_graphs.Hostile("run", "wide", hostile_graphs.seal(wide(1000)), "").write(tmp_path)
    together = read_bundle(tmp_path / "wide.onnx").run(batch)
    monkeypatch.setattr(graph_check, "MAX_LIVE_VALUES", 40_000)
    in_parts = read_bundle(tmp_path / "wide.onnx")
    assert in_parts.checked.rows_per_run == 2
    np.testing.assert_array_equal(in_parts.run(batch), together)
