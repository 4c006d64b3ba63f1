"""The bitmap commands: SETBIT, GETBIT, BITCOUNT, BITPOS and BITOP.

Bit 0 is the most significant bit of the first byte. For speed, long strings are processed as large
integers or with methods of `bytes`, not byte by byte.
"""

from __future__ import annotations

from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import (
    INT64_MIN,
    parse_integer,
    syntax_error,
    wrong_type,
)
from redis_emulator.commands.registry import command
from redis_emulator.commands.string import lookup_string
from redis_emulator.keyspace.events import GENERIC, STRING
from redis_emulator.resp.types import RedisError, Reply
from redis_emulator.values.string import UnencodedInteger

_BAD_OFFSET: Final = "ERR bit offset is not an integer or out of range"
_BAD_BIT: Final = "ERR bit is not an integer or out of range"
_CHUNK: Final = 1 << 16
_STRINGS: Final = (bytes, bytearray, UnencodedInteger)


def parse_offset(ctx: Session, raw: bytes, width: int = 0) -> int:
    """Parse a bit offset. If ``width`` is given, ``#3`` means offset ``3 * width``.

    Raises:
        RedisError: It is not an integer, or is beyond the maximum length of a string.
    """
    counted = width > 0 and raw[:1] == b"#"
    offset = parse_integer(raw[1:] if counted else raw, _BAD_OFFSET)
    if counted:
        offset = (offset * width - INT64_MIN) % (1 << 64) + INT64_MIN
    if offset < 0 or offset >> 3 >= ctx.server.config.numbers["proto-max-bulk-len"]:
        raise RedisError(_BAD_OFFSET)
    return offset


def raw_string(ctx: Session, key: bytes, size: int) -> tuple[bytearray, bool]:
    """Return the string at ``key`` as a mutable buffer of at least ``size`` bytes.

    The key is created if it does not exist, and the string is padded with zero bytes.

    Returns:
        The buffer, and whether it was created or padded.

    Raises:
        RedisError: The key holds another type.
    """
    db = ctx.db
    value = db.writable(key)
    if value is None:
        fresh = bytearray(size)
        db.set(key, fresh)
        return fresh, True
    if type(value) is bytes or type(value) is UnencodedInteger:
        value = bytearray(value)
        db.replace(key, value)
    elif type(value) is not bytearray:
        raise wrong_type()
    if len(value) >= size:
        return value, False
    value += bytes(size - len(value))
    return value, True


@command("setbit")
def setbit(ctx: Session, argv: list[bytes]) -> Reply:
    offset = parse_offset(ctx, argv[2])
    if argv[3] not in (b"0", b"1"):
        raise RedisError(_BAD_BIT)
    key = argv[1]
    index, mask = offset >> 3, 0x80 >> (offset & 7)
    value, grown = raw_string(ctx, key, index + 1)
    byte = value[index]
    before = 1 if byte & mask else 0
    after = argv[3] == b"1"
    value[index] = byte | mask if after else byte & ~mask
    if grown or before != after or ctx.server.version.before(7):
        ctx.db.changed(key, b"setbit", STRING)
    return before


@command("getbit")
def getbit(ctx: Session, argv: list[bytes]) -> Reply:
    offset = parse_offset(ctx, argv[2])
    value = lookup_string(ctx, argv[1])
    index = offset >> 3
    if value is None or index >= len(value):
        return 0
    return value[index] >> (7 - (offset & 7)) & 1


class _BitRange:
    """The range of bits given by START, END and BYTE or BIT.

    Attributes:
        first: Offset of the first bit.
        last: Offset of the last bit; less than ``first`` if the range is empty.
        has_end: Whether END was given.
        is_inverted: Whether START and END are both negative and END is before START.
    """

    def __init__(self, ctx: Session, argv: list[bytes], index: int, *, unit_first: bool) -> None:
        given = len(argv) - index
        if given > (3 if not ctx.server.version.before(7) else 2):
            raise syntax_error()
        self._start = parse_integer(argv[index]) if given else 0
        self._bits = given == 3 and unit_first and _is_bit_unit(argv[-1])
        self.has_end = given > 1
        self._end = parse_integer(argv[index + 1]) if self.has_end else -1
        self.is_inverted = self._end < self._start < 0
        unit_ignored = self.is_inverted and ctx.server.version.before(7, 2)
        if given == 3 and not unit_first and not unit_ignored:
            self._bits = _is_bit_unit(argv[-1])
        self.first, self.last = 0, -1

    def apply(self, length: int) -> None:
        """Set ``first`` and ``last`` for a string of ``length`` bytes."""
        total = length * 8 if self._bits else length
        start, end = self._start, self._end
        start = max(0, start + total) if start < 0 else start
        end = max(0, end + total) if end < 0 else end
        end = min(end, total - 1)
        if self._bits:
            self.first, self.last = start, end
        else:
            self.first, self.last = start * 8, end * 8 + 7


def _is_bit_unit(unit: bytes) -> bool:
    if unit.upper() not in (b"BIT", b"BYTE"):
        raise syntax_error()
    return unit.upper() == b"BIT"


def _missing_before_7_2(ctx: Session, key: bytes) -> bool:
    """Whether the key is missing and the server is older than Redis 7.2.

    These releases look up the key before they parse the range, so errors in the range are not
    reported for a missing key.

    Raises:
        RedisError: The server is older than Redis 7.2 and the key holds another type.
    """
    if not ctx.server.version.before(7, 2) or type(ctx.db.data.get(key)) in _STRINGS:
        return False
    return lookup_string(ctx, key) is None


@command("bitcount")
def bitcount(ctx: Session, argv: list[bytes]) -> Reply:
    if _missing_before_7_2(ctx, argv[1]):
        return 0
    valkey = ctx.server.version.is_valkey()
    if len(argv) == 3 and not valkey:
        raise syntax_error()
    bit_range = _BitRange(ctx, argv, 2, unit_first=valkey)
    value = lookup_string(ctx, argv[1])
    if value is None or (bit_range.is_inverted and len(argv) > 2):
        return 0
    bit_range.apply(len(value))
    first, last = bit_range.first, bit_range.last
    if first > last:
        return 0
    start, end = first >> 3, (last >> 3) + 1
    total = _count_bits(value, start, end)
    total -= (value[start] >> (8 - (first & 7))).bit_count()
    return total - (value[end - 1] & ((1 << (7 - (last & 7))) - 1)).bit_count()


def _count_bits(value: bytes | bytearray, start: int, end: int) -> int:
    return sum(
        int.from_bytes(value[index : min(index + _CHUNK, end)], "little").bit_count()
        for index in range(start, end, _CHUNK)
    )


@command("bitpos")
def bitpos(ctx: Session, argv: list[bytes]) -> Reply:
    bit = parse_integer(argv[2])
    if bit not in (0, 1):
        raise RedisError("ERR The bit argument must be 1 or 0.")
    if _missing_before_7_2(ctx, argv[1]):
        return -1 if bit else 0
    bit_range = _BitRange(ctx, argv, 3, unit_first=True)
    value = lookup_string(ctx, argv[1])
    if value is None:
        return -1 if bit else 0
    bit_range.apply(len(value))
    first, last = bit_range.first, bit_range.last
    if first > last:
        return -1
    found = _find_bit(value, bit, first, last)
    if found <= last:
        return found
    return -1 if bit or bit_range.has_end else len(value) * 8


def _find_bit(value: bytes | bytearray, bit: int, first: int, last: int) -> int:
    """Offset of the first bit equal to ``bit`` at or after ``first``; above ``last`` if none."""
    index, end = first >> 3, (last >> 3) + 1
    flip = 0 if bit else 0xFF
    byte = (value[index] ^ flip) & (0xFF >> (first & 7))
    while not byte:
        index += 1
        if index >= end:
            return last + 1
        part = value[index : min(index + _CHUNK, end)]
        rest = part.lstrip(b"\0" if bit else b"\xff")
        index += len(part) - len(rest)
        if not rest:
            index -= 1
            continue
        byte = rest[0] ^ flip
    return index * 8 + 8 - byte.bit_length()


_BITOP_OPERATORS: Final = frozenset((b"AND", b"OR", b"XOR", b"NOT"))
_BITOP_OPERATORS_8_2: Final = frozenset((b"DIFF", b"DIFF1", b"ANDOR", b"ONE"))


@command("bitop")
def bitop(ctx: Session, argv: list[bytes]) -> Reply:
    operator, target = argv[1].upper(), argv[2]
    version = ctx.server.version
    has_8_2_operators = version.is_redis(8, 2)
    if operator not in _BITOP_OPERATORS and not (
        has_8_2_operators and operator in _BITOP_OPERATORS_8_2
    ):
        raise syntax_error()
    if operator == b"NOT" and len(argv) != 4:
        raise RedisError("ERR BITOP NOT must be called with a single source key.")
    if operator in (b"DIFF", b"DIFF1", b"ANDOR") and len(argv) < 5:
        raise RedisError(
            f"ERR BITOP {operator.decode()} must be called with at least two source keys."
        )
    sources = [lookup_string(ctx, key) or b"" for key in argv[3:]]
    size = max(map(len, sources))
    db = ctx.db
    if size:
        first, *others = (int.from_bytes(source, "little") for source in sources)
        result = _combine(operator, first, others, size)
        db.set(target, bytearray(result.to_bytes(size, "little")))
        db.changed(target, b"set", STRING)
    elif db.remove(target):
        db.changed(target, b"del", GENERIC)
    return size


def _combine(operator: bytes, first: int, others: list[int], size: int) -> int:
    if operator == b"NOT":
        return first ^ ((1 << 8 * size) - 1)
    if operator == b"AND":
        for other in others:
            first &= other
        return first
    if operator == b"XOR":
        for other in others:
            first ^= other
        return first
    if operator == b"ONE":
        seen, repeated = first, 0
        for other in others:
            repeated |= seen & other
            seen |= other
        return seen & ~repeated
    union = 0
    for other in others:
        union |= other
    if operator == b"OR":
        return first | union
    if operator == b"DIFF":
        return first & ~union
    return union & ~first if operator == b"DIFF1" else first & union
