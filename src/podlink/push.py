"""What the synchronous and the asyncio tracker share: a connection that receives push messages.

Push messages are part of RESP3. See `podlink.tracking` for their use.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any, Final

from podlink import telemetry
from podlink.errors import printable

PINGS_PER_MAX_SILENCE: Final = 3
"""How many PINGs are sent in ``max_silence`` seconds."""

MIN_RECONNECT_DELAY: Final = 0.05
MAX_RECONNECT_DELAY: Final = 5.0
PING: Final = ("PING",)
PUSH_HANDLED: Final = object()
"""The handler of push messages returns this, which distinguishes them from replies."""

_NOT_COPIED: Final = ("maint_notifications", "oss_cluster_maint", "orig_", "event_dispatcher")


def new_connection(pool: Any, timeout: float, retry: Any) -> Any:
    """Create a RESP3 connection to the server of a pool, outside the pool. Does not connect it.

    Args:
        timeout: seconds that a reply may take.
        retry: a retry object of redis-py for the connection, which must not retry.
    """
    kwargs = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if not name.startswith(_NOT_COPIED)
    }
    kwargs |= {
        "protocol": 3,
        "decode_responses": False,
        "socket_timeout": timeout,
        "health_check_interval": 0,
        "retry": retry,
        **_without_maintenance(kwargs, pool),
    }
    return pool.connection_class(**kwargs)


def is_to_current_master(connection: Any, pool: Any) -> bool:
    """Return whether a connection leads to the present master of a pool with Sentinel.

    Always true for other pools.
    """
    address = getattr(pool, "master_address", None)
    return address is None or tuple(address) == (connection.host, connection.port)


def set_push_handler(connection: Any, handler: Any) -> None:
    """Make redis-py call ``handler`` with each invalidation message of the connection."""
    parser = connection._parser
    if hasattr(parser, "set_invalidation_push_handler"):
        parser.set_invalidation_push_handler(handler)
    else:
        # redis-py 5.0. The emulator's connections call `handle_push_response`.
        parser.set_push_handler(handler)
        parser.handle_push_response = handler


def log_tracking_error(error: Exception, known: bool) -> None:
    """Log why links are not tracked: as a warning, or with ``known`` as a debug message."""
    level = logging.DEBUG if known else logging.WARNING
    reason = f"{type(error).__name__}: {printable(str(error))}"
    telemetry.LOGGER.log(level, "links are not tracked: %s", reason)


def _without_maintenance(kwargs: Mapping[str, Any], pool: Any) -> dict[str, Any]:
    if not any(
        "maint_notifications_config" in inspect.signature(cls).parameters
        for cls in type(pool).__mro__[:-1]
    ):
        return {}
    from redis.maint_notifications import MaintNotificationsConfig

    return {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}
