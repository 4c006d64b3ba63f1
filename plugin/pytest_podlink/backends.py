"""`Backends`: the backends that a run requests. Parses their names, opens and closes them.

With pytest-xdist, worker N uses the database of the URL plus N. If the environment variables
`STATEFUL_REDIS_URL` and `STATEFUL_VALKEY_URL` are set, the names `redis` and `valkey` mean those
servers instead of an executable.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from urllib.parse import urlsplit

from pytest_podlink import servers
from pytest_podlink.backend import Backend, BackendError
from pytest_podlink.cluster import ClusterBackend
from pytest_podlink.stores import EMULATOR, EmulatorBackend, ServerBackend, UrlBackend, new_emulator
from pytest_podlink.urls import database_of, is_cluster, with_database_plus, without_secrets

ALL = "all"
URL_SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")
URL_VARIABLES = {"redis": "STATEFUL_REDIS_URL", "valkey": "STATEFUL_VALKEY_URL"}


class Backends:
    """The requested backends by name, in the requested order.

    `worker` is the number of this pytest-xdist worker, `workers` how many there are.

    Raises:
        BackendError: one of them is unknown or not available.
    """

    def __init__(
        self, requested: Sequence[str], *, flush: bool = False, worker: int = 0, workers: int = 1
    ) -> None:
        self._flush = flush
        self._worker = worker
        self._workers = workers
        self._open: dict[str, Backend] = {}
        self._urls: dict[str, str] = {}
        self._descriptions: dict[str, str] = {}
        self.names: list[str] = []
        for name in requested:
            self._add_requested(name)

    def __getitem__(self, name: str) -> Backend:
        """The backend of that name. The first access opens it.

        Raises:
            BackendError: it cannot be opened.
        """
        if name not in self._open:
            self._open[name] = self._create(name)
        return self._open[name]

    def check(self) -> None:
        """Check that every worker can use the URLs, before any test runs.

        Raises:
            BackendError: one of them cannot be used.
        """
        for name, url in self._urls.items():
            if is_cluster(name):
                self._descriptions[name] = str(self[name])
                continue
            for worker in reversed(range(self._workers)):
                url_backend = UrlBackend(
                    name,
                    with_database_plus(url, worker),
                    flush=self._flush,
                    shared=self._workers > 1,
                )
                self._descriptions[name] = str(url_backend)
                url_backend.disconnect()

    def describe(self) -> list[str]:
        """One line for each backend: its name, product and version."""
        return [f"{name}: {self._descriptions[name]}" for name in self.names]

    def close(self) -> None:
        """Close the backends that were opened."""
        while self._open:
            self._open.popitem()[1].close()

    def _add_requested(self, name: str) -> None:
        if name == EMULATOR:
            self._add_once(name, "in this process")
        elif name == ALL:
            for each in (EMULATOR, *_server_names()):
                self._add_requested(each)
        elif urlsplit(name).scheme in URL_SCHEMES and "://" in name:
            self._add_url(without_secrets(name), name)
        elif os.environ.get(URL_VARIABLES.get(name, "")):
            self._add_url(name, os.environ[URL_VARIABLES[name]])
        elif servers.is_name(name):
            try:
                executable = servers.find(name)
            except servers.ServerNotFoundError as error:
                raise BackendError(str(error)) from error
            self._add_once(name, str(executable))
        else:
            raise BackendError(
                f"{name!r} is not a backend: use emulator, redis, valkey, redis-8.2, valkey-9.1 …,"
                " a redis:// URL, or all"
            )

    def _add_url(self, name: str, url: str) -> None:
        if not is_cluster(url):
            database_of(url)
        self._urls[name] = url
        self._add_once(name, without_secrets(url))

    def _add_once(self, name: str, description: str) -> None:
        """Add a backend once: `redis` and `redis-8.2` may be the same executable."""
        if description not in self._descriptions.values():
            self._descriptions[name] = description
            self.names.append(name)

    def _create(self, name: str) -> Backend:
        if name == EMULATOR:
            return EmulatorBackend(new_emulator())
        if name in self._urls and is_cluster(name):
            if self._workers > 1:
                raise BackendError(
                    f"{name}: a cluster has one database, which pytest-xdist workers cannot share;"
                    " run without -n"
                )
            return ClusterBackend(name, self._urls[name], flush=self._flush)
        if name in self._urls:
            url = with_database_plus(self._urls[name], self._worker)
            return UrlBackend(name, url, flush=self._flush, shared=self._workers > 1)
        return ServerBackend(name)


def _server_names() -> list[str]:
    """The names of all servers on this machine, sorted by product and version.

    Raises:
        BackendError: a product is missing although PyPI has a wheel of it for this interpreter.
    """
    found = servers.installed()
    for product in servers.PRODUCTS:
        has_wheel = any(
            wheel.supports_this_python for wheel in servers.WHEELS if wheel.product == product
        )
        if has_wheel and not any(server.product == product for server in found):
            try:
                servers.find(product)
            except servers.ServerNotFoundError as error:
                raise BackendError(str(error)) from error
    return sorted({server.name for server in found}, key=_version_key)


def _version_key(name: str) -> tuple[str, list[int]]:
    product, version = name.split("-")
    return product, [int(part) for part in version.split(".")]
