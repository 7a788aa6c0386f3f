"""The operators of backbones: shapes and known numbers are those of ONNX Runtime, and chains of shapes are followed."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from soundmark.errors import BundleError
from soundmark.models.bundle import graph_check, operators


def ints(*numbers):
    return np.array(numbers, np.int64)


def graph(nodes, constants, *, sides=(3, 40), opset=18, outputs=("y",)):
    """An ONNX file of ``nodes`` on the input "x" [batch, *sides]."""
    made = helper.make_graph(
        nodes,
        "operators",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *sides])],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return proto.SerializeToString()


def compare(data, sides=(3, 40), rows=1):
    """Check that the shape of "y" is that which ONNX Runtime computes; return what it computes."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).uniform(0.1, 1, (rows, *sides)).astype(np.float32)
    (expected,) = session.run(["y"], {"x": x})
    assert graph_check.check(data, "backbone.onnx").outputs["y"] == expected.shape
    return expected


STFT_INPUTS = {"step": np.array(16, np.int64), "window": np.hanning(64).astype(np.float32)}
EXAMPLES = [
    ("Slice", (), {"a": ints(1, -1), "b": ints(1 << 62, -(1 << 62)), "c": ints(1, 2), "d": ints(1, -3)}, {}),
    ("Slice", (), {"a": ints(-2), "b": ints(100), "c": ints(-1)}, {}),
    ("Pad", (), {"a": ints(0, 1, 2, 0, 0, -3)}, {}),
    ("Pad", (), {"a": ints(5, 5), "b": np.float32(0), "c": ints(-1)}, {"mode": "reflect"}),
    ("Gather", (), {"a": ints(2, 0, 1, 1)}, {"axis": 1}),
    ("Gather", (), {"a": np.array(-1)}, {"axis": -1}),
    ("GatherElements", (), {"a": np.zeros((1, 3, 7), np.int64)}, {"axis": 2}),
    ("GatherND", (), {"a": ints(0, 2).reshape(1, 2)}, {}),
    ("Expand", (), {"a": ints(5, 1, 3, 1)}, {}),
    ("Tile", (), {"a": ints(1, 2, 3)}, {}),
    ("Shape", (), {}, {"start": -2}),
    ("Size", (), {}, {}),
    ("ArgMax", (), {}, {"axis": -1, "keepdims": 0}),
    ("ArgMin", (), {}, {"axis": 1}),
    ("Where", ("m", "x", "a"), {"m": np.array([[True], [False], [True]]), "a": np.float32(0)}, {}),
    ("Less", (), {"a": np.float32([[1], [2], [3]])}, {}),
    ("CumSum", (), {"a": np.array(1)}, {}),
    ("Trilu", (), {}, {}),
    ("MatMul", (), {"a": np.ones(40, np.float32)}, {}),
    ("ReduceProd", (), {"a": ints(1)}, {"keepdims": 0}),
    ("ReduceSumSquare", (), {"a": ints(-1)}, {}),
    ("Einsum", (), {"a": np.ones((5, 40), np.float32)}, {"equation": "bct,kt->bkc"}),
    ("Einsum", (), {}, {"equation": "bct->tb"}),
    ("DFT", ("u",), {}, {"onesided": 1, "axis": 2}),
    ("Resize", ("u", "", "", "a"), {"a": ints(1, 6, 20, 1)}, {"mode": "nearest"}),
    ("Resize", ("u", "", "a"), {"a": np.float32([1, 1, 0.5, 2])}, {"mode": "linear"}),
    ("ConvTranspose", ("x", "a"), {"a": np.ones((3, 4, 5), np.float32)}, {"strides": [2], "pads": [1, 1]}),
    ("SpaceToDepth", ("u4",), {}, {"blocksize": 2}),
    ("DepthToSpace", ("u5",), {}, {"blocksize": 2}),
]


@pytest.mark.parametrize(("operator", "inputs", "constants", "attributes"), EXAMPLES)
def test_the_shape_is_that_of_onnx_runtime(operator, inputs, constants, attributes):
    opset = 17 if operator == "DFT" else 18
    before = [
        helper.make_node("Unsqueeze", ["x", "last"], ["u"]),
        helper.make_node("Reshape", ["x", "four"], ["u4"]),
        helper.make_node("Reshape", ["x", "five"], ["u5"]),
    ]
    shapes = {"last": ints(3), "four": ints(-1, 2, 6, 10), "five": ints(-1, 8, 5, 3)}
    node = helper.make_node(operator, list(inputs) or ["x", *constants], ["y"], **attributes)
    needed = [one for one in before if one.output[0] in node.input]
    used = {name: shapes[name] for one in needed for name in one.input if name in shapes}
    compare(graph([*needed, node], {**used, **constants}, opset=opset))


@pytest.mark.parametrize(
    ("given", "constants"),
    [
        (("x", "step", "window"), STFT_INPUTS),
        (("x", "step", "", "n"), {"step": np.array(20), "n": np.array(100)}),
        (("x", "step", "window", "n"), {**STFT_INPUTS, "n": np.array(64)}),
    ],
)
@pytest.mark.parametrize("onesided", [0, 1])
def test_the_shape_of_an_stft_is_that_of_onnx_runtime(given, constants, onesided):
    compare(graph([helper.make_node("STFT", given, ["y"], onesided=onesided)], constants, sides=(200,)), (200,))


@pytest.mark.parametrize("operator", ["HannWindow", "HammingWindow", "BlackmanWindow"])
def test_the_shape_of_a_window_is_that_of_onnx_runtime(operator):
    nodes = [helper.make_node(operator, ["n"], ["w"]), helper.make_node("Mul", ["x", "w"], ["y"])]
    compare(graph(nodes, {"n": np.array(40)}))


def test_the_shape_of_mel_weights_is_that_of_onnx_runtime():
    inputs = {"bands": 8, "n": 64, "rate": 16000}
    constants = {name: np.array(value) for name, value in inputs.items()} | {
        "low": np.float32(20),
        "high": np.float32(8000),
    }
    mel = helper.make_node("MelWeightMatrix", list(constants), ["mel"])
    compare(graph([mel, helper.make_node("MatMul", ["x", "mel"], ["y"])], constants, sides=(3, 33)), (3, 33))


def test_a_chain_of_shapes_is_followed_for_any_number_of_windows():
    """The shape that torch's exporter computes for ``x.reshape(x.shape[0], -1, x.shape[2] // 4)``."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["rows"]),
        helper.make_node("Gather", ["s", "two"], ["time"]),
        helper.make_node("Div", ["time", "four"], ["quarter"]),
        helper.make_node("Cast", ["quarter"], ["quarter_f"], to=1),
        helper.make_node("Floor", ["quarter_f"], ["floor"]),
        helper.make_node("Cast", ["floor"], ["side"], to=7),
        helper.make_node("Unsqueeze", ["rows", "zero1"], ["rows1"]),
        helper.make_node("Unsqueeze", ["side", "zero1"], ["side1"]),
        helper.make_node("Concat", ["rows1", "rest", "side1"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    constants = {"zero": np.array(0), "two": np.array(2), "four": np.array(4), "zero1": ints(0), "rest": ints(-1)}
    data = graph(nodes, constants)
    assert compare(data).shape == (1, 12, 10)
    checked = graph_check.check(data, "backbone.onnx")
    assert 1 < checked.rows_per_run <= graph_check.MAX_ROWS_THAT_ARE_READ


def test_the_shape_of_an_expanded_token_is_followed():
    """The pattern of torch's exporter for ``token.expand(x.shape[0], -1, -1)``, with Where and Equal."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], start=0, end=1),
        helper.make_node("Concat", ["s", "minus", "minus"], ["wanted"], axis=0),
        helper.make_node("ConstantOfShape", ["three"], ["ones"], value=numpy_helper.from_array(ints(1))),
        helper.make_node("Mul", ["ones", "minus"], ["minuses"]),
        helper.make_node("Equal", ["wanted", "minuses"], ["same"]),
        helper.make_node("Where", ["same", "ones", "wanted"], ["shape"]),
        helper.make_node("Expand", ["token", "shape"], ["tokens"]),
        helper.make_node("Concat", ["tokens", "x"], ["y"], axis=1),
    ]
    constants = {"minus": ints(-1), "three": ints(3), "token": np.ones((1, 1, 40), np.float32)}
    assert compare(graph(nodes, constants)).shape == (1, 4, 40)


NUMBERS = [
    ("Div", {"a": ints(-7, 7, 9), "b": ints(2, -2, 4)}, {}),
    ("Div", {"a": np.float32([7, 1]), "b": np.float32([3, 3])}, {}),
    ("Mul", {"a": np.int32([1 << 16, 3]), "b": np.int32([1 << 16, 4])}, {}),
    ("Sub", {"a": ints(3), "b": ints(10)}, {}),
    ("Max", {"a": ints(3, 5), "b": ints(4, 4)}, {}),
    ("Min", {"a": ints(3, 5), "b": ints(4, 4)}, {}),
    ("ReduceProd", {"a": ints(3, 5, 7)}, {"keepdims": 0}),
    ("Range", {"a": np.array(3), "b": np.array(11), "c": np.array(3)}, {}),
    ("Slice", {"a": ints(1, 2, 3, 4, 5), "b": ints(-2), "c": ints(-(1 << 62)), "d": ints(0), "e": ints(-2)}, {}),
    ("Concat", {"a": ints(1, 2), "b": ints(3)}, {"axis": 0}),
    ("Cast", {"a": np.float32([2.9, -2.9])}, {"to": 7}),
    ("Cast", {"a": ints(0, 5)}, {"to": 9}),
    ("Less", {"a": ints(1, 2), "b": ints(2, 2)}, {}),
    ("Gather", {"a": ints(5, 6, 7), "b": ints(2, -3)}, {}),
    ("Expand", {"a": ints(5), "b": ints(3)}, {}),
    ("Floor", {"a": np.float32([2.5, -2.5])}, {}),
    ("Ceil", {"a": np.float32([2.5, -2.5])}, {}),
    ("Squeeze", {"a": ints(5)}, {}),
]


@pytest.mark.parametrize(("operator", "constants", "attributes"), NUMBERS)
def test_known_numbers_are_those_of_onnx_runtime(operator, constants, attributes, monkeypatch):
    nodes = [
        helper.make_node(operator, list(constants), ["n"], **attributes),
        helper.make_node("Identity", ["x"], ["y"]),
    ]
    data = graph(nodes, constants, outputs=("n", "y"))
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (expected,) = session.run(["n"], {"x": np.ones((1, 3, 40), np.float32)})
    seen = []
    known = graph_check.known_value
    monkeypatch.setattr(graph_check, "known_value", lambda *a, **k: (seen.append(known(*a, **k)), seen[-1])[1])
    graph_check.check(data, "backbone.onnx")
    found = seen[0]
    assert found.numbers == tuple(expected.ravel().tolist())
    assert found.kind == expected.dtype.name


@pytest.mark.parametrize(
    ("nodes", "constants", "match"),
    [
        ([helper.make_node("Cast", ["x"], ["n"], to=7), helper.make_node("Expand", ["x", "n"], ["y"])], {}, "constant"),
        ([helper.make_node("Einsum", ["x", "x"], ["y"], equation="bii,bii->b")], {}, "equation 'bii,bii->b' is not"),
        ([helper.make_node("Einsum", ["x"], ["y"], equation="...->...")], {}, "equation"),
        ([helper.make_node("Resize", ["x", "", "s"], ["y"])], {"s": np.float32([1, 1, 0.3333])}, "whole numbers"),
        ([helper.make_node("Slice", ["x", "a", "a", "c"], ["y"])], {"a": ints(0), "c": ints(7)}, "axis 7 of a tensor"),
        ([helper.make_node("Tile", ["x", "a"], ["y"])], {"a": ints(1, 1)}, "repeats do not fit"),
        ([helper.make_node("Range", ["a", "b", "c"], ["y"])], dict.fromkeys("abc", np.array(0)), "step is 0"),
    ],
)
def test_an_operator_whose_shape_is_not_known_is_refused(nodes, constants, match):
    with pytest.raises(BundleError, match=match):
        graph_check.check(graph(nodes, constants), "backbone.onnx")


def test_a_fixed_batch_of_one_window_is_run_window_by_window():
    data = graph([helper.make_node("Relu", ["x"], ["y"])], {})
    proto = onnx.load_from_string(data)
    for batch, rows in ((0, 1024), (1, 1)):
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
        if batch == 0:
            proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
        assert graph_check.check(proto.SerializeToString(), "backbone.onnx").rows_per_run == rows
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 8
    with pytest.raises(BundleError, match="its batch size is fixed at 8; allowed: 1"):
        graph_check.check(proto.SerializeToString(), "backbone.onnx")


def test_every_rule_is_an_operator_of_onnx():
    for name in operators.RULES:
        assert onnx.defs.has(name), name


@pytest.mark.parametrize("sides", [(40, 24), (4, 10, 24)])
def test_the_shape_of_attention_is_that_of_onnx(sides):
    """ONNX Runtime computes it from version 1.23 on; ONNX itself infers the shape."""
    heads = {"q_num_heads": 4, "kv_num_heads": 4} if len(sides) == 2 else {}
    data = graph([helper.make_node("Attention", ["x", "x", "x"], ["y"], **heads)], {}, sides=sides, opset=23)
    assert graph_check.check(data, "backbone.onnx").outputs["y"] == (1, *sides)


def test_attention_with_earlier_keys_is_refused():
    attention = helper.make_node("Attention", ["x", "x", "x", "", "x", "x"], ["y"])
    with pytest.raises(BundleError, match="it has earlier keys and values"):
        graph_check.check(graph([attention], {}, sides=(4, 10, 24), opset=23), "backbone.onnx")


def test_a_normalisation_over_more_channels_than_there_are_is_counted():
    """ONNX Runtime pads the channels on both sides by half of its size, an attribute that can be any number."""
    data = graph([helper.make_node("LRN", ["x"], ["y"], size=(1 << 20) + 1)], {}, sides=(1, 64, 64))
    with pytest.raises(BundleError, match="numbers at a time"):
        graph_check.check(data, "backbone.onnx")
    compare(graph([helper.make_node("LRN", ["x"], ["y"], size=5)], {}, sides=(8, 64, 64)), (8, 64, 64))


@pytest.mark.parametrize("size", [0, -1, 4])
def test_a_normalisation_without_a_middle_channel_is_refused(size):
    data = graph([helper.make_node("LRN", ["x"], ["y"], size=size)], {}, sides=(8, 64, 64))
    with pytest.raises(BundleError, match=f"its size is {size}"):
        graph_check.check(data, "backbone.onnx")


@pytest.mark.parametrize(("a", "b"), [(1, 0), (-1, 0), (0, 0)])
def test_a_range_to_infinity_or_to_no_number_is_refused(a, b):
    constants = {"a": np.float32(a), "b": np.float32(b), "zero": np.float32(0), "one": np.float32(1)}
    nodes = [helper.make_node("Div", ["a", "b"], ["q"]), helper.make_node("Range", ["zero", "q", "one"], ["r"])]
    data = graph([*nodes, helper.make_node("Gather", ["x", "r"], ["y"])], constants)
    with pytest.raises(BundleError, match="operator Range is not valid: its start, limit or step is not finite"):
        graph_check.check(data, "backbone.onnx")


def convolution(samples, kernel, *, in_8_bits):
    """A convolution of ``samples`` to as many numbers, in floating point or in 8 bits."""
    nodes, constants = [], {"w": np.ones((1, 1, kernel), np.float32)}
    x, w, y = "x", "w", "y"
    if in_8_bits:
        constants = {"w8": np.ones((1, 1, kernel), np.uint8), "s": np.float32(0.1), "z": np.uint8(0)}
        x, w, y = "xd", "w", "c"
        nodes += [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"])]
        nodes += [helper.make_node("DequantizeLinear", [a, "s", "z"], [b]) for a, b in (("xq", "xd"), ("w8", "w"))]
    nodes += [helper.make_node("Conv", [x, w], [y], pads=[kernel // 2, kernel // 2 - 1])]
    if in_8_bits:
        nodes += [helper.make_node("QuantizeLinear", ["c", "s", "z"], ["cq"])]
        nodes += [helper.make_node("DequantizeLinear", ["cq", "s", "z"], ["y"])]
    return graph(nodes, constants, sides=(1, samples), opset=20)


def test_the_pointers_of_a_convolution_in_8_bits_are_counted():
    """ONNX Runtime holds an address of 8 bytes for each number of the kernel at each place: here 2 GB."""
    graph_check.check(convolution(1 << 20, 256, in_8_bits=False), "backbone.onnx")
    graph_check.check(convolution(1 << 16, 16, in_8_bits=True), "backbone.onnx")
    with pytest.raises(BundleError, match="numbers at a time"):
        graph_check.check(convolution(1 << 20, 256, in_8_bits=True), "backbone.onnx")


def test_a_pooling_kernel_counts_where_it_covers_padding_too():
    """ONNX Runtime visits the padding: this kernel took minutes."""
    attributes = {"kernel_shape": [1, 1 << 30], "pads": [0, 1 << 29, 0, 1 << 29]}
    data = graph([helper.make_node("AveragePool", ["x"], ["y"], **attributes)], {}, sides=(1, 64, 64))
    with pytest.raises(BundleError, match="multiplications"):
        graph_check.check(data, "backbone.onnx")
