"""Which calls are sent again after which error."""

from __future__ import annotations

from typing import Any

import pytest
import redis.exceptions as redis_errors
from redis.sentinel import MasterNotFoundError

from podlink import operations
from podlink.calls import (
    BatchCall,
    BatchFailure,
    Call,
    RetryPolicy,
    as_text,
    next_attempt,
    pack_command,
    run_script,
    script_load,
)
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
def test_writes_are_repeated_only_if_not_executed(
    error: Exception, write: bool, read: bool
) -> None:
    assert (next_attempt(WRITE, WRITE.wire, error, 0, POLICY) is not None) == write
    assert (next_attempt(READ, READ.wire, error, 0, POLICY) is not None) == read


def test_number_of_retries_is_limited() -> None:
    assert next_attempt(WRITE, WRITE.wire, REFUSED, 1, POLICY) is not None
    assert next_attempt(WRITE, WRITE.wire, REFUSED, 2, POLICY) is None
    assert next_attempt(WRITE, WRITE.wire, REFUSED, 0, RetryPolicy(0, 0, 0)) is None


def test_retry_delay_grows_up_to_the_maximum() -> None:
    for attempt, longest in enumerate([0.1, 0.2, 0.3, 0.3]):
        assert longest / 2 <= POLICY.delay(attempt) <= longest


def test_noscript_sends_the_source_without_delay() -> None:
    step = next_attempt(WRITE, WRITE.wire, NOSCRIPT, 0, RetryPolicy(0, 0, 0))
    assert step is not None
    assert step.wire == ("EVAL", SET_LINKED_POD.source, *WRITE.wire[2:])
    assert step.delay == 0


def test_noscript_sends_the_source_at_any_attempt() -> None:
    for attempt in range(9):
        step = next_attempt(WRITE, WRITE.wire, NOSCRIPT, attempt, RetryPolicy(0, 0, 0))
        assert step == (WRITE.wire_with_source, 0.0)


def test_call_sent_with_source_is_repeated_with_source() -> None:
    moved = redis_errors.MovedError("54 127.0.0.1:7001")
    for error in (moved, REFUSED, LOADING):
        step = next_attempt(WRITE, WRITE.wire_with_source, error, 1, POLICY)
        assert step is not None
        assert step.wire == WRITE.wire_with_source


def test_noscript_in_reply_to_the_source_is_not_repeated() -> None:
    assert next_attempt(WRITE, WRITE.wire_with_source, NOSCRIPT, 0, POLICY) is None
    assert next_attempt(READ, READ.wire, NOSCRIPT, 0, POLICY) is None


def test_repeated_call_has_the_same_arguments() -> None:
    step = next_attempt(READ, READ.wire, BROKE, 1, POLICY)
    assert step is not None
    assert step.wire == READ.wire
    assert 0.1 <= step.delay <= 0.2
    moved = redis_errors.MovedError("54 127.0.0.1:7001")
    assert next_attempt(WRITE, WRITE.wire, moved, 0, POLICY) == (WRITE.wire, 0.0)


def test_redirections_beyond_two_count_as_retries() -> None:
    moved = redis_errors.AskError("54 127.0.0.1:7001")
    never = RetryPolicy(0, 0.0, 0.0)
    assert [next_attempt(WRITE, WRITE.wire, moved, n, never) is not None for n in range(4)] == [
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
def test_authentication_errors_are_not_repeated(error: Exception) -> None:
    for each in (error, NotSent(error)):
        assert next_attempt(READ, READ.wire, each, 0, POLICY) is None


BATCH = operations.batch_set_linked_pod_if_absent("n", ["a", "b", "c"], "s", 4, -1, False)


def test_attributes_of_calls_and_batches() -> None:
    assert repr(READ) == f"<Call get_linked_pod {READ.keys!r}>"
    for call in (WRITE, BATCH):
        assert (call.namespace, call.service_name, call.write) == ("n", "s", True)
    assert (WRITE.uid, WRITE.pod_id) == ("u", 1)
    assert (BATCH.operation, BATCH.names, BATCH.uid, BATCH.pod_id) == (
        "batch_set_linked_pod_if_absent", ["a", "b", "c"], None, 4,
    )  # fmt: skip
    assert not READ.write
    assert not Call("o", ("PING",), (), lambda call, reply: reply).write


def batch(size: int, names: str) -> BatchCall[list[str]]:
    """Return a batch whose calls have ``size`` names each; a reply is a string with a character per
    name.
    """
    calls = [
        Call[list[str]]("o", ("GET",), (b"k",), lambda call, reply: list(reply))
        for _ in range(0, len(names), size)
    ]
    return BatchCall("o", calls, tuple(names), size, lambda values: values, "n")


def test_batch_result_has_the_results_in_order() -> None:
    assert batch(2, "abcde").result(["AB", "CD", "E"]) == [*"ABCDE"]
    assert batch(1, "ab").result(["A", "B"]) == [*"AB"]
    assert batch(2, "").result([]) == []


@pytest.mark.parametrize(
    ("replies", "failed", "undone"),
    [
        ([BROKE, "CD", "E"], [BROKE], "ab"), (["AB", BROKE, "E"], [BROKE], "cd"),
        (["AB", "CD", BROKE], [BROKE], "e"), ([BROKE, "CD", TIMEOUT], [BROKE, TIMEOUT], "abe"),
    ],
)  # fmt: skip
def test_batch_failure_names_the_uids_that_are_undone(
    replies: list[Any], failed: list[Exception], undone: str
) -> None:
    with pytest.raises(BatchFailure) as caught:
        batch(2, "abcde").result(replies)
    assert caught.value.errors == failed
    assert (caught.value.undone, caught.value.total) == (tuple(undone), 5)
    assert caught.value.args == (failed, tuple(undone), 5)


def test_malformed_reply_fails_only_its_call() -> None:
    with pytest.raises(BatchFailure) as caught:
        batch(2, "abcd").result([5, "CD"])
    assert [type(error) for error in caught.value.errors] == [TypeError]
    assert caught.value.undone == ("a", "b")


def test_encoding_of_commands() -> None:
    assert pack_command(("GET", b"k\xff", "ü", 0, 12, -1)) == (
        b"*6\r\n$3\r\nGET\r\n$2\r\nk\xff\r\n$2\r\n\xc3\xbc\r\n$1\r\n0\r\n$2\r\n12\r\n$2\r\n-1\r\n"
    )
    assert run_script(SET_LINKED_POD, [b"k", b"l"], ["a", 1]) == (
        "EVALSHA", SET_LINKED_POD.sha, 2, b"k", b"l", "a", 1,
    )  # fmt: skip
    assert script_load(SET_LINKED_POD) == ("SCRIPT", "LOAD", SET_LINKED_POD.source)
    assert [as_text(reply) for reply in (b"\xc3\xbc", "ü", 5)] == ["ü", "ü", "5"]


@pytest.mark.parametrize("error", [
    redis_errors.RedisClusterException("x"), redis_errors.ConnectionError("x"), OSError("x"),
    redis_errors.TimeoutError("x"),
], ids=type)  # fmt: skip
def test_call_without_connection_is_repeated(error: Exception) -> None:
    assert next_attempt(WRITE, WRITE.wire, NotSent(error), 0, POLICY) is not None


@pytest.mark.parametrize("error", [
    redis_errors.BusyLoadingError("x"), redis_errors.ReadOnlyError("x"),
    redis_errors.ClusterDownError("x"), redis_errors.MasterDownError("x"),
    redis_errors.TryAgainError("x"), redis_errors.SlotNotCoveredError("x"),
], ids=type)  # fmt: skip
def test_call_to_a_server_that_is_not_ready_is_repeated(error: Exception) -> None:
    assert next_attempt(WRITE, WRITE.wire, error, 0, POLICY) is not None
