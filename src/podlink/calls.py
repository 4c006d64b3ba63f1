"""`Call` and `BatchCall`: commands to send, the parsing of replies, and the rules of retries.

This module has data and pure functions; the managers send the calls. A script is run with EVALSHA.
If the server does not have the script (after a restart, a failover or SCRIPT FLUSH), the same call
is sent with EVAL and the source. This loads and runs the script in one command, so that no SCRIPT
FLUSH can come in between.

A call is retried by these rules:

- If no connection could be established, the server did not receive the call. If the server is not
  ready (LOADING, READONLY, MASTERDOWN, CLUSTERDOWN, TRYAGAIN), it did not execute the call. In both
  cases any call is retried. A script fails with READONLY at its first write, before any change.
- If a connection breaks while a call is in flight, its outcome is unknown. A read is retried. A
  write is not: a second ``remove_linked_pod``, for example, would return ``False`` although the
  first one has removed the link.
- After a timeout nothing is retried: the time of the caller is up. Nothing is retried either if no
  connection of the pool became free in time.

These rules apply to connections that podlink creates. A client that was passed as ``source``
retries as it is configured (``redis.Redis`` by default also after a timeout), and podlink adds no
retries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

import redis.exceptions as redis_errors
from redis.backoff import EqualJitterBackoff
from redis.client import NEVER_DECODE

from podlink.errors import NotSent, is_connect_failure
from podlink.scripts import Script

T = TypeVar("T")

Reply: TypeAlias = Any
"""What redis-py returns for a command: bytes, int, None, or lists and dicts of them."""

RAW: Final[dict[str, Any]] = {NEVER_DECODE: True}
"""The option that makes redis-py return bytes, even if the client has ``decode_responses``."""


class Call(Generic[T]):
    """One command, its subject, and the function that parses its reply. Immutable.

    Attributes:
        operation: the name of the executor's method, for messages and logs.
        wire: the command and its arguments, as `execute_command` takes them.
        keys: the keys in the command.
        script: the script that it runs, or ``None``.
        write: whether it may change data.
        parse: returns the result, given this call and the reply.
    """

    __slots__ = (
        "keys",
        "namespace",
        "operation",
        "parse",
        "pod_id",
        "script",
        "service_name",
        "uid",
        "wire",
        "write",
    )  # fmt: skip

    def __init__(
        self,
        operation: str,
        wire: tuple[Any, ...],
        keys: tuple[bytes, ...],
        parse: Callable[[Call[T], Reply], T],
        script: Script | None = None,
        write: bool = False,
        namespace: str | None = None,
        service_name: str | None = None,
        uid: str | None = None,
        pod_id: int | None = None,
    ) -> None:
        self.operation: Final = operation
        self.wire: Final = wire
        self.keys: Final = keys
        self.parse: Final = parse
        self.script: Final = script
        self.write: Final = write
        self.namespace: Final = namespace
        self.service_name: Final = service_name
        self.uid: Final = uid
        self.pod_id: Final = pod_id

    def __repr__(self) -> str:
        return f"<Call {self.operation} {self.keys!r}>"

    @property
    def wire_with_source(self) -> tuple[Any, ...]:
        """The command with EVAL, for a server that has not loaded the script."""
        assert self.script is not None
        return ("EVAL", self.script.source, *self.wire[2:])


class BatchFailure(Exception):
    """Some calls of a batch failed.

    Attributes:
        errors: their exceptions, in the order of the calls.
        undone: the uids or services of these calls.
        total: the number of uids or services of the whole batch.
    """

    def __init__(self, errors: list[Exception], undone: tuple[str, ...], total: int) -> None:
        self.errors = errors
        self.undone = undone
        self.total = total


class BatchCall(Generic[T]):
    """Several calls that together have one result.

    Attributes:
        calls: the calls; the result of each is a list with one value for each of its names.
        names: the uids or services of the batch, in the order of the calls.
        names_per_call: how many names each call has; the last call may have fewer.
        parse: returns the result of the batch, given the values in the order of ``names``.
    """

    __slots__ = (
        "calls",
        "names",
        "names_per_call",
        "namespace",
        "operation",
        "parse",
        "pod_id",
        "service_name",
        "uid",
    )  # fmt: skip

    def __init__(
        self,
        operation: str,
        calls: Sequence[Call[list[Any]]],
        names: Sequence[str],
        names_per_call: int,
        parse: Callable[[list[Any]], T],
        namespace: str,
        service_name: str | None = None,
        pod_id: int | None = None,
    ) -> None:
        self.operation: Final = operation
        self.calls: Final = calls
        self.names: Final = names
        self.names_per_call: Final = names_per_call
        self.parse: Final = parse
        self.namespace: Final = namespace
        self.service_name: Final = service_name
        self.uid: Final[str | None] = None
        self.pod_id: Final = pod_id

    @property
    def write(self) -> bool:
        """Whether it may change data."""
        return any(call.write for call in self.calls)

    def result(self, replies: Sequence[Reply]) -> T:
        """Parse the replies of the calls; the reply of a failed call is its exception.

        Raises:
            BatchFailure: at least one call failed; the others were executed.
        """
        values: list[Any] = []
        errors: list[Exception] = []
        undone: list[str] = []
        size = self.names_per_call
        for place, (call, reply) in enumerate(zip(self.calls, replies, strict=True)):
            try:
                if isinstance(reply, Exception):
                    raise reply
                values += call.parse(call, reply)
            except Exception as error:
                errors.append(error)
                undone += self.names[place * size : (place + 1) * size]
        if errors:
            raise BatchFailure(errors, tuple(undone), len(self.names))
        return self.parse(values)


class RetryPolicy(NamedTuple):
    """How often a call is retried, with exponential backoff and jitter.

    Attributes:
        retries: the maximum number of retries.
        backoff: seconds before the first retry; doubled for each further one.
        cap: the maximum delay in seconds.
    """

    retries: int
    backoff: float
    cap: float

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait after the failed attempt number ``attempt`` (from 0)."""
        return float(EqualJitterBackoff(self.cap, self.backoff).compute(attempt))


class NextAttempt(NamedTuple):
    """The command to send next, and the seconds to wait before."""

    wire: tuple[Any, ...]
    delay: float


def next_attempt(
    call: Call[Any], wire: tuple[Any, ...], error: BaseException, attempt: int, policy: RetryPolicy
) -> NextAttempt | None:
    """Decide what to send after a failed attempt; ``None`` means that the call has failed.

    Args:
        call: the call.
        wire: the command that was sent. If it was EVAL with the source, the retry is EVAL too.
        error: the exception of the attempt.
        attempt: the number of earlier attempts.
        policy: limits the number of retries. It does not apply to NOSCRIPT, after which the source
            is sent once.
    """
    if isinstance(error, redis_errors.NoScriptError) and call.script is not None:
        return NextAttempt(call.wire_with_source, 0.0) if wire == call.wire else None
    if isinstance(error, redis_errors.AskError) and attempt < 2:
        return NextAttempt(wire, 0.0)  # MOVED or ASK: the client has updated its slots
    if attempt < policy.retries and _is_safe_to_retry(call, error):
        return NextAttempt(wire, policy.delay(attempt))
    return None


RETRIED_AT_ONCE: Final = (redis_errors.NoScriptError, redis_errors.AskError)
"""Replies that mean that the server has not executed the call, after which it is sent again."""


def _is_safe_to_retry(call: Call[Any], error: BaseException) -> bool:
    if isinstance(error, NotSent):
        if _POOL_EXHAUSTED_TEXT in str(error.cause):
            return False
        return isinstance(error.cause, _NO_CONNECTION) and not isinstance(error.cause, _AUTH_ERRORS)
    if isinstance(error, _AUTH_ERRORS):
        return False
    if is_connect_failure(error) or isinstance(error, _NOT_READY):
        return True
    return not call.write and isinstance(error, redis_errors.ConnectionError)


_POOL_EXHAUSTED_TEXT: Final = "No connection available"
"""In the error of a pool whose connections were all in use for ``pool_timeout`` seconds."""

_AUTH_ERRORS: Final = (
    redis_errors.AuthenticationError,
    redis_errors.AuthorizationError,
)
_NO_CONNECTION: Final = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.RedisClusterException,
    OSError,
)
_NOT_READY: Final = (  # ClusterDownError is the base class of MasterDownError
    redis_errors.BusyLoadingError,
    redis_errors.ReadOnlyError,
    redis_errors.ClusterDownError,
    redis_errors.TryAgainError,
)


def run_script(script: Script, keys: Sequence[bytes], args: Sequence[Any]) -> tuple[Any, ...]:
    """Build the EVALSHA command that runs a script."""
    return ("EVALSHA", script.sha, len(keys), *keys, *args)


def pack_command(wire: Sequence[Any]) -> bytes:
    """Encode a command as RESP, in a third of the time that redis-py takes.

    Its parts must be bytes, strings or integers, as `podlink.operations` builds them.
    """
    parts = [b"*%d\r\n" % len(wire)]
    for part in wire:
        if type(part) is bytes:
            parts.append(b"$%d\r\n%b\r\n" % (len(part), part))
        else:
            parts.append(_pack_argument(part))
    return b"".join(parts)


@lru_cache(maxsize=4096)
def _pack_argument(part: str | int) -> bytes:
    """Encode a string or an integer. Cached: a program uses few commands, scripts and pod ids."""
    data = part.encode() if isinstance(part, str) else b"%d" % part
    return b"$%d\r\n%b\r\n" % (len(data), data)


def script_load(script: Script) -> tuple[str, str, str]:
    """Build the SCRIPT LOAD command of a script."""
    return ("SCRIPT", "LOAD", script.source)


def as_text(reply: Reply) -> str:
    """Return a text reply as `str`, whether or not the client has decoded it."""
    return reply.decode() if isinstance(reply, bytes) else str(reply)
