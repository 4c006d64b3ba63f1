"""What the synchronous and the asyncio `RedisManager` share: configuration, errors, script calls.

No function here does IO.
"""

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
MAX_PIPELINE_LENGTH = 1_000
DEFAULT_SLOW_OPERATION = 1.0


class ClosedClient:
    """Replaces the client of a closed manager: every use raises `RedisConnectionError`."""

    def __getattr__(self, name: str) -> Any:
        raise RedisConnectionError("the manager or executor is closed: create a new one")


def config_of(source: object) -> RedisConfig | None:
    """Return a configuration as it is, parse a URL, and return ``None`` for anything else."""
    if isinstance(source, str):
        return RedisConfig.from_url(source)
    return source if isinstance(source, RedisConfig) else None


def require_config(config: RedisConfig | None) -> RedisConfig:
    """Return the configuration of a manager.

    Raises:
        NotFoundError: the manager was created from a client.
    """
    if config is None:
        raise NotFoundError(
            "a manager that was created from a client has no configuration: create it from a URL "
            "or a RedisConfig"
        )
    return config


def updated_config(
    current: RedisConfig | None, config: RedisConfig | str | None, changes: Mapping[str, Any]
) -> RedisConfig:
    """Return the configuration that ``update_config(config, **changes)`` sets.

    Raises:
        InvalidParameterError: ``config`` has another type, or a value is outside its limits.
        NotFoundError: there is neither a current configuration nor a new one.
    """
    base = require_config(current) if config is None else config_of(config)
    if base is None:
        raise InvalidParameterError(
            f"config must be a RedisConfig or a URL, not {type(config).__name__}"
        )
    return base.with_changes(**changes)


def describe_target(config: RedisConfig | None, client: object) -> str:
    """Return the URL without password, or the class of the client, for the repr of a manager."""
    return type(client).__name__ if config is None else config.url


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Split items into parts of at most `MAX_PIPELINE_LENGTH`, one for each pipeline."""
    size = MAX_PIPELINE_LENGTH
    return (items[i : i + size] for i in range(0, len(items), size))


def script_call(script: Script, keys: Sequence[Any], args: Sequence[Any]) -> Call[Reply]:
    """Build the call that runs a script of a user.

    It counts as a write, because it may be one.
    """
    wire = run_script(script, keys, args)
    return Call("execute_script", wire, tuple(keys), lambda call, reply: reply, script, True)


@contextmanager
def translated_errors(doing: str, *, script: bool = False, write: bool = False) -> Iterator[None]:
    """Replace an exception that the block raises by a `StatefulError`; see `errors.translate`."""
    try:
        yield
    except Exception as error:
        raise translate(error, doing, script=script, write=write) from error
