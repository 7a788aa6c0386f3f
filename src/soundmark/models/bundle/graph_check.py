"""Checks the graph of an untrusted model before ONNX Runtime sees it: what it contains, and what it will cost.

Refused are data outside the file, functions, subgraphs, operators without a rule in ``operators``, weights that are not
finite numbers, and graphs whose tensors or computations are too large. The package onnx is not needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from soundmark.errors import BundleError
from soundmark.models.bundle.known_numbers import KINDS, MAX_NUMBERS, known_value
from soundmark.models.bundle.operators import RULES, result_of
from soundmark.models.bundle.shapes import MAX_RANK, NUMERIC, Call, Shape, ShapeError, Value
from soundmark.models.bundle.wire_format import Message, WireError, WireReader, packed_integers
from soundmark.runtime.text import one_line

MAX_NODES = 10_000  # mn10 has 250, in 8 bits 620


MAX_TENSORS = 20_000


MAX_VALUES = 1 << 28  # numbers in all tensors that are computed for one window; mn10 with 10 s: 12 million


MAX_OPERATIONS = 1 << 36  # multiplications for one window, a few seconds on one core; mn10 with 10 s: 540 million


# Numbers that are in memory at the same time, in tensors that are computed and still needed; mn10 with 10 s: 4 million.
MAX_LIVE_VALUES = 1 << 25


# Numbers and multiplications for the windows that are computed in one run, and the number of windows.
MAX_RUN_VALUES, MAX_RUN_OPERATIONS, MAX_ROWS = 1 << 30, 1 << 37, 1024


# Constants computed from constants, when the graph is loaded: so many numbers, plus so many for each number stored.
MAX_COMPUTED, MAX_COMPUTED_PER_STORED = 1 << 20, 8


# Where an operator reads the number of windows, the graph may cost most for any number of them: each is checked.
MAX_ROWS_THAT_ARE_READ = 16


MAX_REFUSED_BYTES = 1 << 20  # of refused parts that an unused output of a backbone may need


OPSETS = range(7, 27)


DOMAINS = ("", "ai.onnx")


# onnx.TensorProto.DataType → the field, other than raw_data, with its numbers, and their bytes (0: varints).
TYPED_DATA = {1: ("float_data", 4), 7: ("int64_data", 0), 11: ("double_data", 8), 12: ("uint64_data", 0)}
TYPED_DATA |= {13: ("uint64_data", 0)} | dict.fromkeys((2, 3, 4, 5, 6, 9, 10, 16), ("int32_data", 0))


DATA_FIELDS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")


# Field → what it is, for messages.
REFUSED = {
    "training_info": "training instructions",
    "functions": "functions",
    "configuration": "device configurations",
    "quantization_annotation": "quantisation annotations",
    "sparse_initializer": "sparse weights",
    "device_configurations": "device configurations",
    "g": "a subgraph",
    "graphs": "subgraphs",
    "strings": "texts",
    "tensors": "a list of tensors",
    "tp": "a type",
    "type_protos": "types",
    "ref_attr_name": "a reference to a function's attribute",
    "sparse_tensor": "a sparse tensor",
    "sparse_tensors": "sparse tensors",
    "segment": "segments",
    "string_data": "texts",
    "external_data": "data outside the file",
    "sequence_type": "a type that is not a tensor",
    "map_type": "a type that is not a tensor",
    "opaque_type": "a type that is not a tensor",
    "sparse_tensor_type": "a type that is not a tensor",
    "optional_type": "a type that is not a tensor",
}


class _RefusedError(ValueError):
    """The text is the reason."""


@dataclass(frozen=True)
class CheckedGraph:
    """A graph that may be loaded.

    ``rows_per_run`` is the number of windows that it may compute at a time, ``inputs`` and ``outputs`` are the shapes
    for one window.
    """

    rows_per_run: int
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]


REMEDY = "Give a model that soundmark wrote, or report this if it did."


def check(data: bytes, name: str, remedy: str = REMEDY) -> CheckedGraph:
    """Check the bytes of an ONNX file; messages name it ``name``, and end with ``remedy``.

    Raises:
        BundleError: the graph is refused; the message has the reason.

    >>> checked = check(model.bundle.graph, "model.onnx")
    >>> checked.inputs["spectrogram"], checked.outputs["logits"]
    ((1, 1, 24, 24), (1, 10))
    """
    try:
        return _check_model(WireReader(data).read("model"))
    except (_RefusedError, WireError) as error:
        raise BundleError(f'the graph of "{name}" is refused: {error}. {remedy}') from error


@dataclass(frozen=True, kw_only=True)
class Interface:
    """The inputs and outputs of an ONNX file of any program, and the tensors that each operator reads and writes.

    An input is its type (1: float32) and its sides, 0 if variable; weights are no inputs.
    """

    inputs: dict[str, tuple[int, Shape]]
    outputs: tuple[str, ...]
    operators: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    metadata: dict[str, str]


def read_interface(data: bytes, name: str, remedy: str = REMEDY) -> Interface:
    """Read the interface of an ONNX file, whose operators and sizes are not checked yet.

    Raises:
        BundleError: these are not the bytes of an ONNX file.

    >>> read_interface(model.bundle.graph, "model.onnx").inputs
    {'spectrogram': (1, (0, 1, 24, 24))}
    """
    try:
        proto = WireReader(data).read("model")
        if len(proto.get("graph", [])) != 1:
            raise _RefusedError(f"it has {len(proto.get('graph', []))} graphs instead of one")
        if (refused := _refused_bytes(proto)) > MAX_REFUSED_BYTES:
            raise _RefusedError(
                f"it has {refused:,} bytes of subgraphs, functions and the like; allowed: {MAX_REFUSED_BYTES:,}"
            )
        graph = proto["graph"][0]
        tensors = {_last(tensor, "name", "") for tensor in graph.get("initializer", [])}
        inputs = {name: found for name, found in map(_declared, graph.get("input", [])) if name not in tensors}
    except (_RefusedError, WireError) as error:
        raise BundleError(f'"{name}" is not an ONNX file that can be used: {error}. {remedy}') from error
    return Interface(
        inputs=inputs,
        outputs=tuple(_last(value, "name", "") for value in graph.get("output", [])),
        operators=tuple(
            (tuple(node.get("input", [])), tuple(node.get("output", []))) for node in graph.get("node", [])
        ),
        metadata={_last(entry, "key", ""): _last(entry, "value", "") for entry in proto.get("metadata_props", [])},
    )


def _refused_bytes(value: Any) -> int:
    """The bytes of all fields that are refused, which the reader does not descend into."""
    if isinstance(value, list):
        return sum(map(_refused_bytes, value))
    if not isinstance(value, dict):
        return 0
    return sum(
        sum(len(each) for each in found if isinstance(each, memoryview)) if key in REFUSED else _refused_bytes(found)
        for key, found in value.items()
    )


def _declared(value: Message) -> tuple[str, tuple[int, Shape]]:
    """The name of an input, its type, and its sides; 0 if variable."""
    tensor_type = _check_type(value)
    dims = _last(tensor_type, "shape", {}).get("dim", [])
    sides = tuple(max(0, _last(side, "dim_value", 0)) for side in dims)
    return _last(value, "name", ""), (_last(tensor_type, "elem_type", 0), sides)


def read_metadata(data: bytes) -> dict[str, str] | None:
    """The metadata of an ONNX file of any program; None if the bytes are not an ONNX file.

    >>> read_metadata(model.bundle.graph), read_metadata(b"hello")
    ({}, None)
    """
    try:
        proto = WireReader(data).read("model")
    except WireError:
        return None
    if "graph" not in proto:
        return None
    return {_last(entry, "key", ""): _last(entry, "value", "") for entry in proto.get("metadata_props", [])}


def _check_model(proto: Message) -> CheckedGraph:
    _refuse_fields(proto, "it")
    _check_opsets(proto.get("opset_import", []))
    if len(proto.get("graph", [])) != 1:
        raise _RefusedError(f"it has {len(proto.get('graph', []))} graphs instead of one")
    graph = _Graph(proto["graph"][0])
    first = graph.run(1)
    _check_cost(first, 1, MAX_VALUES, MAX_OPERATIONS)
    if first.live > MAX_LIVE_VALUES:
        raise _too_much("numbers at a time", first.live, MAX_LIVE_VALUES, 1)
    rows = max(1, min(MAX_RUN_VALUES // first.values, MAX_RUN_OPERATIONS // first.operations, MAX_ROWS))
    if graph.has_fixed_batch:
        return CheckedGraph(1, graph.inputs, first.outputs)
    if graph.reads_rows(first):
        rows = min(rows, MAX_LIVE_VALUES // first.live, MAX_ROWS_THAT_ARE_READ)
        for number in range(2, rows):
            cost = graph.run(number)
            _check_cost(cost, number, 2 * MAX_RUN_VALUES, 2 * MAX_RUN_OPERATIONS)
            _check_live(cost, number)
    # More than twice the limit: the cost grows faster than the number of windows.
    last = graph.run(rows)
    _check_cost(last, rows, 2 * MAX_RUN_VALUES, 2 * MAX_RUN_OPERATIONS)
    rows = min(rows, MAX_LIVE_VALUES // first.live)
    if graph.varying:
        _check_live(last, rows)
    return CheckedGraph(rows, graph.inputs, first.outputs)


def _check_live(cost: _Cost, rows: int) -> None:
    if cost.live > 2 * MAX_LIVE_VALUES:
        raise _too_much("numbers at a time", cost.live, 2 * MAX_LIVE_VALUES, rows)


def _check_opsets(imports: list[Message]) -> None:
    versions: dict[str, int] = {}
    for each in imports:
        domain = _last(each, "domain", "")
        domain = "" if domain in DOMAINS else domain
        if domain in versions:
            raise _RefusedError(f"it declares two versions of the operator set {_quoted(domain or 'ai.onnx')}")
        versions[domain] = _last(each, "version", 0)
    if versions.get("", 0) not in OPSETS:
        raise _RefusedError(
            f"it uses version {versions.get('', 0)} of the ONNX operators; allowed: {OPSETS[0]} to {OPSETS[-1]}"
        )


def _check_cost(cost: _Cost, rows: int, max_values: int, max_operations: int) -> None:
    for what, found, most in (
        ("numbers", cost.values, max_values),
        ("multiplications", cost.operations, max_operations),
    ):
        if found > most:
            raise _too_much(what, found, most, rows)


def _too_much(what: str, found: int, most: int, rows: int) -> _RefusedError:
    windows = "1 window" if rows == 1 else f"{rows} windows"
    return _RefusedError(f"it needs {float(found):.2g} {what} or more for {windows}; allowed: {float(most):.2g}")


@dataclass
class _Cost:
    """What the nodes of a graph compute for a number of windows; ``live`` values are in memory at the same time."""

    values: int = 1
    live: int = 1
    operations: int = 1
    outputs: dict[str, Shape] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)  # of all tensors


class _Graph:
    """The nodes, weights, inputs and outputs of a graph whose contents are allowed."""

    def __init__(self, graph: Message) -> None:
        _refuse_fields(graph, "it")
        nodes, tensors = graph.get("node", []), graph.get("initializer", [])
        if len(nodes) > MAX_NODES or len(tensors) > MAX_TENSORS:
            raise _RefusedError(
                f"it has {len(nodes):,} operators and {len(tensors):,} tensors; allowed: {MAX_NODES:,} and "
                f"{MAX_TENSORS:,}"
            )
        self.values: dict[str, Value] = {}
        self.n_stored = 0
        self.calls: list[tuple[Call, list[str], list[str]]] = []  # each without the values of its inputs
        self.in_8_bits = any(_last(node, "op_type", "") == "QuantizeLinear" for node in nodes)
        for node in nodes:  # before the weights, so that a message names an operator that is not allowed
            _check_operator(node)
        for tensor in tensors:
            self._add_constant(_last(tensor, "name", ""), tensor)
        for node in nodes:
            self._add_node(node)
        for value in graph.get("value_info", []):
            _check_type(value)
        batched = {name: shape for name, shape in map(_input_shape, graph.get("input", [])) if name not in self.values}
        self.has_fixed_batch = any(shape[0] > 0 for shape in batched.values())
        if any(shape[0] > 1 for shape in batched.values()):
            raise _RefusedError(f"its batch size is fixed at {max(shape[0] for shape in batched.values())}; allowed: 1")
        self.inputs = {name: (1, *shape[1:]) for name, shape in batched.items()}
        self.varying: frozenset[str] = (
            frozenset()
        )  # tensors whose shape depends on the number of windows, if one is read
        for value in graph.get("output", []):
            _check_type(value)
        self.outputs = [_last(value, "name", "") for value in graph.get("output", [])]
        self.last_used = _last_used(self.calls, set(self.outputs))

    def _add_constant(self, name: str, tensor: Message) -> None:
        if name in self.values:
            raise _RefusedError(f"it has two tensors called {_quoted(name)}")
        self.values[name] = value = _constant_value(tensor, name)
        self.n_stored += prod(value.shape)

    def _add_node(self, node: Message) -> None:
        operator = node["op_type"][-1]
        attributes = {}
        for each in node.get("attribute", []):
            _refuse_fields(each, f"its operator {operator}")
            attributes[_last(each, "name", "")] = _attribute(each)
        inputs, outputs = node.get("input", []), node.get("output", [])
        if operator == "Constant":
            self._add_constant(outputs[0] if outputs else "", _constant_tensor(attributes))
            return
        if operator == "ConstantOfShape" and isinstance(tensor := attributes.get("value"), dict):
            attributes["value"] = _one_number(_constant_value(tensor, "value"))
        if any(isinstance(value, dict) for value in attributes.values()):
            raise _RefusedError(f"its operator {operator} has a tensor as attribute")
        self.calls.append((Call(operator, (), attributes, len(outputs), self.in_8_bits), inputs, outputs))

    def reads_rows(self, first: _Cost) -> bool:
        """Whether an operator reads the number of windows, as part of a shape; ``first`` is the cost of one window."""
        readers = [names[0] for call, names, _ in self.calls if call.operator in ("Shape", "Size") and names]
        shapes = self.run(2).shapes if readers else {}
        varying = frozenset(name for name, shape in shapes.items() if first.shapes.get(name) != shape)
        self.varying = varying if varying.intersection(readers) else frozenset()
        return bool(self.varying)

    def run(self, rows: int) -> _Cost:
        """Compute the shapes of all tensors for ``rows`` windows, and their cost."""
        cost, values = _Cost(), dict(self.values)
        values |= {name: Value((rows, *shape[1:])) for name, shape in self.inputs.items()}
        computed = 0
        live = sum(prod(values[name].shape) for name in self.inputs)
        for position, (call, names, outputs) in enumerate(self.calls):
            missing = [name for name in names if name and name not in values]
            if missing:
                raise _RefusedError(
                    f"its operator {call.operator} needs {_quoted(missing[0])}, which is not computed before it"
                )
            inputs = [values[name] if name else None for name in names]
            try:
                call = replace(call, inputs=inputs)
                result = result_of(call)
            except ShapeError as error:
                raise _RefusedError(f"its operator {call.operator} is not valid: {error}") from error
            is_constant = all(value is None or value.is_constant for value in inputs)
            if call.operator in ("Shape", "Size") and names[0] not in self.varying:
                is_constant = True
            size = sum(map(prod, result.shapes))
            if is_constant:
                computed += max(size, result.operations // 64)
                if computed > MAX_COMPUTED + MAX_COMPUTED_PER_STORED * self.n_stored:
                    raise _RefusedError(f"its operator {call.operator} computes {computed:.2g} numbers from constants")
            cost.values += size
            cost.operations += result.operations
            live += 0 if is_constant else size
            cost.live = max(cost.live, live + result.scratch)
            if cost.values > 2 * MAX_RUN_VALUES or cost.operations > 2 * MAX_RUN_OPERATIONS:
                break  # too much: see _check_cost
            for name, shape in zip(outputs, result.shapes, strict=False):
                if name in values:
                    raise _RefusedError(f"it has two tensors called {_quoted(name)}")
                values[name] = known_value(call, shape, is_constant=is_constant)
            live -= sum(prod(values[name].shape) for name in self.last_used[position] if not values[name].is_constant)
        cost.outputs = {name: values[name].shape for name in self.outputs if name in values}
        cost.shapes = {name: value.shape for name, value in values.items()}
        return cost


def _last_used(calls: list[tuple[Call, list[str], list[str]]], kept: set[str]) -> list[list[str]]:
    """For each operator, the tensors that no later operator needs, and that are not ``kept``."""
    seen, found = set(kept) | {""}, []
    for _, inputs, outputs in reversed(calls):
        names = dict.fromkeys(name for name in (*inputs, *outputs) if name not in seen)
        seen |= names.keys()
        found.append(list(names))
    return found[::-1]


def _check_operator(node: Message) -> None:
    operator = _last(node, "op_type", "")
    domain = _last(node, "domain", "")
    if domain not in DOMAINS or operator not in RULES:
        full = operator if domain in DOMAINS else f"{domain}.{operator}"
        raise _RefusedError(
            f"the operator {one_line(full, 60)} is not allowed; allowed: those of ONNX without subgraphs, whose result "
            "has a size that is known in advance"
        )
    if _last(node, "overload", ""):
        raise _RefusedError(f"its operator {operator} is an overloaded function")
    _refuse_fields(node, f"its operator {operator}")


def _attribute(attribute: Message) -> Any:
    """The value of an attribute: a number, a list of numbers, bytes, or a tensor."""
    found: list[Any] = [attribute[key] for key in ("ints", "floats") if key in attribute]
    found += [attribute[key][-1] for key in ("i", "f", "t") if key in attribute]
    found += [bytes(text[-1][:100]) for text in (attribute.get("s"),) if text]
    if len(found) > 1:
        raise _RefusedError(f"its attribute {_quoted(_last(attribute, 'name', ''))} has values of two types")
    return found[0] if found else []


def _constant_tensor(attributes: dict[str, Any]) -> Message:
    """The tensor of a Constant operator."""
    if len(attributes) != 1:
        raise _RefusedError(f"its operator Constant has {len(attributes)} values instead of one")
    ((name, value),) = attributes.items()
    if name == "value" and isinstance(value, dict):
        return value
    numbers = value if isinstance(value, list) else [value]
    kinds = {"value_int": int, "value_ints": int, "value_float": float, "value_floats": float}
    if name not in kinds or not all(isinstance(number, kinds[name]) for number in numbers):
        raise _RefusedError(f"its operator Constant has the value {_quoted(name)}, which is not a tensor or a number")
    array = np.array(numbers, np.int64 if kinds[name] is int else np.float32)
    dims = [len(numbers)] if isinstance(value, list) else []
    return {"dims": dims, "data_type": [7 if kinds[name] is int else 1], "raw_data": [memoryview(array.tobytes())]}


def _constant_value(tensor: Message, name: str) -> Value:
    """Check a tensor, and return its shape; its numbers too if it is a short list of integers."""
    what = f"its tensor {_quoted(name)}"
    _refuse_fields(tensor, what)
    if _last(tensor, "data_location", 0) != 0:
        raise _RefusedError(f"{what} has data outside the file")
    data_type, shape = _last(tensor, "data_type", 0), tuple(tensor.get("dims", []))
    if data_type not in NUMERIC:
        raise _RefusedError(f"{what} has the type {data_type}, which is not a numeric type")
    if len(shape) > MAX_RANK or any(side < 0 for side in shape):
        raise _RefusedError(f"{what} has the shape {one_line(list(shape), 60)}")
    stored = {
        key: b"".join(tensor[key]) if len(tensor[key]) > 1 else tensor[key][0] for key in DATA_FIELDS if key in tensor
    }
    typed, width = TYPED_DATA[data_type]
    if set(stored) - {"raw_data", typed} or len(stored) > 1:
        raise _RefusedError(f"{what} stores its numbers as {' and '.join(sorted(stored))}")
    ((key, data),) = stored.items() or {"raw_data": memoryview(b"")}.items()
    array = np.frombuffer(data, np.uint8)
    width = NUMERIC[data_type] if key == "raw_data" else width
    count = len(array) / width if width else int(np.count_nonzero(array < 0x80))
    if count != prod(shape):
        raise _RefusedError(f"{what} has {count:g} numbers for the shape {list(shape)}")
    if not _is_finite(array, data_type if width else 0):
        raise _RefusedError(f"{what} contains NaN or infinite numbers")
    if data_type not in KINDS or prod(shape) > MAX_NUMBERS:
        return Value(shape, True)
    kind = np.dtype(KINDS[data_type])
    listed = array.view(kind).tolist() if width else packed_integers(memoryview(data))
    return Value(shape, True, tuple(listed), kind.name)


def _one_number(value: Value) -> np.ndarray | None:
    """The number of a tensor with one number; None if it is not known."""
    if prod(value.shape) != 1:
        raise _RefusedError(f"its operator ConstantOfShape has a value of the shape {list(value.shape)}")
    return None if value.numbers is None else np.array(value.numbers[0], value.kind)


def _is_finite(data: np.ndarray, data_type: int) -> bool:
    """Whether the numbers in ``data``, bytes, are finite; integers are."""
    if data_type == 16:  # bfloat16: NaN and infinite numbers have an exponent of ones
        return not bool((data.view(np.uint16) & 0x7F80 == 0x7F80).any())
    dtype = {1: np.float32, 10: np.float16, 11: np.float64}.get(data_type)
    return dtype is None or bool(np.isfinite(data.view(dtype)).all())


def _input_shape(value: Message) -> tuple[str, Shape]:
    """The name of an input, and its shape; the first axis is 0 if it is variable."""
    name, tensor_type = _last(value, "name", ""), _check_type(value)
    dims = _last(tensor_type, "shape", {}).get("dim", [])
    sides = [_last(side, "dim_value", 0) for side in dims]
    if not sides or len(sides) > MAX_RANK or min(sides[1:], default=1) < 1:
        raise _RefusedError(f"its input {_quoted(name)} has a variable shape: only the first axis may be variable")
    return name, (max(0, sides[0]), *sides[1:])


def _check_type(value: Message) -> Message:
    """The tensor type of an input, output or intermediate tensor; a value without type is a tensor."""
    kind: Message = _last(value, "type", {})
    _refuse_fields(kind, f"its tensor {_quoted(_last(value, 'name', ''))}")
    found: Message = _last(kind, "tensor_type", {})
    return found


def _refuse_fields(message: Message, what: str) -> None:
    for key in message:
        if refused := REFUSED.get(key):
            raise _RefusedError(f"{what} has {refused}, which {'are' if refused.endswith('s') else 'is'} not allowed")


def _last(message: Message, key: str, default: Any) -> Any:
    """The value of a field that occurs once; of several, protobuf takes the last one."""
    values = message.get(key)
    return values[-1] if values else default


def _quoted(name: str) -> str:
    return one_line(f'"{name}"', 60)
