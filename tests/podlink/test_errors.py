"""Errors: texts, built-in base classes, and the translation of redis-py's errors.

The server texts below are those of Redis 6.2.5, 7.0.15, 8.2.3 and Valkey 9.1.2 (as redis-py passes
them on, without ``ERR``). ``test_failures.py`` uses the servers themselves.
"""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading

import pytest
import redis.exceptions as redis_errors

import podlink
from podlink import ErrorCode, ErrorMetrics, StatefulError, errors, operations, telemetry
from podlink.calls import BatchFailure

CLASSES = {
    ErrorCode.INVALID_PARAMETER: (podlink.InvalidParameterError, ValueError),
    ErrorCode.NOT_FOUND: (podlink.NotFoundError, LookupError),
    ErrorCode.INTERNAL_ERROR: (podlink.InternalError, Exception),
    ErrorCode.TIMEOUT: (podlink.OperationTimeoutError, TimeoutError),
    ErrorCode.REDIS_CONNECTION_ERROR: (podlink.RedisConnectionError, ConnectionError),
    ErrorCode.REDIS_OPERATION_ERROR: (podlink.RedisOperationError, Exception),
    ErrorCode.LUA_SCRIPT_ERROR: (podlink.LuaScriptError, Exception),
    ErrorCode.POD_NOT_FOUND: (podlink.PodNotFoundError, LookupError),
    ErrorCode.SERVICE_NOT_FOUND: (podlink.ServiceNotFoundError, LookupError),
    ErrorCode.LINK_EXISTS: (podlink.LinkExistsError, Exception),
}


def test_every_code_has_its_class() -> None:
    assert set(CLASSES) == set(ErrorCode)
    for code, (cls, builtin) in CLASSES.items():
        assert issubclass(cls, StatefulError)
        assert issubclass(cls, builtin)
        assert cls.code is code
        assert code == code.value == str(code)


def test_error_text_contains_code_and_cause() -> None:
    cause = OSError("wire cut")
    error = podlink.RedisConnectionError("no connection", cause)
    assert str(error) == "REDIS_CONNECTION_ERROR: no connection (caused by: OSError: wire cut)"
    assert error.__cause__ is error.cause is cause
    assert str(podlink.PodNotFoundError("no link")) == "POD_NOT_FOUND: no link"


@pytest.mark.parametrize(
    "error", [podlink.InternalError("odd", ValueError("x")), podlink.LinkExistsError("linked", 5)]
)
def test_errors_survive_copy_and_pickle(error: StatefulError) -> None:
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
    assert getattr(copy.copy(error), "pod_id", 5) == 5


F = "Error running script (call to f_fd758d1589d044dd850a6f05d52f2eefd27f033f): @user_script:3: "
AT = " script: fd758d1589d044dd850a6f05d52f2eefd27f033f, on @user_script:3."
AT9 = " script: on @user_script:3."
WRONGTYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
ACL6 = "The user executing the script can't run this command or subcommand"
ACL7 = "ACL failure in script: User bob has no permissions to run the 'del' command"


@pytest.mark.parametrize(
    "text",
    [
        WRONGTYPE, F + WRONGTYPE, WRONGTYPE + AT, WRONGTYPE + AT9,
        F + "@user_script: 3: -OOM command not allowed when used memory > 'maxmemory'.",
        F + "@user_script: 3: -READONLY You can't write against a read only replica.",
        F + "@user_script: 3: " + ACL6, ACL6 + AT, ACL7 + AT, ACL7 + AT9,
        "NOREPLICAS Not enough good replicas to write." + AT,
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "MISCONF Redis is configured to save RDB snapshots, but …",
        "DB index is out of range", "unknown command 'EVALSHA', with args beginning with: ",
    ],
)  # fmt: skip
def test_server_error_is_an_operation_error(text: str) -> None:
    error = errors.translate(redis_errors.ResponseError(text), "x", script=True, write=True)
    assert type(error) is podlink.RedisOperationError


@pytest.mark.parametrize(
    "text",
    [
        F + "user_script:3: attempt to index local 'x' (a nil value)",
        "user_script:3: attempt to index local 'x' (a nil value)" + AT,
        "user_script:3: attempt to index local 'x' (a nil value)" + AT9,
        F + "@user_script: 3: Unknown Redis command called from Lua script",
        "Unknown Redis command called from script" + AT,
        F + "ERR invalid expire time in set", "invalid expire time in 'set' command" + AT,
        "Error compiling script (new function): user_script:1: unexpected symbol near 'return'",
        "MYERROR said the script",
    ],
)  # fmt: skip
def test_script_error_is_a_lua_script_error(text: str) -> None:
    error = errors.translate(redis_errors.ResponseError(text), "x", script=True, write=True)
    assert type(error) is podlink.LuaScriptError
    # The same text from a command outside a script is an error of the operation.
    error = errors.translate(redis_errors.ResponseError(text), "x", script=False, write=True)
    assert type(error) is podlink.RedisOperationError


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (redis_errors.ReadOnlyError("You can't write"), podlink.RedisOperationError),
        (redis_errors.OutOfMemoryError("command not allowed" + AT), podlink.RedisOperationError),
        (redis_errors.NoPermissionError("No permissions"), podlink.RedisOperationError),
        (redis_errors.BusyLoadingError("Redis is loading"), podlink.RedisOperationError),
        (redis_errors.MasterDownError("Link with MASTER is down"), podlink.RedisOperationError),
        (redis_errors.ClusterCrossSlotError("Keys don't hash"), podlink.RedisOperationError),
        (redis_errors.TryAgainError("Multiple keys request"), podlink.RedisOperationError),
        (redis_errors.RedisClusterException("all keys must map to the same key slot"),
         podlink.RedisOperationError),
        (redis_errors.NoScriptError("No matching script."), podlink.LuaScriptError),
        (redis_errors.ResponseError("MALFORMED sf:{n:lk:u}s"), podlink.InternalError),
        (redis_errors.InvalidResponse("Protocol Error: b'x'"), podlink.InternalError),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), podlink.InternalError),
        (redis_errors.DataError("Invalid input"), podlink.InvalidParameterError),
        (redis_errors.AuthenticationError("invalid password"), podlink.RedisConnectionError),
        (redis_errors.AuthenticationWrongNumberOfArgsError("x"), podlink.RedisConnectionError),
        (redis_errors.ResponseError("NOAUTH Authentication required."),
         podlink.RedisConnectionError),
        (redis_errors.ConnectionError("max number of clients reached"),
         podlink.RedisConnectionError),
        (redis_errors.RedisClusterException("Redis Cluster cannot be connected."),
         podlink.RedisConnectionError),
        (ConnectionResetError(104, "reset"), podlink.RedisConnectionError),
        (redis_errors.TimeoutError("Timeout reading from socket"), podlink.OperationTimeoutError),
        (TimeoutError("timed out"), podlink.OperationTimeoutError),
        (asyncio.TimeoutError(), podlink.OperationTimeoutError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)  # fmt: skip
def test_exceptions_are_translated_to_error_classes(
    raised: Exception, expected: type[StatefulError]
) -> None:
    error = errors.translate(raised, "set_linked_pod at k", script=True, write=True)
    assert type(error) is expected
    assert error.cause is raised
    assert "set_linked_pod at k" in error.message


def test_timeout_has_unknown_outcome_for_a_write_only() -> None:
    timeout = redis_errors.TimeoutError("Timeout reading from socket")
    assert "outcome is unknown" in str(errors.translate(timeout, "x", script=True, write=True))
    assert "outcome" not in str(errors.translate(timeout, "x", script=False, write=False))


@pytest.mark.parametrize(
    "raised",
    [
        redis_errors.TimeoutError("Timeout connecting to server"),
        redis_errors.ConnectionError("Error 111 connecting to h:1. Connection refused."),
        redis_errors.ConnectionError("No connection available."),
        redis_errors.ConnectionError("max number of clients reached"),
        redis_errors.MaxConnectionsError("Too many connections"),
        redis_errors.SlotNotCoveredError('Slot "1" is not covered by the cluster.'),
        redis_errors.RedisClusterException("Redis Cluster cannot be connected. …"),
        redis_errors.ClusterError("TTL exhausted."),
        redis_errors.ResponseError("WRONGTYPE …"),
        errors.NotSent(redis_errors.TimeoutError("anything")),
        errors.NotSent(redis_errors.ConnectionError("anything")),
        errors.NotSent(ValueError("anything")),
    ],
    ids=repr,
)
def test_outcome_is_known_if_nothing_was_executed(raised: Exception) -> None:
    error = errors.translate(raised, "x", script=True, write=True)
    assert not error.outcome_unknown
    assert "outcome" not in str(error)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (redis_errors.ConnectionError("Connection closed by server."), "REDIS_CONNECTION_ERROR"),
        (ConnectionResetError(104, "reset"), "REDIS_CONNECTION_ERROR"),
        (RuntimeError("Event loop is closed"), "REDIS_CONNECTION_ERROR"),
        (RuntimeError("Task got Future attached to a different loop"), "REDIS_CONNECTION_ERROR"),
        (redis_errors.TimeoutError("Timeout reading from socket"), "TIMEOUT"),
        (redis_errors.InvalidResponse("Protocol Error: b'x'"), "INTERNAL_ERROR"),
        (RuntimeError("unforeseen"), "INTERNAL_ERROR"),
    ],
    ids=repr,
)
def test_outcome_is_unknown_if_a_write_may_have_been_executed(
    raised: Exception, expected: str
) -> None:
    for write in (True, False):
        error = errors.translate(raised, "x", script=True, write=write)
        assert (error.code.value, error.outcome_unknown) == (expected, write)


def test_cause_of_an_unsent_call_is_the_original_error() -> None:
    cause = redis_errors.ConnectionError("refused")
    error = errors.translate(errors.NotSent(cause), "x", script=True, write=True)
    assert type(error) is podlink.RedisConnectionError
    assert error.cause is cause


def test_stateful_error_is_not_translated() -> None:
    ours = podlink.InternalError("odd")
    assert errors.translate(ours, "x", script=False, write=False) is ours


def test_metrics_count_per_code() -> None:
    metrics = ErrorMetrics()
    first, second = podlink.InternalError("one"), podlink.InternalError("two")
    metrics.record(first)
    metrics.record(second)
    metrics.record(podlink.PodNotFoundError("none"))
    entry = metrics.get(ErrorCode.INTERNAL_ERROR)
    assert entry is not None
    assert entry.count == 2
    assert entry.first_at <= entry.last_at
    assert entry.first_at.tzinfo is not None
    assert str(entry.last_error) == str(second)
    assert metrics.total == 3
    assert set(metrics.snapshot()) == {ErrorCode.INTERNAL_ERROR, ErrorCode.POD_NOT_FOUND}
    assert metrics.get(ErrorCode.TIMEOUT) is None
    metrics.reset()
    assert metrics.snapshot() == {}


def test_metrics_hold_no_traceback() -> None:
    metrics = ErrorMetrics()
    try:
        raise podlink.InternalError("odd")
    except podlink.InternalError as error:
        metrics.record(error)
    entry = metrics.get(ErrorCode.INTERNAL_ERROR)
    assert entry is not None
    assert entry.last_error.__traceback__ is None


def test_metrics_from_several_threads() -> None:
    metrics = ErrorMetrics()

    def record() -> None:
        for _ in range(500):
            metrics.record(podlink.InternalError("x"))

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.total == 2000


@pytest.mark.parametrize("broken", [0, 1])
def test_batch_has_unknown_outcome_if_one_call_has(broken: int) -> None:
    """This holds whichever of the errors of a batch comes first."""
    raised: list[Exception] = [redis_errors.OutOfMemoryError("command not allowed")] * 2
    raised[broken] = redis_errors.ConnectionError("Connection closed by server.")
    batch = operations.batch_remove_linked_pod("n", ["a", "b", "c"], "s", -1)
    metrics = errors.ErrorMetrics()
    failure = BatchFailure(raised, ("a", "b"), 3)
    error = telemetry.record_failure("batch_remove_linked_pod", batch, 0.0, failure, metrics)
    assert error.outcome_unknown
    assert error.undone == ("a", "b")
    assert "(2 of 3 are undone, see .undone)" in error.message
    assert error.cause is raised[0]
    assert [metrics.get(error.code) is not None, metrics.total] == [True, 1]
    failure = BatchFailure([raised[1 - broken]] * 3, ("a", "b", "c"), 3)
    error = telemetry.record_failure("batch_remove_linked_pod", batch, 0.0, failure, metrics)
    assert not error.outcome_unknown
    assert "undone" not in error.message
