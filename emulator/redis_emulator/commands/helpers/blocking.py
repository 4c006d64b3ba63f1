"""The part that the blocking commands on lists and sorted sets share."""

from __future__ import annotations

from collections.abc import Callable

from redis_emulator.clients.client import Blocked
from redis_emulator.clients.session import Session
from redis_emulator.resp.types import NULL_ARRAY, Reply


def pop_or_block(
    ctx: Session,
    kind: bytes,
    keys: list[bytes],
    deadline: int | None,
    attempt: Callable[[list[bytes]], Reply | None],
) -> Reply:
    """Return the reply of ``attempt``, or block the client until one of ``keys`` has an element.

    When a key of type ``kind`` gets an element, an unblocked client tries all its keys in order, as
    if it had just sent the command. Redis before 7.2 tries only the key that unblocked it.
    """
    found = attempt(keys)
    if found is not None:
        return found
    retries_all = ctx.server.version.retries_blocked

    def retry(key: bytes) -> Reply | None:
        return attempt(keys if retries_all else [key])

    return Blocked(ctx, keys, deadline, retry, NULL_ARRAY, kind=kind)
