"""A trained model as one ``.onnx`` file: the graph, and the model card in the file's metadata.

The graph's input is ``spectrogram`` float32 ``[batch, 1, freq, time]``, or ``waveform`` ``[batch, samples]``. Its
outputs are ``logits`` ``[batch, classes]`` and, for some models, ``embedding`` ``[batch, d]``, ``familiarity`` and
``presence`` ``[batch]``. The metadata key ``soundmark`` contains the ``Card`` as JSON, ``soundmark_sha256`` the SHA-256
of card and graph, which reveals damaged files. Opening a file executes no code from it: ONNX Runtime gets only graphs
that ``graph_check`` allows.

In reading order:

    wire_format     the protobuf messages of an ONNX file, read with limits
    shapes          the shapes that the operators of networks produce, and their cost
    array_shapes    the same for operators on arrays
    signal_shapes   the same for Fourier transforms and resizing
    known_numbers   the numbers in small tensors that are known before a graph runs
    operators       the allowed operators
    graph_check     refuses graphs with forbidden contents or an unbounded cost
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from soundmark.audio.decoding.diagnosis import reason_missing
from soundmark.errors import BundleError
from soundmark.models.bundle import graph_check
from soundmark.models.bundle.graph_check import CheckedGraph
from soundmark.models.card import Card
from soundmark.runtime import atomic
from soundmark.runtime.parallel import available_cores
from soundmark.runtime.text import counted, one_line

if TYPE_CHECKING:
    import onnxruntime


# ModelProto.metadata_props is field 14, a message: its tag in protobuf's wire format is 14 << 3 | 2.
METADATA_TAG = b"\x72"


SHARES = ("familiarity", "presence")  # outputs with numbers from 0 to 1


MAX_BYTES = 2**31 - 1  # of a file: the limit of protobuf


@dataclass(frozen=True, repr=False)
class Bundle:
    """A graph, as the bytes of an ONNX file, and its model card."""

    graph: bytes
    card: Card
    name: str = field(default="the model", compare=False)  # for messages: the file

    def __repr__(self) -> str:
        return f"Bundle(graph of {counted(len(self.graph), 'byte')}, {self.card!r})"

    @cached_property
    def card_json(self) -> str:
        """The card as JSON: the text in the file that the bundle was read from, or the text that would be written."""
        return self.card.to_json()

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of graph and card, in hexadecimal digits."""
        return hashlib.sha256(self.graph + self.card_json.encode()).hexdigest()

    @cached_property
    def checked(self) -> CheckedGraph:
        """The result of ``graph_check``.

        Raises:
            BundleError: the graph is refused.
        """
        return graph_check.check(self.graph, self.name)

    @cached_property
    def session(self) -> onnxruntime.InferenceSession:
        """An ONNX Runtime session on all cores of this process."""
        return session(self.graph) if available_cores() > 1 else self.single_thread_session

    @cached_property
    def single_thread_session(self) -> onnxruntime.InferenceSession:
        """An ONNX Runtime session on one core, which several threads may call at the same time."""
        return session(self.graph, threads=1)

    def __getstate__(self) -> dict[str, Any]:
        # Sessions cannot be pickled: each process creates its own.
        return {"graph": self.graph, "card": self.card, "name": self.name}

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs: ``logits``; for some models ``embedding``, ``familiarity``, ``presence``."""
        return tuple(output.name for output in self.single_thread_session.get_outputs())

    def run(self, spectrograms: np.ndarray, output: str = "logits") -> np.ndarray:
        """Compute one output of the graph, float32 ``[batch, ...]``, of ``spectrograms`` ``[batch, freq, time]``."""
        return self.run_for(spectrograms, (output,))[0]

    def run_for(
        self, spectrograms: np.ndarray, outputs: Sequence[str], *, single_thread: bool = False
    ) -> tuple[np.ndarray, ...]:
        """Compute several outputs of the graph in one pass; see ``run``.

        It runs on all cores, or with ``single_thread`` on one, for callers that run several threads themselves. Large
        batches are split, so that memory is bounded.

        Raises:
            BundleError: the graph fails, or an output has the wrong shape, is not finite or is out of range.
        """
        rows = self.checked.rows_per_run
        session = self.single_thread_session if single_thread else self.session
        if len(spectrograms) <= rows:
            return self._run_rows(session, spectrograms, outputs)
        parts = [
            self._run_rows(session, spectrograms[start : start + rows], outputs)
            for start in range(0, len(spectrograms), rows)
        ]
        return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))

    def _run_rows(
        self, session: onnxruntime.InferenceSession, spectrograms: np.ndarray, outputs: Sequence[str]
    ) -> tuple[np.ndarray, ...]:
        representation = self.card.representation
        batch = representation.batch(spectrograms)
        with runtime_errors(f'"{self.name}" cannot be run'):
            found = session.run(list(outputs), {representation.input_name: batch})
        for name, values in zip(outputs, found, strict=True):
            self._check_output(name, values, len(batch))
        return tuple(found)

    def _check_output(self, name: str, values: np.ndarray, rows: int) -> None:
        """Raise ``BundleError`` for an output with the wrong type, shape or numbers."""
        shape = {"logits": (rows, len(self.card.classes)), "familiarity": (rows,), "presence": (rows,)}.get(name)
        is_expected = values.shape == shape if shape else values.ndim == 2 and len(values) == rows
        if values.dtype != np.float32 or not is_expected:
            expected = list(shape) if shape else f"[{rows}, d]"
            raise BundleError(
                f'the output "{name}" of "{self.name}" is {values.dtype} {list(values.shape)} instead of float32 '
                f"{expected}. Train or download the model again."
            )
        wrong = values[~np.isfinite(values)]
        if not wrong.size and name in SHARES:
            wrong = values[(values < 0) | (values > 1)]
        if wrong.size:
            allowed = "from 0 to 1" if name in SHARES else "finite numbers"
            raise BundleError(
                f'the output "{name}" of "{self.name}" contains {wrong.flat[0]:g}; allowed: {allowed}. Train or '
                "download the model again."
            )

    def activate(self, logits: np.ndarray) -> np.ndarray:
        """Convert ``logits`` to probabilities float32 ``[batch, classes]``, with the card's temperature and activation.

        The activation is softmax or sigmoid: callers must not assume that a row sums to one.
        """
        return self.card.task.probabilities(logits, self.card.temperature).astype(np.float32)

    def log_odds(self, logits: np.ndarray, which: int) -> np.ndarray:
        """Compute the log-odds ln(p / (1 − p)) of the class with index ``which``, float64 ``[batch]``.

        p is the probability that ``activate`` returns. The result is finite even where p is rounded to 1.
        """
        return self.card.task.log_odds(logits.astype(np.float64) / self.card.temperature, which)

    def write(self, path: str | PathLike[str]) -> None:
        """Write the model file atomically.

        Raises:
            OutputError: the file cannot be written.
        """
        atomic.write_bytes(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the content of the model file."""
        card = self.card.to_json()
        digest = _digest(self.graph, card)
        # Concatenated protobuf messages are parsed as one merged message. So the metadata is appended, and the bytes of
        # the graph are unchanged.
        metadata = b"".join(_metadata_entry(k, v) for k, v in (("soundmark", card), ("soundmark_sha256", digest)))
        return self.graph + metadata


def read_bundle(path: str | PathLike[str]) -> Bundle:
    """Read a model file.

    Raises:
        BundleError: the file does not exist, is not a soundmark model, is damaged, or has a later schema.

    >>> model.bundle.write(folder / "model.onnx")
    >>> read_bundle(folder / "model.onnx").card.classes[:2]
    ('air_conditioner', 'car_horn')
    """
    path = Path(path)
    data = read_file(path)
    parts = _split(data)
    if parts is None:
        _raise_foreign(data, path)
    elif parts.digest != _digest(parts.graph, parts.card):
        raise _damaged(path)
    card = Card.from_json(parts.card, str(path))
    checked = graph_check.check(data, str(path))  # before ONNX Runtime parses the bytes
    session = _load_session(data, path)
    bundle = Bundle(parts.graph, card, str(path))
    _check_matches_card(session, bundle.card, path)
    vars(bundle)["card_json"] = parts.card  # unchanged, even if an earlier version wrote it
    vars(bundle)["checked"] = checked
    vars(bundle)["single_thread_session"] = session  # fill the cached properties: one session per model
    return bundle


def read_file(path: Path, what: str = "model") -> bytes:
    """Read the bytes of an ONNX file, a ``what`` in messages.

    Raises:
        BundleError: it cannot be read, is a folder, or is too large.

    >>> read_file(folder / "none.onnx", "backbone")
    Traceback (most recent call last):
    soundmark.errors.BundleError: the backbone "...none.onnx" does not exist: "..." contains no "none.onnx".
    """
    try:
        if path.is_dir():
            hint = _models_in_folder(path)
            raise BundleError(f'the {what} "{path}" is a folder; a {what} is one .onnx file.{hint}')
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise BundleError(f'the {what} "{path}" is a device or a pipe; a {what} is one .onnx file.')
        if found.st_size > MAX_BYTES:
            raise BundleError(
                f'the {what} "{path}" has {found.st_size:,} bytes; the largest ONNX file has {MAX_BYTES:,}.'
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BundleError(f'the {what} "{path}" {reason_missing(path)}') from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise BundleError(f'the {what} "{path}" cannot be read: {why}.') from error


@dataclass(frozen=True)
class _Parts:
    """The consecutive parts of a model file."""

    graph: bytes
    card: str
    digest: str


def _split(data: bytes) -> _Parts | None:
    """Split a file that ``Bundle.write`` wrote, damaged or not; None if it does not end with soundmark's metadata."""
    key = _field(b"\x0a", b"soundmark") + b"\x12"  # followed by the length of the card and the card
    tail = len(_metadata_entry("soundmark_sha256", 64 * "0"))
    at = data.rfind(key)
    content = data[at + len(key) : -tail] if at >= 0 else b""
    length = next((i + 1 for i, byte in enumerate(content[:10]) if byte < 0x80), 0)
    try:
        card, digest = content[length:].decode(), data[-64:].decode("ascii")
    except UnicodeDecodeError:
        return None
    end = _metadata_entry("soundmark", card) + _metadata_entry("soundmark_sha256", digest)
    return _Parts(data[: -len(end)], card, digest) if data.endswith(end) else None


def _raise_foreign(data: bytes, path: Path) -> NoReturn:
    """Raise the error for a file that does not end with soundmark's metadata."""
    metadata = graph_check.read_metadata(data)
    if metadata is None:
        raise BundleError(
            f'"{path}" ({len(data)} bytes) is not a model: it is not an ONNX file. Give a .onnx file that soundmark '
            "wrote."
        )
    if "soundmark" in metadata:
        raise _damaged(path)
    if "soundmark_export" in metadata:
        raise BundleError(
            f'"{path}" is an export for other programs (waveform to probabilities), which soundmark cannot load. Give '
            "the model that it was exported from."
        )
    raise BundleError(f'"{path}" is an ONNX file without a soundmark model card. Give a model that soundmark trained.')


def _damaged(path: Path) -> BundleError:
    return BundleError(f'"{path}" was damaged or changed after it was written. Train or download the model again.')


def session(graph: bytes, *, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Create an ONNX Runtime session from the bytes of an ONNX file; it logs errors only.

    It uses ``threads`` threads (default: all cores of this process).

    >>> session(model.bundle.graph).get_inputs()[0].name
    'spectrogram'
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or available_cores()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _check_matches_card(session: onnxruntime.InferenceSession, card: Card, path: Path) -> None:
    """Raise ``BundleError`` if the inputs and outputs of the graph do not match the card."""
    inputs = {node.name: [node.type, *node.shape[1:]] for node in session.get_inputs()}
    outputs = {node.name: [node.type, *node.shape[1:]] for node in session.get_outputs()}
    n, kind = len(card.classes), card.representation
    expected = {kind.input_name: ["tensor(float)", *kind.input_shape]}
    if inputs != expected or outputs.get("logits") != ["tensor(float)", n]:
        size = "×".join(map(str, kind.input_shape[-2:]))
        raise BundleError(
            f'the card of "{path}" does not match its graph: the card describes {size} {kind.input_name}s and '
            f"{n} classes, the graph has the inputs {inputs} and the outputs {outputs}. Train or download the model "
            "again."
        )
    sides = [side for node in (*session.get_inputs(), *session.get_outputs()) for side in node.shape[:1]]
    if session.get_inputs()[0].shape[0] != 1 and any(isinstance(side, int) for side in sides):
        raise BundleError(
            f'the graph of "{path}" has a fixed batch size; soundmark needs a variable one. Train or download the '
            "model again."
        )


def _load_session(data: bytes, path: Path) -> onnxruntime.InferenceSession:
    with runtime_errors(f'"{path}" ({len(data)} bytes) is not a model'):
        return session(data, threads=1)


@cache
def _runtime_error_types() -> tuple[type[Exception], ...]:
    """The errors of ONNX Runtime, which have no common base class.

    A text that is not UTF-8 fails on its way to Python, as a ``UnicodeDecodeError``, which is a ``ValueError``; C++
    exceptions arrive as a ``RuntimeError`` or ``MemoryError``.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    own = (each for each in vars(states).values() if isinstance(each, type) and issubclass(each, Exception))
    return (RuntimeError, ValueError, MemoryError, *own)


@contextmanager
def runtime_errors(what: str, remedy: str = "Give a .onnx file that soundmark wrote.") -> Iterator[None]:
    """Raise any error of ONNX Runtime as a ``BundleError`` that begins with ``what`` and ends with ``remedy``.

    >>> with runtime_errors("the backbone cannot be run", "Export it again."):
    ...     raise RuntimeError("no")
    Traceback (most recent call last):
    soundmark.errors.BundleError: the backbone cannot be run: ONNX Runtime reports 'no'. Export it again.
    """
    try:
        yield
    except _runtime_error_types() as error:
        reason = one_line(str(error), 200) or "not enough memory"
        raise BundleError(f"{what}: ONNX Runtime reports {reason!r}. {remedy}") from error


def _models_in_folder(folder: Path) -> str:
    """A hint that names up to three models in a folder that was given instead of a model."""
    models = sorted(folder.rglob("*.onnx"))[:3]
    return f" Models in it: {', '.join(str(model) for model in models)}." if models else ""


def _digest(graph: bytes, card: str) -> str:
    return hashlib.sha256(hashlib.sha256(graph).digest() + card.encode()).hexdigest()


def _metadata_entry(key: str, value: str) -> bytes:
    """Encode one ``metadata_props`` entry of a ``ModelProto`` (onnx.proto3: key is field 1, value is field 2)."""
    entry = _field(b"\x0a", key.encode()) + _field(b"\x12", value.encode())
    return _field(METADATA_TAG, entry)


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _varint(n: int) -> bytes:
    """Encode ``n`` as a protobuf varint: seven bits per byte, least significant first."""
    groups: list[int] = []
    while True:
        n, low = n >> 7, n & 0x7F
        if not n:
            return bytes([*groups, low])
        groups.append(low | 0x80)


def check_agreement(
    bundle: Bundle, expected: np.ndarray, spectrograms: np.ndarray, *, tolerance: float = 1e-4
) -> float:
    """Return the largest difference between ``expected`` probabilities ``[batch, classes]`` and those of the graph.

    Raises:
        BundleError: the difference is above ``tolerance``.

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
