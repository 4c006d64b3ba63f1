"""BITFIELD: integers of any width at any bit of a string."""

from __future__ import annotations

from typing import Final, NamedTuple

from redis_emulator.clients.session import Session
from redis_emulator.commands.bitmap import parse_offset, raw_string
from redis_emulator.commands.helpers.arguments import parse_integer, syntax_error
from redis_emulator.commands.registry import command
from redis_emulator.commands.string import lookup_string
from redis_emulator.keyspace.events import STRING
from redis_emulator.resp.types import RedisError, Reply

_BAD_TYPE: Final = (
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but "
    "i64 is."
)
_ARGUMENTS: Final = {b"GET": 2, b"SET": 3, b"INCRBY": 3, b"OVERFLOW": 1}
_OVERFLOWS: Final = (b"WRAP", b"SAT", b"FAIL")
_INT64: Final = 1 << 63


class _Field(NamedTuple):
    """An integer type: signed or not, and how many bits."""

    signed: bool
    bits: int

    @classmethod
    def parse(cls, raw: bytes) -> _Field:
        sign = raw[:1]
        if sign not in (b"i", b"u"):
            raise RedisError(_BAD_TYPE)
        bits = parse_integer(raw[1:], _BAD_TYPE)
        if not 1 <= bits <= (64 if sign == b"i" else 63):
            raise RedisError(_BAD_TYPE)
        return cls(sign == b"i", bits)

    def from_raw(self, raw: int) -> int:
        """The number that ``raw``, the lowest bits of it, stand for."""
        raw &= (1 << self.bits) - 1
        if self.signed and raw >> (self.bits - 1):
            raw -= 1 << self.bits
        return raw

    def add(self, number: int, amount: int, overflow: bytes) -> int | None:
        """The sum as this type can hold it; None when ``overflow`` says to refuse it.

        ``number`` itself may be out of range. The server compares in 64 bits, and those overflow:
        far below the least number of a narrow signed type it finds what is too large.
        """
        low = -(1 << (self.bits - 1)) if self.signed else 0
        high = (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1
        total = number + amount
        if low <= number <= high and low <= total <= high:
            return total
        if overflow == b"FAIL":
            return None
        if overflow == b"SAT":
            above = total > high or (self.bits < 64 and high - number >= _INT64)
            return high if above else low
        return self.from_raw(total)


class _Operation(NamedTuple):
    """One GET, SET or INCRBY and the overflow behaviour in force for it."""

    name: bytes
    field: _Field
    offset: int
    amount: int
    overflow: bytes


def _parse(ctx: Session, argv: list[bytes]) -> list[_Operation]:
    operations = []
    overflow = b"WRAP"
    place = 2
    while place < len(argv):
        name = argv[place].upper()
        count = _ARGUMENTS.get(name)
        if count is None or place + count >= len(argv):
            raise syntax_error()
        if name == b"OVERFLOW":
            overflow = argv[place + 1].upper()
            if overflow not in _OVERFLOWS:
                raise RedisError("ERR Invalid OVERFLOW type specified")
        else:
            field = _Field.parse(argv[place + 1])
            offset = parse_offset(ctx, argv[place + 2], field.bits)
            amount = 0 if name == b"GET" else parse_integer(argv[place + 3])
            operations.append(_Operation(name, field, offset, amount, overflow))
        place += 1 + count
    return operations


@command("bitfield", "bitfield_ro")
def bitfield(ctx: Session, argv: list[bytes]) -> Reply:
    operations = _parse(ctx, argv)
    ends = [each.offset + each.field.bits for each in operations if each.name != b"GET"]
    if not ends:
        text = lookup_string(ctx, argv[1]) or b""
        return [
            each.field.from_raw(_read(text, each.offset, each.field.bits)) for each in operations
        ]
    if argv[0].lower() == b"bitfield_ro":
        raise RedisError("ERR BITFIELD_RO only supports the GET subcommand")
    value, grown = raw_string(ctx, argv[1], (max(ends) + 7) // 8)
    always = ctx.server.version.before(7)
    replies: list[Reply] = []
    changes = 0
    for operation in operations:
        before, after = _run(value, operation)
        if operation.name != b"GET":
            changes += always or (after is not None and (grown or before != after))
        replies.append(after if operation.name == b"INCRBY" or after is None else before)
    if changes:
        ctx.db.changed(argv[1], b"setbit", STRING)
        ctx.db.context.dirty += changes - 1
    return replies


def _run(value: bytearray, operation: _Operation) -> tuple[int, int | None]:
    """Do one operation; what the field held before and holds after, None if it was refused."""
    name, field, offset, amount, overflow = operation
    before = field.from_raw(_read(value, offset, field.bits))
    if name == b"GET":
        return before, before
    if name == b"INCRBY":
        after = field.add(before, amount, overflow)
    else:
        after = field.add(amount if field.signed else amount % (2 * _INT64), 0, overflow)
    if after is not None:
        _write(value, offset, field.bits, after)
    return before, after


def _read(value: bytes | bytearray, offset: int, bits: int) -> int:
    """``bits`` bits from ``offset`` on; what is beyond the end is zero."""
    start, end = offset >> 3, (offset + bits + 7) >> 3
    window = int.from_bytes(value[start:end].ljust(end - start, b"\0"), "big")
    return window >> (end * 8 - offset - bits) & ((1 << bits) - 1)


def _write(value: bytearray, offset: int, bits: int, number: int) -> None:
    start, end = offset >> 3, (offset + bits + 7) >> 3
    mask, shift = (1 << bits) - 1, end * 8 - offset - bits
    window = int.from_bytes(value[start:end], "big") & ~(mask << shift)
    value[start:end] = (window | (number & mask) << shift).to_bytes(end - start, "big")
