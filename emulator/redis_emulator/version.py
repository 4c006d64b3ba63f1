"""Flavour (Redis or Valkey) and release of the emulated server.

Code that differs between releases asks the `Version` of the server.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_RELEASES = {
    "redis": {
        "6.2": (6, 2, 5),
        "7.0": (7, 0, 15),
        "7.2": (7, 2, 4),
        "7.4": (7, 4, 0),
        "8.0": (8, 0, 0),
        "8.2": (8, 2, 3),
    },
    "valkey": {
        "7.2": (7, 2, 8),
        "8.0": (8, 0, 1),
        "8.1": (8, 1, 1),
        "9.0": (9, 0, 0),
        "9.1": (9, 1, 2),
    },
}
_VALKEY_IS_REDIS = (7, 2, 4)


def latest(flavour: str) -> str:
    """The newest series of ``flavour`` that is emulated, ``"8.2"`` for Redis.

    Raises:
        ValueError: The flavour is not emulated.
    """
    if flavour not in _RELEASES:
        raise ValueError(f"flavour must be one of {', '.join(_RELEASES)}, got {flavour!r}")
    return list(_RELEASES[flavour])[-1]


def releases() -> list[tuple[str, str]]:
    """Flavour and series of every emulated release."""
    return [(flavour, series) for flavour, known in _RELEASES.items() for series in known]


@dataclass(frozen=True, slots=True)
class Version:
    """A release of a flavour.

    Attributes:
        flavour: ``redis`` or ``valkey``.
        number: Major, minor, patch of the server itself.
        compatible: The Redis release whose commands and error texts this server has; for Valkey
            7.2.4, from which it was forked.
    """

    flavour: str
    number: tuple[int, int, int]
    compatible: tuple[int, int, int] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        compatible = self.number if self.flavour == "redis" else _VALKEY_IS_REDIS
        object.__setattr__(self, "compatible", compatible)

    @classmethod
    def parse(cls, version: str, flavour: str) -> Version:
        """The release of ``flavour`` for a version string such as ``"8.2"`` or ``"7.0.15"``.

        Raises:
            ValueError: The flavour or version is not emulated; the message lists what is.
        """
        releases = _RELEASES.get(flavour)
        if releases is None:
            raise ValueError(f"flavour must be one of {', '.join(_RELEASES)}, got {flavour!r}")
        series = ".".join(version.split(".")[:2])
        if series not in releases:
            raise ValueError(f"{flavour} {version} is not emulated; choose {', '.join(releases)}")
        return cls(flavour, releases[series])

    @property
    def product(self) -> str:
        """The name of the server in its messages."""
        return self.flavour.capitalize()

    @property
    def text(self) -> str:
        """The full version, as in INFO."""
        return ".".join(map(str, self.number))

    @property
    def after_fork(self) -> bool:
        """Whether it is newer than 7.2, the release from which Valkey was forked."""
        return self.number >= (7, 4)

    @property
    def is_8(self) -> bool:
        """Whether it is Redis 8.0, Valkey 8.0, or later. For what both added in 8.0."""
        return self.number >= (8, 0)

    @property
    def retries_blocked(self) -> bool:
        """Whether a blocked client runs its command again when one of its keys becomes ready.

        Then ACL is checked again, the command is counted when the client is served, and a client
        that still has to wait goes to the end of the queue.
        """
        return not self.before(7, 2)

    def before(self, major: int, minor: int = 0) -> bool:
        """Whether it behaves like a Redis older than this release. Valkey behaves like 7.2."""
        return self.compatible < (major, minor)

    def is_redis(self, major: int = 0, minor: int = 0) -> bool:
        """Whether it is Redis, of this release or later."""
        return self.flavour == "redis" and self.number >= (major, minor)

    def is_valkey(self, major: int = 0, minor: int = 0) -> bool:
        """Whether it is Valkey, of this release or later."""
        return self.flavour == "valkey" and self.number >= (major, minor)

    @property
    def compatible_text(self) -> str:
        """`compatible` as text, such as ``7.2.4``."""
        return ".".join(map(str, self.compatible))
