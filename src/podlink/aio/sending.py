"""Sends calls with asyncio connections, and records the state of each call.

A `Sending` is a call with its state: not sent, sent without a reply, or finished. The senders
update the state when they write the call and when they read its reply. Therefore it is known after
an error, a timeout or a cancellation whether the server can have executed the call.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol

import redis.exceptions as redis_errors
from redis.asyncio.connection import AbstractConnection
from redis.client import NEVER_DECODE

from podlink import telemetry
from podlink.aio.pool import abandon, await_within, drop, loop_of, write
from podlink.calls import (
    RETRIED_AT_ONCE,
    Call,
    NextAttempt,
    Reply,
    RetryPolicy,
    next_attempt,
    pack_command,
)
from podlink.clients import renew_async_locks
from podlink.errors import InvalidParameterError, NotSent, as_connection_error
from podlink.management import chunks

UNSENT: Final = object()
"""The reply of a call that has not been written to a connection."""

UNANSWERED: Final = object()
"""The reply of a call that has been written to a connection: the server may execute it."""

_REPLIES_PER_TIMEOUT = 50
"""How many replies of a pipeline are read with one ``socket_timeout``."""

_REFUSALS = (
    redis_errors.ResponseError,
    # Error replies which redis-py derives from its ConnectionError.
    redis_errors.BusyLoadingError,
    redis_errors.AuthenticationError,
    redis_errors.AuthorizationError,
)


class Sending:
    """A call that is being sent, and its state.

    Attributes:
        call: the call.
        wire: the command that is sent for it.
        reply: `UNSENT`, `UNANSWERED`, the reply, or the exception of a failed call.
    """

    __slots__ = ("call", "reply", "wire")

    def __init__(self, call: Call[Any]) -> None:
        self.call = call
        self.wire = call.wire
        self.reply: Any = UNSENT

    def fail(self, error: Exception) -> None:
        """Make the exception the reply, unless there is one. An unsent call gets `NotSent`."""
        error = as_connection_error(error)
        if self.reply is UNSENT:
            self.reply = NotSent(error)
        elif self.reply is UNANSWERED:
            self.reply = error

    def result(self) -> Reply:
        """Return the reply.

        Raises:
            Exception: the call failed.
        """
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


class ConnectionSource(Protocol):
    """A connection pool."""

    async def get_connection(self) -> Any:
        """Take a connection that is ready to send."""

    def give_back(self, connection: Any) -> None:
        """Return a connection to the pool."""


class Sender(Protocol):
    """Sends calls to one server or cluster."""

    async def send(
        self, sendings: Sequence[Sending], options: Mapping[str, Any], node: str | None = None
    ) -> None:
        """Send unsent calls as pipelines, without retries, and set their replies.

        Afterwards each call has a reply or an exception. Only a cancellation is raised.

        Args:
            options: `podlink.calls.RAW` for bytes, or empty to decode as the client is configured.
            node: one of `nodes`; ``None`` sends each call to the node of its key.
        """

    async def nodes(self) -> list[str | None]:
        """Return the names of the nodes that own slots; ``[None]`` without a cluster."""

    async def close(self, *, idle_only: bool = False) -> None:
        """Close the connections that the sender has created."""

    def abandon(self) -> None:
        """Close the connections that the sender has created, after their event loop was closed."""

    def pools(self) -> list[Any]:
        """Return the pools that connections are taken from."""


async def attempt(work: Awaitable[None], sendings: Sequence[Sending]) -> None:
    """Await ``work``. If it raises, the exception becomes the reply of all calls without one."""
    try:
        await work
    except Exception as error:
        for sending in sendings:
            sending.fail(error)


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop.

    Raises:
        InvalidParameterError: no asyncio event loop is running.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise InvalidParameterError(
            "podlink's asynchronous classes need a running asyncio event loop; under Trio, run "
            "the synchronous executor in threads (trio.to_thread.run_sync)"
        ) from None


async def run_with_deadline(
    work: Coroutine[Any, Any, None], sendings: Sequence[Sending], seconds: float | None
) -> None:
    """Await ``work``, which sends calls, for at most ``seconds`` (``None`` sets no limit).

    When the time is up, or the task is cancelled, all calls without a reply fail. Those that have
    not been sent are not sent later.
    """
    try:
        running_loop()
    except InvalidParameterError:
        work.close()
        raise
    try:
        await await_within(work, seconds)
    except asyncio.TimeoutError:
        late = redis_errors.TimeoutError(f"not done within {seconds} s")
        _fail_pending(sendings, late)
    except BaseException:
        interrupted = redis_errors.ConnectionError("interrupted")
        _fail_pending(sendings, interrupted)
        raise


def _fail_pending(sendings: Sequence[Sending], error: Exception) -> None:
    """Fail the calls without a reply, and those that would be retried.

    A call in a pipeline may have been refused (NOSCRIPT, MOVED) while others are in flight. The
    server has not executed it, and it is not retried.
    """
    for sending in sendings:
        if isinstance(sending.reply, RETRIED_AT_ONCE):
            sending.reply = UNSENT
        sending.fail(error)


async def send_on(
    pool: ConnectionSource,
    sendings: Sequence[Sending],
    options: Mapping[str, Any],
    *,
    asking: bool = False,
) -> None:
    """Send calls on one connection of a pool, and read their replies.

    Args:
        asking: send ``ASKING`` before each call.

    Raises:
        Exception: the connection failed. `Sending.reply` has the state of each call.
    """
    connection = await pool.get_connection()
    whole = False
    try:
        await _exchange(connection, sendings, bool(options.get(NEVER_DECODE)), asking)
        whole = True
    finally:
        try:
            if not whole:  # there may be unread replies
                await drop(connection)
        finally:
            pool.give_back(connection)


async def _exchange(connection: Any, sendings: Sequence[Sending], raw: bool, asking: bool) -> None:
    sendings = [sending for sending in sendings if sending.reply is UNSENT]
    if not sendings:
        return
    wires = [sending.wire for sending in sendings]
    if asking:
        wires = [wire for each in wires for wire in (("ASKING",), each)]
    data: Any
    if raw and type(connection).pack_commands is AbstractConnection.pack_commands:
        data = [pack_command(wire) for wire in wires]
    else:  # arguments of other types, or a connection of the emulator, which takes no bytes
        data = connection.pack_commands(wires)
    for sending in sendings:
        sending.reply = UNANSWERED
    await write(connection, data)
    if len(wires) == 1:
        await _read_one(connection, sendings[0], raw)
        return
    timeout = connection.socket_timeout
    for start in range(0, len(sendings), _REPLIES_PER_TIMEOUT):
        part = sendings[start : start + _REPLIES_PER_TIMEOUT]
        try:
            await await_within(_read(connection, part, raw, asking), timeout)
        except asyncio.TimeoutError:
            text = "Timeout reading the replies of a batch"
            raise redis_errors.TimeoutError(text) from None


async def _read_one(connection: Any, sending: Sending, raw: bool) -> None:
    try:
        sending.reply = await connection.read_response(disable_decoding=raw)
    except _REFUSALS as error:
        sending.reply = error


async def _read(connection: Any, sendings: Sequence[Sending], raw: bool, asking: bool) -> None:
    for sending in sendings:
        # No timeout for each reply: setting one takes longer than reading the reply.
        try:
            if asking:
                await connection.read_response(timeout=math.inf, disconnect_on_error=False)
        except redis_errors.ResponseError:
            pass  # the command itself fails as well
        try:
            sending.reply = await connection.read_response(
                disable_decoding=raw, timeout=math.inf, disconnect_on_error=False
            )
        except _REFUSALS as error:
            sending.reply = error


class PoolSender:
    """Sends to one server, on connections of a `podlink.aio.pool.Pool`.

    Args:
        client: the redis-py client that has the pool.
        sentinels: the clients of the Sentinels that its pool uses.
    """

    def __init__(self, client: Any, sentinels: Sequence[Any] = ()) -> None:
        self._pool = client.connection_pool
        self._pools = [self._pool, *(sentinel.connection_pool for sentinel in sentinels)]

    async def send(
        self, sendings: Sequence[Sending], options: Mapping[str, Any], node: str | None = None
    ) -> None:
        """As `Sender.send`."""
        await attempt(send_on(self._pool, sendings, options), sendings)

    async def nodes(self) -> list[str | None]:
        """As `Sender.nodes`."""
        return [None]

    async def close(self, *, idle_only: bool = False) -> None:
        """As `Sender.close`."""
        for pool in self._pools:
            await pool.disconnect(inuse_connections=not idle_only)

    def abandon(self) -> None:
        """As `Sender.abandon`."""
        for pool in self._pools:
            pool.abandon()

    def pools(self) -> list[Any]:
        """As `Sender.pools`."""
        return [self._pool]


class ClientSender:
    """Sends to one server with a client of the caller, which retries as it is configured.

    Args:
        client: the client.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(
        self, sendings: Sequence[Sending], options: Mapping[str, Any], node: str | None = None
    ) -> None:
        """As `Sender.send`."""
        self._bind_to_loop()
        sendings = [sending for sending in sendings if sending.reply is UNSENT]
        for sending in sendings:
            sending.reply = UNANSWERED
        try:
            if len(sendings) == 1:
                (sending,) = sendings
                sending.reply = await self._client.execute_command(*sending.wire, **options)
                return
            pipeline = self._client.pipeline(transaction=False)
            for sending in sendings:
                pipeline.execute_command(*sending.wire, **options)
            replies = await pipeline.execute(raise_on_error=False)
            for sending, reply in zip(sendings, replies, strict=True):
                sending.reply = reply
        except Exception as error:
            for sending in sendings:
                sending.fail(error)

    def _bind_to_loop(self) -> None:
        """Prepare the client for the running event loop if its previous loop was closed.

        Closes the connections of the previous loop, and replaces the locks that belong to it.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None and self._loop.is_closed():
                pool = self._client.connection_pool
                for connection in pool._available_connections:
                    if connection.is_connected and loop_of(connection) is self._loop:
                        abandon(connection)
                for each in (self._client, pool):
                    renew_async_locks(each)
            self._loop = loop

    async def nodes(self) -> list[str | None]:
        """As `Sender.nodes`."""
        return [None]

    async def close(self, *, idle_only: bool = False) -> None:
        """Do nothing: the client belongs to the caller."""

    def abandon(self) -> None:
        """Do nothing: the client belongs to the caller."""

    def pools(self) -> list[Any]:
        """As `Sender.pools`."""
        return [self._client.connection_pool]


async def retry(
    sender: Sender,
    sendings: Sequence[Sending],
    options: Mapping[str, Any],
    policy: RetryPolicy,
    node: str | None = None,
) -> None:
    """Retry the failed calls, as often as `podlink.calls.next_attempt` allows."""
    attempt = 0
    while failed := _select_retries(sendings, attempt, policy):
        pause = max(step.delay for _, step in failed)
        for sending, step in failed:
            sending.wire, sending.reply = step.wire, UNSENT
        if pause:
            await asyncio.sleep(pause)
        for chunk in chunks(failed):
            await sender.send([sending for sending, _ in chunk], options, node)
        attempt += 1


def _select_retries(
    sendings: Sequence[Sending], attempt: int, policy: RetryPolicy
) -> list[tuple[Sending, NextAttempt]]:
    failed = []
    for sending in sendings:
        error = sending.reply
        if isinstance(error, Exception):
            step = next_attempt(sending.call, sending.wire, error, attempt, policy)
            if step is not None:
                if isinstance(error, redis_errors.NoScriptError):
                    telemetry.record_script_reloads(sending.call)
                else:
                    telemetry.record_retry(sending.call, error)
                failed.append((sending, step))
    return failed
