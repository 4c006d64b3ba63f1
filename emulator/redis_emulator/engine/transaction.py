"""EXEC: running the commands that MULTI has queued."""

from __future__ import annotations

from redis_emulator.clients.client import Blocked
from redis_emulator.clients.session import Engine, Session
from redis_emulator.resp.types import InterleavedReplies, RedisError, Reply
from redis_emulator.table.entry import Entry

Queue = list[tuple[Entry, list[bytes]]]


def run_queue(engine: Engine, session: Session, queue: Queue) -> Reply:
    """Run the commands of a transaction; their replies and errors, in order.

    Messages that the commands cause for the client itself take their place among the replies if
    its transport is a byte stream. Before Redis 7 a message comes right after the command that
    causes it, later after the whole transaction.
    """
    denied, session.deny_blocking = session.deny_blocking, True
    session.executing = queue
    at_once = engine.server.version.before(7)
    replies: list[Reply] = []
    if session.interleaves_messages:
        session.aside = replies
    try:
        for entry, argv in queue:
            try:
                if session.limited:
                    _check_access(engine, session, entry, argv)
                reply = engine.call(session, entry, argv)
            except RedisError as error:
                reply = error
            replies.append(reply.on_timeout if type(reply) is Blocked else reply)
            if at_once and session.pending_pushes:
                late, session.pending_pushes = session.pending_pushes, []
                for message in late:
                    session.deliver(message)
    finally:
        session.aside = None
        session.deny_blocking = denied
        session.executing = None
    return replies if len(replies) == len(queue) else InterleavedReplies(replies)


def _check_access(engine: Engine, session: Session, entry: Entry, argv: list[bytes]) -> None:
    """ACL may have changed since the command was queued.

    Raises:
        RedisError: The user may no longer run the command.
    """
    refusal = engine.clients.access.refuse_queued(session, entry, argv)
    if refusal is not None:
        raise RedisError(refusal)
