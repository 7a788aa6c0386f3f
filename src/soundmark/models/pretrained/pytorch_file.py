"""Read the tensors of a PyTorch file (``torch.save`` of a state dict) as data: nothing in the file is executed.

A ``.pt`` file is a ZIP archive: ``data.pkl`` is a pickle that lists the tensors, ``data/0``, ``data/1``, … are their
numbers. A pickle is a program for a small stack machine. The one here knows only the instructions of a state dict, and
only the four names that a state dict needs; it calls no function of the file's choice. Everything else is refused.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from soundmark.errors import WeightsError

MAX_BYTES = 1 << 29  # of a file; EfficientAT's largest has 280 MB


MAX_MEMBERS = 20_000


MAX_LIST_BYTES = 1 << 24  # of data.pkl; that of mn04 has 35 kB


MAX_RANK = 8


_MEMBER = re.compile(
    r"[^/\\]{1,200}/(data\.pkl|data/\d{1,9}|version|byteorder|\.format_version|\.storage_alignment|\.data/[a-z_]+)"
)


_STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}


_NAMES = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    *(f"torch {name}" for name in _STORAGES),
}


@dataclass(frozen=True)
class _Name:
    """A name that the pickle mentions; it is never looked up."""

    text: str


@dataclass(frozen=True)
class _Storage:
    """The numbers of a tensor: their type, and the member of the archive."""

    dtype: str
    key: str


class _Refused(ValueError):  # noqa: N818 - internal; the text is the reason
    pass


def read_tensors(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """Return the tensors of a state dict by name.

    Raises:
        WeightsError: the file cannot be read, is not a state dict that ``torch.save`` wrote, or is too large.

    >>> (folder / "weights.pt").write_bytes(b"not a ZIP archive")
    17
    >>> read_tensors(folder / "weights.pt")
    Traceback (most recent call last):
    soundmark.errors.WeightsError: ...weights.pt" is not a PyTorch file of weights: File is not a zip file...
    """
    try:
        if (size := Path(path).stat().st_size) > MAX_BYTES:
            raise _Refused(f"it has {size >> 20} MiB; at most {MAX_BYTES >> 20} MiB are read")
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
            listed = _run(archive.read(members["data.pkl"]))
            return {name: _tensor(name, entry, archive, members) for name, entry in listed.items()}
    except OSError as error:
        raise WeightsError(f'"{path}" cannot be read: {error.strerror or error}.') from error
    except (
        _Refused,
        zipfile.BadZipFile,
        ValueError,
        NotImplementedError,
        RuntimeError,
        EOFError,
        struct.error,
    ) as error:
        raise WeightsError(
            f'"{path}" is not a PyTorch file of weights: {error}. Give a state dict that torch.save wrote (PyTorch 1.6 '
            "or later)."
        ) from error


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the members of the archive by their names without the first folder, which is the same for all."""
    entries = archive.infolist()
    if len(entries) > MAX_MEMBERS:
        raise _Refused(f"it has {len(entries)} members; at most {MAX_MEMBERS} are read")
    for entry in entries:
        if not _MEMBER.fullmatch(entry.filename):
            raise _Refused(f"it has the member {entry.filename[:80]!r}, which a state dict has not")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise _Refused(f"its member {entry.filename[:80]!r} is compressed, which torch.save does not do")
    if sum(entry.file_size for entry in entries) > MAX_BYTES:
        raise _Refused("its members overlap")
    members = {entry.filename.split("/", 1)[1]: entry for entry in entries}
    if len(members) < len(entries):
        raise _Refused("it has two members of the same name")
    if "data.pkl" not in members or members["data.pkl"].file_size > MAX_LIST_BYTES:
        raise _Refused("it has no list of tensors (data.pkl), or one that is too long")
    if "byteorder" in members and archive.read(members["byteorder"]) != b"little":
        raise _Refused("its byte order is not little")
    return members


@dataclass(frozen=True)
class _Tensor:
    """A tensor: its storage, and where in it the numbers are."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _tensor(name: str, entry: object, archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]) -> np.ndarray:
    if not isinstance(entry, _Tensor):
        raise _Refused(f"its entry {name[:80]!r} is not a tensor")
    member = members.get(f"data/{entry.storage.key}")
    n = math.prod(entry.shape)
    if member is None or member.file_size < (entry.offset + n) * np.dtype(entry.storage.dtype).itemsize:
        raise _Refused(f"the numbers of {name[:80]!r} are missing")
    contiguous = tuple(math.prod(entry.shape[axis + 1 :]) for axis in range(len(entry.shape)))
    if any(side > 1 and is_ != be for side, is_, be in zip(entry.shape, entry.strides, contiguous, strict=True)):
        raise _Refused(f"the numbers of {name[:80]!r} are not in order")
    numbers = np.frombuffer(
        archive.read(member), entry.storage.dtype, count=n, offset=entry.offset * np.dtype(entry.storage.dtype).itemsize
    )
    return numbers.reshape(entry.shape)


_MARK = object()


def _run(program: bytes) -> dict[str, Any]:
    """Run the stack machine on a pickle; return the state dict, whose tensors are described, not loaded."""
    machine = _Machine()
    try:
        for instruction, argument, _ in pickletools.genops(io.BytesIO(program)):
            machine.step(instruction.name, argument)
        (result,) = machine.stack
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise _Refused("its list of tensors is damaged") from error
    if not isinstance(result, dict) or not all(isinstance(name, str) for name in result):
        raise _Refused("it does not contain a state dict")
    return result


class _Machine:
    """The stack and the memory of a pickle, and the instructions that a state dict needs."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}

    def step(self, instruction: str, argument: Any) -> None:
        """Execute one instruction."""
        stack = self.stack
        match instruction:
            case "PROTO" | "STOP":
                pass
            case "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                self.memory[len(self.memory) if argument is None else argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memory[argument])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE" | "SHORT_BINUNICODE":
                stack.append(argument)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(instruction == "NEWTRUE")
            case "EMPTY_DICT":
                stack.append({})
            case "MARK":
                stack.append(_MARK)
            case "EMPTY_TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                self._push_tuple(self._pop(0 if instruction == "EMPTY_TUPLE" else int(instruction[-1])))
            case "TUPLE":
                self._push_tuple(self._pop_to_mark())
            case "GLOBAL":
                stack.append(_known_name(argument))
            case "BINPERSID":
                stack.append(_storage(*stack.pop()))
            case "REDUCE":
                name, arguments = self._pop(2)
                stack.append({} if name.text == "OrderedDict" else _described(*arguments))
            case "SETITEM":
                key, value = self._pop(2)
                stack[-1][key] = value
            case "SETITEMS":
                items = self._pop_to_mark()
                stack[-1].update(zip(items[::2], items[1::2], strict=True))
            case "BUILD":  # the versions of the modules
                stack.pop()
            case _:
                raise _Refused(f"its list of tensors has the instruction {instruction}, which a state dict has not")

    def _pop(self, n: int) -> list[Any]:
        items = self.stack[len(self.stack) - n :] if n else []
        del self.stack[len(self.stack) - n :]
        if len(items) < n:
            raise IndexError
        return items

    def _pop_to_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:  # below 0, an IndexError ends the search
            at -= 1
        return self._pop(len(self.stack) - at)[1:]

    def _push_tuple(self, items: list[Any]) -> None:
        self.stack.append(tuple(items))


def _known_name(argument: str) -> _Name:
    """Return a name of ``_NAMES``; pickletools separates the module from the name by a space."""
    if argument not in _NAMES:
        raise _Refused(f"its list of tensors names {argument.replace(' ', '.')[:80]!r}, which a state dict has not")
    return _Name(argument.rsplit(" ", 1)[1])


def _storage(kind: object, name: object, key: object, device: object, n: object) -> _Storage:
    if kind != "storage" or not isinstance(name, _Name) or name.text not in _STORAGES or not isinstance(key, str):
        raise TypeError
    return _Storage(_STORAGES[name.text], key)


def _described(storage: object, offset: object, shape: object, strides: object, *_: object) -> _Tensor:
    """Describe the tensor that ``torch._utils._rebuild_tensor_v2`` would return."""
    if not isinstance(storage, _Storage) or not isinstance(offset, int):
        raise TypeError
    sizes = [axes for axes in (shape, strides) if isinstance(axes, tuple) and len(axes) <= MAX_RANK]
    if (
        len(sizes) < 2
        or len(sizes[0]) != len(sizes[1])
        or not all(isinstance(number, int) and 0 <= number <= MAX_BYTES for number in (offset, *sizes[0], *sizes[1]))
    ):
        raise TypeError
    return _Tensor(storage, offset, *sizes)
