"""One database as a mapping of keys to Python values, for tests without a client.

Reading and writing run commands, so encodings, expiry, keyspace events, blocked clients and WATCH
work as for a client. A string is bytes, a list a list, a hash a dict, a set a set, a sorted set
`Scores`, a stream `Entries`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, Final, TypeAlias

from redis_emulator.clients.session import Session
from redis_emulator.engine.dispatch import Engine
from redis_emulator.resp.types import NO_REPLY, NULL_ARRAY, Reply

Key: TypeAlias = "str | bytes"


class Scores(dict[Any, float]):
    """A sorted set: a dict of members to scores."""


class Entries(list[tuple[Any, dict[Any, Any]]]):
    """A stream: a list of (id, fields), oldest first."""


class DatabaseMapping(MutableMapping[Key, Any]):
    """The keys of one database.

    Args:
        engine: The emulator's engine.
        index: The number of the database.

    Raises:
        IndexError: There is no such database.
    """

    def __init__(self, engine: Engine, index: int) -> None:
        databases = engine.server.databases
        if not 0 <= index < len(databases):
            raise IndexError(f"no database {index}: the emulator has 0 to {len(databases) - 1}")
        self._engine = engine
        self._session = own_session(engine)
        self._session.db = databases[index]
        self.index = index

    def __getitem__(self, key: Key) -> Any:
        name = encoded(key)
        with self._engine.lock:
            kind = bytes(self._run(b"TYPE", name))
            if kind == b"none":
                raise KeyError(key)
            read = _READERS.get(kind)
            if read is None:
                raise TypeError(
                    f"{key!r} holds a {kind.decode()}, which cannot be read as a Python value"
                )
            return read(self._run, name)

    def __setitem__(self, key: Key, value: Any) -> None:
        name = encoded(key)
        command = _creating_command(name, value)
        with self._engine.lock:
            if command is None or command[0] != b"SET":
                self._run(b"DEL", name)
            if isinstance(value, Entries):
                for number, fields in value:
                    self._run(b"XADD", name, encoded(number), *_flat(fields))
            elif command is not None:
                self._run(*command)

    def __delitem__(self, key: Key) -> None:
        if not self._run(b"DEL", encoded(key)):
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, (str, bytes)) and bool(self._run(b"EXISTS", encoded(key)))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._run(b"KEYS", b"*"))

    def __len__(self) -> int:
        return int(self._run(b"DBSIZE"))

    def clear(self) -> None:
        """Delete every key."""
        self._run(b"FLUSHDB")

    def ttl(self, key: Key) -> float | None:
        """The TTL of ``key`` in seconds, or None if it has none.

        Raises:
            KeyError: There is no such key.
        """
        left = int(self._run(b"PTTL", encoded(key)))
        if left == -2:
            raise KeyError(key)
        return None if left < 0 else left / 1000

    def expire(self, key: Key, seconds: float | None) -> None:
        """Set the TTL of ``key`` in seconds, or remove it with None.

        Raises:
            KeyError: There is no such key.
        """
        if key not in self:
            raise KeyError(key)
        if seconds is None:
            self._run(b"PERSIST", encoded(key))
        else:
            self._run(b"PEXPIRE", encoded(key), b"%d" % round(seconds * 1000))

    def __repr__(self) -> str:
        return f"<Database {self.index}: {len(self)} keys>"

    def _run(self, *argv: bytes) -> Any:
        return self._engine.run(self._session, list(argv))


def own_session(engine: Engine) -> Session:
    """A session that is not listed as a client, has all permissions and never blocks."""
    session = Session(engine, _discard, kind="internal")
    session.authenticated = True
    session.deny_blocking = True
    session.refresh()
    return session


def encoded(value: Any) -> bytes:
    """A key, field, member or string value as bytes: text as UTF-8, numbers as redis-py encodes
    them.

    Raises:
        TypeError: It is none of these.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(value).encode()
    raise TypeError(f"{value!r} is not text, bytes or a number")


def plain(reply: Any) -> Any:
    """A reply converted to plain Python types."""
    if isinstance(reply, bytes):
        return bytes(reply)
    if isinstance(reply, dict):
        return {plain(key): plain(value) for key, value in reply.items()}
    if isinstance(reply, (list, tuple)):
        return [plain(item) for item in reply]
    if isinstance(reply, bool) or not isinstance(reply, int):
        return None if reply is NULL_ARRAY or reply is NO_REPLY else reply
    return int(reply)


def _discard(reply: Reply) -> None:
    """Discard what is delivered to the session."""


def _creating_command(name: bytes, value: Any) -> list[bytes] | None:
    """The command that stores ``value``, or None for an empty collection."""
    if isinstance(value, (Mapping, list, tuple, set, frozenset)) and not value:
        return None
    if isinstance(value, Entries):
        return [b"XADD"]
    if isinstance(value, Scores):
        pairs = ((encoded(score), encoded(member)) for member, score in value.items())
        return [b"ZADD", name, *(word for pair in pairs for word in pair)]
    if isinstance(value, Mapping):
        return [b"HSET", name, *_flat(value)]
    if isinstance(value, (list, tuple)):
        return [b"RPUSH", name, *map(encoded, value)]
    if isinstance(value, (set, frozenset)):
        return [b"SADD", name, *sorted(map(encoded, value))]
    return [b"SET", name, encoded(value)]


def _flat(fields: Mapping[Any, Any]) -> list[bytes]:
    return [encoded(word) for pair in fields.items() for word in pair]


_Run: TypeAlias = Callable[..., Any]


def _hash(run: _Run, name: bytes) -> dict[bytes, bytes]:
    return dict(run(b"HGETALL", name))


def _scores(run: _Run, name: bytes) -> Scores:
    return Scores(run(b"ZRANGE", name, b"0", b"-1", b"WITHSCORES"))


def _entries(run: _Run, name: bytes) -> Entries:
    found = Entries()
    for number, fields in run(b"XRANGE", name, b"-", b"+"):
        found.append((number, dict(zip(fields[::2], fields[1::2], strict=True))))
    return found


_READERS: Final[dict[bytes, Callable[[_Run, bytes], Any]]] = {
    b"string": lambda run, name: bytes(run(b"GET", name)),
    b"list": lambda run, name: list(run(b"LRANGE", name, b"0", b"-1")),
    b"hash": _hash,
    b"set": lambda run, name: set(run(b"SMEMBERS", name)),
    b"zset": _scores,
    b"stream": _entries,
}
