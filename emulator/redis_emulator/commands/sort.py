"""SORT and SORT_RO: the elements of a list, set or sorted set in order, or what they point to.

A pattern names the key to look at: its ``*`` stands for the element, and what follows ``->`` is a
field of the hash there. Elements are compared as numbers, with their bytes to decide between equal
ones, or as text with ALPHA. A sorted set is a skiplist from then on.
"""

from __future__ import annotations

import re
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.cluster.node import node_of
from redis_emulator.cluster.slots import slot_of
from redis_emulator.commands.helpers.arguments import parse_integer, syntax_error, wrong_type
from redis_emulator.commands.helpers.quicksort import sort_range
from redis_emulator.commands.registry import command
from redis_emulator.keyspace.events import GENERIC, LIST
from redis_emulator.resp.types import RedisError, Reply
from redis_emulator.values.hash import Hash
from redis_emulator.values.list import List
from redis_emulator.values.set import Set
from redis_emulator.values.sorted_set import SortedSet

_NO_NUMBER: Final = "ERR One or more scores can't be converted into double"
_DECIMAL: Final = re.compile(
    rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?i:inf(?:inity)?)"
).fullmatch
_HEXADECIMAL: Final = re.compile(
    rb"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?"
).fullmatch
_SMALLEST_NORMAL: Final = 2.0**-1022
_SPACE: Final = b" \t\n\v\f\r"


class _Options:
    """What follows the key.

    Attributes:
        by: The pattern of what to compare, None for the elements themselves.
        unsorted: BY without a ``*``: leave the order as it is.
        get: The patterns of what to reply with.
        store: The key to store the result at, None to reply with it.
    """

    __slots__ = ("alpha", "by", "count", "descending", "get", "start", "store", "unsorted")

    def __init__(self, ctx: Session, argv: list[bytes], *, read_only: bool) -> None:
        self.by: bytes | None = None
        self.get: list[bytes] = []
        self.store: bytes | None = None
        self.alpha = self.descending = self.unsorted = False
        self.start, self.count = 0, -1
        place = 2
        while place < len(argv):
            option = argv[place].upper()
            left = len(argv) - place - 1
            if option == b"ASC":
                self.descending = False
            elif option == b"DESC":
                self.descending = True
            elif option == b"ALPHA":
                self.alpha = True
            elif option == b"LIMIT" and left >= 2:
                self.start = parse_integer(argv[place + 1])
                self.count = parse_integer(argv[place + 2])
                place += 2
            elif option == b"STORE" and left and not read_only:
                place += 1
                self.store = argv[place]
            elif option == b"BY" and left:
                place += 1
                self.by = argv[place]
                if b"*" in _text(self.by):
                    _check_slot(ctx, argv, self.by, "BY")
                    _check_reach(ctx, argv, "BY")
                else:
                    self.unsorted = True
            elif option == b"GET" and left:
                place += 1
                _check_slot(ctx, argv, argv[place], "GET")
                _check_reach(ctx, argv, "GET")
                self.get.append(argv[place])
            else:
                raise syntax_error()
            place += 1

    def cut(self, elements: list[bytes]) -> list[bytes]:
        """What LIMIT leaves."""
        start = max(self.start, 0)
        return elements[start:] if self.count < 0 else elements[start : start + self.count]


def _check_slot(ctx: Session, argv: list[bytes], pattern: bytes, option: str) -> None:
    """On a cluster patterns reach keys of the sorted key's slot alone; before 7.4 none at all."""
    version = ctx.server.version
    if node_of(ctx) is None:
        return
    if version.is_redis() and version.before(7, 4):
        raise RedisError(f"ERR {option} option of SORT denied in Cluster mode.")
    head, star, _ = pattern.partition(b"*")
    start = head.find(b"{")
    known = not star or (start >= 0 and head.find(b"}", start + 2) >= 0)
    if pattern != b"#" and not (known and slot_of(head) == slot_of(argv[1])):
        raise RedisError(
            f"ERR {option} option of SORT denied in Cluster mode when keys formed by the pattern "
            "may be in different slots."
        )


def _check_reach(ctx: Session, argv: list[bytes], option: str) -> None:
    """Patterns reach keys that no argument names, which a limited user may not."""
    if ctx.limited:
        entry = ctx.server.commands[argv[0].lower()]
        if not ctx.clients.access.may_read_every_key(ctx, entry, argv):
            raise RedisError(
                f"ERR {option} option of SORT denied due to insufficient ACL permissions."
            )


@command("sort")
def sort(ctx: Session, argv: list[bytes]) -> Reply:
    options = _Options(ctx, argv, read_only=False)
    found = _sorted(ctx, argv[1], options)
    if options.store is None:
        return found
    return _store(ctx, options.store, [b"" if each is None else each for each in found])


@command("sort_ro")
def sort_ro(ctx: Session, argv: list[bytes]) -> Reply:
    return _sorted(ctx, argv[1], _Options(ctx, argv, read_only=True))


def _store(ctx: Session, key: bytes, elements: list[bytes]) -> int:
    db = ctx.db
    if elements:
        fill = ctx.server.config.numbers["list-max-listpack-size"]
        db.set(key, List.of(elements, fill, ctx.server.debug.packed_threshold))
        db.changed(key, b"sortstore", LIST)
        ctx.db.context.dirty += len(elements) - 1
    elif db.remove(key):
        db.changed(key, b"del", GENERIC)
    return len(elements)


def _sorted(ctx: Session, key: bytes, options: _Options) -> list[bytes | None]:
    value = ctx.db.lookup(key)
    if value is None:
        elements = []
    elif isinstance(value, SortedSet):
        ctx.db.writable(key)
        value.compact = False
        elements = [member for member, _ in value.pairs()]
    elif isinstance(value, Set):
        elements = value.members()
    elif isinstance(value, List):
        elements = list(value)
    else:
        raise wrong_type()
    if (
        options.unsorted
        and isinstance(value, Set)
        and (options.store is not None or ctx.needs_fixed_order)
    ):
        options.unsorted, options.alpha, options.by = False, True, None
    if options.unsorted:
        if options.descending and not isinstance(value, Set):
            elements.reverse()
    elif options.alpha:
        _sort_texts(ctx, elements, options)
    else:
        _sort_numbers(ctx, elements, options)
    elements = options.cut(elements)
    if not options.get:
        return list(elements)
    return [_look(ctx, pattern, element) for element in elements for pattern in options.get]


def _sort_numbers(ctx: Session, elements: list[bytes], options: _Options) -> None:
    weights: dict[bytes, float] = {}
    for element in elements:
        weight = element if options.by is None else _look(ctx, options.by, element)
        weights[element] = 0.0 if weight is None else _number(ctx, weight)
    elements.sort(key=lambda each: (weights[each], each), reverse=options.descending)


def _sort_texts(ctx: Session, elements: list[bytes], options: _Options) -> None:
    """Sort by texts as C compares them, up to a zero byte; as bytes when the result is stored.

    What has no text comes first.
    """
    texts: dict[bytes, tuple[bool, bytes]] = {}
    for element in elements:
        text = element if options.by is None else _look(ctx, options.by, element)
        if text is None:
            texts[element] = (False, b"")
        else:
            texts[element] = (True, text if options.store is not None else _text(text))
    last = len(elements) - 1 if options.count < 0 else options.start + options.count - 1
    if options.by is None or (options.start <= 0 and last >= len(elements) - 1):
        elements.sort(key=texts.__getitem__, reverse=options.descending)
        return
    sign = -1 if options.descending else 1

    def compare(one: bytes, other: bytes) -> int:
        left, right = texts[one], texts[other]
        return sign * ((left > right) - (left < right))

    sort_range(elements, compare, max(options.start, 0), last)


def _look(ctx: Session, pattern: bytes, element: bytes) -> bytes | None:
    """What ``pattern`` leads to for ``element``."""
    if pattern == b"#":
        return element
    star = _text(pattern).find(b"*")
    if star < 0:
        return None
    arrow = _text(pattern).find(b"->", star + 1)
    if arrow < 0 or arrow + 2 >= len(_text(pattern)):
        arrow = len(pattern)
    key = pattern[:star] + element + pattern[star + 1 : arrow]
    value = ctx.db.lookup(key)
    if arrow < len(pattern):
        return value.get(pattern[arrow + 2 :]) if isinstance(value, Hash) else None
    return bytes(value) if isinstance(value, (bytes, bytearray)) else None


def _text(raw: bytes) -> bytes:
    """What C sees of ``raw``."""
    return raw.split(b"\0", 1)[0]


def _number(ctx: Session, raw: bytes) -> float:
    """A weight, read as this version reads doubles; an empty one is mostly 0.

    Raises:
        RedisError: It is not a number.
    """
    text = _text(raw)
    version = ctx.server.version
    strtod = version.before(8) and version.is_redis()
    if strtod:
        text = text.lstrip(_SPACE)
    if _DECIMAL(text):
        number = float(text)
        if _out_of_range(ctx, text, number, strtod):
            raise RedisError(_NO_NUMBER)
        return number
    if strtod and _HEXADECIMAL(text):
        try:
            return float.fromhex(text.decode())
        except OverflowError:
            raise RedisError(_NO_NUMBER) from None
    if not _text(raw) and version.is_redis():
        return 0.0
    raise RedisError(_NO_NUMBER)


def _out_of_range(ctx: Session, text: bytes, number: float, strtod: bool) -> bool:
    if b"i" in text.lower():
        return False
    if number in (float("inf"), float("-inf")):
        return strtod or ctx.server.version.is_valkey()
    digits = text.lower().split(b"e")[0].strip(b"+-0.")
    if not number:
        return bool(digits) and (strtod or ctx.server.version.is_valkey())
    return strtod and abs(number) < _SMALLEST_NORMAL
