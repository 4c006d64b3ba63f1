"""SORT and SORT_RO, which sort the elements of a list, set or sorted set.

The patterns of BY and GET name external keys: the element replaces ``*``, and a part after ``->``
names a hash field. Elements are compared as numbers and, if these are equal, as bytes. With ALPHA
they are compared as text. As in Redis, SORT converts a sorted set to a skiplist.
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

_NOT_A_NUMBER: Final = "ERR One or more scores can't be converted into double"
_DECIMAL: Final = re.compile(
    rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?i:inf(?:inity)?)"
).fullmatch
_HEXADECIMAL: Final = re.compile(
    rb"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?"
).fullmatch
_SMALLEST_NORMAL: Final = 2.0**-1022
_SPACE: Final = b" \t\n\v\f\r"


class _Options:
    """The options after the key.

    Attributes:
        alpha: Whether to compare text instead of numbers.
        by: The BY pattern, None to compare the elements themselves.
        count: The count of LIMIT, -1 for all.
        descending: Whether DESC was given.
        get: The GET patterns.
        start: The offset of LIMIT.
        store: The key to store the result in, None to return it.
        unsorted: Whether BY has no ``*``, so that the elements are not sorted.
    """

    __slots__ = ("alpha", "by", "count", "descending", "get", "start", "store", "unsorted")

    def __init__(self, ctx: Session, argv: list[bytes], *, read_only: bool) -> None:
        self.by: bytes | None = None
        self.get: list[bytes] = []
        self.store: bytes | None = None
        self.alpha = self.descending = self.unsorted = False
        self.start, self.count = 0, -1
        index = 2
        while index < len(argv):
            option = argv[index].upper()
            remaining = len(argv) - index - 1
            if option == b"ASC":
                self.descending = False
            elif option == b"DESC":
                self.descending = True
            elif option == b"ALPHA":
                self.alpha = True
            elif option == b"LIMIT" and remaining >= 2:
                self.start = parse_integer(argv[index + 1])
                self.count = parse_integer(argv[index + 2])
                index += 2
            elif option == b"STORE" and remaining and not read_only:
                index += 1
                self.store = argv[index]
            elif option == b"BY" and remaining:
                index += 1
                self.by = argv[index]
                if b"*" in _c_string(self.by):
                    _check_slot(ctx, argv, self.by, "BY")
                    _check_acl(ctx, argv, "BY")
                else:
                    self.unsorted = True
            elif option == b"GET" and remaining:
                index += 1
                _check_slot(ctx, argv, argv[index], "GET")
                _check_acl(ctx, argv, "GET")
                self.get.append(argv[index])
            else:
                raise syntax_error()
            index += 1

    def apply_limit(self, elements: list[bytes]) -> list[bytes]:
        """The elements within LIMIT."""
        start = max(self.start, 0)
        return elements[start:] if self.count < 0 else elements[start : start + self.count]


def _check_slot(ctx: Session, argv: list[bytes], pattern: bytes, option: str) -> None:
    """Check that in a cluster the pattern only names keys in the slot of the sorted key.

    Redis before 7.4 rejects all patterns in a cluster.
    """
    version = ctx.server.version
    if node_of(ctx) is None:
        return
    if version.is_redis() and version.before(7, 4):
        raise RedisError(f"ERR {option} option of SORT denied in Cluster mode.")
    head, star, _ = pattern.partition(b"*")
    start = head.find(b"{")
    slot_known = not star or (start >= 0 and head.find(b"}", start + 2) >= 0)
    if pattern != b"#" and not (slot_known and slot_of(head) == slot_of(argv[1])):
        raise RedisError(
            f"ERR {option} option of SORT denied in Cluster mode when keys formed by the pattern "
            "may be in different slots."
        )


def _check_acl(ctx: Session, argv: list[bytes], option: str) -> None:
    """Check that the user may read all keys, as the pattern can name any key."""
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
        _sort_alpha(ctx, elements, options)
    else:
        _sort_numbers(ctx, elements, options)
    elements = options.apply_limit(elements)
    if not options.get:
        return list(elements)
    return [
        _lookup_pattern(ctx, pattern, element) for element in elements for pattern in options.get
    ]


def _sort_numbers(ctx: Session, elements: list[bytes], options: _Options) -> None:
    weights: dict[bytes, float] = {}
    for element in elements:
        weight = element if options.by is None else _lookup_pattern(ctx, options.by, element)
        weights[element] = 0.0 if weight is None else _parse_weight(ctx, weight)
    elements.sort(key=lambda each: (weights[each], each), reverse=options.descending)


def _sort_alpha(ctx: Session, elements: list[bytes], options: _Options) -> None:
    """Sort as Redis does with ALPHA.

    Redis compares with ``strcoll``, which ends at a zero byte, and all bytes if STORE is given.
    Elements without a value for BY come first.
    """
    texts: dict[bytes, tuple[bool, bytes]] = {}
    for element in elements:
        text = element if options.by is None else _lookup_pattern(ctx, options.by, element)
        if text is None:
            texts[element] = (False, b"")
        else:
            texts[element] = (True, text if options.store is not None else _c_string(text))
    last = len(elements) - 1 if options.count < 0 else options.start + options.count - 1
    if options.by is None or (options.start <= 0 and last >= len(elements) - 1):
        elements.sort(key=texts.__getitem__, reverse=options.descending)
        return
    sign = -1 if options.descending else 1

    def compare(one: bytes, other: bytes) -> int:
        left, right = texts[one], texts[other]
        return sign * ((left > right) - (left < right))

    sort_range(elements, compare, max(options.start, 0), last)


def _lookup_pattern(ctx: Session, pattern: bytes, element: bytes) -> bytes | None:
    """The value that a BY or GET pattern names for ``element``, None if there is none."""
    if pattern == b"#":
        return element
    star = _c_string(pattern).find(b"*")
    if star < 0:
        return None
    arrow = _c_string(pattern).find(b"->", star + 1)
    if arrow < 0 or arrow + 2 >= len(_c_string(pattern)):
        arrow = len(pattern)
    key = pattern[:star] + element + pattern[star + 1 : arrow]
    value = ctx.db.lookup(key)
    if arrow < len(pattern):
        return value.get(pattern[arrow + 2 :]) if isinstance(value, Hash) else None
    return bytes(value) if isinstance(value, (bytes, bytearray)) else None


def _c_string(raw: bytes) -> bytes:
    """The part before the first zero byte, which is what C string functions read."""
    return raw.split(b"\0", 1)[0]


def _parse_weight(ctx: Session, raw: bytes) -> float:
    """Parse a weight as this release parses doubles. Redis reads an empty string as 0.

    Raises:
        RedisError: It is not a number.
    """
    text = _c_string(raw)
    version = ctx.server.version
    strtod = version.before(8) and version.is_redis()
    if strtod:
        text = text.lstrip(_SPACE)
    if _DECIMAL(text):
        number = float(text)
        if _is_out_of_range(ctx, text, number, strtod):
            raise RedisError(_NOT_A_NUMBER)
        return number
    if strtod and _HEXADECIMAL(text):
        try:
            return float.fromhex(text.decode())
        except OverflowError:
            raise RedisError(_NOT_A_NUMBER) from None
    if not _c_string(raw) and version.is_redis():
        return 0.0
    raise RedisError(_NOT_A_NUMBER)


def _is_out_of_range(ctx: Session, text: bytes, number: float, strtod: bool) -> bool:
    if b"i" in text.lower():
        return False
    if number in (float("inf"), float("-inf")):
        return strtod or ctx.server.version.is_valkey()
    digits = text.lower().split(b"e")[0].strip(b"+-0.")
    if not number:
        return bool(digits) and (strtod or ctx.server.version.is_valkey())
    return strtod and abs(number) < _SMALLEST_NORMAL
