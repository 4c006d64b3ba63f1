"""ACL: the users of one server, permission checks, and the ACL log.

The engine checks each command of a client whose user has restrictions (`Client.limited`). EXEC
checks the queued commands again, and scripts check each call. Clients whose user may do everything
are not checked. If all selectors of a user deny a command, the error names the reason of the
selector that failed last in the order of the checks: database, command, keys, channels.

The rules of ACL SETUSER are in `redis_emulator.clients.acl`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from redis_emulator.clients import description
from redis_emulator.clients.acl import READ, WRITE, Selector, User
from redis_emulator.clients.client import Client
from redis_emulator.clients.registry import Registry
from redis_emulator.glob import glob
from redis_emulator.resp.types import quote
from redis_emulator.server.server import Server
from redis_emulator.table.entry import Entry
from redis_emulator.table.keyspec import keys

OF_DATABASE: Final = 1
OF_COMMAND: Final = 2
OF_KEY: Final = 3
OF_LOGIN: Final = 4
OF_CHANNEL: Final = 5
REASONS: Final = {
    OF_DATABASE: b"database",
    OF_COMMAND: b"command",
    OF_KEY: b"key",
    OF_LOGIN: b"auth",
    OF_CHANNEL: b"channel",
}
_GROUPING_MS: Final = 60_000
_GROUPING_ENTRIES: Final = 10
_ACCESS_BY_FLAG: Final = {"access": READ, "insert": WRITE, "delete": WRITE, "update": WRITE}
_CHANNEL_ARGUMENTS: Final = {
    "publish": slice(1, 2),
    "spublish": slice(1, 2),
    "subscribe": slice(1, None),
    "ssubscribe": slice(1, None),
    "psubscribe": slice(1, None),
}
_USES_DATABASE: Final = frozenset(
    {"watch", "eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro"}
)
_QUEUED_DENIAL: Final = (
    "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC "
    "call. This command is no longer allowed for the following reason: {}"
)
_REASON_TEXTS: Final = {
    OF_DATABASE: "no permission",
    OF_COMMAND: "no permission to execute the command or subcommand",
    OF_KEY: "no permission to touch the specified keys",
    OF_CHANNEL: "no permission to access one of the channels used as arguments",
}


@dataclass(slots=True)
class AclLogEntry:
    """One entry of ACL LOG; ``count`` is how often the same denial happened."""

    number: int
    reason: int
    context: bytes
    object: bytes
    user: str
    client: str
    created: int
    updated: int
    count: int = 1


class Denial:
    """Why a user may not run a command.

    Attributes:
        reason: One of the ``OF_`` constants.
        position: The index of the argument that is not permitted; 0 for the command itself.
    """

    __slots__ = ("position", "reason")

    def __init__(self, reason: int, position: int = 0) -> None:
        self.reason = reason
        self.position = position


class Access:
    """The users of one server.

    Attributes:
        users: By name.
        log: The entries of ACL LOG, newest first.
        denied: The number of denials by reason.
    """

    def __init__(self, server: Server, registry: Registry) -> None:
        self._server = server
        self._version = server.version
        self._registry = registry
        self.users: dict[str, User] = {"default": self._new_unlimited_user("default")}
        self.log: deque[AclLogEntry] = deque()
        self._entries = 0
        self.denied = dict.fromkeys(REASONS, 0)

    def _new_unlimited_user(self, name: str) -> User:
        user = User(name, self._version, True)
        for rule in (b"on", b"nopass", b"allkeys", b"allchannels", b"+@all"):
            user.apply(rule, True)
        return user

    @property
    def all_channels(self) -> bool:
        """Whether new users get all channels (``acl-pubsub-default``)."""
        return self._server.config.values.get("acl-pubsub-default") == "allchannels"

    def new_user(self, name: str) -> User:
        """Create a user without permissions. It is not added to `users`."""
        return User(name, self._version, self.all_channels)

    def needs_password(self) -> bool:
        """Whether new connections must authenticate."""
        default = self.users["default"]
        return not default.nopass or not default.enabled

    def accepts(self, user: bytes, password: bytes) -> bool:
        """Whether ``user`` is enabled and ``password`` is one of its passwords."""
        found = self.users.get(quote(user))
        return found is not None and found.accepts(password)

    def has_user(self, user: bytes) -> bool:
        """Whether a user with this name exists."""
        return quote(user) in self.users

    def set_default_password(self, password: bytes) -> None:
        """Set the only password of the default user (``requirepass``); empty for no password."""
        default = self.users["default"]
        default.apply(b"resetpass", False)
        default.apply(b">" + password if password else b"nopass", False)
        self.refresh()

    def refresh(self) -> None:
        """Update `Client.limited` of all clients."""
        for client in self._registry.by_id.values():
            self.update_limited(client)

    def update_limited(self, client: Client) -> None:
        """Update `Client.limited` of one client."""
        client.limited = not self.users[client.user].unlimited
        client.refresh()

    def set_user(self, user: User) -> list[Client]:
        """Add or replace a user.

        Returns:
            The clients to disconnect: those with subscriptions that are no longer permitted.
        """
        self.users[user.name] = user
        return [
            client
            for client in self._registry.by_id.values()
            if client.user == user.name and not self._check_subscriptions(client)
        ]

    def _check_subscriptions(self, client: Client) -> bool:
        """Update `Client.limited`. Returns whether the client's subscriptions are permitted."""
        self.update_limited(client)
        if not client.limited or not client.subscribed():
            return True
        return self._may_subscribe(self.users[client.user], client)

    def _may_subscribe(self, user: User, client: Client) -> bool:
        for channels, literal in (
            (client.channels, False),
            (client.patterns, True),
            (client.shard_channels, False),
        ):
            for channel in channels:
                if not any(_permits_channel(each, channel, literal) for each in user.selectors):
                    return False
        return True

    def remove(self, name: str) -> list[Client] | None:
        """Delete a user. Returns its clients, which the caller disconnects; None if the user does
        not exist.
        """
        if self.users.pop(name, None) is None:
            return None
        return [client for client in self._registry.by_id.values() if client.user == name]

    def load(self, users: dict[str, User]) -> list[Client]:
        """Replace all users. A missing default user is created.

        Returns:
            The clients to disconnect: those of deleted users; before Redis 7.2 those of every user
            except the default user.
        """
        users.setdefault("default", self._new_unlimited_user("default"))
        self.users = users
        disconnects_all = self._version.before(7, 2)
        return [
            client
            for client in self._registry.by_id.values()
            if client.user not in users
            or (disconnects_all and client.user != "default")
            or not self._check_subscriptions(client)
        ]

    def denial(self, user: User, client: Client, entry: Entry, argv: list[bytes]) -> Denial | None:
        """Why ``user`` may not run the command; None if it may."""
        furthest: Denial | None = None
        index = client.db.index
        for selector in user.selectors:
            denial = self._denial_of_selector(selector, entry, argv, index)
            if denial is None:
                return None
            if furthest is None or (denial.reason, denial.position) > (
                furthest.reason,
                furthest.position,
            ):
                furthest = denial
        return furthest

    def _denial_of_selector(
        self, selector: Selector, entry: Entry, argv: list[bytes], index: int
    ) -> Denial | None:
        if selector.databases is not None:
            place = self._other_database(selector.databases, entry, argv, index)
            if place is not None:
                return Denial(OF_DATABASE, place)
        if not selector.all_commands and not self._permits_command(selector, entry, argv):
            return Denial(OF_COMMAND)
        if not selector.all_keys:
            by_access = not self._version.before(7)
            for key in keys(entry.spec, argv):
                access = _required_access(key.flags) if by_access else 0
                if not _permits_key(selector, argv[key.position], access):
                    return Denial(OF_KEY, key.position)
        if not selector.all_channels and entry.name in _CHANNEL_ARGUMENTS:
            literal = entry.name == "psubscribe"
            for place, channel in enumerate(argv[_CHANNEL_ARGUMENTS[entry.name]], 1):
                if not _permits_channel(selector, channel, literal):
                    return Denial(OF_CHANNEL, place)
        return None

    def _permits_command(self, selector: Selector, entry: Entry, argv: list[bytes]) -> bool:
        name, place = entry.name, 1
        if "|" in name:
            if self._version.before(7):
                name = name.split("|")[0]
            else:
                place = 2
        if name in selector.allowed or "no_auth" in entry.flags:
            return name != "reset" or not self._version.before(7) or name in selector.allowed
        words = selector.first_words.get(name)
        if words is None or len(argv) <= place:
            return False
        return argv[place].lower() in map(bytes.lower, words)

    def _other_database(
        self, permitted: tuple[int, ...], entry: Entry, argv: list[bytes], index: int
    ) -> int | None:
        """The index of the argument that names a database without permission; 0 for the selected
        database; None if all are permitted.
        """
        name = entry.name
        places: Iterable[int] = ()
        if name == "flushall":
            everything = range(len(self._server.databases))
            return None if set(everything) <= set(permitted) else 0
        if name in ("select", "swapdb"):
            places = range(1, len(argv))
        elif (
            entry.flags & {"write", "readonly"}
            or "keyspace" in entry.spec.categories
            or name in _USES_DATABASE
        ):
            if name == "move":
                places = (2, 0)
            elif name == "copy":
                places = [at + 1 for at in range(3, len(argv) - 1) if argv[at].lower() == b"db"]
                places.append(0)
            else:
                places = (0,)
        numbers = {place: int(argv[place]) for place in places if argv[place].isdigit()}
        if any(place and place not in numbers for place in places):
            return None
        return next((p for p in places if numbers.get(p, index) not in permitted), None)

    def refuse(self, client: Client, entry: Entry, argv: list[bytes]) -> str | None:
        """Check a command. If it is denied, log that and return the error text."""
        user = self.users[client.user]
        denial = self.denial(user, client, entry, argv)
        if denial is None:
            return None
        context = b"toplevel" if client.queue is None else b"multi"
        self._log_denial(denial, client, entry, argv, context)
        return f"NOPERM {self.explain(denial, user, entry, argv, in_full=False)}"

    def refuse_queued(self, client: Client, entry: Entry, argv: list[bytes]) -> str | None:
        """Like `refuse`, for a queued command that EXEC runs."""
        denial = self.denial(self.users[client.user], client, entry, argv)
        if denial is None:
            return None
        self._log_denial(denial, client, entry, argv, b"multi")
        return _QUEUED_DENIAL.format(_REASON_TEXTS[denial.reason])

    def refuse_call(self, client: Client, entry: Entry, argv: list[bytes]) -> str | None:
        """Like `refuse`, for a command called by a script. The text has no error code."""
        user = self.users[client.user]
        denial = self.denial(user, client, entry, argv)
        if denial is None:
            return None
        legacy = self._version.before(7)
        multi = legacy and (self._registry.current or client).executing is not None
        self._log_denial(denial, client, entry, argv, b"multi" if multi else b"lua")
        if not self._version.before(7, 2):
            return (
                f"ACL failure in script: {self.explain(denial, user, entry, argv, in_full=False)}"
            )
        what = {
            OF_COMMAND: "run this command or subcommand",
            OF_KEY: "access at least one of the keys mentioned in the command arguments",
            OF_CHANNEL: "publish to the channel mentioned in the command",
        }
        return f"The user executing the script can't {what[denial.reason]}"

    def explain(
        self, denial: Denial, user: User, entry: Entry, argv: list[bytes], *, in_full: bool
    ) -> str:
        """The error text for a denial. With ``in_full`` it names the key or channel."""
        recent = not self._version.before(7, 2)
        who = f"User {user.name}" if recent else "This user" if in_full else "this user"
        if denial.reason == OF_COMMAND:
            if self._version.before(7):
                name = entry.name.split("|")[0]
                return f"{who} has no permissions to run the '{name}' command or its subcommand"
            return f"{who} has no permissions to run the '{entry.name}' command"
        word = quote(argv[denial.position])
        if denial.reason == OF_DATABASE:
            if in_full:
                return f"{who} has no permissions to access database {word}"
            return "No permissions to access database"
        kind = "key" if denial.reason == OF_KEY else "channel"
        if in_full:
            return f"{who} has no permissions to access the '{word}' {kind}"
        if recent:
            return f"No permissions to access a {kind}"
        return f"{who} has no permissions to access one of the {kind}s used as arguments"

    def may_read_every_key(self, client: Client, entry: Entry, argv: list[bytes]) -> bool:
        """Whether a client may run the command on keys that are not among its arguments, such as
        those of SORT with BY or GET.
        """
        if not client.limited or self._version.before(7):
            return True
        return any(
            selector.all_keys or selector.keys.get(b"*", 0) & READ
            for selector in self.users[client.user].selectors
            if self._denial_of_selector(selector, entry, argv, client.db.index) is None
        )

    def _log_denial(
        self, denial: Denial, client: Client, entry: Entry, argv: list[bytes], context: bytes
    ) -> None:
        about = argv[denial.position]
        if denial.position == 0:
            older = self._version.before(7)
            about = (entry.name.split("|")[0] if older else entry.name).encode()
        self.record(denial.reason, client, client.user, about, context)

    def record(self, reason: int, client: Client, user: str, about: bytes, context: bytes) -> None:
        """Add an entry to the ACL log, or count it in a similar recent entry."""
        now = self._server.keyspace.now
        self.denied[reason] += 1
        if not self._version.before(7, 2) and not self._server.config.numbers["acllog-max-len"]:
            self.log.clear()
            return
        line = description.describe(self._registry.current or client, self._server)
        for place, entry in enumerate(self.log):
            if place == _GROUPING_ENTRIES:
                break
            if (entry.reason, entry.context, entry.user, entry.object) == (
                reason,
                context,
                user,
                about,
            ) and now - entry.updated <= _GROUPING_MS:
                entry.count += 1
                entry.client, entry.updated = line, now
                del self.log[place]
                self.log.appendleft(entry)
                return
        self.log.appendleft(
            AclLogEntry(self._entries, reason, context, about, user, line, now, now)
        )
        self._entries += 1
        while len(self.log) > self._server.config.numbers["acllog-max-len"]:
            self.log.pop()


def _required_access(flags: Iterable[str]) -> int:
    access = 0
    for flag in flags:
        access |= _ACCESS_BY_FLAG.get(flag, 0)
    return access


def _permits_key(selector: Selector, key: bytes, access: int) -> bool:
    return any(
        flags & access == access and glob(pattern)(key) for pattern, flags in selector.keys.items()
    )


def _permits_channel(selector: Selector, channel: bytes, literal: bool) -> bool:
    if selector.all_channels:
        return True
    if literal:
        return channel in selector.channels
    return any(glob(pattern)(channel) for pattern in selector.channels)
