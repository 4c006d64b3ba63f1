"""Rewrites Lua 5.1 bytecode: tail calls of library functions become normal calls.

``return redis.call(...)`` is a tail call. Lua removes the caller's frame if the callee is a Lua
function, and keeps it for a C function. The API of a real server is written in C, that of the
emulator in Lua, and error messages take their line number from the removed frame. Therefore
TAILCALL is replaced by CALL; the RETURN after it already returns all results. This is done if the
callee is loaded from a field or global with the name of a library function, or from a local
variable that was set from such a field. Other tail calls, such as recursion in scripts, are not
changed.

The input is always the output of Lua's ``string.dump``. Scripts cannot pass bytecode.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

_MOVE, _GETUPVAL, _GETGLOBAL, _GETTABLE, _SELF = 0, 4, 5, 6, 11
_CALL, _TAILCALL = 28, 29
_CONSTANT = 256


@dataclass
class _Function:
    code_at: int
    code: list[int] = field(default_factory=list)
    constants: list[bytes | None] = field(default_factory=list)
    locals: list[tuple[bytes, int, int]] = field(default_factory=list)
    upvalues: list[bytes] = field(default_factory=list)


class _Reader:
    def __init__(self, chunk: bytes) -> None:
        self.chunk = chunk
        self.at = 12
        self.order = "<" if chunk[6] else ">"
        self.size_t = chunk[8]
        self.number = chunk[10]

    def byte(self) -> int:
        self.at += 1
        return self.chunk[self.at - 1]

    def integer(self, size: int = 4) -> int:
        self.at += size
        raw = self.chunk[self.at - size : self.at]
        return int.from_bytes(raw, "little" if self.order == "<" else "big")

    def string(self) -> bytes:
        size = self.integer(self.size_t)
        self.at += size
        return self.chunk[self.at - size : self.at - 1] if size else b""

    def functions(self) -> Iterator[_Function]:
        self.string()
        self.at += 8 + 4
        count = self.integer()
        function = _Function(self.at)
        function.code = list(struct.unpack_from(f"{self.order}{count}I", self.chunk, self.at))
        self.at += 4 * count
        for _ in range(self.integer()):
            function.constants.append(self._constant())
        for _ in range(self.integer()):
            yield from self.functions()
        lines = self.integer()
        self.at += 4 * lines
        for _ in range(self.integer()):
            function.locals.append((self.string(), self.integer(), self.integer()))
        for _ in range(self.integer()):
            function.upvalues.append(self.string())
        yield function

    def _constant(self) -> bytes | None:
        kind = self.byte()
        if kind == 4:
            return self.string()
        self.at += {0: 0, 1: 1, 3: self.number}[kind]
        return None


def replace_tail_calls(chunk: bytes, names: frozenset[bytes]) -> bytes:
    """Replace tail calls of functions called ``names`` by normal calls."""
    reader = _Reader(chunk)
    functions = list(reader.functions())
    aliases = set()
    for function in functions:
        for name, start, _ in function.locals:
            if 0 < start <= len(function.code) and _name(function, start - 1, frozenset()) in names:
                aliases.add(name)
    known = names | aliases
    patched = bytearray(chunk)
    for function in functions:
        for pc, instruction in enumerate(function.code):
            if instruction & 0x3F != _TAILCALL:
                continue
            register = instruction >> 6 & 0xFF
            if _callee(function, pc, register, known) in known:
                changed = instruction & ~0x3F | _CALL
                struct.pack_into(f"{reader.order}I", patched, function.code_at + 4 * pc, changed)
    return bytes(patched)


def _callee(function: _Function, pc: int, register: int, known: frozenset[bytes]) -> bytes | None:
    """The name from which the function in ``register`` was loaded, searching back from ``pc``."""
    for at in range(pc - 1, -1, -1):
        instruction = function.code[at]
        if instruction >> 6 & 0xFF == register and instruction & 0x3F in (
            _MOVE, _GETUPVAL, _GETGLOBAL, _GETTABLE, _SELF,
        ):  # fmt: skip
            return _name(function, at, known)
    return None


def _name(function: _Function, at: int, known: frozenset[bytes]) -> bytes | None:
    instruction = function.code[at]
    operation = instruction & 0x3F
    b, c = instruction >> 23, instruction >> 14 & 0x1FF
    if operation in (_GETTABLE, _SELF):
        return function.constants[c - _CONSTANT] if c >= _CONSTANT else None
    if operation == _GETGLOBAL:
        return function.constants[instruction >> 14]
    if operation == _GETUPVAL:
        return function.upvalues[b]
    if operation == _MOVE:
        active = [name for name, start, end in function.locals if start <= at < end]
        return active[b] if b < len(active) else None
    return None
