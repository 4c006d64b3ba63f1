"""Commands of all families on the same few keys: alone, inside MULTI, and wrapped in scripts.

The commands are those of the families' own grammars, their keys exchanged for shared ones, so that
every command meets every type, also with an expiry, in another database, watched, or a moment after
it was renamed. Families that need a state of their own (access control, tracking, payloads) are
left out, as is what answers at random.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

from hypothesis import strategies as st

from redis_emulator.table import load
from redis_emulator.table.keyspec import keys
from tests.support.pair import Wire

_FAMILIES: Final = (
    *("bitmap", "generic", "geo", "hash", "hyperloglog", "list", "set", "sort", "sorted_set"),
    *("stream", "string"),
)
_MODULES: Final = {
    family: importlib.import_module(f"tests.emulator.fuzz.{family}") for family in _FAMILIES
}
_SHARED: Final = (b"k", b"l", b"m", b"n")
_UNFIT: Final = frozenset(
    (b"CONFIG", b"HRANDFIELD", b"RANDOMKEY", b"SPOP", b"SRANDMEMBER", b"ZRANDMEMBER", b"WAIT")
)
_LARGE: Final = 50
_CALL: Final = b"return redis.call(unpack(ARGV))"
_SCRIPTS: Final = (
    _CALL,
    b"return redis.pcall(unpack(ARGV))",
    b"redis.call('EXPIRE', KEYS[1], 1000) " + _CALL,
    b"redis.call('APPEND', 'm', 'x') " + _CALL,
    b"redis.setresp(3) " + _CALL,
)
_FRAME: Final = (
    *([b"MULTI"], [b"EXEC"], [b"EXEC"], [b"DISCARD"], [b"WATCH", b"k"], [b"WATCH", b"l", b"m"]),
    *([b"SELECT", b"1"], [b"SELECT", b"0"], [b"SELECT", b"0"], [b"SWAPDB", b"0", b"1"]),
    *(
        [b"EXPIRE", b"k", b"1000"],
        [b"PERSIST", b"k"],
        [b"RENAME", b"k", b"l"],
        [b"DEL", b"k", b"l"],
    ),
    *([b"COPY", b"k", b"l", b"REPLACE"], [b"MOVE", b"k", b"1"], [b"FLUSHDB"], [b"UNWATCH"]),
)


def _shared(argv: list[bytes]) -> list[bytes]:
    """The command with its keys replaced by shared ones; equal keys stay equal."""
    name = argv[0].decode("latin1").lower()
    rows = load()
    spec = rows.get(f"{name}|{argv[1].decode('latin1').lower()}" if len(argv) > 1 else name)
    spec = spec or rows.get(name)
    if spec is None:
        return argv
    changed = list(argv)
    for key in keys(spec, argv) if len(argv) >= abs(spec.arity) else ():
        changed[key.position] = _SHARED[sum(argv[key.position]) % len(_SHARED)]
    return changed


def _is_fit(argv: list[bytes]) -> bool:
    """Whether the command answers at once, not at random, and changes no parameter.

    A sorted list is neither stored nor cut: what is equal stands in the order of the server's
    tables.
    """
    words = {word.upper() for word in argv}
    if argv[0].upper().startswith(b"SORT") and words & {b"STORE", b"LIMIT"}:
        return False
    return argv[0].upper() not in _UNFIT and b"BLOCK" not in words


def _wrapped(script: bytes, argv: list[bytes]) -> list[bytes]:
    return [b"EVAL", script, b"1", b"k", *argv]


_ANY: Final = st.one_of(*(module.commands() for module in _MODULES.values()))


@st.composite
def _plain(draw: st.DrawFn) -> list[bytes]:
    argv = draw(_ANY)
    return _shared(argv) if _is_fit(argv) else [b"GET", b"k"]


def commands() -> st.SearchStrategy[list[bytes]]:
    """Single commands, framing ones, and scripts that run one."""
    wrapped = st.builds(_wrapped, st.sampled_from(_SCRIPTS), _plain())
    return st.one_of(_plain(), _plain(), st.sampled_from(_FRAME), wrapped)


def key_for(argv: list[bytes]) -> Any:
    """Compare replies of wrapped and queued commands without order; all large numbers are equal."""
    return _loose


def _loose(reply: Wire) -> Any:
    kind, content = reply
    if isinstance(content, list):
        if kind == "%":
            return sorted(repr([_loose(part) for part in pair]) for pair in content)
        return sorted(repr(_loose(part)) for part in content)
    if kind == ":" and abs(int(content)) > _LARGE:
        return "large"
    return kind, content
