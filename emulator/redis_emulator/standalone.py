"""`RedisEmulator`: the public class for one emulated standalone server."""

from __future__ import annotations

from typing import Any

from redis_emulator.clock import Clock, SystemClock
from redis_emulator.cluster_emulator import ClusterEmulator
from redis_emulator.emulator import Emulator
from redis_emulator.engine.dispatch import Engine
from redis_emulator.forks import NamedObjects
from redis_emulator.version import Version


class RedisEmulator(Emulator):
    """An emulated Redis or Valkey server in this process. Threads and event loops can share it.

    Args:
        version: The release to emulate, such as ``"8.2"`` or ``"7.0"``.
        flavour: ``"redis"`` or ``"valkey"``.
        clock: The source of time; by default the system clock.
        seed: Makes random results (RANDOMKEY, SPOP …) reproducible.
        log: How many commands to keep in `log`; 0 turns it off.

    Raises:
        ValueError: The version or flavour is not emulated.
    """

    def __init__(
        self,
        *,
        version: str = "8.2",
        flavour: str = "redis",
        clock: Clock | None = None,
        seed: int | None = None,
        log: int = 0,
    ) -> None:
        release = Version.parse(version, flavour)
        clock = SystemClock() if clock is None else clock
        super().__init__(Engine(clock=clock, version=release, seed=seed), log=log)

    @classmethod
    def named(cls, name: str = "") -> RedisEmulator:
        """The emulator of this name, shared by the whole process. The first call creates it."""
        return _named[name]

    @staticmethod
    def cluster(**settings: Any) -> ClusterEmulator:
        """An emulated Redis Cluster in this process.

        Args:
            settings: The arguments of `ClusterEmulator`: ``nodes``, ``replicas``, ``version``,
                ``flavour``, ``clock``, ``seed``.
        """
        return ClusterEmulator(**settings)

    def __repr__(self) -> str:
        return f"<RedisEmulator {self._version.flavour} {self._version.text}>"


_named = NamedObjects(RedisEmulator)
