"""The type of strings with digits that Redis does not encode as ``int``."""

from __future__ import annotations


class UnencodedInteger(bytearray):
    """The digits of an integer, written by INCRBYFLOAT, or by a script on Valkey.

    OBJECT ENCODING replies ``embstr`` or ``raw`` for it. It is never changed in place; a command
    that changes it converts it to a `bytearray` first.
    """

    __slots__ = ()
