"""The shapes that the operators of networks produce, and their cost.

A rule computes the shapes of an operator's outputs from those of its inputs, and the number of multiplications.
Source: the ONNX operator specifications, opsets 7 to 26.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from math import prod
from typing import Any

Shape = tuple[int, ...]


class ShapeError(ValueError):
    """The shapes of a node do not fit, or cannot be computed; the text is the reason."""


@dataclass(frozen=True)
class Value:
    """A tensor: its shape, whether it is computed from constants only, and the numbers of a small known tensor.

    ``kind`` is the NumPy type of the ``numbers``, which are in the order of memory.
    """

    shape: Shape
    is_constant: bool = False
    numbers: tuple[float, ...] | None = None
    kind: str = "int64"


@dataclass(frozen=True)
class Call:
    """An operator, its inputs (None: omitted), its attributes, and the number of its outputs.

    ``in_8_bits``: it is part of a graph that quantises, so ONNX Runtime may compute it in 8 bits.
    """

    operator: str
    inputs: Sequence[Value | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    n_outputs: int = 1
    in_8_bits: bool = False

    def shape(self, index: int = 0) -> Shape:
        """The shape of an input.

        >>> Call("Relu", [Value((1, 8))]).shape()
        (1, 8)
        """
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise ShapeError(f"its input {index} is missing")
        return value.shape

    def numbers(self, name: str, index: int) -> tuple[int, ...] | None:
        """A list of integers, an attribute or (in later opsets) an input that must be a constant; None if omitted.

        >>> Call("Squeeze", [Value((1, 8)), Value((1,), True, (0,))]).numbers("axes", 1)
        (0,)
        """
        if name in self.attributes:
            found = self.attributes[name]
            if not isinstance(found, list) or not all(isinstance(number, int) for number in found):
                raise ShapeError(f"its {name} are not whole numbers")
            return tuple(found)
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            return None
        if value.numbers is None or value.kind not in ("int32", "int64"):
            raise ShapeError(f"its {name} are not a constant")
        return tuple(int(number) for number in value.numbers)

    def one_number(self, name: str, index: int, default: int | None = None) -> int:
        """A whole number, an attribute or an input that must be a constant.

        >>> Call("STFT", [None, Value((), True, (160,))]).one_number("frame_step", 1)
        160
        """
        if isinstance(self.attributes.get(name), int):
            return int(self.attributes[name])
        found = self.numbers(name, index)
        if found is None and default is not None:
            return default
        if found is None or len(found) != 1:
            raise ShapeError(f"its {name} is not one number")
        return found[0]

    def integer(self, name: str, default: int) -> int:
        """An integer attribute.

        >>> Call("Softmax", [], {"axis": 1}).integer("axis", -1)
        1
        """
        found = self.attributes.get(name, default)
        if not isinstance(found, int):
            raise ShapeError(f"its {name} is not a whole number")
        return found

    def axis(self, rank: int, default: int) -> int:
        """The attribute ``axis``, from 0 to ``rank`` − 1.

        >>> Call("Concat", [], {"axis": -1}).axis(4, 0)
        3
        """
        return within(self.integer("axis", default), rank)


@dataclass(frozen=True)
class Result:
    """The shapes of a node's outputs, its number of multiplications, and the numbers that it needs while it runs."""

    shapes: tuple[Shape, ...]
    operations: int
    scratch: int = 0


def within(axis: int, rank: int) -> int:
    """Return an axis counted from the front.

    >>> within(-1, 4)
    3
    """
    if not -rank <= axis < rank:
        raise ShapeError(f"it has the axis {axis} of a tensor with {rank} axes")
    return axis % rank


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape of an elementwise operation.

    >>> broadcast((8, 1, 3), (4, 1))
    (8, 4, 3)
    """
    sides: list[int] = []
    for column in zip_longest(*(shape[::-1] for shape in shapes), fillvalue=1):
        others = set(column) - {1}
        if len(others) > 1:
            raise ShapeError(f"its inputs have the shapes {', '.join(str(list(shape)) for shape in shapes)}")
        sides.append(others.pop() if others else 1)
    return tuple(sides[::-1])


def elementwise(call: Call) -> Result:
    """An operator of each element, whose inputs are broadcast.

    >>> elementwise(Call("Add", [Value((8, 1)), Value((3,))])).shapes
    ((8, 3),)
    """
    shape = broadcast(*(value.shape for value in call.inputs if value is not None))
    return Result((shape,), prod(shape))


def same(call: Call) -> Result:
    """An operator whose output has the shape of its first input.

    >>> same(Call("Relu", [Value((8, 3))])).shapes
    ((8, 3),)
    """
    return Result((call.shape(),), 4 * prod(call.shape()))


def _cast(call: Call) -> Result:
    if call.integer("to", 0) not in NUMERIC:
        raise ShapeError("it converts to a type that is not a number")
    return same(call)


def _constant(call: Call) -> Result:
    raise ShapeError("its value is not a tensor or a number")


def _spatial(call: Call, size: Shape, kernel: Shape) -> Shape:
    """The size of the output of a convolution or pooling."""
    n = len(size)
    if not 1 <= n <= 2 or len(kernel) != n:
        raise ShapeError(f"its kernel has {len(kernel)} axes for {n} spatial axes; allowed: 1 or 2")
    strides, dilations, pads = (call.numbers(key, 99) for key in ("strides", "dilations", "pads"))
    strides, dilations, pads = strides or (1,) * n, dilations or (1,) * n, pads or (0,) * 2 * n
    if len(strides) != n or len(dilations) != n or len(pads) != 2 * n or min(*strides, *dilations, *kernel) < 1:
        raise ShapeError("its strides, dilations, pads or kernel do not fit its input")
    if min(pads) < 0:
        raise ShapeError("its pads are negative")
    same = call.attributes.get("auto_pad") in (b"SAME_UPPER", b"SAME_LOWER")
    rounding = strides if call.integer("ceil_mode", 0) else (1,) * n
    return tuple(
        -(-size[i] // strides[i])
        if same
        else (size[i] + pads[i] + pads[n + i] - dilations[i] * (kernel[i] - 1) - 1 + rounding[i] - 1) // strides[i] + 1
        for i in range(n)
    )


def _conv(call: Call) -> Result:
    x, weights, groups = call.shape(), call.shape(1), call.integer("group", 1)
    if len(x) < 3 or len(weights) != len(x) or groups < 1 or x[1] != weights[1] * groups:
        raise ShapeError(f"its weights {list(weights)} do not fit its input {list(x)}")
    if "kernel_shape" in call.attributes and call.numbers("kernel_shape", 99) != weights[2:]:
        raise ShapeError("its kernel_shape is not that of its weights")
    shape = (x[0], weights[0], *_spatial(call, x[2:], weights[2:]))
    addresses = 2 * prod(weights[2:]) * prod(shape[2:]) if call.in_8_bits else 0  # of 8 bytes: see QLinearConv
    return Result((shape,), prod(shape) * prod(weights[1:]), scratch=addresses)


def _conv_transpose(call: Call) -> Result:
    x, weights, groups = call.shape(), call.shape(1), call.integer("group", 1)
    n = len(x) - 2
    if not 1 <= n <= 2 or len(weights) != len(x) or groups < 1 or x[1] != weights[0] or x[1] % groups:
        raise ShapeError(f"its weights {list(weights)} do not fit its input {list(x)}")
    if any(key in call.attributes for key in ("output_shape", "auto_pad")):
        raise ShapeError("its output_shape or auto_pad are not supported")
    strides, dilations, pads, more = (
        call.numbers(key, 99) for key in ("strides", "dilations", "pads", "output_padding")
    )
    strides, dilations, pads, more = strides or (1,) * n, dilations or (1,) * n, pads or (0,) * 2 * n, more or (0,) * n
    if (len(strides), len(dilations), len(pads), len(more)) != (n, n, 2 * n, n) or min(*strides, *dilations) < 1:
        raise ShapeError("its strides, dilations, pads or output_padding do not fit its input")
    if min(*pads, *more) < 0:
        raise ShapeError("its pads are negative")
    full = [(x[2 + i] - 1) * strides[i] + more[i] + dilations[i] * (weights[2 + i] - 1) + 1 for i in range(n)]
    shape = (x[0], weights[1] * groups, *(full[i] - pads[i] - pads[n + i] for i in range(n)))
    return Result((shape,), prod(x) * prod(weights[1:]), scratch=prod(x[2:]) * prod(weights[1:]))


def _pool(call: Call) -> Result:
    x, kernel = call.shape(), call.numbers("kernel_shape", 99)
    if len(x) < 3 or not kernel:
        raise ShapeError("it has no kernel_shape for its input")
    shape = (*x[:2], *_spatial(call, x[2:], kernel))
    return Result((shape,), prod(shape) * prod(kernel))


def _local_normalization(call: Call) -> Result:
    """Each number by its ``size`` neighbours in the axis of channels, which ONNX Runtime pads on both sides."""
    x, size = call.shape(), call.integer("size", 0)
    if len(x) < 3 or size < 1 or size % 2 == 0:
        raise ShapeError(f"its size is {size} for its input {list(x)}")
    padded = (x[1] + size - 1) * prod(x[2:])
    return Result((x,), 4 * prod(x) + padded, scratch=prod(x) + padded)


def _global_pool(call: Call) -> Result:
    x = call.shape()
    return Result(((*x[:2], *(1 for _ in x[2:])),), prod(x))


def _matmul(call: Call) -> Result:
    a, b = call.shape(), call.shape(1)
    if not a or not b or a[-1] != b[max(0, len(b) - 2)]:
        raise ShapeError(f"it multiplies the shapes {list(a)} and {list(b)}")
    shape = (*broadcast(a[:-2], b[:-2]), *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))
    return Result((shape,), prod(shape) * a[-1])


def _attention(call: Call) -> Result:
    """Queries, keys and values, [batch, heads, n, d] each or [batch, n, heads · d], without earlier keys and values."""
    q, k, v = (call.shape(i) for i in range(3))
    if call.n_outputs > 1 or any(call.inputs[4:]):
        raise ShapeError("it has earlier keys and values, or several outputs")
    if len(q) == 3:
        heads = call.integer("q_num_heads", 0), *(call.integer("kv_num_heads", 0),) * 2
        if any(n < 1 or len(x) != 3 or x[2] % n for n, x in zip(heads, (q, k, v), strict=True)):
            raise ShapeError(f"its numbers of heads {list(heads)} do not fit its inputs")
        wide = [(x[0], n, x[1], x[2] // n) for n, x in zip(heads, (q, k, v), strict=True)]
    else:
        wide = [q, k, v]  # type: ignore[list-item]  # their length is checked next
    fits = all(len(x) == 4 for x in wide) and wide[0][3] == wide[1][3] and wide[1][:3] == wide[2][:3]
    if not fits or wide[0][0] != wide[1][0] or wide[0][1] % wide[1][1]:
        raise ShapeError(f"its inputs have the shapes {list(q)}, {list(k)} and {list(v)}")
    weights = prod(wide[0][:3]) * wide[1][2]
    shape = (*wide[0][:3], wide[2][3]) if len(q) == 4 else (q[0], q[1], wide[0][1] * wide[2][3])
    return Result((shape,), weights * (wide[0][3] + wide[2][3]), scratch=3 * weights + 2 * prod(q) + prod(k) + prod(v))


def _gemm(call: Call) -> Result:
    a, b = (
        call.shape(i)[::-1] if call.integer(key, 0) else call.shape(i) for i, key in enumerate(("transA", "transB"))
    )
    if len(a) != 2 or len(b) != 2 or a[1] != b[0]:
        raise ShapeError(f"it multiplies the shapes {list(a)} and {list(b)}")
    return Result(((a[0], b[1]),), a[0] * a[1] * b[1])


def _reshape(call: Call) -> Result:
    x, wanted = call.shape(), call.numbers("shape", 1)
    if wanted is None:
        raise ShapeError("it has no shape")
    copies = not call.integer("allowzero", 0)
    if len(wanted) > MAX_RANK or wanted.count(-1) > 1 or (copies and 0 in wanted[len(x) :]):
        raise ShapeError(f"its shape is {list(wanted)}")
    sides = [x[i] if side == 0 and copies else side for i, side in enumerate(wanted)]
    known = prod(side for side in sides if side != -1)
    if known < 1 or prod(x) % known or (-1 not in sides and known != prod(x)):
        raise ShapeError(f"it cannot reshape {list(x)} to {list(wanted)}")
    return Result((tuple(prod(x) // known if side == -1 else side for side in sides),), prod(x))


def _flatten(call: Call) -> Result:
    x, axis = call.shape(), call.integer("axis", 1)
    axis = len(x) if axis == len(x) else within(axis, len(x))
    return Result(((prod(x[:axis]), prod(x[axis:])),), prod(x))


def _transpose(call: Call) -> Result:
    x = call.shape()
    order = call.numbers("perm", 99) or tuple(range(len(x)))[::-1]
    if sorted(order) != list(range(len(x))):
        raise ShapeError(f"its perm is {list(order)} for {len(x)} axes")
    return Result((tuple(x[i] for i in order),), prod(x))


def reduce(call: Call) -> Result:
    """A reduction over the axes in the attribute or second input ``axes``.

    >>> reduce(Call("ReduceMean", [Value((2, 3, 4))], {"axes": [1], "keepdims": 0})).shapes
    ((2, 4),)
    """
    x, axes = call.shape(), call.numbers("axes", 1)
    if not axes and call.integer("noop_with_empty_axes", 0):
        return Result((x,), prod(x))
    reduced = {within(axis, len(x)) for axis in axes} if axes else set(range(len(x)))
    keep = call.integer("keepdims", 1)
    return Result((tuple(1 if i in reduced else x[i] for i in range(len(x)) if keep or i not in reduced),), prod(x))


def _concat(call: Call) -> Result:
    shapes = [call.shape(i) for i in range(len(call.inputs))]
    if not shapes or not shapes[0]:
        raise ShapeError("it has no inputs with an axis")
    axis = call.axis(len(shapes[0]), 0)
    if len({(len(shape), shape[:axis], shape[axis + 1 :]) for shape in shapes}) > 1:
        raise ShapeError(f"its inputs have the shapes {', '.join(str(list(shape)) for shape in shapes)}")
    shape = (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])
    return Result((shape,), prod(shape))


def _split(call: Call) -> Result:
    x = call.shape()
    axis, sizes = call.axis(len(x), 0), call.numbers("split", 1)
    if sizes is None:
        size = -(-x[axis] // call.n_outputs)
        sizes = (size,) * (call.n_outputs - 1) + (x[axis] - size * (call.n_outputs - 1),)
    if sum(sizes) != x[axis] or min(sizes) < 1:
        raise ShapeError(f"it splits an axis of {x[axis]} into {list(sizes)}")
    return Result(tuple((*x[:axis], size, *x[axis + 1 :]) for size in sizes), prod(x))


def _squeeze(call: Call) -> Result:
    x, axes = call.shape(), call.numbers("axes", 1)
    removed = {within(axis, len(x)) for axis in axes} if axes else {i for i, side in enumerate(x) if side == 1}
    if any(x[i] != 1 for i in removed):
        raise ShapeError(f"it removes axes {sorted(removed)} of {list(x)}")
    return Result((tuple(side for i, side in enumerate(x) if i not in removed),), prod(x))


def _unsqueeze(call: Call) -> Result:
    x, axes = call.shape(), call.numbers("axes", 1) or ()
    rank = len(x) + len(axes)
    if rank > MAX_RANK:
        raise ShapeError(f"its output has {rank} axes; allowed: {MAX_RANK}")
    added = {within(axis, rank) for axis in axes}
    if len(added) < len(axes):
        raise ShapeError(f"its axes are {list(axes)}")
    sides = iter(x)
    return Result((tuple(1 if i in added else next(sides) for i in range(rank)),), prod(x))


MAX_RANK = 8  # axes of a tensor


# onnx.TensorProto.DataType → bytes per number; strings, complex numbers and 4-bit types are not allowed.
NUMERIC = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}


NETWORK_RULES: dict[Callable[[Call], Result], str] = {
    elementwise: "Add Div Max Mean Min Mul Pow PRelu Sub Sum",
    same: (
        "Abs BatchNormalization Ceil Celu Clip DequantizeLinear Dropout Elu Erf Exp Floor Gelu HardSigmoid HardSwish "
        "GroupNormalization Hardmax Identity InstanceNormalization LayerNormalization LeakyRelu Log LogSoftmax "
        "LpNormalization MeanVarianceNormalization Mish Neg QuantizeLinear RMSNormalization Reciprocal Relu Round "
        "Selu Sigmoid Sign Softmax Softplus Softsign Sqrt Swish Tanh ThresholdedRelu"
    ),
    _cast: "Cast",
    _constant: "Constant",  # its tensor is checked like the weights
    _conv: "Conv",
    _conv_transpose: "ConvTranspose",
    _pool: "AveragePool MaxPool",
    _local_normalization: "LRN",
    _global_pool: "GlobalAveragePool GlobalMaxPool",
    _matmul: "MatMul",
    _attention: "Attention",
    _gemm: "Gemm",
    _reshape: "Reshape",
    _flatten: "Flatten",
    _transpose: "Transpose",
    reduce: (
        "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
        "ReduceSumSquare"
    ),
    _concat: "Concat",
    _split: "Split",
    _squeeze: "Squeeze",
    _unsqueeze: "Unsqueeze",
}
