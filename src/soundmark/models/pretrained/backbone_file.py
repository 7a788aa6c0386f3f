"""Backbones from ONNX files of any program: what such a file takes and gives, and its graph as a backbone.

The input is a waveform ``[batch, samples]`` or ``[batch, 1, samples]``, or a spectrogram ``[batch, 1, freq, time]``.
Sample rate, window and output come from the file's metadata, or from the caller:

    soundmark's models        the key soundmark: the representation and its window
    OpenSoundscape            the keys sample_rate, sample_duration and embedding_outputs_key

The file passes the checks of models before ONNX Runtime reads it. Outputs that are not used may do anything.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from soundmark import spectrograms
from soundmark.errors import BundleError, SettingsError, unknown_name
from soundmark.models import bundle
from soundmark.models.bundle import graph_check
from soundmark.models.bundle.graph_check import Interface
from soundmark.models.pretrained.backbone import Backbone
from soundmark.models.pretrained.graph import OPSET, Graph
from soundmark.runtime.checks import parse_json
from soundmark.runtime.text import listed, one_line
from soundmark.spectrograms import Representation, Waveform

SUFFIX = ".onnx"


REMEDY = "Export the network again without that, or choose another output with --backbone-output."


FLOAT = 1  # onnx.TensorProto.DataType


EMBEDDINGS = ("embedding", "embeddings")  # names of an output that need not be chosen


CUT = "backbone_output"  # the chosen output, in the part of the graph that is used


NOT_IN_NAMES = re.compile("[^A-Za-z0-9_.-]+")


TOLERANCE = 1e-3  # of an embedding alone and in a batch, relative to its largest number


@dataclass(frozen=True, kw_only=True)
class BackboneFile:
    """What an ONNX file takes and gives: the output that is the embedding, and the representation of its input.

    With ``fixed_window``, it takes only windows of the representation's length.
    """

    sha256: str
    output: str
    representation: Representation
    fixed_window: bool
    licence: str | None = None


def is_file(name: str) -> bool:
    """Return whether the name of a backbone is that of a file.

    >>> is_file("perch_v2.onnx"), is_file("mn04")
    (True, False)
    """
    return name.lower().endswith(SUFFIX)


def read_backbone_file(
    path: str, representation: Representation, *, output: str | None = None, rate_hz: int | None = None
) -> BackboneFile:
    """Read what the backbone in an ONNX file takes and gives; its operators are checked by ``load_backbone_file``.

    ``representation`` is used if the input is a spectrogram about which the metadata say nothing; its sample rate too,
    if it is a ``Waveform``. ``output`` and ``rate_hz`` need not be given if the metadata contain them.

    Raises:
        BundleError: the file cannot be read, is not an ONNX file, or has another kind of input.
        SettingsError: sample rate or output are unknown, or contradict the metadata.

    >>> (folder / "backbone.onnx").write_bytes(model.bundle.graph) > 0
    True
    >>> read_backbone_file(str(folder / "backbone.onnx"), model.card.representation).output
    'logits'
    """
    data = _read(path)
    interface = _interface(path, data)
    chosen = _output(path, interface, output)
    name = _input(path, interface, chosen)
    sides = interface.inputs[name][1]
    card = _soundmark_card(interface.metadata)
    if len(sides) == 4:
        kind = _card_representation(card) or representation
        if kind.real_time and sides[2] == kind.shape[0]:
            kind = replace(kind, size=sides[2:])  # as many frames as the network takes
        if kind.input_name != "spectrogram" or (1, *sides[1:]) != (1, *kind.input_shape):
            raise BundleError(
                f'the backbone "{path}" takes spectrograms {list(sides[1:])}, but the representation of the recipe is '
                f"{kind.name} {list(kind.input_shape)}: set the same one in a recipe file, in the table representation."
            )
        fixed = True
    else:
        kind, fixed = _waveform(path, interface, sides[-1], representation, rate_hz)
    licence = interface.metadata.get("licence") or interface.metadata.get("license")
    return BackboneFile(
        sha256=hashlib.sha256(data).hexdigest(),
        output=chosen,
        representation=kind,
        fixed_window=fixed,
        licence=one_line(licence, 80) if licence else None,
    )


def load_backbone_file(path: str, representation: Representation, output: str, sha256: str) -> Backbone:
    """Build the backbone in an ONNX file for the inputs of ``representation``.

    The embedding is the tensor ``output`` ``[batch, d]``; of ``[batch, time, d]`` or ``[batch, freq, time, d]``, the
    mean over time and frequency.

    Raises:
        BundleError: the file changed, an operator is not allowed, it needs too much memory or time, or gives no
            embedding.

    >>> path = str(folder / "backbone.onnx")
    >>> (folder / "backbone.onnx").write_bytes(model.bundle.graph) > 0
    True
    >>> found = read_backbone_file(path, model.card.representation)
    >>> load_backbone_file(path, found.representation, found.output, found.sha256)
    Backbone('backbone', 10 features)
    """
    try:
        found = Path(path).expanduser().stat()
        stamp = (found.st_size, found.st_mtime_ns)
    except (OSError, ValueError):
        stamp = (0, 0)
    return _built(path, stamp, sha256, representation, output)


def _read(path: str) -> bytes:
    return bundle.read_file(Path(path).expanduser(), "backbone")


def _interface(path: str, data: bytes) -> Interface:
    return graph_check.read_interface(
        data, path, "Give an .onnx file with a waveform as input and an embedding as output."
    )


def _output(path: str, interface: Interface, wanted: str | None) -> str:
    """The name of the tensor that is the embedding."""
    written = [name for _, outputs in interface.operators for name in outputs if name]
    wanted = wanted or interface.metadata.get("embedding_outputs_key")
    if wanted is not None:
        if wanted not in written:
            raise unknown_name("output", wanted, interface.outputs, owner=f'the backbone "{path}"')
        return wanted
    named = [name for name in interface.outputs if name.lower() in EMBEDDINGS]
    found = named or list(interface.outputs)
    if len(found) != 1:
        raise SettingsError(
            f'the backbone "{path}" has {len(found)} outputs, and its metadata do not say which is the embedding: give '
            f"one with --backbone-output: {one_line(', '.join(found), 200)}."
        )
    return found[0]


def _input(path: str, interface: Interface, output: str) -> str:
    """The name of the only input that ``output`` depends on."""
    needed = _needed(interface, output)
    found = [name for name in interface.inputs if name in needed]
    if len(found) != 1:
        raise BundleError(
            f'the embedding of the backbone "{path}" depends on {len(found)} inputs'
            f"{': ' + one_line(listed(found), 200) if found else ''}; expected one, a waveform [batch, samples]."
        )
    kind, sides = interface.inputs[found[0]]
    valid = len(sides) == 2 or (len(sides) in (3, 4) and sides[1] == 1)
    if kind != FLOAT or not valid or sides[0] > 1:
        shown = "×".join(str(side) if side else "?" for side in sides)
        raise BundleError(
            f'the input "{one_line(found[0], 60)}" of the backbone "{path}" is {shown} of the ONNX type {kind}; '
            "expected a float32 waveform [batch, samples] or spectrogram [batch, 1, freq, time], with a variable batch "
            "or a batch of 1. Export it again."
        )
    return found[0]


def _needed(interface: Interface, output: str) -> set[str]:
    """The names of all tensors that ``output`` depends on, and its own."""
    needed = {output}
    for inputs, outputs in reversed(interface.operators):
        if needed.intersection(outputs):
            needed.update(inputs)
    return needed


def _waveform(
    path: str, interface: Interface, samples: int, representation: Representation, rate_hz: int | None
) -> tuple[Waveform, bool]:
    """The representation of a waveform input of ``samples``, 0 if any, and whether its window is fixed."""
    metadata = interface.metadata
    card = _soundmark_card(metadata) or _json(metadata.get("soundmark_export"))
    inner = card.get("representation")
    settings: dict[str, Any] = inner if isinstance(inner, dict) else {}
    stated = _number(metadata.get("sample_rate")) or _number(card.get("rate_hz")) or _number(settings.get("rate_hz"))
    given = rate_hz or (representation.rate_hz if isinstance(representation, Waveform) else None)
    if stated and given and stated != given:
        raise SettingsError(
            f'the backbone "{path}" takes {stated:g} Hz according to its metadata, not {given} Hz: omit '
            "--backbone-rate."
        )
    if not (rate := stated or given):
        raise SettingsError(
            f'the metadata of the backbone "{path}" do not contain its sample rate: give it in Hz, such as '
            "--backbone-rate 32000."
        )
    if not samples and (seconds := _number(metadata.get("sample_duration"))):
        samples = round(seconds * rate)
    known = {"window_samples": samples} if samples else {}
    return Waveform(rate_hz=int(rate), **known), bool(samples)


def _soundmark_card(metadata: Mapping[str, str]) -> dict[str, Any]:
    return _json(metadata.get("soundmark"))


def _card_representation(card: Mapping[str, Any]) -> Representation | None:
    try:
        return spectrograms.from_settings(card["representation"])
    except (KeyError, SettingsError, TypeError, ValueError, AttributeError):
        return None


def _json(text: str | None) -> dict[str, Any]:
    try:
        found = parse_json(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _number(text: object) -> float | None:
    """A positive number in metadata; None if there is none."""
    try:
        number = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if 0 < number < 1e9 else None


@lru_cache(maxsize=2)
def _built(path: str, stamp: tuple[int, int], sha256: str, representation: Representation, output: str) -> Backbone:
    data = _read(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BundleError(
            f'the backbone "{path}" has changed: its SHA-256 is not {sha256}. Use the file that the recipe names, or '
            "another recipe."
        )
    interface = _interface(path, data)
    graph_input = _input(path, interface, output)
    with _onnx_errors(path):
        cut = _cut(data, _needed(interface, output), graph_input, output, representation)
    checked = graph_check.check(cut, path, REMEDY)
    shape = checked.outputs[CUT]
    if len(shape) not in (2, 3, 4) or shape[0] != 1:
        raise BundleError(
            f'the output "{one_line(output, 60)}" of the backbone "{path}" has the shape {list(shape)} for one window; '
            f"expected [1, d], [1, time, d] or [1, freq, time, d]. {REMEDY}"
        )
    with _onnx_errors(path):
        graph = _with_embedding(cut, shape)
    found = Backbone(
        name=NOT_IN_NAMES.sub("-", Path(path).stem)[:40] or "backbone",
        graph=graph,
        n_features=shape[-1],
        embedding_size=shape[-1],
        input_name=representation.input_name,
        rows_per_run=graph_check.check(graph, path, REMEDY).rows_per_run,
        sha256=sha256,
    )
    with bundle.runtime_errors(f'the backbone "{path}" cannot be run', REMEDY):
        _check_run(path, found, representation)
    return found


@contextmanager
def _onnx_errors(path: str) -> Iterator[None]:
    """Raise the errors of the package onnx as a ``BundleError``."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it has no type hints
    from onnx.shape_inference import InferenceError
    from onnx.version_converter import ConvertError

    try:
        yield
    except (DecodeError, InferenceError, ConvertError, RuntimeError, ValueError, TypeError, MemoryError) as error:
        raise BundleError(
            f'the backbone "{path}" cannot be used: {one_line(str(error), 200)}. Export it with opset {OPSET} or later.'
        ) from error


def _cut(data: bytes, needed: set[str], graph_input: str, output: str, representation: Representation) -> bytes:
    """Keep the operators and weights that ``output`` depends on; give the input a fixed length and a standard name."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(data)
    graph = model.graph
    shape = graph.input[[value.name for value in graph.input].index(graph_input)].type.tensor_type.shape
    batch = shape.dim[0].dim_value or "batch"
    names = {graph_input: f"backbone/{graph_input}"}
    nodes = [node for node in graph.node if needed.intersection(node.output)]
    if len(shape.dim) == 3:  # [batch, 1, samples]
        axis = helper.make_tensor("backbone_input/axis", TensorProto.INT64, [1], [1])
        graph.initializer.append(axis)
        first = helper.make_node("Unsqueeze", [representation.input_name, axis.name], [names[graph_input]])
    else:
        first = helper.make_node("Identity", [representation.input_name], [names[graph_input]])
    for node in nodes:
        node.name = ""
        for part in (node.input, node.output):
            part[:] = [name and names.setdefault(name, f"backbone/{name}") for name in part]
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    for tensor in weights:
        tensor.name = names.setdefault(tensor.name, f"backbone/{tensor.name}")
    nodes = [first, *nodes, helper.make_node("Identity", [names.get(output, output)], [CUT])]
    made = helper.make_graph(
        nodes,
        "backbone",
        [helper.make_tensor_value_info(representation.input_name, FLOAT, [batch, *representation.input_shape])],
        [helper.make_tensor_value_info(CUT, FLOAT, None)],
        [*weights, *(tensor for tensor in graph.initializer if tensor.name == "backbone_input/axis")],
    )
    cut: bytes = helper.make_model(made, opset_imports=model.opset_import, ir_version=10).SerializeToString()
    return cut


def _with_embedding(cut: bytes, shape: tuple[int, ...]) -> bytes:
    """Return the graph with the outputs ``embedding`` and ``features``, both the mean over the middle axes."""
    graph = Graph.of(cut, "backbone_output/")
    mean = CUT
    if len(shape) > 2:
        axes = graph.constant("backbone_output/axes", np.arange(1, len(shape) - 1))
        mean = graph.node("ReduceMean", CUT, axes, keepdims=0)
    size = graph.constant("backbone_output/size", np.array([-1, shape[-1]]))
    embedding = graph.node("Reshape", mean, size)
    graph.output("embedding", embedding)
    graph.output("features", embedding)
    return graph.to_bytes()


def _check_run(path: str, backbone: Backbone, representation: Representation) -> None:
    """Check the embeddings of silence and of noise: finite float32, and the same alone as in a batch."""
    sounds = np.random.default_rng(0).uniform(-0.3, 0.3, (3, *representation.shape)).astype(np.float32)
    sounds[1] = 0
    together = backbone.features(sounds)
    alone = np.concatenate([backbone.features(sound[None]) for sound in sounds])
    if together.dtype != np.float32 or not np.isfinite(alone).all():
        what = f"{together.dtype} numbers" if together.dtype != np.float32 else "numbers that are not finite"
        raise BundleError(f'the embedding of the backbone "{path}" has {what}; expected finite float32. {REMEDY}')
    if not np.abs(together - alone).max() <= TOLERANCE * max(1e-6, float(np.abs(alone).max())):
        raise BundleError(
            f'the embedding of a sound by the backbone "{path}" depends on other sounds in the batch: export it again '
            "in evaluation mode, or with a batch of 1."
        )
