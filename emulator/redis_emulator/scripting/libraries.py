"""The libraries bit, struct, cjson and cmsgpack of scripts.

They are written in Lua. The functions here provide the arithmetic that Lua 5.1 does not have (bits
of integers, bytes of floats). They take and return only bytes and numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

_FLOATS = {b"<f": "<f", b">f": ">f", b"<d": "<d", b">d": ">d"}


def make(state: Any, box: Any, load: Callable[..., Any], legacy: bool) -> dict[bytes, Any]:
    """Create the libraries. Returns their Lua tables by name."""
    host = state.table_from(
        {
            b"band": lambda a, b: a & b,
            b"bor": lambda a, b: a | b,
            b"bxor": lambda a, b: a ^ b,
            b"pack_float": _pack_float,
            b"low_word": _low_word,
            b"unpack_float": _unpack_float,
            b"pack_int": _pack_int,
            b"unpack_int": _unpack_int,
        }
    )
    box.guard_host(host)
    return {
        name.encode(): load(f"{name}.lua", host, box)
        for name in ("bit", "struct", "cjson", "cmsgpack")
    }


def _pack_float(form: bytes, value: float, minus_zero: bool = False) -> bytes:
    """A float's bytes. Minus zero comes from Lua as an integer, without its sign."""
    try:
        return struct.pack(_FLOATS[form], -0.0 if minus_zero else value)
    except OverflowError:
        return struct.pack(_FLOATS[form], float("-inf") if value < 0 else float("inf"))


def _unpack_float(form: bytes, raw: bytes) -> float:
    return float(struct.unpack(_FLOATS[form], raw)[0])


def _pack_int(value: float, size: int, little: bool) -> bytes:
    whole = int(value) if abs(value) < 2.0**64 else 0
    return (whole & ((1 << 8 * size) - 1)).to_bytes(size, "little" if little else "big")


def _low_word(value: float) -> int:
    return int.from_bytes(struct.pack("<d", value)[:4], "little")


def _unpack_int(raw: bytes, little: bool, signed: bool) -> float:
    return float(int.from_bytes(raw, "little" if little else "big", signed=signed))
