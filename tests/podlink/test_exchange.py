"""Calls on connections that another thread closes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from podlink import RedisConnectionError, StatefulExecutor
from podlink.errors import NotSent, translate
from podlink.exchange import exchange, take
from redis_emulator import RedisEmulator


class Pool:
    """A pool with one connection whose methods a test replaces."""

    def __init__(self, **parts: Callable[..., Any]) -> None:
        self.released = 0
        self.closed = 0
        self._sock: object | None = object()
        self.connection_pool = self
        for name, part in parts.items():
            setattr(self, name, part)

    def get_connection(self, *_: object) -> Any:
        return self

    def release(self, _: object) -> None:
        self.released += 1

    def disconnect(self) -> None:
        self.closed += 1
        self._sock = None

    def pack_commands(self, wires: Any) -> Any:
        return wires

    def send_packed_command(self, *_: object, **__: object) -> None:
        return None


def raises(error: Exception) -> Callable[..., Any]:
    def part(*_: object, **__: object) -> Any:
        raise error

    return part


CLOSED = [
    ValueError("I/O operation on closed file."),
    AttributeError("'NoneType' object has no attribute 'readline'"),
]


@pytest.mark.parametrize("error", CLOSED, ids=repr)
def test_connection_closed_while_connecting_is_a_connection_error(error: Exception) -> None:
    with pytest.raises(NotSent) as caught:
        take(Pool(get_connection=raises(error)))
    translated = translate(caught.value, "a write", script=True, write=True)
    assert isinstance(translated, RedisConnectionError)
    assert not translated.outcome_unknown


@pytest.mark.parametrize("error", CLOSED, ids=repr)
@pytest.mark.parametrize("when", ["send_packed_command", "parse_response"])
def test_connection_closed_while_in_use_has_unknown_outcome(when: str, error: Exception) -> None:
    pool = Pool(**{when: raises(error)})
    replies: list[Any] = [None]
    exchange([(pool, [0])], [("SET", "k", "v")], {}, replies)
    assert isinstance(replies[0], redis.ConnectionError)
    translated = translate(replies[0], "a write", script=True, write=True)
    assert isinstance(translated, RedisConnectionError)
    assert translated.outcome_unknown
    assert (pool.released, pool.closed) == (1, 1)


def test_connection_closed_before_the_reply_is_a_connection_error() -> None:
    pool = Pool(parse_response=raises(CLOSED[1]))
    pool.send_packed_command = lambda *_, **__: pool.disconnect()  # type: ignore[method-assign]
    replies: list[Any] = [None]
    exchange([(pool, [0])], [("SET", "k", "v")], {}, replies)
    assert isinstance(replies[0], redis.ConnectionError)


@pytest.mark.parametrize("batch", [False, True])
def test_users_client_closing_a_connection_in_use_is_a_connection_error(batch: bool) -> None:
    with RedisEmulator() as emulator, emulator.serve() as server:
        with redis.Redis.from_url(server.url, protocol=2) as client:
            executor = StatefulExecutor(client)
            executor.set_linked_pod("n", "u", "s", 1)
            (connection,) = client.connection_pool._available_connections

            def close_first(*_: object, **__: object) -> Any:
                connection.disconnect()
                return type(connection).read_response(connection)

            connection.read_response = close_first
            uids = ["u", "v"] if batch else ["u"]
            with pytest.raises(RedisConnectionError) as caught:
                executor.batch_set_linked_pod_if_absent("n", uids, "s", 1)
            assert caught.value.outcome_unknown
