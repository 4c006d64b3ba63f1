"""FUNCTION and FCALL, compared with real servers."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from redis_emulator import RedisEmulator
from redis_emulator.rdb.crc64 import crc64
from tests.support.pair import Pair, Wire

EVERY = pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
FUNCTION = "function() return 1 end"
PLAIN = f"redis.register_function('f', {FUNCTION})"

HEADS = (
    "x",
    "#!lua",
    "#!lua name=a-b",
    "#!lua name=",
    "#!lua name=a name=b",
    "#!lua foo=a",
    "#!lua foo",
    "#!lua name=a b",
    "#!py name=a",
    "#! name=a",
    "#!",
    '#!lua "name=c d"',
    '#!lua "name=c',
    "#!LUA name=c",
    "#!lua NAME=c",
    "#!lua name=C",
)

BODIES = (
    "",
    "x=",
    "x = 1",
    "error('boom')",
    "return zork",
    "redis.call('get', 'x')",
    "redis.setresp(3)",
    "local s = redis.sha1hex",
    "return 1",
    "redis.foo = 1",
    "math.foo = 1",
    "string = 1",
    "print(1)",
    "for k in pairs(redis) do end",
    f"pcall(redis.register_function) {PLAIN}",
    f"local s = ('x'):rep(2) {PLAIN}",
    f"local f = redis.register_function f('f', {FUNCTION})",
    f"{PLAIN} local x = redis.y",
    f"{PLAIN} {PLAIN}",
    f"{PLAIN} redis.register_function('g1_', {FUNCTION})",
    "redis.register_function()",
    "redis.register_function('f')",
    "redis.register_function('f', 1)",
    f"redis.register_function('a b', {FUNCTION})",
    f"redis.register_function('', {FUNCTION})",
    f"redis.register_function(1, {FUNCTION})",
    f"redis.register_function({{}}, {FUNCTION})",
    f"redis.register_function(nil, {FUNCTION})",
    f"redis.register_function('f', {FUNCTION}, 1)",
    f"redis.register_function('f', {FUNCTION}, nil)",
    "redis.register_function('q', ('x').rep)",
    "redis.register_function{}",
    "redis.register_function{function_name='f'}",
    f"redis.register_function{{callback={FUNCTION}}}",
    "redis.register_function{function_name='f', callback=1}",
    f"redis.register_function{{function_name=1, callback={FUNCTION}}}",
    f"redis.register_function{{function_name={{}}, callback={FUNCTION}}}",
    f"redis.register_function{{function_name='f', callback={FUNCTION}, flags={{'zz'}}}}",
    f"redis.register_function{{function_name='f', callback={FUNCTION}, flags=1}}",
    f"redis.register_function{{function_name='f', callback={FUNCTION}, flags={{1}}}}",
    f"redis.register_function{{function_name='f', callback={FUNCTION}, flags={{a='zz'}}}}",
    f"redis.register_function{{function_name='f', callback={FUNCTION}, foo=1}}",
    f"redis.register_function{{function_name='f', callback={FUNCTION}, [1]=1}}",
    f"redis.register_function{{[true]=1, function_name='f', callback={FUNCTION}}}",
    f"redis.register_function{{function_name='f', callback={FUNCTION}, description=1}}",
    f"redis.register_function{{function_name='f', callback={FUNCTION}, description={{}}}}",
    f"redis.register_function{{function_name='f', callback={FUNCTION}, description='hi', "
    "flags={'no-writes', 'allow-oom', 'allow-stale', 'no-cluster', 'allow-cross-slot-keys'}}",
)

LIBRARY = """#!lua name=many
local count = 0
redis.register_function('get', function(keys) return redis.call('get', keys[1]) end)
redis.register_function{function_name='ro', callback=function(keys)
  return redis.call('set', keys[1], 'v')
end, flags={'no-writes'}}
redis.register_function('fails', function() error('oops') end)
redis.register_function('nosuch', function() redis.call('nosuch') end)
redis.register_function('wrong', function(keys) return redis.call('hget', keys[1], 'x') end)
redis.register_function('unknown', function() return zork end)
redis.register_function('global', function() zork = 1 end)
redis.register_function('KEYS', function() return KEYS end)
redis.register_function('again', function() redis.register_function('q', print) end)
redis.register_function('size', function(...) return select('#', ...) end)
redis.register_function('both', function(...) return {...} end)
redis.register_function('three', function() redis.setresp(3) return true end)
redis.register_function('count', function() count = count + 1 return count end)
redis.register_function('nested', function() return redis.call('fcall', 'size', 0) end)
"""


def anyhow(reply: Any) -> Any:
    """A reply with sorted lists, as servers list functions in no particular order."""
    if isinstance(reply, list | tuple):
        return sorted(map(anyhow, reply), key=repr)
    return reply


def library(name: str, body: str) -> str:
    return f"#!lua name={name}\n{body}"


@EVERY
def test_shebang_line_of_a_library(same: Pair) -> None:
    same("FUNCTION", "FLUSH")
    for head in HEADS:
        same("FUNCTION", "LOAD", f"{head}\n{PLAIN}")
    same("FUNCTION", "LOAD", "#!lua name=a")
    same("FUNCTION", "LIST", "WITHCODE", key=anyhow)


@EVERY
def test_registering_functions(same: Pair) -> None:
    same("FUNCTION", "FLUSH")
    for body in BODIES:
        same("FUNCTION", "LOAD", "REPLACE", library("a", body))
        same("FUNCTION", "LIST", key=anyhow)


@EVERY
def test_time_limit_of_loading_a_library(same: Pair) -> None:
    same("FUNCTION", "LOAD", library("a", "while true do end"))
    same("FUNCTION", "LIST")
    same("FUNCTION", "LOAD", library("a", PLAIN))


@EVERY
def test_order_of_function_flags(same: Pair) -> None:
    for flags in (
        "'no-cluster', 'allow-stale', 'no-writes', 'allow-oom', 'allow-cross-slot-keys'",
        "'allow-cross-slot-keys', 'allow-oom', 'allow-oom'",
    ):
        body = (
            f"redis.register_function{{function_name='f', callback={FUNCTION}, flags={{{flags}}}}}"
        )
        same("FUNCTION", "LOAD", "REPLACE", library("a", body))
        same("FUNCTION", "LIST")


@pytest.mark.servers("redis-8.2", "redis-7.0")
def test_library_code_may_call_redis_log(same: Pair) -> None:
    for body in (
        f"redis.log(redis.LOG_NOTICE, 'x') {PLAIN}",
        "redis.log()",
        "redis.log(1)",
        "redis.log('x', 'y')",
    ):
        same("FUNCTION", "LOAD", "REPLACE", library("a", body))


@EVERY
def test_function_load_and_list_options(same: Pair) -> None:
    same("FUNCTION", "FLUSH")
    for command in (
        ("LOAD", library("a", PLAIN)),
        ("LOAD", library("a", PLAIN)),
        ("LOAD", "replace", library("a", PLAIN)),
        ("LOAD", "REPLACE", "REPLACE", library("a", PLAIN)),
        ("LOAD", "foo", library("a", PLAIN)),
        ("LOAD", library("b", PLAIN)),
        ("LOAD", "REPLACE", library("b", PLAIN)),
        ("LOAD", "REPLACE", library("a", "x=")),
        ("LIST",),
        ("LIST", "WITHCODE"),
        ("LIST", "LIBRARYNAME", "a*"),
        ("LIST", "LIBRARYNAME", "A"),
        ("LIST", "LIBRARYNAME"),
        ("LIST", "LIBRARYNAME", "a", "LIBRARYNAME", "a"),
        ("LIST", "foo"),
        ("LIST", "WITHCODE", "WITHCODE"),
        ("LIST", "LIBRARYNAME", "z", "withcode"),
        ("STATS",),
        ("DELETE", "zz"),
        ("DELETE", "A"),
        ("DELETE", "a"),
        ("STATS",),
        ("FLUSH", "zz"),
        ("FLUSH", "sync"),
        ("FLUSH", "ASYNC"),
        ("FLUSH", "sync", "x"),
        ("KILL",),
        ("HELP",),
        ("NOSUCH",),
        (),
    ):
        same("FUNCTION", *command)


@EVERY
def test_fcall(same: Pair) -> None:
    same("FUNCTION", "FLUSH")
    same("FUNCTION", "LOAD", LIBRARY)
    same("SET", "s", "1")
    for command in (
        ("FCALL", "get", "1", "s"),
        ("FCALL", "GET", "1", "s"),
        ("FCALL_RO", "get", "1", "s"),
        ("FCALL", "ro", "1", "s"),
        ("FCALL_RO", "ro", "1", "s"),
        ("FCALL", "fails", "0"),
        ("FCALL", "nosuch", "0"),
        ("FCALL", "wrong", "1", "s"),
        ("FCALL", "unknown", "0"),
        ("FCALL", "global", "0"),
        ("FCALL", "KEYS", "0"),
        ("FCALL", "again", "0"),
        ("FCALL", "size", "0"),
        ("FCALL", "both", "2", "a", "b", "c", "d"),
        ("FCALL", "three", "0"),
        ("FCALL", "count", "0"),
        ("FCALL", "count", "0"),
        ("FCALL", "nested", "0"),
        ("FCALL", "none", "0"),
        ("FCALL", "none", "x"),
        ("FCALL", "get", "x"),
        ("FCALL", "get", "-1"),
        ("FCALL", "get", "2", "a"),
        ("FCALL", "get"),
        ("EVAL_RO", "#!lua\nreturn 1", "0"),
        ("EVAL_RO", "#!lua flags=no-writes\nreturn 1", "0"),
        ("EVAL", "return redis.call('fcall', 'count', 0)", "0"),
        ("EVAL", "return redis.register_function", "0"),
        ("SCRIPT", "FLUSH"),
        ("FLUSHALL",),
        ("FCALL", "count", "0"),
        ("FUNCTION", "LOAD", "REPLACE", LIBRARY),
        ("FCALL", "count", "0"),
        ("MULTI",),
        ("FCALL", "count", "0"),
        ("FUNCTION", "DELETE", "many"),
        ("FCALL", "count", "0"),
        ("EXEC",),
    ):
        same(*command)


def signed(payload: bytes, like: bytes) -> bytes:
    """A payload with the version of ``like`` and its own checksum."""
    body = payload + like[-10:-8]
    return body + struct.pack("<Q", crc64(body))


def content(reply: Wire) -> bytes:
    assert isinstance(reply[1], bytes)
    return reply[1]


@EVERY
def test_dump_and_restore(same: Pair) -> None:
    same("FUNCTION", "FLUSH")
    empty = content(same("FUNCTION", "DUMP"))
    same("FUNCTION", "LOAD", library("a", PLAIN))
    dump = content(same("FUNCTION", "DUMP"))
    other = library("zz", PLAIN).encode()
    clash = b"\xf5\x40" + bytes([len(other)]) + other
    long = library("long", PLAIN + "--" + "x" * 500)
    for command in (
        (dump,),
        (dump, "append"),
        (dump, "REPLACE"),
        (dump, "FLUSH"),
        (dump, "zz"),
        (dump, "FLUSH", "x"),
        ("x",),
        (dump[:-1] + b"x",),
        (empty,),
        (signed(b"\x00", dump),),
        (signed(b"\xf5\x05abcde", dump),),
        (signed(b"\xf5\x0f#!lua name=zz\nx", dump),),
        (signed(clash, dump),),
        (signed(clash, dump), "REPLACE"),
        (signed(clash, dump), "FLUSH"),
        (signed(b"\x00", dump), "FLUSH"),
    ):
        same("FUNCTION", "RESTORE", *command)
        same("FUNCTION", "LIST", "WITHCODE", key=anyhow)
    same("FUNCTION", "FLUSH")
    same("FUNCTION", "LOAD", long)
    same("FUNCTION", "DUMP")


def test_reset_deletes_libraries() -> None:
    emulator = RedisEmulator()
    client = emulator.client()
    client.function_load(library("a", PLAIN))
    client.flushall()
    assert client.fcall("f", 0) == 1
    emulator.reset()
    assert client.function_list() == []


@EVERY
def test_unpack_with_ranges_that_are_too_large(same: Pair) -> None:
    same("FUNCTION", "FLUSH")
    for i, bounds in enumerate(("0, 2147483647", "-2147483648, 2147483647", "1, 8000")):
        body = f"return {{pcall(unpack, {{}}, {bounds})}}"
        code = f"redis.register_function('f{i}', function() {body} end)"
        same("FUNCTION", "LOAD", f"#!lua name=l{i}\n{code}")
        same("FCALL", f"f{i}", "0")
    same("FUNCTION", "FLUSH")
