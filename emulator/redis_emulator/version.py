"""Which server to be: the release a version string stands for, and the flavour."""

from __future__ import annotations

from dataclasses import dataclass

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
    """Flavour and series of everything that is emulated."""
    return [(flavour, series) for flavour, known in _RELEASES.items() for series in known]


@dataclass(frozen=True, slots=True)
class Version:
    """A release of a flavour.

    Attributes:
        flavour: ``redis`` or ``valkey``.
        number: Major, minor, patch of the server itself.
    """

    flavour: str
    number: tuple[int, int, int]

    @classmethod
    def parse(cls, version: str, flavour: str) -> Version:
        """The release meant by ``version`` (``"8.2"``, ``"7.0"`` …) of ``flavour``.

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
        """The name of the server as its messages print it."""
        return self.flavour.capitalize()

    @property
    def text(self) -> str:
        """The full version as INFO prints it."""
        return ".".join(map(str, self.number))

    @property
    def compatible(self) -> tuple[int, int, int]:
        """The Redis release whose commands and texts this server shares."""
        return self.number if self.flavour == "redis" else _VALKEY_IS_REDIS

    @property
    def compatible_text(self) -> str:
        """`compatible`, printed."""
        return ".".join(map(str, self.compatible))
