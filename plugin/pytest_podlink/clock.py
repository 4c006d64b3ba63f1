"""Clocks that a test moves instead of waiting.

On the emulator, the clock of the server moves. The clock of a real server cannot be moved, so every
TTL there is shortened instead: the same keys and hash fields expire, and the others have the same
TTL, as after waiting. Three things differ from waiting on a real server: TIME, timeouts of blocked
clients and idle times of streams do not change; WATCH sees the key as modified; and the change of a
TTL publishes a keyspace event.
"""

from __future__ import annotations

import math
from typing import Protocol

import redis

# All keys are collected first: SCAN may return a key twice, but its TTL must be shortened once.
# PEXPIRETIME fails on Redis 6, HPEXPIRETIME on servers without TTLs of hash fields: hence pcall.
_SHIFT_TTLS = """
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
    """The interface of the fixture `stateful_clock`."""

    def advance(self, seconds: float) -> None:
        """Move the time forward by `seconds`, rounded to milliseconds.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """


class EmulatorTime(Protocol):
    """The methods of the emulator's clock that `EmulatorClock` uses."""

    def us(self) -> int:
        """Microseconds since the epoch."""

    def advance(self, seconds: float) -> object:
        """Move the emulator's time forward."""


class EmulatorClock:
    """Moves the clock of an emulator."""

    def __init__(self, clock: EmulatorTime) -> None:
        self._clock = clock
        self._start = clock.us()

    def reset(self) -> None:
        """Reset the clock to its initial time. Many tests could otherwise reach the last date."""
        if hasattr(self._clock, "set"):
            self._clock.set(self._start / 1_000_000)

    def advance(self, seconds: float) -> None:
        """Move the time forward; see `StatefulClock.advance`."""
        milliseconds = _milliseconds(seconds)
        try:
            advance = self._clock.advance
        except AttributeError:
            raise TypeError(
                f"stateful_clock cannot move a {type(self._clock).__name__}:"
                " create the emulator with clock=ManualClock()"
            ) from None
        advance(milliseconds / 1000)


class ServerClock:
    """Shortens every TTL in one database of a real server, or in all databases."""

    def __init__(self, client: redis.Redis, database: int | None = None) -> None:
        self._client = client
        self._database = database

    def advance(self, seconds: float) -> None:
        """Move the time forward; see `StatefulClock.advance`."""
        milliseconds = _milliseconds(seconds)
        if self._database is None:
            keyspace = self._client.info("keyspace")
            databases = [int(name.removeprefix("db")) for name in keyspace]
        else:
            databases = [self._database]
        if databases:
            self._client.eval(_SHIFT_TTLS, 0, milliseconds, *databases)


def _milliseconds(seconds: float) -> int:
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"seconds must be finite and not negative, not {seconds!r}")
    return round(seconds * 1000)
