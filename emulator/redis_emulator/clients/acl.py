"""ACL users and selectors: the rules of ACL SETUSER, and their text in ACL LIST.

A user has flags, passwords and selectors. The first selector is the root selector; a command is
permitted if at least one selector permits it. A selector lists the permitted commands, keys and
channels (on Valkey also databases). Redis 7.2 and Valkey store the rules about commands as they
were given. Older servers store only the permitted commands and compute a short description from
them.

The permission checks are in `redis_emulator.clients.access`. This module knows no client.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Final

from redis_emulator.resp.decode import ProtocolError, split_inline
from redis_emulator.resp.types import quote
from redis_emulator.table import load
from redis_emulator.version import Version

READ: Final = 1
WRITE: Final = 2

CATEGORIES: Final = (
    *("keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap"),
    *("hyperloglog", "geo", "stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous"),
    *("connection", "transaction", "scripting"),
)
_SYNTAX: Final = "Syntax error"
UNKNOWN: Final = "Unknown command or category name in ACL"
_FIRST_WORD_OF_SUBCOMMAND: Final = "Allowing first-arg of a subcommand is not supported"
_NO_SUCH_PASSWORD: Final = "The password you are trying to remove from the user does not exist"
_NOT_A_HASH: Final = (
    "The password hash must be exactly 64 characters and contain only lowercase hexadecimal "
    "characters"
)
_PATTERN_WITHOUT_EFFECT: Final = (
    "Adding a pattern after the * pattern (or the '{}' flag) is not valid and does not have any "
    "effect. Try '{}' to start with an empty list of {}"
)
_HASH: Final = re.compile(rb"[0-9a-f]{64}").fullmatch
_SPACE: Final = re.compile(rb"[\s\0]").search
_DATABASES: Final = re.compile(rb"[0-9]+(,[0-9]+)*").fullmatch
_CATEGORIES_BEFORE_7: Final[dict[str, frozenset[str]]] = {
    name: frozenset(categories.split())
    for name, categories in (
        ("asking", "keyspace fast"),
        ("readonly", "keyspace fast"),
        ("readwrite", "keyspace fast"),
        ("role", "fast dangerous"),
        ("select", "keyspace fast"),
        ("wait", "keyspace slow"),
    )
}


class RuleError(Exception):
    """A rule is not valid. The message is the reason that the server prints."""


class Catalogue:
    """The command and category names that rules of one server version can use.

    Attributes:
        categories: The categories of each command and subcommand, by full name.
        members: The subcommands of each container, by full name.
    """

    def __init__(self, version: Version) -> None:
        self.computes_rules = version.is_redis() and version.before(7, 2)
        self.has_subcommands = not version.before(7)
        self.categories: dict[str, frozenset[str]] = {}
        self.members: dict[str, list[str]] = {}
        for name, spec in load().items():
            if not spec.exists_in(version):
                continue
            container, separator, _ = name.partition("|")
            if separator and self.has_subcommands:
                self.members.setdefault(container, []).append(name)
                self.categories[name] = frozenset(spec.categories)
            else:
                before = self.categories.get(container, frozenset())
                self.categories[container] = before | frozenset(spec.categories)
        if not self.has_subcommands:
            del self.categories["quit"]
            self.categories.update(_CATEGORIES_BEFORE_7)
        elif self.computes_rules:
            self.categories["wait"] -= {"blocking"}

    def within(self, category: str) -> list[str]:
        """The commands and subcommands of ``category``."""
        return [name for name, found in self.categories.items() if category in found]


@cache
def catalogue(version: Version) -> Catalogue:
    """The catalogue of ``version``."""
    return Catalogue(version)


class Selector:
    """The permissions of one selector.

    Attributes:
        all_commands: Whether every command is permitted, so that `allowed` need not be searched.
        future: Whether the rules start with ``+@all``, which includes commands of future releases.
        allowed: Full names of the permitted commands.
        first_words: Commands permitted only with certain first arguments, with these arguments.
        keys: Patterns of keys, each with `READ` and `WRITE` flags.
        databases: Numbers of the permitted databases, None for all.
    """

    __slots__ = (
        "all_channels",
        "all_commands",
        "all_keys",
        "allowed",
        "channels",
        "databases",
        "first_words",
        "future",
        "keys",
        "rules",
        "version",
    )

    def __init__(self, version: Version, all_channels: bool) -> None:
        self.version = version
        self.all_keys = False
        self.keys: dict[bytes, int] = {}
        self.all_channels = all_channels
        self.channels: dict[bytes, None] = {}
        self.databases: tuple[int, ...] | None = None
        self.all_commands = self.future = False
        self.allowed: set[str] = set()
        self.first_words: dict[str, list[bytes]] = {}
        self.rules: list[str] = []

    def copy(self) -> Selector:
        """An independent copy."""
        other = Selector(self.version, self.all_channels)
        other.all_keys, other.keys = self.all_keys, dict(self.keys)
        other.channels, other.databases = dict(self.channels), self.databases
        other.all_commands, other.future = self.all_commands, self.future
        other.allowed, other.rules = set(self.allowed), list(self.rules)
        other.first_words = {name: list(words) for name, words in self.first_words.items()}
        return other

    @property
    def unlimited(self) -> bool:
        """Whether it permits everything."""
        return self.all_commands and self.all_keys and self.all_channels and self.databases is None

    def apply(self, rule: bytes) -> None:
        """Apply one rule.

        Raises:
            RuleError: The rule is not valid.
        """
        word = rule.lower()
        if word in (b"allkeys", b"~*"):
            self.all_keys, self.keys = True, {}
        elif word == b"resetkeys":
            self.all_keys, self.keys = False, {}
        elif word in (b"allchannels", b"&*"):
            self.all_channels, self.channels = True, {}
        elif word == b"resetchannels":
            self.all_channels, self.channels = False, {}
        elif word in (b"allcommands", b"+@all"):
            self._permit_all(True)
        elif word in (b"nocommands", b"-@all"):
            self._permit_all(False)
        elif rule[:1] == b"~" or (rule[:1] == b"%" and not self.version.before(7)):
            self._add_key(rule)
        elif rule[:1] == b"&":
            self._add_channel(rule[1:])
        elif rule[:1] in (b"+", b"-"):
            self._change_commands(quote(rule[1:]), rule[:1] == b"+")
        elif self.version.is_valkey(9, 1):
            self._set_databases(word)
        else:
            raise RuleError(_SYNTAX)

    def _permit_all(self, allow: bool) -> None:
        self.all_commands = self.future = allow
        self.allowed = set(catalogue(self.version).categories) if allow else set()
        self.first_words = {}
        self.rules = []

    def _add_key(self, rule: bytes) -> None:
        if self.all_keys:
            raise RuleError(_PATTERN_WITHOUT_EFFECT.format("allkeys", "resetkeys", "patterns"))
        flags, pattern = READ | WRITE, rule[1:]
        if rule[:1] == b"%":
            letters, _, pattern = rule[1:].partition(b"~")
            kinds = [{b"r": READ, b"w": WRITE}.get(letters[i : i + 1].lower(), 0) for i in (0, 1)]
            flags = kinds[0] | kinds[1]
            if len(letters) not in (1, 2) or flags.bit_count() != len(letters):
                raise RuleError(_SYNTAX)
        if _SPACE(pattern):
            raise RuleError(_SYNTAX)
        self.keys[pattern] = self.keys.get(pattern, 0) | flags

    def _add_channel(self, pattern: bytes) -> None:
        if self.all_channels:
            raise RuleError(
                _PATTERN_WITHOUT_EFFECT.format("allchannels", "resetchannels", "channels")
            )
        if _SPACE(pattern):
            raise RuleError(_SYNTAX)
        self.channels[pattern] = None

    def _set_databases(self, word: bytes) -> None:
        if word == b"alldbs":
            self.databases = None
        elif word == b"resetdbs":
            self.databases = ()
        elif word[:3] == b"db=" and _DATABASES(word[3:]):
            self.databases = tuple(sorted(set(map(int, word[3:].split(b",")))))
        else:
            raise RuleError(_SYNTAX)

    def _change_commands(self, text: str, allow: bool) -> None:
        known = catalogue(self.version)
        name = text.lower()
        if name[:1] == "@":
            if name[1:] not in CATEGORIES:
                raise RuleError(UNKNOWN)
            for each in known.within(name[1:]):
                self._permit(each, allow)
        elif name in known.categories:
            self._permit(name, allow)
        elif not allow or "|" not in name:
            raise RuleError(UNKNOWN)
        else:
            self._permit_first_word(text)
        self._store_rule(name, allow)

    def _permit(self, name: str, allow: bool) -> None:
        if allow:
            self.allowed.add(name)
        else:
            self.allowed.discard(name)
            self.all_commands = False
        self.first_words.pop(name, None)
        for member in catalogue(self.version).members.get(name, ()):
            self._permit(member, allow)

    def _permit_first_word(self, text: str) -> None:
        known = catalogue(self.version)
        if known.has_subcommands:
            name, _, word = text.rpartition("|")
        else:
            name, _, word = text.partition("|")
        name = name.lower()
        if name not in known.categories:
            raise RuleError(UNKNOWN)
        if "|" in name:
            raise RuleError(_FIRST_WORD_OF_SUBCOMMAND)
        if not word:
            raise RuleError(_SYNTAX)
        if name in known.members:
            raise RuleError(UNKNOWN)
        if not known.has_subcommands and name in self.allowed:
            return
        words = self.first_words.setdefault(name, [])
        spelled = word.encode("utf-8", "surrogateescape")
        if spelled.lower() not in map(bytes.lower, words):
            words.append(spelled)

    def _store_rule(self, name: str, allow: bool) -> None:
        self.rules = [
            rule for rule in self.rules if rule[1:] != name and not rule[1:].startswith(name + "|")
        ]
        self.rules.append(("+" if allow else "-") + name)

    def describe_keys(self) -> list[bytes]:
        """The rules about keys."""
        if self.all_keys:
            return [b"~*"]
        signs = {READ: b"%R~", WRITE: b"%W~", READ | WRITE: b"~"}
        return [signs[flags] + pattern for pattern, flags in self.keys.items()]

    def describe_channels(self) -> list[bytes]:
        """The rules about channels."""
        return [b"&*"] if self.all_channels else [b"&" + pattern for pattern in self.channels]

    def describe_databases(self) -> bytes:
        """The rule about databases."""
        if self.databases is None:
            return b"alldbs"
        return b"db=" + ",".join(map(str, self.databases)).encode() if self.databases else b""

    def describe_commands(self) -> bytes:
        """The rules about commands."""
        rules = [
            "+@all" if self.future else "-@all",
            *(self._computed_rules() if catalogue(self.version).computes_rules else self.rules),
        ]
        return " ".join(rules).encode("utf-8", "surrogateescape")

    def describe(self) -> bytes:
        """All rules, as ACL LIST shows them."""
        parts = self.describe_keys()
        if not self.all_channels:
            parts.append(b"resetchannels")
        parts += self.describe_channels()
        if self.databases is not None:
            parts.append(self.describe_databases() or b"resetdbs")
        return b" ".join([*parts, self.describe_commands()])

    def _computed_rules(self) -> Iterator[str]:
        """Compute a short list of rules for the permitted commands: first the categories that match
        best, then single commands.
        """
        known = catalogue(self.version)
        additive = not self.future
        made = set() if additive else set(known.categories)
        left = set(self.allowed)
        sign, wanted = ("+", True) if additive else ("-", False)
        unused = list(CATEGORIES)
        while True:
            best: tuple[tuple[int, int], str] | None = None
            for category in unused:
                within = known.within(category)
                same = sum((name in left) is wanted for name in within)
                score = (len(within) - same, -same)
                if same > len(within) - same and (best is None or score < best[0]):
                    best = (score, category)
            if best is None:
                break
            category = best[1]
            unused.remove(category)
            _set_permission(known, made, known.within(category), additive)
            _set_permission(known, left, known.within(category), not additive)
            yield f"{sign}@{category}"
        for name in known.categories:
            allowed = name in self.allowed
            if allowed is not (name in made):
                yield ("+" if allowed else "-") + name
                _set_permission(known, made, [name], allowed)
            if not allowed:
                for word in self.first_words.get(name, ()):
                    yield f"+{name}|{quote(word)}"


def _set_permission(known: Catalogue, names: set[str], changed: Iterable[str], allow: bool) -> None:
    for name in changed:
        for each in (name, *known.members.get(name, ())):
            if allow:
                names.add(each)
            else:
                names.discard(each)


class User:
    """A user of ACL SETUSER.

    Attributes:
        name: The name; bytes that are not UTF-8 are escaped.
        sanitize: The flag ``sanitize-payload``; None if it is not shown.
        selectors: The root selector, then the selectors in parentheses.
    """

    __slots__ = ("enabled", "name", "nopass", "passwords", "sanitize", "selectors", "version")

    def __init__(self, name: str, version: Version, all_channels: bool) -> None:
        self.name = name
        self.version = version
        self.enabled = False
        self.nopass = False
        self.passwords: list[bytes] = []
        shown = version.is_redis(7, 2)
        self.sanitize: bool | None = True if shown else None
        self.selectors = [Selector(version, all_channels)]

    def copy(self) -> User:
        """An independent copy."""
        other = User(self.name, self.version, False)
        other.enabled, other.nopass, other.sanitize = self.enabled, self.nopass, self.sanitize
        other.passwords = list(self.passwords)
        other.selectors = [selector.copy() for selector in self.selectors]
        return other

    @property
    def unlimited(self) -> bool:
        """Whether the user may do everything."""
        return any(selector.unlimited for selector in self.selectors)

    def accepts(self, password: bytes) -> bool:
        """Whether ``password`` is one of the user's."""
        return self.enabled and (self.nopass or _hashed(password) in self.passwords)

    def apply(self, rule: bytes, all_channels: bool) -> None:
        """Apply one rule.

        Args:
            rule: As in ACL SETUSER; a selector is one rule, with its parentheses.
            all_channels: Whether a reset gives all channels (``acl-pubsub-default``).

        Raises:
            RuleError: The rule is not valid, or it removes a password that the user does not have.
        """
        word = rule.lower()
        if not word:
            return
        if word in (b"on", b"off"):
            self.enabled = word == b"on"
        elif word in (b"sanitize-payload", b"skip-sanitize-payload"):
            if self.version.is_redis():
                self.sanitize = word == b"sanitize-payload"
        elif word in (b"nopass", b"resetpass"):
            self.nopass, self.passwords = word == b"nopass", []
        elif word[:1] in (b">", b"#", b"<", b"!"):
            self._change_passwords(rule)
        elif word == b"reset":
            self._reset(all_channels)
        elif word == b"clearselectors" and not self.version.before(7):
            del self.selectors[1:]
        elif word[:1] == b"(" and word[-1:] == b")" and not self.version.before(7):
            selector = Selector(self.version, all_channels)
            for part in _split(rule[1:-1], self.version):
                selector.apply(part)
            self.selectors.append(selector)
        else:
            self.selectors[0].apply(rule)

    def _change_passwords(self, rule: bytes) -> None:
        sign, given = rule[:1], rule[1:]
        if sign in (b">", b"<"):
            given = _hashed(given)
        elif not _HASH(given):
            raise RuleError(_NOT_A_HASH)
        if sign in (b">", b"#"):
            if given not in self.passwords:
                self.passwords.append(given)
            self.nopass = False
        elif given in self.passwords:
            self.passwords.remove(given)
        else:
            raise RuleError(_NO_SUCH_PASSWORD)

    def _reset(self, all_channels: bool) -> None:
        self.enabled = self.nopass = False
        self.passwords = []
        if self.version.is_redis():
            self.sanitize = True
        self.selectors = [Selector(self.version, all_channels)]

    def flags(self) -> list[bytes]:
        """The flags, as ACL LIST shows them."""
        shown = [b"on" if self.enabled else b"off"]
        if self.nopass:
            shown.append(b"nopass")
        if self.sanitize is not None:
            shown.append(b"sanitize-payload" if self.sanitize else b"skip-sanitize-payload")
        return shown

    def describe(self) -> bytes:
        """All rules of the user, as ACL LIST shows them."""
        parts = self.flags() + [b"#" + password for password in self.passwords]
        parts.append(self.selectors[0].describe())
        parts += [b"(" + selector.describe() + b")" for selector in self.selectors[1:]]
        return b" ".join(parts)


def _split(rules: bytes, version: Version) -> list[bytes]:
    """Split the rules inside a selector. Returns an empty list if quotes are unbalanced."""
    try:
        return split_inline(rules, joined=version.is_valkey())
    except ProtocolError:
        return []


def _hashed(password: bytes) -> bytes:
    return hashlib.sha256(password).hexdigest().encode()


def join_selectors(rules: Sequence[bytes], version: Version) -> list[bytes]:
    """Join the parts of selectors that were split at spaces.

    Raises:
        ValueError: A parenthesis is not closed. The argument is the rule that opens it.
    """
    joined: list[bytes] = []
    opened: list[bytes] = []
    for rule in rules:
        if opened:
            opened.append(rule)
        elif rule[:1] == b"(" and rule[-1:] != b")" and not version.before(7):
            opened = [rule]
        else:
            joined.append(rule)
            continue
        if rule[-1:] == b")":
            joined.append(b" ".join(opened))
            opened = []
    if opened:
        raise ValueError(opened[0])
    return joined
