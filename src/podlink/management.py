"""What `podlink.manager` and `podlink.aio.manager` have in common, none of which does IO."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from podlink.calls import Call, Reply, RetryPolicy, run_script
from podlink.config import RedisConfig
from podlink.errors import InvalidParameterError, NotFoundError, RedisConnectionError, translate
from podlink.scripts import Script

T = TypeVar("T")

NO_RETRIES = RetryPolicy(0, 0.0, 0.0)
PIPELINE = 1_000
SLOW = 1.0


class Closed:
    """Stands where the client was, after `close`."""

    def __getattr__(self, name: str) -> Any:
        raise RedisConnectionError("the manager or executor is closed")


def as_config(source: object) -> RedisConfig | None:
    """The configuration that a URL means, or is; ``None`` for anything else."""
    if isinstance(source, str):
        return RedisConfig.from_url(source)
    return source if isinstance(source, RedisConfig) else None


def known(config: RedisConfig | None) -> RedisConfig:
    """The configuration of a manager that has one."""
    if config is None:
        raise NotFoundError("a manager that was made from a client has no configuration")
    return config


def changed(
    present: RedisConfig | None, config: RedisConfig | str | None, changes: Mapping[str, Any]
) -> RedisConfig:
    """What `update_config` is asked for."""
    base = known(present) if config is None else as_config(config)
    if base is None:
        raise InvalidParameterError(
            f"config must be a RedisConfig or a URL, not {type(config).__name__}"
        )
    return base.with_changes(**changes)


def described(config: RedisConfig | None, client: object) -> str:
    """What a manager leads to, for its repr, which makes no connection."""
    return type(client).__name__ if config is None else config.url


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """What goes into one pipeline after the other, so that none of them gets too long."""
    return (items[i : i + PIPELINE] for i in range(0, len(items), PIPELINE))


def script_call(script: Script, keys: Sequence[Any], args: Sequence[Any]) -> Call[Reply]:
    """A user's script as a call. It counts as a write: nobody knows what it does."""
    wire = run_script(script, keys, args)
    return Call("execute_script", wire, tuple(keys), lambda call, reply: reply, script, True)


@contextmanager
def errors_as_ours(doing: str, *, script: bool = False, write: bool = False) -> Iterator[None]:
    """Turn any exception of redis-py and sockets in the block into a `StatefulError`."""
    try:
        yield
    except Exception as error:
        raise translate(error, doing, script=script, write=write) from error
