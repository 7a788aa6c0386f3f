"""The numbers in small tensors that are known before a graph runs: shapes, and what graphs compute from them.

Programs that export networks compute the shapes of later operators from those of earlier ones. Such chains are computed
here with the types and the rounding of ONNX Runtime; an operator that is not listed gives numbers that are not known.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from soundmark.models.bundle.array_shapes import shape_section
from soundmark.models.bundle.shapes import Call, Shape, Value

MAX_NUMBERS = 64  # of a known tensor; a longer one is not a shape or a list of axes


KINDS = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 11: "float64"}  # onnx.TensorProto.DataType → NumPy


MAX_CAST = 1 << 31  # conversions of greater numbers to integers differ between processors


Arrays = list[np.ndarray]


def known_value(call: Call, shape: Shape, *, is_constant: bool) -> Value:
    """Return the output of an operator, of the given ``shape``, with its numbers if they are known.

    >>> known_value(Call("Shape", [Value((1, 160))]), (2,), is_constant=True).numbers
    (1, 160)
    """
    unknown = Value(shape, is_constant)
    if call.n_outputs != 1 or prod(shape) > MAX_NUMBERS:
        return unknown
    found = _computed(call, shape)
    if found is None or found.dtype.name not in KINDS.values() or found.shape != shape:
        return unknown
    return Value(shape, is_constant, tuple(found.ravel().tolist()), found.dtype.name)


def _computed(call: Call, shape: Shape) -> np.ndarray | None:
    """The numbers of an output, or None."""
    if call.operator == "Shape":
        first, last = shape_section(call)
        return np.array(call.shape()[first:last], np.int64)
    if call.operator == "Size":
        return np.array(prod(call.shape()), np.int64)
    rule = _RULES.get(call.operator)
    inputs = [_array(value) for value in call.inputs]
    if rule is None or not inputs or any(array is None for array in inputs):
        return None
    try:
        with np.errstate(all="ignore"):
            return rule(call, inputs, shape)  # type: ignore[arg-type]
    except (ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError):
        return None


def _array(value: Value | None) -> np.ndarray | None:
    if value is None or value.numbers is None:
        return None
    return np.array(value.numbers, np.dtype(value.kind)).reshape(value.shape)


def _cast(call: Call, arrays: Arrays, shape: Shape) -> np.ndarray | None:
    kind, array = KINDS.get(call.integer("to", 0)), arrays[0]
    if kind is None or ("int" in kind and not (np.abs(array.astype(np.float64)) < MAX_CAST).all()):
        return None
    return array.astype(kind)


def _divided(call: Call, arrays: Arrays, shape: Shape) -> np.ndarray | None:
    a, b = arrays
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    if (b == 0).any():
        return None
    return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)  # towards zero, as in C


def _sliced(call: Call, arrays: Arrays, shape: Shape) -> np.ndarray:
    starts, ends = call.numbers("starts", 1) or (), call.numbers("ends", 2) or ()
    axes, steps = call.numbers("axes", 3) or tuple(range(len(starts))), call.numbers("steps", 4) or (1,) * len(starts)
    chosen = [slice(None)] * arrays[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        chosen[axis] = slice(start, end, step)
    return np.asarray(arrays[0][tuple(chosen)])


def _filled(call: Call, arrays: Arrays, shape: Shape) -> np.ndarray | None:
    value = call.attributes.get("value", np.float32(0))
    return None if value is None else np.full(shape, value)


def _counted(call: Call, arrays: Arrays, shape: Shape) -> np.ndarray:
    start, _, step = (array.item() for array in arrays)
    return np.asarray(start + step * np.arange(prod(shape))).astype(arrays[0].dtype)


def _elementwise(function: Callable[..., Any]) -> Callable[[Call, Arrays, Shape], np.ndarray | None]:
    def compute(call: Call, arrays: Arrays, shape: Shape) -> np.ndarray | None:
        if len({array.dtype for array in arrays}) > 1:
            return None
        return np.asarray(function(*arrays))

    return compute


def _joined(call: Call, arrays: Arrays, shape: Shape) -> np.ndarray | None:
    if len({array.dtype for array in arrays}) > 1:
        return None
    return np.concatenate(arrays, axis=call.axis(arrays[0].ndim, 0))


def _largest(function: Callable[..., Any]) -> Callable[[Call, Arrays, Shape], np.ndarray | None]:
    return _elementwise(lambda *arrays: functools.reduce(function, arrays))


def _where(call: Call, arrays: Arrays, shape: Shape) -> np.ndarray | None:
    return None if arrays[1].dtype != arrays[2].dtype else np.where(*arrays)


_RULES: dict[str, Callable[[Call, Arrays, Shape], np.ndarray | None]] = {
    "Cast": _cast,
    "Div": _divided,
    "Slice": _sliced,
    "ConstantOfShape": _filled,
    "Range": _counted,
    "Where": _where,
    "Identity": lambda call, arrays, shape: arrays[0],
    "Gather": lambda call, arrays, shape: np.take(arrays[0], arrays[1], axis=call.axis(arrays[0].ndim, 0)),
    "Concat": _joined,
    "Max": _largest(np.maximum),
    "Min": _largest(np.minimum),
    "ReduceProd": lambda call, arrays, shape: arrays[0].prod(dtype=arrays[0].dtype).reshape(shape),
    "Expand": lambda call, arrays, shape: np.broadcast_to(arrays[0], shape),
    **dict.fromkeys(
        ("Reshape", "Squeeze", "Unsqueeze", "Flatten"), lambda call, arrays, shape: arrays[0].reshape(shape)
    ),
    **{
        name: _elementwise(function)
        for name, function in {
            "Add": np.add,
            "Sub": np.subtract,
            "Mul": np.multiply,
            "Neg": np.negative,
            "Abs": np.abs,
            "Floor": np.floor,
            "Ceil": np.ceil,
            "Equal": np.equal,
            "Less": np.less,
            "LessOrEqual": np.less_equal,
            "Greater": np.greater,
            "GreaterOrEqual": np.greater_equal,
            "Not": np.logical_not,
            "And": np.logical_and,
            "Or": np.logical_or,
        }.items()
    },
}
