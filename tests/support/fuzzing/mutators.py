"""Random changes of bytes, texts and JSON values; all randomness comes from a ``random.Random``."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from random import Random
from typing import Any

# JSON and TOML texts of numbers.
NUMBERS = (
    "0", "-0.0", "1", "-1", "2", "0.5", "1.5", "1e-320", "1e-9", "1e308", "-1e308", "1e309", "NaN", "Infinity",
    "-Infinity", "nan", "inf", "-inf", "true", "false", "null", "127", "255", "256", "4096", "65536", "2147483647",
    "2147483648", "4294967296", "9007199254740993", "9223372036854775807", "-9223372036854775808",
    "18446744073709551616", "1e30", "9" * 29, "9" * 31, "1" + 400 * "0", "9" * 5000, "0x10", "1_000", "01", "٣", "1e5",
    "1,5", "½", "--1", "1e", ".5", "5.", "+3",
)  # fmt: skip

TEXTS = (
    "", " ", "\t", "\n", "a\nb", "a\rb", "\x00", "a\x00b", "\x1b[31mred", "\u202edrow", "\ud800", "\udcff", "\ufeff",
    "\U0001f4a5" * 60, "é", "e\u0301", "ß", "İ", "\u2028", "\xa0", "a" * 300, "b" * 5000, "c" * 50_000, "$\\frac{$",
    "[bold]x[/]", "<b>&amp;", "%s%n{0}", "=1+1", "..", "../..", "/etc/passwd", "~", "~root", "con", "a/b", "a\\b",
    "a,b", "a;b", "a|b", '"', "'", '"""', "NaN", "null", "None", "-", "--help", "#", "\\", "\\u0000", "unknown",
    "(unknown)", "softmax", "sigmoid", "mel", "image", "logmel", "random", "official", "grouped",
)  # fmt: skip


def mutated_bytes(data: bytes, rng: Random, *, head: int = 400, most: int = 8) -> bytes:
    """Apply one to ``most`` changes; half of them in the first ``head`` bytes, where formats have their header."""
    changed = bytearray(data)
    for _ in range(min(rng.randint(1, most), rng.randint(1, most))):
        rng.choice(BYTE_CHANGES)(changed, _position(changed, rng, head), rng)
    return bytes(changed)


def _position(data: bytearray, rng: Random, head: int) -> int:
    most = len(data) if rng.random() < 0.5 else min(len(data), head)
    return rng.randrange(most) if most else 0


def _flip(data: bytearray, at: int, rng: Random) -> None:
    if data:
        data[at] ^= 1 << rng.randrange(8)


def _replace(data: bytearray, at: int, rng: Random) -> None:
    data[at : at + 1] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))])


def _integer(data: bytearray, at: int, rng: Random) -> None:
    """Write an extreme or nearly equal number of 2, 4 or 8 bytes."""
    code = rng.choice("HIQ")
    width = struct.calcsize(code)
    order = rng.choice("<>")
    limit = 1 << 8 * width
    extreme = rng.choice(
        (0, 1, 2, limit // 2 - 1, limit // 2, limit // 2 + 1, limit - 1, limit - 2, rng.randrange(limit))
    )
    if rng.random() < 0.5 and at + width <= len(data):
        extreme = struct.unpack_from(order + code, data, at)[0] + rng.choice((-4, -2, -1, 1, 2, 4, 1024)) % limit
    data[at : at + width] = struct.pack(order + code, extreme % limit)


def _delete(data: bytearray, at: int, rng: Random) -> None:
    del data[at : at + _length(rng)]


def _repeat(data: bytearray, at: int, rng: Random) -> None:
    data[at:at] = data[at : at + _length(rng)] * rng.choice((1, 1, 2, 16))


def _insert(data: bytearray, at: int, rng: Random) -> None:
    data[at:at] = rng.randbytes(_length(rng) % 64 + 1)


def _overwrite(data: bytearray, at: int, rng: Random) -> None:
    n = min(_length(rng), len(data) - at)
    data[at : at + n] = rng.choice((bytes(n), b"\xff" * n, rng.randbytes(n)))


def _truncate(data: bytearray, at: int, rng: Random) -> None:
    del data[at if rng.random() < 0.3 else rng.randrange(len(data) + 1) :]


def _move(data: bytearray, at: int, rng: Random) -> None:
    """Copy a piece over another one."""
    n, source = _length(rng), rng.randrange(len(data) + 1)
    data[at : at + n] = data[source : source + n]


def _length(rng: Random) -> int:
    return rng.choice((1, 2, 4, 8, 16, rng.randint(1, 256), rng.randint(1, 4096)))


BYTE_CHANGES: tuple[Callable[[bytearray, int, Random], None], ...] = (
    _flip, _flip, _replace, _integer, _integer, _delete, _repeat, _insert, _overwrite, _truncate, _move,
)  # fmt: skip


def mutated_text(text: str, rng: Random, *, most: int = 4) -> str:
    """Delete, repeat, exchange or replace tokens: words, numbers and signs."""
    tokens = re.findall(r"[\w.+-]+|\s+|.", text, flags=re.DOTALL)
    for _ in range(rng.randint(1, most)):
        if not tokens:
            return rng.choice(TEXTS)
        i, j = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        change = rng.randrange(8)
        if change == 0:
            del tokens[i]
        elif change == 1:
            tokens.insert(j, tokens[i])
        elif change == 2:
            tokens[i], tokens[j] = tokens[j], tokens[i]
        elif change == 3:
            tokens[i] = rng.choice(NUMBERS)
        elif change == 4:
            tokens[i] = rng.choice(TEXTS)
        elif change == 5:
            tokens[i:i] = tokens[min(i, j) : max(i, j)][:200]
        elif change == 6:
            tokens[i] = rng.choice("[]{}()=,:;\"'#\\\n\r\t.")
        else:
            numbers = [k for k, token in enumerate(tokens) if token[:1].isdigit() or token[:1] == "-"]
            tokens[rng.choice(numbers) if numbers else i] = rng.choice(NUMBERS)
    return "".join(tokens)


def encoded(text: str, rng: Random) -> bytes:
    """Encode a text as UTF-8, and seldom in another encoding, with a byte order mark, or with damaged bytes."""
    chance = rng.random()
    if chance < 0.03:
        return text.encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig")), "surrogatepass")
    if chance < 0.05:
        return text.encode(rng.choice(("latin-1", "cp1252", "ascii", "shift-jis")), "replace")
    data = text.encode("utf-8", "surrogatepass" if rng.random() < 0.1 else "replace")
    if chance < 0.08:
        return data.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b"\0\n")))
    return mutated_bytes(data, rng, most=2) if chance < 0.15 else data


class Raw(str):
    """A number, as the text that JSON has for it: it need not be one that Python can write."""


def mutated_value(value: Any, rng: Random, *, most: int = 3) -> Any:
    """Change one to ``most`` parts of a JSON value: replace, remove, repeat, exchange, rename or nest them."""
    root = [json.loads(json.dumps(value))]
    for _ in range(rng.randint(1, most)):
        holder, key = rng.choice(list(_parts(root)))
        _change(holder, key, rng, root)
    return root[0] if root else None


def _parts(value: Any) -> Any:
    """All places below a value, each as the table or list that holds it, and the key or index."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _parts(value[key])


def _change(holder: Any, key: Any, rng: Random, root: list[Any]) -> None:
    change, old = rng.randrange(11), holder[key]
    if change <= 2:
        holder[key] = Raw(rng.choice(NUMBERS[:38]))
    elif change == 3:
        holder[key] = rng.choice(TEXTS)
    elif change == 4:
        holder[key] = rng.choice(([], {}, [old], {"name": old}, [old] * 3, [[]], str(old), None, [old, None]))
    elif change == 5 and holder is not root:
        del holder[key]
    elif change == 6:
        other, place = rng.choice(list(_parts(root)))
        if not isinstance(other[place], dict | list):
            holder[key] = other[place]
    elif change == 7 and isinstance(holder, dict):
        holder[rng.choice((*TEXTS[:30], str(key) + "s", str(key).upper(), "name", "version"))] = old
    elif change == 8 and isinstance(old, list) and old:
        old.extend(old[: rng.randint(1, len(old))] * rng.choice((1, 1, 5, 100)))
    elif change == 9:
        for _ in range(rng.choice((2, 19, 20, 21, 200))):
            old = rng.choice(([old], {"x": old}))
        holder[key] = old
    elif isinstance(old, str):
        holder[key] = mutated_text(old, rng, most=2)
    elif isinstance(old, int | float) and not isinstance(old, bool):
        holder[key] = rng.choice((-old, old * 2, old + 1, old - 1, float(old), old * 1000, old / 3))


def to_json(value: Any, rng: Random) -> str:
    """Write a JSON text; seldom with a repeated key, nested extremely deeply, or with changed tokens."""
    text = _written(value, ensure_ascii=rng.random() < 0.5)
    chance = rng.random()
    if chance < 0.02:
        depth = rng.choice((500, 1000, 5000, 100_000))
        opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
        return text[:-1] + f', "deep": {opening * depth}1{closing * depth}}}'
    if chance < 0.06 and text.startswith("{"):
        return text[:-1] + f", {json.dumps(rng.choice(list(value) or ['x']))}: {rng.choice(NUMBERS)}}}"
    return mutated_text(text, rng, most=2) if chance < 0.12 else text


def _written(value: Any, *, ensure_ascii: bool) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{json.dumps(str(k))}: {_written(v, ensure_ascii=ensure_ascii)}" for k, v in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(_written(each, ensure_ascii=ensure_ascii) for each in value) + "]"
    return json.dumps(value, ensure_ascii=ensure_ascii)
