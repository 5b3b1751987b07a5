"""Where Redis is, and redis-py's client for what is asked rarely: leases, and questions about the server.

`RedisAddress.parse` is the one place that reads REDIS_URL. The streams, which every batch of purchases crosses, go
through `stores.redis_link` instead.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from flash import bridge
from flash.errors import ConfigError, OutcomeUnknown, Unavailable, reason_of

T = TypeVar("T")

CLIENT_NAME = "flash"
"""What Redis shows for our connections in CLIENT LIST."""
_REPLACED = ("READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED", "NOREPLICAS", "MISCONF", "CLUSTERDOWN")
"""How a server answers that is not, or not yet, the one to ask: demoted, starting, cut off, not able to write."""
_OPTIONS = {"db", "username", "password"}
_TLS_OPTIONS = {"ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
_FALSE = {"0", "f", "false", "n", "no"}


@dataclass(frozen=True, slots=True)
class RedisTls:
    """How a `rediss://` connection is made safe. Paths name PEM files; None means the system's authorities."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    is_verified: bool = True
    has_hostname_checked: bool = True

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_file)
        context.check_hostname = self.has_hostname_checked
        if not self.is_verified:
            context.verify_mode = ssl.CERT_NONE
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """One server: a unix socket if `path` is set, else a host and a port, with TLS if `tls` is set."""

    host: str
    port: int
    path: str | None
    username: str | None
    password: str | None
    database: int
    tls: RedisTls | None

    @classmethod
    def parse(cls, url: str) -> RedisAddress:
        """`redis://`, `rediss://` or `unix://`, with the options of redis-py that say where and who.

        Raises `ConfigError`, which does not show the password.
        """
        try:
            return cls._parse(url)
        except ValueError as error:
            raise ConfigError(f"REDIS_URL cannot be used: {error}") from None

    @classmethod
    def _parse(cls, url: str) -> RedisAddress:
        parts = urlsplit(url)
        options = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if unknown := options.keys() - _OPTIONS - (_TLS_OPTIONS if parts.scheme == "rediss" else set()):
            raise ValueError(f"{parts.scheme}:// takes no option {', '.join(sorted(unknown))}")
        is_unix = parts.scheme == "unix"
        path = unquote(parts.path)
        database = options.get("db", "" if is_unix else path.strip("/")) or "0"
        if not database.isdecimal():
            raise ValueError("what follows the host is no database number")
        return cls(
            host=unquote(parts.hostname or "localhost"),
            port=_port(parts),
            path=path if is_unix else None,
            username=unquote(parts.username) if parts.username else options.get("username"),
            password=unquote(parts.password) if parts.password else options.get("password"),
            database=int(database),
            tls=_tls(options) if parts.scheme == "rediss" else None,
        )


def _port(parts: SplitResult) -> int:
    try:
        return parts.port or 6379
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


def is_replaced(error: str) -> bool:
    """Whether this error of Redis means that another server may answer where this one was found.

    Then the connection must be dropped: it would lead to the old server for ever.
    """
    return error.startswith(_REPLACED)


@asynccontextmanager
async def open_redis(url: str, *, timeout_seconds: float, connections_max: int = 4) -> AsyncIterator[Redis]:
    """A redis-py client that connects when first used, so Redis may be away. `timeout_seconds` bounds each wait."""
    address = RedisAddress.parse(url)

    async def make() -> Redis:
        pool = BlockingConnectionPool(
            max_connections=connections_max,
            timeout=timeout_seconds,  # for a free connection
            socket_connect_timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            # redis-py repeats ten times by default, writes too: one XADD became two entries
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            client_name=CLIENT_NAME,
            username=address.username,
            password=address.password,
            db=address.database,
            **_endpoint(address),
        )
        return Redis(connection_pool=pool)

    client = await bridge.call_asyncio(make)
    try:
        yield client
    finally:
        await bridge.call_asyncio(client.connection_pool.disconnect)


def _endpoint(address: RedisAddress) -> dict[str, Any]:
    """redis-py's words for where to connect."""
    if address.path is not None:
        return {"connection_class": UnixDomainSocketConnection, "path": address.path}
    endpoint = {"host": address.host, "port": address.port}
    if address.tls is None:
        return {"connection_class": Connection, **endpoint}
    tls = address.tls
    requirement: Literal["required", "none"] = "required" if tls.is_verified else "none"
    return {
        "connection_class": SSLConnection,
        **endpoint,
        "ssl_ca_certs": tls.ca_file,
        "ssl_certfile": tls.cert_file,
        "ssl_keyfile": tls.key_file,
        "ssl_cert_reqs": requirement,
        "ssl_check_hostname": tls.has_hostname_checked,
    }


async def call_redis(client: Redis, function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Call a function that uses `client`, on the asyncio side.

    Raises `Unavailable` if Redis was not there to be asked and `OutcomeUnknown` if its answer was lost or is an error.
    """

    async def call() -> T:
        try:
            return await function(*args)
        except RedisError:
            # It may be READONLY or LOADING: then another server answers at the address, now or soon.
            await client.connection_pool.disconnect()
            raise

    try:
        return await bridge.call_asyncio(call)
    except (RedisError, OSError, TimeoutError) as error:
        reason = f"Redis: {reason_of(error)}"
        # these two can only come from connecting: nothing was sent
        if isinstance(error.__context__, ConnectionRefusedError | FileNotFoundError):
            raise Unavailable(reason) from error
        raise OutcomeUnknown(reason) from error


async def ping(client: Redis) -> None:
    """Raises `Unavailable` or `OutcomeUnknown` unless Redis answers."""
    await call_redis(client, client.ping)


async def eviction_warning(client: Redis) -> str | None:
    """A sentence for the operator if Redis may evict a lease. Raises `Unavailable` or `OutcomeUnknown`."""

    async def ask() -> str | None:
        try:
            return str((await client.config_get("maxmemory-policy")).get("maxmemory-policy"))
        except ResponseError:
            return None  # managed servers forbid CONFIG

    policy = await call_redis(client, ask)
    if policy is None:
        return "Redis does not say what its maxmemory-policy is: make sure that it is noeviction"
    if policy == "noeviction":
        return None
    return f"Redis runs with maxmemory-policy {policy}: set it to noeviction, or leases and commands can vanish"
