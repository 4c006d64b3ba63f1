"""Configuration parameters: names, defaults, and their current values as CONFIG GET prints them.

The defaults are facts of the newest server and live in ``config.json``. What a parameter does is in
the code that reads it.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

from redis_emulator.version import Version


@cache
def _defaults() -> dict[str, str]:
    text = resources.files("redis_emulator").joinpath("config.json").read_text("utf-8")
    values: dict[str, str] = json.loads(text)
    return values


class Config:
    """The parameters of one server: text by name, and the whole numbers among them in `numbers`."""

    __slots__ = ("numbers", "values")

    def __init__(self, version: Version) -> None:
        self.values: dict[str, str] = {}
        self.numbers: dict[str, int] = {}
        for name, value in _defaults().items():
            self[name] = value

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def __setitem__(self, name: str, value: str) -> None:
        self.values[name] = value
        if value.lstrip("-").isdigit():
            self.numbers[name] = int(value)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def integer(self, name: str) -> int:
        """The value of a numeric parameter."""
        return self.numbers[name]
