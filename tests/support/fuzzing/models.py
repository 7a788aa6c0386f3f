"""Model files: damaged bytes, changed protobuf fields, and added operators, most of them with a valid checksum."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from soundmark import errors
from soundmark.models import card_text, classifier
from soundmark.models.bundle import operators
from soundmark.models.card import Card
from soundmark.models.classifier import Model
from soundmark.spectrograms import Mel
from support.fuzzing.mutators import TEXTS, mutated_bytes
from support.fuzzing.protobuf import mutated_message, varint
from support.fuzzing.target import Beat, Case, Target, expect, expect_equal

RATE_HZ = 22_050
SOUND = (0.3 * np.sin(np.arange(28_000) / 9) + np.random.default_rng(0).normal(0, 0.02, 28_000)).astype(np.float32)
OPERATORS = tuple(sorted(operators.RULES))
NAMES = tuple(
    text.encode("utf-8", "surrogatepass") for text in (*TEXTS[:40], *OPERATORS, "logits", "embedding", "familiarity")
)
LARGEST_SEED = 300_000
COPY = "copy.onnx"


def sealed(graph: bytes, card: bytes) -> bytes:
    """A model file with a valid checksum. ``card`` need not be valid."""
    digest = hashlib.sha256(hashlib.sha256(graph).digest() + card).hexdigest().encode()
    return graph + _entry(b"soundmark", card) + _entry(b"soundmark_sha256", digest)


def _entry(key: bytes, value: bytes) -> bytes:
    entry = b"\x0a" + varint(len(key)) + key + b"\x12" + varint(len(value)) + value
    return b"\x72" + varint(len(entry)) + entry


class Models(Target):
    """Graphs with a valid card."""

    name = "models"

    def seeds(self) -> list[Case]:
        from support import hostile_graphs
        from support.models import random_model, tone_model

        found = [seed_case(each.bundle.graph, each.card) for each in (tone_model(), random_model())]
        found += [seed_case(backbone_like(), CARD)] * 4
        found += [seed_case(quantised_like(), CARD)] * 2
        graphs = [each.graph for each in hostile_graphs.all_graphs() if len(each.graph) < LARGEST_SEED]
        return found * 60 + [seed_case(graph, hostile_graphs.CARD) for graph in graphs]

    def mutated(self, seed: Case, rng: Random) -> Case:
        graph, card = seed.files["graph"], seed.files["card"]
        chance = rng.random()
        if chance < 0.03:
            data = mutated_bytes(sealed(graph, card), rng)
        elif chance < 0.08:
            data = sealed(mutated_bytes(graph, rng), card)
        else:
            if chance > 0.4:
                graph = with_operator(graph, rng)
            if chance < 0.5:
                graph = _mutated_graph(graph, rng)
            data = sealed(graph, card)
        return Case({"in.onnx": data}, "in.onnx")

    def names(self, path: Path) -> tuple[str, ...]:
        return path.name, COPY

    def check(self, path: Path, rng: Random, beat: Beat) -> None:
        check_model(path, rng, beat)


CARD = Card(classes=("a", "b", "c"), representation=Mel(size=(16, 16)), window_s=0.5, unknown=0.3)


def seed_case(graph: bytes, card: Card) -> Case:
    return Case({"in.onnx": b"", "graph": graph, "card": card.to_json().encode()}, "in.onnx")


def _mutated_graph(graph: bytes, rng: Random) -> bytes:
    try:
        return mutated_message(graph, rng, NAMES)
    except (IndexError, KeyError, RecursionError):  # a hostile graph
        return mutated_bytes(graph, rng)


def backbone_like() -> bytes:
    """A small network with the operators of the backbones: convolutions, squeeze and excitation, three outputs."""
    rng = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)

    ones = [numpy_helper.from_array(np.ones(8, np.float32), name) for name in ("scale", "shift", "mean", "variance")]
    node = helper.make_node
    nodes = [
        node("Conv", ["spectrogram", "w1"], ["c1"], strides=[2, 2], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("BatchNormalization", ["c1", "scale", "shift", "mean", "variance"], ["n1"]),
        node("HardSwish", ["n1"], ["h1"]),
        node("Conv", ["h1", "w2"], ["c2"], group=8, pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", ["c2"], ["g"]),
        node("Conv", ["g", "w3"], ["s1"]),
        node("HardSigmoid", ["s1"], ["s2"]),
        node("Mul", ["c2", "s2"], ["m"]),
        node("Add", ["m", "h1"], ["r"]),
        node("ReduceMean", ["r", "axes"], ["pooled"], keepdims=0),
        node("Identity", ["pooled"], ["embedding"]),
        node("Gemm", ["pooled", "w4", "b4"], ["logits"], transB=1),
        node("Gemm", ["pooled", "w5"], ["f1"]),
        node("Sigmoid", ["f1"], ["f2"]),
        node("Squeeze", ["f2", "last"], ["familiarity"]),
    ]
    tensors = [
        weights("w1", 8, 1, 3, 3), weights("w2", 8, 1, 3, 3), weights("w3", 8, 8, 1, 1), weights("w4", 3, 8),
        weights("b4", 3), weights("w5", 8, 1), *ones,
        numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
        numpy_helper.from_array(np.array([1], np.int64), "last"),
    ]  # fmt: skip
    outputs = {"logits": ["batch", 3], "embedding": ["batch", 8], "familiarity": ["batch"]}
    return _model(nodes, tensors, outputs, 18)


def quantised_like() -> bytes:
    """A network with int8 weights, and the older forms of axes and shapes."""
    rng = np.random.default_rng(1)
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["spectrogram", "step", "zero"], ["q"]),
        node("DequantizeLinear", ["q", "step", "zero"], ["d"]),
        node("MaxPool", ["d"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Reshape", ["p", "shape"], ["flat"]),
        node("DequantizeLinear", ["w8", "step", "zero"], ["w"]),
        node("MatMul", ["flat", "w"], ["y"]),
        node("Add", ["y", "bias"], ["z"]),
        node("Clip", ["z", "low", "high"], ["logits"]),
    ]
    arrays = {
        "step": np.array(0.1, np.float32), "zero": np.array(0, np.int8), "shape": np.array([0, -1], np.int64),
        "w8": rng.integers(-90, 90, (64, 3)).astype(np.int8), "bias": np.zeros(3, np.float32),
        "low": np.array(-9, np.float32), "high": np.array(9, np.float32),
    }  # fmt: skip
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    return _model(nodes, tensors, {"logits": ["batch", 3]}, 13)


def _model(nodes: list, tensors: list, outputs: dict[str, list], opset: int) -> bytes:
    inputs = [helper.make_tensor_value_info("spectrogram", TensorProto.FLOAT, ["batch", 1, 16, 16])]
    shown = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    graph = helper.make_graph(nodes, "seed", inputs, shown, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()


def with_operator(graph: bytes, rng: Random) -> bytes:
    """Add one or two operators with random attributes between two operators of a graph."""
    proto = ModelProto()
    try:
        proto.ParseFromString(graph)
    except Exception:  # a hostile graph
        return graph
    nodes = list(proto.graph.node)
    for number in range(rng.choice((1, 1, 2))):
        places = [(i, j) for i, each in enumerate(nodes) for j, name in enumerate(each.input) if name]
        if not places:
            return graph
        i, j = rng.choice(places)
        names = [name for each in nodes[:i] for name in each.output] + [t.name for t in proto.graph.initializer]
        is_simple = rng.random() < 0.7
        operator, more = rng.choice((*UNARY, *BINARY) if is_simple else OPERATORS), []
        n_more = rng.choice((0, 0, 1, 1, 2, 4))
        if is_simple:
            n_more = 0
            if operator in BINARY:
                more.append(rng.choice((nodes[i].input[j], f"scalar{number}")))
                proto.graph.initializer.append(
                    numpy_helper.from_array(np.float32(rng.choice(SCALARS)), f"scalar{number}")
                )
        for k in range(n_more):
            if rng.random() < 0.5 and names:
                more.append(rng.choice(names))
            else:
                more.append(f"new{number}_{k}")
                proto.graph.initializer.append(numpy_helper.from_array(_array(rng), more[-1]))
        inputs = [nodes[i].input[j], *more] if rng.random() < 0.8 else [*more, nodes[i].input[j]]
        outputs = [
            f"out{number}",
            *(f"out{number}_{k}" for k in range(0 if is_simple else rng.choice((0, 0, 0, 1, 2)))),
        ]
        new = helper.make_node(operator, inputs, outputs)
        for name in rng.sample(ATTRIBUTES, 0 if is_simple else rng.choice((0, 0, 1, 1, 2, 3))):
            new.attribute.append(_attribute(name, rng))
        nodes[i].input[j] = outputs[0]
        nodes.insert(i, new)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    if rng.random() < 0.3 and proto.opset_import:
        proto.opset_import[0].version = rng.choice((7, 9, 11, 12, 13, 17, 18, 20, 22, 24, 26))
    return proto.SerializeToString()


UNARY = (
    "Abs", "Ceil", "Clip", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
    "Log", "LogSoftmax", "Mish", "Neg", "Reciprocal", "Relu", "Selu", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Tanh",
    "Dropout",
)  # fmt: skip
BINARY = ("Add", "Div", "Max", "Mean", "Min", "Mul", "Pow", "PRelu", "Sub", "Sum")
SCALARS = (0.0, 0.5, 1.0, -1.0, 2.0, 3.0, 1e-30, 1e30, -1e30, 100.0)


ATTRIBUTES = (
    "axis", "axes", "perm", "keepdims", "kernel_shape", "strides", "pads", "dilations", "group", "auto_pad",
    "ceil_mode",
    "to", "epsilon", "alpha", "beta", "transA", "transB", "split", "num_outputs", "allowzero", "noop_with_empty_axes",
    "min", "max", "gamma", "count_include_pad", "storage_order", "block_size", "momentum", "training_mode", "shape",
    "value", "value_int", "value_ints", "value_floats", "saturate", "approximate", "stash_type",
)  # fmt: skip


def _attribute(name: str, rng: Random):
    small = (-3, -2, -1, 0, 1, 2, 3, 4, 5, 7, 8, 9, 16)
    kind = rng.randrange(6)
    if name == "auto_pad":
        return helper.make_attribute(name, rng.choice((b"SAME_UPPER", b"SAME_LOWER", b"VALID", b"NOTSET", b"x")))
    if name == "value" or kind == 5:
        return helper.make_attribute(name, numpy_helper.from_array(_array(rng), "constant"))
    if kind == 0 or name in ("epsilon", "alpha", "beta", "gamma", "min", "max", "momentum"):
        return helper.make_attribute(name, rng.choice((0.0, 1.0, -1.0, 1e-5, 1e30, -1e30, 0.5)))
    if kind <= 2 or name in ("axis", "keepdims", "group", "to", "ceil_mode", "transA", "transB", "allowzero"):
        return helper.make_attribute(name, rng.choice((*small, rng.choice((1 << 31, 1 << 40, (1 << 63) - 1)))))
    return helper.make_attribute(name, [rng.choice(small) for _ in range(rng.choice((1, 2, 2, 2, 3, 4, 4, 4, 9)))])


def _array(rng: Random) -> np.ndarray:
    shape = tuple(rng.choice((1, 1, 2, 3, 4, 8, 16)) for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 4))))
    dtype = rng.choice(
        (
            np.float32,
            np.float32,
            np.float32,
            np.int64,
            np.int64,
            np.int8,
            np.uint8,
            np.int32,
            np.float16,
            np.float64,
            bool,
        )
    )
    if dtype == np.float32 and rng.random() < 0.7:
        return np.random.default_rng(rng.randrange(99)).normal(0, 1, shape).astype(np.float32)
    return np.full(shape, rng.choice((-4, -1, 0, 1, 1, 2, 3, 8, 16, 100)), np.int64).astype(dtype)


# --- The check ---


def check_model(path: Path, rng: Random, beat: Beat) -> Model:
    """Load a model, describe it, and compare its answers: computed twice, and after it was saved and loaded."""
    model = classifier.load(path)
    beat("describe")
    check_descriptions(model, path)
    beat("scores")
    first = model.scores(SOUND, RATE_HZ, jobs=1)
    check_scores(first, model)
    beat("scores again")
    _expect_same(model.scores(SOUND, RATE_HZ, jobs=1), first, "scored twice")
    beat("copy")
    copy = path.with_name(COPY)
    model.save(copy)
    again = classifier.load(copy)
    expect(again.card == model.card, "the card differs in a copy")
    _expect_same(again.scores(SOUND, RATE_HZ, jobs=1), first, "scored by a copy")
    beat("shapes")
    _check_shapes(model)
    beat("classify")
    _check_answer(model)
    beat("events")
    for event in model.events(SOUND, RATE_HZ, overlap=rng.choice((0, 0.5)), jobs=1):
        stop_s = len(SOUND) / RATE_HZ + 1 / min(RATE_HZ, model.card.representation.rate_hz or RATE_HZ)
        expect(0 <= event.start_s < event.stop_s <= stop_s, f"the time of an event: {event}")
        expect(0 <= event.confidence <= 1 and 0 <= event.peak <= 1, f"the confidence of an event: {event}")
    if rng.random() < 0.1:
        beat("explain")
        model.explain(SOUND, RATE_HZ)
    if rng.random() < 0.1:
        beat("layers")
        str(model.summary())
    return model


def check_scores(scores, model: Model) -> None:
    p = scores.probabilities
    expect(p.shape == (len(scores), len(model.classes)) and p.dtype == np.float32 and len(p) > 0, f"scores: {p.shape}")
    expect(bool(np.isfinite(p).all() and (p >= 0).all() and (p <= 1).all()), "a probability is not from 0 to 1")
    if model.card.activation == "softmax":
        expect(bool(np.abs(p.sum(axis=1, dtype=np.float64) - 1).max() < 1e-3), "probabilities do not sum to 1")
    f = scores.familiarity
    expect(f is None or bool((f >= 0).all() and (f <= 1).all()), "a familiarity is not from 0 to 1")
    expect(bool((scores.start_s < scores.stop_s).all()), "windows are empty")


def _expect_same(scores, other, what: str) -> None:
    expect_equal(scores.probabilities, other.probabilities, what)
    expect_equal(scores.start_s, other.start_s, what)
    expect((scores.familiarity is None) == (other.familiarity is None), what)
    if scores.familiarity is not None:
        expect_equal(scores.familiarity, other.familiarity, what)


def _check_shapes(model: Model) -> None:
    """Compare the predicted shapes of the outputs with the computed ones: the limits on cost depend on them."""
    checked = model.bundle.checked
    batch = np.zeros((1, *model.card.representation.shape), np.float32)
    for name in model.bundle.outputs:
        if name in ("logits", "embedding", "familiarity"):
            try:
                computed = model.bundle.run(batch, name).shape
            except errors.BundleError:  # refused: of the wrong type
                continue
            expect(computed == checked.outputs.get(name), f"{name}: {computed}, predicted {checked.outputs.get(name)}")


def _check_answer(model: Model) -> None:
    answer = model.classify(SOUND, RATE_HZ)
    labels = [each["label"] for each in answer]
    expect(set(model.classes) <= set(labels) and len(set(labels)) == len(labels), f"labels: {labels[:9]}")
    expect(all(0 <= each["score"] <= 1 for each in answer), "a score is not from 0 to 1")


def check_descriptions(model: Model, path: Path) -> None:
    """Every text about a model is printable and has a bounded size."""
    card, name = model.card, str(path)
    lines = repr(model).splitlines()
    expect(len(lines) <= 10 and all(map(printable, lines)) and max(map(len, lines)) < 500, f"the repr is {lines}")
    expect(printable(repr(card)) and len(repr(card)) < 3000, f"the repr of the card is {repr(card)[:300]!r}")
    for heading, text in card_text.summary(card):
        expect(printable(text) and len(text) <= card_text.SUMMARY_COLUMNS + 1, f"{heading}: {text!r}")
    for heading, text in card_text.card_lines(card):
        expect(isinstance(text, str), f"{heading}: {text!r}")
    card_text.to_json(card).encode()
    card_text.to_markdown(name, card).encode()
    card_text.title(name, card, 1000)
    card_text.usage(name, card)
    model._repr_html_().encode()


def printable(text: str) -> bool:
    return not any(character in "\n\r\x1b\x00" or 0xD800 <= ord(character) < 0xE000 for character in text)


def with_card(case: Case, card: bytes) -> Case:
    return replace(case, files={"in.onnx": sealed(case.files["graph"], card)})
