"""Helpers that compare ACL rules and ACL errors of the emulator and a server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.pair import Pair, Wire

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
MODERN = ("redis-8.2", "redis-7.0", "valkey-9.1")
RECENT = ("redis-8.2", "valkey-9.1")

LIMITED = (
    "on nopass resetkeys ~k* resetchannels &c* -@all +get +set +multi +exec +eval +subscribe "
    "+psubscribe +publish +config|get +select|0 +hello +ping +auth +discard +mset +rename"
)
"""The rules of a user with few permissions."""

LIBRARY = """#!lua name=x
redis.register_function("w", function(k, a) return redis.call("set", k[1], "v") end)
redis.register_function("d", function(k, a) return redis.call("del", a[1]) end)
redis.register_function{function_name="n", flags={"no-writes"},
    callback=function(k, a) return redis.call("get", k[1]) end}
redis.register_function{function_name="o", flags={"allow-oom"},
    callback=function(k, a) return redis.call("set", k[1], "v") end}
"""


@pytest.fixture(autouse=True)
def only_the_default_user(request: pytest.FixtureRequest) -> None:
    if "same" in request.fixturenames:
        pair: Pair = request.getfixturevalue("same")
        real = pair.connect_raw()[1]
        users = {name for _, name in real("ACL", "USERS")[1]} - {b"default"}
        real("ACL", "DELUSER", "nobody", *users)


def words(reply: Any) -> Any:
    """Return a reply with the words of its texts sorted: old servers do not sort them."""
    kind, content = reply
    if isinstance(kind, tuple):
        return (words(kind), words(content))
    if isinstance(content, list):
        return (kind, [words(item) for item in content])
    if isinstance(content, bytes):
        odd = (b"host:", b"post", b"stralgo")
        return (kind, sorted(word for word in content.split(b" ") if word[1:] not in odd))
    return reply


def rules_of(same: Pair) -> Any:
    """Return the key function for comparing a user's rules, or `None` to compare them unchanged."""
    return None if same.emulator._version.compatible >= (7, 2) else words


def both(connections: tuple[Any, Any], line: str, *args: Any) -> Wire:
    """Run one command on both connections of a pair and compare the replies."""
    emulated: Wire
    real: Wire
    emulated, real = (connection(*(args or (line,))) for connection in connections)
    assert emulated == real, f"{line}: emulator {emulated!r}, server {real!r}"
    return real
