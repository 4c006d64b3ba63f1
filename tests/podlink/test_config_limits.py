"""Each field of a configuration at its limits, and what a configuration means to redis-py."""

from __future__ import annotations

from typing import Any

import pytest

from podlink import InvalidParameterError, RedisConfig
from podlink.calls import RetryPolicy
from podlink.keys import shown


def of_field(name: str, value: Any) -> RedisConfig:
    """The default configuration, but for one field."""
    change: dict[str, Any] = {name: value}
    return RedisConfig(**change)


INTEGERS = {
    "port": (1, 65535),
    "db": (0, 2**31 - 1),
    "retries": (0, 1000),
    "max_connections": (1, 2**31 - 1),
}


@pytest.mark.parametrize(("name", "low", "high"), [(n, *limits) for n, limits in INTEGERS.items()])
def test_integer(name: str, low: int, high: int) -> None:
    for good in (low, high):
        assert getattr(of_field(name, good), name) == good
    bad: list[Any] = [low - 1, high + 1, True, 1.5, "1"]
    for value in bad:
        with pytest.raises(InvalidParameterError) as caught:
            of_field(name, value)
        assert caught.value.message == (
            f"{name} must be an integer from {low} to {high}; got {value!r}"
        )


@pytest.mark.parametrize("name", [
    "timeout", "socket_timeout", "socket_connect_timeout",
])  # fmt: skip
def test_seconds_above_zero_or_none(name: str) -> None:
    for good in (0.001, 1, None):
        assert getattr(of_field(name, good), name) == good
    bad: list[Any] = [0, -1, True, "1", float("nan"), float("inf")]
    for value in bad:
        with pytest.raises(InvalidParameterError, match=f"^INVALID_PARAMETER: {name} must be "):
            of_field(name, value)


@pytest.mark.parametrize("name", [
    "pool_timeout", "slow_operation", "health_check_interval", "retry_backoff",
    "retry_backoff_cap",
])  # fmt: skip
def test_seconds_from_zero(name: str) -> None:
    for good in (0, 0.0, 5):
        assert getattr(of_field(name, good), name) == good
    bad: list[Any] = [-0.1, True, "1", None, float("nan"), float("inf")]
    for value in bad:
        with pytest.raises(InvalidParameterError, match=f"^INVALID_PARAMETER: {name} must be "):
            of_field(name, value)


@pytest.mark.parametrize(("change", "message"), [
    ({"host": ""}, "host must be a non-empty string; got ''"),
    ({"host": None}, "host must be a string; got None"),
    ({"ssl_cert_reqs": None}, "ssl_cert_reqs must be a string; got None"),
    ({"ssl_cert_reqs": "x"}, "ssl_cert_reqs must be 'required', 'optional' or 'none'; got 'x'"),
    ({"unix_socket_path": ""}, "unix_socket_path must be a path; got ''"),
    ({"protocol": 4}, "protocol must be 2 or 3; got 4"),
    ({"password": 5}, "password must be a string"),
    ({"sentinel_password": 5}, "sentinel_password must be a string"),
    ({"username": 5}, "username must be a string; got 5"),
    ({"ssl": 1}, "ssl must be a bool; got 1"),
    ({"cluster_nodes": ["h:1"]}, "cluster_nodes must be a tuple of host:port; got ['h:1']"),
    ({"cluster_nodes": ("h:0",)}, "cluster_nodes must be written host:port; got 'h:0'"),
    ({"cluster_nodes": ("h:65536",)}, "cluster_nodes must be written host:port; got 'h:65536'"),
    ({"cluster_nodes": (5,)}, "cluster_nodes must be written host:port; got 5"),
    ({"cluster_nodes": ("h:1",), "db": 1}, "db must be 0 on a cluster; got 1"),
    ({"emulator": "x", "emulator_cluster": True, "db": 1}, "db must be 0 on a cluster; got 1"),
])  # fmt: skip
def test_message_about_a_value(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        RedisConfig(**change)
    assert caught.value.message == message


@pytest.mark.parametrize(("change", "names"), [
    ({"emulator": "x", "unix_socket_path": "/s"}, "emulator and unix_socket_path"),
    ({"emulator": "x", "ssl": True}, "emulator and ssl"),
    ({"unix_socket_path": "/s", "ssl": True}, "unix_socket_path and ssl"),
    ({"emulator": "", "cluster_nodes": ("h:1",)}, "emulator and cluster_nodes"),
    ({"cluster_nodes": ("h:1",), "sentinel_nodes": ("h:1",), "sentinel_service": "m"},
     "cluster_nodes and sentinel_nodes"),
])  # fmt: skip
def test_ways_that_exclude_one_another(change: dict[str, Any], names: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"^INVALID_PARAMETER: {names} "):
        RedisConfig(**change)


@pytest.mark.parametrize(
    "change", [{"sentinel_nodes": ("h:1",)}, {"sentinel_service": "m"}], ids=str
)
def test_sentinel_needs_nodes_and_the_name_of_the_master(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match="sentinel_nodes and sentinel_service"):
        RedisConfig(**change)


@pytest.mark.parametrize(("node", "address"), [
    ("h:7", ("h", 7)), ("h", ("h", 6379)), ("[::1]:7", ("::1", 7)), ("[::1]", ("::1", 6379)),
    ("h:65535", ("h", 65535)), ("h:1", ("h", 1)),
])  # fmt: skip
def test_address_of_a_node(node: str, address: tuple[str, int]) -> None:
    config = RedisConfig(cluster_nodes=(node,))
    assert config.addresses(config.cluster_nodes) == [address]


@pytest.mark.parametrize("url", [
    "redis+cluster://me@h:1,[::1]:2", "rediss+cluster://h:1",
    "redis+sentinel://me@h:1,g:2/a%2Fb?db=3", "rediss+sentinel://h:1/m?db=0",
    "unix:///a%20b?db=3", "rediss://me%40x@h:7/3", "emulator://a%20b", "emulator+cluster://a%20b",
])  # fmt: skip
def test_url_is_the_same_again(url: str) -> None:
    assert RedisConfig.from_url(url).url == url


@pytest.mark.parametrize(("url", "message"), [
    (5, "a URL must be a string, not int"),
    ("redis+cluster://", "must name nodes"), ("redis+sentinel://h:1", "the name of the master"),
    ("redis+cluster://h:1/1", "a cluster has no databases"),
    ("redis+cluster://h h:1", "invalid host or port"),
    ("redis://h?x=1", "the option 'x' of the URL is unknown; the fields are: "),
    ("redis://h?db=x", "the option 'db' of the URL must be of type int; got 'x'"),
    ("redis://h?ssl=x", "the option 'ssl' of the URL must be of type bool; got 'x'"),
    ("redis://h/x", "the path of the URL must be of type int; got 'x'"),
])  # fmt: skip
def test_message_about_a_url(url: Any, message: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        RedisConfig.from_url(url)
    assert message in caught.value.message


@pytest.mark.parametrize(("text", "value"), [
    ("1", True), ("true", True), ("YES", True), (" on ", True), ("0", False), ("False", False),
    ("no", False), ("off", False),
])  # fmt: skip
def test_flags_in_the_environment(text: str, value: bool) -> None:
    assert RedisConfig.from_env({"PODLINK_REDIS_SOCKET_KEEPALIVE": text}).socket_keepalive is value


def test_lists_and_none_in_the_environment() -> None:
    config = RedisConfig.from_env({
        "PODLINK_REDIS_CLUSTER_NODES": " h:1 ,, g:2", "PODLINK_REDIS_SOCKET_TIMEOUT": " None ",
        "PODLINK_REDIS_PROTOCOL": "none", "PODLINK_REDIS_USERNAME": "none",
    })  # fmt: skip
    assert config.cluster_nodes == ("h:1", "g:2")
    assert (config.socket_timeout, config.protocol, config.username) == (None, None, "none")
    with pytest.raises(InvalidParameterError, match="PODLINK_REDIS_PORT must be of type int"):
        RedisConfig.from_env({"PODLINK_REDIS_PORT": "none"})


def test_arguments_of_a_client() -> None:
    assert RedisConfig().client_kwargs() == {
        "db": 0, "max_connections": 2**31 - 1, "socket_timeout": 5.0,
        "socket_connect_timeout": 5.0, "health_check_interval": 0.0, "host": "localhost",
        "port": 6379, "socket_keepalive": True,
    }  # fmt: skip
    assert RedisConfig(
        unix_socket_path="/s", db=3, username="u", password="p", client_name="c", protocol=3,
        socket_timeout=None, socket_connect_timeout=2.0, health_check_interval=7,
        max_connections=9,
    ).client_kwargs() == {
        "db": 3, "username": "u", "password": "p", "client_name": "c", "protocol": 3,
        "max_connections": 9, "socket_timeout": None, "socket_connect_timeout": 2.0,
        "health_check_interval": 7, "unix_socket_path": "/s",
    }  # fmt: skip
    emulated = RedisConfig(emulator="x", db=2, client_name="c").client_kwargs()
    assert emulated == {"db": 2, "client_name": "c", "max_connections": 2**31 - 1}
    files: dict[str, Any] = {"ssl_ca_certs": "a", "ssl_certfile": "b", "ssl_keyfile": "c"}
    kwargs = RedisConfig(ssl=True, **files).client_kwargs()
    assert kwargs.items() >= {
        **files, "ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True,
    }.items()  # fmt: skip
    kwargs = RedisConfig(ssl=True, ssl_check_hostname=False).client_kwargs()
    assert kwargs["ssl_check_hostname"] is False


def test_configuration_of_a_sentinel() -> None:
    config = RedisConfig(
        sentinel_nodes=("h:1",), sentinel_service="m", username="u", password="p", db=3,
        sentinel_username="su", sentinel_password="sp", max_connections=9, ssl=True,
        socket_timeout=7.0,
    )  # fmt: skip
    assert config.sentinel("h", 1) == RedisConfig(
        host="h", port=1, username="su", password="sp", sentinel_username="su",
        sentinel_password="sp", ssl=True, socket_timeout=7.0,
    )  # fmt: skip


def test_retry_policy() -> None:
    config = RedisConfig(retries=4, retry_backoff=0.1, retry_backoff_cap=0.7)
    assert config.retry_policy == RetryPolicy(4, 0.1, 0.7)


@pytest.mark.parametrize(("change", "is_cluster"), [
    ({}, False), ({"cluster_nodes": ("h:1",)}, True), ({"emulator": "x"}, False),
    ({"emulator": "x", "emulator_cluster": True}, True),
])  # fmt: skip
def test_is_cluster(change: dict[str, Any], is_cluster: bool) -> None:
    assert RedisConfig(**change).is_cluster is is_cluster


def test_unknown_field_is_named() -> None:
    with pytest.raises(InvalidParameterError, match="RedisConfig has no field "):
        RedisConfig().with_changes(nonsense=1)


@pytest.mark.parametrize("name", ["a", "!~", "web-1"])
def test_good_client_name(name: str) -> None:
    assert RedisConfig(client_name=name).client_name == name


@pytest.mark.parametrize("name", ["", "a b", "a\n", "é", "\x7f"])
def test_bad_client_name(name: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        RedisConfig(client_name=name)
    assert caught.value.message.endswith(f"as CLIENT SETNAME requires; got {shown(name)}")
