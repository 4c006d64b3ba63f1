"""Type names of values, as TYPE prints them."""

from __future__ import annotations


def type_name(value: object) -> bytes:
    """The type name for TYPE and SCAN's TYPE option: ``string``, ``hash`` …

    A string is `bytes` or `bytearray`; every other class of values has the attribute ``kind``.
    """
    name: bytes = getattr(value, "kind", b"string")
    return name
