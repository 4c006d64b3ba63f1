"""The rules in ``docs/production.md`` are those that are needed, and they are enough."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from typing import Any

import pytest

from podlink import StatefulExecutor
from pytest_podlink import servers

ROOT = Path(__file__).parent.parent.parent


def load() -> Any:
    spec = importlib.util.spec_from_file_location("generate_acl", ROOT / ".ci/generate_acl.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


acl = load()
RULES = acl.rules_of(acl.PAGE.read_text("utf-8"))
USES = {use.what: use for use in acl.USES}


@pytest.mark.parametrize("what", USES)
def test_the_page_names_what_is_sent(what: str) -> None:
    assert RULES[what] == ["~sf:*", *(f"+{name}" for name in acl.needed(USES[what]))]


def test_the_page_has_a_line_for_each_use() -> None:
    assert list(RULES) == list(USES)


def test_every_operation_is_in_a_use() -> None:
    public = {
        name
        for name, value in vars(StatefulExecutor).items()
        if inspect.isfunction(value) and name[0] != "_"
    }
    assert public - {"close", "drain_pod"} == acl.OPERATIONS.keys() | acl.ON_MALFORMED.keys()


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "asyncio"])
@pytest.mark.parametrize("what", [what for what, use in USES.items() if not use.cluster])
def test_a_user_with_these_rules_alone_can_do_it(
    stateful_redis_url: str, admin: Any, what: str, asynchronous: bool
) -> None:
    use = USES[what]
    use.write_first(admin)
    admin.execute_command("ACL", "SETUSER", "app", "reset", "on", ">secret", *RULES[what])
    use.run(stateful_redis_url.replace("//", "//app:secret@"), asynchronous)


@pytest.fixture(
    scope="module", params=["emulator", "redis-8.2", "valkey-9.1", "redis-7.0", "redis-6.2"]
)
def server(request: pytest.FixtureRequest) -> Any:
    if request.param == "emulator":
        from redis_emulator import RedisEmulator

        emulator = RedisEmulator()
        with emulator.serve() as serving:
            yield serving.url, emulator.client()
        return
    if request.param not in ("redis-8.2", "valkey-9.1") and request.param not in available():
        pytest.skip(f"{request.param} is not on this machine")
    with servers.start(request.param) as started, started.client() as client:
        yield f"redis://127.0.0.1:{started.port}", client


def available() -> list[str]:
    return [name for name in ("redis-7.0", "redis-6.2") if is_here(name)]


def is_here(name: str) -> bool:
    try:
        servers.start(name).stop()
    except servers.ServerNotFoundError:
        return False
    return True


@pytest.fixture
def admin(server: Any) -> Any:
    client = server[1]
    client.flushall()
    client.script_flush()
    yield client
    client.execute_command("ACL", "DELUSER", "app")


@pytest.fixture
def stateful_redis_url(server: Any) -> str:
    return str(server[0])
