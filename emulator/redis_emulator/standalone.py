"""`RedisEmulator`: one Redis in this process."""

from __future__ import annotations

from typing import Any

from redis_emulator.clock import Clock, SystemClock
from redis_emulator.cluster_emulator import ClusterEmulator
from redis_emulator.emulator import Emulator
from redis_emulator.engine.dispatch import Engine
from redis_emulator.forks import Named
from redis_emulator.version import Version


class RedisEmulator(Emulator):
    """A Redis without a server. Threads and event loops may share it.

    Args:
        version: The release to be like: ``"8.2"``, ``"7.0"`` and so on.
        flavour: ``"redis"`` or ``"valkey"``.
        clock: Where time comes from; the machine's clock when left out.
        seed: Makes everything random (RANDOMKEY, SPOP …) repeat itself.
        log: How many commands to keep in `log`; 0 records nothing and costs nothing.

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
        """The emulator that everybody in this process shares under ``name``, made when first
        asked for.
        """
        return _named[name]

    @staticmethod
    def cluster(**settings: Any) -> ClusterEmulator:
        """A Redis Cluster in this process.

        Args:
            settings: What `ClusterEmulator` takes: ``nodes``, ``replicas``, ``version``,
                ``flavour``, ``clock``, ``seed``.
        """
        return ClusterEmulator(**settings)

    def __repr__(self) -> str:
        return f"<RedisEmulator {self._version.flavour} {self._version.text}>"


_named = Named(RedisEmulator)
