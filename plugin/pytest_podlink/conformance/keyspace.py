"""The key space of the model: keys, values and times of expiry, as a Redis would hold them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from podlink import PERSIST_FOREVER
from pytest_podlink.conformance.values import (
    Dated,
    Entry,
    Moment,
    StoredErrors,
    is_stored_time,
    stored_moment,
    stored_pod_id,
    stored_text,
)


@dataclass
class Keyspace:
    """Everything that is stored.

    Attributes:
        keys: the entry of each key.
        now: the present time in milliseconds; it starts at any number.
    """

    keys: dict[bytes, Entry] = field(default_factory=dict)
    now: int = 0

    # Time, and other programs

    def advance(self, milliseconds: int) -> None:
        """Move the time forward, and delete the keys that have expired."""
        self.now += milliseconds
        for key, entry in list(self.keys.items()):
            if entry.expires_at is not None and entry.expires_at <= self.now:
                del self.keys[key]

    def remaining(self) -> list[int]:
        """The TTLs of all keys that have one, in milliseconds, shortest first."""
        times = (entry.expires_at for entry in self.keys.values())
        return sorted(time - self.now for time in times if time is not None)

    def write(self, name: str, key: bytes, *arguments: Any) -> None:
        """Run one of the Redis commands below, as another program would."""
        commands: dict[str, Callable[..., object]] = {
            "SET": lambda key, value: self.keys.update({key: Entry(value)}),
            "HSET": self._put_field,
            "HDEL": self._drop_field,
            "EXPIRE": self._set_ttl,
            "PERSIST": lambda key: self._set_ttl(key, PERSIST_FOREVER),
            "DEL": lambda key: self.keys.pop(key, None),
        }
        commands[name](key, *arguments)

    # Reading stored values. Malformed values and wrong types are added to `errors`.

    def _hash(self, key: bytes, errors: StoredErrors) -> dict[bytes, bytes | Dated]:
        entry = self.keys.get(key)
        if entry is None:
            return {}
        if isinstance(entry.value, dict):
            return entry.value
        errors.wrong_type()
        return {}

    def _string(self, key: bytes, errors: StoredErrors) -> bytes | Dated | None:
        entry = self.keys.get(key)
        if entry is None:
            return None
        if not isinstance(entry.value, dict):
            return entry.value
        errors.wrong_type()
        return None

    def _pod(self, key: bytes, errors: StoredErrors) -> int | None:
        value = self._string(key, errors)
        pod = stored_pod_id(value)
        if value is not None and pod is None:
            errors.wrong_value(key)
        return pod

    def _text(self, key: bytes, errors: StoredErrors) -> str | None:
        value = self._string(key, errors)
        text = stored_text(value)
        if value is not None and text is None:
            errors.wrong_value(key)
        return text

    def _moment(self, key: bytes, errors: StoredErrors, of: bytes) -> Moment | None:
        """The time at a key, or None if it does not belong to the value at the key `of`."""
        time = self._string(key, errors)
        if time is None or of not in self.keys:
            return None
        if not is_stored_time(time):
            errors.wrong_value(key)
        value = self.keys[of].value
        return stored_moment(time, value) if isinstance(value, bytes) else None

    def _pod_states(self, key: bytes, errors: StoredErrors) -> dict[int, str]:
        states = {}
        for name, value in self._hash(key, errors).items():
            pod, state = stored_pod_id(name), stored_text(value)
            if pod is None or state is None:
                errors.wrong_value(key)
            else:
                states[pod] = state
        return states

    # Writing, as the Redis commands do

    def _put_field(self, key: bytes, name: bytes, value: bytes | Dated) -> None:
        entry = self.keys.setdefault(key, Entry({}))
        assert isinstance(entry.value, dict)
        entry.value[name] = value

    def _drop_field(self, key: bytes, name: bytes) -> None:
        entry = self.keys.get(key)
        if entry is not None:
            assert isinstance(entry.value, dict)
            entry.value.pop(name, None)
            if not entry.value:
                del self.keys[key]

    def _set_ttl(self, key: bytes, seconds: int) -> None:
        if key in self.keys:
            ttl = None if seconds == PERSIST_FOREVER else self.now + seconds * 1000
            self.keys[key].expires_at = ttl
