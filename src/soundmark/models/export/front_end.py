"""Representations as ONNX nodes: waveform ``[batch, samples]`` to spectrogram ``[batch, 1, freq, time]``.

ONNX's STFT operator is slow or missing in many runtimes. ``power_spectrum`` replaces it by two matrix products and a
rotation, with operators that every runtime has. The spectrogram equals that of the representation in NumPy, up to
rounding. For a waveform of fixed length, all lengths are constants; otherwise they are computed in the graph: see
``Length``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from soundmark.errors import SettingsError
from soundmark.spectrograms import LogMel, Mel, Representation, Waveform, logmel, mel
from soundmark.spectrograms.fourier import hann
from soundmark.spectrograms.resize import opencv_area

Length = int | str  # a constant, or the name of an int64 [1] tensor that is computed when the graph runs


END = 2**62  # the end of a slice without end


INTEGER_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a // b,
    "Max": max,
}


class Nodes:
    """Collects the nodes and constants of a graph; ``prefix`` makes their names unique.

    >>> nodes = Nodes("front_end")
    >>> nodes.add("Log", "waveform"), nodes.calculate("Div", 7, 2), len(nodes.nodes)
    ('front_end/Log_0', 3, 1)
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, and return the name of the output."""
        from onnx import helper

        name = f"{self.prefix}/{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, values: npt.ArrayLike, kind: type[np.generic] = np.float32) -> str:
        """Add a constant tensor, float32 or of another ``kind``, and return its name."""
        from onnx import numpy_helper

        name = f"{self.prefix}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def integers(self, *numbers: int) -> str:
        """Add a constant int64 ``[n]``, for shapes and axes, and return its name."""
        return self.constant(numbers, np.int64)

    def length_name(self, length: Length) -> str:
        """Return the name of the int64 ``[1]`` tensor of a length; add a constant if necessary."""
        return self.integers(length) if isinstance(length, int) else length

    def calculate(self, operator: str, a: Length, b: Length) -> Length:
        """Apply an integer operator: immediately if both lengths are constants, otherwise as a node of the graph."""
        if isinstance(a, int) and isinstance(b, int):
            return INTEGER_OPERATORS[operator](a, b)
        return self.add(operator, self.length_name(a), self.length_name(b))

    def slice(self, x: str, axis: int, start: Length, stop: Length) -> str:
        """Slice ``x`` from ``start`` to ``stop`` along ``axis``."""
        return self.add("Slice", x, self.length_name(start), self.length_name(stop), self.integers(axis))

    def reshape(self, x: str, *shape: int) -> str:
        """Reshape ``x``: 0 keeps the length of an axis, −1 is the remaining length."""
        return self.add("Reshape", x, self.integers(*shape))


def build(representation: Representation, nodes: Nodes, waveform: str, samples: int | None) -> str:
    """Add a representation to ``nodes``, and return the name of its output ``[batch, 1, freq, time]``.

    The output of the representation ``waveform`` is ``[batch, samples]``.

    ``samples`` is the length of the waveform ``[batch, samples]``; None for a waveform of any length.

    Raises:
        SettingsError: the representation cannot be exported, or not for waveforms of any length.

    >>> nodes = Nodes("front_end")
    >>> build(Mel(), nodes, "waveform", 88200) in nodes.nodes[-1].output
    True
    """
    n: Length = nodes.slice(nodes.add("Shape", waveform), 0, 1, 2) if samples is None else samples
    if isinstance(representation, Mel):
        return _mel(representation, nodes, waveform, n)
    if isinstance(representation, LogMel):
        return _logmel(representation, nodes, waveform, n)
    if isinstance(representation, Waveform):
        return _repeated(nodes, waveform, n, representation.window_samples)
    raise SettingsError(
        f"a model for {representation.name} spectrograms cannot be exported with its front end: an ONNX graph cannot "
        "reproduce their 8-bit images exactly. Train a model for mel or logmel spectrograms (--recipe notebook-mel, "
        "scratch or transfer)."
    )


def _mel(r: Mel, nodes: Nodes, waveform: str, n: Length) -> str:
    """``Mel.compute``: zero padding, decibels relative to the maximum, OpenCV's area resizing."""
    half = r.n_fft // 2
    hops = nodes.calculate("Div", nodes.calculate("Add", n, 2 * half - r.n_fft), r.hop_samples)
    count = nodes.calculate("Add", hops, 1)
    padded = nodes.add("Pad", waveform, nodes.integers(0, half, 0, r.n_fft + r.hop_samples))
    frames = _frames(nodes, padded, count, r.n_fft, r.hop_samples)
    power = power_spectrum(nodes, frames, hann(r.n_fft))
    bank = mel.mel_bank(r.rate_hz, r.n_fft, r.n_mels, r.f_min_hz, r.f_max_hz).dense()
    mels = nodes.add("MatMul", power, nodes.constant(_reordered(bank, r.n_fft)))
    mels = nodes.add("Unsqueeze", mels, nodes.integers(1))  # [batch, 1, frames, n_mels]
    quietest = nodes.constant(mel.QUIETEST)
    loudest = nodes.add("Max", nodes.add("GlobalMaxPool", mels), quietest)
    floor = nodes.add("Max", nodes.add("Div", quietest, loudest), nodes.constant(10 ** (-r.top_db / 20)))
    logs = nodes.add("Log", nodes.add("Max", nodes.add("Div", mels, loudest), floor))
    in_time, in_freq = _resizing(r, nodes, count)
    return nodes.add("Transpose", nodes.add("MatMul", nodes.add("MatMul", in_time, logs), in_freq), perm=[0, 1, 3, 2])


def _logmel(r: LogMel, nodes: Nodes, waveform: str, n: Length) -> str:
    """``LogMel.compute``: repeat or centre crop, pre-emphasis, reflection padding, ln of Kaldi's mel bands."""
    wanted = r.size[1] * r.hop_samples
    x, length = _repeated(nodes, waveform, n, wanted), max(wanted, r.n_fft)
    x = _repeated(nodes, x, wanted, length)
    before = nodes.add("Mul", nodes.slice(x, 1, 0, length - 1), nodes.constant(r.pre_emphasis))
    half = r.n_fft // 2
    padded = nodes.add(
        "Pad", nodes.add("Sub", nodes.slice(x, 1, 1, length), before), nodes.integers(0, half, 0, half), mode="reflect"
    )
    count = 1 + (length - 1 + 2 * half - r.n_fft) // r.hop_samples
    padded = nodes.add("Pad", padded, nodes.integers(0, 0, 0, r.n_fft + r.hop_samples))
    frames = _frames(nodes, padded, count, r.n_fft, r.hop_samples)
    power = power_spectrum(nodes, frames, logmel.symmetric_hann(r.window_samples, r.n_fft))
    bank = logmel.kaldi_bank(r.rate_hz, r.n_fft, r.size[0], r.f_max_hz, r.f_min_hz).dense()
    mels = nodes.add("MatMul", power, nodes.constant(_reordered(bank, r.n_fft)))
    if count != r.size[1]:  # a size of a few frames only may give fewer frames than columns
        mels = nodes.add("Gather", mels, nodes.integers(*(np.arange(r.size[1]) % count).tolist()), axis=1)
    # ln(K + ε) is computed as ln(1 + K/ε) + ln ε. So silence gives exactly the same number as in NumPy, and quiet
    # sounds nearly so, whatever the rounding of the runtime's logarithm: networks that amplify them amplify its error.
    over = nodes.add("Add", nodes.add("Mul", mels, nodes.constant(1 / logmel.QUIETEST)), nodes.constant(1))
    logs = nodes.add("Add", nodes.add("Log", over), nodes.constant(np.log(np.float32(logmel.QUIETEST))))
    scaled = nodes.add("Div", nodes.add("Sub", logs, nodes.constant(logmel.MIDDLE)), nodes.constant(logmel.SPREAD))
    return nodes.add("Unsqueeze", nodes.add("Transpose", scaled, perm=[0, 2, 1]), nodes.integers(1))


def _repeated(nodes: Nodes, x: str, n: Length, wanted: int) -> str:
    """Change ``x`` ``[batch, n]`` to ``[batch, wanted]``: repeat it from its start, or take its centre if longer."""
    if n == wanted:
        return x
    times = nodes.calculate("Div", nodes.calculate("Add", n, wanted - 1), n)
    if times != 1:
        x = nodes.add("Tile", x, nodes.add("Concat", nodes.integers(1), nodes.length_name(times), axis=0))
    start = nodes.calculate("Div", nodes.calculate("Max", nodes.calculate("Sub", n, wanted), 0), 2)
    return nodes.slice(x, 1, start, nodes.calculate("Add", start, wanted))


def _frames(nodes: Nodes, padded: str, count: Length, length: int, hop: int) -> str:
    """Split ``padded`` ``[batch, n]`` into overlapping frames ``[batch, count, length]``.

    The samples are reshaped to blocks of one hop. A frame is a sequence of consecutive blocks, cut to ``length``. The
    padding must include an extra frame at the end.
    """
    k = -(-length // hop)
    needed = nodes.calculate("Mul", nodes.calculate("Add", count, k - 1), hop)
    blocks = nodes.reshape(nodes.slice(padded, 1, 0, needed), 0, -1, hop)
    parts = [nodes.slice(blocks, 1, i, i - (k - 1) or END) for i in range(k)]
    joined = nodes.add("Concat", *parts, axis=2) if k > 1 else blocks
    return nodes.slice(joined, 2, 0, length) if k * hop > length else joined


def _factors(n: int) -> tuple[int, int]:
    """Return the two factors of n that are closest to each other, the smaller first."""
    first = max(i for i in range(1, math.isqrt(n) + 1) if n % i == 0)
    return first, n // first


def output_bins(n: int) -> npt.NDArray[np.intp]:
    """Return the frequency bin at each position of the output of ``power_spectrum``, 0 to n // 2, [positions].

    Frames are real, so bin n − k equals bin k, and some bins appear twice.

    >>> output_bins(4)
    array([0, 2, 1, 1])
    """
    first, second = _factors(n)
    k = (np.arange(first // 2 + 1)[:, None] + first * np.arange(second)).ravel()
    return np.minimum(k, n - k)


def power_spectrum(nodes: Nodes, frames: str, window: npt.NDArray[np.float32]) -> str:
    """Compute |DFT|² of windowed frames ``[batch, count, n]``: ``[batch, count, positions]`` (see ``output_bins``).

    With n = N₁·N₂, t = N₂·a + b and k = c + N₁·d, the transform has three steps (Cooley and Tukey, 1965):

        X[c + N₁·d] = Σ_b  e^(−2πi·b·d/N₂) · e^(−2πi·b·c/n) · Σ_a  e^(−2πi·a·c/N₁) · x[N₂·a + b]

    These are a product with a small matrix, a rotation and a second product. For n = 2048, this is a twelfth of the
    arithmetic of the DFT as one matrix, with 100 kB of constants instead of 17 MB. As x is real, c ≤ N₁/2 suffices.

    >>> nodes = Nodes("dft")
    >>> power_spectrum(nodes, "frames", hann(64)), len(nodes.nodes)
    ('dft/Reshape_13', 14)
    """
    n = len(window)
    first, second = _factors(n)
    kept = first // 2 + 1
    a, c, b, d = np.arange(first), np.arange(kept), np.arange(second), np.arange(second)
    outer = 2 * np.pi * np.outer(c, a) / first
    turn = 2 * np.pi * np.outer(c, b) / n
    inner = 2 * np.pi * np.outer(b, d) / second
    x = nodes.reshape(nodes.add("Mul", frames, nodes.constant(window)), 0, 0, first, second)
    real_and_imaginary = np.stack([np.cos(outer), -np.sin(outer)], axis=1).reshape(2 * kept, first)
    x = nodes.add("MatMul", nodes.constant(real_and_imaginary), x)
    x = nodes.reshape(x, 0, 0, kept, 2, second)
    swapped = nodes.add("Gather", x, nodes.integers(1, 0), axis=3)
    cosine = nodes.constant(np.cos(turn)[:, None])
    sine = nodes.constant(np.stack([np.sin(turn), -np.sin(turn)], axis=1))
    x = nodes.add("Add", nodes.add("Mul", x, cosine), nodes.add("Mul", swapped, sine))
    x = nodes.reshape(x, 0, 0, kept, 2 * second)
    x = nodes.add(
        "MatMul",
        x,
        nodes.constant(np.block([[np.cos(inner), -np.sin(inner)], [np.sin(inner), np.cos(inner)]])),
    )
    squares = nodes.reshape(nodes.add("Mul", x, x), 0, 0, kept, 2, second)
    power = nodes.add("ReduceSum", squares, nodes.integers(3), keepdims=0)
    return nodes.reshape(power, 0, 0, kept * second)


def _reordered(bank: npt.NDArray[np.float32], n_fft: int) -> npt.NDArray[np.float32]:
    """Reorder mel filters [n_mels, n_fft // 2 + 1] to weights [positions, n_mels] for the output of ``power_spectrum``.

    Of two positions of the same bin, one has the weight 0.
    """
    bins = output_bins(n_fft)
    weights = np.zeros((len(bins), len(bank)), np.float32)
    k, first = np.unique(bins, return_index=True)
    weights[first] = bank.T[k]
    return weights


def _resizing(r: Mel, nodes: Nodes, count: Length) -> tuple[str, str]:
    """The two matrices that resize log powers ``[frames, n_mels]``, multiplied from the left and from the right."""
    rows, columns = r.size
    area, taps = (
        opencv_area(r.n_mels, rows, shrinks=shrinks).dense().T * (20 / math.log(10))
        for shrinks in (r.n_mels >= rows, False)
    )
    if isinstance(count, int):
        shrinks = r.n_mels >= rows and count >= columns
        in_time = nodes.constant(opencv_area(count, columns, shrinks=shrinks).dense())
        return in_time, nodes.constant(area if shrinks else taps)
    if r.n_mels < rows:
        raise SettingsError(
            f"a mel spectrogram whose {r.n_mels} bands are enlarged to {rows} rows cannot be exported for any length: "
            "use --with-front-end without --dynamic."
        )
    few = nodes.add("Less", count, nodes.integers(columns))
    in_time = nodes.add("Where", few, _taps(nodes, count, columns), _areas(nodes, count, columns))
    return in_time, nodes.add("Where", few, nodes.constant(taps), nodes.constant(area))


def _frame_numbers(nodes: Nodes, count: str) -> str:
    """The numbers 0, 1, … count − 1 as float32 ``[count]``."""
    ends = (nodes.constant(0, np.int64), nodes.add("Squeeze", count), nodes.constant(1, np.int64))
    return nodes.add("Cast", nodes.add("Range", *ends), to=1)


def _areas(nodes: Nodes, count: str, columns: int) -> str:
    """``resize.opencv_area`` ``[columns, count]`` for shrinking: the fraction of each column that each frame covers.

    Lengths are measured in units of 1 / columns of a frame. They are integers, so float32 is exact.
    """
    frame = nodes.add("Mul", _frame_numbers(nodes, count), nodes.constant(columns))
    width = nodes.add("Cast", count, to=1)
    column = np.arange(columns, dtype=np.float32)[:, None]
    starts, stops = (nodes.add("Mul", nodes.constant(column + side), width) for side in (0, 1))
    stop = nodes.add("Min", nodes.add("Add", frame, nodes.constant(columns)), stops)
    covered = nodes.add("Relu", nodes.add("Sub", stop, nodes.add("Max", frame, starts)))
    return nodes.add("Div", covered, width)


def _taps(nodes: Nodes, count: str, columns: int) -> str:
    """``resize.opencv_area`` ``[columns, count]`` for enlarging, used if there are fewer frames than columns.

    Each column is a weighted mean of two consecutive frames, so one position per column determines both: the weights
    are 1 − |distance|. A table has the positions for each number of frames below the number of columns.
    """
    table = np.zeros((max(1, columns - 1), columns, 1))
    for frames in range(1, columns):
        table[frames - 1, :, 0] = opencv_area(frames, columns, shrinks=False).dense() @ np.arange(frames)
    last = nodes.integers(len(table))
    row = nodes.add("Sub", nodes.add("Min", count, last), nodes.integers(1))
    position = nodes.add("Squeeze", nodes.add("Gather", nodes.constant(table), row, axis=0), nodes.integers(0))
    distance = nodes.add("Abs", nodes.add("Sub", _frame_numbers(nodes, count), position))
    return nodes.add("Relu", nodes.add("Sub", nodes.constant(1), distance))
