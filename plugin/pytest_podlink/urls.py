"""What the URL of a backend says: its database, and the part that may be shown."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pytest_podlink.backend import BackendError


def database_of(url: str) -> int:
    """The database that a URL names, as redis-py reads it: query, then path, then 0."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    number = query.get("db") or (parts.path.strip("/") if parts.scheme != "unix" else "") or "0"
    if not number.isdecimal():
        raise BackendError(f"{without_secrets(url)} names no database: {number!r} is not a number")
    return int(number)


def shifted(url: str, by: int) -> str:
    """The same URL, `by` databases further on."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    query["db"] = str(database_of(url) + by)
    return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote)))


def without_secrets(url: str) -> str:
    """The URL without user, password and options: what may be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def is_cluster(url: str) -> bool:
    return "+cluster:" in url
