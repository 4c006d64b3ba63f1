"""The blocking list commands: BLPOP, BRPOP, BLMPOP, BLMOVE and BRPOPLPUSH."""

from __future__ import annotations

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.blocking import pop_or_block
from redis_emulator.commands.helpers.timeout import parse_timeout
from redis_emulator.commands.list import (
    move_element,
    parse_mpop,
    parse_side,
    pop_first,
    pop_one,
    writable_list,
)
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import Reply


@command("blpop")
def blpop(ctx: Session, argv: list[bytes]) -> Reply:
    return _blocking_pop(ctx, argv, left=True)


@command("brpop")
def brpop(ctx: Session, argv: list[bytes]) -> Reply:
    return _blocking_pop(ctx, argv, left=False)


def _blocking_pop(ctx: Session, argv: list[bytes], *, left: bool) -> Reply:
    deadline = parse_timeout(ctx, argv[-1])

    def attempt(keys: list[bytes]) -> Reply | None:
        for key in keys:
            value = writable_list(ctx, key)
            if value is not None:
                return [key, pop_one(ctx, key, value, left=left)]
        return None

    return pop_or_block(ctx, b"list", argv[1:-1], deadline, attempt)


@command("blmpop")
def blmpop(ctx: Session, argv: list[bytes]) -> Reply:
    keys, left, count = parse_mpop(argv, 2)
    deadline = parse_timeout(ctx, argv[1])

    def attempt(keys: list[bytes]) -> Reply | None:
        return pop_first(ctx, keys, count, left=left)

    return pop_or_block(ctx, b"list", keys, deadline, attempt)


@command("blmove")
def blmove(ctx: Session, argv: list[bytes]) -> Reply:
    from_left, to_left = parse_side(argv[3]), parse_side(argv[4])
    return _blocking_move(ctx, argv, from_left=from_left, to_left=to_left)


@command("brpoplpush")
def brpoplpush(ctx: Session, argv: list[bytes]) -> Reply:
    return _blocking_move(ctx, argv, from_left=False, to_left=True)


def _blocking_move(ctx: Session, argv: list[bytes], *, from_left: bool, to_left: bool) -> Reply:
    deadline = parse_timeout(ctx, argv[-1])

    def attempt(keys: list[bytes]) -> Reply | None:
        return move_element(ctx, keys[0], argv[2], from_left=from_left, to_left=to_left)

    if not ctx.can_block:
        return attempt(argv[1:2])
    return pop_or_block(ctx, b"list", argv[1:2], deadline, attempt)
