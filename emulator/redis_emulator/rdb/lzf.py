"""LZF, the compression of long strings.

A compressed string is a row of runs. A control byte below 32 says that so many bytes and one more
follow as they are. Otherwise its upper three bits are a length (7 means that a further byte is to
be added), and its lower five with the byte that follows an offset backwards; length + 2 bytes are
repeated from there.
"""

from __future__ import annotations

_LONGEST_LITERAL = 32
_LONGEST_MATCH = 264
_FARTHEST = 8192


def decompress(data: bytes, size: int) -> bytes:
    """The original of ``data``, which has ``size`` bytes.

    Raises:
        ValueError: It does not decompress to that size.
    """
    out = bytearray()
    place, end = 0, len(data)
    while place < end:
        control = data[place]
        place += 1
        if control < _LONGEST_LITERAL:
            literal = data[place : place + control + 1]
            if len(literal) != control + 1:
                raise ValueError("a literal run is cut short")
            out += literal
            place += control + 1
        else:
            length = control >> 5
            if length == 7:
                length += _at(data, place)
                place += 1
            start = len(out) - ((control & 31) << 8) - _at(data, place) - 1
            place += 1
            if start < 0:
                raise ValueError("a reference points before the start")
            for step in range(length + 2):
                out.append(out[start + step])
        if len(out) > size:
            raise ValueError("there is more than was announced")
    if len(out) != size:
        raise ValueError("there is less than was announced")
    return bytes(out)


def _at(data: bytes, place: int) -> int:
    if place >= len(data):
        raise ValueError("a reference is cut short")
    return data[place]


def compress(data: bytes) -> bytes:
    """A form of ``data`` that `decompress` reads; not always a shorter one."""
    out = bytearray()
    literal = bytearray()
    seen: dict[bytes, int] = {}
    place, end = 0, len(data)
    while place < end:
        three = data[place : place + 3]
        start = seen.get(three, -1)
        seen[three] = place
        if len(three) < 3 or start < 0 or place - start > _FARTHEST:
            literal.append(data[place])
            place += 1
            if len(literal) == _LONGEST_LITERAL:
                _flush(out, literal)
            continue
        _flush(out, literal)
        length = 3
        limit = min(_LONGEST_MATCH, end - place)
        while length < limit and data[start + length] == data[place + length]:
            length += 1
        offset = place - start - 1
        code = length - 2
        if code < 7:
            out.append(code << 5 | offset >> 8)
        else:
            out += bytes((7 << 5 | offset >> 8, code - 7))
        out.append(offset & 0xFF)
        place += length
    _flush(out, literal)
    return bytes(out)


def _flush(out: bytearray, literal: bytearray) -> None:
    if literal:
        out.append(len(literal) - 1)
        out += literal
        literal.clear()
