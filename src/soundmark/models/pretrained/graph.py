"""Write an ONNX graph node by node, from nothing or from an existing graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

OPSET, IR = 18, 10  # ONNX 1.16, read by onnxruntime 1.18 and later; graphs that are extended may have a later opset


Floats = npt.NDArray[np.float64]


def fold_batch_norm(
    weights: npt.ArrayLike, bias: npt.ArrayLike, norm: Sequence[npt.ArrayLike], epsilon: float
) -> tuple[Floats, Floats]:
    """Return weights ``[out, ...]`` and bias ``[out]`` of a convolution that includes the BatchNorm after it.

    ``norm`` are its scale γ, shift β, mean µ and variance σ², each ``[out]``: γ·(w∗x + b − µ)/√(σ² + ε) + β is the
    convolution with the weights w·γ/√(σ² + ε) and the bias β + (b − µ)·γ/√(σ² + ε).

    >>> weights, bias = fold_batch_norm([[1.0]], 0.5, ([2.0], [1.0], [0.0], [4.0]), epsilon=0.0)
    >>> weights.tolist(), bias.tolist()
    ([[1.0]], [1.5])
    """
    scale, shift, mean, variance = (np.asarray(values, np.float64) for values in norm)
    factor = scale / np.sqrt(variance + epsilon)
    kernel = np.asarray(weights, np.float64)
    return kernel * factor.reshape(-1, *[1] * (kernel.ndim - 1)), shift + (np.asarray(bias) - mean) * factor


class Graph:
    """An ONNX graph in the making: inputs, constants and nodes, each by its name.

    >>> graph = Graph()
    >>> x = graph.input("spectrogram", (1, 4, 4))
    >>> graph.output("logits", graph.node("Mul", x, graph.constant("two", [2.0])))
    >>> len(graph.to_bytes()) > 100
    True
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix  # of the names of new nodes
        self._nodes: list[Any] = []
        self._constants: dict[str, npt.NDArray[np.generic]] = {}
        self._inputs: dict[str, tuple[int, ...]] = {}
        self._outputs: list[str] = []
        self._opset = OPSET
        self._batch: int | str = "batch"
        self._n_names: Counter[str] = Counter()

    @classmethod
    def of(cls, data: bytes, prefix: str) -> Graph:
        """Return the graph in an ONNX file, without its outputs; the names of new nodes start with ``prefix``.

        >>> graph = Graph()
        >>> graph.output("y", graph.node("Relu", graph.input("x", (4,))))
        >>> more = Graph.of(graph.to_bytes(), "head/")
        >>> more.output("z", more.node("Neg", "y"))
        >>> len(more.to_bytes()) > len(graph.to_bytes())
        True
        """
        import onnx
        from onnx import numpy_helper, version_converter

        model = onnx.load_from_string(data)
        opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        if opset < OPSET:
            model = version_converter.convert_version(model, OPSET)
        graph = cls(prefix)
        graph._opset = max(opset, OPSET)
        graph._nodes = list(model.graph.node)
        graph._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        for value in model.graph.input:
            if value.name not in graph._constants:
                sides = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
                graph._inputs[value.name], graph._batch = tuple(sides[1:]), sides[0] or "batch"
        return graph

    def input(self, name: str, shape: tuple[int, ...]) -> str:
        """Add a float32 input of the shape ``[batch, *shape]``; return its name."""
        self._inputs[name] = shape
        return name

    def constant(self, name: str, values: npt.ArrayLike) -> str:
        """Add a constant, as float32 unless it is int64; the second constant of the same name is the first one."""
        if name not in self._constants:
            array = np.asarray(values)
            self._constants[name] = np.ascontiguousarray(array if array.dtype == np.int64 else array.astype(np.float32))
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; return the name of the output."""
        from onnx import helper

        self._n_names[operator] += 1
        output = f"{self._prefix}{operator.lower()}_{self._n_names[operator]}"
        self._nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def output(self, name: str, value: str) -> None:
        """Make ``value`` an output called ``name``."""
        from onnx import helper

        if value != name:
            self._nodes.append(helper.make_node("Identity", [value], [name], name=name))
        self._outputs.append(name)

    def to_bytes(self) -> bytes:
        """Return the ONNX file."""
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        graph = helper.make_graph(
            self._nodes,
            "soundmark",
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, [self._batch, *shape])
                for name, shape in self._inputs.items()
            ],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self._outputs],
            [numpy_helper.from_array(values, name) for name, values in self._constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self._opset)], ir_version=IR)
        inferred = onnx.shape_inference.infer_shapes(model)
        del inferred.graph.value_info[:]
        data: bytes = inferred.SerializeToString(deterministic=True)
        return data
