"""LFU counters: replaces `Database.access` while ``maxmemory-policy`` is an LFU policy.

As in Redis, each key has a logarithmic 8-bit counter. It starts at 5; an access increments it with
a probability that decreases with its value (``lfu-log-factor``), and it is decremented for every
``lfu-decay-time`` minutes without an access. Other policies need only a dict of access times, so
they do not pay for the counters.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

_INITIAL = 5
_MINUTE_MS = 60_000


class Frequencies(dict[bytes, int]):
    """The last access time of each key; setting it also updates the LFU counter.

    Args:
        random: The random source for increments.
        numbers: The configuration, for ``lfu-log-factor`` and ``lfu-decay-time``.
        uses: The access times so far. Counters of these keys start at 0.
    """

    __slots__ = ("_counters", "_numbers", "_random")

    def __init__(self, random: Random, numbers: Mapping[str, int], uses: dict[bytes, int]) -> None:
        super().__init__(uses)
        self._random = random
        self._numbers = numbers
        self._counters = dict.fromkeys(uses, 0)

    def __setitem__(self, key: bytes, now: int) -> None:
        if key in self:
            self._counters[key] = self._incremented(self.frequency(key, now))
        else:
            self._counters[key] = _INITIAL
        super().__setitem__(key, now)

    def pop(self, key: bytes, default: int | None = None) -> int | None:  # type: ignore[override]
        self._counters.pop(key, None)
        return super().pop(key, default)

    def clear(self) -> None:
        self._counters.clear()
        super().clear()

    def set_frequency(self, key: bytes, frequency: int, now: int) -> None:
        """Set the counter of ``key`` (0 to 255) and its access time."""
        super().__setitem__(key, now)
        self._counters[key] = frequency

    def frequency(self, key: bytes, now: int) -> int:
        """The counter of ``key`` after the decay since its last access."""
        minutes = self._numbers["lfu-decay-time"]
        decay = (now - self[key]) // (_MINUTE_MS * minutes) if minutes else 0
        return max(0, self._counters[key] - max(0, decay))

    def _incremented(self, counter: int) -> int:
        factor = self._numbers["lfu-log-factor"]
        chance = 1.0 / (max(0, counter - _INITIAL) * factor + 1)
        return min(255, counter + (self._random.random() < chance))
