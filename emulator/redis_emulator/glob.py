"""Glob patterns as KEYS, SCAN, PSUBSCRIBE and ACL rules use them.

``*`` any bytes, ``?`` one byte, ``[a-z]`` and ``[^a]`` classes, ``\\`` takes the next byte as it
is. An unclosed class runs to the end of the pattern, as it does on the server.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache


@lru_cache(maxsize=1024)
def glob(pattern: bytes, ignore_case: bool = False) -> Callable[[bytes], re.Match[bytes] | None]:
    """A function that tells whether the whole of a byte string matches ``pattern``."""
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    return re.compile(_translate(pattern), flags).fullmatch


def _translate(pattern: bytes) -> bytes:
    out = bytearray()
    place, end = 0, len(pattern)
    while place < end:
        letter = pattern[place : place + 1]
        place += 1
        if letter == b"*":
            if not out.endswith(b".*"):
                out += b".*"
        elif letter == b"?":
            out += b"."
        elif letter == b"[":
            translated, place = _translate_class(pattern, place)
            out += translated
        else:
            if letter == b"\\" and place < end:
                letter = pattern[place : place + 1]
                place += 1
            out += re.escape(letter)
    return bytes(out)


def _translate_class(pattern: bytes, place: int) -> tuple[bytes, int]:
    end = len(pattern)
    negated = pattern[place : place + 1] == b"^"
    place += negated
    members = bytearray()
    while place < end and pattern[place : place + 1] != b"]":
        if pattern[place : place + 1] == b"\\" and place + 1 < end:
            place += 1
            members += re.escape(pattern[place : place + 1])
            place += 1
        elif pattern[place + 1 : place + 2] == b"-" and place + 2 < end:
            low, high = sorted((pattern[place], pattern[place + 2]))
            members += re.escape(bytes([low])) + b"-" + re.escape(bytes([high]))
            place += 3
        else:
            members += re.escape(pattern[place : place + 1])
            place += 1
    place += 1
    if not members:
        return (b"." if negated else b"(?!)"), min(place, end)
    return b"[" + (b"^" if negated else b"") + bytes(members) + b"]", min(place, end)
