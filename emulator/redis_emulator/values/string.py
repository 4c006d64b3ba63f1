"""What a string can be beside `bytes` and `bytearray`."""

from __future__ import annotations


class Printed(bytearray):
    """A whole number that INCRBYFLOAT has printed, or one of Valkey's scripts has set: to OBJECT
    ENCODING a text, not an integer.

    It is never changed in place; what changes it makes a `bytearray` of it first.
    """

    __slots__ = ()
