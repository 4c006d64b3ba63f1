"""Configuration parameters: names, types, limits, and current values as CONFIG GET prints them.

The definitions of the parameters are in ``config.json``, which ``python -m
redis_emulator.table.parameters`` reads from real servers. Code that uses a parameter reads it from
`Config`. A function that must run after CONFIG SET of a parameter is registered with `effect`.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from redis_emulator.keyspace.events import ALL, LETTERS
from redis_emulator.version import Version

TextParser = Callable[[str, str], str]

Effect = Callable[[Any], None]
EFFECTS: Final[dict[str, Effect]] = {}
"""Functions to call after CONFIG SET of a parameter, with the session. See `effect`."""

_UINT64: Final = 1 << 64
_INT64_MAX: Final = (1 << 63) - 1
_INTEGER: Final = re.compile(r"-?[1-9][0-9]{0,18}|0").fullmatch
_MEMORY: Final = re.compile(r"([0-9]*)(b|kb?|mb?|gb?|)", re.IGNORECASE).fullmatch
_UNITS: Final = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1 << 10,
    "m": 1000**2,
    "mb": 1 << 20,
    "g": 1000**3,
    "gb": 1 << 30,
}
_CLAMPED: Final = {"hz": (1, 500), "repl-backlog-size": (16384, _INT64_MAX)}
"""Ranges to which allowed values are silently clamped."""
_OVERFLOW: Final = {
    "redis-8.2": -1,
    "redis-7.0": -1,
    "redis-6.2": _INT64_MAX,
    "valkey-9.1": None,
}
_ADDRESS_LENGTH_MAX: Final = 45
_HOST_NAME_LENGTH_MAX: Final = 255
_NO_BRACKETS: Final = r"[^]!#$%&()*+:;<>?@[^{|}~]*"
_PLAIN: Final = r"[^\x00-,;-@\[-^{-\x7f]*"
_CLASSES: Final = {"normal": 0, "slave": 1, "replica": 1, "pubsub": 2}


def read_memory(text: str) -> int | None:
    """Parse a memory size such as ``10mb``. Returns None if it is not valid.

    The product with the unit is wrapped to 64 bits, as in Redis. A number that already exceeds 64
    bits is returned unchanged.
    """
    memory = _MEMORY(text)
    if memory is None:
        return None
    size = int(memory[1] or 0)
    if size >= _UINT64:
        return size
    size = size * _UNITS[memory[2].lower()] % _UINT64
    return size - _UINT64 if size > _INT64_MAX else size


def effect(*names: str) -> Callable[[Effect], Effect]:
    """Decorator: call a function with the session after CONFIG SET of one of the parameters."""

    def bind(function: Effect) -> Effect:
        for name in names:
            EFFECTS[name] = function
        return function

    return bind


@dataclass(frozen=True, slots=True)
class Parameter:
    """The definition of a parameter.

    Attributes:
        name: The name that CONFIG GET prints.
        default: The value of a new server.
        type: ``boolean``, ``enum``, ``enums`` (words, the first for none), ``integer``, ``memory``,
            ``percent`` (memory or percent), ``place``, ``node name`` or ``string``.
        low: The lowest allowed number; None for no limit.
        high: The highest allowed number.
        unsigned: Whether negative numbers have their own error text.
        values: The allowed words of an enum or of enums.
        immutable: Whether CONFIG SET cannot change it.
        protected: Whether CONFIG SET needs ``enable-protected-configs``.
        alias: Another name of the same parameter.
        overflow: The value of a size beyond 64 bits; None if that is an error.
    """

    name: str
    default: str
    type: str
    low: int | None
    high: int | None
    unsigned: bool
    values: tuple[str, ...]
    immutable: bool
    protected: bool
    alias: str | None
    overflow: int | None

    def parse(self, text: str, current: str) -> str:
        """Check a new value. Returns it as CONFIG GET prints it.

        Args:
            text: The value of CONFIG SET.
            current: The current value, which some parameters change only in part.

        Raises:
            ValueError: The value is not valid. The message is the text of the real server.
        """
        if self.type == "string":
            parser = _PARSERS.get(self.name)
            return parser(text, current) if parser is not None else text
        if self.type == "place":
            return _announced_address(self.name, text)
        if self.type == "node name":
            return _node_name(text, _PLAIN)
        if self.type == "boolean":
            if text.lower() not in ("yes", "no"):
                raise ValueError("argument must be 'yes' or 'no'")
            return text.lower()
        if self.type == "enum":
            for word in self.values:
                if word == text.lower():
                    return word
            raise ValueError(f"argument(s) must be one of the following: {', '.join(self.values)}")
        if self.type == "enums":
            return self._parse_flags(text)
        return self._print(self._check_limits(self._number(text)))

    def _parse_flags(self, text: str) -> str:
        words = set(text.lower().split(" "))
        if not words <= set(self.values):
            raise ValueError(f"argument(s) must be one of the following: {', '.join(self.values)}")
        if {"save", "nosave"} <= words:
            raise ValueError("shutdown options SAVE and NOSAVE can't be used simultaneously")
        none, *others = self.values
        return " ".join(word for word in others if word in words) or none

    def _number(self, text: str) -> int:
        if self.type == "integer":
            if not _INTEGER(text) or not -_INT64_MAX - 1 <= int(text) <= _INT64_MAX:
                raise ValueError("argument couldn't be parsed into an integer")
            return int(text)
        if self.low == -1 and text == "-1":
            return -1
        size = read_memory(text)
        if size is not None and size >= _UINT64:
            if self.overflow is None:
                raise ValueError(self._not_memory())
            return self.overflow
        if size is not None:
            return size
        if self.type == "percent":
            if text.endswith("%") and _INTEGER(text[:-1]) and int(text[:-1]) >= 0:
                return -int(text[:-1])
        raise ValueError(self._not_memory())

    def _not_memory(self) -> str:
        percent = " or percent" if self.type == "percent" else ""
        return f"argument must be a memory{percent} value"

    def _check_limits(self, number: int) -> int:
        if self.type == "percent" and number < 0:
            if number < -100:
                raise ValueError("percentage argument must be less or equal to 100")
            return number
        if self.unsigned and number < 0:
            raise ValueError("argument must be greater or equal to 0")
        if self.low is not None and self.high is not None and not self.low <= number <= self.high:
            raise ValueError(f"argument must be between {self.low} and {self.high} inclusive")
        least, most = _CLAMPED.get(self.name, (number, number))
        return min(max(number, least), most)

    def _print(self, number: int) -> str:
        if self.type == "percent" and number < 0:
            return f"{-number}%"
        if self.type == "memory" and number < 0 and self.low != -1:
            number += _UINT64
        return str(number)


@cache
def _definitions() -> dict[str, dict[str, Any]]:
    text = resources.files("redis_emulator.server").joinpath("config.json").read_text("utf-8")
    rows: dict[str, dict[str, Any]] = json.loads(text)
    return rows


@cache
def parameters(version: Version) -> dict[str, Parameter]:
    """The parameters of a server version, by name."""
    series = _config_series(version)
    found = {}
    for name, row in _definitions().items():
        if series not in row.get("servers", (series,)):
            continue
        facts = row | row.get("differs", {}).get(series, {})
        found[name] = Parameter(
            name=name,
            default=facts["default"],
            type=facts["type"],
            low=facts.get("low"),
            high=facts.get("high"),
            unsigned=bool(facts.get("unsigned")),
            values=tuple(facts.get("values") or ()),
            immutable=bool(facts.get("immutable")),
            protected=bool(facts.get("protected")) and series != "redis-6.2",
            overflow=_OVERFLOW[series],
            alias=facts.get("alias"),
        )
    return found


@cache
def _numbers() -> dict[str, int]:
    return {
        name: int(row["default"])
        for name, row in _definitions().items()
        if row["default"].lstrip("-").isdigit()
    }


def _config_series(version: Version) -> str:
    if version.is_valkey():
        return "valkey-9.1"
    if version.before(7):
        return "redis-6.2"
    return "redis-7.0" if version.before(7, 2) else "redis-8.2"


def event_flags(text: str) -> int:
    """Parse ``notify-keyspace-events`` to a bit mask of event classes.

    Raises:
        ValueError: A letter is not an event class.
    """
    flags = 0
    for letter in text:
        if letter == "A":
            flags |= ALL
        elif letter in LETTERS:
            flags |= LETTERS[letter]
        else:
            raise ValueError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
    return flags


def _events(text: str, _: str) -> str:
    flags = event_flags(text)
    every = flags & ALL == ALL
    return ("A" if every else "") + "".join(
        letter for letter, flag in LETTERS.items() if flags & flag and not (every and flag & ALL)
    )


def shown(name: str, value: str) -> str:
    """A value as CONFIG GET prints it. After ``A`` the letter ``n`` is stored but not shown."""
    if name == "notify-keyspace-events" and value.startswith("A"):
        return value.replace("n", "")
    return value


def _save(text: str, _: str) -> str:
    words = text.split(" ") if text else []
    refused = ValueError("Invalid save parameters")
    if len(words) % 2:
        raise refused
    for place, word in enumerate(words):
        if not re.fullmatch(r"\s*[+-]?[0-9]+", word) or int(word) < (1 - place % 2):
            raise refused
    return " ".join(str(int(word)) for word in words)


def _output_limits(text: str, current: str) -> str:
    words = text.split()
    limits = current.split()
    if not words or len(words) % 4:
        raise ValueError("Wrong number of arguments in buffer limit configuration.")
    for place in range(0, len(words), 4):
        name, hard, soft, seconds = words[place : place + 4]
        if name.lower() not in _CLASSES:
            raise ValueError("Invalid client class specified in buffer limit configuration.")
        sizes = [_MEMORY(size) for size in (hard, soft)]
        if not all(sizes) or not re.fullmatch(r"[0-9]+", seconds):
            raise ValueError(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration."
            )
        start = _CLASSES[name.lower()] * 4 + 1
        limits[start : start + 3] = [
            *(str(int(size[1] or 0) * _UNITS[size[2].lower()]) for size in sizes if size),
            str(int(seconds)),
        ]
    return " ".join(limits)


def _oom_scores(text: str, _: str) -> str:
    words = text.split()
    if len(words) != 3:
        raise ValueError("wrong number of arguments")
    numbers = []
    for word in words:
        if not re.fullmatch(r"[+-]?[0-9]+", word) or not -2000 <= int(word) <= 2000:
            raise ValueError(
                "Invalid oom-score-adj-values, elements must be between -2000 and 2000."
            )
        numbers.append(int(word))
    return " ".join(map(str, numbers))


def _percentiles(text: str, _: str) -> str:
    name = "latency-tracking-info-percentiles"
    found = []
    for word in text.split():
        try:
            value = float(word)
        except ValueError:
            raise ValueError(f"Invalid {name} parameters") from None
        if not 0 <= value <= 100:
            raise ValueError(f"{name} parameters should sit between [0.0,100.0]")
        found.append(f"{value:.17g}" if value != round(value, 3) else f"{round(value, 3):g}")
    return " ".join(found)


def _host_name(text: str, _: str) -> str:
    if len(text) > _HOST_NAME_LENGTH_MAX:
        raise ValueError("Hostnames must be less than 256 characters")
    if not re.fullmatch(r"[A-Za-z0-9.-]*", text):
        raise ValueError("Hostnames may only contain alphanumeric characters, hyphens or dots")
    return text


def _announced_address(name: str, text: str) -> str:
    if len(text) > _ADDRESS_LENGTH_MAX:
        raise ValueError(f"{name} is too long")
    if not re.fullmatch(r"[-./0-9:A-Z_`a-z]*", text):
        raise ValueError(f"{name} contains invalid character")
    return text


def _address(kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> TextParser:
    def parse(text: str, _: str) -> str:
        try:
            if text:
                kind(text)
        except ValueError:
            raise ValueError(f"Invalid {kind.__name__[:4]} address") from None
        return text

    return parse


def _node_name(text: str, allowed: str) -> str:
    if not re.fullmatch(allowed, text):
        raise ValueError("Announced human node name contained invalid character")
    return text


_PARSERS: Final[dict[str, TextParser]] = {
    "cluster-announce-client-ipv4": _address(ipaddress.IPv4Address),
    "cluster-announce-client-ipv6": _address(ipaddress.IPv6Address),
    "client-output-buffer-limit": _output_limits,
    "cluster-announce-hostname": _host_name,
    "cluster-announce-human-nodename": lambda text, _: _node_name(text, _NO_BRACKETS),
    "latency-tracking-info-percentiles": _percentiles,
    "notify-keyspace-events": _events,
    "oom-score-adj-values": _oom_scores,
    "save": _save,
}


class Config:
    """The parameter values of one server: texts by name, and integers in `numbers`.

    `numbers` also contains the defaults of parameters that this version does not have, so that code
    need not check the version. Parameters with ``ziplist`` in their name are also stored under the
    newer name with ``listpack``.
    """

    __slots__ = ("numbers", "parameters", "values")

    def __init__(self, version: Version) -> None:
        self.parameters = parameters(version)
        self.values: dict[str, str] = {}
        self.numbers: dict[str, int] = dict(_numbers())
        for name, parameter in self.parameters.items():
            self[name] = parameter.default
        self["dir"] = os.getcwd()

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def __setitem__(self, name: str, value: str) -> None:
        self.values[name] = value
        if value.lstrip("-").isdigit():
            self.numbers[name] = int(value)
            self.numbers[name.replace("ziplist", "listpack")] = int(value)
        alias = self.parameters[name].alias
        if alias is not None and self.values.get(alias) != value:
            self[alias] = value

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def integer(self, name: str) -> int:
        """The value of a numeric parameter."""
        return self.numbers[name]
