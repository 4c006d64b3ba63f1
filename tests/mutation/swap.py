"""Replaces functions by mutants in a process that has imported the originals."""

from __future__ import annotations

import functools
import gc
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

_live: dict[str, list[FunctionType]] = defaultdict(list)
_caches: list[Any] = []


def prepare() -> None:
    """Find the existing functions, once, before the process forks for each mutant."""
    for found in gc.get_objects():
        if type(found) is FunctionType:
            _live[found.__code__.co_filename].append(found)
        elif isinstance(found, functools._lru_cache_wrapper):
            if str(getattr(found, "__module__", "")).startswith(("podlink", "redis_emulator")):
                _caches.append(found)
    gc.collect()
    gc.freeze()  # keeps the garbage collector of a fork from touching, and so copying, all memory


def swap_python(path: Path, source: str, function: str) -> bool:
    """Give the existing functions of a file the code that they have in ``source``.

    ``function`` is the mutated function. Only it and functions defined in it or around it are
    replaced. Returns false if there is none, or the code does not fit.
    """
    outermost = _outermost(compile(source, str(path), "exec", dont_inherit=True), function)
    swapped = 0
    for live in _live.get(str(path), ()):
        name = live.__qualname__.replace(".<locals>", "")
        other = outermost.get((name, live.__code__.co_firstlineno))
        if other is None:
            continue
        try:
            live.__code__ = other
        except ValueError:  # other free variables
            return False
        swapped += 1
    for cached in _caches:
        cached.cache_clear()
    return swapped > 0


def _outermost(module: CodeType, function: str) -> dict[tuple[str, int], CodeType]:
    """Return code by qualified name and first line: of the function, and of those in it and around
    it.
    """
    return {
        (name, code.co_firstlineno): code
        for name, code in _functions(module, "")
        if function == name or function.startswith(f"{name}.") or name.startswith(f"{function}.")
    }


def _functions(code: CodeType, path: str) -> Iterator[tuple[str, CodeType]]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            name = f"{path}.{constant.co_name}" if path else constant.co_name
            yield name, constant
            yield from _functions(constant, name)


def swap_script(name: str, source: str) -> None:
    """Replace the source of a Lua script of podlink, by its name and in each module."""
    from podlink import scripts

    old = scripts.SCRIPTS[name]
    new = scripts.SCRIPTS[name] = scripts.Script.of(name, source)
    for module in list(sys.modules.values()):
        namespace: dict[str, Any] = getattr(module, "__dict__", {})
        for key in [key for key, value in list(namespace.items()) if value is old]:
            namespace[key] = new
