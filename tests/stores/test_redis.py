"""REDIS_URL, read once for both clients; and what redis-py's errors mean."""

from __future__ import annotations

import socket
import ssl

import pytest
from redis.asyncio import SSLConnection

from flash import bridge
from flash.errors import ConfigError, OutcomeUnknown, Unavailable
from flash.local.embedded import EmbeddedValkey
from flash.stores.redis import call_redis, eviction_warning, open_redis, ping
from flash.stores.redis_address import RedisAddress, RedisTls, SentinelGroup
from flash.stores.redis_link import RedisLink


def address(**changes: object) -> RedisAddress:
    plain: dict[str, object] = {
        "host": "localhost",
        "port": 6379,
        "path": None,
        "username": None,
        "password": None,
        "database": 0,
        "tls": None,
    }
    return RedisAddress(**{**plain, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", address()),
        ("redis://redis.example/", address(host="redis.example")),
        ("redis://u:p%40ss@h:7000/3", address(host="h", port=7000, username="u", password="p@ss", database=3)),
        ("redis://:secret@h", address(host="h", password="secret")),
        ("redis://h/1?db=4&password=x&username=y", address(host="h", database=4, password="x", username="y")),
        ("redis://[::1]:7000", address(host="::1", port=7000)),
        ("unix:///run/a%20b.sock", address(path="/run/a b.sock")),
        ("unix://u:p@/s?db=2", address(path="/s", username="u", password="p", database=2)),
        ("rediss://h", address(host="h", tls=RedisTls())),
        (
            "rediss://h?ssl_ca_certs=/ca&ssl_certfile=/c&ssl_keyfile=/k&ssl_check_hostname=no",
            address(host="h", tls=RedisTls("/ca", "/c", "/k", is_verified=True, has_hostname_checked=False)),
        ),
        (
            "rediss://h?ssl_cert_reqs=none",
            address(host="h", tls=RedisTls(is_verified=False, has_hostname_checked=False)),
        ),
        (
            "redis+sentinel://u:p%40ss@h1,h2:7000,[::1]:7001/cache/3?sentinel_username=s&sentinel_password=q",
            address(
                host="",
                port=0,
                username="u",
                password="p@ss",
                database=3,
                sentinels=SentinelGroup("cache", (("h1", 26379), ("h2", 7000), ("::1", 7001)), "s", "q"),
            ),
        ),
        (
            "rediss+sentinel://h/a%2Fb?ssl_ca_certs=/ca&db=2",
            address(
                host="",
                port=0,
                database=2,
                tls=RedisTls("/ca"),
                sentinels=SentinelGroup("a/b", (("h", 26379),)),
            ),
        ),
    ],
)
def test_a_url_says_where_redis_is_and_who_we_are(url: str, expected: RedisAddress) -> None:
    assert RedisAddress.parse(url) == expected


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://:s3cret@h:port", "no number from 1 to 65535"),
        ("redis://user:s3cret", "no number from 1 to 65535"),
        ("redis://:s3cret@h:99999", "no number from 1 to 65535"),
        ("redis://:s3cret@h/three", "what follows the host is no database number"),
        ("redis://:s3cret@h?socket_timeout=9", "redis:// takes no option socket_timeout"),
        ("redis://:s3cret@h?ssl_ca_certs=/ca", "redis:// takes no option ssl_ca_certs"),
        ("rediss://:s3cret@h?ssl_cert_reqs=optional", "expected required or none"),
        ("redis://:s3cret@h?sentinel_password=s3cret", "redis:// takes no option sentinel_password"),
        ("redis+sentinel://:s3cret@h1,h2", "needs the name that Sentinel knows the primary by"),
        ("redis+sentinel://:s3cret@h1,/cache", "needs the hosts of the Sentinels"),
        ("redis+sentinel://:s3cret@h1,h2:x/cache", "no number from 1 to 65535"),
        ("redis+sentinel://:s3cret@h1,h2/cache/three", "is no database number"),
        ("redis+sentinel://:s3cret@h1/cache?ssl_ca_certs=/ca", "takes no option ssl_ca_certs"),
    ],
)
def test_a_url_that_cannot_be_used_is_named_without_its_password(url: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        RedisAddress.parse(url)
    assert "REDIS_URL" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("options", ["", "?ssl_check_hostname=false", "?ssl_cert_reqs=none"])
async def test_both_clients_are_equally_strict_about_certificates(options: str) -> None:
    url = f"rediss://localhost:1/{options}"
    tls = RedisAddress.parse(url).tls
    assert tls is not None
    ours = tls.context()
    async with bridge.open_loop(), open_redis(url, timeout_seconds=1) as client:
        connection = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        assert isinstance(connection, SSLConnection)
        theirs = connection._connection_arguments()["ssl"]
    assert (ours.verify_mode, ours.check_hostname) == (theirs.verify_mode, theirs.check_hostname)
    assert ours.verify_mode == (ssl.CERT_NONE if "none" in options else ssl.CERT_REQUIRED)


async def test_both_clients_obey_a_host_a_password_and_a_database(valkey: EmbeddedValkey) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with RedisLink(valkey.url, timeout_seconds=5) as link:
        await link.execute(("CONFIG", "SET", "port", port), ("CONFIG", "SET", "requirepass", "s3cret"))
    url = f"redis://:s3cret@127.0.0.1:{port}/3"
    async with RedisLink(url, timeout_seconds=5) as link, bridge.open_loop():
        await link.execute(("SET", "where", "three"))
        async with open_redis(url, timeout_seconds=5) as client:
            assert await call_redis(client, client.get, "where") == b"three"
            names = [entry["name"] for entry in await call_redis(client, client.client_list)]
    assert names == ["flash", "flash"]


async def test_a_redis_that_was_never_there_is_told_apart_from_one_that_fell_silent(valkey: EmbeddedValkey) -> None:
    async with bridge.open_loop():
        async with open_redis("unix:///nowhere", timeout_seconds=1) as client:
            with pytest.raises(Unavailable):
                await ping(client)
        async with open_redis(valkey.url, timeout_seconds=0.2) as client:
            await ping(client)
            valkey.pause()
            with pytest.raises(OutcomeUnknown):
                await ping(client)
            valkey.resume()


async def test_a_redis_that_may_evict_leases_is_warned_of(valkey: EmbeddedValkey) -> None:
    async with bridge.open_loop(), open_redis(valkey.url, timeout_seconds=5) as client:
        assert await eviction_warning(client) is None
        await call_redis(client, client.config_set, "maxmemory-policy", "allkeys-lru")
        warning = await eviction_warning(client)
        assert warning is not None
        assert "allkeys-lru: set it to noeviction" in warning
        await call_redis(client, client.execute_command, "ACL", "SETUSER", "default", "-config")
        assert await eviction_warning(client) == (
            "Redis does not say what its maxmemory-policy is: make sure that it is noeviction"
        )
