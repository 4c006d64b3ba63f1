"""`ClusterSender` sends calls to the nodes of a cluster, for asyncio.

It does not use the asyncio cluster client of redis-py, because that client (at least up to 8.1)

- fails a whole pipeline if one node fails, so that it is unknown what the other nodes executed,
- sends commands to random nodes before it has read the slots (from 7.1 on),
- closes all connections, also those in use by other tasks, at every fifth redirection and at each
  CLUSTERDOWN.

``docs/redis-py.md`` has the details. A `ClusterSender` has a connection pool for each node. The
first call reads the slots (CLUSTER SLOTS), and a call after a redirection or a broken connection
reads them again. Each call has its own result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from random import randrange
from typing import Any, Final

import redis.exceptions as redis_errors
from redis.crc import key_slot

from podlink.aio.sending import (
    UNSENT,
    ConnectionSource,
    Sending,
    attempt,
    send_on,
)
from podlink.calls import RAW, Call
from podlink.errors import no_primary

SLOTS: Final = 16384
REDIRECTIONS: Final = 5
"""How often a call follows a redirection; then it has failed."""

Address = tuple[str, int]


class ClusterSender:
    """Sends to the primaries of a cluster.

    Args:
        seeds: the addresses of the nodes to read the slots from at first.
        make_pool: creates the connection pool of a node.
        remap: converts an address in the reply of CLUSTER SLOTS to the address to connect to.
        prepare: called before the slots are read.
    """

    def __init__(
        self,
        seeds: Iterable[Address],
        make_pool: Callable[[str, int], Any],
        remap: Callable[[Address], Address] | None = None,
        prepare: Callable[[], Awaitable[Any]] | None = None,
    ) -> None:
        self._seeds = list(seeds)
        self._make_pool = make_pool
        self._remap = remap
        self._prepare = prepare
        self._pools: dict[Address, Any] = {}
        self._owners: list[Address | None] = []
        self._known: list[Address] = []
        self._stale = True
        self._failed: Address | None = None
        self._refreshing: asyncio.Task[None] | None = None

    async def send(
        self, sendings: Sequence[Sending], options: Mapping[str, Any], node: str | None = None
    ) -> None:
        """As `Sender.send`, following redirections."""
        await attempt(self._refresh(), sendings)
        if node is None:
            await self._send_to_owners(sendings, options)
        else:
            await self._send_to_named(node, sendings, options)
        for _ in range(REDIRECTIONS):
            redirected = [s for s in sendings if isinstance(s.reply, redis_errors.AskError)]
            if not redirected:
                return
            await self._follow(redirected, options)

    async def nodes(self) -> list[str | None]:
        """As `Sender.nodes`."""
        self._stale = True
        await self._refresh()
        return [_name(address) for address in self._primaries()]

    async def _send_to_named(
        self, node: str, sendings: Sequence[Sending], options: Mapping[str, Any]
    ) -> None:
        for address in self._primaries():
            if _name(address) == node:
                await self._send_to(address, sendings, options)
                return
        error = no_primary(node)
        for sending in sendings:
            sending.fail(error)

    async def close(self, *, idle_only: bool = False) -> None:
        """As `Sender.close`."""
        if self._refreshing is not None and not idle_only:
            self._refreshing.cancel()
        for pool in list(self._pools.values()):
            if hasattr(pool, "disconnect"):
                await pool.disconnect(inuse_connections=not idle_only)

    def abandon(self) -> None:
        """As `Sender.abandon`."""
        for pool in self._pools.values():
            if hasattr(pool, "abandon"):
                pool.abandon()

    def pools(self) -> list[Any]:
        """As `Sender.pools`."""
        return [getattr(pool, "node", pool) for pool in self._pools.values()]

    async def _send_to_owners(
        self, sendings: Sequence[Sending], options: Mapping[str, Any]
    ) -> None:
        if len(sendings) == 1:
            (sending,) = sendings
            if sending.reply is UNSENT and (owner := self._owner(sending)) is not None:
                await self._send_to(owner, sendings, options)
            return
        shares: dict[Address, list[Sending]] = {}
        for sending in sendings:
            if sending.reply is UNSENT and (owner := self._owner(sending)) is not None:
                shares.setdefault(owner, []).append(sending)
        await _all(self._send_to(owner, share, options) for owner, share in shares.items())

    def _owner(self, sending: Sending) -> Address | None:
        """Return the node that owns the slot of a call; fail the call if there is none."""
        keys = sending.call.keys
        slot = key_slot(_encoded(keys[0])) if keys else randrange(SLOTS)
        owner = self._owners[slot]
        if owner is None:
            self._stale = True
            text = f'Slot "{slot}" is not covered by the cluster.'
            sending.fail(redis_errors.SlotNotCoveredError(text))
        return owner

    async def _send_to(
        self,
        address: Address,
        sendings: Sequence[Sending],
        options: Mapping[str, Any],
        *,
        asking: bool = False,
    ) -> None:
        try:
            await attempt(send_on(self._pool(address), sendings, options, asking=asking), sendings)
        except asyncio.CancelledError:  # the deadline has passed, so the node may be unreachable
            self._lose(address)
            raise
        for sending in sendings:
            if isinstance(sending.reply, Exception):
                self._update_from_error(sending.reply, address)

    def _update_from_error(self, error: Exception, address: Address) -> None:
        if isinstance(error, redis_errors.AskError):
            if not error.host:  # an empty host means the host of the node that redirects
                error.host, error.node_addr = address[0], (address[0], error.port)
            self._stale = self._stale or isinstance(error, redis_errors.MovedError)
        elif isinstance(error, _SLOTS_MAY_HAVE_MOVED) or not isinstance(
            error, redis_errors.ResponseError
        ):
            self._lose(address)

    def _lose(self, address: Address) -> None:
        """Read the map of slots again before the next call, from this node last."""
        self._stale, self._failed = True, address

    async def _follow(self, sendings: Sequence[Sending], options: Mapping[str, Any]) -> None:
        shares: dict[tuple[Address, bool], list[Sending]] = {}
        for sending in sendings:
            redirection = sending.reply
            asking = not isinstance(redirection, redis_errors.MovedError)
            address = self._reachable(redirection.host, int(redirection.port))
            sending.reply = UNSENT
            shares.setdefault((address, asking), []).append(sending)
        await _all(
            self._send_to(address, share, options, asking=asking)
            for (address, asking), share in shares.items()
        )

    def _primaries(self) -> list[Address]:
        return [owner for owner in dict.fromkeys(self._owners) if owner is not None]

    def _reachable(self, host: str, port: int) -> Address:
        return (host, port) if self._remap is None else self._remap((host, port))

    def _pool(self, address: Address) -> ConnectionSource:
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools[address] = self._make_pool(*address)
        taken: ConnectionSource = pool
        return taken

    async def _refresh(self) -> None:
        """Read the slots if they may have changed. Concurrent calls share one request."""
        if not self._stale:
            return
        if self._refreshing is None:
            self._refreshing = asyncio.get_running_loop().create_task(self._read_slots())
            self._refreshing.add_done_callback(self._refreshed)
        await asyncio.shield(self._refreshing)

    def _refreshed(self, task: asyncio.Task[None]) -> None:
        self._refreshing = None
        if not task.cancelled():
            task.exception()  # marks the exception as retrieved: the calls that wait get it too

    async def _read_slots(self) -> None:
        error: Exception | None = None
        if self._prepare is not None:
            await self._prepare()
        addresses = dict.fromkeys((*self._known, *self._seeds))
        for address in sorted(addresses, key=lambda address: address == self._failed):
            sending = Sending(_CLUSTER_SLOTS)
            await attempt(send_on(self._pool(address), (sending,), RAW), (sending,))
            try:
                slots = sending.result()
                if not slots:
                    raise redis_errors.SlotNotCoveredError(f"{_name(address)} knows no slots")
            except Exception as failed:
                error = failed
                continue
            self._set_slots(slots, address)
            return
        raise redis_errors.RedisClusterException(
            f"Redis Cluster cannot be connected: no node has returned the slots: {error}"
        ) from error

    def _set_slots(self, slots: Any, told_by: Address) -> None:
        owners: list[Address | None] = [None] * SLOTS
        known: dict[Address, None] = {told_by: None}
        for first, last, *nodes in slots:
            addresses = [
                self._reachable(_text(host) if _text(host) not in _UNKNOWN else told_by[0], port)
                for host, port, *_ in nodes
            ]
            known.update(dict.fromkeys(addresses))
            owners[first : last + 1] = [addresses[0]] * (last + 1 - first)
        self._owners, self._known = owners, list(known)
        self._stale = False


async def _all(work: Iterable[Any]) -> None:
    """Await several coroutines concurrently. They must not raise."""
    every = list(work)
    if len(every) == 1:
        await every[0]
    else:
        await asyncio.gather(*every)


def _name(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")


def _encoded(key: Any) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode()


_UNKNOWN: Final = ("", "?")
_CLUSTER_SLOTS: Final[Call[Any]] = Call(
    "cluster_slots", ("CLUSTER", "SLOTS"), (), lambda call, reply: reply
)
_SLOTS_MAY_HAVE_MOVED: Final = (
    redis_errors.ConnectionError,
    redis_errors.ClusterDownError,
    redis_errors.ReadOnlyError,
    redis_errors.MasterDownError,
)
