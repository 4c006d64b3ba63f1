"""A string type besides `bytes` and `bytearray`."""

from __future__ import annotations


class Printed(bytearray):
    """An integer that INCRBYFLOAT, or a script on Valkey, has written as a string.

    OBJECT ENCODING treats it as text, not as an integer. It is never changed in place; a command
    that changes it converts it to a `bytearray` first.
    """

    __slots__ = ()
