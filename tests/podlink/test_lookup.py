"""Name look-ups with a time limit, without a resolver."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from podlink import deadline, lookup
from podlink.lookup import look_up

LONG = 60.0
FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 1))]


class Resolver:
    """In place of ``socket.getaddrinfo``.

    Attributes:
        asked: the arguments of each call.
        threads: the names of the threads that called it, and whether they are daemons.
    """

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer
        self.asked: list[tuple[Any, ...]] = []
        self.threads: list[tuple[str, bool]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self, *args: Any) -> Any:
        thread = threading.current_thread()
        self.asked.append(args)
        self.threads.append((thread.name, thread.daemon))
        self.may_answer.wait(LONG)
        return self.answer()


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    made = Resolver(lambda: FOUND)
    monkeypatch.setattr(socket, "getaddrinfo", made)
    yield made
    made.may_answer.set()
    while lookup._pending:
        pass


def test_without_a_deadline_the_thread_itself_asks(resolver: Resolver) -> None:
    assert look_up("redis.invalid", 7, socket.AF_INET6) == FOUND
    assert look_up("redis.invalid", 7) == FOUND
    assert resolver.asked == [
        ("redis.invalid", 7, socket.AF_INET6, socket.SOCK_STREAM),
        ("redis.invalid", 7, 0, socket.SOCK_STREAM),
    ]
    assert resolver.threads == [(threading.current_thread().name, False)] * 2


@pytest.mark.parametrize("host", ["192.0.2.1", "::1"])
def test_an_address_is_not_looked_up_in_another_thread(resolver: Resolver, host: str) -> None:
    assert deadline.limited(LONG, look_up, host, 7) == FOUND
    assert resolver.threads == [(threading.current_thread().name, False)]


def test_with_a_deadline_a_daemon_thread_asks(resolver: Resolver) -> None:
    assert deadline.limited(LONG, look_up, "redis.invalid", 7, socket.AF_INET) == FOUND
    assert resolver.asked == [("redis.invalid", 7, socket.AF_INET, socket.SOCK_STREAM)]
    assert resolver.threads == [("podlink-look-up", True)]


def test_the_time_may_be_up(resolver: Resolver) -> None:
    resolver.may_answer.clear()
    with pytest.raises(deadline.TimeUp, match=r"look-up of redis\.invalid took too long"):
        deadline.limited(0.01, look_up, "redis.invalid", 7)
    while not resolver.asked:
        pass
    with pytest.raises(deadline.TimeUp):
        deadline.limited(0.01, look_up, "redis.invalid", 7)
    assert len(resolver.asked) == 1, "the second caller waits for the same look-up"


def in_threads(count: int, resolver: Resolver) -> list[Any]:
    """The results of callers who ask for one address at the same time."""
    results: list[Any] = []

    def ask() -> None:
        try:
            results.append(deadline.limited(LONG, look_up, "redis.invalid", 7))
        except Exception as error:
            results.append(error)

    resolver.may_answer.clear()
    threads = [threading.Thread(target=ask) for _ in range(count)]
    threads[0].start()
    while ("redis.invalid", 7, 0) not in lookup._pending:
        pass
    for thread in threads[1:]:
        thread.start()
    resolver.may_answer.set()
    for thread in threads:
        thread.join()
    return results


def test_an_error_is_raised_for_each_caller(resolver: Resolver) -> None:
    """Each has an exception of its own, whose traceback is of one thread."""

    def fail() -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    resolver.answer = fail
    errors = in_threads(3, resolver)
    assert [str(error) for error in errors] == [f"[Errno {int(socket.EAI_NONAME)}] not known"] * 3
    assert all(type(error) is socket.gaierror for error in errors)
    assert len({id(error) for error in errors}) == 3


def test_an_answer_is_used_once(resolver: Resolver) -> None:
    """Who asks later asks anew: the address may have changed."""
    assert in_threads(1, resolver) == [FOUND]
    while lookup._pending:
        pass
    others = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.2", 1))]
    resolver.answer = lambda: others
    assert deadline.limited(LONG, look_up, "redis.invalid", 7) == others
    assert len(resolver.asked) == 2


def test_other_ports_and_families_are_other_look_ups(resolver: Resolver) -> None:
    resolver.may_answer.clear()
    asked = [("a.invalid", 7, 0), ("a.invalid", 8, 0), ("a.invalid", 7, int(socket.AF_INET)),
             ("b.invalid", 7, 0)]  # fmt: skip
    threads = [
        threading.Thread(target=deadline.limited, args=(LONG, look_up, *args)) for args in asked
    ]
    for thread in threads:
        thread.start()
    while len(resolver.asked) < len(asked):
        pass
    resolver.may_answer.set()
    for thread in threads:
        thread.join()
    assert sorted(args[:3] for args in resolver.asked) == sorted(asked)
