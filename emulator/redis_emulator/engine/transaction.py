"""EXEC: runs the commands that MULTI has queued."""

from __future__ import annotations

from redis_emulator.clients.client import Blocked
from redis_emulator.clients.session import Engine, Session
from redis_emulator.resp.types import InterleavedReplies, RedisError, Reply
from redis_emulator.table.entry import Entry

Queue = list[tuple[Entry, list[bytes]]]


def run_queue(engine: Engine, session: Session, queue: Queue) -> Reply:
    """Run the commands of a transaction. Returns their replies and errors in order.

    On a TCP connection, push messages that the transaction causes for its own client appear among
    the replies of EXEC: before Redis 7 directly after the command that caused them, since then
    after the whole transaction.
    """
    could_not_block, session.deny_blocking = session.deny_blocking, True
    session.executing = queue
    pushes_follow_command = engine.server.version.before(7)
    replies: list[Reply] = []
    if session.interleaves_messages:
        session.exec_replies = replies
    try:
        for entry, argv in queue:
            try:
                if session.limited:
                    _check_access(engine, session, entry, argv)
                reply = engine.call(session, entry, argv)
            except RedisError as error:
                reply = error
            replies.append(reply.on_timeout if type(reply) is Blocked else reply)
            if pushes_follow_command and session.pending_pushes:
                pushes, session.pending_pushes = session.pending_pushes, []
                for message in pushes:
                    session.deliver(message)
    finally:
        session.exec_replies = None
        session.deny_blocking = could_not_block
        session.executing = None
    return replies if len(replies) == len(queue) else InterleavedReplies(replies)


def _check_access(engine: Engine, session: Session, entry: Entry, argv: list[bytes]) -> None:
    """Check ACL again, because rules may have changed since the command was queued.

    Raises:
        RedisError: The user may no longer run the command.
    """
    refusal = engine.clients.access.refuse_queued(session, entry, argv)
    if refusal is not None:
        raise RedisError(refusal)
