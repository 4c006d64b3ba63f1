"""The synchronous cluster client: redis-py's, with its own way of sending podlink's calls.

The cluster client of redis-py retries commands, sleeps and reads the slots again without regard to
a deadline, and does not report whether a failed command was sent. `ClusterClient` uses redis-py's
nodes and slots, but sends a call of podlink itself: to the node of its key, following redirections,
and it reads the slots again after a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from inspect import signature
from typing import Any, Final

import redis
from redis.client import NEVER_DECODE
from redis.cluster import ClusterNode
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ClusterError,
    MaxConnectionsError,
    MovedError,
)

from podlink import deadline
from podlink.errors import NotSent
from podlink.exchange import exchange

REDIRECTIONS: Final = 16
REFRESH_AT_MOST: Final = 1.0
"""Seconds that a thread waits while another thread reads the slots."""

_SCRIPTS: Final = frozenset({"EVAL", "EVALSHA"})
_LOST: Final = (redis.ConnectionError, redis.TimeoutError, OSError, ClusterDownError)
_NOT_LOST: Final = (MaxConnectionsError, redis.AuthenticationError)


class ClusterClient(redis.RedisCluster):
    """Sends calls of podlink, which have `NEVER_DECODE`; redis-py sends all other commands."""

    _failed: Any = None
    """A node that has failed since the slots were read."""

    def __init__(self, **kwargs: Any) -> None:
        self._refreshing = deadline.SingleFlight(REFRESH_AT_MOST)
        super().__init__(**kwargs)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command to one node; see `redis.RedisCluster.execute_command`.

        Raises:
            NotSent: there was no node or no connection (only with `NEVER_DECODE`).
        """
        if NEVER_DECODE not in options:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        if self._failed is not None:
            self.refresh()
        node = options.pop("target_nodes", None)
        if node is None:
            node = self._node_of(args[3] if args[0] in _SCRIPTS else args[1])
        asking = False
        for attempt in range(REDIRECTIONS):
            wires = [("ASKING",), args] if asking else [args]
            reply = self._exchange(node, wires, options)
            if isinstance(reply, MovedError):
                node, asking = self._moved(node, reply, attempt), False
            elif isinstance(reply, AskError):
                node, asking = self._node_at(reply.host or node.host, reply.port), True
            elif isinstance(reply, Exception):
                if _is_lost(reply):
                    self._failed = node
                    self.refresh()
                raise reply
            else:
                return reply
        raise NotSent(ClusterError(f"TTL exhausted: {REDIRECTIONS} redirections"))

    def execute_many(
        self, keys: Sequence[bytes], wires: Sequence[tuple[Any, ...]], options: Mapping[str, Any]
    ) -> list[Any]:
        """Send each command to the node of its key; return their replies or exceptions.

        Redirections are not followed: they are returned as exceptions.
        """
        if self._failed is not None:
            self.refresh()
        replies = send_to_cluster(self, keys, wires, options)
        for key, reply in zip(keys, replies, strict=True):
            if isinstance(reply, Exception) and _is_lost(reply):
                with suppress(Exception):
                    self._failed = self.get_node_from_key(key)  # type: ignore[no-untyped-call]
                self.refresh()
                break
        return replies

    def refresh(self) -> None:
        """Read the slots again, or wait for another thread that does.

        Does not raise. If the deadline of the operation has passed, the next call reads the slots.
        """
        try:
            running = self._refreshing.begin()
            if running is None:
                return
            try:
                failed = self._failed
                deadline.limit_wait(None)
                self.nodes_manager.initialize(**self._last(failed))
                if self._failed is failed:
                    self._failed = None
            finally:
                self._refreshing.end(running)
        except Exception:
            pass  # the next call raises an error that names its operation

    def _last(self, failed: Any) -> dict[str, Any]:
        """Have a node that failed be asked last."""
        nodes = self.nodes_manager.startup_nodes
        name = getattr(failed, "name", None)
        if name not in nodes:
            return {}
        nodes[name] = nodes.pop(name)
        shuffled = "last_failed_node_name" in signature(self.nodes_manager.initialize).parameters
        return {"last_failed_node_name": name} if shuffled else {}

    def _exchange(
        self, node: Any, wires: Sequence[tuple[Any, ...]], options: Mapping[str, Any]
    ) -> Any:
        replies: list[Any] = [None] * len(wires)
        exchange([(client_of(self, node), range(len(wires)))], wires, options, replies)
        return replies[-1]

    def _node_of(self, key: Any) -> Any:
        try:
            return self.get_node_from_key(key)  # type: ignore[no-untyped-call]
        except Exception as error:
            self.refresh()
            raise NotSent(error) from error

    def _node_at(self, host: str, port: int) -> Any:
        node = self.get_node(host=host, port=port)  # type: ignore[no-untyped-call]
        return ClusterNode(host, port) if node is None else node

    def _moved(self, node: Any, error: MovedError, attempt: int) -> Any:
        """Update the owner of a slot after MOVED, and return it."""
        error.host = error.host or node.host
        manager = self.nodes_manager
        if attempt:
            self.refresh()  # more than one slot may have moved
        else:
            name = "move_slot" if hasattr(manager, "move_slot") else "update_moved_exception"
            getattr(manager, name)(error)
        try:
            return manager.get_node_from_slot(error.slot_id)
        except Exception as unknown:
            raise NotSent(unknown) from unknown


def _is_lost(error: BaseException) -> bool:
    """Return whether an exception means that a node failed, so that slots may have moved."""
    cause = error.cause if isinstance(error, NotSent) else error
    return isinstance(cause, _LOST) and not isinstance(cause, _NOT_LOST)


def client_of(cluster: Any, node: Any) -> Any:
    """Return the redis-py client of a node.

    Raises:
        NotSent: redis-py has just closed it.
    """
    client = cluster.get_redis_connection(node)
    if client is None:
        raise NotSent(redis.ConnectionError(f"the connection to {node.name} was just closed"))
    return client


def send_to_cluster(
    client: Any, keys: Sequence[bytes], wires: Sequence[tuple[Any, ...]], options: Mapping[str, Any]
) -> list[Any]:
    """Send each command to the node of its key, all nodes concurrently.

    Returns the replies or exceptions. The cluster pipeline of redis-py is not used, because it
    retries commands whose outcome is unknown.
    """
    replies: list[Any] = [None] * len(wires)
    places: dict[str, tuple[Any, list[int]]] = {}
    for place, key in enumerate(keys):
        try:
            node = client.get_node_from_key(key)
            if node.name not in places:
                places[node.name] = client_of(client, node), []
            places[node.name][1].append(place)
        except Exception as error:
            replies[place] = NotSent(error)
    exchange(places.values(), wires, options, replies)
    return replies
