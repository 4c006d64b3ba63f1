"""CLUSTERSCAN of Valkey, which iterates over the keys of all nodes of a cluster.

A cursor is ``fingerprint-{tag}-position``. The hash tag maps to the slot to continue with, so the
client sends the next call to the node that owns it. The position says how far the slot has been
scanned. It is valid only on the node whose fingerprint is in the cursor; any other node scans the
slot from the start.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.cluster.node import Node
from redis_emulator.cluster.slots import SLOTS, slot_of, tags
from redis_emulator.commands.cluster import own_node
from redis_emulator.commands.registry import command
from redis_emulator.commands.scan import ScanOptions, filter_keys, parse_options
from redis_emulator.resp.types import RedisError, Reply

_END: Final = b"0"
_CURSOR: Final = re.compile(rb"([^-]*)-([^-]*)-\s*\+?([0-9]+)", re.DOTALL).fullmatch
_LITERAL_PREFIX: Final = re.compile(rb"[^*?[\\]*").match
_HASH_TAG: Final = re.compile(rb"[^{]*{[^}]+}", re.DOTALL).match


@command("clusterscan")
def clusterscan(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    options = parse_options(ctx, argv, 2)
    pattern_slot = _slot_of_pattern(options.pattern)
    if argv[1] == _END:
        return [_first_cursor(options, pattern_slot), []]
    slot, position = _parse_cursor(node, argv[1])
    if options.slot not in (None, slot):
        raise RedisError("ERR Cursor slot mismatch with SLOT argument")
    if pattern_slot not in (None, slot):
        assert pattern_slot is not None
        later = options.slot is None and pattern_slot > slot
        return [_cursor(pattern_slot) if later else _END, []]
    if options.slot is not None or pattern_slot is not None:
        stop, next_cursor = slot + 1, _END
    else:
        stop = _end_of_slot_range(node, slot)
        next_cursor = _cursor(stop) if stop < SLOTS else _END
    entries = node.store.by_slot().places
    remaining = entries.irange((slot, position), (stop,))
    found = list(islice(remaining, min(options.count, len(entries))))
    for entry in remaining:
        if entry[:2] != found[-1][:2]:
            same_slot = entry[0] == found[-1][0]
            next_cursor = _cursor(entry[0], entry[1] if same_slot else 0, _fingerprint(node))
            break
        found.append(entry)  # keys at the same position are returned together
    return [next_cursor, filter_keys(ctx, [key for _, _, key in found], options)]


def _slot_of_pattern(pattern: bytes) -> int | None:
    """The slot of all keys that match the pattern, None if they can be in several slots."""
    literal = _LITERAL_PREFIX(pattern)
    assert literal is not None
    if literal[0] == pattern or _HASH_TAG(literal[0]):
        return slot_of(literal[0])
    return None


def _first_cursor(options: ScanOptions, pattern_slot: int | None) -> bytes:
    if options.slot is None:
        return _cursor(pattern_slot or 0)
    return _cursor(options.slot) if pattern_slot in (None, options.slot) else _END


def _parse_cursor(node: Node, raw: bytes) -> tuple[int, int]:
    """Return the slot of a cursor and the position in the slot."""
    parts = _CURSOR(raw)
    if parts is None or int(parts[3]) >= 1 << 64:
        raise RedisError("ERR Invalid cursor")
    position = int(parts[3]) // SLOTS if parts[1] == _fingerprint(node) else 0
    return slot_of(parts[2]), position


def _cursor(slot: int, position: int = 0, fingerprint: bytes = b"0") -> bytes:
    encoded_position = position * SLOTS + slot if fingerprint != b"0" else 0
    return b"%b-{%b}-%d" % (fingerprint, tags()[slot], encoded_position)


def _fingerprint(node: Node) -> bytes:
    return node.server.run_id[:6]


def _end_of_slot_range(node: Node, slot: int) -> int:
    """The first slot after ``slot`` that another node owns."""
    owners = node.cluster.owners
    owner = owners[slot]
    return next((each for each in range(slot, SLOTS) if owners[each] is not owner), SLOTS)
