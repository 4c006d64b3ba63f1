"""What the trackers prove by PING, on a connection whose replies and clock the test controls."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from podlink.aio.tracking import AsyncTracker
from podlink.cache import LinkCache
from podlink.keys import link_keys
from podlink.push import PING
from podlink.tracking import Tracker

SILENCE = 0.003
SLOW = 0.8 * SILENCE
"""How long the server takes to answer a command, by the clock of the cache."""

KEY = link_keys("n", "u", "s")[0]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Connection:
    """Answers every command after `SLOW`, and notes what the cache knows after each answer.

    Attributes:
        sent: the commands.
        known: for each answer, whether links are tracked at once, and `SILENCE` after the question.
        messages: invalidation messages that arrive before the next answer.
    """

    host, port = "127.0.0.1", 6379

    def __init__(self, answers: int) -> None:
        self.clock = Clock()
        self.cache = LinkCache(10, 0.0, SILENCE, self.clock)
        self.sent: list[tuple[Any, ...]] = []
        self.known: list[tuple[bool, bool]] = []
        self.messages: list[Any] = []
        self.options: dict[str, Any] = {}
        self._left = answers
        self._is_answered = False
        self._handler: Any = None
        self._parser = self

    # The pool that it is made by, and the parser of redis-py

    @property
    def connection_kwargs(self) -> dict[str, Any]:
        return {"protocol": 2, "decode_responses": True, "socket_timeout": 77}

    def connection_class(self, **options: Any) -> Connection:
        self.options = options
        return self

    def set_invalidation_push_handler(self, handler: Any) -> None:
        self._handler = handler

    set_push_handler = set_invalidation_push_handler

    # What becomes of commands

    def note(self) -> None:
        """Note what is known after an answer; break when there were enough."""
        if not self._is_answered:
            return
        self._is_answered = False
        at_once = self.cache.stats().tracked
        self.clock.now += SILENCE - SLOW + 0.0001
        self.known.append((at_once, self.cache.stats().tracked))
        self._left -= 1
        if not self._left:
            raise ConnectionError("enough")

    def answer(self) -> Any:
        """A message, or the answer to a command."""
        if self.messages:
            return self._handler(self.messages.pop(0))
        self.clock.now += SLOW
        self._is_answered = True
        return b"PONG"


class SyncConnection(Connection):
    def __init__(self, answers: int) -> None:
        super().__init__(answers)
        self.ended = threading.Event()

    def connect(self) -> None:
        pass

    def send_command(self, *command: Any, check_health: bool) -> None:
        self.sent.append(command)

    def read_response(self, **options: Any) -> Any:
        return self.answer()

    def can_read(self, timeout: float) -> bool:
        self.note()
        return bool(self.messages)

    def disconnect(self) -> None:
        self.ended.set()


class AsyncConnection(Connection):
    def __init__(self, answers: int) -> None:
        super().__init__(answers)
        self.ended = asyncio.Event()
        self._unanswered = asyncio.Semaphore(0)

    async def connect(self) -> None:
        pass

    async def send_command(self, *command: Any, check_health: bool) -> None:
        self.sent.append(command)
        self._unanswered.release()

    async def read_response(self, **options: Any) -> Any:
        self.note()
        if not self.messages:
            await self._unanswered.acquire()
        reply = self.answer()
        return await reply if asyncio.iscoroutine(reply) else reply

    async def disconnect(self, nowait: bool) -> None:
        self.ended.set()


class Manager:
    """A manager of either kind, as far as a tracker needs one."""

    def __init__(self, connection: Connection) -> None:
        self.connection_pool = connection
        self.client = self.source = self.lease = self


def follow(flavour: str, answers: int, *messages: Any) -> Connection:
    """Track a namespace until the connection has given so many answers and breaks."""
    if flavour == "sync":
        connection = SyncConnection(answers)
        connection.messages += messages
        manager: Any = Manager(connection)
        tracker = Tracker(manager, connection.cache)
        tracker.watch("n")
        assert connection.ended.wait(30)
        tracker.close()
        return connection

    async def run() -> Connection:
        connection = AsyncConnection(answers)
        connection.messages += messages
        manager: Any = Manager(connection)
        tracker = AsyncTracker(manager, connection.cache)
        tracker.watch("n")
        await asyncio.wait_for(connection.ended.wait(), 30)
        await tracker.close()
        return connection

    return asyncio.run(run())


@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_an_answer_proves_what_was_so_when_it_was_asked_for(flavour: str) -> None:
    """A change that is made while the answer is under way may not be heard of yet."""
    connection = follow(flavour, 3)
    assert connection.known == [(True, False)] * 3
    tracking = ("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", b"sf:{n:lk:")
    assert connection.sent[:3] == [tracking, PING, PING]
    assert not connection.cache.stats().tracked, "the connection broke"


@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_a_message_is_no_answer(flavour: str) -> None:
    """Words of changes before the first answer prove nothing."""
    connection = follow(flavour, 1, [b"invalidate", [KEY]], [b"invalidate", None])
    assert connection.known == [(True, False)]
    assert len(connection.sent) == 1


@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_the_connection_of_a_tracker(flavour: str) -> None:
    """It speaks RESP3 and does not decode, whatever the pool's connections do."""
    options = follow(flavour, 1).options
    assert options["protocol"] == 3
    assert options["decode_responses"] is False
    assert options["socket_timeout"] == SILENCE
    assert options["health_check_interval"] == 0
    assert options["retry"]._retries == 0


@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_the_loss_of_a_connection_is_logged_once(
    flavour: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="podlink")
    follow(flavour, 1)
    records = [record for record in caplog.records if "not tracked" in record.getMessage()]
    assert [record.levelname for record in records[:1]] == ["WARNING"]
    assert records[0].getMessage() == "links are not tracked: ConnectionError: enough"
