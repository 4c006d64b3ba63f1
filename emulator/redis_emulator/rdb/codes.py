"""Numbers of the RDB format: type bytes, and the versions that added encodings."""

from __future__ import annotations

from typing import Final

LISTPACKS: Final = 10
"""The first RDB version with listpacks outside streams."""
SET_LISTPACKS: Final = 11
"""The first RDB version with listpacks of sets and the active time of consumers."""
FIELD_DEADLINES: Final = 12
"""The first RDB version with TTLs of hash fields."""
VALKEY: Final = 80
"""The first RDB version of Valkey that Redis does not have."""

STRING: Final = 0
LIST: Final = 1
SET: Final = 2
ZSET: Final = 3
HASH: Final = 4
ZSET_2: Final = 5
HASH_ZIPMAP: Final = 9
LIST_ZIPLIST: Final = 10
SET_INTSET: Final = 11
ZSET_ZIPLIST: Final = 12
HASH_ZIPLIST: Final = 13
LIST_QUICKLIST: Final = 14
STREAM: Final = 15
HASH_LISTPACK: Final = 16
ZSET_LISTPACK: Final = 17
LIST_QUICKLIST_2: Final = 18
STREAM_2: Final = 19
SET_LISTPACK: Final = 20
STREAM_3: Final = 21
HASH_FIELDS_PRE_GA: Final = 22
HASH_LISTPACK_FIELDS_PRE_GA: Final = 23
HASH_FIELDS: Final = 24
HASH_LISTPACK_FIELDS: Final = 25

VALKEY_HASH_FIELDS: Final = 22
"""Valkey's type of a hash with TTLs of fields. Redis uses the number for another type."""
