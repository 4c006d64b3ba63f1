"""Streams in RDB: nodes as listpacks, then counters, groups, pending entries, consumers.

The listpack of a node starts with the master entry: the number of entries, the number of deleted
ones, and the field names of the first. An entry is its flags, the difference of its id to that of
the node, its fields (only the values if it has the field names of the master entry), and the number
of listpack elements that it takes.
"""

from __future__ import annotations

from redis_emulator.rdb import codes
from redis_emulator.rdb.packed import pack, unpack
from redis_emulator.rdb.wire import Reader, Writer
from redis_emulator.values.stream import Consumer, Group, Node, Pending, Stream

_DELETED, _SAME_FIELDS = 1, 2
_ONES = _UNKNOWN = (1 << 64) - 1

_Id = tuple[int, int]


def write_stream(out: Writer, stream: Stream) -> None:
    """Append the type byte and data of a stream.

    The second revision of the format added counters of entries, the third the active time of
    consumers.
    """
    revision = 1 + (out.version >= codes.LISTPACKS) + (out.version >= codes.SET_LISTPACKS)
    out.byte((codes.STREAM, codes.STREAM_2, codes.STREAM_3)[revision - 1])
    out.length(len(stream.nodes))
    for node in stream.nodes:
        out.plain(_raw_id(node.first))
        out.string(_pack_node(node))
    out.length(stream.length)
    _write_id(out, stream.last_id)
    if revision >= 2:
        _write_id(out, stream.first_id)
        _write_id(out, stream.max_deleted)
        out.length(stream.added)
    out.length(len(stream.groups))
    for name, group in stream.groups.items():
        out.string(name)
        _write_group(out, group, revision)


def _pack_node(node: Node) -> bytes:
    deleted = {each: node.deleted[each] for each in node.deleted if each not in node.entries}
    items: list[bytes | int] = [len(node.ids), len(deleted), len(node.fields), *node.fields, 0]
    for entry_id, fields in sorted((node.entries | deleted).items()):
        same = fields[::2] == node.fields
        body: list[bytes | int] = list(fields[1::2]) if same else [len(fields) // 2, *fields]
        body[:0] = [
            (_SAME_FIELDS if same else 0) | (_DELETED if entry_id in deleted else 0),
            _signed(entry_id[0] - node.first[0]),
            _signed(entry_id[1] - node.first[1]),
        ]
        items += [*body, len(body)]
    return pack(items)


def _signed(number: int) -> int:
    """The number as a signed 64-bit integer."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def _write_group(out: Writer, group: Group, revision: int) -> None:
    _write_id(out, group.last_id)
    if revision >= 2:
        out.length(group.entries_read & _UNKNOWN)
    out.length(len(group.pending))
    for entry_id, pending in group.pending.items():
        out.data += _raw_id(entry_id)
        out.milliseconds(pending.delivered_at)
        out.length(pending.deliveries)
    out.length(len(group.consumers))
    for name, consumer in group.consumers.items():
        out.string(name)
        out.milliseconds(consumer.seen_at)
        if revision >= 3:
            out.milliseconds(consumer.active_at)
        out.length(len(consumer.pending))
        for entry_id in consumer.pending:
            out.data += _raw_id(entry_id)


def read_stream(source: Reader, revision: int) -> Stream:
    """Read a stream.

    Raises:
        ValueError: The data is invalid.
    """
    stream = Stream()
    latest = (-1, 0)
    for _ in range(source.length()):
        first = _read_raw_id(source.string())
        node = _unpack_node(first, unpack(source.string()))
        for entry_id in node.ids:
            if entry_id <= latest:
                raise ValueError("stream entries are out of order")
            latest = entry_id
        if node.ids:
            stream.nodes.append(node)
    stream.length = source.length()
    if stream.length != sum(len(node.ids) for node in stream.nodes):
        raise ValueError("a stream has a wrong length")
    stream.last_id = _read_id(source)
    if stream.last_id < latest:
        raise ValueError("a stream entry has an id above the last id of the stream")
    stream.added = stream.length
    if revision >= 2:
        _read_id(source)
        stream.max_deleted = _read_id(source)
        stream.added = source.length()
    for _ in range(source.length()):
        name = source.string()
        if name in stream.groups:
            raise ValueError("a consumer group occurs twice")
        stream.groups[name] = _read_group(source, stream, revision)
    return stream


def _unpack_node(first: _Id, items: list[bytes]) -> Node:
    walk = iter(items)
    try:
        live, deleted, names = int(next(walk)), int(next(walk)), int(next(walk))
        master = [next(walk) for _ in range(names)]
        next(walk)
        node = Node(first, tuple(part for name in master for part in (name, b"")))
        for _ in range(live + deleted):
            flags = int(next(walk))
            entry_id = ((first[0] + int(next(walk))) & _ONES, (first[1] + int(next(walk))) & _ONES)
            if flags & _SAME_FIELDS:
                fields = tuple(part for name in master for part in (name, next(walk)))
            else:
                fields = tuple(next(walk) for _ in range(2 * int(next(walk))))
            next(walk)
            if entry_id in node.entries:
                raise ValueError("a stream entry occurs twice")
            node.append(entry_id, fields)
            if flags & _DELETED:
                node.ids.pop()
                node.deleted[entry_id] = node.entries.pop(entry_id)
    except (StopIteration, RuntimeError):
        raise ValueError("a stream node is truncated") from None
    if next(walk, None) is not None or len(node.ids) != live:
        raise ValueError("a stream node has a wrong count")
    return node


def _read_group(source: Reader, stream: Stream, revision: int) -> Group:
    last_id = _read_id(source)
    if revision >= 2:
        read = source.length()
        read = -1 if read == _UNKNOWN else read
    else:
        read = stream.estimate_read(last_id, check_deleted=True)
    group = Group(last_id, read)
    unowned: dict[_Id, tuple[int, int]] = {}
    for _ in range(source.length()):
        entry_id = _read_raw_id(source.take(16))
        unowned[entry_id] = (source.milliseconds(), source.length())
    for _ in range(source.length()):
        consumer = Consumer(source.string(), source.milliseconds())
        consumer.active_at = source.milliseconds() if revision >= 3 else consumer.seen_at
        if consumer.name in group.consumers:
            raise ValueError("a consumer occurs twice")
        group.consumers[consumer.name] = consumer
        for _ in range(source.length()):
            entry_id = _read_raw_id(source.take(16))
            if entry_id not in unowned:
                raise ValueError("a consumer has an entry that is not pending")
            pending = Pending(consumer, *unowned.pop(entry_id))
            consumer.pending[entry_id] = group.pending[entry_id] = pending
    if unowned:
        raise ValueError("a pending entry has no consumer")
    return group


def _raw_id(entry_id: _Id) -> bytes:
    return entry_id[0].to_bytes(8, "big") + entry_id[1].to_bytes(8, "big")


def _read_raw_id(raw: bytes) -> _Id:
    if len(raw) != 16:
        raise ValueError("a stream id must have 16 bytes")
    return int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:], "big")


def _write_id(out: Writer, entry_id: _Id) -> None:
    out.length(entry_id[0])
    out.length(entry_id[1])


def _read_id(source: Reader) -> _Id:
    return source.length(), source.length()
