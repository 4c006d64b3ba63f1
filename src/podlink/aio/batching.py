"""Batching: what concurrent tasks ask for in one turn of the event loop travels together.

A `Batcher` collects the calls of a turn and sends them as one pipeline on one connection. While a
pipeline is under way, what comes is collected for the next one, so that the more there is to do,
the larger the pipelines get. There is one pipeline at a time, so calls reach the server in the
order in which they were made.

Each call has its own outcome: an error, a deadline or a cancellation concerns no other call. A task
that gives up leaves its call in the pipeline; the reply is read and dropped. What may be sent again
is sent again by itself, as without batching.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import redis.exceptions as redis_errors
from redis.asyncio.connection import AbstractConnection

from podlink import telemetry
from podlink.aio.connections import take
from podlink.aio.manager import AsyncRedisManager, Lease
from podlink.calls import RAW, Call, Reply, packed
from podlink.keys import check_timeout
from podlink.management import PIPELINE

_REPLIES_PER_TIMEOUT = 50
"""How many replies may together take as long as ``socket_timeout`` gives to one."""

_Waiting = tuple[Call[Any], "asyncio.Future[Reply]"]


class Batcher:
    """Sends calls of many tasks in few pipelines. Belongs to the event loop that first uses it.

    Args:
        manager: whose client the calls go to.
    """

    def __init__(self, manager: AsyncRedisManager) -> None:
        self._manager = manager
        self._waiting: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def send(self, call: Call[Any], timeout: float | None = None) -> Reply:
        """Send a call with others of this turn; as `AsyncRedisManager.send`."""
        manager = self._manager
        seconds = manager.timeout if timeout is None else check_timeout(timeout)
        if seconds is None:
            return await self._send(call)
        return await asyncio.wait_for(self._send(call), seconds)

    async def _send(self, call: Call[Any]) -> Reply:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        self._waiting.append((call, future))
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        try:
            return await future
        except Exception as error:
            lease = self._manager.lease
            lease.users += 1
            try:
                return await self._manager.recover(call, error, lease.client, RAW)
            finally:
                await lease.release()

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._worker is not None and not self._worker.done():
            await asyncio.wait([self._worker])

    async def _work(self) -> None:
        waiting = self._waiting
        while waiting:
            batch = [waiting.popleft() for _ in range(min(PIPELINE, len(waiting)))]
            lease = self._manager.lease
            lease.users += 1
            try:
                await self._run(lease, batch)
            except BaseException as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(_as_exception(error))
                if not isinstance(error, Exception):
                    raise
            finally:
                await lease.release()

    async def _run(self, lease: Lease, batch: Sequence[_Waiting]) -> None:
        if self._manager.is_cluster or len(batch) == 1:
            calls = [call for call, _ in batch]
            replies = await self._manager.send_once(
                lease.client, calls, [call.wire for call in calls], RAW
            )
            for (_, future), reply in zip(batch, replies, strict=True):
                _give(future, reply)
            return
        pool = lease.client.connection_pool
        connection = await take(pool)
        unread = True
        try:
            unknown = await _exchange(connection, batch, [call.wire for call, _ in batch])
            if unknown:  # scripts: here, so that the calls keep their order
                telemetry.reloaded(unknown[0][0], len(unknown))
                sources = [call.wire_with_source for call, _ in unknown]
                await _exchange(connection, unknown, sources)
            unread = False
        finally:
            if unread:
                await connection.disconnect(nowait=True)
            await pool.release(connection)


async def _exchange(
    connection: Any, batch: Sequence[_Waiting], wires: Sequence[tuple[Any, ...]]
) -> list[_Waiting]:
    """Send commands, give their replies to those who wait, and return whose script is unknown."""
    if type(connection).pack_commands is AbstractConnection.pack_commands:
        await connection.send_packed_command(list(map(packed, wires)))
    else:  # no bytes travel on the emulator's
        await connection.send_packed_command(connection.pack_commands(wires))
    unknown: list[_Waiting] = []
    may_be_unknown = unknown if wires[0][0] != "EVAL" else None
    timeout = connection.socket_timeout
    for start in range(0, len(batch), _REPLIES_PER_TIMEOUT):
        part = batch[start : start + _REPLIES_PER_TIMEOUT]
        try:
            await asyncio.wait_for(_read(connection, part, may_be_unknown), timeout)
        except asyncio.TimeoutError:
            raise redis_errors.TimeoutError("Timeout reading the replies of a batch") from None
    return unknown


async def _read(connection: Any, batch: Sequence[_Waiting], unknown: list[_Waiting] | None) -> None:
    """Give replies to those who wait, and add to ``unknown`` whose script is."""
    for call, future in batch:
        try:
            # A timeout of its own for each reply takes longer than reading it.
            reply = await connection.read_response(disable_decoding=True, timeout=math.inf)
        except redis_errors.NoScriptError as error:
            if unknown is None or call.script is None:
                _give(future, error)
            else:
                unknown.append((call, future))
            continue
        except redis_errors.ResponseError as error:
            reply = error
        _give(future, reply)


def _give(future: asyncio.Future[Reply], reply: Reply) -> None:
    if future.done():
        return  # cancelled, or its time was up
    if isinstance(reply, Exception):
        future.set_exception(reply)
    else:
        future.set_result(reply)


def _as_exception(error: BaseException) -> Exception:
    """What those who wait are told when the worker ends, by cancellation of the loop's tasks."""
    if isinstance(error, Exception):
        return error
    return redis_errors.ConnectionError(f"the batch was interrupted: {error!r}")
