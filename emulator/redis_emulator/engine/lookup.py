"""Command lookup by name and subcommand, and the errors for unknown commands and wrong arity."""

from __future__ import annotations

from typing import Final

from redis_emulator.resp.types import RedisError, Reply, quote
from redis_emulator.table.entry import Entry
from redis_emulator.version import Version

_CHECKS_KEY_FIRST: Final = frozenset({"xgroup", "xinfo"})
"""Container commands that check the key before the subcommand, before Redis 7."""
_EXEC_ABORTED: Final = "EXECABORT Transaction discarded because of: "


class Lookup:
    """Finds commands in the table of one server.

    Args:
        commands: The commands by lower-case and upper-case name.
        version: The release, for the error texts.
    """

    def __init__(self, commands: dict[bytes, Entry], version: Version) -> None:
        self._commands = commands
        self._version = version
        self._old = version.before(7)

    def find(self, argv: list[bytes], in_cluster: bool) -> Entry:
        """Look up the command or subcommand of ``argv``.

        Raises:
            RedisError: It does not exist, or the number of arguments is wrong.
        """
        entry = self._commands.get(argv[0]) or self._commands.get(argv[0].lower())
        if entry is None:
            raise RedisError(self._unknown_command(argv))
        if entry.subcommands is not None and len(argv) > 1:
            sub = entry.subcommands.get(argv[1]) or entry.subcommands.get(argv[1].lower())
            if sub is None:
                return self._unknown_subcommand(entry, argv, in_cluster)
            if not sub.min_argc <= len(argv) <= sub.max_argc:
                sub.rejected += 1
                if self._old:
                    return self._unknown_subcommand(entry, argv, in_cluster)
                raise RedisError(wrong_arity(sub))
            return sub
        if not entry.min_argc <= len(argv) <= entry.max_argc:
            entry.rejected += 1
            raise RedisError(wrong_arity(entry))
        return entry

    def container(self, argv: list[bytes]) -> Entry | None:
        """Before Redis 7: the container command of ``argv``, if the number of arguments fits it.

        Those servers look up the subcommand when the command runs. MULTI queues a container with
        an unknown subcommand, and ACL is checked for the container.
        """
        entry = self._commands.get(argv[0].lower())
        if (
            entry is None
            or entry.subcommands is None
            or not self._old
            or not entry.min_argc <= len(argv) <= entry.max_argc
        ):
            return None
        return entry

    def checks_authentication_first(self, argv: list[bytes]) -> bool:
        """Whether NOAUTH comes before the error for an unknown command or wrong arity."""
        entry = self._commands.get(argv[0].lower())
        if entry is not None and "no_auth" in entry.flags:
            return False
        if self._version.is_valkey():
            return True
        return self._old and entry is not None and entry.subcommands is not None

    def _unknown_subcommand(self, entry: Entry, argv: list[bytes], in_cluster: bool) -> Entry:
        """Handle a container command without a matching subcommand: return the entry to run.

        Raises:
            RedisError: The subcommand is unknown.
        """
        if entry.name in _CHECKS_KEY_FIRST and self._old:
            return entry
        word, name = quote(argv[1][:128]), entry.name.split("|")[0].upper()
        if not self._old:
            raise RedisError(f"ERR unknown subcommand '{word}'. Try {name} HELP.")
        if name == "CLUSTER" and not in_cluster:
            raise RedisError("ERR This instance has cluster support disabled")
        raise RedisError(
            f"ERR Unknown subcommand or wrong number of arguments for '{word}'. Try {name} HELP."
        )

    def _unknown_command(self, argv: list[bytes]) -> str:
        name = quote(argv[0] if self._old else argv[0][:128])
        opening, closing = ("`", "`, ") if self._old else ("'", "' ")
        quoted = ""
        for argument in argv[1:]:
            if len(quoted) >= 128:
                break
            quoted += f"{opening}{quote(argument[: 128 - len(quoted)])}{closing}"
        if self._old:
            return f"ERR unknown command `{name}`, with args beginning with: {quoted}"
        return f"ERR unknown command '{name}', with args beginning with: {quoted}"


def wrong_arity(entry: Entry) -> str:
    """The error for a wrong number of arguments."""
    text = f"wrong number of arguments for '{entry.name}' command"
    return f"{_EXEC_ABORTED}{text}" if entry.name == "exec" else f"ERR {text}"


def exec_aborted(refusal: str) -> str:
    """The error of EXEC when EXEC itself is refused."""
    return f"{_EXEC_ABORTED}{refusal.removeprefix('ERR ')}"


def failing_entry(container: Entry, error: RedisError) -> Entry:
    """An entry that raises ``error`` when it runs. MULTI queues it for an unknown subcommand."""

    def fail(*_: object) -> Reply:
        raise error

    return Entry(container.spec, fail)
