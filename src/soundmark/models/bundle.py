"""A trained model is one ``.onnx`` file: the graph and, in its metadata, everything needed to use and to judge it.

The graph takes ``spectrogram`` float32 ``[batch, 1, freq, time]`` and gives ``logits`` ``[batch, classes]`` (and
``embedding``, and ``familiarity`` ``[batch]``, where there is one). The metadata key ``soundmark`` holds the ``Card``
as JSON; ``soundmark_sha256`` is the digest of the card and the graph, so that a damaged file is refused rather than
believed. Opening a file runs no code of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from soundmark.errors import BundleError
from soundmark.models.card import Card
from soundmark.runtime import atomic
from soundmark.runtime.parallel import available_cores

if TYPE_CHECKING:
    import onnxruntime


# ModelProto.metadata_props is field 14, a message: its key in protobuf's wire format is 14 << 3 | 2.
METADATA_TAG = b"\x72"


@dataclass(frozen=True, repr=False)
class Bundle:
    """A graph, as the bytes of an ONNX file, and its card."""

    graph: bytes
    card: Card

    def __repr__(self) -> str:
        return f"Bundle(graph of {len(self.graph)} bytes, {self.card!r})"

    @cached_property
    def card_json(self) -> str:
        """The card as it stands in the file that this was read from; else as it would be written."""
        return self.card.to_json()

    @cached_property
    def session(self) -> onnxruntime.InferenceSession:
        """The graph, ready to run on all the cores of this process."""
        return session(self.graph) if available_cores() > 1 else self.session_alone

    @cached_property
    def session_alone(self) -> onnxruntime.InferenceSession:
        """The graph, ready to run on one core: for several threads at a time."""
        return session(self.graph, threads=1)

    def __getstate__(self) -> dict[str, Any]:
        # A session cannot be sent to another process; each makes its own.
        return {"graph": self.graph, "card": self.card}

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what the graph gives: ``logits``, and ``embedding`` and ``familiarity`` where there is one."""
        return tuple(output.name for output in self.session_alone.get_outputs())

    def run(self, spectrograms: np.ndarray, output: str = "logits") -> np.ndarray:
        """``output`` of the graph, float32 ``[batch, ...]``, for ``spectrograms`` ``[batch, freq, time]``."""
        return self.run_for(spectrograms, (output,))[0]

    def run_for(
        self, spectrograms: np.ndarray, outputs: Sequence[str], *, alone: bool = False
    ) -> tuple[np.ndarray, ...]:
        """Several ``outputs`` of the graph as ``run`` has one, by going through it once.

        On all cores, or ``alone`` on one, where several threads call it at a time.
        """
        session = self.session_alone if alone else self.session
        batch = np.ascontiguousarray(spectrograms[:, np.newaxis], np.float32)
        return tuple(session.run(list(outputs), {"spectrogram": batch}))

    def activate(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities float32 ``[batch, classes]`` of ``logits``, by the card's temperature and activation.

        Softmax or sigmoid, as the card says: nothing may assume that a row sums to one.
        """
        return self.card.task.probabilities(logits, self.card.temperature).astype(np.float32)

    def log_odds(self, logits: np.ndarray, which: int) -> np.ndarray:
        """ln(p / (1 − p)) of class ``which``, float64 ``[batch]``, of ``logits``: also where p itself is rounded to 1.

        By temperature and activation, as ``activate`` has it.
        """
        return self.card.task.log_odds(logits.astype(np.float64) / self.card.temperature, which)

    def write(self, path: str | PathLike[str]) -> None:
        """Write the file, whole or not at all.

        Raises:
            OutputError: the place cannot be written.
        """
        card = self.card.to_json()
        digest = _digest(self.graph, card)
        # Protobuf messages joined end to end are one merged message: the metadata goes behind the graph, which stays as
        # it was, byte for byte.
        metadata = b"".join(_metadata_entry(k, v) for k, v in (("soundmark", card), ("soundmark_sha256", digest)))
        atomic.write_bytes(path, self.graph + metadata)


def read_bundle(path: str | PathLike[str]) -> Bundle:
    """The model in the file at ``path``.

    Raises:
        BundleError: there is no such file, or it is no soundmark model, or is damaged, or of a later schema.

    >>> model.bundle.write(folder / "model.onnx")
    >>> read_bundle(folder / "model.onnx").card.classes[:2]
    ('air_conditioner', 'car_horn')
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise BundleError(f'the model "{path}" is a folder; a model is one .onnx file.{_models_below(path)}')
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise BundleError(f'the model "{path}" cannot be read: {why}.') from error
    parts = _parts(data)
    if parts is None:
        _refuse_foreign(data, path)
    elif parts.digest != _digest(parts.graph, parts.card):  # before ONNX Runtime sees what may be damaged
        raise _damaged(path)
    session = _readable(data, path)
    bundle = Bundle(parts.graph, Card.from_json(parts.card, str(path)))
    _check_graph(session, bundle.card, path)
    vars(bundle)["card_json"] = parts.card  # as an earlier version may have written it
    vars(bundle)["session_alone"] = session  # the cached property, so that the graph is not made ready twice
    return bundle


@dataclass(frozen=True)
class _Parts:
    """What stands in a model's file, one behind the other."""

    graph: bytes
    card: str
    digest: str


def _parts(data: bytes) -> _Parts | None:
    """The parts of a file that ``Bundle.write`` wrote, undamaged or not; None where its end is not one of ours."""
    key = _field(b"\x0a", b"soundmark") + b"\x12"  # behind it stands the card, and its length first
    behind = len(_metadata_entry("soundmark_sha256", 64 * "0"))
    content = data[data.rfind(key) + len(key) : -behind] if key in data else b""
    length = next((i + 1 for i, byte in enumerate(content[:10]) if byte < 0x80), 0)
    try:
        card, digest = content[length:].decode(), data[-64:].decode("ascii")
    except UnicodeDecodeError:
        return None
    end = _metadata_entry("soundmark", card) + _metadata_entry("soundmark_sha256", digest)
    return _Parts(data[: -len(end)], card, digest) if data.endswith(end) else None


def _refuse_foreign(data: bytes, path: Path) -> NoReturn:
    """Say what a file is that does not end as ours do."""
    try:
        known = _readable(data, path).get_modelmeta().custom_metadata_map
    except UnicodeDecodeError:
        raise _damaged(path) from None
    if "soundmark" in known:
        raise _damaged(path)
    if "soundmark_export" in known:
        raise BundleError(
            f'"{path}" is an export for other programs, from waveform to probabilities: give soundmark the model '
            "that it was made from."
        )
    raise BundleError(f'"{path}" is an ONNX file without a soundmark card: soundmark uses models that it trained.')


def _damaged(path: Path) -> BundleError:
    return BundleError(f'"{path}" was damaged or changed after it was written. Train or fetch the model again.')


def session(graph: bytes, *, threads: int | None = None) -> onnxruntime.InferenceSession:
    """An ONNX file, as bytes, ready to run on all the cores of this process, or on so many ``threads``.

    What it has to say it keeps to itself.

    >>> session(model.bundle.graph).get_inputs()[0].name
    'spectrogram'
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or available_cores()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _check_graph(session: onnxruntime.InferenceSession, card: Card, path: Path) -> None:
    """Refuse a graph that takes or gives something else than its card says."""
    inputs = {node.name: [node.type, *node.shape[1:]] for node in session.get_inputs()}
    outputs = {node.name: [node.type, *node.shape[1:]] for node in session.get_outputs()}
    n, size = len(card.classes), card.representation.shape
    if inputs != {"spectrogram": ["tensor(float)", 1, *size]} or outputs.get("logits") != ["tensor(float)", n]:
        raise BundleError(
            f'"{path}" has a card for {size[0]}×{size[1]} spectrograms and {n} classes, and a graph that takes '
            f"{inputs} and gives {outputs}. Train or fetch the model again."
        )
    if any(
        isinstance(side, int) for node in (*session.get_inputs(), *session.get_outputs()) for side in node.shape[:1]
    ):
        raise BundleError(f'"{path}" has a graph for one size of batch alone. Train or fetch the model again.')


def _readable(data: bytes, path: Path) -> onnxruntime.InferenceSession:
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    try:
        return session(data, threads=1)
    except (
        states.InvalidProtobuf,
        states.InvalidGraph,
        states.Fail,
        states.InvalidArgument,
        states.NotImplemented,
    ) as error:
        raise BundleError(
            f'"{path}" ({len(data)} bytes) is not a model: ONNX Runtime cannot read it. '
            "Give a .onnx file that soundmark wrote."
        ) from error


def _models_below(folder: Path) -> str:
    """A hint at the models in a folder that was given for one."""
    models = sorted(folder.rglob("model.onnx"))[:3]
    return f" There is {', '.join(str(model) for model in models)}." if models else ""


def _digest(graph: bytes, card: str) -> str:
    return hashlib.sha256(hashlib.sha256(graph).digest() + card.encode()).hexdigest()


def _metadata_entry(key: str, value: str) -> bytes:
    """One ``metadata_props`` entry of a ``ModelProto`` (onnx.proto3: key is field 1, value is field 2)."""
    entry = _field(b"\x0a", key.encode()) + _field(b"\x12", value.encode())
    return _field(METADATA_TAG, entry)


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _varint(n: int) -> bytes:
    """``n`` in protobuf's variable-length form: seven bits a byte, the least first."""
    groups: list[int] = []
    while True:
        n, low = n >> 7, n & 0x7F
        if not n:
            return bytes([*groups, low])
        groups.append(low | 0x80)


def check_agreement(
    bundle: Bundle, expected: np.ndarray, spectrograms: np.ndarray, *, tolerance: float = 1e-4
) -> float:
    """The largest difference between ``expected`` probabilities ``[batch, classes]`` and the graph's own.

    Raises:
        BundleError: it is more than ``tolerance``: such a model is not written.

    >>> silence = np.zeros((1, 24, 24), np.float32)
    >>> check_agreement(model.bundle, model.probabilities(silence), silence)
    0.0
    """
    difference = float(np.abs(bundle.activate(bundle.run(spectrograms)) - expected).max())
    if not difference <= tolerance:
        raise BundleError(
            f"the exported graph differs from the trained network by {difference:.2g} in probability (allowed: "
            f"{tolerance:g}); the model is not written. Please report this with the versions of torch and onnxruntime."
        )
    return difference
