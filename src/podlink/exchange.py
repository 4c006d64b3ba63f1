"""Sends pipelines on synchronous redis-py connections, without the retries of redis-py.

A connection is released only after all replies were read, otherwise it is closed first. Therefore
no caller can read the reply of another, whatever exception ends the exchange.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import redis

from podlink import deadline
from podlink.calls import pack_command
from podlink.clients import GET_CONNECTION
from podlink.errors import NotSent, as_connection_error
from podlink.sockets import Timed


def take(pool: Any) -> Any:
    """Take a connection from a pool, ready for a command. Return it with ``pool.release``.

    Raises:
        deadline.TimeUp: the time of the operation is up.
        NotSent: there was no connection.
    """
    try:
        return pool.get_connection(*GET_CONNECTION)
    except deadline.TimeUp:
        raise
    except Exception as error:
        deadline.check(error)
        raise NotSent(as_connection_error(error)) from error


def exchange(
    targets: Iterable[tuple[Any, Sequence[int]]],
    wires: Sequence[tuple[Any, ...]],
    options: Mapping[str, Any],
    replies: list[Any],
) -> None:
    """Send commands to several servers, then read all replies.

    Args:
        targets: pairs of the redis-py client of a server and the indexes of its commands.
        wires: the commands.
        options: options of redis-py's ``execute_command``.
        replies: receives the reply or exception of each command, at the same index.
    """
    sent: list[tuple[Any, Any, Sequence[int], bool]] = []
    try:
        for client, places in targets:
            try:
                connection = take(client.connection_pool)
            except Exception as error:
                _fail(places, error, replies)
                continue
            sent.append((client, connection, places, False))
            try:
                parts = _pack_commands(connection, [wires[place] for place in places])
                connection.send_packed_command(parts, check_health=False)
                sent[-1] = (client, connection, places, True)
            except Exception as error:
                connection.disconnect()
                _fail(places, error, replies)
        while sent:
            client, connection, places, whole = sent[-1]
            if whole:
                _read(client, connection, places, wires, options, replies)
            sent.pop()
            client.connection_pool.release(connection)
    finally:
        for client, connection, *_ in sent:  # interrupted: there may be unread replies
            connection.disconnect()
            client.connection_pool.release(connection)


def _read(
    client: Any,
    connection: Any,
    places: Sequence[int],
    wires: Sequence[tuple[Any, ...]],
    options: Mapping[str, Any],
    replies: list[Any],
) -> None:
    for at, place in enumerate(places):
        try:
            replies[place] = client.parse_response(connection, wires[place][0], **options)
        except redis.ResponseError as error:
            replies[place] = error
        except Exception as error:
            connection.disconnect()
            _fail(places[at:], error, replies)
            return


def _pack_commands(connection: Any, wires: Sequence[tuple[Any, ...]]) -> Any:
    if isinstance(connection, Timed):
        return list(map(pack_command, wires))
    return connection.pack_commands(wires)  # a connection of the emulator takes no bytes


def _fail(places: Sequence[int], error: Exception, replies: list[Any]) -> None:
    error = as_connection_error(error)
    for place in places:
        replies[place] = error
