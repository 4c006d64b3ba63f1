"""How often keys are used: what takes the place of `Database.access` under an LFU policy.

Redis keeps an eight-bit counter per key that grows logarithmically: a key starts at 5, and a use
raises the counter with a probability that falls as it rises (``lfu-log-factor``). Every
``lfu-decay-time`` minutes without a use take one off again. A plain dict of last uses is all that
other policies need, so counting costs nothing until it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

_INITIAL = 5
_MINUTE_MS = 60_000


class Frequencies(dict[bytes, int]):
    """Key → last use in epoch milliseconds, counting each time one is noted.

    Args:
        random: Decides whether a use raises the counter.
        numbers: The server's configuration, for ``lfu-log-factor`` and ``lfu-decay-time``.
        uses: Last uses noted so far; these keys start at 0.
    """

    __slots__ = ("_counters", "_numbers", "_random")

    def __init__(self, random: Random, numbers: Mapping[str, int], uses: dict[bytes, int]) -> None:
        super().__init__(uses)
        self._random = random
        self._numbers = numbers
        self._counters = dict.fromkeys(uses, 0)

    def __setitem__(self, key: bytes, now: int) -> None:
        if key in self:
            self._counters[key] = self._raised(self.frequency(key, now))
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
        """Let ``key`` count as used ``frequency`` (0 to 255) at ``now``."""
        super().__setitem__(key, now)
        self._counters[key] = frequency

    def frequency(self, key: bytes, now: int) -> int:
        """The counter of ``key``, less what time has taken off since its last use."""
        minutes = self._numbers["lfu-decay-time"]
        decay = (now - self[key]) // (_MINUTE_MS * minutes) if minutes else 0
        return max(0, self._counters[key] - max(0, decay))

    def _raised(self, counter: int) -> int:
        factor = self._numbers["lfu-log-factor"]
        chance = 1.0 / (max(0, counter - _INITIAL) * factor + 1)
        return min(255, counter + (self._random.random() < chance))
