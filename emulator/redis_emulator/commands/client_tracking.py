"""CLIENT TRACKING and CLIENT CACHING, which control server-assisted client-side caching.

`redis_emulator.clients.tracking` records which keys clients have read and sends the invalidations.
"""

from __future__ import annotations

from redis_emulator.clients.client import TrackingMode
from redis_emulator.clients.session import Session
from redis_emulator.clients.tracking import Tracker
from redis_emulator.commands.helpers.arguments import parse_integer, syntax_error
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import OK, RedisError, Reply, quote

_MODE_SWITCHED = (
    "ERR You can't switch {} mode{} before disabling tracking for this client, and then "
    "re-enabling it with a different mode."
)
_NOT_TRACKING = (
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or "
    "OPTOUT mode enabled"
)


@command("client|tracking")
def client_tracking(ctx: Session, argv: list[bytes]) -> Reply:
    requested, prefixes = _parse_options(ctx, argv)
    switch = argv[2].lower()
    if switch == b"off":
        if ctx.clients.tracker is not None:
            ctx.clients.tracker.disable(ctx)
            ctx.engine.refresh()
        return OK
    if switch != b"on":
        raise syntax_error()
    mode = ctx.tracking
    _check_options(requested, mode, prefixes)
    mode = mode or requested
    mode.redirect, mode.broken, mode.noloop = requested.redirect, False, requested.noloop
    mode.broadcast, mode.optin, mode.optout = requested.broadcast, requested.optin, requested.optout
    if ctx.clients.tracker is None:
        ctx.clients.tracker = Tracker(ctx.server, ctx.clients)
    ctx.clients.tracker.enable(ctx, mode, prefixes or [b""])
    ctx.engine.refresh()
    return OK


def _parse_options(ctx: Session, argv: list[bytes]) -> tuple[TrackingMode, list[bytes]]:
    requested = TrackingMode()
    prefixes: list[bytes] = []
    index = 3
    while index < len(argv):
        option, has_argument = argv[index].lower(), index + 1 < len(argv)
        if option == b"redirect" and has_argument:
            index += 1
            if requested.redirect:
                raise RedisError("ERR A client can only redirect to a single other client")
            requested.redirect = parse_integer(argv[index])
            if requested.redirect not in ctx.clients.by_id:
                raise RedisError("ERR The client ID you want redirect to does not exist")
        elif option == b"prefix" and has_argument:
            index += 1
            prefixes.append(argv[index])
        elif option == b"bcast":
            requested.broadcast = True
        elif option in (b"optin", b"optout", b"noloop"):
            setattr(requested, option.decode(), True)
        else:
            raise syntax_error()
        index += 1
    return requested, prefixes


def _check_options(
    requested: TrackingMode, current: TrackingMode | None, prefixes: list[bytes]
) -> None:
    if prefixes and not requested.broadcast:
        raise RedisError("ERR PREFIX option requires BCAST mode to be enabled")
    if current is not None and current.broadcast is not requested.broadcast:
        raise RedisError(_MODE_SWITCHED.format("BCAST", " on/off"))
    if requested.broadcast and (requested.optin or requested.optout):
        raise RedisError("ERR OPTIN and OPTOUT are not compatible with BCAST")
    if requested.optin and requested.optout:
        raise RedisError("ERR You can't specify both OPTIN mode and OPTOUT mode")
    if current is not None and (
        (requested.optin and current.optout) or (requested.optout and current.optin)
    ):
        raise RedisError(_MODE_SWITCHED.format("OPTIN/OPTOUT", ""))
    for index, prefix in enumerate(prefixes):
        for other in sorted(current.prefixes) if current is not None else ():
            _check_overlap(prefix, other, "an existing")
        for other in prefixes[index + 1 :]:
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
