"""CLIENT TRACKING and CLIENT CACHING: turning client-side caching on and off. What follows from it
is in `redis_emulator.clients.tracking`."""

from __future__ import annotations

from redis_emulator.clients.client import TrackingMode
from redis_emulator.clients.session import Session
from redis_emulator.clients.tracking import Tracker
from redis_emulator.commands.helpers.arguments import parse_integer, syntax_error
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import OK, RedisError, Reply, quote

_OFTEN_SWITCHED = (
    "ERR You can't switch {} mode{} before disabling tracking for this client, and then "
    "re-enabling it with a different mode."
)
_NOT_TRACKING = (
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or "
    "OPTOUT mode enabled"
)


@command("client|tracking")
def client_tracking(ctx: Session, argv: list[bytes]) -> Reply:
    asked, prefixes = _options(ctx, argv)
    switch = argv[2].lower()
    if switch == b"off":
        if ctx.clients.tracker is not None:
            ctx.clients.tracker.leave(ctx)
            ctx.engine.refresh()
        return OK
    if switch != b"on":
        raise syntax_error()
    mode = ctx.tracking
    _check(asked, mode, prefixes)
    mode = mode or asked
    mode.redirect, mode.broken, mode.noloop = asked.redirect, False, asked.noloop
    mode.broadcast, mode.optin, mode.optout = asked.broadcast, asked.optin, asked.optout
    if ctx.clients.tracker is None:
        ctx.clients.tracker = Tracker(ctx.server, ctx.clients)
    ctx.clients.tracker.enter(ctx, mode, prefixes or [b""])
    ctx.engine.refresh()
    return OK


def _options(ctx: Session, argv: list[bytes]) -> tuple[TrackingMode, list[bytes]]:
    asked = TrackingMode()
    prefixes: list[bytes] = []
    place = 3
    while place < len(argv):
        option, more = argv[place].lower(), place + 1 < len(argv)
        if option == b"redirect" and more:
            place += 1
            if asked.redirect:
                raise RedisError("ERR A client can only redirect to a single other client")
            asked.redirect = parse_integer(argv[place])
            if asked.redirect not in ctx.clients.by_id:
                raise RedisError("ERR The client ID you want redirect to does not exist")
        elif option == b"prefix" and more:
            place += 1
            prefixes.append(argv[place])
        elif option == b"bcast":
            asked.broadcast = True
        elif option in (b"optin", b"optout", b"noloop"):
            setattr(asked, option.decode(), True)
        else:
            raise syntax_error()
        place += 1
    return asked, prefixes


def _check(asked: TrackingMode, now: TrackingMode | None, prefixes: list[bytes]) -> None:
    if prefixes and not asked.broadcast:
        raise RedisError("ERR PREFIX option requires BCAST mode to be enabled")
    if now is not None and now.broadcast is not asked.broadcast:
        raise RedisError(_OFTEN_SWITCHED.format("BCAST", " on/off"))
    if asked.broadcast and (asked.optin or asked.optout):
        raise RedisError("ERR OPTIN and OPTOUT are not compatible with BCAST")
    if asked.optin and asked.optout:
        raise RedisError("ERR You can't specify both OPTIN mode and OPTOUT mode")
    if now is not None and ((asked.optin and now.optout) or (asked.optout and now.optin)):
        raise RedisError(_OFTEN_SWITCHED.format("OPTIN/OPTOUT", ""))
    for place, prefix in enumerate(prefixes):
        for other in sorted(now.prefixes) if now is not None else ():
            _check_overlap(prefix, other, "an existing")
        for other in prefixes[place + 1 :]:
            _check_overlap(prefix, other, "another provided")


def _check_overlap(prefix: bytes, other: bytes, what: str) -> None:
    if prefix.startswith(other) or other.startswith(prefix):
        raise RedisError(
            f"ERR Prefix '{quote(prefix)}' overlaps with {what} prefix '{quote(other)}'. "
            "Prefixes for a single client must not overlap."
        )


@command("client|caching")
def client_caching(ctx: Session, argv: list[bytes]) -> Reply:
    mode = ctx.tracking
    if mode is None:
        raise RedisError(_NOT_TRACKING)
    word = argv[2].lower()
    if word not in (b"yes", b"no"):
        raise syntax_error()
    if not (mode.optin if word == b"yes" else mode.optout):
        name = "OPTIN" if word == b"yes" else "OPTOUT"
        raise RedisError(
            f"ERR CLIENT CACHING {word.decode().upper()} is only valid when tracking is enabled "
            f"in {name} mode."
        )
    mode.caching = True
    return OK
