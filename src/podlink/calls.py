"""A call: one command as it goes to the server, and what is known about sending it again.

All of this is data and pure functions; the two executors do the sending. A script goes by its SHA1.
If the server does not know it (a restart, a failover, SCRIPT FLUSH), the same call goes again with
the source, as EVAL: one message that loads and runs it on the very node that was asked, with no
moment in between for another flush.

When is a call sent again after a connection error?

- A connection that could not be made carried nothing, and a server that is not ready (LOADING,
  READONLY, MASTERDOWN, CLUSTERDOWN, TRYAGAIN) did nothing: any call may go again. A script meets
  READONLY at its first write, before it has changed anything.
- A connection that broke while a call was under way leaves its outcome unknown. A read goes again;
  a write does not, because the second reply of, say, ``remove_linked_pod`` would deny what the
  first attempt did.
- After a timeout nothing goes again: the caller's time is up, and the outcome is unknown. Nor when
  no connection of the pool was free in time: the call has waited already.

This holds for the connections that podlink makes. A client that is handed in keeps its own policy
of retries beneath (``redis.Redis`` repeats by default also after a timeout), and podlink adds none.
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
"""The option that makes redis-py return bytes, whatever ``decode_responses`` the client has."""


class Call(Generic[T]):
    """One command, whom it is about, and how its reply is read. Never changed once it is made.

    Attributes:
        operation: the public name, for messages and logs.
        wire: the command as `execute_command` takes it.
        keys: the keys in it.
        script: the script it runs, if any.
        write: whether it may change something.
        parse: makes the result from this call and the reply.
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
        """The same call for a server that does not know the script."""
        assert self.script is not None
        return ("EVAL", self.script.source, *self.wire[2:])


class BatchFailure(Exception):
    """Some calls of a batch failed.

    Attributes:
        errors: what they failed with, in the order of the calls.
        undone: the names that these calls were about.
        total: how many names the batch was about.
    """

    def __init__(self, errors: list[Exception], undone: tuple[str, ...], total: int) -> None:
        self.errors = errors
        self.undone = undone
        self.total = total


class BatchCall(Generic[T]):
    """Several calls whose results make one.

    Attributes:
        calls: each results in a list, of one value for each of its names.
        names: the uids or services that the batch is about, in the order of the calls.
        names_per_call: how many of them each call is about; the last may be about fewer.
        parse: makes the result of the batch from the values, in the order of ``names``.
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
        """Whether it may change something."""
        return any(call.write for call in self.calls)

    def result(self, replies: Sequence[Reply]) -> T:
        """The result, from the replies of the calls; a failed call has its exception for one.

        Raises:
            BatchFailure: some calls failed; the others have been done.
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
    """How often a call is sent again, and how long is waited before: exponential, with jitter.

    ``backoff`` and ``cap`` are seconds.
    """

    retries: int
    backoff: float
    cap: float

    def delay(self, attempt: int) -> float:
        """Seconds to wait before the attempt after ``attempt`` (counted from 0)."""
        return float(EqualJitterBackoff(self.cap, self.backoff).compute(attempt))


class Again(NamedTuple):
    """What to send next, and after how many seconds."""

    wire: tuple[Any, ...]
    delay: float


def again(
    call: Call[Any], wire: tuple[Any, ...], error: BaseException, attempt: int, policy: RetryPolicy
) -> Again | None:
    """What to do after a failed attempt; ``None`` means that the error stands.

    Args:
        call: the call.
        wire: the command that was sent for it. Once it has the source of a script, it keeps it.
        error: what the attempt failed with.
        attempt: how many attempts there were before.
        policy: how often a call may be sent again. A script that the server does not know goes
            again whatever it says: with the source, so this happens once.
    """
    if isinstance(error, redis_errors.NoScriptError) and call.script is not None:
        return Again(call.wire_with_source, 0.0) if wire == call.wire else None
    if isinstance(error, redis_errors.AskError) and attempt < 2:
        return Again(wire, 0.0)  # MOVED and ASK: the client knows the way now
    if attempt < policy.retries and _may_repeat(call, error):
        return Again(wire, policy.delay(attempt))
    return None


NOT_FINAL: Final = (redis_errors.NoScriptError, redis_errors.AskError)
"""Replies after which a call, which the server has not executed, goes again at once."""


def _may_repeat(call: Call[Any], error: BaseException) -> bool:
    if isinstance(error, NotSent):
        if _POOL_EXHAUSTED in str(error.cause):
            return False
        return isinstance(error.cause, _NO_CONNECTION) and not isinstance(error.cause, _CREDENTIALS)
    if isinstance(error, _CREDENTIALS):
        return False
    if is_connect_failure(error) or isinstance(error, _NOT_READY):
        return True
    return not call.write and isinstance(error, redis_errors.ConnectionError)


_POOL_EXHAUSTED: Final = "No connection available"
"""The text of a pool whose connections were all in use for ``pool_timeout`` seconds."""

_CREDENTIALS: Final = (
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
    """The command that runs a script by its SHA1."""
    return ("EVALSHA", script.sha, len(keys), *keys, *args)


def packed(wire: Sequence[Any]) -> bytes:
    """A command as it goes over a connection, in a third of the time that redis-py takes.

    Its parts are what `podlink.operations` makes: bytes, strings and integers.
    """
    parts = [b"*%d\r\n" % len(wire)]
    for part in wire:
        if type(part) is bytes:
            parts.append(b"$%d\r\n%b\r\n" % (len(part), part))
        else:
            parts.append(_packed_part(part))
    return b"".join(parts)


@lru_cache(maxsize=4096)
def _packed_part(part: str | int) -> bytes:
    """Names of commands, hashes of scripts and pods: a program has few of them."""
    data = part.encode() if isinstance(part, str) else b"%d" % part
    return b"$%d\r\n%b\r\n" % (len(data), data)


def script_load(script: Script) -> tuple[str, str, str]:
    """The command that loads a script."""
    return ("SCRIPT", "LOAD", script.source)


def as_text(reply: Reply) -> str:
    """A reply that is text, from a client that decodes or one that does not."""
    return reply.decode() if isinstance(reply, bytes) else str(reply)
