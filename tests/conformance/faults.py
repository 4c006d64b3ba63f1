"""Faulty versions of podlink, each with one plausible mistake. Most replace a piece of a Lua
script, some replace a function that builds keys or checks arguments.

This module contains only faults. `test_planted_faults` shows that the state machine finds them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from podlink import keys, operations, replies, scripts
from podlink.scripts import SCRIPTS, Script

SET, TRY_SET, IF_ABSENT = "set_linked_pod", "try_set_linked_pod", "set_linked_pod_if_absent"
REPLACE, REFRESH = "replace_linked_pod", "refresh_linked_pod"
REMOVE, REMOVE_WITH_ID = "remove_linked_pod", "remove_linked_pod_with_id"
HSET = 'redis.call("HSET", index, service, pod)'
HDEL = 'redis.call("HDEL", index, service)'
SET_EX = 'redis.call("SET", link, pod, "EX", seconds)'
GRACE = 'redis.call("EXPIRE", link, grace)'


@dataclass(frozen=True)
class WrongScript:
    """A script with ``wrong`` in place of ``right``, which it must contain."""

    fault: str
    script: str
    right: str
    wrong: str

    def plant(self, patch: pytest.MonkeyPatch) -> None:
        """Make podlink use the faulty script."""
        source = SCRIPTS[self.script].source
        changed = source.replace(self.right, self.wrong)
        if changed == source:
            raise LookupError(f"{self.script}.lua has no {self.right!r} to be replaced")
        patch.setattr(scripts, self.script.upper(), Script.of(self.script, changed))

    def __str__(self) -> str:
        return f"{self.script} {self.fault}"


@dataclass(frozen=True)
class WrongPython:
    """Another function or value in place of the one that operations and their replies use."""

    fault: str
    name: str
    wrong: Any

    def plant(self, patch: pytest.MonkeyPatch) -> None:
        """Make podlink use the other function or value."""
        users = [module for module in (operations, replies) if hasattr(module, self.name)]
        if not users:
            raise LookupError(f"neither operations nor replies use {self.name}")
        for module in users:
            patch.setattr(module, self.name, self.wrong)

    def __str__(self) -> str:
        return f"{self.name} {self.fault}"


Fault = WrongScript | WrongPython

SCRIPT_FAULTS = [
    WrongScript("drops the index entry", SET, HSET, ""),
    WrongScript("drops the index delete", SET, HDEL, ""),
    WrongScript("ignores the TTL", SET, SET_EX, 'redis.call("SET", link, pod)'),
    WrongScript("takes seconds for milliseconds", SET, '"EX"', '"PX"'),
    WrongScript("keeps the old TTL", SET, 'pod)\n  redis.call("HSET"', 'pod, "KEEPTTL")\n'
                '  redis.call("HSET"'),
    WrongScript("is a second off", SET, SET_EX,
                'redis.call("SET", link, pod, "EX", math.max(1, seconds - 1))'),
    WrongScript("returns the new pod", SET, "current and tonumber(current)", "tonumber(pod)"),
    WrongScript("indexes under another key", SET, "KEYS[1], KEYS[2],", 'KEYS[1], KEYS[1] .. ":",'),
    WrongScript("indexes the pod by the pod", SET, HSET, 'redis.call("HSET", index, pod, pod)'),
    WrongScript("sees a bad index too late", SET, 'redis.call("HGET", index, service)', "false"),
    WrongScript("replaces what is no pod id", SET, "if current and not is_pod_id(current)",
                "if false"),
    WrongScript("takes 01 for a pod id", SET, "^[1-9]%d*$", "^%d+$"),
    WrongScript("forgets when the link was made", SET, "elseif current == pod", "elseif nil"),
    WrongScript("stamps a renewed link", SET, "current ~= pod and track", "track"),
    WrongScript("leaves the time for ever", SET, ', "PX", ms', ""),
    WrongScript("does not say of which pod", SET, 'stamp .. " " .. pod', "stamp"),
    WrongScript("tracks times unasked", SET, 'track == "1"', "true"),
    WrongScript("refuses a transient link", TRY_SET, ' and redis.call("PTTL", link) == -1', ""),
    WrongScript("refuses its own pod", TRY_SET, "current ~= pod and ", ""),
    WrongScript("takes a link away", TRY_SET, "current ~= pod and", "current == '' and"),
    WrongScript("fails a first link", TRY_SET, "return {1, t", "return {current and 1 or 0, t"),
    WrongScript("keeps the index entry", TRY_SET, HDEL, ""),
    WrongScript("renews the TTL", IF_ABSENT, "return {0,",
                'if redis.call("PTTL", link) ~= -1 and seconds ~= "-1" then '
                'redis.call("EXPIRE", link, seconds) end return {0,'),
    WrongScript("persists a transient link", IF_ABSENT, "return {0,",
                'redis.call("PERSIST", link) return {0,'),
    WrongScript("tells the pod asked for", IF_ABSENT, "{0, tonumber(current)}",
                "{0, tonumber(pod)}"),
    WrongScript("says it made the link", IF_ABSENT, "{0, tonumber(current)}",
                "{1, tonumber(current)}"),
    WrongScript("replaces whatever is there", REPLACE, "current ~= expected", "not current"),
    WrongScript("tells the pod asked for", REPLACE, "{0, current and tonumber(current)}",
                "{0, tonumber(pod)}"),
    WrongScript("drops the index entry", REPLACE, HSET, ""),
    WrongScript("keeps the index entry", REPLACE, HDEL, ""),
    WrongScript("makes a moved link stay", REPLACE, 'ttl = redis.call("PTTL", link)', "ttl = -1"),
    WrongScript("leaves the time for ever", REPLACE, ', "PX", ms', ""),
    WrongScript("renews another's link", REFRESH, "current ~= pod", "not current"),
    WrongScript("makes an owner transient", REFRESH, 'redis.call("PTTL", link) ~= -1', "true"),
    WrongScript("lets the time run out", REFRESH, 'redis.call("PEXPIRE", created, ms)', ""),
    WrongScript("denies its own link", REFRESH, "return 1\n", "return 0\n"),
    WrongScript("deletes at once with grace", REMOVE, GRACE, f'redis.call("DEL", link) {GRACE}'),
    WrongScript("ignores the grace", REMOVE, GRACE, ""),
    WrongScript("keeps the index entry", REMOVE, HDEL, ""),
    WrongScript("keeps the index entry with grace", REMOVE, HDEL,
                f'if grace == "-1" then {HDEL} end'),
    WrongScript("does not heal the index", REMOVE, HDEL, f"if current then {HDEL} end"),
    WrongScript("finds what is absent", REMOVE, "return current and 1 or 0", "return 1"),
    WrongScript("leaves the time behind", REMOVE, '"DEL", link, created', '"DEL", link'),
    WrongScript("lets the time stay longer", REMOVE, 'redis.call("EXPIRE", created, grace)', ""),
    WrongScript("removes another's link", REMOVE_WITH_ID, "current ~= pod", "current == ''"),
    WrongScript("takes 10 for 1", REMOVE_WITH_ID, "current ~= pod",
                "current:sub(1, 1) ~= pod:sub(1, 1)"),
    WrongScript("claims another's link", REMOVE_WITH_ID, "then\n  return 0", "then\n  return 1"),
    WrongScript("does not heal the index", REMOVE_WITH_ID, HDEL, f"if current then {HDEL} end"),
    WrongScript("takes transient for persistent", "get_linked_pod_if_persist", "== -1", "~= -2"),
    WrongScript("loses one of a batch", "get_each", "] = value", "] = i ~= 2 and value"),
    WrongScript("skips what is no string", "get_each", 'type(value) == "table"', "false"),
    WrongScript("tells seconds for milliseconds", "read_pod_link", '"PTTL"', '"TTL"'),
    WrongScript("tells no times", "read_pod_link", 'redis.call("GET", KEYS[2])', "false"),
    WrongScript("stamps seconds", "set_service_state", "now[1] * 1000", "now[1]"),
    WrongScript("replaces the other pods", "set_service_state", 'redis.call("HSET", states',
                'redis.call("DEL", states) redis.call("HSET", states'),
    WrongScript("keeps times of what is gone", "set_service_state",
                '"HEXISTS", states, dated) == 0', '"PING") == 0'),
    WrongScript("keeps times for ever", "set_service_state", '"PEXPIRE", times, "31536000000"',
                '"PERSIST", times'),
    WrongScript("stamps nothing", "set_workload_state", 'redis.call("SET", time', '-- ("'),
]  # fmt: skip


def link_keys_without_namespace(
    namespace: str, uid: str, service: str
) -> tuple[bytes, bytes, bytes]:
    return keys.link_keys("ns", uid, service)


def link_keys_that_trim(namespace: str, uid: str, service: str) -> tuple[bytes, bytes, bytes]:
    return keys.link_keys(namespace, (uid.strip() or uid) if isinstance(uid, str) else uid, service)


def index_key_cut_at_a_colon(namespace: str, uid: str) -> bytes:
    return keys.index_key(namespace, uid.split(":")[-1] or uid)


def state_key_by_service(namespace: str, service: str) -> bytes:
    return keys.state_key(service, service)


def uid_unchecked(namespace: str, uid: str, service: str) -> tuple[bytes, bytes, bytes]:
    index = f"sf:{{{namespace}:lk:{uid}}}".encode(errors="replace")
    return index + service.encode(), index, index + service.encode() + b"@"


def names_with_repetitions(what: str, values: Iterable[str]) -> list[str]:
    return [name for name in values if keys.check_names(what, [name])]


def sorted_names(what: str, values: Iterable[str]) -> list[str]:
    return sorted(keys.check_names(what, values))


PYTHON_FAULTS = [
    WrongPython("mixes up namespaces", "link_keys", link_keys_without_namespace),
    WrongPython("trims uids", "link_keys", link_keys_that_trim),
    WrongPython("lets any uid pass", "link_keys", uid_unchecked),
    WrongPython("splits uids", "index_key", index_key_cut_at_a_colon),
    WrongPython("mixes up states", "state_key", state_key_by_service),
    WrongPython("takes True for a pod", "check_pod_id", int),
    WrongPython("takes 0 seconds", "check_persist_seconds", lambda seconds: seconds or 1),
    WrongPython("takes a blank state", "check_state", lambda state: str(state).encode()),
    WrongPython("repeats uids", "check_names", names_with_repetitions),
    WrongPython("sorts uids", "check_names", sorted_names),
    WrongPython("passes strings off as pods", "read_pod_id", lambda value, where: value),
]

FAULTS: list[Fault] = [*SCRIPT_FAULTS, *PYTHON_FAULTS]
