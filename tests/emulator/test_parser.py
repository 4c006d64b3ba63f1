"""The request parser: each fast path finds the same commands as parsing one argument at a time.

``make hiredis`` runs these with hiredis too.
"""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redis_emulator.resp import batch
from redis_emulator.resp.batch import Batch, HiredisParser, split_commands
from redis_emulator.resp.decode import ProtocolError, RequestParser
from tests.support.examples import examples

Take = Callable[[bytes], Batch]
FAST_PATHS: dict[str, Callable[[], Take]] = {"split": lambda: split_commands}
hiredis: Any = vars(batch)["hiredis"]  # None if it is not installed
if hiredis is not None:
    FAST_PATHS["hiredis"] = lambda: HiredisParser(hiredis)


def frame(*argv: bytes) -> bytes:
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in argv)


def nothing(_: bytes) -> Batch:
    """Take no command, so that the parser reads each argument itself."""
    return [], 0


def read(take: Take, pieces: list[bytes], *, strict: bool) -> tuple[list[list[bytes]], str]:
    """Feed the pieces to a parser; return its commands and the text of its protocol error."""
    parser = RequestParser(strict_ends=strict, bulk_max=1 << 20)
    parser._parse_batch = take
    found: list[list[bytes]] = []
    try:
        for piece in pieces:
            found.extend(parser.feed(piece))
    except ProtocolError as error:
        return found, str(error)
    return found, ""


arguments = st.one_of(
    st.sampled_from([b"", b"GET", b"k", b"\r\n", b"$3\r\nabc\r\n", b"*1\r\n", b"\n~1000"]),
    st.binary(max_size=40),
    st.integers(1000, 1100).map(lambda size: b"x" * size),
)
frames = st.lists(arguments, min_size=1, max_size=4).map(lambda argv: frame(*argv))
other_frames = st.sampled_from(
    [
        b"*0\r\n",
        b"*-1\r\n",
        b"*1\r\n$-1\r\n",
        b"*01\r\n$4\r\nPING\r\n",
        b"*1\r\n$04\r\nPING\r\n",
        b"*1\r\n$4\r\nPING\n\r",
        b"PING\r\n",
        b"\r\n",
        b'ECHO "a b"\r\n',
        b"+OK\r\n",
        b":1\r\n",
        b"#f\r\n",
        b"_\r\n",
        b"%1\r\n+a\r\n+b\r\n",
        b"*1\r\n+PING\r\n",
        b"*2\r\n+ab\r\n=7\r\ntxt:abc\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n#t\r\n",
        b"*1\r\n,1.5\r\n",
        b"*1\r\n(123\r\n",
        b"*1\r\n-ERR x\r\n",
        b"*1\r\n*1\r\n$4\r\nPING\r\n",
        b"*1\r\n%1\r\n*0\r\n:1\r\n",
        b"*1\r\n|1\r\n+a\r\n+b\r\n$1\r\na\r\n",
        b"*1\r\n>1\r\n$1\r\na\r\n",
        b"*1\r\n" * 20,
        b"*1000\r\n",
    ]
)
streams = st.lists(
    st.one_of(frames, frames.map(lambda one: one * 12), other_frames, st.binary(max_size=6)),
    max_size=8,
).map(b"".join)


@st.composite
def pieces_of(draw: st.DrawFn) -> list[bytes]:
    """Requests, possibly damaged at one position, and cut into pieces at random."""
    data = bytearray(draw(streams))
    if data and draw(st.booleans()):
        place = draw(st.integers(0, len(data) - 1))
        data[place : place + 1] = draw(st.sampled_from([b"", b"*", b"$", b"1", b"\r\n", b"x"]))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    return [bytes(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@pytest.mark.parametrize("way", FAST_PATHS)
@pytest.mark.parametrize("strict", [False, True], ids=["redis", "valkey"])
@settings(max_examples=examples(1500))
@given(pieces=pieces_of())
def test_fast_paths_find_the_same_commands(way: str, strict: bool, pieces: list[bytes]) -> None:
    assert read(FAST_PATHS[way](), pieces, strict=strict) == read(nothing, pieces, strict=strict)


@pytest.mark.parametrize("way", FAST_PATHS)
@pytest.mark.parametrize("size", [1, 7, 64, 4096, 1 << 20])
def test_parsing_resumes_after_any_command(way: str, size: int) -> None:
    source = random.Random(size)
    for _ in range(200):
        commands = [
            [
                source.randbytes(source.choice((0, 1, 3, 20, 1500)))
                for _ in range(source.randint(1, 5))
            ]
            for _ in range(source.choice((1, 3, 6, 80)))
        ]
        data = b"".join(frame(*argv) for argv in commands)
        parser, found = RequestParser(), []
        parser._parse_batch = FAST_PATHS[way]()
        for place in range(0, len(data), size):
            parser.add(data[place : place + size])
            for argv in parser.commands():
                found.append(argv)
                if source.random() < 0.3:
                    break
        found += parser.commands()
        assert found == commands
        assert parser.size == 0


@pytest.mark.parametrize("way", FAST_PATHS)
def test_size_includes_commands_that_were_not_read_yet(way: str) -> None:
    parser = RequestParser()
    parser._parse_batch = FAST_PATHS[way]()
    parser.add(frame(b"SET", b"key", b"x" * 100) * 10)
    assert next(parser.commands())[0] == b"SET"
    assert 9 * 106 <= parser.size < 1500


@pytest.mark.parametrize("way", FAST_PATHS)
@pytest.mark.parametrize("kind", [b"*", b"~", b"%", b">", b"|", b"*1\r\n*", b"*1\r\n~", b"*1\r\n%"])
def test_large_announced_lengths_allocate_no_memory(way: str, kind: bytes) -> None:
    data = frame(b"PING") * 100 + kind + b"99999999\r\n" + b":1\r\n" * 100
    take = FAST_PATHS[way]()
    tracemalloc.start()
    try:
        commands, _ = take(data)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert commands == [[b"PING"]] * 100


@pytest.mark.parametrize("way", FAST_PATHS)
@pytest.mark.parametrize("end", [b"", b"\r", b"\r\n", b"xx", b"x\n", b"\n\r", b"\r\nxx", b"$1"])
def test_large_lengths_after_broken_framing_allocate_no_memory(way: str, end: bytes) -> None:
    for kind in (b"*", b"~", b"%", b">"):
        broken = b"*1\r\n$4\r\nPING" + end + kind + b"99999999\r\n"
        data = frame(b"PING") * 100 + broken + b"$1\r\nx\r\n" * 100
        take = FAST_PATHS[way]()
        tracemalloc.start()
        try:
            commands, _ = take(data)
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()
        assert commands == [[b"PING"]] * (100 + end.startswith(b"\r\n"))
        assert take(frame(b"PING") * 60)[0] == [[b"PING"]] * 60


@pytest.mark.parametrize("way", FAST_PATHS)
def test_nested_arrays_are_not_commands(way: str) -> None:
    take = FAST_PATHS[way]()
    for depth in (2, 8, 100, 10_000):
        assert take(b"*1\r\n" * depth + frame(b"PING") * 60)[0] == []
        assert take(frame(b"PING") * 60)[0] == [[b"PING"]] * 60
