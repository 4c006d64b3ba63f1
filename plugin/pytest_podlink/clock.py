"""Time in tests: the clock that a test moves instead of waiting.

On the emulator time itself is moved. A real server's time cannot be: there every TTL is moved
towards the past by as much, which gives the same keys, the same hash fields and the same TTLs as
waiting would. What hangs on the server's time otherwise stays: TIME itself, the timeouts of blocked
commands, the idle times of streams. Moving a TTL is also a change to the key, where waiting is
none: WATCH notices it, and keyspace events tell of it.

Only the moving of time belongs here; whose time it is, `backends` knows.
"""

from __future__ import annotations

import math
from typing import Protocol

import redis

# Keys are collected before any is changed: SCAN may return a key twice, and it must be moved once.
# A server that knows no PEXPIRETIME (Redis 6) or no TTLs of hash fields answers with an error, and
# is taken at its word.
_SHIFT = """
local ms = tonumber(ARGV[1])

local function earlier(at)
  return string.format('%.0f', math.max(at - ms, 0))
end

local function expires_at(key)
  local at = redis.pcall('PEXPIRETIME', key)
  if type(at) == 'number' then return at, 'PEXPIREAT' end
  return redis.call('PTTL', key), 'PEXPIRE'
end

local function shift_fields(key)
  local names = redis.call('HKEYS', key)
  for first = 1, #names, 1000 do
    local some = {}
    for i = first, math.min(first + 999, #names) do some[#some + 1] = names[i] end
    local times = redis.pcall('HPEXPIRETIME', key, 'FIELDS', #some, unpack(some))
    if times.err then return end
    for i, at in ipairs(times) do
      if at >= 0 then redis.call('HPEXPIREAT', key, earlier(at), 'FIELDS', 1, some[i]) end
    end
  end
end

for i = 2, #ARGV do
  redis.call('SELECT', ARGV[i])
  local keys, cursor = {}, '0'
  repeat
    local reply = redis.call('SCAN', cursor, 'COUNT', 1000)
    cursor = reply[1]
    for _, key in ipairs(reply[2]) do keys[key] = true end
  until cursor == '0'
  for key in pairs(keys) do
    if redis.call('TYPE', key).ok == 'hash' then shift_fields(key) end
    local at, set = expires_at(key)
    if at >= 0 then redis.call(set, key, earlier(at)) end
  end
end
"""


class StatefulClock(Protocol):
    """What the fixture `stateful_clock` gives to a test."""

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once, to the millisecond.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """


class EmulatorTime(Protocol):
    """The part of an emulator's clock that is used here."""

    def us(self) -> int:
        """Microseconds since the epoch."""

    def advance(self, seconds: float) -> object:
        """Move the emulator's time."""


class EmulatorClock:
    """Moves an emulator's own time."""

    def __init__(self, clock: EmulatorTime) -> None:
        self._clock = clock
        self._start = clock.us()

    def set_back(self) -> None:
        """The time of the beginning, so that many tests do not together reach the end of time."""
        if hasattr(self._clock, "set"):
            self._clock.set(self._start / 1_000_000)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once; see `StatefulClock.advance`."""
        milliseconds = _milliseconds(seconds)
        try:
            advance = self._clock.advance
        except AttributeError:
            raise TypeError(
                f"stateful_clock cannot move a {type(self._clock).__name__}:"
                " give the emulator a ManualClock"
            ) from None
        advance(milliseconds / 1000)


class ServerClock:
    """Moves every TTL in some databases of a real server; all of them that hold keys by default."""

    def __init__(self, client: redis.Redis, database: int | None = None) -> None:
        self._client = client
        self._database = database

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once; see `StatefulClock.advance`."""
        milliseconds = _milliseconds(seconds)
        if self._database is None:
            keyspace = self._client.info("keyspace")
            databases = [int(name.removeprefix("db")) for name in keyspace]
        else:
            databases = [self._database]
        if databases:
            self._client.eval(_SHIFT, 0, milliseconds, *databases)


def _milliseconds(seconds: float) -> int:
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"seconds must be finite and not negative, not {seconds!r}")
    return round(seconds * 1000)
