"""JSON values with a checksum: changed, damaged or foreign text is a ``ValueError``, whatever it contains."""

import json

import pytest

from soundmark.errors import SoundmarkError
from soundmark.runtime.checksums import file_checksum, parse_verified, with_checksum

TEXT = json.dumps(with_checksum({"accuracy": 0.7}))


@pytest.mark.parametrize("text", [TEXT, TEXT.encode()])
def test_values_are_returned_without_their_checksum(text):
    assert parse_verified(text) == {"accuracy": 0.7}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "[]",
        "{}",
        TEXT[:-1],
        TEXT.replace("0.7", "0.9"),
        b"\xff",
        "[" * 100_000,
        '{"a":' * 990 + "1" + "}" * 990,
    ],
    ids=["empty", "number", "list", "object", "cut", "changed", "not UTF-8", "deep", "deep object"],
)
def test_anything_else_is_a_value_error(text):
    with pytest.raises(ValueError, match="."):
        parse_verified(text)


@pytest.mark.parametrize("name", ["none.bin", "."])
def test_a_file_that_cannot_be_read_is_named(name, tmp_path):
    with pytest.raises(SoundmarkError, match='" cannot be read: .*. Check its permissions'):
        file_checksum(tmp_path / name)
