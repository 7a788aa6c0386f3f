"""Changes to ONNX graphs: remove metadata, fold batch normalisation, quantise weights to int8.

Each function takes and returns the bytes of an ONNX file. ``onnx`` is imported inside the functions, as using a model
does not need it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from soundmark.models.pretrained.graph import fold_batch_norm

WITH_WEIGHTS = ("Conv", "Gemm", "MatMul")  # operators whose second input is a weight tensor


MIN_WEIGHTS = 1024  # smaller tensors are not quantised


def without_metadata(graph: bytes) -> bytes:
    """Remove the metadata of a graph's nodes; torch adds source paths of the machine, a sixth of the file.

    >>> len(without_metadata(model.bundle.graph)) <= len(model.bundle.graph)
    True
    """
    import onnx

    model = onnx.load_from_string(graph)
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, model.graph):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    del model.graph.value_info[:]
    stripped_graph: bytes = model.SerializeToString()
    return stripped_graph


def with_folded_batch_norm(graph: bytes) -> bytes:
    """Fold each BatchNormalization that follows a convolution into the convolution.

    Layers that share weights share the folded weights too.

    >>> with_folded_batch_norm(model.bundle.graph) == without_metadata(model.bundle.graph)  # notebook_cnn has none
    True
    """
    import onnx

    model = onnx.load_from_string(without_metadata(graph))
    inputs = [name for node in model.graph.node for name in node.input]
    by_output = {node.output[0]: node for node in model.graph.node}
    for norm in [node for node in model.graph.node if node.op_type == "BatchNormalization"]:
        convolution = by_output.get(norm.input[0])
        if convolution and convolution.op_type == "Conv" and inputs.count(norm.input[0]) == 1:
            _fold(model.graph, convolution, norm)
    _remove_unused(model.graph)
    folded_graph: bytes = model.SerializeToString()
    return folded_graph


def _fold(graph: Any, convolution: Any, norm: Any) -> None:
    from onnx import helper

    kernel = f"{convolution.input[1]}/{norm.input[1]}"
    if kernel not in {tensor.name for tensor in graph.initializer}:
        bias = constant(graph, convolution.input[2]) if len(convolution.input) > 2 else 0.0
        epsilon = {each.name: helper.get_attribute_value(each) for each in norm.attribute}.get("epsilon", 1e-5)
        parts = [constant(graph, name) for name in norm.input[1:5]]
        weights, shift = fold_batch_norm(constant(graph, convolution.input[1]), bias, parts, epsilon)
        _add_constant(graph, kernel, weights.astype(np.float32))
        _add_constant(graph, f"{kernel}/bias", shift.astype(np.float32))
    del convolution.input[1:]
    convolution.input.extend([kernel, f"{kernel}/bias"])
    convolution.output[0] = norm.output[0]
    graph.node.remove(norm)


def with_outputs(graph: bytes, rows: npt.NDArray[np.int64], n_classes: int) -> bytes:
    """Keep the logits of the classes ``rows`` of ``n_classes``, in that order.

    >>> import onnx
    >>> fewer = onnx.load_from_string(with_outputs(model.bundle.graph, np.array([3, 0]), 10))
    >>> [output.type.tensor_type.shape.dim[1].dim_value for output in fewer.graph.output if output.name == "logits"]
    [2]
    """
    import onnx
    from onnx import helper

    model = onnx.load_from_string(graph)
    (logits,) = (output for output in model.graph.output if output.name == "logits")
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"{name}/all" if name == "logits" else name for name in names]
    _add_constant(model.graph, "logits/rows", np.eye(n_classes, dtype=np.float32)[:, rows])
    model.graph.node.append(helper.make_node("MatMul", ["logits/all", "logits/rows"], ["logits"], name="logits/rows"))
    logits.type.tensor_type.shape.dim[1].dim_value = len(rows)
    fewer: bytes = model.SerializeToString()
    return fewer


def with_int8_weights(graph: bytes) -> bytes:
    """Store float32 weights as int8 with a scale per output; they are converted to float32 when the graph runs.

    >>> small = with_int8_weights(model.bundle.graph)
    >>> len(model.bundle.graph) / len(small) > 2
    True
    """
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(graph)
    large = {
        t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT and np.prod(t.dims) >= MIN_WEIGHTS
    }
    wide: dict[str, Any] = {}
    for node in model.graph.node:
        if node.op_type not in WITH_WEIGHTS or node.input[1] not in large:
            continue
        name = node.input[1]
        if name not in wide:
            axis = output_axis(node)
            weights, scales = int8_weights(constant(model.graph, name), axis)
            _add_constant(model.graph, f"{name}/int8", weights)
            _add_constant(model.graph, f"{name}/scale", scales)
            inputs = [f"{name}/int8", f"{name}/scale"]
            wide[name] = helper.make_node("DequantizeLinear", inputs, [f"{name}/wide"], f"{name}/wide", axis=axis)
        node.input[1] = f"{name}/wide"
    nodes = [*wide.values(), *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _remove_unused(model.graph)
    small: bytes = model.SerializeToString()
    return small


def int8_weights(weights: npt.NDArray[np.float32], axis: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Quantise weights to int8; return them and the scale of each slice along ``axis``, whose maximum becomes ±127.

    >>> int8_weights(np.array([[1.0, -0.5], [0.0, 0.0]], np.float32), axis=0)[0].tolist()
    [[127, -64], [0, 0]]
    """
    others = tuple(i for i in range(weights.ndim) if i != axis)
    largest = np.abs(weights).max(axis=others)
    scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(weights.ndim)]
    return np.round(weights / scales.reshape(shape)).astype(np.int8), scales


def output_axis(node: Any) -> int:
    """Return the axis of a node's weights that corresponds to its outputs.

    >>> from onnx import helper
    >>> output_axis(helper.make_node("Gemm", ["x", "w"], ["y"], transB=1))
    0
    """
    if node.op_type == "Conv":
        return 0
    transposed = any(each.name == "transB" and each.i for each in node.attribute)
    return 0 if transposed else 1


def constant(graph: Any, name: str) -> npt.NDArray[Any]:
    """Return the constant called ``name`` in an onnx ``GraphProto``.

    >>> import onnx
    >>> constant(onnx.load_from_string(model.bundle.graph).graph, "logits.bias").shape
    (10,)
    """
    from onnx import numpy_helper

    return np.asarray(numpy_helper.to_array(next(tensor for tensor in graph.initializer if tensor.name == name)))


def _add_constant(graph: Any, name: str, values: npt.NDArray[Any]) -> None:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(values, name))


def _remove_unused(graph: Any) -> None:
    """Remove the constants that no node uses."""
    names = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    used = [tensor for tensor in graph.initializer if tensor.name in names]
    del graph.initializer[:]
    graph.initializer.extend(used)
