"""LOLWUT: replies with the version line only, without a drawing.

The sizes of the drawing are checked as Redis does.
"""

from __future__ import annotations

from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import parse_float, parse_integer
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import RedisError, Reply, Verbatim

_SIZE_COUNTS: Final = {5: 3, 6: 2}
"""The number of size arguments by version of the drawing."""
_USAGE: Final = "ERR Syntax error. Use: LOLWUT [columns rows] [real imaginary]"


@command("lolwut")
def lolwut(ctx: Session, argv: list[bytes]) -> Reply:
    version = ctx.server.version
    drawing, sizes = version.number[0], argv[1:]
    if len(argv) > 2 and argv[1].lower() == b"version":
        drawing, sizes = parse_integer(argv[2]), argv[3:]
    for size in sizes[: _SIZE_COUNTS.get(drawing, 0)]:
        parse_integer(size)
    blank = " "
    if version.is_valkey(9):
        if drawing == 9:
            _check_sizes(sizes)
        elif drawing not in _SIZE_COUNTS:
            blank = ""
    return Verbatim(f"{version.flavour.capitalize()} ver.{blank}{version.text}\n".encode())


def _check_sizes(sizes: list[bytes]) -> None:
    if len(sizes) not in (0, 2, 4):
        raise RedisError(_USAGE)
    for size in sizes[:2]:
        parse_integer(size)
    for size in sizes[2:]:
        parse_float(size)
