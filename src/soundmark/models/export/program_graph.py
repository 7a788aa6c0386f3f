"""A model's graph extended at both ends: from the audio of another program to the numbers that it expects.

audio ─ before: windows, resampling, representation ─▶ network ─ after: temperature, activation ─▶ outputs
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from soundmark.audio.windows import WHOLE_WINDOWS, hop_samples, windows
from soundmark.errors import BundleError, SettingsError
from soundmark.models.classifier import Model
from soundmark.models.export import front_end, onnx_graph
from soundmark.models.export.front_end import Nodes
from soundmark.models.export.resampling import add_resampling, polyphase_filter

INPUT = "network_input"  # the tensor that the network in an exported file gets: a spectrogram, or a window


LOGITS = "network_logits"  # the logits of the network, before the temperature: another program may want this name


MIN_OPSET = 13  # the first ONNX opset with the current definition of Softmax


Shape = Sequence[int | str]


class ProgramGraph:
    """A graph in the making: nodes ``before`` the network and ``after`` it, joined to one file by ``to_bytes``.

    >>> graph = ProgramGraph(model)
    >>> graph.connect(graph.representation("audio", 88200))
    >>> found = graph.to_bytes({"audio": ["batch", 88200]}, {"scores": (graph.probabilities(), ["batch", 10])}, {})
    >>> import onnxruntime
    >>> [output.name for output in onnxruntime.InferenceSession(found).get_outputs()]
    ['scores']

    Raises:
        BundleError: the ONNX opset of the model is too old.
    """

    def __init__(self, model: Model) -> None:
        import onnx

        self.model = model
        self.proto = onnx.load_from_string(onnx_graph.without_metadata(model.bundle.graph))
        _check_opset(self.proto)
        self.before, self.after = Nodes("front_end"), Nodes("answer")
        # Some backbones take one window at a time.
        self.batch: int | str = self.proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value or "batch"
        self.network_outputs = tuple(output.name for output in self.proto.graph.output)

    def representation(self, waveform: str, samples: int | None) -> str:
        """Add the representation of ``waveform`` ``[batch, samples]``, None: of any length; return its name.

        Raises:
            SettingsError: the representation cannot be exported, or not for any length.
        """
        return front_end.build(self.model.card.representation, self.before, waveform, samples)

    def connect(self, spectrogram: str) -> None:
        """Make ``spectrogram`` the input of the network."""
        from onnx import helper

        self.before.nodes.append(helper.make_node("Identity", [spectrogram], [INPUT]))
        names = {self.model.card.representation.input_name: INPUT, "logits": LOGITS}
        for node in self.proto.graph.node:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]

    def scaled_logits(self) -> str:
        """Add the temperature: logits of which softmax or sigmoid is the probability, ``[batch, classes]``."""
        return self.after.add("Div", LOGITS, self.after.constant(self.model.card.temperature))

    def probabilities(self) -> str:
        """Add temperature and activation: probabilities ``[batch, classes]``."""
        scaled, is_softmax = self.scaled_logits(), self.model.card.activation == "softmax"
        return self.after.add("Softmax", scaled, axis=1) if is_softmax else self.after.add("Sigmoid", scaled)

    def to_bytes(
        self, inputs: Mapping[str, Shape], outputs: Mapping[str, tuple[str, Shape]], metadata: Mapping[str, str]
    ) -> bytes:
        """Return the ONNX file. ``outputs`` are tensors and their shapes by name, and outputs of the network."""
        from onnx import TensorProto, helper

        graph, kept = self.proto.graph, {output.name: output for output in self.proto.graph.output}
        for name, (tensor, _) in outputs.items():
            if name != tensor:
                self.after.nodes.append(helper.make_node("Identity", [tensor], [name]))
        nodes = [*self.before.nodes, *graph.node, *self.after.nodes]
        del graph.node[:], graph.input[:], graph.output[:]
        graph.node.extend(nodes)
        graph.initializer.extend([*self.before.constants, *self.after.constants])
        for name, shape in inputs.items():
            graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        for name, (tensor, shape) in outputs.items():
            is_kept = name == tensor and name in kept
            new = kept[name] if is_kept else helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            graph.output.append(new)
        if metadata:
            helper.set_model_props(self.proto, dict(metadata))
        file: bytes = self.proto.SerializeToString()
        return file


def _check_opset(proto: Any) -> None:
    opset = next((each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")), 0)
    if opset < MIN_OPSET:
        raise BundleError(
            f"the model's graph has ONNX opset {opset}, but exporting needs opset {MIN_OPSET} or later: train the "
            "model again with this version of soundmark."
        )


def segment_probabilities(graph: ProgramGraph, waveform: str, samples: int, rate_hz: int) -> str:
    """Add the probabilities of audio ``[batch, samples]`` at ``rate_hz``, as ``Model.scores`` computes them.

    The audio is resampled to the model's sample rate. If it is longer than 1.05 windows, it is split into windows, and
    the probabilities ``[batch, classes]`` are the means over the windows.

    Raises:
        SettingsError: the model cannot be exported, or takes one window at a time and the audio has several.

    >>> segment_probabilities(ProgramGraph(model), "audio", 144000, 48000)
    'answer/Softmax_1'
    """
    model, nodes, length = graph.model, graph.before, samples
    to_hz = model.card.representation.input_rate_hz or rate_hz
    if to_hz != rate_hz:
        found = polyphase_filter(rate_hz, to_hz)
        waveform, length = add_resampling(nodes, waveform, samples, found), found.n_out(samples)
    spans = list(windows(length, model.card.window_s * to_hz, model.overlap))
    if len(spans) > 1:
        check_batch(graph, f"the program classifies {samples / rate_hz:g} s at a time")
        length = spans[0][1] - spans[0][0]
        cut = [nodes.add("Unsqueeze", nodes.slice(waveform, 1, *span), nodes.integers(1)) for span in spans]
        waveform = nodes.reshape(nodes.add("Concat", *cut, axis=1), -1, length)
    graph.connect(graph.representation(waveform, length))
    return _mean(graph, graph.probabilities(), len(spans))


def recording_probabilities(graph: ProgramGraph, waveform: str) -> str:
    """Add the probabilities of one recording ``[1, samples]`` of any length, at the model's sample rate.

    Raises:
        SettingsError: the model cannot be exported for any length.

    >>> recording_probabilities(ProgramGraph(model), "audio")
    'answer/Div_4'
    """
    model, nodes = graph.model, graph.before
    check_batch(graph, "the program gives recordings of any length")
    window_samples = model.card.window_s * (model.card.representation.input_rate_hz or 0)
    window, hop = max(1, round(window_samples)), hop_samples(window_samples, model.overlap)
    n = nodes.slice(nodes.add("Shape", waveform), 0, 1, 2)
    is_one = nodes.add("Less", n, nodes.integers(int(WHOLE_WINDOWS * window_samples) + 1))
    length = nodes.add("Where", is_one, n, nodes.integers(window))
    last = nodes.add("Sub", n, length)
    count = nodes.length_name(
        nodes.calculate("Add", nodes.calculate("Div", nodes.calculate("Add", last, hop - 1), hop), 1)
    )
    starts = nodes.add("Min", nodes.add("Mul", _counting(nodes, count), nodes.integers(hop)), last)
    positions = nodes.add("Add", nodes.add("Unsqueeze", starts, nodes.integers(1)), _counting(nodes, length))
    cut = nodes.add("Gather", nodes.reshape(waveform, -1), positions, axis=0)
    graph.connect(graph.representation(cut, None))
    probabilities, after = graph.probabilities(), graph.after
    total = after.add("ReduceSum", probabilities, after.integers(0), keepdims=1)
    return after.add("Div", total, after.add("Cast", count, to=1))


def check_batch(graph: ProgramGraph, why: str) -> None:
    """Check that the network takes several windows at a time.

    Raises:
        SettingsError: it takes one. ``why`` says why several are needed.

    >>> check_batch(ProgramGraph(model), "the program gives recordings of any length")
    """
    if graph.batch == 1:
        raise SettingsError(
            f"the network of this model takes one window at a time, but {why}: train a model on a backbone with a "
            "variable batch, such as mn04."
        )


def _counting(nodes: Nodes, count: str) -> str:
    """The numbers 0, 1, … count − 1 as int64 ``[count]``."""
    zero, one = nodes.constant(0, np.int64), nodes.constant(1, np.int64)
    return nodes.add("Range", zero, nodes.add("Squeeze", count), one)


def _mean(graph: ProgramGraph, probabilities: str, count: int) -> str:
    """The means ``[batch, classes]`` of ``count`` consecutive rows each."""
    if count == 1:
        return probabilities
    after = graph.after
    rows = after.reshape(probabilities, -1, count, len(graph.model.classes))
    total = after.add("ReduceSum", rows, after.integers(1), keepdims=0)
    return after.add("Mul", total, after.constant(1 / count))
