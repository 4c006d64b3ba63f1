"""What TYPE says of a value. Encodings and everything a command computes live elsewhere."""

from __future__ import annotations

from typing import Final

from redis_emulator.values.hash import Hash

TYPE_NAMES: Final[dict[type, bytes]] = {bytes: b"string", bytearray: b"string", Hash: b"hash"}


def type_name(value: object) -> bytes:
    """``string``, ``hash`` and so on, as TYPE and SCAN's TYPE option name it."""
    return TYPE_NAMES[type(value)]
