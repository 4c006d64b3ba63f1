"""Server-wide counters of INFO. CONFIG RESETSTAT and `reset()` replace the object."""

from __future__ import annotations

from collections import Counter
from typing import Final

from redis_emulator.resp.types import RedisError
from redis_emulator.version import Version

_ERROR_CODES_MAX: Final = 128
_OTHER_ERRORS: Final = "ERRORSTATS_OVERFLOW"
_NO_ERRORS: Final = "ERRORSTATS_DISABLED"


class Stats:
    """Counters of INFO, except those of databases (`KeyStats`) and commands (`Entry`).

    Attributes:
        connections_received: The number of connections so far.
        errors: The number of error replies by error code.
        counters: Other fields of INFO by name.
    """

    __slots__ = ("_version", "connections_received", "counters", "errors")

    def __init__(self, version: Version) -> None:
        self._version = version
        self.connections_received = 0
        self.errors: dict[str, int] = {}
        self.counters: Counter[str] = Counter()

    def count_error(self, error: RedisError) -> None:
        """Count an error reply.

        Scripts can return any number of different codes. Beyond 128 codes Valkey counts new ones
        under one name, and Redis since 7.2 stops counting by code.
        """
        self.counters["total_error_replies"] += 1
        code = error.code
        if code not in self.errors and len(self.errors) >= _ERROR_CODES_MAX:
            if self._version.is_valkey():
                code = code if code == "ERR" else _OTHER_ERRORS
            elif not self._version.before(7, 2):
                self.errors = {_NO_ERRORS: 1}
        if _NO_ERRORS not in self.errors:
            self.errors[code] = self.errors.get(code, 0) + 1
