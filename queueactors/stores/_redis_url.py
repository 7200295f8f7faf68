"""What the URL of a Redis store says. It is a secret: no message here repeats a part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMES: Final = ("redis", "rediss", "unix")
PORT: Final = 6379
SENTINEL_PORT: Final = 26379
_LAST_PORT: Final = 65535


@attrs.frozen(kw_only=True)
class RedisUrl:
    """Where servers are, and how to log in.

    Args:
      hosts: Names or addresses, each with its port; none: it is a socket.
      path: The socket's.
      username: None: the default one's.
      password: None: there is none.
      database: Its number.
      tls: Whether to talk TLS.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    database: int = 0
    tls: bool = False


def parse_url(url: str, default_port: int = PORT) -> RedisUrl:
    """Return what a URL says.

    In a user's name and a password ``%40`` stands for an ``@``, and so on; most characters may
    stand for themselves, too.

    Args:
      url: As `RedisStore` takes it.
      default_port: Of a host that is given without one.

    Raises:
      ValueError: If it is none; the message is the rule that it breaks.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES or "://" not in url:
        raise ValueError("to begin with redis://, rediss:// or unix://")
    if scheme == "unix":
        login, path = ("", rest) if rest.startswith("/") else _halves(rest.partition("@/"), "/")
        path, _, query = path.partition("?")
        if len(path) < 2:
            raise ValueError("to name a socket by its whole path, as unix:///run/redis.sock")
        known, _, database = query.partition("=")
        if query and known != "db":
            raise ValueError("to have nothing behind the path but ?db=NUMBER")
        user, password = _login(login)
        return RedisUrl(path=path, username=user, password=password, database=_number(database))
    login, _, place = rest.rpartition("@")
    names, _, database = place.partition("/")
    user, password = _login(login)
    return RedisUrl(
        hosts=tuple(_host(name, default_port) for name in names.split(",")),
        username=user,
        password=password,
        database=_number(database),
        tls=scheme == "rediss",
    )


def _halves(parts: Sequence[str], before: str) -> tuple[str, str]:
    return parts[0], before + parts[2]


def _login(login: str) -> tuple[str | None, str | None]:
    username, _, password = login.partition(":")
    return unquote(username) or None, unquote(password) or None


def _number(database: str) -> int:
    if database and not (database.isascii() and database.isdigit()):
        raise ValueError("to end with the host, or with the number of a database")
    return int(database or 0)


def _host(name: str, default_port: int) -> tuple[str, int]:
    if name.startswith("["):  # IPv6
        host, _, port = name[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = name.partition(":")
    if not port:
        return host or "localhost", default_port
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= _LAST_PORT):
        raise ValueError(f"to have ports from 1 to {_LAST_PORT}")
    return host or "localhost", int(port)
