"""Logs, counts and OpenTelemetry of operations. What is told is decided here; when, by executors.

The logger is ``podlink``, silent until the application configures logging. A finished operation is
one ``DEBUG`` record, or a ``WARNING`` if it was slow; a failed one is a ``WARNING``, or ``DEBUG``
when the failure is an answer (no link, link exists, bad argument). Each record has the attributes
``operation``, ``namespace``, ``service``, ``uid``, ``pod``, ``duration`` (seconds) and ``code`` (an
error code, ``None`` for success).
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

_ANSWERS: Final = frozenset(
    {
        ErrorCode.INVALID_PARAMETER,
        ErrorCode.NOT_FOUND,
        ErrorCode.POD_NOT_FOUND,
        ErrorCode.SERVICE_NOT_FOUND,
        ErrorCode.LINK_EXISTS,
    }
)


_instruments: Any = None


def watch(manager: Any) -> None:
    """Have a new manager's connections counted, if OpenTelemetry has been set up by now."""
    global _instruments
    try:
        from podlink import otel
    except ModuleNotFoundError:
        return  # the extra is not installed
    if otel.is_set_up():
        if _instruments is None:
            _instruments = otel.Instruments()
        otel.watch(manager)


def done(call: Call[Any] | BatchCall[Any], started: float, slow: float) -> None:
    """Tell of a finished operation that began at ``started`` (`time.perf_counter`).

    Args:
        slow: how many seconds make it slow.
    """
    ended = perf_counter()
    seconds = ended - started
    if _instruments is not None:
        _instruments.operation(call.operation, seconds, None, call, ended)
    if seconds >= slow:
        fields = _fields(call.operation, call, started, None)
        LOGGER.warning("%s was slow: %.3f s", call.operation, seconds, extra=fields)
    elif LOGGER.isEnabledFor(DEBUG):
        fields = _fields(call.operation, call, started, None)
        LOGGER.debug("%s done", call.operation, extra=fields)


def sent_again(call: Call[Any], error: BaseException) -> None:
    """Count a retry."""
    if _instruments is not None:
        cause = error.cause if isinstance(error, NotSent) else error
        _instruments.retry(call.operation, type(cause).__name__)


def reloaded(call: Call[Any], count: int = 1) -> None:
    """Count calls whose script a server did not know."""
    if _instruments is not None and count:
        _instruments.reload(call.operation, count)


def drained(result: DrainProgress) -> None:
    """Count what a drain did."""
    if _instruments is not None:
        _instruments.drained("done", result.done)
        _instruments.drained("changed", result.changed)
        _instruments.drained("failed", result.failed)


def repaired(operation: str, repairs: Sequence[Repair]) -> None:
    """Tell what a repair did, with the values that are gone."""
    for repair in repairs:
        LOGGER.warning("%s: %s", operation, repair, extra={"operation": operation})


def failure(
    operation: str,
    call: Call[Any] | BatchCall[Any] | None,
    started: float,
    raised: Exception,
    metrics: ErrorMetrics,
) -> StatefulError:
    """Make our error of what was raised, count it, and make one record of it.

    ``call`` is ``None`` when its arguments were refused.
    """
    script = isinstance(call, BatchCall) or (call is not None and call.script is not None)
    write = call is not None and call.write
    doing = _doing(operation, call)
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
        _instruments.operation(operation, ended - started, error.code.value, call, ended)
    level = DEBUG if error.code in _ANSWERS else logging.WARNING
    if LOGGER.isEnabledFor(level):
        fields = _fields(operation, call, started, error.code.value)
        LOGGER.log(level, "%s failed: %s", operation, error, extra=fields)
    return error


def _printable(name: str | None) -> str | None:
    return None if name is None else printable(name)


def _doing(operation: str, call: Call[Any] | BatchCall[Any] | None) -> str:
    """The operation and its first key, for messages."""
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
