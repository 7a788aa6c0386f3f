"""Reads the protobuf messages of an ONNX file, with limits and without the package onnx.

A message is a sequence of fields, each a tag (number << 3 | wire type) and a value: a varint (wire type 0), 8 bytes
(1), a length and as many bytes (2), or 4 bytes (5). Only the messages that a model needs are descended into, so that
nesting is bounded by ``MESSAGES``. The bytes of tensors are not copied.
Source: https://protobuf.dev/programming-guides/encoding, onnx.proto of onnx 1.23.
"""

from __future__ import annotations

import struct
from typing import Any

MAX_FIELDS = 500_000  # of a file; mn10 has 9 000
MAX_INTEGERS = 100_000  # of a packed list


# Message → field number → name and kind of the field. A kind is a scalar (integer, float, text, bytes),
# "refused" for a field that ``graph_check`` refuses, or the name of a message.
MESSAGES: dict[str, dict[int, tuple[str, str]]] = {
    "model": {
        1: ("ir_version", "integer"),
        2: ("producer_name", "text"),
        3: ("producer_version", "text"),
        4: ("domain", "text"),
        5: ("model_version", "integer"),
        6: ("doc_string", "text"),
        7: ("graph", "graph"),
        8: ("opset_import", "operator set"),
        14: ("metadata_props", "entry"),
        20: ("training_info", "refused"),
        25: ("functions", "refused"),
        26: ("configuration", "refused"),
    },
    "operator set": {1: ("domain", "text"), 2: ("version", "integer")},
    "entry": {1: ("key", "text"), 2: ("value", "text")},
    "graph": {
        1: ("node", "node"),
        2: ("name", "text"),
        5: ("initializer", "tensor"),
        10: ("doc_string", "text"),
        11: ("input", "value"),
        12: ("output", "value"),
        13: ("value_info", "value"),
        14: ("quantization_annotation", "refused"),
        15: ("sparse_initializer", "refused"),
        16: ("metadata_props", "entry"),
    },
    "node": {
        1: ("input", "text"),
        2: ("output", "text"),
        3: ("name", "text"),
        4: ("op_type", "text"),
        5: ("attribute", "attribute"),
        6: ("doc_string", "text"),
        7: ("domain", "text"),
        8: ("overload", "text"),
        9: ("metadata_props", "entry"),
        10: ("device_configurations", "refused"),
    },
    "attribute": {
        1: ("name", "text"),
        2: ("f", "float"),
        3: ("i", "integer"),
        4: ("s", "bytes"),
        5: ("t", "tensor"),
        6: ("g", "refused"),
        7: ("floats", "float"),
        8: ("ints", "integer"),
        9: ("strings", "refused"),
        10: ("tensors", "refused"),
        11: ("graphs", "refused"),
        13: ("doc_string", "text"),
        14: ("tp", "refused"),
        15: ("type_protos", "refused"),
        20: ("type", "integer"),
        21: ("ref_attr_name", "refused"),
        22: ("sparse_tensor", "refused"),
        23: ("sparse_tensors", "refused"),
    },
    "tensor": {
        1: ("dims", "integer"),
        2: ("data_type", "integer"),
        3: ("segment", "refused"),
        4: ("float_data", "bytes"),
        5: ("int32_data", "bytes"),
        6: ("string_data", "refused"),
        7: ("int64_data", "bytes"),
        8: ("name", "text"),
        9: ("raw_data", "bytes"),
        10: ("double_data", "bytes"),
        11: ("uint64_data", "bytes"),
        12: ("doc_string", "text"),
        13: ("external_data", "refused"),
        14: ("data_location", "integer"),
        16: ("metadata_props", "entry"),
    },
    "value": {1: ("name", "text"), 2: ("type", "type"), 3: ("doc_string", "text"), 4: ("metadata_props", "entry")},
    "type": {
        1: ("tensor_type", "tensor type"),
        4: ("sequence_type", "refused"),
        5: ("map_type", "refused"),
        6: ("denotation", "text"),
        7: ("opaque_type", "refused"),
        8: ("sparse_tensor_type", "refused"),
        9: ("optional_type", "refused"),
    },
    "tensor type": {1: ("elem_type", "integer"), 2: ("shape", "shape")},
    "shape": {1: ("dim", "side")},
    "side": {1: ("dim_value", "integer"), 2: ("dim_param", "text"), 3: ("denotation", "text")},
}


WIRE_TYPES = {"integer": 0, "float": 5}  # all other kinds have a length


Message = dict[str, list[Any]]  # the values of each field, in the order of the file


class WireError(ValueError):
    """The bytes are not a message of the expected kind, or exceed a limit; the text is the reason."""


class WireReader:
    r"""Reads messages of one file; all of them share the limit on the number of fields.

    >>> WireReader(b"\x0a\x01x\x10\x05").read("operator set")
    {'domain': ['x'], 'version': [5]}
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.n_fields = data, 0

    def read(self, kind: str, start: int = 0, stop: int | None = None) -> Message:
        """Read the message of this kind in ``data[start:stop]``.

        Raises:
            WireError: with the reason.
        """
        data, known, message = self.data, MESSAGES[kind], Message()
        position, stop = start, len(data) if stop is None else stop
        while position < stop:
            self.n_fields += 1
            if self.n_fields > MAX_FIELDS:
                raise WireError(f"it has more than {MAX_FIELDS:,} fields")
            tag, position = _varint(data, position, stop)
            if tag >> 3 not in known:
                raise WireError(f"it has the unknown field {tag >> 3} in a {kind}")
            name, kind_of_field = known[tag >> 3]
            values = message.setdefault(name, [])
            wire_type = tag & 7
            if wire_type == 2:
                length, position = _varint(data, position, stop)
                end = position + length
                if end > stop:
                    raise WireError(f"its field {name} is truncated")
                self._add_with_length(values, name, kind_of_field, position, end)
                position = end
            elif wire_type != WIRE_TYPES.get(kind_of_field):
                raise WireError(f"its field {name} has the wrong type")
            elif wire_type == 0:
                value, position = _varint(data, position, stop)
                values.append(_signed(value))
            elif position + 4 > stop:
                raise WireError(f"its field {name} is truncated")
            else:
                values += struct.unpack_from("<f", data, position)
                position += 4
        return message

    def _add_with_length(self, values: list[Any], name: str, kind: str, start: int, stop: int) -> None:
        """Add the value in ``data[start:stop]``: a text, bytes, a message, or a packed list of numbers."""
        if kind in MESSAGES:
            values.append(self.read(kind, start, stop))
        elif kind == "text":
            try:
                values.append(str(memoryview(self.data)[start:stop], "utf-8"))
            except UnicodeDecodeError as error:
                raise WireError(f"its field {name} is not valid UTF-8") from error
        elif kind == "integer":
            values += packed_integers(memoryview(self.data)[start:stop])
        elif kind == "float":
            if (stop - start) % 4 or stop - start > 4 * MAX_INTEGERS:
                raise WireError(f"its field {name} is not a list of at most {MAX_INTEGERS:,} numbers")
            values += struct.unpack(f"<{(stop - start) // 4}f", memoryview(self.data)[start:stop])
        else:
            values.append(memoryview(self.data)[start:stop])


def packed_integers(packed: memoryview) -> list[int]:
    r"""Decode a packed list of integers.

    Raises:
        WireError: with the reason.

    >>> packed_integers(memoryview(b"\x05\x80\x01"))
    [5, 128]
    """
    position, numbers = 0, []
    while position < len(packed):
        number, position = _varint(packed, position, len(packed))
        numbers.append(_signed(number))
        if len(numbers) > MAX_INTEGERS:
            raise WireError(f"a list has more than {MAX_INTEGERS:,} numbers")
    return numbers


def _varint(data: bytes | memoryview, position: int, stop: int) -> tuple[int, int]:
    """Decode the varint at ``position``, and return the position after it."""
    number = shift = 0
    while position < stop and shift < 70:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
    raise WireError("a number in it is truncated or longer than ten bytes")


def _signed(number: int) -> int:
    """A 64-bit number in two's complement."""
    return number - (1 << 64) if number >= 1 << 63 else number
