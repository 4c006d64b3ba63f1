"""Keys that are due while none expires by itself: DEBUG SET-ACTIVE-EXPIRE 0, a pause, a replica."""

from __future__ import annotations

from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.table.entry import Entry
from redis_emulator.table.keyspec import keys

_WALKS: Final = frozenset({"keys", "randomkey", "scan"})
"""Commands that meet keys which their arguments do not name."""


def meet_due(
    session: Session, entry: Entry, argv: list[bytes], *, hides: bool
) -> dict[bytes, object]:
    """What a command does to keys that are due while none expires by itself: those it
    accesses expire, or are hidden from it when writes are paused or a master is to delete them.
    EXEC fails if one of them is watched.

    Returns:
        What is hidden from the command, to be shown again afterwards.
    """
    db, now = session.db, session.db.context.now
    if entry.name == "exec":
        databases = session.server.databases
        session.dirty |= any(
            databases[index].expires.get(key, now + 1) <= now for index, key in session.watched
        )
        return {}
    if entry.name in _WALKS:
        met = [] if session.clients.pause and entry.name == "randomkey" else list(db.expires)
    else:
        met = [argv[key.position] for key in keys(entry.spec, argv)]
    if hides or entry.name == "keys":
        return db.hide([key for key in met if db.expires.get(key, now + 1) <= now])
    for key in met:
        db.expire_due(key, now)
    return {}
