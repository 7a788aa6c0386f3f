"""Graphs that must not reach ONNX Runtime, twelve of each kind, sealed as models with a valid card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.spectrograms import Mel

CARD = Card(classes=("a", "b", "c"), representation=Mel(size=(8, 8)), window_s=0.5)
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
BIG = 1 << 62


@dataclass(frozen=True)
class Hostile:
    """A graph, its kind, and the reason that the message gives (a regular expression)."""

    kind: str
    name: str
    graph: bytes
    reason: str

    def write(self, folder: Path) -> Path:
        path = folder / f"{self.name}.onnx"
        Bundle(self.graph, CARD).write(path)
        return path


def tensor(name: str, *shape: int, dtype: type = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.ones(shape, dtype), name)


def integers(name: str, *numbers: int) -> TensorProto:
    return numpy_helper.from_array(np.array(numbers, np.int64), name)


def model(nodes=(), tensors=(), *, opset: int = 17, imports=(), **changes) -> ModelProto:
    """A linear model for CARD, preceded by ``nodes``, which compute "x" of any shape from "spectrogram"."""
    own = [
        helper.make_node("Flatten", ["spectrogram"], ["flat"]),
        helper.make_node("Gemm", ["flat", "W"], ["logits"]),
    ]
    graph = helper.make_graph(
        [*nodes, *own],
        "hostile",
        [helper.make_tensor_value_info("spectrogram", FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", FLOAT, ["batch", 3])],
        [tensor("W", 64, 3), *tensors],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(*each) for each in imports)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **changes)


def node(operator: str, *inputs: str, output: str = "x", **attributes):
    return helper.make_node(operator, list(inputs) or ["spectrogram"], [output], **attributes)


def seal(proto: ModelProto) -> bytes:
    return proto.SerializeToString()


def external_data() -> Iterator[tuple[str, ModelProto, str]]:
    places = ("/etc/passwd", "../../etc/passwd", "W.bin", "./W.bin", "a/../W.bin", "file:///etc/passwd", "")
    for number, place in enumerate(places):
        proto = model()
        weights = proto.graph.initializer[0]
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        weights.external_data.add(key="location", value=place)
        yield f"initializer{number}", proto, 'tensor "W" has data outside the file'
    proto = model()
    proto.graph.initializer[0].data_location = TensorProto.EXTERNAL  # beside its own numbers, without a place
    yield "flag", proto, 'tensor "W" has data outside the file'
    proto = model()
    proto.graph.initializer[0].external_data.add(key="location", value="W.bin")  # without the flag
    yield "place", proto, 'tensor "W" has data outside the file'
    constant = TensorProto(name="c", data_type=1, dims=[64], data_location=TensorProto.EXTERNAL)
    constant.external_data.add(key="location", value="W.bin")
    constant_node = helper.make_node("Constant", [], ["c"], value=constant)
    yield "constant", model([constant_node]), 'tensor "c" has data outside the file'
    yield "attribute", model([node("Relu", value=constant)]), "Relu has a tensor as attribute"
    sparse = model()
    sparse.graph.sparse_initializer.add(values=constant, dims=[64])
    yield "sparse", sparse, "sparse weights"


def functions() -> Iterator[tuple[str, ModelProto, str]]:
    for number in range(6):
        body = [helper.make_node(("Relu", "Exp", "Loop", "If", "Tanh", "own.F")[number], ["a"], ["b"])]
        function = helper.make_function("own", "F", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
        yield f"unused{number}", model(functions=[function]), "it has functions"
        yield (
            f"called{number}",
            model([node("F", domain="own")], functions=[function], imports=[("own", 1)]),
            "functions",
        )


def subgraphs() -> Iterator[tuple[str, ModelProto, str]]:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["again"])],
        "body",
        [helper.make_tensor_value_info("i", INT64, []), helper.make_tensor_value_info("go", BOOL, [])],
        [helper.make_tensor_value_info("again", BOOL, [])],
    )
    for rounds in (1, 2**31, BIG):
        yield f"loop{rounds}", model([node("Loop", "n", "", body=body)], [integers("n", rounds)]), "operator Loop"
    yield (
        "if",
        model([node("If", "yes", then_branch=body, else_branch=body)], [tensor("yes", dtype=bool)]),
        "operator If",
    )
    yield "scan", model([node("Scan", body=body, num_scan_inputs=1)]), "operator Scan"
    yield "map", model([node("SequenceMap", body=body)]), "operator SequenceMap"
    for operator in ("Relu", "Add", "Gemm", "Conv", "Identity"):
        yield f"in{operator}", model([node(operator, body=body)]), f"operator {operator} has a subgraph"
    both = model([node("Relu", bodies=[body, body])])
    yield "list", both, "operator Relu has subgraphs"


def operators() -> Iterator[tuple[str, ModelProto, str]]:
    for domain in ("own", "com.microsoft", "ai.onnx.ml", "ai.onnx.training", "com.microsoft.nchwc", "org.pytorch.aten"):
        proto = model([node("Relu", domain=domain)], imports=[(domain, 1)])
        yield f"domain.{domain}", proto, f"operator {domain}.Relu is not allowed; allowed: those"
    for operator in ("Unique", "Compress", "RandomNormal", "NonZero", "StringNormalizer", "Evil\nname"):
        yield operator[:4], model([node(operator)]), f"the operator {operator[:4]}.* is not allowed"


def constants() -> Iterator[tuple[str, ModelProto, str]]:
    column, row = tensor("column", 60_000, 1), tensor("row", 1, 60_000)
    for operator in ("Add", "Mul", "Sub", "Div", "MatMul", "Max", "Pow"):
        yield operator, model([node(operator, "column", "row")], [column, row]), f"operator {operator} computes .* from"
    chain = [node("MatMul", "square", "square", output="y0")]
    chain += [node("MatMul", f"y{i}", "square", output=f"y{i + 1}") for i in range(1000)]
    yield "chain", model(chain, [tensor("square", 300, 300)]), "MatMul computes .* numbers from constants"
    deep = [node("Conv", "image", "kernel", pads=[20_000] * 4)]
    yield "pads", model(deep, [tensor("image", 1, 1, 4, 4), tensor("kernel", 1, 1, 3, 3)]), "Conv computes .* from con"
    joined = [node("Concat", *["column"] * 200, axis=1)]
    yield "concat", model(joined, [column]), "Concat computes .* numbers from constants"
    doubling = [node("Concat", "column", "column", output="d0", axis=0)]
    doubling += [node("Concat", f"d{i}", f"d{i}", output=f"d{i + 1}", axis=0) for i in range(60)]
    yield "doubling", model(doubling, [column]), "Concat computes .* numbers from constants"
    many = [node("Add", "column", "column", output=f"a{i}") for i in range(5000)]
    yield "many", model(many, [column]), "Add computes .* numbers from constants"


def shapes() -> Iterator[tuple[str, ModelProto, str]]:
    """Large results of the input: 64 numbers per window."""
    wide = tensor("wide", 1, 1 << 20)
    column = [node("Reshape", "spectrogram", "s", output="c")]
    for operator in ("Add", "Mul", "Max"):
        for count in (8, 64):
            repeated = [node(operator, "c", "wide", output=f"x{i}") for i in range(count)]
            proto = model([*column, *repeated], [wide, integers("s", -1, 1)])
            yield f"{operator}{count}", proto, "it needs .* numbers or more for"
    padded = [node("Conv", "spectrogram", "k", pads=[1 << 30] * 4)]
    yield "pads", model(padded, [tensor("k", 1, 1, 3, 3)]), "it needs .* numbers or more for 1 window"
    dense = [node("Conv", "spectrogram", "k", output="y", pads=[400] * 4), node("Conv", "y", "k2")]
    kernels = [tensor("k", 100, 1, 3, 3), tensor("k2", 100, 100, 9, 9)]
    yield "multiplications", model(dense, kernels), "it needs .* multiplications or more for 1 window"
    squares = [*column, node("MatMul", "c", "r", output="m0"), node("Reshape", "spectrogram", "t", output="r")]
    squares = [squares[0], squares[2], squares[1]]  # batch × batch
    flat = [node("Reshape", "m0", "s", output="f"), node("Reshape", "m0", "t", output="g"), node("Add", "f", "g")]
    sizes = [integers("s", -1, 1), integers("t", 1, -1)]
    yield "batch", model([*squares, *flat], sizes), "it needs .* or more for [0-9]+ windows"
    yield "huge", model([node("Reshape", "spectrogram", "h")], [integers("h", BIG, BIG)]), "Reshape is not valid"
    yield "negative", model([node("Reshape", "spectrogram", "h")], [integers("h", -5, -7)]), "Reshape is not valid"
    computed = [node("Cast", "spectrogram", output="n", to=INT64), node("Reshape", "spectrogram", "n")]
    yield "computed", model(computed), "its shape are not a constant"


def signals() -> Iterator[tuple[str, ModelProto, str]]:
    """Operators whose output is as large as numbers in the file, or computed from them, say."""
    numbers = "needs .* numbers|computes .* numbers from constants"
    big, one = integers("big", 1 << 20, 1 << 10), numpy_helper.from_array(np.ones((), np.float32), "one")
    yield "expand", model([node("Expand", "one", "big")], [one, big]), numbers
    yield "filled", model([node("ConstantOfShape", "big")], [big]), numbers
    yield "tile", model([node("Tile", "spectrogram", "n")], [integers("n", 1, 1, 1 << 15, 1 << 15)]), numbers
    yield "pad", model([node("Pad", "spectrogram", "p")], [integers("p", 0, 0, 0, 0, 0, 0, 1 << 20, 1 << 20)]), numbers
    ends = [numpy_helper.from_array(np.array(n), name) for name, n in (("a", 0), ("b", 1 << 40), ("c", 1))]
    yield "range", model([node("Range", "a", "b", "c")], ends), numbers
    scales = numpy_helper.from_array(np.array([1, 1, 1 << 14, 1 << 14], np.float32), "s")
    yield "resize", model([node("Resize", "spectrogram", "", "s", mode="nearest")], [scales]), numbers
    flat = node("Reshape", "spectrogram", "sides", output="flat_sound")
    einsum = [flat, node("Einsum", "flat_sound", "W2", equation="bi,jk->bijk")]
    yield "einsum", model(einsum, [integers("sides", -1, 64), tensor("W2", 1 << 11, 1 << 11)]), numbers
    long = [flat, node("Pad", "flat_sound", "more", output="sound"), node("STFT", "sound", "step", "", "length")]
    sizes = [integers("sides", -1, 64), integers("more", 0, 0, 0, 1 << 16)]
    sizes += [numpy_helper.from_array(np.array(n), name) for name, n in (("step", 1), ("length", 1 << 15))]
    yield "stft", model(long, sizes), "needs .* or more for"
    rank = [
        flat,
        node("Shape", "flat_sound", output="n"),
        node("Mul", "n", "scale", output="m"),
        node("Expand", "one", "m"),
    ]
    yield "shape", model(rank, [integers("sides", -1, 64), integers("scale", 1 << 20, 1 << 10), one]), numbers
    for rows in (7, 13):  # small for one window and for many, but not for so many
        bomb = [
            node("Shape", output="shape"),
            node("Gather", "shape", "zero", output="rows"),
            node("Equal", "rows", "bad", output="is_bad"),
            node("Where", "is_bad", "huge", "tiny", output="sides"),
            node("Expand", "one", "sides"),
        ]
        constants = [integers("zero", 0), integers("bad", rows), integers("huge", 1 << 30), integers("tiny", 1), one]
        yield f"rows{rows}", model(bomb, constants), f"needs .* numbers .* for {rows} windows"
    wrap = [node("Mul", "w", "w", output="v"), node("Expand", "one", "v")]  # 2³² in 64 bits, 0 in 32 bits
    yield "wrap", model(wrap, [integers("w", 1 << 16), one]), numbers


def types() -> Iterator[tuple[str, ModelProto, str]]:
    def changed(**changes):
        proto = model()
        weights = proto.graph.initializer[0]
        for key, value in changes.items():
            weights.ClearField(key)
            getattr(weights, key).extend(value) if isinstance(value, list) else setattr(weights, key, value)
        return proto

    for number, dims in enumerate(([64, 300], [64], [BIG, 3], [-64, -3], [64, 0], [1] * 9)):
        yield f"dims{number}", changed(dims=dims), 'tensor "W" has .*the shape'
    for data_type in (TensorProto.DOUBLE, TensorProto.INT8):
        yield f"type{data_type}", changed(data_type=data_type), 'tensor "W" has .* numbers for the shape'
    yield "string", changed(data_type=TensorProto.STRING), "has the type 8, which is not a numeric type"
    yield "unknown", changed(data_type=99), "has the type 99, which is not a numeric type"
    yield "twice", changed(float_data=[1.0] * 192), "stores its numbers as float_data and raw_data"
    yield "cast", model([node("Cast", to=TensorProto.STRING)]), "Cast is not valid: it converts to a type"


def not_finite() -> Iterator[tuple[str, ModelProto, str]]:
    for number, value in enumerate((np.nan, -np.nan, np.inf, -np.inf)):
        for dtype in (np.float32, np.float16, np.float64):
            weights = np.ones((64, 3), dtype)
            weights[5, 1] = value
            proto = model()
            proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "W"))
            yield f"{np.dtype(dtype)}{number}", proto, 'tensor "W" contains NaN or infinite numbers'


def opsets() -> Iterator[tuple[str, ModelProto, str]]:
    for version in (0, -1, 1, 6, 27, 1000, 2**31, BIG):
        yield f"version{version}", model(opset=version), f"version {version} of the ONNX operators; allowed: 7 to 26"
    yield "two", model(imports=[("", 13)]), "declares two versions"
    yield "alias", model(imports=[("ai.onnx", 13)]), "declares two versions"
    yield "equal", model(imports=[("own", 1), ("own", 1)]), "declares two versions"
    without = model()
    del without.opset_import[:]
    yield "none", without, "version 0 of the ONNX operators"


def texts() -> Iterator[tuple[str, bytes, str]]:
    """Texts that are not UTF-8, in each part of a file: "hostile!" and the like are replaced by other bytes."""
    proto = model([node("Relu", name="N" * 8)], doc_string="D" * 8, producer_name="P" * 8)
    proto.graph.doc_string, proto.graph.name = "E" * 8, "G" * 8
    proto.graph.node[0].doc_string = "M" * 8
    proto.graph.node[0].attribute.add(name="A" * 8, i=1, type=AttributeProto.INT)
    proto.graph.value_info.add(name="V" * 8)
    proto.graph.initializer.add(name="I" * 8, data_type=1)
    proto.graph.initializer[-1].doc_string = "J" * 8
    proto.metadata_props.add(key="K" * 8, value="L" * 8)
    data = proto.SerializeToString()
    for letter in "NDPEGMAVIJKL":
        text = 8 * letter.encode()
        assert data.count(text) == 1
        yield f"text{letter}", data.replace(text, b"\xff\xfe\x80\xc0" * 2), "is not valid UTF-8"


def nesting() -> Iterator[tuple[str, bytes, str]]:
    """Nested subgraphs and types, to a depth at which recursive readers fail; and broken fields."""
    data = model().SerializeToString()
    for depth in (10, 1000, 100_000):
        graph = b""
        for _ in range(min(depth, 5000)):
            attribute = _field(6, graph)
            graph = _field(1, _field(4, b"Relu") + _field(5, attribute))
        yield f"graphs{depth}", data + _field(7, graph), "2 graphs instead of one"
        yield f"attribute{depth}", _field(8, b"\x10\x11") + _field(7, graph), "operator Relu has a subgraph"
        kind = b""
        for _ in range(min(depth, 5000)):
            kind = _field(4, _field(1, kind))
        value = _field(1, b"V") + _field(2, kind)
        yield f"types{depth}", _field(8, b"\x10\x11") + _field(7, _field(13, value)), "a type that is not a tensor"
    yield "unknown", data + _field(99, b"x"), "unknown field 99"
    yield "group", data + b"\x3b\x3c", "field graph has the wrong type"
    yield "fields", data + b"\x28\x00" * 600_000, "more than 500,000 fields"


def sizes() -> Iterator[tuple[str, ModelProto, str]]:
    """Too many nodes or tensors, and nodes that do not fit together."""
    chain = [node("Relu", f"r{i}" if i else "spectrogram", output=f"r{i + 1}") for i in range(10_001)]
    yield "nodes", model(chain), "10,003 operators"
    yield "tensors", model([], [tensor(f"t{i}") for i in range(20_001)]), "20,002 tensors"
    yield "twice", model([], [tensor("W", 64, 3)]), 'two tensors called "W"'
    yield "again", model([node("Relu", output="flat")]), 'two tensors called "flat"'
    yield "itself", model([node("Relu", "x")]), 'needs "x", which is not computed before it'
    yield "missing", model([node("Relu", "nowhere")]), 'needs "nowhere", which is not computed before it'
    yield "matmul", model([node("MatMul", "spectrogram", "W")]), "MatMul is not valid: it multiplies the shapes"
    yield "conv", model([node("Conv", "spectrogram", "W")]), "Conv is not valid: its weights"
    yield "kernel", model([node("MaxPool", kernel_shape=[BIG, BIG])]), "MaxPool is not valid"
    yield "strides", model([node("MaxPool", kernel_shape=[2, 2], strides=[0, 0])]), "MaxPool is not valid"
    yield "axis", model([node("Concat", "spectrogram", axis=BIG)]), "Concat is not valid: it has the axis"
    proto = model()
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "any"
    yield "input", proto, 'input "spectrogram" has a variable shape'


def _field(number: int, content: bytes) -> bytes:
    """A field with a length in protobuf's wire format."""

    def varint(n: int) -> bytes:
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)

    return varint(number << 3 | 2) + varint(len(content)) + content


KINDS = (
    external_data, functions, subgraphs, operators, constants, shapes, signals, types, not_finite, opsets, texts,
    nesting, sizes,
)  # fmt: skip


def all_graphs() -> list[Hostile]:
    """Twelve of each kind."""
    return [
        Hostile(kind.__name__, f"{kind.__name__}-{name}", found if isinstance(found, bytes) else seal(found), reason)
        for kind in KINDS
        for name, found, reason in kind()
    ]
