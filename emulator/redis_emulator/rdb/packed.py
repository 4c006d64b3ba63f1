"""Compact encodings of small collections: listpack, the older ziplist, and intset.

A listpack is its size in bytes (4), the number of elements (2), the elements, and ``0xFF``. An
element is a header with its encoding, its bytes, and the length of both in a form that can be read
backwards.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise

_INTEGER = re.compile(rb"-?[1-9][0-9]{0,18}|0").fullmatch
_MAX_ELEMENT_COUNT = 65_535


def pack(items: Iterable[bytes | int]) -> bytes:
    """A listpack of ``items``. A string that is a 64-bit integer is stored as an integer."""
    body = bytearray()
    count = 0
    for item in items:
        count += 1
        element = _element(item)
        body += element
        body += _back_length(len(element))
    return struct.pack("<IH", len(body) + 7, min(count, _MAX_ELEMENT_COUNT)) + bytes(body) + b"\xff"


def grouped(items: list[bytes], size: int) -> list[tuple[bytes, ...]]:
    """``items`` in tuples of ``size``.

    Raises:
        ValueError: The number of items is not a multiple of ``size``.
    """
    if len(items) % size:
        raise ValueError(f"the number of elements is not a multiple of {size}")
    return list(zip(*(items[start::size] for start in range(size)), strict=True))


def packed_size(item: bytes) -> int:
    """The number of bytes that ``item`` takes in a listpack."""
    size = len(_element(item))
    return size + len(_back_length(size))


def _element(item: bytes | int) -> bytes:
    if isinstance(item, int):
        return _integer(item)
    if len(item) <= 20 and _INTEGER(item) and -(1 << 63) <= (number := int(item)) < 1 << 63:
        return _integer(number)
    if len(item) < 1 << 6:
        return b"%c%b" % (0x80 | len(item), item)
    if len(item) < 1 << 12:
        return struct.pack(">H", 0xE000 | len(item)) + item
    return struct.pack("<BI", 0xF0, len(item)) + item


def _integer(number: int) -> bytes:
    if 0 <= number < 1 << 7:
        return b"%c" % number
    if -(1 << 12) <= number < 1 << 12:
        return struct.pack(">H", 0xC000 | number & 0x1FFF)
    for code, width in ((0xF1, 2), (0xF2, 3), (0xF3, 4)):
        if -(1 << 8 * width - 1) <= number < 1 << 8 * width - 1:
            return b"%c%b" % (code, number.to_bytes(width, "little", signed=True))
    return b"\xf4%b" % number.to_bytes(8, "little", signed=True)


def _back_length(size: int) -> bytes:
    groups = [size & 0x7F]
    while size > 127:
        size >>= 7
        groups.append(size & 0x7F)
    return bytes([groups.pop(), *(group | 0x80 for group in reversed(groups))])


def unpack(data: bytes) -> list[bytes]:
    """The elements of a listpack, integers in decimal.

    Raises:
        ValueError: It is not a valid listpack.
    """
    if len(data) < 7 or int.from_bytes(data[:4], "little") != len(data) or data[-1] != 0xFF:
        raise ValueError("not a listpack")
    items: list[bytes] = []
    position = 6
    while position < len(data) - 1:
        item, size = _read_element(data, position)
        back = _back_length(size)
        if data[position + size : position + size + len(back)] != back:
            raise ValueError("a listpack element has a wrong back length")
        items.append(item)
        position += size + len(back)
    if position != len(data) - 1 or int.from_bytes(data[4:6], "little") not in (
        len(items),
        _MAX_ELEMENT_COUNT,
    ):
        raise ValueError("a listpack has a wrong count")
    return items


def _read_element(data: bytes, position: int) -> tuple[bytes, int]:
    head = data[position]
    if head < 0x80:
        return b"%d" % head, 1
    if head < 0xC0:
        return _slice(data, position, 1, head & 0x3F)
    if head < 0xE0:
        number = (head & 0x1F) << 8 | data[position + 1]
        return b"%d" % (number - (1 << 13) if number >= 1 << 12 else number), 2
    if head < 0xF0:
        return _slice(data, position, 2, (head & 0x0F) << 8 | data[position + 1])
    if head == 0xF0:
        return _slice(
            data, position, 5, int.from_bytes(data[position + 1 : position + 5], "little")
        )
    width = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}.get(head)
    if width is None:
        raise ValueError("unknown listpack element")
    raw, size = _slice(data, position, 1, width)
    return b"%d" % int.from_bytes(raw, "little", signed=True), size


def _slice(data: bytes, position: int, head: int, length: int) -> tuple[bytes, int]:
    item = data[position + head : position + head + length]
    if len(item) != length or position + head + length >= len(data):
        raise ValueError("an element is truncated")
    return item, head + length


def pack_ziplist(items: Iterable[bytes]) -> bytes:
    """A ziplist of ``items``. A string that is a 64-bit integer is stored as an integer.

    Its header is the size in bytes (4), the offset of the last element (4) and the number of
    elements (2). An element begins with the length of the previous one.
    """
    body = bytearray()
    count = before = 0
    for item in items:
        count += 1
        element = struct.pack("<BI", 0xFE, before) if before >= 0xFE else b"%c" % before
        element += _ziplist_element(item)
        before = len(element)
        body += element
    head = struct.pack(
        "<IIH", len(body) + 11, 10 + len(body) - before, min(count, _MAX_ELEMENT_COUNT)
    )
    return head + bytes(body) + b"\xff"


def _ziplist_element(item: bytes) -> bytes:
    if len(item) <= 20 and _INTEGER(item) and -(1 << 63) <= (number := int(item)) < 1 << 63:
        if 0 <= number <= 12:
            return b"%c" % (0xF1 + number)
        for code, width in ((0xFE, 1), (0xC0, 2), (0xF0, 3), (0xD0, 4)):
            if -(1 << 8 * width - 1) <= number < 1 << 8 * width - 1:
                return b"%c%b" % (code, number.to_bytes(width, "little", signed=True))
        return b"\xe0%b" % number.to_bytes(8, "little", signed=True)
    if len(item) < 1 << 6:
        return b"%c%b" % (len(item), item)
    if len(item) < 1 << 14:
        return struct.pack(">H", 0x4000 | len(item)) + item
    return struct.pack(">BI", 0x80, len(item)) + item


def ziplist_size(item: bytes) -> int:
    """The number of bytes that ``item`` takes in a ziplist, without the length of the previous."""
    return len(_ziplist_element(item))


def unpack_ziplist(data: bytes) -> list[bytes]:
    """The elements of a ziplist, integers in decimal.

    Raises:
        ValueError: It is not a valid ziplist.
    """
    if len(data) < 11 or int.from_bytes(data[:4], "little") != len(data) or data[-1] != 0xFF:
        raise ValueError("not a ziplist")
    items: list[bytes] = []
    position = 10
    while position < len(data) - 1:
        position += 5 if data[position] == 0xFE else 1
        if position >= len(data) - 1:
            raise ValueError("an element is truncated")
        item, size = _read_ziplist_element(data, position)
        items.append(item)
        position += size
    if position != len(data) - 1 or int.from_bytes(data[8:10], "little") not in (
        len(items),
        _MAX_ELEMENT_COUNT,
    ):
        raise ValueError("a ziplist has a wrong count")
    return items


def _read_ziplist_element(data: bytes, position: int) -> tuple[bytes, int]:
    head = data[position]
    if head < 0x40:
        return _slice(data, position, 1, head)
    if head < 0x80:
        return _slice(data, position, 2, (head & 0x3F) << 8 | data[position + 1])
    if head == 0x80:
        return _slice(data, position, 5, int.from_bytes(data[position + 1 : position + 5], "big"))
    if 0xF1 <= head <= 0xFD:
        return b"%d" % (head - 0xF1), 1
    width = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}.get(head)
    if width is None:
        raise ValueError("unknown ziplist element")
    raw, size = _slice(data, position, 1, width)
    return b"%d" % int.from_bytes(raw, "little", signed=True), size


_INTSET_FORMATS = {2: "h", 4: "i", 8: "q"}


def pack_intset(numbers: Sequence[int]) -> bytes:
    """An intset of sorted numbers."""
    width = next(
        each
        for each in (2, 4, 8)
        if -(1 << 8 * each - 1) <= numbers[0] and numbers[-1] < 1 << 8 * each - 1
    )
    form = f"<II{len(numbers)}{_INTSET_FORMATS[width]}"
    return struct.pack(form, width, len(numbers), *numbers)


def unpack_intset(data: bytes) -> list[bytes]:
    """The members of an intset.

    Raises:
        ValueError: It is not a valid intset.
    """
    if len(data) < 8:
        raise ValueError("not an intset")
    width, count = struct.unpack_from("<II", data)
    if width not in _INTSET_FORMATS or len(data) != 8 + width * count:
        raise ValueError("not an intset")
    numbers = struct.unpack_from(f"<{count}{_INTSET_FORMATS[width]}", data, 8)
    if any(left >= right for left, right in pairwise(numbers)):
        raise ValueError("an intset is not in order")
    return [b"%d" % number for number in numbers]
