"""Name look-ups with a time limit.

``socket.getaddrinfo`` takes no timeout and cannot be interrupted: with a resolver that does not
answer it blocks for as long as the C library likes. So a look-up with a limit runs in a daemon
thread, and the caller waits for it no longer than it may. Callers who ask for the same address at
the same time share one look-up, so that a resolver that hangs does not collect threads.
"""

from __future__ import annotations

import copy
import ipaddress
import socket
import threading
from concurrent import futures
from typing import Any

from podlink import deadline, forks

Addresses = list[tuple[Any, Any, int, str, Any]]

_pending: dict[tuple[str, int, int], futures.Future[Addresses]] = {}


def look_up(host: str, port: int, family: int = 0) -> Addresses:
    """As ``socket.getaddrinfo`` for TCP, within the time of the operation.

    Raises:
        deadline.TimeUp: there is no answer in time.
        OSError: the name is not known, or the look-up failed.
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
        raise deadline.TimeUp(f"the name look-up of {host} took too long") from None
    if error is not None:
        # Several callers may raise it, each with a traceback of its own.
        raise copy.copy(error)
    return answer.result()


def _run(key: tuple[str, int, int], answer: futures.Future[Addresses]) -> None:
    # Registered here rather than by the caller, whom a KeyboardInterrupt may stop in between.
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


# The threads that would answer do not exist in a child.
forks.in_child(_pending.clear)
