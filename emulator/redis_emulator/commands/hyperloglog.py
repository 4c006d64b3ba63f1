"""The HyperLogLog commands. `redis_emulator.values.hyperloglog` describes the string format."""

from __future__ import annotations

from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import wrong_type
from redis_emulator.commands.registry import command
from redis_emulator.commands.string import lookup_string
from redis_emulator.keyspace.events import STRING
from redis_emulator.resp.types import OK, RedisError, Reply, SimpleString, quote
from redis_emulator.values import hyperloglog as hll

_NOT_HLL: Final = "WRONGTYPE Key is not a valid HyperLogLog string value."
_CORRUPT: Final = "INVALIDOBJ Corrupted HLL object detected"
_SELF_TEST_SIZE: Final = 2000


def _lookup(ctx: Session, key: bytes) -> bytes | bytearray | None:
    value = lookup_string(ctx, key)
    if value is not None and not hll.is_valid(value):
        raise RedisError(_NOT_HLL)
    return value


def _writable(ctx: Session, key: bytes) -> bytearray | None:
    """The HyperLogLog at ``key`` for changing in place, or None if the key does not exist."""
    value = ctx.db.writable(key)
    if value is None:
        return None
    if type(value) is not bytes and not isinstance(value, bytearray):
        raise wrong_type()
    if not hll.is_valid(value):
        raise RedisError(_NOT_HLL)
    if type(value) is bytearray:
        return value
    value = bytearray(value)
    ctx.db.replace(key, value)
    return value


def _is_before_7(ctx: Session) -> bool:
    return ctx.server.version.before(7)


def _sparse_max_bytes(ctx: Session) -> int:
    return ctx.server.config.numbers["hll-sparse-max-bytes"]


@command("pfadd")
def pfadd(ctx: Session, argv: list[bytes]) -> Reply:
    db, key = ctx.db, argv[1]
    value = _writable(ctx, key)
    changes = 0
    if value is None:
        value = hll.new()
        db.set(key, value)
        changes = 1
    sparse_max_bytes = _sparse_max_bytes(ctx)
    try:
        for element in argv[2:]:
            changes += hll.add(value, element, sparse_max_bytes)
    except hll.CorruptError:
        raise RedisError(_CORRUPT) from None
    if not changes:
        return 0
    hll.invalidate_cache(value)
    db.changed(key, b"pfadd", STRING)
    ctx.db.context.dirty += changes - 1
    return 1


@command("pfcount")
def pfcount(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 2:
        merged, _ = _merge_all(ctx, argv[1:])
        return _to_int64(hll.estimate(merged))
    looks_up_first = not ctx.server.version.before(7)
    if looks_up_first and _lookup(ctx, argv[1]) is None:
        return 0
    value = _writable(ctx, argv[1])
    if value is None:
        return 0
    count = hll.cached_count(value)
    if count is None:
        count = hll.estimate(_registers(value))
        hll.cache_count(value, count)
        ctx.db.touched(argv[1])
    return _to_int64(count)


def _to_int64(count: int) -> int:
    return count if count < 1 << 63 else count - (1 << 64)


def _registers(value: bytes | bytearray, *, lenient: bool = False) -> bytes:
    try:
        return hll.registers(value, lenient=lenient)
    except hll.CorruptError:
        raise RedisError(_CORRUPT) from None


def _merge_all(ctx: Session, keys: list[bytes]) -> tuple[bytes, bool]:
    """Merge the registers of all keys; also return whether one of the values is dense."""
    merged, dense = bytes(hll.REGISTERS), False
    lenient = _is_before_7(ctx)
    for key in keys:
        value = _lookup(ctx, key)
        if value is not None:
            dense = dense or hll.is_dense(value)
            merged = hll.merge(merged, _registers(value, lenient=lenient))
    return merged, dense


@command("pfmerge")
def pfmerge(ctx: Session, argv: list[bytes]) -> Reply:
    db, key = ctx.db, argv[1]
    merged, dense = _merge_all(ctx, argv[1:])
    value = _writable(ctx, key)
    if value is None:
        value = hll.new()
        db.set(key, value)
    if dense:
        hll.make_dense(value, lenient=_is_before_7(ctx))
    hll.write_registers(value, merged, _sparse_max_bytes(ctx))
    db.changed(key, b"pfadd", STRING)
    return OK


@command("pfdebug")
def pfdebug(ctx: Session, argv: list[bytes]) -> Reply:
    name = argv[1].upper()
    modern = not ctx.server.version.before(7)
    if modern and len(argv) != 3:
        _raise_wrong_arity(argv, modern)
    if name == b"SIMD" and ctx.server.version.is_8:
        return _pfdebug_simd(argv)
    value = _writable(ctx, argv[2])
    if value is None:
        raise RedisError("ERR The specified key does not exist")
    if name not in (b"GETREG", b"DECODE", b"ENCODING", b"TODENSE"):
        raise RedisError(f"ERR Unknown PFDEBUG subcommand '{quote(argv[1])}'")
    if len(argv) != 3:
        _raise_wrong_arity(argv, modern)
    if name == b"ENCODING":
        return SimpleString(b"dense" if hll.is_dense(value) else b"sparse")
    if name == b"DECODE":
        if hll.is_dense(value):
            raise RedisError("ERR HLL encoding is not sparse")
        return hll.describe(value).encode()
    was_sparse = not hll.is_dense(value)
    values = _registers(value, lenient=not modern)
    hll.make_dense(value, lenient=not modern)
    ctx.db.context.dirty += was_sparse
    return int(was_sparse) if name == b"TODENSE" else list(values)


def _pfdebug_simd(argv: list[bytes]) -> Reply:
    """PFDEBUG SIMD: accepted without effect, as the emulator has no SIMD code."""
    if len(argv) != 3:
        _raise_wrong_arity(argv, modern=True)
    if argv[2].upper() not in (b"ON", b"OFF"):
        raise RedisError("ERR Argument must be ON or OFF")
    return SimpleString(b"enabled" if argv[2].upper() == b"ON" else b"disabled")


def _raise_wrong_arity(argv: list[bytes], modern: bool) -> None:
    if modern:
        raise RedisError("ERR wrong number of arguments for 'pfdebug' command")
    raise RedisError(f"ERR Wrong number of arguments for the '{quote(argv[1])}' subcommand")


@command("pfselftest")
def pfselftest(ctx: Session, argv: list[bytes]) -> Reply:
    values = bytes(ctx.server.random.randrange(64) for _ in range(hll.REGISTERS))
    dense = hll.new()
    hll.make_dense(dense)
    dense[hll.HEADER :] = hll.pack(values)
    if hll.registers(dense) != values:
        raise RedisError("TESTFAILED Registers are not what was packed")
    sparse, dense = hll.new(), hll.new()
    hll.make_dense(dense)
    for number in range(_SELF_TEST_SIZE):
        for value in (sparse, dense):
            hll.add(value, b"%d" % number, 1 << 30)
    if hll.registers(sparse) != hll.registers(dense):
        raise RedisError("TESTFAILED Sparse and dense registers differ")
    error = abs(hll.estimate(hll.registers(dense)) - _SELF_TEST_SIZE) / _SELF_TEST_SIZE
    if error > 6 * 1.04 / hll.REGISTERS**0.5:
        raise RedisError(f"TESTFAILED Too big error: {error:.4f}")
    return OK
