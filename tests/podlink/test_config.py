"""Configuration by arguments, URL and environment: the same checks, and the password is never
shown.
"""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podlink import InvalidParameterError, RedisConfig

SECRET = "hunter2/with@odd:chars"


def test_defaults() -> None:
    config = RedisConfig()
    assert (config.host, config.port, config.db, config.ssl) == ("localhost", 6379, 0, False)
    assert config.url == "redis://localhost:6379/0"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", {"host": "h"}),
        ("redis://h:7/3", {"host": "h", "port": 7, "db": 3}),
        ("redis://", {}),
        ("redis://:pw@h", {"host": "h", "password": "pw"}),
        ("redis://me:p%40w%2F@h", {"host": "h", "username": "me", "password": "p@w/"}),
        ("redis://[::1]:7", {"host": "::1", "port": 7}),
        ("redis://h?db=2", {"host": "h", "db": 2}),
        ("REDISS://h", {"host": "h", "ssl": True}),
        ("rediss://h?ssl_cert_reqs=none", {"host": "h", "ssl": True, "ssl_cert_reqs": "none"}),
        ("unix:///tmp/s?db=1", {"unix_socket_path": "/tmp/s", "db": 1}),
        ("unix://me:pw@/tmp/s", {"unix_socket_path": "/tmp/s", "username": "me", "password": "pw"}),
        ("emulator://", {"emulator": ""}),
        ("emulator://blue?protocol=3", {"emulator": "blue", "protocol": 3}),
        ("emulator+cluster://", {"emulator": "", "emulator_cluster": True}),
        ("emulator+cluster://c?protocol=3",
         {"emulator": "c", "emulator_cluster": True, "protocol": 3}),
        ("redis://h?socket_timeout=0.5&socket_keepalive=no&max_connections=none&client_name=web",
         {"host": "h", "socket_timeout": 0.5, "socket_keepalive": False, "client_name": "web"}),
        ("redis://h?socket_timeout=none", {"host": "h", "socket_timeout": None}),
    ],
)  # fmt: skip
def test_from_url(url: str, expected: dict[str, Any]) -> None:
    assert RedisConfig.from_url(url) == RedisConfig(**expected)


@given(st.text(min_size=1, max_size=30).filter(lambda text: text.isprintable()))
def test_url_password_may_contain_any_character(password: str) -> None:
    from urllib.parse import quote

    url = f"redis://u:{quote(password, safe='')}@h:1/2"
    assert RedisConfig.from_url(url).password == password


@pytest.mark.parametrize(
    "config",
    [
        RedisConfig(host="h", port=7, db=3),
        RedisConfig(host="::1", username="me"),
        RedisConfig(host="h", ssl=True),
        RedisConfig(unix_socket_path="/tmp/s"),
        RedisConfig(emulator="blue"),
        RedisConfig(emulator="blue", emulator_cluster=True),
    ],
    ids=lambda config: config.url,
)
def test_url_of_a_configuration_gives_the_same_configuration(config: RedisConfig) -> None:
    assert RedisConfig.from_url(config.url) == config


@pytest.mark.parametrize(
    "url",
    [
        "h:6379", "http://h", "", "redis:/h", "redis://h:port", "redis://h:99999", "redis://h/x",
        "redis://h?nonsense=1", "redis://h?db=x", "redis://h?ssl=perhaps", "unix://tmp/s", "unix://",
        "emulator+cluster://a/b", "emulator+cluster://a:1", "emulator+cluster://a?db=1",
        "emulator://a/b", "redis://h?protocol=4", "redis://h?socket_timeout=0",
    ],
)  # fmt: skip
def test_invalid_url_is_rejected(url: str) -> None:
    with pytest.raises(InvalidParameterError):
        RedisConfig.from_url(url)


@pytest.mark.parametrize(
    "change",
    [
        {"host": ""}, {"host": 5}, {"port": 0}, {"port": 65536}, {"port": True}, {"port": "6379"},
        {"db": -1}, {"socket_timeout": 0}, {"socket_timeout": float("nan")},
        {"socket_timeout": "1"},
        {"socket_connect_timeout": -1}, {"max_connections": 0}, {"protocol": 1}, {"retries": -1},
        {"health_check_interval": -1}, {"retry_backoff": -0.1}, {"client_name": "a b"},
        {"client_name": ""}, {"ssl": "yes"}, {"ssl_cert_reqs": "maybe"}, {"unix_socket_path": ""},
        {"password": 5}, {"socket_keepalive": 1}, {"emulator_cluster": True},
        {"emulator_cluster": 1},
    ],
    ids=str,
)  # fmt: skip
def test_error_of_an_invalid_value_names_the_field(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match=next(iter(change))):
        RedisConfig(**change)
    with pytest.raises(InvalidParameterError, match=next(iter(change))):
        RedisConfig().with_changes(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"emulator": "", "ssl": True}, {"emulator": "", "unix_socket_path": "/s"},
        {"unix_socket_path": "/s", "ssl": True},
    ],
    ids=str,
)  # fmt: skip
def test_conflicting_fields_are_rejected(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match="exclude one another"):
        RedisConfig(**change)


def test_unknown_field_is_rejected() -> None:
    with pytest.raises(InvalidParameterError, match="has no field hots"):
        RedisConfig().with_changes(hots="h")


def test_from_env() -> None:
    env = {
        "PODLINK_REDIS_URL": "redis://h:7/1",
        "PODLINK_REDIS_PASSWORD": SECRET,
        "PODLINK_REDIS_DB": "4",
        "PODLINK_REDIS_SSL": "true",
        "PODLINK_REDIS_MAX_CONNECTIONS": "9",
        "PODLINK_REDIS_CLIENT_NAME": "",
        "PATH": "/bin",
    }
    assert RedisConfig.from_env(env, port=8) == RedisConfig(
        host="h", port=8, db=4, password=SECRET, ssl=True, max_connections=9
    )
    assert RedisConfig.from_env({}) == RedisConfig()


def test_from_env_reads_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODLINK_REDIS_HOST", "elsewhere")
    assert RedisConfig.from_env().host == "elsewhere"


@pytest.mark.parametrize(
    ("name", "value"), [("PODLINK_REDIS_HOTS", "h"), ("PODLINK_REDIS_PORT", "x")]
)
def test_error_of_an_invalid_variable_names_it(name: str, value: str) -> None:
    with pytest.raises(InvalidParameterError, match=name):
        RedisConfig.from_env({name: value})


def test_password_is_not_shown() -> None:
    config = RedisConfig(host="h", username="me", password=SECRET)
    for text in (repr(config), str(config), config.url):
        assert SECRET not in text
        assert "hunter2" not in text


@pytest.mark.parametrize(
    "url",
    [f"redis://me:{SECRET}@h:6379/0", "redis://:hunter2/x@h", "redis://:hunter2@h/x", "hunter2@h",
     "redis://:hunter2@h:port", "redis://:hunter2@[h", "redis://u:hunter2@h?db=x"],
)  # fmt: skip
def test_password_is_not_in_the_error_of_a_bad_url(url: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        RedisConfig.from_url(url)
    shown = "".join(traceback.format_exception_only(type(caught.value), caught.value))
    assert "hunter2" not in shown
    assert caught.value.__cause__ is None


def test_keyword_arguments_for_a_client() -> None:
    kwargs = RedisConfig(
        host="h", password="pw", ssl=True, ssl_cert_reqs="none", max_connections=3, protocol=3
    ).client_kwargs()
    assert kwargs["ssl_check_hostname"] is False
    assert (kwargs["host"], kwargs["password"], kwargs["protocol"]) == ("h", "pw", 3)
    assert "unix_socket_path" not in kwargs
    assert RedisConfig(unix_socket_path="/s").client_kwargs().keys().isdisjoint({"host", "port"})
    assert RedisConfig(emulator="x", db=2).client_kwargs()["db"] == 2
