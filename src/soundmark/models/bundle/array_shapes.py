"""The shapes that operators on arrays produce: indexing, slicing, padding, comparisons, and arithmetic on shapes."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, isfinite, prod

from soundmark.models.bundle.shapes import (
    MAX_RANK,
    Call,
    Result,
    Shape,
    ShapeError,
    broadcast,
    elementwise,
    same,
    within,
)


def _shape(call: Call) -> Result:
    first, last = shape_section(call)
    return Result(((max(0, last - first),),), 1)


def shape_section(call: Call) -> tuple[int, int]:
    """Return the first axis of a Shape operator, and the axis after the last one.

    >>> from soundmark.models.bundle.shapes import Value
    >>> shape_section(Call("Shape", [Value((2, 3, 4))], {"start": -2}))
    (1, 3)
    """
    rank = len(call.shape())
    start, end = call.integer("start", 0), call.integer("end", rank)
    first, last = (min(max(axis + rank if axis < 0 else axis, 0), rank) for axis in (start, end))
    return first, last


def _size(call: Call) -> Result:
    call.shape()
    return Result(((),), 1)


def _gather(call: Call) -> Result:
    x, indices = call.shape(), call.shape(1)
    axis = call.axis(len(x), 0)
    shape = (*x[:axis], *indices, *x[axis + 1 :])
    return Result((shape,), prod(shape))


def _gather_elements(call: Call) -> Result:
    x, indices = call.shape(), call.shape(1)
    if len(x) != len(indices):
        raise ShapeError(f"its indices {list(indices)} do not fit its input {list(x)}")
    return Result((indices,), prod(indices))


def _gather_nd(call: Call) -> Result:
    x, indices, batch = call.shape(), call.shape(1), call.integer("batch_dims", 0)
    if not indices or not 0 <= batch < len(indices) or batch + indices[-1] > len(x):
        raise ShapeError(f"its indices {list(indices)} do not fit its input {list(x)}")
    shape = (*indices[:-1], *x[batch + indices[-1] :])
    return Result((shape,), prod(shape))


def _slice(call: Call) -> Result:
    x = call.shape()
    starts, ends = call.numbers("starts", 1), call.numbers("ends", 2)
    if starts is None or ends is None:
        raise ShapeError("it has no starts or ends")
    axes, steps = call.numbers("axes", 3) or tuple(range(len(starts))), call.numbers("steps", 4) or (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise ShapeError("its starts, ends, axes and steps do not fit each other")
    sides = list(x)
    for start, end, axis, step in zip(starts, ends, (within(axis, len(x)) for axis in axes), steps, strict=True):
        sides[axis] = len(range(*slice(start, end, step).indices(x[axis])))
    return Result((tuple(sides),), prod(sides))


def _pad(call: Call) -> Result:
    x, pads = call.shape(), call.numbers("pads", 1)
    axes = [within(axis, len(x)) for axis in call.numbers("axes", 3) or range(len(x))]
    if pads is None or len(pads) != 2 * len(axes) or len(set(axes)) < len(axes):
        raise ShapeError(f"its pads do not fit its input {list(x)}")
    sides = list(x)
    for i, axis in enumerate(axes):
        sides[axis] += pads[i] + pads[len(axes) + i]
    return Result((tuple(sides),), prod(sides))


def _wanted(call: Call, index: int) -> Shape:
    """The shape in the input ``index``."""
    found = call.numbers("shape", index)
    if found is None or len(found) > MAX_RANK or any(side < 0 for side in found):
        raise ShapeError(f"its shape is {None if found is None else list(found[:MAX_RANK])}")
    return found


def _expand(call: Call) -> Result:
    shape = broadcast(call.shape(), _wanted(call, 1))
    return Result((shape,), prod(shape))


def _constant_of_shape(call: Call) -> Result:
    shape = _wanted(call, 0)
    return Result((shape,), prod(shape))


def _tile(call: Call) -> Result:
    x, repeats = call.shape(), call.numbers("repeats", 1)
    if repeats is None or len(repeats) != len(x) or any(n < 1 for n in repeats):
        raise ShapeError(f"its repeats do not fit its input {list(x)}")
    shape = tuple(side * n for side, n in zip(x, repeats, strict=True))
    return Result((shape,), prod(shape))


def _range(call: Call) -> Result:
    numbers = [value.numbers for value in call.inputs if value is not None]
    if len(numbers) != 3 or any(found is None or len(found) != 1 for found in numbers):
        raise ShapeError("its start, limit and step are not constants")
    start, limit, step = (found[0] for found in numbers if found)
    if not (isfinite(start) and isfinite(limit) and isfinite(step)):
        raise ShapeError("its start, limit or step is not finite")
    if step == 0:
        raise ShapeError("its step is 0")
    return Result(((max(0, ceil((limit - start) / step)),),), 1)


def _arg(call: Call) -> Result:
    x = call.shape()
    axis, keep = call.axis(len(x), 0), call.integer("keepdims", 1)
    return Result(((*x[:axis], *((1,) if keep else ()), *x[axis + 1 :]),), prod(x))


def _depth_to_space(call: Call) -> Result:
    x, block = call.shape(), call.integer("blocksize", 0)
    if len(x) != 4 or block < 1 or x[1] % block**2:
        raise ShapeError(f"its blocksize {block} does not fit its input {list(x)}")
    return Result(((x[0], x[1] // block**2, x[2] * block, x[3] * block),), prod(x))


def _space_to_depth(call: Call) -> Result:
    x, block = call.shape(), call.integer("blocksize", 0)
    if len(x) != 4 or block < 1 or x[2] % block or x[3] % block:
        raise ShapeError(f"its blocksize {block} does not fit its input {list(x)}")
    return Result(((x[0], x[1] * block**2, x[2] // block, x[3] // block),), prod(x))


def _einsum(call: Call) -> Result:
    """At most two operands, each with different letters: ONNX Runtime then needs no greater intermediate result."""
    text = call.attributes.get("equation", b"")
    equation = text.decode("latin-1").replace(" ", "") if isinstance(text, bytes) else ""
    terms, arrow, output = equation.partition("->")
    operands = terms.split(",")
    shapes = [call.shape(i) for i in range(len(call.inputs))]
    letters = "".join((*operands, output))
    valid = arrow and letters.isalpha() and letters.isascii() and 1 <= len(operands) == len(shapes) <= 2
    sides: dict[str, int] = {}
    for operand, shape in zip(operands, shapes, strict=False):
        valid = valid and len(operand) == len(shape) == len(set(operand))
        for letter, side in zip(operand, shape, strict=False):
            valid = valid and sides.setdefault(letter, side) == side
    if not valid or not set(output) <= set(sides) or len(set(output)) < len(output):
        raise ShapeError(f"its equation {equation[:40]!r} is not one of one or two operands that fit its inputs")
    return Result((tuple(sides[letter] for letter in output),), prod(sides.values()), scratch=sum(map(prod, shapes)))


ARRAY_RULES: dict[Callable[[Call], Result], str] = {
    elementwise: "And Equal Greater GreaterOrEqual Less LessOrEqual Mod Or Where Xor",
    same: (
        "Acos Acosh Asin Asinh Atan Atanh CastLike Cos Cosh CumSum EyeLike IsInf IsNaN Not ScatterElements ScatterND "
        "Sin Sinh Tan Trilu"
    ),
    _shape: "Shape",
    _size: "Size",
    _gather: "Gather",
    _gather_elements: "GatherElements",
    _gather_nd: "GatherND",
    _slice: "Slice",
    _pad: "Pad",
    _expand: "Expand",
    _constant_of_shape: "ConstantOfShape",
    _tile: "Tile",
    _range: "Range",
    _arg: "ArgMax ArgMin",
    _depth_to_space: "DepthToSpace",
    _space_to_depth: "SpaceToDepth",
    _einsum: "Einsum",
}
