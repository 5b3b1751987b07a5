"""What a DATABASE_URL says of where its servers are, and whether they may want TLS."""

from __future__ import annotations

from functools import cache
from urllib.parse import parse_qs, urlsplit

import asyncpg
from asyncpg import connect_utils

from flash.errors import ConfigError, reason_of
from flash.stores.servers import Servers
from flash.stores.trio_asyncpg import UNSET


def check_url(url: str) -> None:
    """Raises `ConfigError` if asyncpg can make nothing of `url`.

    It would otherwise raise that whenever it connects, as it does for many reasons that pass.
    """
    try:
        connect_utils._parse_connect_dsn_and_args(  # type: ignore[attr-defined]
            **{**dict.fromkeys((*UNSET, "ssl", "server_settings")), "dsn": url}
        )
    except OSError:
        pass  # a file that it names is not there, or not yet: whoever connects hears of that
    except ValueError as error:
        # asyncpg's own sentences do not show a password; Python's, of a number or a list that it cannot read, may
        is_told = isinstance(error, asyncpg.ClientConfigurationError)
        reason = reason_of(error) if is_told else "its host, port or options cannot be read"
        raise ConfigError(f"DATABASE_URL cannot be used: {reason}") from None


@cache
def servers_of(url: str) -> Servers:
    """One for each URL, for the whole process: what one pool finds out about the servers holds for the others.

    Raises an error of asyncpg for a URL that names several hosts and cannot be read.
    """
    if not any("," in host for host in _hosts(url)):
        return Servers([None])
    unset = dict.fromkeys(UNSET)
    addresses, *_ = connect_utils._parse_connect_dsn_and_args(  # type: ignore[attr-defined]
        **{**unset, "dsn": url, "ssl": False, "server_settings": None}
    )
    return Servers(addresses)


def ssl_options(url: str) -> dict[str, bool]:
    """asyncpg's `ssl` option for `url`: off for a local server unless the URL says otherwise.

    Without it asyncpg probes for TLS first, and a cancelled probe of a local server was seen to hang the loop.
    """
    return {} if may_use_tls(url) else {"ssl": False}


def may_use_tls(url: str) -> bool:
    """Whether a server of `url` may want TLS."""
    query = parse_qs(urlsplit(url).query)
    if "sslmode" in query:
        return query["sslmode"] != ["disable"]
    return not all(_is_local(host) for host in ",".join(_hosts(url)).split(","))


def _hosts(url: str) -> list[str]:
    """The hosts as they are written, several of them with commas between."""
    parts = urlsplit(url)
    return parse_qs(parts.query).get("host") or [parts.netloc.rpartition("@")[2]]


def _is_local(host: str) -> bool:
    return host.startswith("/") or urlsplit(f"//{host}").hostname in (None, "localhost", "127.0.0.1", "::1")
