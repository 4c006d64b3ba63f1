"""The `command` decorator, which binds functions to rows of the command table.

`entries` returns the commands that a server of some version has.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

from redis_emulator.table import load
from redis_emulator.table.entry import Entry, Handler
from redis_emulator.version import Version, releases

_handlers: dict[str, Handler] = {}
_full_checks: set[str] = set()


def command(*names: str, full_checks: bool = False) -> Callable[[Handler], Handler]:
    """Bind a function to rows of the command table; a subcommand is ``"config|get"``.

    Args:
        names: The names of the rows.
        full_checks: Whether the command needs full checks because it can block the client or send
            messages after its reply. Commands with the flag ``blocking`` always get full checks.

    Raises:
        KeyError: The table has no row of that name.
    """
    rows = load()

    def bind(handler: Handler) -> Handler:
        for name in names:
            rows[name]
            _handlers[name] = handler
            if full_checks:
                _full_checks.add(name)
        return handler

    return bind


def entries(version: Version) -> dict[bytes, Entry]:
    """The commands of a server of ``version``, by lower-case and upper-case name."""
    _import_command_modules()
    rows = load()
    found: dict[bytes, Entry] = {}
    subcommands: dict[str, dict[bytes, Entry]] = {}
    for name, handler in _handlers.items():
        spec = rows[name]
        if not spec.exists_in(version):
            continue
        entry = Entry(spec.of(version), handler)
        entry.needs_full_checks |= name in _full_checks
        container, separator, sub = name.partition("|")
        if separator:
            subcommands.setdefault(container, {})[sub.encode()] = entry
            subcommands[container][sub.upper().encode()] = entry
            if container not in _handlers and container.encode() not in found:
                _add(found, container, Entry(rows[container], no_subcommand))
        else:
            _add(found, name, entry)
    for container, members in subcommands.items():
        entry = found[container.encode()]
        entry.subcommands = members
        entry.needs_full_checks = True
    return found


def emulated() -> set[str]:
    """The names of all emulated commands, of any release."""
    names = set()
    for flavour, series in releases():
        for entry in entries(Version.parse(series, flavour)).values():
            names.add(entry.name)
            names.update(sub.name for sub in (entry.subcommands or {}).values())
    return names


def _add(found: dict[bytes, Entry], name: str, entry: Entry) -> None:
    found[name.encode()] = entry
    found[name.upper().encode()] = entry


def no_subcommand(*_: object) -> object:
    """Handler of a container command that cannot be called without a subcommand."""
    raise RuntimeError("a container command cannot be called without a subcommand")


def _import_command_modules() -> None:
    import redis_emulator.commands as package

    for module in pkgutil.iter_modules(package.__path__):
        if module.name == "__main__":
            continue
        importlib.import_module(f"{package.__name__}.{module.name}")
