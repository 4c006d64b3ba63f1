"""Parsing and changing the URL of a backend."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pytest_podlink.backend import BackendError


def database_of(url: str) -> int:
    """The database of a URL: its query, else its path, else 0, as redis-py reads it."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    number = query.get("db") or (parts.path.strip("/") if parts.scheme != "unix" else "") or "0"
    if not number.isdecimal():
        raise BackendError(
            f"{without_secrets(url)} does not name a database: {number!r} is not a number"
        )
    return int(number)


def with_database_plus(url: str, by: int) -> str:
    """The URL with its database number increased by `by`."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    query["db"] = str(database_of(url) + by)
    return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote)))


def without_secrets(url: str) -> str:
    """The URL without user, password and options, for messages."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def is_cluster(url: str) -> bool:
    """Whether the URL names a cluster."""
    return "+cluster:" in url
