"""A real `flash web` with a certificate: sales over HTTPS in HTTP/1.1 and in HTTP/2, with one process and with two."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import h11
import orjson
import pytest
import trio

from flash.errors import OperatorError
from flash.http.server import Tls
from flash.local.embedded import EmbeddedValkey
from flash.testing.cluster import Cluster, Process, running_cluster
from tests.certificates import make_certificate, tls_stream

LISTENING = r"listening on (https://127\.0\.0\.1:\d+)"

Response = tuple[int, Any]


async def start_web(cluster: Cluster, tls: Tls, processes: int, **settings: str) -> tuple[Process, str]:
    web = await cluster.start(
        "web",
        FLASH_TLS_CERT=str(tls.certificate),
        FLASH_TLS_KEY=str(tls.key),
        WEB_CONCURRENCY=str(processes),
        **settings,
    )
    first = await web.wait_for(LISTENING)
    if processes > 1:
        await web.wait_for(LISTENING, after=first.end())
    return web, first.group(1)


async def post_http1(stream: trio.SSLStream[trio.SocketStream], target: str) -> Response:
    http = h11.Connection(h11.CLIENT)
    request = h11.Request(method="POST", target=target, headers=[("host", "localhost"), ("connection", "close")])
    await stream.send_all((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
    status, body = 0, b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(65_536)))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        else:
            return status, orjson.loads(body)


async def post_http2(stream: trio.SSLStream[trio.SocketStream], target: str) -> Response:
    http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    http.initiate_connection()
    number = http.get_next_available_stream_id()
    head = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", target)]
    http.send_headers(number, head, end_stream=True)
    status, body = 0, b""
    while True:
        await stream.send_all(http.data_to_send())
        for event in http.receive_data(await stream.receive_some(65_536)):
            if isinstance(event, h2.events.ResponseReceived):
                assert event.headers is not None
                status = int(dict(event.headers)[b":status"])
            elif isinstance(event, h2.events.DataReceived):
                body += event.data or b""
            elif isinstance(event, h2.events.StreamEnded):
                return status, orjson.loads(body)


POST = {"http/1.1": post_http1, "h2": post_http2}


async def post(address: str, tls: Tls, protocol: str, target: str) -> Response:
    """One request on a connection of its own."""
    with trio.fail_after(10):
        async with await tls_stream(address, tls, protocol) as stream:
            return await POST[protocol](stream, target)


@pytest.mark.parametrize("http", ["builtin", "hypercorn"])
@pytest.mark.parametrize("processes", [1, 2])
async def test_a_whole_sale_goes_over_https_in_either_version_of_http(
    postgres: str, valkey: EmbeddedValkey, tls: Tls, processes: int, http: str
) -> None:
    async with running_cluster(postgres, valkey.url, inventory=1) as (cluster, _):
        web, address = await start_web(cluster, tls, processes, FLASH_HTTP=http)
        if processes > 1:
            await web.wait_for(rf"{processes} web processes share {address}")
        for item, protocol in enumerate(POST, start=1):
            status, issued = await post(address, tls, protocol, f"/checkout?user_id=ann&id={item}")
            assert (status, list(issued)) == (200, ["code"])
            for expected in (200, 409):
                status, told = await post(address, tls, protocol, f"/purchase?code={issued['code']}")
                assert status == expected, told
        web.terminate()
        assert await web.wait() == 0
        assert "Traceback" not in web.log


async def test_a_plain_request_to_the_port_of_https_is_not_answered_and_harms_nobody(
    postgres: str, valkey: EmbeddedValkey, tls: Tls
) -> None:
    async with running_cluster(postgres, valkey.url, inventory=1) as (cluster, _):
        web, address = await start_web(cluster, tls, 1)
        port = int(address.rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as plain:
            await plain.send_all(b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")
            with trio.fail_after(5):
                with suppress(trio.BrokenResourceError):
                    assert not (await plain.receive_some()).startswith(b"HTTP/")
        assert (await post(address, tls, "http/1.1", "/checkout?user_id=ann&id=1"))[0] == 200
        assert "Traceback" not in web.log


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_a_key_of_another_certificate_is_one_line_and_exit_code_1(
    postgres: str, valkey: EmbeddedValkey, tls: Tls, tmp_path: Path, processes: str
) -> None:
    _, other_key = make_certificate(tmp_path)
    async with running_cluster(postgres, valkey.url) as (cluster, _):
        web = await cluster.start(
            "web", FLASH_TLS_CERT=str(tls.certificate), FLASH_TLS_KEY=str(other_key), WEB_CONCURRENCY=processes
        )
        assert await web.wait() == 1
        await web.wait_for(r"flash: The certificate .* cannot be used together: .*set FLASH_TLS_CERT and FLASH_TLS_KEY")
        assert "Traceback" not in web.log


async def test_a_key_with_a_password_is_refused_without_asking_for_it(tls: Tls, tmp_path: Path) -> None:
    protected = tmp_path / "protected.pem"
    await trio.run_process(
        ["openssl", "rsa", "-aes256", "-passout", "pass:secret", "-in", tls.key, "-out", protected], capture_stderr=True
    )
    with pytest.raises(OperatorError, match="the key has a password"):
        Tls(tls.certificate, protected)
