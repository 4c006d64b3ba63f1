"""The exceptions of podlink, one class per error code, and the translation of others to them.

The rules of retries do not belong here; see `podlink.calls`.

The text of an error inside a script depends on the server. Up to Redis 6.2 the error is wrapped
(``ERR Error running script (call to f_<sha>): @user_script:3: WRONGTYPE Operation against …``, or
with ``-OOM`` after a second prefix). From 7.0 on the error comes first, and the line follows
(``WRONGTYPE Operation against … script: <sha>, on @user_script:3.``; Valkey 9 has no SHA1).
`translate` parses both. On every server a script that finds a key of the wrong type raises
`RedisOperationError`. `LuaScriptError` means that a script did not compile, or failed itself.

If the server is not ready (``LOADING``, ``BUSY``, ``MASTERDOWN``, ``CLUSTERDOWN``), it has refused
the command: `RedisOperationError`. If it has reached ``maxclients`` or rejects the credentials,
there is no connection: `RedisConnectionError`.
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
    """The code of a `StatefulError`. The codes are the same in the Go and Java libraries."""

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
    """Replace each non-printable character of a text by its escape sequence.

    Control characters, line breaks and bidirectional formatting characters could falsify a log or a
    terminal.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


class StatefulError(Exception):
    """The base class of all errors of podlink. Its text is ``CODE: message (caused by: …)``.

    Attributes:
        code: the error code.
        message: what is wrong, and what to do.
        cause: the original exception, also ``__cause__``; ``None`` if there is none.
        outcome_unknown: whether the server may have executed a write, or may still execute it.
        undone: for a batch, the uids or services whose calls failed, in the order given. The calls
            of the others were executed.
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
    """A reply or a stored value is malformed."""

    code = ErrorCode.INTERNAL_ERROR


class OperationTimeoutError(StatefulError, TimeoutError):
    """The deadline or socket timeout passed. The outcome on the server is unknown."""

    code = ErrorCode.TIMEOUT


class RedisConnectionError(StatefulError, ConnectionError):
    """There is no connection, or it broke, after retries; or the credentials were rejected."""

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
    """A call was not sent, so the server cannot have executed it. Used inside podlink.

    `translate` translates the cause, without ``outcome_unknown``.

    Attributes:
        cause: the exception that prevented sending.
    """

    def __init__(self, cause: BaseException) -> None:
        super().__init__(cause)
        self.cause = cause
        self.__cause__ = cause


def as_connection_error(error: Exception) -> Exception:
    """Return a `redis.ConnectionError` for an exception that means that a connection was closed.

    When redis-py closes a connection that another thread or task uses, that use raises
    `AttributeError` (the socket is ``None``) or `ValueError` (the file is closed). Other exceptions
    are returned as they are.
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
    """Translate an exception of redis-py, a socket or asyncio to a `StatefulError`.

    Args:
        error: the exception. A `StatefulError` is returned as it is.
        doing: the operation and its key, for the message.
        script: whether the call runs a script.
        write: whether the call may change data. If it may have been executed, the error has
            ``outcome_unknown``.
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
            return OperationTimeoutError(f"{doing} got no reply in time", error)
        return _mark_outcome_unknown(
            OperationTimeoutError(
                f"{doing} got no reply in time; the outcome is unknown: the server may have "
                "executed it or may still execute it",
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
        return _connection_error(message, error, write and not is_connect_failure(error))
    if isinstance(error, redis_errors.DataError):
        return InvalidParameterError(f"{doing}: an argument cannot be sent to Redis", error)
    if isinstance(error, redis_errors.ResponseError):
        return _translate_reply(error, doing, script)
    if isinstance(error, RuntimeError) and _OTHER_LOOP.search(str(error)):
        message = (
            f"{doing}: the connection belongs to another event loop: make the client or executor "
            "in the event loop that uses it"
        )
        return _connection_error(message, error, write)
    unexpected = InternalError(f"{doing} failed with an unexpected exception", error)
    return _mark_outcome_unknown(unexpected) if write else unexpected


def no_primary(node: str) -> RedisConnectionError:
    """Return the error of a call to a node of a cluster that is no longer a primary."""
    return RedisConnectionError(
        f"node {node} is no longer a primary of the cluster, because of a failover or because its "
        "slots have moved: start again"
    )


def _connection_error(message: str, error: BaseException, unknown: bool) -> StatefulError:
    if not unknown:
        return RedisConnectionError(message, error)
    message += "; the outcome is unknown: the server may have executed the command"
    return _mark_outcome_unknown(RedisConnectionError(message, error))


def _mark_outcome_unknown(error: StatefulError) -> StatefulError:
    error.outcome_unknown = True
    return error


def is_connect_failure(error: BaseException) -> bool:
    """Return whether an exception means that no server has executed the command.

    redis-py has no class for this, so the text is compared: "Error 111 connecting to host:port. …"
    and "Timeout connecting to server". Nothing was sent either if no connection of the pool was
    free, if the Sentinels name no master, or if the cluster client found no node. The command was
    refused if the master has become a replica, if the server has too many clients, or if all nodes
    redirect.
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
    if script and _is_script_failure(error, text):
        return LuaScriptError(f"{doing}: the script failed", error)
    return RedisOperationError(f"{doing} was refused by the server", error)


def _is_script_failure(error: Exception, text: str) -> bool:
    """Return whether a script failed itself, rather than the server refusing a command in it."""
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
    """How often an error code was raised, when first and last (UTC), and the last error."""

    count: int
    first_at: datetime
    last_at: datetime
    last_error: StatefulError


class ErrorMetrics:
    """Counts the errors of an executor by code. Threads may share one."""

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
        # A copy, because the traceback would keep the caller's frames in memory.
        kept = copy.copy(error)
        with self._lock:
            known = self._counts.get(error.code)
            self._counts[error.code] = (
                ErrorCount(1, now, now, kept)
                if known is None
                else replace(known, count=known.count + 1, last_at=now, last_error=kept)
            )

    def get(self, code: ErrorCode) -> ErrorCount | None:
        """Return the count of one code, or ``None`` if it was never raised."""
        with self._lock:
            return self._counts.get(code)

    def snapshot(self) -> dict[ErrorCode, ErrorCount]:
        """Return a copy of all counts."""
        with self._lock:
            return dict(self._counts)

    @property
    def total(self) -> int:
        """The number of all errors."""
        with self._lock:
            return sum(entry.count for entry in self._counts.values())

    def reset(self) -> None:
        """Set all counts to 0."""
        with self._lock:
            self._counts.clear()
