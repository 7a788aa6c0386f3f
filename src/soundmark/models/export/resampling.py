"""soxr's resampling filter as numbers: for the nodes of a graph, and for a web page.

Between two sample rates whose ratio is L/M in lowest terms, resampling is a convolution of which every L-th output has
the same weights. ``polyphase_filter`` measures these weights: it resamples impulses with soxr. So another program gets
the samples that soundmark would compute, up to rounding. soxr's first few outputs differ from the convolution; the
difference, also linear, is measured too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soundmark import audio
from soundmark.errors import SettingsError
from soundmark.models.export.front_end import Nodes

HALF_WIDTH = 160  # samples, at the lower of the two rates, on each side of an impulse: more than soxr's HQ uses


SMALLEST_WEIGHT = 1e-8  # relative to the largest: smaller ones are cut off at both ends


SMALLEST_DIFFERENCE = 1e-7  # smaller ones are rounding errors


START_OUT = 32  # soxr's first outputs that may differ from the convolution: more than do


START_WIDTH = 300  # inputs, at the lower of the two rates, that these outputs depend on: more than they do


MAX_WEIGHTS = 1 << 20  # of a filter: 4 MB


@dataclass(frozen=True, eq=False)
class PolyphaseFilter:
    """Output ``L·j + p`` is the sum over q of ``weights[p, q] · x[M·j + q + first]``; ``weights`` ``[L, taps]``.

    ``start`` ``[START_OUT, n]`` is what soxr adds to this in its first outputs, from its first inputs.
    """

    up: int
    down: int
    first: int
    weights: npt.NDArray[np.float32]
    start: npt.NDArray[np.float32]

    def n_out(self, n: int) -> int:
        """The number of samples that ``n`` samples are resampled to.

        >>> polyphase_filter(44100, 22050).n_out(101)
        51
        """
        return -(-n * self.up // self.down)

    def n_computed(self, n: int) -> int:
        """The number of samples that soxr computes from ``n``; if it is one less than ``n_out``, a zero follows.

        >>> polyphase_filter(48000, 22050).n_computed(48001)
        22050
        """
        return (2 * n * self.up + self.down) // (2 * self.down)


def polyphase_filter(from_hz: int, to_hz: int) -> PolyphaseFilter:
    """Measure the weights with which soxr's HQ resamples from ``from_hz`` to ``to_hz``.

    Raises:
        SettingsError: the ratio of the rates needs too many weights.

    >>> found = polyphase_filter(48000, 32000)
    >>> found.up, found.down, found.weights.shape[0], float(found.weights.sum(axis=1).round(4).max())
    (2, 3, 2, 1.0)
    >>> polyphase_filter(48000, 47999)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: resampling from 48000 to 47999 Hz needs more than 1,048,576 numbers: train a ...
    """
    common = math.gcd(from_hz, to_hz)
    up, down = to_hz // common, from_hz // common
    reach = HALF_WIDTH * max(up, down)  # on the grid of up · from_hz, where impulse and output have whole positions
    first, taps = -(reach // up), down + 2 * (reach // up) + 1
    if up * taps > MAX_WEIGHTS:
        raise SettingsError(
            f"resampling from {from_hz} to {to_hz} Hz needs more than {MAX_WEIGHTS:,} numbers: train a model for a "
            "common sample rate, such as 22050, 32000 or 48000 Hz."
        )
    response = _impulse_response(from_hz, to_hz, up, down, reach)
    p, q = np.arange(up)[:, None], np.arange(first, first + taps)
    t = p * down - q * up + reach
    weights = np.where((t >= 0) & (t < len(response)), response[np.clip(t, 0, len(response) - 1)], 0.0)
    used = np.flatnonzero(np.abs(weights).max(axis=0) > SMALLEST_WEIGHT * np.abs(weights).max())
    kept = weights[:, used[0] : used[-1] + 1].astype(np.float32)
    first += int(used[0])
    return PolyphaseFilter(up, down, first, kept, _start(from_hz, to_hz, first, kept, down))


def _impulse_response(from_hz: int, to_hz: int, up: int, down: int, reach: int) -> npt.NDArray[np.float32]:
    """Measure soxr's impulse response at the positions −reach … reach of the grid of up · from_hz."""
    response = np.zeros(2 * reach + 1, np.float32)
    half = (-(-reach // up) // down + 2) * down  # a multiple of down: output half · up / down is at the same time
    impulse = np.zeros(2 * half + down, np.float32)
    for shift in range(down):
        impulse[:] = 0
        impulse[half + shift] = 1
        outputs = audio.resample(impulse, from_hz, to_hz)
        t = np.arange(len(outputs)) * down - (half + shift) * up
        inside = np.abs(t) <= reach
        response[t[inside] + reach] = outputs[inside]
    return response


def _start(
    from_hz: int, to_hz: int, first: int, weights: npt.NDArray[np.float32], down: int
) -> npt.NDArray[np.float32]:
    """Measure what soxr adds to the convolution in the first outputs, for an impulse at each of the first inputs."""
    up, taps = weights.shape
    n = START_WIDTH * max(1, -(-down // up))
    start, sound = np.zeros((START_OUT, n), np.float32), np.zeros(n + 2 * taps, np.float32)
    for at in range(n):
        sound[:] = 0
        sound[at] = 1
        outputs = audio.resample(sound, from_hz, to_hz)[:START_OUT]
        for m in range(START_OUT):
            q = at - m // up * down - first
            start[m, at] = outputs[m] - (weights[m % up, q] if 0 <= q < taps else 0)
    return np.where(np.abs(start) > SMALLEST_DIFFERENCE, start, 0)


def add_resampling(nodes: Nodes, x: str, n: int, found: PolyphaseFilter) -> str:
    """Add the nodes that resample ``x`` ``[batch, n]`` to ``[batch, found.n_out(n)]``; return the name of the result.

    >>> nodes = Nodes("resampling")
    >>> add_resampling(nodes, "waveform", 144000, polyphase_filter(48000, 32000))
    'resampling/Slice_5'
    """
    taps, n_out = found.weights.shape[1], found.n_out(n)
    n_computed = min(n_out, found.n_computed(n))
    blocks = -(-n_out // found.up)
    after = max(0, (blocks - 1) * found.down + taps + found.first - n)
    channel = nodes.add("Unsqueeze", x, nodes.integers(1))
    padded = nodes.add("Pad", channel, nodes.integers(0, 0, -found.first, 0, 0, after))
    phases = nodes.add("Conv", padded, nodes.constant(found.weights[:, None]), strides=[found.down])
    samples = nodes.reshape(nodes.add("Transpose", phases, perm=[0, 2, 1]), 0, -1)
    computed = nodes.slice(samples, 1, 0, n_computed)
    if found.start.any() and n_computed >= START_OUT:
        n_start = min(n, found.start.shape[1])
        correction = nodes.add("MatMul", nodes.slice(x, 1, 0, n_start), nodes.constant(found.start.T[:n_start]))
        after = n_computed - START_OUT
        computed = nodes.add("Add", computed, nodes.add("Pad", correction, nodes.integers(0, 0, 0, after)))
    if n_computed == n_out:
        return computed
    return nodes.add("Pad", computed, nodes.integers(0, 0, 0, n_out - n_computed))
