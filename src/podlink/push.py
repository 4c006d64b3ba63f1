"""What the two trackers have in common: a connection that receives push messages."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any, Final

from podlink import telemetry
from podlink.errors import printable

BEATS: Final = 3
"""How often in ``max_silence`` a PING is sent."""

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 5.0
PING: Final = ("PING",)
TOLD: Final = object()
"""What the handler of push messages returns, so that a reply can be told from them."""

_NOT_OURS: Final = ("maint_notifications", "oss_cluster_maint", "orig_", "event_dispatcher")


def dedicated(pool: Any, timeout: float, retry: Any) -> Any:
    """A connection to where those of a pool lead, not yet made, that is none of them.

    Args:
        timeout: seconds that a reply may take.
        retry: redis-py's object that does not try anything again.
    """
    kwargs = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if not name.startswith(_NOT_OURS)
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


def leads_there(connection: Any, pool: Any) -> bool:
    """Whether a connection leads to where Sentinel had the pool connect last, if it is one."""
    address = getattr(pool, "master_address", None)
    return address is None or tuple(address) == (connection.host, connection.port)


def on_push(connection: Any, handler: Any) -> None:
    """Have redis-py call ``handler`` with each invalidation message of the connection."""
    parser = connection._parser
    if hasattr(parser, "set_invalidation_push_handler"):
        parser.set_invalidation_push_handler(handler)
    else:
        # redis-py 5.0; the emulator's connections call the method by its name.
        parser.set_push_handler(handler)
        parser.handle_push_response = handler


def log_loss(error: Exception, known: bool) -> None:
    """One record of why nothing is heard of; a warning, unless it is known already."""
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
