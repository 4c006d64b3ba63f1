"""What is sent again after which error."""

from __future__ import annotations

import pytest
import redis.exceptions as redis_errors
from redis.sentinel import MasterNotFoundError

from podlink import operations
from podlink.calls import RetryPolicy, again
from podlink.errors import NotSent
from podlink.scripts import SET_LINKED_POD

POLICY = RetryPolicy(retries=2, backoff=0.1, cap=0.3)
WRITE = operations.set_linked_pod("n", "u", "s", 1, -1, False)
READ = operations.get_linked_pod("n", "u", "s")

REFUSED = redis_errors.ConnectionError("Error 111 connecting to h:1. Connection refused.")
BROKE = redis_errors.ConnectionError("Connection closed by server.")
CONNECT_TIMEOUT = redis_errors.TimeoutError("Timeout connecting to server")
TIMEOUT = redis_errors.TimeoutError("Timeout reading from socket")
LOADING = redis_errors.BusyLoadingError("Redis is loading the dataset in memory")
PASSWORD = redis_errors.AuthenticationError("invalid username-password pair")
NOSCRIPT = redis_errors.NoScriptError("No matching script. Please use EVAL.")


@pytest.mark.parametrize(
    ("error", "write", "read"),
    [
        (REFUSED, True, True), (CONNECT_TIMEOUT, True, True), (LOADING, True, True),
        (redis_errors.ReadOnlyError("You can't write against a read only replica."), True, True),
        (redis_errors.ClusterDownError("The cluster is down"), True, True),
        (redis_errors.TryAgainError("Multiple keys request during rehashing"), True, True),
        (redis_errors.MasterDownError("Link with MASTER is down"), True, True),
        (redis_errors.MovedError("54 127.0.0.1:7001"), True, True),
        (redis_errors.OutOfMemoryError("command not allowed"), False, False),
        (redis_errors.ResponseError("BUSY Redis is busy running a script."), False, False),
        (MasterNotFoundError("No master found for 'm'"), True, True),
        (redis_errors.ConnectionError("The previous master is now a slave"), True, True),
        (redis_errors.ConnectionError("max number of clients reached"), True, True),
        (NotSent(BROKE), True, True), (NotSent(TIMEOUT), True, True),
        (NotSent(ConnectionResetError()), True, True), (NotSent(PASSWORD), False, False),
        (NotSent(ValueError()), False, False),
        (NotSent(redis_errors.ConnectionError("No connection available.")), False, False),
        (BROKE, False, True), (TIMEOUT, False, False), (PASSWORD, False, False),
        (redis_errors.ResponseError("WRONGTYPE …"), False, False), (ValueError(), False, False),
    ],
    ids=str,
)  # fmt: skip
def test_what_may_go_again(error: Exception, write: bool, read: bool) -> None:
    assert (again(WRITE, error, 0, POLICY) is not None) == write
    assert (again(READ, error, 0, POLICY) is not None) == read


def test_retries_run_out() -> None:
    assert again(WRITE, REFUSED, 1, POLICY) is not None
    assert again(WRITE, REFUSED, 2, POLICY) is None
    assert again(WRITE, REFUSED, 0, RetryPolicy(0, 0, 0)) is None


def test_the_pauses_grow_up_to_the_cap() -> None:
    for attempt, longest in enumerate([0.1, 0.2, 0.3, 0.3]):
        assert longest / 2 <= POLICY.delay(attempt) <= longest


def test_an_unknown_script_goes_with_its_source_at_once() -> None:
    step = again(WRITE, NOSCRIPT, 0, RetryPolicy(0, 0, 0))
    assert step is not None
    assert step.wire == ("EVAL", SET_LINKED_POD.source, *WRITE.wire[2:])
    assert step.delay == 0


def test_a_server_that_never_knows_the_script_is_given_up() -> None:
    assert again(WRITE, NOSCRIPT, 1, RetryPolicy(0, 0, 0)) is None
    assert again(WRITE, NOSCRIPT, 3, POLICY) is None
    assert again(READ, NOSCRIPT, 0, POLICY) is None


def test_a_repeated_call_is_the_same_call_after_the_pause() -> None:
    step = again(READ, BROKE, 1, POLICY)
    assert step is not None
    assert step.wire == READ.wire
    assert 0.1 <= step.delay <= 0.2
    moved = redis_errors.MovedError("54 127.0.0.1:7001")
    assert again(WRITE, moved, 0, POLICY) == (WRITE.wire, 0.0)


def test_redirections_are_followed_twice_and_then_as_retries() -> None:
    moved = redis_errors.AskError("54 127.0.0.1:7001")
    never = RetryPolicy(0, 0.0, 0.0)
    assert [again(WRITE, moved, n, never) is not None for n in range(4)] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "error",
    [
        redis_errors.AuthenticationError("x connecting to y"),
        redis_errors.AuthorizationError("x connecting to y"),
        redis_errors.AuthenticationWrongNumberOfArgsError("x connecting to y"),
    ],
    ids=type,
)
def test_wrong_credentials_are_not_sent_again(error: Exception) -> None:
    for each in (error, NotSent(error)):
        assert again(READ, each, 0, POLICY) is None
