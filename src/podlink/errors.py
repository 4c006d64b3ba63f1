"""The errors of podlink, one class per code, and how the errors of redis-py become ours.

No decision whether something is tried again is made here.

Servers word the errors of scripts differently. Up to 6.2 the error of a command inside a script is
wrapped (``ERR Error running script (call to f_<sha>): @user_script:3: WRONGTYPE Operation against
…``, or with ``-OOM`` after a second prefix); from 7.0 on the inner error comes first and the place
follows (``WRONGTYPE Operation against … script: <sha>, on @user_script:3.``; Valkey 9 leaves the
sha out). `translate` looks through both, so that a script that met a key of the wrong type is a
`RedisOperationError` on every server, and only a script that could not be compiled, or failed by
itself, is a `LuaScriptError`.

A server that answers but is not ready (``LOADING``, ``BUSY``, ``MASTERDOWN``, ``CLUSTERDOWN``) has
refused the command: `RedisOperationError`. One that has no room for another client, or that does
not accept the password, gave no connection: `RedisConnectionError`.
"""

from __future__ import annotations

import copy
import re
import threading
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from enum import Enum

import redis.exceptions as redis_errors

from podlink import forks
from podlink.deadline import TimeUp


class ErrorCode(str, Enum):
    """The code of a `StatefulError`, the same in every language that uses this layout."""

    INVALID_PARAMETER = "INVALID_PARAMETER"
    NOT_FOUND = "NOT_FOUND"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    TIMEOUT = "TIMEOUT"
    REDIS_CONNECTION_ERROR = "REDIS_CONNECTION_ERROR"
    REDIS_OPERATION_ERROR = "REDIS_OPERATION_ERROR"
    LUA_SCRIPT_ERROR = "LUA_SCRIPT_ERROR"
    POD_NOT_FOUND = "POD_NOT_FOUND"
    SERVICE_NOT_FOUND = "SERVICE_NOT_FOUND"
    LINK_EXISTS = "LINK_EXISTS"

    def __str__(self) -> str:
        return self.value


def printable(text: str) -> str:
    """The text with every character that does not print as itself replaced by its escape.

    These are control characters, line breaks and the characters that change the direction of text:
    in a log or on a terminal, they could pass for something else.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


class StatefulError(Exception):
    """Any error of podlink. Its text is ``CODE: message (caused by: …)``.

    Attributes:
        code: what kind of error it is.
        message: what went wrong, and what to do about it.
        cause: the exception beneath, also as ``__cause__``; ``None`` when there is none.
        outcome_unknown: whether a write may have been done all the same, or may yet be.
        undone: of a batch, the uids (or services) for which nothing is known to have been done, in
            the order given; for all others it was done.
    """

    code: ErrorCode = ErrorCode.INTERNAL_ERROR
    outcome_unknown: bool = False
    undone: tuple[str, ...] = ()

    def __init__(self, message: str, cause: BaseException | None = None) -> None:
        message = printable(message)
        super().__init__(message, cause)
        self.message = message
        self.cause = cause
        self.__cause__ = cause

    def __str__(self) -> str:
        text = f"{self.code.value}: {self.message}"
        if self.cause is None:
            return text
        return f"{text} (caused by: {type(self.cause).__name__}: {printable(str(self.cause))})"


class InvalidParameterError(StatefulError, ValueError):
    """An argument is outside its limits. Nothing was sent."""

    code = ErrorCode.INVALID_PARAMETER


class NotFoundError(StatefulError, LookupError):
    """A named script or object does not exist."""

    code = ErrorCode.NOT_FOUND


class InternalError(StatefulError):
    """A reply or a stored value that the contract rules out."""

    code = ErrorCode.INTERNAL_ERROR


class OperationTimeoutError(StatefulError, TimeoutError):
    """The deadline or socket timeout passed. The outcome on the server is unknown."""

    code = ErrorCode.TIMEOUT


class RedisConnectionError(StatefulError, ConnectionError):
    """No connection, or it broke, after retries; or the server did not accept the credentials."""

    code = ErrorCode.REDIS_CONNECTION_ERROR


class RedisOperationError(StatefulError):
    """The server refused the command: WRONGTYPE, READONLY, OOM, NOPERM, CROSSSLOT …"""

    code = ErrorCode.REDIS_OPERATION_ERROR


class LuaScriptError(StatefulError):
    """A script failed to compile or to run."""

    code = ErrorCode.LUA_SCRIPT_ERROR


class PodNotFoundError(StatefulError, LookupError):
    """``require_linked_pod`` found no link."""

    code = ErrorCode.POD_NOT_FOUND


class ServiceNotFoundError(StatefulError, LookupError):
    """``require_service_state`` found no pod of the service."""

    code = ErrorCode.SERVICE_NOT_FOUND


class LinkExistsError(StatefulError):
    """``create_linked_pod`` found the uid linked already.

    Attributes:
        pod_id: the pod the uid is linked to.
    """

    code = ErrorCode.LINK_EXISTS

    def __init__(self, message: str, pod_id: int) -> None:
        super().__init__(message)
        self.pod_id = pod_id

    def __reduce__(self) -> tuple[type[LinkExistsError], tuple[str, int]]:
        return type(self), (self.message, self.pod_id)


class NotSent(Exception):
    """Raised inside podlink when a call could not be sent, so that it cannot have been executed.

    `translate` makes the public error of its cause, and never says that the outcome is unknown.

    Attributes:
        cause: what prevented it.
    """

    def __init__(self, cause: BaseException) -> None:
        super().__init__(cause)
        self.cause = cause
        self.__cause__ = cause


def as_connection_error(error: Exception) -> Exception:
    """The exception to handle for one that was raised while a redis-py connection was used.

    redis-py closes a connection without regard to other threads and tasks that use it. In these it
    raises `AttributeError` (its socket is ``None``) or `ValueError` (its file is closed).

    Returns:
        A `redis.ConnectionError` for these two, otherwise ``error``.
    """
    if not isinstance(error, (AttributeError, ValueError)):
        return error
    if isinstance(error, (redis_errors.RedisError, UnicodeError)):
        return error
    broken = redis_errors.ConnectionError(f"the connection was closed while in use: {error}")
    broken.__cause__ = error
    return broken


_SERVER_CODES = frozenset(
    "ASK BUSY BUSYKEY CLUSTERDOWN CROSSSLOT EXECABORT LOADING MASTERDOWN MISCONF MOVED "
    "NOMASTERLINK NOPERM NOREPLICAS OOM READONLY TRYAGAIN UNKILLABLE WRONGTYPE".split()
)
_ACL_IN_SCRIPT = ("The user executing the script can't", "ACL failure in script")
_WRAPPED = re.compile(
    r"Error running script \(call to f_\w+\): @[^:]+:\d+: (?:@user_script: \d+: )?-?"
)
_PLACE = re.compile(r" script: (?:\w+, )?on @\w+:-?\d+\.?$")
_CODE = re.compile(r"([A-Z][A-Z0-9_]{2,})(?: |$)")


def translate(error: BaseException, doing: str, *, script: bool, write: bool) -> StatefulError:
    """The podlink error of an exception of redis-py, a socket or asyncio.

    Args:
        error: what was caught. A `StatefulError` is returned as it is.
        doing: the operation and its subject, for the message.
        script: whether a script was being run.
        write: whether it could have changed something.
    """
    if isinstance(error, StatefulError):
        return error
    sent = not isinstance(error, (NotSent, TimeUp))
    if isinstance(error, NotSent):
        error, write = error.cause, False
        if isinstance(error, StatefulError):
            return error
    if _is_timeout(error):
        if not sent or is_connect_failure(error):
            return OperationTimeoutError(f"{doing} was not sent in time; nothing was done", error)
        if not write:
            return OperationTimeoutError(f"{doing} got no answer in time", error)
        return _unknown(
            OperationTimeoutError(
                f"{doing} got no answer in time; the outcome is unknown: the server may have done "
                "it or may yet do it",
                error,
            )
        )
    if isinstance(error, (redis_errors.AuthenticationError, redis_errors.AuthorizationError)):
        return RedisConnectionError(f"{doing}: the server did not accept the credentials", error)
    if isinstance(error, redis_errors.AuthenticationWrongNumberOfArgsError):
        return RedisConnectionError(f"{doing}: the server did not accept the credentials", error)
    if isinstance(error, redis_errors.BusyLoadingError):
        return RedisOperationError(f"{doing}: the server is loading its data", error)
    if isinstance(error, redis_errors.ClusterDownError):
        return RedisOperationError(f"{doing} was refused by the server", error)
    if isinstance(
        error,
        (
            redis_errors.ConnectionError,
            redis_errors.ClusterError,
            redis_errors.RedisClusterException,
            OSError,
        ),
    ):
        if "CROSSSLOT" in str(error) or "same key slot" in str(error):
            return RedisOperationError(f"{doing} was refused: keys of several slots", error)
        cause = error.__cause__
        for refusal in (cause, cause and cause.__context__):
            # redis-py replaces a refused CLUSTER SLOTS: "Cluster mode is not enabled on this node".
            if isinstance(refusal, redis_errors.NoPermissionError):
                return _translate_reply(refusal, doing, script)
        message = f"{doing}: no connection to the server, or it broke"
        return _broken(message, error, write and not is_connect_failure(error))
    if isinstance(error, redis_errors.DataError):
        return InvalidParameterError(f"{doing}: an argument cannot be sent to Redis", error)
    if isinstance(error, redis_errors.ResponseError):
        return _translate_reply(error, doing, script)
    if isinstance(error, RuntimeError) and _OTHER_LOOP.search(str(error)):
        message = (
            f"{doing}: the connection belongs to another event loop: make the client or executor "
            "in the event loop that uses it"
        )
        return _broken(message, error, write)
    unforeseen = InternalError(f"{doing} failed in a way that was not foreseen", error)
    return _unknown(unforeseen) if write else unforeseen


def no_primary(node: str) -> RedisConnectionError:
    """The error of a call to a node of a cluster that is a primary no more."""
    return RedisConnectionError(
        f"node {node} is no primary of the cluster any more, because of a failover or because its "
        "slots have moved: start again"
    )


def _broken(message: str, error: BaseException, unknown: bool) -> StatefulError:
    if not unknown:
        return RedisConnectionError(message, error)
    message += "; the outcome is unknown: if the command was sent, it may have been done"
    return _unknown(RedisConnectionError(message, error))


def _unknown(error: StatefulError) -> StatefulError:
    error.outcome_unknown = True
    return error


def is_connect_failure(error: BaseException) -> bool:
    """Whether there was no connection, so that no server can have executed the command.

    redis-py has no class for this; its texts are "Error 111 connecting to host:port. …" and
    "Timeout connecting to server". A pool without a free connection, Sentinels that name no master,
    and a cluster client that finds no node have sent nothing either. A master that turned into a
    replica, a server with too many clients, and nodes that all redirect have refused the command.
    """
    if isinstance(error, NotSent):
        return True
    if isinstance(
        error,
        (
            redis_errors.ConnectionError,
            redis_errors.TimeoutError,
            redis_errors.ClusterError,
            redis_errors.RedisClusterException,
        ),
    ):
        return isinstance(error, redis_errors.SlotNotCoveredError) or any(
            part in str(error) for part in _NOT_SENT
        )
    return isinstance(error, ConnectionRefusedError)


_NOT_SENT = (
    "connecting to",
    "No connection available",
    "No master found",
    "previous master is now a slave",
    "Too many connections",
    "max number of clients",
    "Cluster cannot be connected",
    "TTL exhausted",
)
_OTHER_LOOP = re.compile("(?i)event loop|different loop")


def _is_timeout(error: BaseException) -> bool:
    # asyncio.TimeoutError and socket.timeout are TimeoutError from 3.11 and 3.10 on.
    return isinstance(error, (redis_errors.TimeoutError, TimeoutError)) or (
        type(error).__name__ == "TimeoutError"
    )


def _translate_reply(error: Exception, doing: str, script: bool) -> StatefulError:
    text = str(error)
    if text.startswith("MALFORMED "):
        return InternalError(f"{doing}: {text[10:]} does not hold a decimal pod id", error)
    if text.startswith(("NOAUTH", "WRONGPASS")):
        return RedisConnectionError(f"{doing}: the server did not accept the credentials", error)
    if script and _failed_by_itself(error, text):
        return LuaScriptError(f"{doing}: the script failed", error)
    return RedisOperationError(f"{doing} was refused by the server", error)


def _failed_by_itself(error: Exception, text: str) -> bool:
    """Whether a script failed, rather than a command in it being refused by the server."""
    if isinstance(error, redis_errors.NoScriptError):
        return True
    if type(error) is not redis_errors.ResponseError:
        return False
    inner, wrapped = _WRAPPED.subn("", text, count=1)
    code = _CODE.match(inner)
    if (code and code[1] in _SERVER_CODES) or inner.startswith(_ACL_IN_SCRIPT):
        return False
    in_script = bool(wrapped or _PLACE.search(text)) or text.startswith("Error compiling script")
    return in_script or code is not None


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """How often a code was raised, when (this process's clock, UTC), and what came last."""

    count: int
    first_at: datetime
    last_at: datetime
    last_error: StatefulError


class ErrorMetrics:
    """Counts of the errors that an executor raised, per code. Threads may share one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[ErrorCode, ErrorCount] = {}
        forks.renew(self)

    def _after_fork(self) -> None:
        """Replace the lock in a child process."""
        self._lock = threading.Lock()

    def record(self, error: StatefulError) -> None:
        """Count one error."""
        now = datetime.now(timezone.utc)
        # A copy has no traceback, which would keep the caller's frames alive.
        kept = copy.copy(error)
        with self._lock:
            known = self._counts.get(error.code)
            self._counts[error.code] = (
                ErrorCount(1, now, now, kept)
                if known is None
                else replace(known, count=known.count + 1, last_at=now, last_error=kept)
            )

    def get(self, code: ErrorCode) -> ErrorCount | None:
        """The count of one code, ``None`` when it was never raised."""
        with self._lock:
            return self._counts.get(code)

    def snapshot(self) -> dict[ErrorCode, ErrorCount]:
        """All counts, as they are now."""
        with self._lock:
            return dict(self._counts)

    @property
    def total(self) -> int:
        """How many errors there were in all."""
        with self._lock:
            return sum(entry.count for entry in self._counts.values())

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            self._counts.clear()
