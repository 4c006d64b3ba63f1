"""Batching: calls of concurrent tasks in one iteration of the event loop share a pipeline.

A `Batcher` collects the calls of one iteration and sends them as one pipeline on one connection.
While a pipeline is in flight, new calls are collected for the next one, so the pipelines grow with
the load. There is one pipeline at a time, so calls reach the server in the order in which they were
made.

Each call has its own result: an error, a timeout or a cancellation does not affect other calls. A
call that is cancelled before its pipeline is sent is not sent. If it is cancelled later, its reply
is read and discarded. A call is retried by itself, as without batching.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import redis.exceptions as redis_errors
from redis.exceptions import NoScriptError

from podlink import forks, telemetry
from podlink.aio.manager import AsyncRedisManager
from podlink.aio.sending import UNSENT, Sender, Sending, retry, run_with_deadline, running_loop
from podlink.calls import RAW, Call, Reply
from podlink.errors import InvalidParameterError
from podlink.keys import check_timeout
from podlink.management import MAX_PIPELINE_LENGTH


class _BatchedSending(Sending):
    """A call of a batch, and the future that is set when it has a reply."""

    __slots__ = ("answered",)

    def __init__(self, call: Call[Any], answered: asyncio.Future[None]) -> None:
        super().__init__(call)
        self.answered = answered


class Batcher:
    """Sends the calls of concurrent tasks in pipelines. Belongs to the first event loop used.

    Args:
        manager: has the client.
    """

    def __init__(self, manager: AsyncRedisManager) -> None:
        self._manager = manager
        self._waiting: deque[_BatchedSending] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        forks.renew(self)

    def _after_fork(self) -> None:
        """Allow another event loop in a child process."""
        forks.keep_for_parent(self._worker, self._waiting)
        self._waiting = deque()
        self._worker = self._loop = None

    async def send(self, call: Call[Any], timeout: float | None = None) -> Reply:
        """Send a call with the other calls of this iteration; see `AsyncRedisManager.send`.

        Raises:
            InvalidParameterError: another event loop has used the batcher before.
        """
        loop = self._own_loop()
        sending = _BatchedSending(call, loop.create_future())
        seconds = self._manager.timeout if timeout is None else check_timeout(timeout)
        await run_with_deadline(self._send(sending), (sending,), seconds)
        return sending.result()

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        loop = running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise InvalidParameterError(
                "an executor with batching=True belongs to the event loop that first used it, and "
                "this is another one: create an executor in each event loop (each asyncio.run)"
            )
        return loop

    async def _send(self, sending: _BatchedSending) -> None:
        self._waiting.append(sending)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._work())
        await sending.answered
        if isinstance(sending.reply, Exception):
            manager = self._manager
            lease = manager.lease
            lease.users += 1
            try:
                await retry(lease.sender, (sending,), RAW, manager.retry_policy)
            finally:
                await lease.release()

    async def close(self) -> None:
        """Wait for the pipelines in flight."""
        if self._worker is not None:
            await asyncio.wait([self._worker])

    async def _work(self) -> None:
        waiting = self._waiting
        batch: list[_BatchedSending] = []
        try:
            while waiting:
                batch = [waiting.popleft() for _ in range(min(MAX_PIPELINE_LENGTH, len(waiting)))]
                lease = self._manager.lease
                lease.users += 1
                try:
                    await _send_with_scripts(lease.sender, batch)
                finally:
                    await lease.release()
                _answer(batch)
        except BaseException as error:
            interrupted = redis_errors.ConnectionError(f"the batch was interrupted: {error!r}")
            for sending in (*batch, *waiting):
                sending.fail(interrupted)
            _answer((*batch, *waiting))
            waiting.clear()
            raise


async def _send_with_scripts(sender: Sender, batch: Sequence[_BatchedSending]) -> None:
    await sender.send(batch, RAW)
    unknown = [s for s in batch if isinstance(s.reply, NoScriptError) and s.call.script is not None]
    if unknown:  # before the next pipeline, so that the calls keep their order
        for sending in unknown:
            telemetry.record_script_reloads(sending.call)
            sending.wire, sending.reply = sending.call.wire_with_source, UNSENT
        await sender.send(unknown, RAW)


def _answer(batch: Sequence[_BatchedSending]) -> None:
    for sending in batch:
        if not sending.answered.done():  # not cancelled, and not timed out
            sending.answered.set_result(None)
