"""DNS look-ups with a timeout.

``socket.getaddrinfo`` has no timeout and cannot be interrupted. If the resolver does not answer, it
blocks for as long as the C library waits. Therefore a look-up with a deadline runs in a daemon
thread, and the caller waits until the deadline. Concurrent look-ups of the same address share one
thread, so that an unresponsive resolver does not cause many threads.
"""

from __future__ import annotations

import copy
import ipaddress
import socket
import threading
from concurrent import futures
from typing import Any, TypeAlias

from podlink import deadline, forks

Addresses: TypeAlias = list[tuple[Any, Any, int, str, Any]]

_pending: dict[tuple[str, int, int], futures.Future[Addresses]] = {}


def look_up(host: str, port: int, family: int = 0) -> Addresses:
    """Call ``socket.getaddrinfo`` for TCP, within the deadline of the operation.

    Raises:
        deadline.TimeUp: the deadline passed.
        OSError: the look-up failed, for example because the name does not exist.
    """
    if deadline.left() is None or _is_address(host):
        return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    key = (host, port, int(family))
    answer = _pending.get(key)
    if answer is None:
        answer = futures.Future()
        threading.Thread(
            target=_run, args=(key, answer), name="podlink-look-up", daemon=True
        ).start()
    try:
        error = answer.exception(timeout=deadline.limit_wait(None))
    except futures.TimeoutError:
        raise deadline.TimeUp(f"the DNS look-up of {host} took too long") from None
    if error is not None:
        # A copy, because several callers may raise it, each with its own traceback.
        raise copy.copy(error)
    return answer.result()


def _run(key: tuple[str, int, int], answer: futures.Future[Addresses]) -> None:
    # Not in the caller, where a KeyboardInterrupt could come between registration and start.
    _pending[key] = answer
    host, port, family = key
    try:
        answer.set_result(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
    except BaseException as error:
        answer.set_exception(error)
    finally:
        if _pending.get(key) is answer:
            del _pending[key]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


# The look-up threads do not exist in a child process.
forks.in_child(_pending.clear)
