"""Logging, error counts and OpenTelemetry metrics of operations.

The executors call the functions of this module when an operation succeeds or fails. The logger is
``podlink``, without output until the application configures logging. An operation that succeeds is
logged at ``DEBUG``, or at ``WARNING`` if it was slow. An operation that fails is logged at
``WARNING``, or at ``DEBUG`` if the error is an expected result (no link, link exists, invalid
argument). Each record has the attributes ``operation``, ``namespace``, ``service``, ``uid``,
``pod``, ``duration`` (seconds) and ``code`` (an error code, ``None`` after success).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import perf_counter
from typing import Any, Final

from podlink.calls import BatchCall, BatchFailure, Call
from podlink.drain import DrainProgress
from podlink.errors import (
    ErrorCode,
    ErrorMetrics,
    NotSent,
    StatefulError,
    printable,
    translate,
)
from podlink.keys import shown_key
from podlink.models import Repair

DEBUG: Final = logging.DEBUG
LOGGER: Final = logging.getLogger("podlink")
LOGGER.addHandler(logging.NullHandler())

_EXPECTED_ERRORS: Final = frozenset(
    {
        ErrorCode.INVALID_PARAMETER,
        ErrorCode.NOT_FOUND,
        ErrorCode.POD_NOT_FOUND,
        ErrorCode.SERVICE_NOT_FOUND,
        ErrorCode.LINK_EXISTS,
    }
)


_instruments: Any = None


def observe_pool(manager: Any) -> None:
    """Report the connections of a new manager, if the OpenTelemetry SDK has been set up."""
    global _instruments
    try:
        from podlink import otel
    except ModuleNotFoundError:
        return  # the extra "otel" is not installed
    if otel.is_set_up():
        if _instruments is None:
            _instruments = otel.Instruments()
        otel.observe_pool(manager)


def record_success(call: Call[Any] | BatchCall[Any], started: float, slow: float) -> None:
    """Log and count an operation that succeeded.

    Args:
        started: when it began (`time.perf_counter`).
        slow: the seconds from which on an operation is logged as slow.
    """
    ended = perf_counter()
    seconds = ended - started
    if _instruments is not None:
        _instruments.record_operation(call.operation, seconds, None, call, ended)
    if seconds >= slow:
        fields = _fields(call.operation, call, started, None)
        LOGGER.warning("%s was slow: %.3f s", call.operation, seconds, extra=fields)
    elif LOGGER.isEnabledFor(DEBUG):
        fields = _fields(call.operation, call, started, None)
        LOGGER.debug("%s done", call.operation, extra=fields)


def record_retry(call: Call[Any], error: BaseException) -> None:
    """Count a retry."""
    if _instruments is not None:
        cause = error.cause if isinstance(error, NotSent) else error
        _instruments.record_retry(call.operation, type(cause).__name__)


def record_script_reloads(call: Call[Any], count: int = 1) -> None:
    """Count calls that got NOSCRIPT, so that the source was sent."""
    if _instruments is not None and count:
        _instruments.record_script_reloads(call.operation, count)


def record_drain(result: DrainProgress) -> None:
    """Count the links that a drain removed or moved, and those that it could not change."""
    if _instruments is not None:
        _instruments.record_drain("done", result.done)
        _instruments.record_drain("changed", result.changed)
        _instruments.record_drain("failed", result.failed)


def log_repairs(operation: str, repairs: Sequence[Repair]) -> None:
    """Log each repair as a warning, with the value that was deleted."""
    for repair in repairs:
        LOGGER.warning("%s: %s", operation, repair, extra={"operation": operation})


def record_failure(
    operation: str,
    call: Call[Any] | BatchCall[Any] | None,
    started: float,
    raised: Exception,
    metrics: ErrorMetrics,
) -> StatefulError:
    """Translate an exception to a `StatefulError`, count it and log it.

    Args:
        call: the call that failed; ``None`` if its arguments were invalid.
        started: when the operation began (`time.perf_counter`).
        raised: the exception.
        metrics: counts the error.

    Returns:
        The error to raise; ``raised`` itself if it is a `StatefulError`.
    """
    script = isinstance(call, BatchCall) or (call is not None and call.script is not None)
    write = call is not None and call.write
    doing = _describe(operation, call)
    if isinstance(raised, BatchFailure):
        errors = [translate(each, doing, script=script, write=write) for each in raised.errors]
        error = errors[0]
        error.undone = raised.undone
        error.outcome_unknown = any(each.outcome_unknown for each in errors)
        if len(raised.undone) < raised.total:
            error.message += f" ({len(raised.undone)} of {raised.total} are undone, see .undone)"
    else:
        error = translate(raised, doing, script=script, write=write)
    metrics.record(error)
    if _instruments is not None:
        ended = perf_counter()
        _instruments.record_operation(operation, ended - started, error.code.value, call, ended)
    level = DEBUG if error.code in _EXPECTED_ERRORS else logging.WARNING
    if LOGGER.isEnabledFor(level):
        fields = _fields(operation, call, started, error.code.value)
        LOGGER.log(level, "%s failed: %s", operation, error, extra=fields)
    return error


def _printable(name: str | None) -> str | None:
    return None if name is None else printable(name)


def _describe(operation: str, call: Call[Any] | BatchCall[Any] | None) -> str:
    """Return the operation and its first key, for messages."""
    return f"{operation} at {shown_key(call.keys[0])}" if isinstance(call, Call) else operation


def _fields(
    operation: str, call: Call[Any] | BatchCall[Any] | None, started: float, code: str | None
) -> dict[str, Any]:
    return {
        "operation": operation,
        "namespace": None if call is None else _printable(call.namespace),
        "service": None if call is None else _printable(call.service_name),
        "uid": None if call is None else _printable(call.uid),
        "pod": None if call is None else call.pod_id,
        "duration": perf_counter() - started,
        "code": code,
    }
