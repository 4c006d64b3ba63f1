"""What TYPE says of a value. Encodings and everything a command computes live elsewhere."""

from __future__ import annotations


def type_name(value: object) -> bytes:
    """``string``, ``hash`` and so on, as TYPE and SCAN's TYPE option name it.

    A string is plain `bytes` or `bytearray`; every other class of values says it in ``kind``.
    """
    name: bytes = getattr(value, "kind", b"string")
    return name
