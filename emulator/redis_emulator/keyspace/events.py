"""Keyspace events: the classes of events as bits, and what a replica publishes for an event.

``notify-keyspace-events`` names the classes by letters. A replica executes the effect of what its
master did, so for some events it publishes another one.
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
"""What the letter ``A`` means: every class but key misses and new keys."""

AT_REPLICAS: Final = {
    b"expired": (b"del", GENERIC),
    b"evicted": (b"del", GENERIC),
    b"hexpired": (b"hdel", HASH),
    b"incrbyfloat": (b"set", STRING),
    b"hincrbyfloat": (b"hset", HASH),
    b"spop": (b"srem", SET),
    b"keymiss": (b"", 0),
}
"""The event, and its class, that a replica publishes for an event of its master; the same event if
it is not listed."""
