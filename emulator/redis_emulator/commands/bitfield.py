"""The BITFIELD commands: integers of any width at any bit offset of a string."""

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
_ARGUMENT_COUNTS: Final = {b"GET": 2, b"SET": 3, b"INCRBY": 3, b"OVERFLOW": 1}
_OVERFLOWS: Final = (b"WRAP", b"SAT", b"FAIL")
_INT64_LIMIT: Final = 1 << 63


class _IntegerType(NamedTuple):
    """An integer type such as ``i16`` or ``u8``."""

    signed: bool
    bits: int

    @classmethod
    def parse(cls, raw: bytes) -> _IntegerType:
        sign = raw[:1]
        if sign not in (b"i", b"u"):
            raise RedisError(_BAD_TYPE)
        bits = parse_integer(raw[1:], _BAD_TYPE)
        if not 1 <= bits <= (64 if sign == b"i" else 63):
            raise RedisError(_BAD_TYPE)
        return cls(sign == b"i", bits)

    def from_raw(self, raw: int) -> int:
        """The number encoded in the lowest bits of ``raw``."""
        raw &= (1 << self.bits) - 1
        if self.signed and raw >> (self.bits - 1):
            raw -= 1 << self.bits
        return raw

    def add(self, number: int, amount: int, overflow: bytes) -> int | None:
        """Return ``number + amount`` after overflow handling, or None if it overflows with FAIL.

        ``number`` itself may be out of range. Redis computes the distance to the limits in 64 bits,
        which wraps: with SAT, a number far below the minimum of a narrow signed type becomes the
        maximum.
        """
        low = -(1 << (self.bits - 1)) if self.signed else 0
        high = (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1
        total = number + amount
        if low <= number <= high and low <= total <= high:
            return total
        if overflow == b"FAIL":
            return None
        if overflow == b"SAT":
            saturates_high = total > high or (self.bits < 64 and high - number >= _INT64_LIMIT)
            return high if saturates_high else low
        return self.from_raw(total)


class _Operation(NamedTuple):
    """One GET, SET or INCRBY subcommand and its overflow behaviour."""

    name: bytes
    field: _IntegerType
    offset: int
    amount: int
    overflow: bytes


def _parse_operations(ctx: Session, argv: list[bytes]) -> list[_Operation]:
    operations = []
    overflow = b"WRAP"
    index = 2
    while index < len(argv):
        name = argv[index].upper()
        count = _ARGUMENT_COUNTS.get(name)
        if count is None or index + count >= len(argv):
            raise syntax_error()
        if name == b"OVERFLOW":
            overflow = argv[index + 1].upper()
            if overflow not in _OVERFLOWS:
                raise RedisError("ERR Invalid OVERFLOW type specified")
        else:
            field = _IntegerType.parse(argv[index + 1])
            offset = parse_offset(ctx, argv[index + 2], field.bits)
            amount = 0 if name == b"GET" else parse_integer(argv[index + 3])
            operations.append(_Operation(name, field, offset, amount, overflow))
        index += 1 + count
    return operations


@command("bitfield", "bitfield_ro")
def bitfield(ctx: Session, argv: list[bytes]) -> Reply:
    operations = _parse_operations(ctx, argv)
    ends = [each.offset + each.field.bits for each in operations if each.name != b"GET"]
    if not ends:
        text = lookup_string(ctx, argv[1]) or b""
        return [
            each.field.from_raw(_read_bits(text, each.offset, each.field.bits))
            for each in operations
        ]
    if argv[0].lower() == b"bitfield_ro":
        raise RedisError("ERR BITFIELD_RO only supports the GET subcommand")
    value, grown = raw_string(ctx, argv[1], (max(ends) + 7) // 8)
    always = ctx.server.version.before(7)
    replies: list[Reply] = []
    changes = 0
    for operation in operations:
        before, after = _run_operation(value, operation)
        if operation.name != b"GET":
            changes += always or (after is not None and (grown or before != after))
        replies.append(after if operation.name == b"INCRBY" or after is None else before)
    if changes:
        ctx.db.changed(argv[1], b"setbit", STRING)
        ctx.db.context.dirty += changes - 1
    return replies


def _run_operation(value: bytearray, operation: _Operation) -> tuple[int, int | None]:
    """Run one operation.

    Returns:
        The values of the field before and after; the latter is None if OVERFLOW FAIL applied.
    """
    name, field, offset, amount, overflow = operation
    before = field.from_raw(_read_bits(value, offset, field.bits))
    if name == b"GET":
        return before, before
    if name == b"INCRBY":
        after = field.add(before, amount, overflow)
    else:
        after = field.add(amount if field.signed else amount % (2 * _INT64_LIMIT), 0, overflow)
    if after is not None:
        _write_bits(value, offset, field.bits, after)
    return before, after


def _read_bits(value: bytes | bytearray, offset: int, bits: int) -> int:
    """Read ``bits`` bits at ``offset``; bits past the end of the string are zero."""
    start, end = offset >> 3, (offset + bits + 7) >> 3
    window = int.from_bytes(value[start:end].ljust(end - start, b"\0"), "big")
    return window >> (end * 8 - offset - bits) & ((1 << bits) - 1)


def _write_bits(value: bytearray, offset: int, bits: int, number: int) -> None:
    start, end = offset >> 3, (offset + bits + 7) >> 3
    mask, shift = (1 << bits) - 1, end * 8 - offset - bits
    window = int.from_bytes(value[start:end], "big") & ~(mask << shift)
    value[start:end] = (window | (number & mask) << shift).to_bytes(end - start, "big")
