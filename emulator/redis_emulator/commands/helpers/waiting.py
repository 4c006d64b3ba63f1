"""What the commands share that take from a list or sorted set as soon as there is something."""

from __future__ import annotations

from collections.abc import Callable

from redis_emulator.clients.client import Blocked
from redis_emulator.clients.session import Session
from redis_emulator.resp.types import NULL_ARRAY, Reply


def now_or_later(
    ctx: Session,
    kind: bytes,
    keys: list[bytes],
    deadline: int | None,
    attempt: Callable[[list[bytes]], Reply | None],
) -> Reply:
    """What ``attempt`` takes from ``keys``, or a place in the queue for values of type ``kind``.

    A client that is woken tries as if it had just come, all its keys in order; servers before 7.2
    looked at nothing but the key that it was woken for.
    """
    found = attempt(keys)
    if found is not None:
        return found
    again = ctx.server.version.retries_blocked

    def retry(key: bytes) -> Reply | None:
        return attempt(keys if again else [key])

    return Blocked(ctx, keys, deadline, retry, NULL_ARRAY, kind=kind)
