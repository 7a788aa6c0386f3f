"""The shapes that operators on signals produce: Fourier transforms, their windows, mel filters, and resizing."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from soundmark.models.bundle.shapes import Call, Result, ShapeError, within


def _transform_cost(n: int) -> int:
    """Multiplications of a Fourier transform of length n; only powers of two are computed by an FFT."""
    return 8 * n * n.bit_length() if n & (n - 1) == 0 else 4 * n * n


def _stft(call: Call) -> Result:
    x, window = call.shape(), call.inputs[2] if len(call.inputs) > 2 else None
    if len(x) not in (2, 3) or (len(x) == 3 and x[2] not in (1, 2)):
        raise ShapeError(f"its signal has the shape {list(x)}")
    step = call.one_number("frame_step", 1)
    n = call.one_number("frame_length", 3, default=prod(window.shape) if window else None)
    if step < 1 or not 1 <= n <= x[1] or (window and window.shape != (n,)):
        raise ShapeError(f"its frames of {n} samples in steps of {step} do not fit its signal {list(x)}")
    onesided = call.integer("onesided", 1) and (len(x) == 2 or x[2] == 1)
    shape = (x[0], (x[1] - n) // step + 1, n // 2 + 1 if onesided else n, 2)
    return Result((shape,), x[0] * shape[1] * _transform_cost(n), scratch=32 * n)


def _dft(call: Call) -> Result:
    x = call.shape()
    if len(x) < 2 or x[-1] not in (1, 2):
        raise ShapeError(f"its input has the shape {list(x)}; the last axis must be 1 or 2")
    onesided = call.integer("onesided", 0)
    if onesided and call.integer("inverse", 0):
        raise ShapeError("it is both inverse and onesided")
    if "axis" not in call.attributes and len(call.inputs) < 3 and len(x) != 3:  # the default depends on the opset
        raise ShapeError(f"it has no axis for its input {list(x)}")
    axis = within(call.one_number("axis", 2, default=1), len(x))
    if axis == len(x) - 1:
        raise ShapeError("its axis is the last one")
    n = call.one_number("dft_length", 1, default=x[axis])
    if n < 1:
        raise ShapeError(f"its dft_length is {n}")
    shape = (*x[:axis], n // 2 + 1 if onesided else n, *x[axis + 1 : -1], 2)
    return Result((shape,), prod(x) // x[axis] * _transform_cost(n), scratch=32 * n)


def _window(call: Call) -> Result:
    n = call.one_number("size", 0)
    if n < 1:
        raise ShapeError(f"its size is {n}")
    return Result(((n,),), n)


def _mel_weights(call: Call) -> Result:
    bands, n = call.one_number("num_mel_bins", 0), call.one_number("dft_length", 1)
    if bands < 1 or n < 1:
        raise ShapeError(f"its num_mel_bins and dft_length are {bands} and {n}")
    shape = (n // 2 + 1, bands)
    return Result((shape,), prod(shape))


def _resize(call: Call) -> Result:
    """Sizes, or scales that give whole numbers of rows and columns: rounding would make the size uncertain."""
    x, axes = call.shape(), call.numbers("axes", 99)
    chosen = list(range(len(x))) if axes is None else [within(axis, len(x)) for axis in axes]
    if call.integer("antialias", 0) or len(set(chosen)) < len(chosen):
        raise ShapeError("its antialias or axes are not supported")
    scales = call.inputs[2] if len(call.inputs) > 2 else None
    sizes = call.numbers("sizes", 3)
    if sizes is None:
        if scales is None or scales.numbers is None or scales.kind != "float32":
            raise ShapeError("its sizes or scales are not a constant")
        exact = [float(np.float32(x[a]) * np.float32(s)) for a, s in zip(chosen, scales.numbers, strict=False)]
        if any(not 1 <= side < 1 << 31 or side != int(side) for side in exact):
            raise ShapeError("its scales do not give whole numbers")
        sizes = tuple(map(int, exact))
    if len(sizes) != len(chosen) or "keep_aspect_ratio_policy" in call.attributes:
        raise ShapeError(f"its sizes do not fit its input {list(x)}")
    sides = list(x)
    for axis, side in zip(chosen, sizes, strict=True):
        sides[axis] = side
    return Result((tuple(sides),), 16 * prod(sides), scratch=8 * sum(sides))


SIGNAL_RULES: dict[Callable[[Call], Result], str] = {
    _stft: "STFT",
    _dft: "DFT",
    _window: "BlackmanWindow HammingWindow HannWindow",
    _mel_weights: "MelWeightMatrix",
    _resize: "Resize",
}
