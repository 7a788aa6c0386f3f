"""A representation as a part of an ONNX graph: waveform ``[batch, samples]`` to spectrogram ``[batch, 1, freq, time]``.

ONNX's own STFT is slow or missing in many runtimes; here it is two matrix products and a rotation (``_power``), with
operators that every runtime has. ``build`` gives what the representation in NumPy gives, up to rounding. Lengths are
numbers where the waveform has a fixed one, and are computed in the graph where it has not: see ``Count``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from soundmark.errors import SettingsError
from soundmark.spectrograms import LogMel, Mel, Representation, logmel, mel
from soundmark.spectrograms.fourier import hann
from soundmark.spectrograms.resize import opencv_area

Count = int | str  # a number that is known, or the name of the int64 [1] that holds it when the graph runs


END = 2**62  # of a slice that goes to the end


INTEGER_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a // b,
    "Max": max,
}


class Nodes:
    """The nodes and constants of a graph in the making; ``prefix`` keeps their names apart from others'.

    >>> nodes = Nodes("front_end")
    >>> nodes.add("Log", "waveform"), nodes.reckon("Div", 7, 2), len(nodes.nodes)
    ('front_end/Log_0', 3, 1)
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        from onnx import helper

        name = f"{self.prefix}/{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, values: npt.ArrayLike, kind: type[np.generic] = np.float32) -> str:
        """Add a constant of float32, or of another ``kind``, and return its name."""
        from onnx import numpy_helper

        name = f"{self.prefix}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def whole(self, *numbers: int) -> str:
        """Whole numbers, int64 ``[n]``, as shapes and axes are given."""
        return self.constant(numbers, np.int64)

    def count(self, number: Count) -> str:
        """The name of the int64 ``[1]`` that holds a number, known or not."""
        return self.whole(number) if isinstance(number, int) else number

    def reckon(self, operator: str, a: Count, b: Count) -> Count:
        """Whole-number arithmetic: here, where both are known, and else in the graph."""
        if isinstance(a, int) and isinstance(b, int):
            return INTEGER_OPERATORS[operator](a, b)
        return self.add(operator, self.count(a), self.count(b))

    def cut(self, x: str, axis: int, start: Count, stop: Count) -> str:
        """``x`` from ``start`` to ``stop`` along ``axis``."""
        return self.add("Slice", x, self.count(start), self.count(stop), self.whole(axis))

    def shaped(self, x: str, *shape: int) -> str:
        """``x`` in another shape: 0 leaves a side as it is, −1 is what remains."""
        return self.add("Reshape", x, self.whole(*shape))


def build(representation: Representation, nodes: Nodes, waveform: str, samples: int | None) -> str:
    """Add the representation to ``nodes``; the name of its ``[batch, 1, freq, time]``.

    ``samples`` is the length of the waveform ``[batch, samples]``, None where it is known only when the graph runs.

    Raises:
        SettingsError: there is no such graph for this representation, or none for any length.

    >>> nodes = Nodes("front_end")
    >>> build(Mel(), nodes, "waveform", 88200) in nodes.nodes[-1].output
    True
    """
    n: Count = nodes.cut(nodes.add("Shape", waveform), 0, 1, 2) if samples is None else samples
    if isinstance(representation, Mel):
        return _mel(representation, nodes, waveform, n)
    if isinstance(representation, LogMel):
        return _logmel(representation, nodes, waveform, n)
    raise SettingsError(
        f"a model of {representation.name} spectrograms cannot be exported with its front end: it sees pictures of "
        "8 bits, which no graph draws to the bit. Train one of mel or logmel (--recipe notebook-mel, scratch or "
        "transfer)."
    )


def _mel(r: Mel, nodes: Nodes, waveform: str, n: Count) -> str:
    """``Mel.compute``: zeros about the sound, decibels below its loudest place, resized as OpenCV does."""
    half = r.n_fft // 2
    count = nodes.reckon("Add", nodes.reckon("Div", nodes.reckon("Add", n, 2 * half - r.n_fft), r.hop_samples), 1)
    padded = nodes.add("Pad", waveform, nodes.whole(0, half, 0, r.n_fft + r.hop_samples))
    frames = _frames(nodes, padded, count, r.n_fft, r.hop_samples)
    power = _power(nodes, frames, hann(r.n_fft))
    bank = mel.mel_bank(r.rate_hz, r.n_fft, r.n_mels).dense()
    mels = nodes.add("MatMul", power, nodes.constant(_folded(bank, r.n_fft)))
    mels = nodes.add("Unsqueeze", mels, nodes.whole(1))  # [batch, 1, frames, n_mels]
    quietest = nodes.constant(mel.QUIETEST)
    loudest = nodes.add("Max", nodes.add("GlobalMaxPool", mels), quietest)
    floor = nodes.add("Max", nodes.add("Div", quietest, loudest), nodes.constant(10 ** (-r.top_db / 20)))
    logs = nodes.add("Log", nodes.add("Max", nodes.add("Div", mels, loudest), floor))
    in_time, in_freq = _resizing(r, nodes, count)
    return nodes.add("Transpose", nodes.add("MatMul", nodes.add("MatMul", in_time, logs), in_freq), perm=[0, 1, 3, 2])


def _logmel(r: LogMel, nodes: Nodes, waveform: str, n: Count) -> str:
    """``LogMel.compute``: repeated or the middle of it, pre-emphasis, reflection, ln of Kaldi's bands."""
    wanted = r.size[1] * r.hop_samples
    x, length = _repeated(nodes, waveform, n, wanted), max(wanted, r.n_fft)
    x = _repeated(nodes, x, wanted, length)
    before = nodes.add("Mul", nodes.cut(x, 1, 0, length - 1), nodes.constant(r.pre_emphasis))
    half = r.n_fft // 2
    padded = nodes.add(
        "Pad", nodes.add("Sub", nodes.cut(x, 1, 1, length), before), nodes.whole(0, half, 0, half), mode="reflect"
    )
    count = 1 + (length - 1 + 2 * half - r.n_fft) // r.hop_samples
    padded = nodes.add("Pad", padded, nodes.whole(0, 0, 0, r.n_fft + r.hop_samples))
    frames = _frames(nodes, padded, count, r.n_fft, r.hop_samples)
    power = _power(nodes, frames, logmel.symmetric_hann(r.window_samples, r.n_fft))
    bank = logmel.kaldi_bank(r.rate_hz, r.n_fft, r.size[0], r.f_max_hz).dense()
    mels = nodes.add("MatMul", power, nodes.constant(_folded(bank, r.n_fft)))
    if count != r.size[1]:  # a few frames alone may be too few
        mels = nodes.add("Gather", mels, nodes.whole(*(np.arange(r.size[1]) % count).tolist()), axis=1)
    # ln(K + ε) as ln(1 + K/ε) + ln ε, so that silence is the very number that it is in NumPy, whatever the runtime's
    # logarithm does with its last bit, and faint sounds nearly so: a network that turns them up hears that bit.
    over = nodes.add("Add", nodes.add("Mul", mels, nodes.constant(1 / logmel.QUIETEST)), nodes.constant(1))
    logs = nodes.add("Add", nodes.add("Log", over), nodes.constant(np.log(np.float32(logmel.QUIETEST))))
    scaled = nodes.add("Div", nodes.add("Sub", logs, nodes.constant(logmel.MIDDLE)), nodes.constant(logmel.SPREAD))
    return nodes.add("Unsqueeze", nodes.add("Transpose", scaled, perm=[0, 2, 1]), nodes.whole(1))


def _repeated(nodes: Nodes, x: str, n: Count, wanted: int) -> str:
    """``x`` ``[batch, n]`` to ``[batch, wanted]``: repeated from its beginning, or the middle of what is longer."""
    if n == wanted:
        return x
    times = nodes.reckon("Div", nodes.reckon("Add", n, wanted - 1), n)
    if times != 1:
        x = nodes.add("Tile", x, nodes.add("Concat", nodes.whole(1), nodes.count(times), axis=0))
    start = nodes.reckon("Div", nodes.reckon("Max", nodes.reckon("Sub", n, wanted), 0), 2)
    return nodes.cut(x, 1, start, nodes.reckon("Add", start, wanted))


def _frames(nodes: Nodes, padded: str, count: Count, length: int, hop: int) -> str:
    """Overlapping frames ``[batch, count, length]`` of ``padded`` ``[batch, n]``, which reaches a frame further.

    The sound is laid out in blocks of a hop; a frame is as many blocks in a row as it takes, less what is too much.
    """
    k = -(-length // hop)
    needed = nodes.reckon("Mul", nodes.reckon("Add", count, k - 1), hop)
    blocks = nodes.shaped(nodes.cut(padded, 1, 0, needed), 0, -1, hop)
    parts = [nodes.cut(blocks, 1, i, i - (k - 1) or END) for i in range(k)]
    joined = nodes.add("Concat", *parts, axis=2) if k > 1 else blocks
    return nodes.cut(joined, 2, 0, length) if k * hop > length else joined


def _factors(n: int) -> tuple[int, int]:
    """Two numbers near to each other whose product is n, the smaller first."""
    first = max(i for i in range(1, math.isqrt(n) + 1) if n % i == 0)
    return first, n // first


def _places(n: int) -> npt.NDArray[np.intp]:
    """The frequency that stands at each place of ``_power``, [places]; n − k is k, for the frames are real."""
    first, second = _factors(n)
    k = (np.arange(first // 2 + 1)[:, None] + first * np.arange(second)).ravel()
    return np.minimum(k, n - k)


def _power(nodes: Nodes, frames: str, window: npt.NDArray[np.float32]) -> str:
    """|DFT|² of windowed frames ``[batch, count, n]``, in the order of ``_places``: ``[batch, count, places]``.

    With n = N₁·N₂, t = N₂·a + b and k = c + N₁·d the transform falls into three steps (Cooley and Tukey, 1965):

        X[c + N₁·d] = Σ_b  e^(−2πi·b·d/N₂) · e^(−2πi·b·c/n) · Σ_a  e^(−2πi·a·c/N₁) · x[N₂·a + b]

    a product with a small matrix, a rotation and another product: a twelfth of the work of the whole DFT as one matrix
    for n = 2048, and 100 kB of constants, not 17 MB. c need not go beyond N₁/2, for x is real.
    """
    n = len(window)
    first, second = _factors(n)
    kept = first // 2 + 1
    a, c, b, d = np.arange(first), np.arange(kept), np.arange(second), np.arange(second)
    outer = 2 * np.pi * np.outer(c, a) / first
    turn = 2 * np.pi * np.outer(c, b) / n
    inner = 2 * np.pi * np.outer(b, d) / second
    x = nodes.shaped(nodes.add("Mul", frames, nodes.constant(window)), 0, 0, first, second)
    real_and_imaginary = np.stack([np.cos(outer), -np.sin(outer)], axis=1).reshape(2 * kept, first)
    x = nodes.add("MatMul", nodes.constant(real_and_imaginary), x)
    x = nodes.shaped(x, 0, 0, kept, 2, second)
    swapped = nodes.add("Gather", x, nodes.whole(1, 0), axis=3)
    cosine = nodes.constant(np.cos(turn)[:, None])
    sine = nodes.constant(np.stack([np.sin(turn), -np.sin(turn)], axis=1))
    x = nodes.add("Add", nodes.add("Mul", x, cosine), nodes.add("Mul", swapped, sine))
    x = nodes.shaped(x, 0, 0, kept, 2 * second)
    x = nodes.add(
        "MatMul",
        x,
        nodes.constant(np.block([[np.cos(inner), -np.sin(inner)], [np.sin(inner), np.cos(inner)]])),
    )
    squares = nodes.shaped(nodes.add("Mul", x, x), 0, 0, kept, 2, second)
    power = nodes.add("ReduceSum", squares, nodes.whole(3), keepdims=0)
    return nodes.shaped(power, 0, 0, kept * second)


def _folded(bank: npt.NDArray[np.float32], n_fft: int) -> npt.NDArray[np.float32]:
    """Filters [n_mels, n_fft // 2 + 1] as weights [places, n_mels] for ``_power``: of a frequency's two places, one."""
    places = _places(n_fft)
    weights = np.zeros((len(places), len(bank)), np.float32)
    k, at = np.unique(places, return_index=True)
    weights[at] = bank.T[k]
    return weights


def _resizing(r: Mel, nodes: Nodes, count: Count) -> tuple[str, str]:
    """What log powers ``[frames, n_mels]`` are multiplied by, from the left and from the right: ``Mel.compute``'s."""
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
            f"a mel of {r.n_mels} bands that are enlarged to {rows} rows cannot be exported for any length: leave out "
            "--dynamic."
        )
    few = nodes.add("Less", count, nodes.whole(columns))
    in_time = nodes.add("Where", few, _taps(nodes, count, columns), _areas(nodes, count, columns))
    return in_time, nodes.add("Where", few, nodes.constant(taps), nodes.constant(area))


def _frame_numbers(nodes: Nodes, count: str) -> str:
    """0, 1, … count − 1 as float32 ``[count]``."""
    ends = (nodes.constant(0, np.int64), nodes.add("Squeeze", count), nodes.constant(1, np.int64))
    return nodes.add("Cast", nodes.add("Range", *ends), to=1)


def _areas(nodes: Nodes, count: str, columns: int) -> str:
    """``resize.opencv_area`` ``[columns, count]`` where it shrinks: how much of each column each frame covers.

    Measured in parts of a frame, of which it has as many as there are columns: whole numbers, so that float32 is exact.
    """
    frame = nodes.add("Mul", _frame_numbers(nodes, count), nodes.constant(columns))
    width = nodes.add("Cast", count, to=1)
    column = np.arange(columns, dtype=np.float32)[:, None]
    starts, stops = (nodes.add("Mul", nodes.constant(column + side), width) for side in (0, 1))
    stop = nodes.add("Min", nodes.add("Add", frame, nodes.constant(columns)), stops)
    covered = nodes.add("Relu", nodes.add("Sub", stop, nodes.add("Max", frame, starts)))
    return nodes.add("Div", covered, width)


def _taps(nodes: Nodes, count: str, columns: int) -> str:
    """``resize.opencv_area`` ``[columns, count]`` where it enlarges, which is OpenCV's rule for few frames.

    Each column blends two frames that follow each other, so one position says which and how: weights are
    1 − |distance|. The positions for each number of frames that is too few stand in a table.
    """
    table = np.zeros((max(1, columns - 1), columns, 1))
    for frames in range(1, columns):
        table[frames - 1, :, 0] = opencv_area(frames, columns, shrinks=False).dense() @ np.arange(frames)
    last = nodes.whole(len(table))
    row = nodes.add("Sub", nodes.add("Min", count, last), nodes.whole(1))
    position = nodes.add("Squeeze", nodes.add("Gather", nodes.constant(table), row, axis=0), nodes.whole(0))
    distance = nodes.add("Abs", nodes.add("Sub", _frame_numbers(nodes, count), position))
    return nodes.add("Relu", nodes.add("Sub", nodes.constant(1), distance))
