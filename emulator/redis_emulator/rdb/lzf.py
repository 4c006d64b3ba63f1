"""LZF, the compression of long strings, byte for byte as the server's liblzf does it.

Compressed data is a sequence of runs. A control byte below 32 is followed by that many bytes plus
one, which are copied. Otherwise the upper three bits of the control byte are a length (if 7, the
next byte is added to it), and its lower five bits and the next byte are an offset backwards, from
which length + 2 bytes are copied.

Compressors may find different repetitions, but DUMP must give the same bytes as a server. As in
liblzf, positions are stored in a table indexed by a hash of three bytes, one position per slot;
inside a repetition only its last two positions are stored; the first byte is never referenced.
"""

from __future__ import annotations

_LONGEST_LITERAL = 32
_LONGEST_MATCH = 264
_MAX_OFFSET = 8192
_SLOTS = (1 << 16) - 1


def decompress(data: bytes, size: int) -> bytes:
    """Decompress ``data``, whose original has ``size`` bytes.

    Raises:
        ValueError: It does not decompress to that size.
    """
    out = bytearray()
    position, end = 0, len(data)
    while position < end:
        control = data[position]
        position += 1
        if control < _LONGEST_LITERAL:
            literal = data[position : position + control + 1]
            if len(literal) != control + 1:
                raise ValueError("a literal run is truncated")
            out += literal
            position += control + 1
        else:
            length = control >> 5
            if length == 7:
                length += _at(data, position)
                position += 1
            offset = ((control & 31) << 8 | _at(data, position)) + 1
            position += 1
            _copy_reference(out, offset, length + 2)
        if len(out) > size:
            raise ValueError(f"the data decompresses to more than {size} bytes")
    if len(out) != size:
        raise ValueError(f"the data decompresses to less than {size} bytes")
    return bytes(out)


def _copy_reference(out: bytearray, offset: int, length: int) -> None:
    start = len(out) - offset
    if start < 0:
        raise ValueError("a reference points before the start")
    if offset >= length:
        out += out[start : start + length]
    else:
        pattern = out[start:]
        out += (pattern * (length // offset + 1))[:length]


def _at(data: bytes, position: int) -> int:
    if position >= len(data):
        raise ValueError("a reference is truncated")
    return data[position]


def compress(data: bytes, limit: int) -> bytes | None:
    """Compress ``data``. Returns None if the result would have more than ``limit`` bytes."""
    out = bytearray(1)
    literal = 0
    seen: dict[int, int] = {}
    position, end = 0, len(data)
    last = end - 2
    while position < last:
        slot = _slot(data, position)
        start = seen.get(slot, 0)
        seen[slot] = position
        offset = position - start - 1
        if (
            not start
            or offset >= _MAX_OFFSET
            or data[start : start + 3] != data[position : position + 3]
        ):
            if len(out) >= limit:
                return None
            out.append(data[position])
            literal += 1
            position += 1
            if literal == _LONGEST_LITERAL:
                literal = _end_literal_run(out, literal)
            continue
        if len(out) - (not literal) + 4 >= limit:
            return None
        literal = _end_literal_run(out, literal, more=False)
        length = _match_length(data, start, position, last - position)
        code = length - 2
        if code < 7:
            out += bytes((code << 5 | offset >> 8, offset & 0xFF, 0))
        else:
            out += bytes((7 << 5 | offset >> 8, code - 7, offset & 0xFF, 0))
        position += length
        if position >= last:
            break
        for each in (position - 2, position - 1):
            seen[_slot(data, each)] = each
    if len(out) + 3 > limit:
        return None
    for each in range(position, end):
        out.append(data[each])
        literal += 1
        if literal == _LONGEST_LITERAL:
            literal = _end_literal_run(out, literal)
    _end_literal_run(out, literal, more=False)
    return bytes(out)


def _slot(data: bytes, position: int) -> int:
    three = data[position] << 16 | data[position + 1] << 8 | data[position + 2]
    return (three >> 8) - 5 * three & _SLOTS


def _match_length(data: bytes, start: int, position: int, room: int) -> int:
    """The number of equal bytes from ``start`` and from ``position``; three are known to be equal.

    ``room`` is the maximum; as in liblzf, a match of 17 or 18 may exceed it by two.
    """
    limit = 19 if 16 < room < 19 else min(room, _LONGEST_MATCH)
    length = 3
    while length < limit and data[start + length] == data[position + length]:
        length += 1
    return length


def _end_literal_run(out: bytearray, literal: int, *, more: bool = True) -> int:
    """Write the control byte of a literal run into the byte reserved in front of the run.

    With ``more``, reserve a byte for the next run; without, remove the reserved byte of an empty
    run. Returns 0, the length of the next run.
    """
    if literal:
        out[-literal - 1] = literal - 1
    elif not more:
        out.pop()
    if more:
        out.append(0)
    return 0
