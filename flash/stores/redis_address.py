"""What REDIS_URL says: where Redis is, or which Sentinels know it, who we are there, and how the connection is secured.

`RedisAddress.parse` is the one place that reads it, for both clients (`stores.redis`, `stores.redis_link`). It connects
to nothing.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from flash.errors import ConfigError

CLIENT_NAME = "flash"
"""What Redis shows for our connections in CLIENT LIST."""
REDIS_PORT = 6379
SENTINEL_PORT = 26379

_OPTIONS = {"db", "username", "password"}
_TLS_OPTIONS = {"ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
_SENTINEL_OPTIONS = {"sentinel_username", "sentinel_password"}
_FALSE = {"0", "f", "false", "n", "no"}
_SENTINEL = re.compile(r"\+sentinel$")


@dataclass(frozen=True, slots=True)
class RedisTls:
    """How a `rediss://` connection is made safe. Paths name PEM files; None means the system's authorities."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    is_verified: bool = True
    has_hostname_checked: bool = True

    def context(self) -> ssl.SSLContext:
        """Reads the files anew, so a certificate that was renewed counts from the next connection on."""
        context = ssl.create_default_context(cafile=self.ca_file)
        context.check_hostname = self.has_hostname_checked
        if not self.is_verified:
            context.verify_mode = ssl.CERT_NONE
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context


@dataclass(frozen=True, slots=True)
class SentinelGroup:
    """The Sentinels that watch one primary and its replicas, which they call `name`."""

    name: str
    hosts: tuple[tuple[str, int], ...]
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """One server: a unix socket if `path` is set, else a host and a port, with TLS if `tls` is set.

    With `sentinels`, which server it is must be asked for each time: then host and port say nothing.
    """

    host: str
    port: int
    path: str | None
    username: str | None
    password: str | None = field(repr=False)
    database: int
    tls: RedisTls | None
    sentinels: SentinelGroup | None = None

    @classmethod
    def parse(cls, url: str) -> RedisAddress:
        """`redis://`, `rediss://`, `unix://`, or Sentinel's: `redis+sentinel://host,host:port/name/database`.

        Options are those of redis-py that say where and who, and `sentinel_username` and `sentinel_password`. Raises
        `ConfigError`, which does not show a password.
        """
        try:
            return cls._parse(url)
        except ValueError as error:
            raise ConfigError(f"REDIS_URL cannot be used: {error}") from None

    @classmethod
    def _parse(cls, url: str) -> RedisAddress:
        parts = urlsplit(url)
        options = {name: values[0] for name, values in parse_qs(parts.query).items()}
        has_tls, asks_sentinel = parts.scheme.startswith("rediss"), _SENTINEL.search(parts.scheme) is not None
        known = _OPTIONS | (_TLS_OPTIONS if has_tls else set()) | (_SENTINEL_OPTIONS if asks_sentinel else set())
        if unknown := options.keys() - known:
            raise ValueError(f"{parts.scheme}:// takes no option {', '.join(sorted(unknown))}")
        sentinels, path = _sentinels(parts, options) if asks_sentinel else (None, unquote(parts.path))
        is_unix = parts.scheme == "unix"
        database = options.get("db", "" if is_unix else path.strip("/")) or "0"
        if not database.isdecimal():
            raise ValueError("what follows the host is no database number")
        username, password = _credentials(parts)
        return cls(
            host="" if sentinels else unquote(parts.hostname or "localhost"),
            port=0 if sentinels else _port(parts),
            path=path if is_unix else None,
            username=username or options.get("username"),
            password=password or options.get("password"),
            database=int(database),
            tls=_tls(options) if has_tls else None,
            sentinels=sentinels,
        )

    @property
    def where(self) -> str:
        """The server for people, without who we are there."""
        return self.path or _host_port(self.host, self.port)

    def server(self, host: str, port: int) -> RedisAddress:
        """One server of those that the Sentinels watch."""
        return replace(self, host=host, port=port, sentinels=None)

    def sentinel(self, host: str, port: int) -> RedisAddress:
        """One of the Sentinels itself."""
        assert self.sentinels is not None
        username, password = self.sentinels.username, self.sentinels.password
        return RedisAddress(host, port, None, username, password, 0, self.tls)

    def with_files(self, ca: Path | None, cert: Path | None, key: Path | None) -> RedisAddress:
        """With these PEM files for TLS; None leaves what the URL says. Raises `ConfigError` if it wants no TLS."""
        if not (ca or cert or key):
            return self
        if self.tls is None:
            raise ConfigError("FLASH_REDIS_CA, FLASH_REDIS_CERT and FLASH_REDIS_KEY need a REDIS_URL with rediss://")
        tls = self.tls if ca is None else replace(self.tls, ca_file=str(ca))
        if cert is not None:
            tls = replace(tls, cert_file=str(cert), key_file=None if key is None else str(key))
        return replace(self, tls=tls)


def _credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    """User and password before the `@`, of which `urlsplit` makes nothing useful when several hosts follow."""
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return unquote(user) or None, unquote(password) or None


def _sentinels(parts: SplitResult, options: dict[str, str]) -> tuple[SentinelGroup, str]:
    """The Sentinels, and what is left of the path."""
    name, _, database = parts.path.strip("/").partition("/")
    if not name:
        raise ValueError(f"{parts.scheme}:// needs the name that Sentinel knows the primary by: …host/name")
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if not all(hosts):
        raise ValueError(f"{parts.scheme}:// needs the hosts of the Sentinels, with a comma between two of them")
    found = [urlsplit(f"//{host}") for host in hosts]
    places = tuple((unquote(host.hostname or ""), _port(host, SENTINEL_PORT)) for host in found)
    who = (options.get("sentinel_username"), options.get("sentinel_password"))
    return SentinelGroup(unquote(name), places, *who), database


def _port(parts: SplitResult, default: int = REDIS_PORT) -> int:
    try:
        return parts.port or default
    except ValueError:  # whose text may show a password that was written in the wrong place
        raise ValueError("its port is no number from 1 to 65535") from None


def _tls(options: dict[str, str]) -> RedisTls:
    requirement = options.get("ssl_cert_reqs", "required")
    if requirement not in ("required", "none"):
        raise ValueError(f"ssl_cert_reqs={requirement}: expected required or none")
    is_verified = requirement == "required"
    checks_hostname = options.get("ssl_check_hostname", "true").lower() not in _FALSE
    return RedisTls(
        options.get("ssl_ca_certs"),
        options.get("ssl_certfile"),
        options.get("ssl_keyfile"),
        is_verified,
        is_verified and checks_hostname,
    )


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
