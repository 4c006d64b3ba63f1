"""Expiry on access, for the cases without active expiry.

Usually the engine expires due keys before each command. With DEBUG SET-ACTIVE-EXPIRE 0, during
CLIENT PAUSE and on a replica it does not; then `expire_or_hide_due` runs before each command.
"""

from __future__ import annotations

from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.table.entry import Entry
from redis_emulator.table.keyspec import keys

_ITERATES_KEYS: Final = frozenset({"keys", "randomkey", "scan"})
"""Commands that access keys which are not among their arguments."""


def expire_or_hide_due(
    session: Session, entry: Entry, argv: list[bytes], *, hides: bool
) -> dict[bytes, object]:
    """Expire or hide the due keys that a command is about to access. EXEC fails if a watched key
    is due.

    Args:
        session: The client.
        entry: The command.
        argv: Its arguments.
        hides: Whether to hide keys instead of deleting them, because writes are paused or the
            master must delete them.

    Returns:
        The hidden values by key. The caller restores them after the command.
    """
    db, now = session.db, session.db.context.now
    if entry.name == "exec":
        databases = session.server.databases
        session.dirty |= any(
            databases[index].expires.get(key, now + 1) <= now for index, key in session.watched
        )
        return {}
    if entry.name in _ITERATES_KEYS:
        accessed = [] if session.clients.pause and entry.name == "randomkey" else list(db.expires)
    else:
        accessed = [argv[key.position] for key in keys(entry.spec, argv)]
    if hides or entry.name == "keys":
        return db.hide([key for key in accessed if db.expires.get(key, now + 1) <= now])
    for key in accessed:
        db.expire_due(key, now)
    return {}
