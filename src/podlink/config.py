"""`RedisConfig`: the address, credentials, timeouts and retries of a connection to Redis.

It is created from keyword arguments, a URL or environment variables. Values are checked at
creation. Passwords never occur in a repr, an error message or a log. The configuration also
provides the keyword arguments of a redis-py client; the managers create the clients.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from podlink.calls import RetryPolicy
from podlink.errors import InvalidParameterError
from podlink.keys import shown

ENV_PREFIX: Final = "PODLINK_REDIS_"
_SERVERS: Final = ("redis", "rediss")
_MULTI_HOST: Final = tuple(
    f"{scheme}+{way}" for scheme in _SERVERS for way in ("cluster", "sentinel")
)
_EMULATORS: Final = ("emulator", "emulator+cluster")
_SCHEMES: Final = (*_SERVERS, "unix", *_EMULATORS, *_MULTI_HOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisConfig:
    """How to connect to Redis. Immutable; `with_changes` returns a changed copy.

    Attributes:
        host, port: the address of the server.
        unix_socket_path: the path of a unix socket, instead of host and port.
        emulator: the name of an emulator in this process, instead of a server; ``""`` is the
            default emulator.
        emulator_cluster: whether the emulator is a cluster.
        cluster_nodes: some nodes of a Redis Cluster as ``host:port``; they report the others.
        sentinel_nodes: the Sentinels as ``host:port``.
        sentinel_service: the name of the master that the Sentinels monitor.
        sentinel_username, sentinel_password: the credentials for the Sentinels.
        db: the database number.
        username, password: the credentials; a password alone authenticates the default user.
        ssl: whether to use TLS.
        ssl_ca_certs, ssl_certfile, ssl_keyfile: the paths of PEM files.
        ssl_cert_reqs: ``"required"``, ``"optional"`` or ``"none"``.
        ssl_check_hostname: whether the certificate must match the host name.
        socket_timeout: seconds that a reply may take; ``None`` sets no limit.
        socket_connect_timeout: seconds that connecting may take; ``None`` sets no limit.
        socket_keepalive: whether to use TCP keepalive.
        timeout: seconds that an operation may take if it is called without a timeout; ``None`` sets
            no limit for the whole operation.
        max_connections: the size of the pool (on a cluster, of the pool of each node); ``None``
            sets no limit.
        pool_timeout: seconds to wait for a free connection if the pool has a limit.
        health_check_interval: a connection that was idle for this many seconds is checked with PING
            before use; 0 disables the check.
        protocol: 2 or 3 (RESP2, RESP3); ``None`` is the default of redis-py.
        client_name: the name of the connections (CLIENT SETNAME).
        slow_operation: an operation that takes at least this many seconds is logged as slow.
        retries: how often a call is retried if that is safe (see `podlink.calls`).
        retry_backoff: seconds before the first retry; doubled for each further one.
        retry_backoff_cap: the maximum delay before a retry, in seconds.

    Raises:
        InvalidParameterError: a value is outside its limits; the message names the field.
    """

    host: str = "localhost"
    port: int = 6379
    unix_socket_path: str | None = None
    emulator: str | None = None
    emulator_cluster: bool = False
    cluster_nodes: tuple[str, ...] = ()
    sentinel_nodes: tuple[str, ...] = ()
    sentinel_service: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ssl: bool = False
    ssl_ca_certs: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_cert_reqs: str = "required"
    ssl_check_hostname: bool = True
    socket_timeout: float | None = 5.0
    socket_connect_timeout: float | None = 5.0
    socket_keepalive: bool = True
    timeout: float | None = None
    max_connections: int | None = None
    pool_timeout: float = 5.0
    health_check_interval: float = 0.0
    protocol: int | None = None
    client_name: str | None = None
    slow_operation: float = 1.0
    retries: int = 3
    retry_backoff: float = 0.02
    retry_backoff_cap: float = 0.5

    def __post_init__(self) -> None:
        for name in _TEXTS:
            value = getattr(self, name)
            if value is None and name not in ("host", "ssl_cert_reqs"):
                continue
            _require(isinstance(value, str), name, "a string", value)
        _require(bool(self.host), "host", "a non-empty string", self.host)
        _require(self.unix_socket_path != "", "unix_socket_path", "a path", "")
        for name in _FLAGS:
            _require(isinstance(getattr(self, name), bool), name, "a bool", getattr(self, name))
        _integer("port", self.port, 1, 65535)
        _integer("db", self.db, 0, 2**31 - 1)
        _integer("retries", self.retries, 0, 1000)
        if self.max_connections is not None:
            _integer("max_connections", self.max_connections, 1, 2**31 - 1)
        if self.protocol is not None:
            _require(self.protocol in (2, 3), "protocol", "2 or 3", self.protocol)
        _require(
            self.ssl_cert_reqs in ("required", "optional", "none"),
            "ssl_cert_reqs", "'required', 'optional' or 'none'", self.ssl_cert_reqs,
        )  # fmt: skip
        for name in ("timeout", "socket_timeout", "socket_connect_timeout"):
            if getattr(self, name) is not None:
                _seconds(name, getattr(self, name), may_be_zero=False)
        for name in (
            "pool_timeout",
            "slow_operation",
            "health_check_interval",
            "retry_backoff",
            "retry_backoff_cap",
        ):
            _seconds(name, getattr(self, name), may_be_zero=True)
        self._check_topology()
        if self.client_name is not None and not _is_client_name(self.client_name):
            raise InvalidParameterError(
                "client_name must be printable ASCII without spaces, as CLIENT SETNAME requires; "
                f"got {shown(self.client_name)}"
            )

    def _check_topology(self) -> None:
        ways = [
            name
            for name, taken in (
                ("emulator", self.emulator is not None),
                ("unix_socket_path", self.unix_socket_path is not None),
                ("cluster_nodes", self.cluster_nodes),
                ("sentinel_nodes", self.sentinel_nodes),
            )
            if taken
        ]
        if self.ssl and ways in (["emulator"], ["unix_socket_path"]):
            ways.append("ssl")
        if len(ways) > 1:
            raise InvalidParameterError(
                f"{' and '.join(ways)} exclude one another: set only one of them"
            )
        for name in ("cluster_nodes", "sentinel_nodes"):
            nodes = getattr(self, name)
            _require(isinstance(nodes, tuple), name, "a tuple of host:port", nodes)
            for node in nodes:
                _address(name, node)
        if self.emulator_cluster and self.emulator is None:
            raise InvalidParameterError("emulator_cluster needs the name of an emulator")
        if self.is_cluster:
            _require(self.db == 0, "db", "0 on a cluster", self.db)
        if bool(self.sentinel_nodes) != (self.sentinel_service is not None):
            raise InvalidParameterError(
                "sentinel_nodes and sentinel_service must be set together: the addresses of the "
                "Sentinels, and the name of the master"
            )

    @classmethod
    def from_url(cls, url: str, **changes: Any) -> RedisConfig:
        """Parse a URL. Keyword arguments override its values.

        ``redis://user:password@host:port/db``, ``rediss://…`` (TLS),
        ``unix:///path/to/socket?db=0``, ``redis+cluster://host:port,host:port``,
        ``redis+sentinel://host:port,host:port/service?db=0`` (both also with ``rediss+``),
        ``emulator://`` or ``emulator://name`` (in this process; ``emulator+cluster://`` for an
        emulated cluster). The query may set any other field: ``?socket_timeout=0.5&protocol=3``.
        Special characters must be percent-encoded.

        Raises:
            InvalidParameterError: the URL has another form, or a value is outside its limits.
        """
        return cls(**{**_parse_url(url), **changes})

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **changes: Any) -> RedisConfig:
        """Read the configuration from environment variables. Keyword arguments override them.

        ``PODLINK_REDIS_URL`` is a URL for `from_url`. The variable of a field overrides the URL:
        ``PODLINK_REDIS_HOST``, ``PODLINK_REDIS_PASSWORD``, ``PODLINK_REDIS_SOCKET_TIMEOUT`` … An
        empty variable counts as not set.

        Raises:
            InvalidParameterError: a variable with this prefix belongs to no field, or has an
                invalid value; the message names it.
        """
        variables = os.environ if environ is None else environ
        found = {
            name[len(ENV_PREFIX) :].lower(): value
            for name, value in variables.items()
            if name.startswith(ENV_PREFIX) and value
        }
        url = found.pop("url", None)
        values = {} if url is None else _parse_url(url)
        for name, text in found.items():
            values[name] = _from_text(name, text, f"{ENV_PREFIX}{name.upper()}")
        return cls(**{**values, **changes})

    def with_changes(self, **changes: Any) -> RedisConfig:
        """Return a copy with some fields changed.

        Raises:
            InvalidParameterError: there is no such field, or a value is outside its limits.
        """
        unknown = changes.keys() - _FIELDS
        if unknown:
            raise InvalidParameterError(f"RedisConfig has no field {_listed(unknown)}")
        return replace(self, **changes)

    @property
    def url(self) -> str:
        """The address as a URL without the password, for logs and messages."""
        if self.emulator is not None:
            way = "+cluster" if self.emulator_cluster else ""
            return f"emulator{way}://{quote(self.emulator, safe='')}"
        if self.unix_socket_path is not None:
            return f"unix://{quote(self.unix_socket_path)}?db={self.db}"
        user = "" if self.username is None else f"{quote(self.username, safe='')}@"
        tls = "s" if self.ssl else ""
        if self.cluster_nodes:
            return f"redis{tls}+cluster://{user}{','.join(self.cluster_nodes)}"
        if self.sentinel_service is not None:
            service = quote(self.sentinel_service, safe="")
            nodes = ",".join(self.sentinel_nodes)
            return f"redis{tls}+sentinel://{user}{nodes}/{service}?db={self.db}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.ssl else 'redis'}://{user}{host}:{self.port}/{self.db}"

    @property
    def is_cluster(self) -> bool:
        """Whether the server is a Redis Cluster, so that keys are in several slots."""
        return bool(self.cluster_nodes) or self.emulator_cluster

    @property
    def retry_policy(self) -> RetryPolicy:
        """The number of retries and their delays."""
        return RetryPolicy(self.retries, self.retry_backoff, self.retry_backoff_cap)

    def addresses(self, nodes: tuple[str, ...]) -> list[tuple[str, int]]:
        """Return host and port of each of `cluster_nodes` or `sentinel_nodes`."""
        return [_address("node", node) for node in nodes]

    def sentinel(self, host: str, port: int) -> RedisConfig:
        """Return the configuration of the connection to one of the Sentinels."""
        return replace(
            self,
            host=host,
            port=port,
            sentinel_nodes=(),
            sentinel_service=None,
            username=self.sentinel_username,
            password=self.sentinel_password,
            db=0,
            max_connections=None,
        )

    def client_kwargs(self) -> dict[str, Any]:
        """Return the keyword arguments of a redis-py client, without those of retries."""
        kwargs: dict[str, Any] = {"db": self.db}
        for name in ("username", "password", "protocol", "client_name"):
            if getattr(self, name) is not None:
                kwargs[name] = getattr(self, name)
        # The default limit of redis-py depends on its release.
        kwargs["max_connections"] = self.max_connections or 2**31 - 1
        if self.emulator is not None:
            return kwargs
        kwargs["socket_timeout"] = self.socket_timeout
        kwargs["socket_connect_timeout"] = self.socket_connect_timeout
        kwargs["health_check_interval"] = self.health_check_interval
        if self.unix_socket_path is not None:
            return {**kwargs, "unix_socket_path": self.unix_socket_path}
        kwargs |= {"host": self.host, "port": self.port}
        kwargs["socket_keepalive"] = self.socket_keepalive
        if self.ssl:
            kwargs["ssl"] = True
            kwargs["ssl_cert_reqs"] = self.ssl_cert_reqs
            kwargs["ssl_check_hostname"] = self.ssl_check_hostname and self.ssl_cert_reqs != "none"
            for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
                kwargs[name] = getattr(self, name)
        return kwargs


_FIELDS: Final = {entry.name: str(entry.type) for entry in fields(RedisConfig)}
_TEXTS: Final = tuple(name for name, kind in _FIELDS.items() if kind.startswith("str"))
_SECRETS: Final = frozenset(name for name in _FIELDS if name.endswith("password"))
_FLAGS: Final = tuple(name for name, kind in _FIELDS.items() if kind == "bool")


def _parse_url(url: str) -> dict[str, Any]:
    # Messages do not quote a URL that cannot be parsed: the password may be anywhere in it.
    if not isinstance(url, str):
        raise InvalidParameterError(f"a URL must be a string, not {type(url).__name__}")
    scheme = url.partition("://")[0].lower()
    if "://" not in url or scheme not in _SCHEMES:
        raise InvalidParameterError(
            "a URL must begin with redis://, rediss://, unix://, redis+cluster://, "
            "redis+sentinel://, emulator:// or emulator+cluster://"
        )
    try:
        parts = urlsplit(url)
        host, port = (None, None) if scheme in _MULTI_HOST else (parts.hostname, parts.port)
    except ValueError:
        raise InvalidParameterError(
            "the URL has an invalid host or port; percent-encode special characters of the password"
        ) from None
    values: dict[str, Any] = {
        name: _from_text(name, text, f"the option {name!r} of the URL")
        for name, text in parse_qsl(parts.query, keep_blank_values=True)
    }
    user, _, hosts = parts.netloc.rpartition("@")
    username, _, password = user.partition(":")
    if username:
        values["username"] = unquote(username)
    if password:
        values["password"] = unquote(password)
    if scheme in _EMULATORS:
        if parts.path.strip("/") or port is not None:
            raise InvalidParameterError(
                f"an emulator URL must be {scheme}:// or {scheme}://name, without port and path"
            )
        if scheme == "emulator+cluster":
            values["emulator_cluster"] = True
        return {**values, "emulator": unquote(hosts)}
    if scheme == "unix":
        if hosts or not parts.path:
            raise InvalidParameterError(
                "a unix URL must be unix:///path/to/socket, with three slashes"
            )
        return {**values, "unix_socket_path": unquote(parts.path)}
    if scheme.startswith("rediss"):
        values["ssl"] = True
    if scheme in _MULTI_HOST:
        return {**values, **_parse_hosts(scheme, hosts, unquote(parts.path).strip("/"))}
    if host:
        values["host"] = unquote(host)
    if port is not None:
        values["port"] = port
    path = unquote(parts.path).strip("/")
    if path:
        values["db"] = _from_text("db", path, "the path of the URL")
    return values


def _parse_hosts(scheme: str, hosts: str, path: str) -> dict[str, Any]:
    nodes = tuple(unquote(node) for node in hosts.split(",") if node)
    if not nodes:
        raise InvalidParameterError(f"a {scheme} URL must name nodes: {scheme}://host:port,…")
    for node in nodes:
        if _NODE.fullmatch(node) is None:
            raise InvalidParameterError(
                "the URL has an invalid host or port; percent-encode special characters of the "
                "password"
            )
    if scheme.endswith("sentinel"):
        if not path:
            raise InvalidParameterError(
                f"a {scheme} URL must end with the name of the master: {scheme}://…/name"
            )
        return {"sentinel_nodes": nodes, "sentinel_service": path}
    if path not in ("", "0"):
        raise InvalidParameterError("a cluster has no databases: the URL must have no path")
    return {"cluster_nodes": nodes}


def _from_text(name: str, text: str, where: str) -> Any:
    """Parse the text of a field; ``where`` names the URL option or variable in messages."""
    kind = _FIELDS.get(name)
    if kind is None:
        raise InvalidParameterError(f"{where} is unknown; the fields are: {_listed(_FIELDS)}")
    try:
        if kind.startswith("str"):
            return text
        if kind.startswith("tuple"):
            return tuple(part.strip() for part in text.split(",") if part.strip())
        if kind == "bool":
            return _BOOLS[text.strip().lower()]
        if text.strip().lower() == "none" and kind.endswith("None"):
            return None
        return int(text) if kind.startswith("int") else float(text)
    except (ValueError, KeyError):
        kind = kind.partition(" ")[0]
        raise InvalidParameterError(f"{where} must be of type {kind}; got {shown(text)}") from None


_BOOLS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def _address(name: str, node: object) -> tuple[str, int]:
    """Parse ``host:port``, ``[v6]:port`` or a host without port."""
    match = _NODE.fullmatch(node) if isinstance(node, str) else None
    if match is None or not 1 <= int(match[3] or 6379) <= 65535:
        raise InvalidParameterError(f"{name} must be written host:port; got {shown(node)}")
    return match[1] or match[2], int(match[3] or 6379)


_NODE: Final = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:@/?#\[\]]+))(?::(\d{1,5}))?")


def _require(right: bool, name: str, expected: str, value: object) -> None:
    if not right:
        # Messages do not quote passwords, not even invalid ones.
        got = "" if name in _SECRETS else f"; got {shown(value)}"
        raise InvalidParameterError(f"{name} must be {expected}{got}")


def _integer(name: str, value: object, low: int, high: int) -> None:
    right = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    _require(right, name, f"an integer from {low} to {high}", value)


def _seconds(name: str, value: object, *, may_be_zero: bool) -> None:
    right = (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and (0 < value < 2**31 or (may_be_zero and value == 0))
    )
    _require(right, name, "a number of seconds" + ("" if may_be_zero else " above 0"), value)


def _is_client_name(name: str) -> bool:
    return bool(name) and all("!" <= character <= "~" for character in name)


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))
