"""ACL SETUSER with rules of every kind, then ACL LIST, GETUSER and DRYRUN."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from redis_emulator.clients.acl import CATEGORIES
from tests.support.pair import Pair

_ANY_ORDER = any(old in os.environ.get("FUZZ_SERVERS", "") for old in ("redis-6.2", "redis-7.0"))
"""Servers that rebuild the description of a user list commands in the order of a hash table."""
_MISSING = (b"host:", b"post", b"stralgo")
_USERS = st.sampled_from([b"u", b"u", b"u", b"v", b"default"])
_COMMANDS = st.sampled_from(
    "get set del mget eval publish subscribe psubscribe select config config|get config|set object "
    "object|freq client client|kill ping hello auth acl|whoami xgroup xgroup|create rename sort "
    "nosuch config|nosuch get|x select|0 SELECT|1 set|NX config|get|x flushall type reset".split()
)
_PATTERNS = st.sampled_from([b"*", b"k*", b"a?", b"[a-k]*", b"k1", b"", b"\xff*", b"x y"])
_PASSWORDS = st.sampled_from([b"p", b"q", b""])
_HASHES = st.sampled_from(
    [
        b"148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940",
        b"8e35c2cd3bf6641bdb0e2050b76932cbb2e6034a0ddacc1d9bea82a6ba57f7cf",
        b"8E35c2cd3bf6641bdb0e2050b76932cbb2e6034a0ddacc1d9bea82a6ba57f7cf",
        b"12",
    ]
)
_WORDS = st.sampled_from(
    b"on off nopass resetpass allkeys resetkeys allchannels resetchannels allcommands nocommands "
    b"+@all -@all ~* &* sanitize-payload skip-sanitize-payload clearselectors reset ALLKEYS Reset "
    b"alldbs resetdbs db=0 db=1,2 db=x foo ( ) () %R % ~ & + - > # < !".split()
)


def _sign(signs: bytes, strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    encoded = strategy.map(lambda word: word.encode() if isinstance(word, str) else word)
    return st.tuples(st.sampled_from([signs[i : i + 1] for i in range(len(signs))]), encoded).map(
        b"".join
    )


_CATEGORIES = _sign(b"+-", st.sampled_from([*CATEGORIES, "nosuch", "Read"]).map(lambda c: "@" + c))
_NAMED = _sign(b"+-", _COMMANDS)
_KEYS = st.one_of(
    _sign(b"~", _PATTERNS),
    st.tuples(st.sampled_from([b"%R~", b"%W~", b"%RW~", b"%wr~", b"%X~", b"%RR~"]), _PATTERNS).map(
        b"".join
    ),
)
_SELECTOR_RULE = st.one_of(_CATEGORIES, _NAMED, _KEYS, _sign(b"&", _PATTERNS), _WORDS)
_SELECTOR = st.lists(st.one_of(_NAMED, _KEYS, _CATEGORIES), max_size=4).map(
    lambda rules: b"(" + b" ".join(rules) + b")"
)
_RULE = st.one_of(
    _CATEGORIES,
    _NAMED,
    _NAMED,
    _KEYS,
    _sign(b"&", _PATTERNS),
    _WORDS,
    _SELECTOR,
    _sign(b"><", _PASSWORDS),
    _sign(b"#!", _HASHES),
)
_TRIED = st.sampled_from(
    [
        line.encode().split()
        for line in (
            "GET k1",
            "get a1",
            "SET k1 v",
            "SET k1 v GET",
            "MGET k1 a1 x",
            "DEL x",
            "EXISTS x",
            "RENAME k1 a1",
            "COPY a1 k1",
            "COPY a1 k1 DB 1",
            "CONFIG GET x",
            "CONFIG SET x y",
            "CONFIG",
            "CONFIG NOSUCH",
            "SELECT 0",
            "SELECT 1",
            "PUBLISH k1 x",
            "PUBLISH x x",
            "SUBSCRIBE k1 x",
            "PSUBSCRIBE k*",
            "PSUBSCRIBE k1 x",
            "SSUBSCRIBE k1",
            "UNSUBSCRIBE x",
            "EVAL s 2 k1 a1",
            "EVAL s 0",
            "OBJECT FREQ k1",
            "OBJECT HELP",
            "PING",
            "AUTH x",
            "RESET",
            "HELLO",
            "QUIT",
            "XGROUP CREATE k1 g $",
            "XREAD STREAMS k1 a1 0 0",
            "SORT k1",
            "SORT k1 STORE a1",
            "FLUSHALL",
            "CLIENT KILL x",
            "ACL WHOAMI",
            "ACL LIST",
            "MULTI",
            "NOSUCH",
            "GET",
            "TYPE k1",
        )
    ]
)


@st.composite
def commands(draw: st.DrawFn) -> list[bytes]:
    """Single commands."""
    what = draw(st.integers(0, 9))
    if what < 5:
        user = draw(_USERS.filter(lambda name: name != b"default"))
        return [b"ACL", b"SETUSER", user, *draw(st.lists(_RULE, max_size=6))]
    if what == 5:
        return [b"ACL", b"LIST"]
    if what == 6:
        return [b"ACL", b"GETUSER", draw(_USERS)]
    if what == 7 and draw(st.booleans()):
        return [b"ACL", b"DELUSER", draw(_USERS), draw(_USERS)]
    return [b"ACL", b"DRYRUN", draw(_USERS), *draw(_TRIED)]


def key_for(argv: list[bytes]) -> Callable[[Any], Any] | None:
    """The key function for comparing replies to ``argv``."""
    if _ANY_ORDER and argv[1] in (b"LIST", b"GETUSER"):
        return _words
    return None


def _words(reply: Any) -> Any:
    kind, content = reply
    if isinstance(kind, tuple):
        return (_words(kind), _words(content))
    if isinstance(content, list):
        return (kind, [_words(item) for item in content])
    if isinstance(content, bytes):
        words = content.replace(b"(", b"( ").replace(b")", b" )").split(b" ")
        return (kind, sorted(word for word in words if word[1:] not in _MISSING))
    return reply


def prepare(same: Pair) -> None:
    """Delete all users except the default one."""
    for connection in (same.emulated, same.real):
        connection("ACL", "DELUSER", "u", "v")
