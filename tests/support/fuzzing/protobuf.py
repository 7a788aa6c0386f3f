"""Random changes of protobuf messages: fields dropped, repeated, exchanged, renumbered, of another type, or extreme."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from random import Random

from soundmark.models.bundle.wire_format import MESSAGES

INTEGERS = (
    0, 1, 2, 3, 4, 7, 8, 16, 63, 64, 127, 128, 255, 256, 1000, 65_536, 1 << 20, 1 << 31, (1 << 31) - 1, 1 << 32,
    1 << 40,
    (1 << 62) + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 64) - 2, (1 << 64) - 4,
)  # fmt: skip


@dataclass
class Field:
    """A field: its number, wire type, and value: an integer, bytes, or the fields of a message called ``kind``."""

    number: int
    wire_type: int
    value: int | bytes | list[Field]
    kind: str = ""


def parsed(data: bytes, kind: str = "model") -> list[Field]:
    """Read a valid message; nested messages as far as ``MESSAGES`` describes them."""
    fields, at = [], 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        value: int | bytes | list[Field]
        if wire_type == 0:
            value, at = _read_varint(data, at)
            fields.append(Field(number, 0, value))
            continue
        if wire_type == 2:
            length, at = _read_varint(data, at)
        else:
            length = {1: 8, 5: 4}[wire_type]
        value = data[at : at + length]
        at += length
        inner = MESSAGES[kind].get(number, ("", ""))[1] if kind in MESSAGES else ""
        if wire_type == 2 and inner in MESSAGES:
            fields.append(Field(number, 2, parsed(value, inner), inner))
        else:
            fields.append(Field(number, wire_type, value))
    return fields


def written(fields: list[Field]) -> bytes:
    """Write fields as a message."""
    parts = []
    for field in fields:
        parts.append(varint(field.number << 3 | field.wire_type))
        if isinstance(field.value, int):
            parts.append(varint(field.value))
        else:
            content = written(field.value) if isinstance(field.value, list) else field.value
            parts += [varint(len(content)) if field.wire_type == 2 else b"", content]
    return b"".join(parts)


def varint(n: int) -> bytes:
    n &= (1 << 70) - 1
    groups = bytearray()
    while n >= 0x80:
        groups.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*groups, n])


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def mutated_message(data: bytes, rng: Random, texts: tuple[bytes, ...]) -> bytes:
    """Apply one to three changes to a valid message; ``texts`` replace texts, as do others of the message."""
    root = parsed(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        lists = [root, *_messages(root)]
        fields = rng.choice(lists) if rng.random() < 0.8 else root
        if not fields:
            continue
        i = rng.randrange(len(fields))
        _change(fields, i, rng, texts, lists)
    return written(root)


def _messages(fields: list[Field]) -> Iterator[list[Field]]:
    for field in fields:
        if isinstance(field.value, list):
            yield field.value
            yield from _messages(field.value)


def _change(fields: list[Field], i: int, rng: Random, texts: tuple[bytes, ...], lists: list[list[Field]]) -> None:
    field, change = fields[i], rng.randrange(12)
    if change == 0:
        del fields[i]
    elif change == 1:
        fields.insert(rng.randrange(len(fields) + 1), deepcopy(field))
    elif change == 2:
        j = rng.randrange(len(fields))
        fields[i], fields[j] = fields[j], fields[i]
    elif change == 3 and rng.random() < 0.3:
        field.number = rng.choice((*range(1, 26), 99, 1 << 28))
    elif change == 4 and rng.random() < 0.3:
        field.wire_type = rng.randrange(8)
    elif change == 5:  # copy a field of another message, often of the same kind
        other = rng.choice(lists)
        if other:
            fields[i] = deepcopy(rng.choice(other))
    elif isinstance(field.value, int):
        steps = (field.value + 1, field.value - 1, field.value * 2, field.value // 2, -field.value)
        field.value = rng.choice((*INTEGERS, *steps)) & (1 << 64) - 1
    elif isinstance(field.value, bytes):
        field.value = _changed_bytes(field.value, rng, texts, lists)
    else:
        fields[i] = Field(field.number, field.wire_type, field.value[: rng.randrange(len(field.value) + 1)], field.kind)


def _changed_bytes(value: bytes, rng: Random, texts: tuple[bytes, ...], lists: list[list[Field]]) -> bytes:
    change = rng.randrange(5)
    if change <= 1 and len(value) < 100:
        return rng.choice(texts) if change else _another_text(value, rng, lists)
    if change == 2 and len(value) >= 4:  # extreme numbers in weights
        extreme = rng.choice((0.0, -0.0, 1e30, -1e30, 3.4e38, 1e-45, float("nan"), float("inf"), 1e10))
        at = rng.randrange(len(value) - 3) // 4 * 4
        return value[:at] + struct.pack("<f", extreme) + value[at + 4 :]
    if change == 3:
        return value[: rng.randrange(len(value) + 1)]
    at = rng.randrange(len(value) + 1)
    return value[:at] + rng.randbytes(rng.randint(0, 8)) + value[at + rng.randint(0, 8) :]


def _another_text(value: bytes, rng: Random, lists: list[list[Field]]) -> bytes:
    """Another short text of the message, such as the name of another tensor."""
    for _ in range(20):
        fields = rng.choice(lists)
        if fields and isinstance(found := rng.choice(fields).value, bytes) and 0 < len(found) < 40:
            return found
    return value
