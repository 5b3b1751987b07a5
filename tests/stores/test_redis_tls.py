"""`rediss://` against a real server that wants a client's certificate: both clients, and what the doctor says."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import trio

from flash import bridge
from flash.config import Config
from flash.errors import ConfigError, FlashError
from flash.local.doctor_redis import redis_findings
from flash.local.embedded import EmbeddedValkey
from flash.processes.lifecycle import open_link, open_redis_client, redis_address
from flash.stores.redis import call_redis

_EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of one authority: itself, what it has signed for a server called localhost, and for a client."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("redis-tls")

    def make(name: str, *more: str) -> Path:
        out, key = folder / f"{name}.pem", folder / f"{name}.key"
        command = [program, "req", "-x509", *_EC, "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(out), *more]
        subprocess.run(command, check=True, capture_output=True)
        return out

    ca = make("authority")
    signed = ("-CA", str(ca), "-CAkey", str(folder / "authority.key"), "-addext", "basicConstraints=CA:FALSE")
    server = make("server", *signed, "-addext", "subjectAltName=DNS:localhost")
    client = make("client", *signed)
    return Certificates(ca, server, folder / "server.key", client, folder / "client.key")


@asynccontextmanager
async def behind_tls(server: EmbeddedValkey, pem: Certificates) -> AsyncIterator[int]:
    """The port of a TLS terminator before `server`, which serves nobody without a certificate of the authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pem.ca))
    context.load_cert_chain(pem.server, pem.server_key)
    context.verify_mode = ssl.CERT_REQUIRED

    async def serve(client: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            async with await trio.open_unix_socket(str(server.socket)) as inner, trio.open_nursery() as nursery:
                nursery.start_soon(copy, client, inner, nursery.cancel_scope)
                nursery.start_soon(copy, inner, client, nursery.cancel_scope)
        except* trio.BrokenResourceError:
            pass  # a client that was refused, or that has gone

    async def copy(source: trio.abc.Stream, sink: trio.abc.Stream, both: trio.CancelScope) -> None:
        while data := await source.receive_some():
            await sink.send_all(data)
        both.cancel()

    async with trio.open_nursery() as nursery:
        plain, *_ = await trio.open_tcp_listeners(0, host="localhost")
        nursery.start_soon(trio.serve_listeners, serve, [trio.SSLListener(plain, context)])
        yield plain.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def config_for(url: str, pem: Certificates) -> Config:
    return replace(Config(), redis_url=url, redis_ca=pem.ca, redis_cert=pem.client, redis_key=pem.client_key)


async def speak(config: Config) -> None:
    """A word by each client. Raises `FlashError`."""
    async with open_link(config) as link, bridge.open_loop():
        assert await link.execute(("SET", "k", "1"), ("GET", "k")) == [b"OK", b"1"]
        async with open_redis_client(config) as client:
            assert await call_redis(client, client.get, "k") == b"1"


async def refusal_of_the_link(config: Config) -> str:
    async with open_link(config) as link:
        with pytest.raises(FlashError) as caught:
            await link.execute(("PING",))
    return str(caught.value)


async def refusal_of_redis_py(config: Config) -> str:
    async with bridge.open_loop(), open_redis_client(config) as client:
        with pytest.raises(FlashError) as caught:
            await call_redis(client, client.ping)
    return str(caught.value)


async def test_both_clients_trust_the_authority_and_show_their_certificate(
    valkey: EmbeddedValkey, pem: Certificates
) -> None:
    async with behind_tls(valkey, pem) as port:
        await speak(config_for(f"rediss://localhost:{port}", pem))
        files = f"ssl_ca_certs={pem.ca}&ssl_certfile={pem.client}&ssl_keyfile={pem.client_key}"
        await speak(replace(Config(), redis_url=f"rediss://localhost:{port}?{files}"))


@pytest.mark.parametrize("refusal", [refusal_of_the_link, refusal_of_redis_py])
async def test_each_client_refuses_another_name_another_authority_and_goes_nowhere_without_a_certificate(
    valkey: EmbeddedValkey, pem: Certificates, refusal: Callable[[Config], Awaitable[str]]
) -> None:
    async with behind_tls(valkey, pem) as port:
        config = config_for(f"rediss://localhost:{port}", pem)
        assert "IP address mismatch" in await refusal(config_for(f"rediss://127.0.0.1:{port}", pem))
        assert "certificate verify failed" in await refusal(replace(config, redis_ca=None))
        assert await refusal(replace(config, redis_cert=None, redis_key=None))
        await speak(config)


async def doctor(config: Config) -> str:
    """What it says of REDIS_URL, which must be a failure."""
    (finding,) = await trio.to_thread.run_sync(partial(_findings, config))
    return finding


def _findings(config: Config) -> list[str]:
    return [finding.text for finding in redis_findings(config) if finding.verdict == "fail"]


async def test_the_doctor_says_what_is_wrong_with_tls_and_what_to_do(valkey: EmbeddedValkey, pem: Certificates) -> None:
    async with behind_tls(valkey, pem) as port:
        config = config_for(f"rediss://localhost:{port}", pem)
        other_name = await doctor(config_for(f"rediss://127.0.0.1:{port}", pem))
        assert "its certificate is for other names" in other_name
        assert "put the authority's PEM file into FLASH_REDIS_CA" in await doctor(replace(config, redis_ca=None))
        without = await doctor(replace(config, redis_cert=None, redis_key=None))
        assert "set FLASH_REDIS_CERT and FLASH_REDIS_KEY" in without
        assert "is not the key of FLASH_REDIS_CERT" in await doctor(replace(config, redis_key=pem.server_key))
        plain = replace(Config(), redis_url=f"redis://localhost:{port}")
        assert "if the port speaks TLS, REDIS_URL begins with rediss" in await doctor(plain)
        assert "need a REDIS_URL with rediss://" in await doctor(replace(plain, redis_ca=pem.ca))


def test_the_files_of_settings_need_tls_and_count_before_the_url(pem: Certificates) -> None:
    with pytest.raises(ConfigError, match="need a REDIS_URL with rediss://"):
        redis_address(config_for("redis://h", pem))
    address = redis_address(config_for("rediss+sentinel://h/name?ssl_ca_certs=/other&ssl_check_hostname=no", pem))
    assert address.tls is not None
    assert (address.tls.ca_file, address.tls.cert_file) == (str(pem.ca), str(pem.client))
    assert not address.tls.has_hostname_checked
    assert address.sentinel("h", 1).tls == address.server("h", 2).tls == address.tls
