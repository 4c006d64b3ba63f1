"""Who may do what: the users of one server, the check before a command, and the log of refusals.

The engine asks before a command of a limited client runs, EXEC asks again for each queued command,
and scripts ask for each of their calls. A client whose user may do everything is not limited
(`Session.limited`) and is never asked about. Of the reasons that the selectors of a user give
against a command, the one that got furthest is told.
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
_SAME_WITHIN_MS: Final = 60_000
_SAME_AMONG: Final = 10
_NEEDS: Final = {"access": READ, "insert": WRITE, "delete": WRITE, "update": WRITE}
_CHANNELS: Final = {
    "publish": slice(1, 2),
    "spublish": slice(1, 2),
    "subscribe": slice(1, None),
    "ssubscribe": slice(1, None),
    "psubscribe": slice(1, None),
}
_BOUND_TO_A_DATABASE: Final = frozenset(
    {"watch", "eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro"}
)
_QUEUED: Final = (
    "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC "
    "call. This command is no longer allowed for the following reason: {}"
)
_WHY: Final = {
    OF_DATABASE: "no permission",
    OF_COMMAND: "no permission to execute the command or subcommand",
    OF_KEY: "no permission to touch the specified keys",
    OF_CHANNEL: "no permission to access one of the channels used as arguments",
}


@dataclass(slots=True)
class Refusal:
    """One entry of ACL LOG: what was refused to whom, and how often."""

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
        position: The argument it is about; 0 for the command itself.
    """

    __slots__ = ("position", "reason")

    def __init__(self, reason: int, position: int = 0) -> None:
        self.reason = reason
        self.position = position


class Access:
    """The users of one server.

    Attributes:
        users: By name.
        log: Refusals, the latest first.
        denied: How often each reason was given.
    """

    def __init__(self, server: Server, registry: Registry) -> None:
        self._server = server
        self._version = server.version
        self._registry = registry
        self.users: dict[str, User] = {"default": self._unlimited("default")}
        self.log: deque[Refusal] = deque()
        self._entries = 0
        self.denied = dict.fromkeys(REASONS, 0)

    def _unlimited(self, name: str) -> User:
        user = User(name, self._version, True)
        for rule in (b"on", b"nopass", b"allkeys", b"allchannels", b"+@all"):
            user.apply(rule, True)
        return user

    @property
    def all_channels(self) -> bool:
        """Whether new users get all channels (``acl-pubsub-default``)."""
        return self._server.config.values.get("acl-pubsub-default") == "allchannels"

    def new_user(self, name: str) -> User:
        """A user who may do nothing yet; not one of `users`."""
        return User(name, self._version, self.all_channels)

    def needs_password(self) -> bool:
        """Whether a client must authenticate first."""
        default = self.users["default"]
        return not default.nopass or not default.enabled

    def accepts(self, user: bytes, password: bytes) -> bool:
        """Whether ``password`` is right for ``user``."""
        found = self.users.get(quote(user))
        return found is not None and found.accepts(password)

    def has_user(self, user: bytes) -> bool:
        """Whether there is a user of this name."""
        return quote(user) in self.users

    def require(self, password: bytes) -> None:
        """Let the default user have this one password, or need none when it is empty."""
        default = self.users["default"]
        default.apply(b"resetpass", False)
        default.apply(b">" + password if password else b"nopass", False)
        self.refresh()

    def refresh(self) -> None:
        """Decide anew which clients are limited."""
        for client in self._registry.by_id.values():
            self.admit(client)

    def admit(self, client: Client) -> None:
        """Note whether a client's user is limited."""
        client.limited = not self.users[client.user].unlimited
        client.refresh()

    def put(self, user: User) -> list[Client]:
        """Add or replace a user; returns subscribers who may no longer subscribe to what they do,
        which are to be disconnected.
        """
        self.users[user.name] = user
        return [
            client
            for client in self._registry.by_id.values()
            if client.user == user.name and not self._review(client)
        ]

    def _review(self, client: Client) -> bool:
        """Note whether a client is limited now; whether its subscriptions are still permitted."""
        self.admit(client)
        if not client.limited or not client.subscribed():
            return True
        return self._may_listen(self.users[client.user], client)

    def _may_listen(self, user: User, client: Client) -> bool:
        for channels, literal in (
            (client.channels, False),
            (client.patterns, True),
            (client.shard_channels, False),
        ):
            for channel in channels:
                if not any(_reaches(each, channel, literal) for each in user.selectors):
                    return False
        return True

    def remove(self, name: str) -> list[Client] | None:
        """Delete a user; returns its clients, which are to be disconnected, or None if there is no
        such user.
        """
        if self.users.pop(name, None) is None:
            return None
        return [client for client in self._registry.by_id.values() if client.user == name]

    def load(self, users: dict[str, User]) -> list[Client]:
        """Replace all users; the default user exists in any case.

        Returns:
            The clients that are to be disconnected: those of users who are gone, and before Redis
            7.2 those of every user but the default one.
        """
        users.setdefault("default", self._unlimited("default"))
        self.users = users
        all_go = self._version.before(7, 2)
        return [
            client
            for client in self._registry.by_id.values()
            if client.user not in users
            or (all_go and client.user != "default")
            or not self._review(client)
        ]

    def denial(self, user: User, client: Client, entry: Entry, argv: list[bytes]) -> Denial | None:
        """Why ``user`` may not run the command, or None."""
        furthest: Denial | None = None
        index = client.db.index
        for selector in user.selectors:
            denial = self._selected(selector, entry, argv, index)
            if denial is None:
                return None
            if furthest is None or (denial.reason, denial.position) > (
                furthest.reason,
                furthest.position,
            ):
                furthest = denial
        return furthest

    def _selected(
        self, selector: Selector, entry: Entry, argv: list[bytes], index: int
    ) -> Denial | None:
        if selector.databases is not None:
            place = self._other_database(selector.databases, entry, argv, index)
            if place is not None:
                return Denial(OF_DATABASE, place)
        if not selector.all_commands and not self._named(selector, entry, argv):
            return Denial(OF_COMMAND)
        if not selector.all_keys:
            by_use = not self._version.before(7)
            for key in keys(entry.spec, argv):
                use = _use(key.flags) if by_use else 0
                if not _opens(selector, argv[key.position], use):
                    return Denial(OF_KEY, key.position)
        if not selector.all_channels and entry.name in _CHANNELS:
            literal = entry.name == "psubscribe"
            for place, channel in enumerate(argv[_CHANNELS[entry.name]], 1):
                if not _reaches(selector, channel, literal):
                    return Denial(OF_CHANNEL, place)
        return None

    def _named(self, selector: Selector, entry: Entry, argv: list[bytes]) -> bool:
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
        """The argument that names a database out of bounds, 0 for the present database."""
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
            or name in _BOUND_TO_A_DATABASE
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
        """The error for a command that the client's user may not run, which is then logged."""
        user = self.users[client.user]
        denial = self.denial(user, client, entry, argv)
        if denial is None:
            return None
        context = b"toplevel" if client.queue is None else b"multi"
        self._note(denial, client, entry, argv, context)
        return f"NOPERM {self.explain(denial, user, entry, argv, in_full=False)}"

    def refuse_queued(self, client: Client, entry: Entry, argv: list[bytes]) -> str | None:
        """Like `refuse`, for a command that was queued when it was still permitted."""
        denial = self.denial(self.users[client.user], client, entry, argv)
        if denial is None:
            return None
        self._note(denial, client, entry, argv, b"multi")
        return _QUEUED.format(_WHY[denial.reason])

    def refuse_call(self, client: Client, entry: Entry, argv: list[bytes]) -> str | None:
        """Like `refuse`, for a call from a script: the text without a code."""
        user = self.users[client.user]
        denial = self.denial(user, client, entry, argv)
        if denial is None:
            return None
        legacy = self._version.before(7)
        multi = legacy and (self._registry.current or client).executing is not None
        self._note(denial, client, entry, argv, b"multi" if multi else b"lua")
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
        """A denial in words; ``in_full`` names the key or channel."""
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
        """Whether a client may run the command and reach keys that its arguments do not name."""
        if not client.limited or self._version.before(7):
            return True
        return any(
            selector.all_keys or selector.keys.get(b"*", 0) & READ
            for selector in self.users[client.user].selectors
            if self._selected(selector, entry, argv, client.db.index) is None
        )

    def _note(
        self, denial: Denial, client: Client, entry: Entry, argv: list[bytes], context: bytes
    ) -> None:
        about = argv[denial.position]
        if denial.position == 0:
            older = self._version.before(7)
            about = (entry.name.split("|")[0] if older else entry.name).encode()
        self.record(denial.reason, client, client.user, about, context)

    def record(self, reason: int, client: Client, user: str, about: bytes, context: bytes) -> None:
        """Log a refusal; one like a recent one is counted there."""
        now = self._server.keyspace.now
        self.denied[reason] += 1
        if not self._version.before(7, 2) and not self._server.config.numbers["acllog-max-len"]:
            self.log.clear()
            return
        line = description.describe(self._registry.current or client, self._server)
        for place, entry in enumerate(self.log):
            if place == _SAME_AMONG:
                break
            if (entry.reason, entry.context, entry.user, entry.object) == (
                reason,
                context,
                user,
                about,
            ) and now - entry.updated <= _SAME_WITHIN_MS:
                entry.count += 1
                entry.client, entry.updated = line, now
                del self.log[place]
                self.log.appendleft(entry)
                return
        self.log.appendleft(Refusal(self._entries, reason, context, about, user, line, now, now))
        self._entries += 1
        while len(self.log) > self._server.config.numbers["acllog-max-len"]:
            self.log.pop()


def _use(flags: Iterable[str]) -> int:
    use = 0
    for flag in flags:
        use |= _NEEDS.get(flag, 0)
    return use


def _opens(selector: Selector, key: bytes, use: int) -> bool:
    return any(
        flags & use == use and glob(pattern)(key) for pattern, flags in selector.keys.items()
    )


def _reaches(selector: Selector, channel: bytes, literal: bool) -> bool:
    if selector.all_channels:
        return True
    if literal:
        return channel in selector.channels
    return any(glob(pattern)(channel) for pattern in selector.channels)
