"""Keyspace events: event classes as bits, their letters, and the events of replicas.

``notify-keyspace-events`` names the classes by letters. A replica executes the commands that its
master replicates, which may differ from the original command, and publishes their events.
"""

from __future__ import annotations

from typing import Final

GENERIC: Final = 1
STRING: Final = 2
LIST: Final = 4
SET: Final = 8
HASH: Final = 16
ZSET: Final = 32
STREAM: Final = 64
EXPIRED: Final = 128
EVICTED: Final = 256
MODULE: Final = 512
KEY_MISS: Final = 1024
NEW: Final = 2048
KEYSPACE: Final = 4096
KEYEVENT: Final = 8192

LETTERS: Final = {
    "g": GENERIC,
    "$": STRING,
    "l": LIST,
    "s": SET,
    "h": HASH,
    "z": ZSET,
    "x": EXPIRED,
    "e": EVICTED,
    "t": STREAM,
    "d": MODULE,
    "n": NEW,
    "K": KEYSPACE,
    "E": KEYEVENT,
    "m": KEY_MISS,
}
"""The letters of ``notify-keyspace-events``, in the order in which CONFIG GET prints them."""
ALL: Final = GENERIC | STRING | LIST | SET | HASH | ZSET | STREAM | EXPIRED | EVICTED | MODULE
"""The classes of the letter ``A``: all except key misses and new keys."""

AT_REPLICAS: Final = {
    b"expired": (b"del", GENERIC),
    b"evicted": (b"del", GENERIC),
    b"hexpired": (b"hdel", HASH),
    b"incrbyfloat": (b"set", STRING),
    b"hincrbyfloat": (b"hset", HASH),
    b"spop": (b"srem", SET),
    b"keymiss": (b"", 0),
}
"""The event and class that a replica publishes for an event of its master. Unlisted events are the
same.
"""
