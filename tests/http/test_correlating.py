"""Every kind of answer says how logs and traces call its request, on both servers, over TLS too."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import pytest
import trio

from flash.http.server import Tls
from flash.testing.client import Client, host_and_port, raw
from tests.certificates import make_certificate
from tests.http.site import GET, POST, Serving, limits, serving, serving_on

__all__ = ["serving"]

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OURS = b"X-Request-ID: req-1\r\nTraceparent: " + PARENT + b"\r\n"

HANDLED = {
    "200": GET + OURS,
    "a HEAD": b"HEAD / HTTP/1.1\r\nHost: h\r\n" + OURS,
    "404": b"GET /nothing HTTP/1.1\r\nHost: h\r\n" + OURS,
    "405": b"PUT / HTTP/1.1\r\nHost: h\r\n" + OURS,
    "400 of a path": b"GET /%ff HTTP/1.1\r\nHost: h\r\n" + OURS,
    "a body": POST + OURS + b"Content-Length: 3\r\n",
}
UNREADABLE = {
    "a body that is too large": POST + OURS + b"Content-Length: 99999999\r\n\r\n",
    "a second host": GET + OURS + b"Host: other\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n" + OURS + b"\r\n",
    "garbage": b"\x00\x01\x02\r\n\r\n",
    "a head that is too large": GET + OURS + b"x: " + b"y" * 40_000 + b"\r\n\r\n",
    "a target that is too long": b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n" + OURS + b"\r\n",
}


def told(answer: bytes) -> tuple[bytes, bytes]:
    """The two headers, each of which comes once."""
    head = answer.partition(b"\r\n\r\n")[0].lower()
    names, parents = re.findall(rb"\r\nx-request-id: (\S+)", head), re.findall(rb"\r\ntraceparent: (\S+)", head)
    assert len(names) == len(parents) == 1, answer
    return names[0], parents[0]


@pytest.mark.parametrize("head", HANDLED.values(), ids=HANDLED.keys())
async def test_an_answer_repeats_what_its_request_was_called(serving: Serving, head: bytes) -> None:
    async with serving() as running:
        body = b"abc" if b"Content-Length" in head else b""
        answer = await raw(running.address, head + b"Connection: close\r\n\r\n" + body)
        assert told(answer) == (b"req-1", PARENT)


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_what_cannot_be_read_is_called_something_as_well(serving: Serving, data: bytes) -> None:
    async with serving() as running:
        name, _ = told(await raw(running.address, data))
        assert name == b"req-1" or re.fullmatch(rb"[0-9a-f]{32}", name)


async def test_each_request_of_a_connection_is_called_something_else(serving: Serving) -> None:
    async with serving() as running, Client(running.address) as client:
        names = {(await client.get("/")).header(b"x-request-id") for _ in range(5)}
        answer = await client.get("/", [(b"x-request-id", b"mine")])
    assert len(names) == 5
    assert None not in names
    assert answer.header(b"x-request-id") == b"mine"


async def test_what_follows_on_a_connection_does_not_inherit_a_name(serving: Serving) -> None:
    async with serving() as running:
        answers = await raw(running.address, GET + OURS + b"\r\n" + b"\x00\r\n\r\n")
    first, _, second = answers.rpartition(b"HTTP/1.1 ")
    assert told(first)[0] == b"req-1"
    assert told(second)[0] != b"req-1"


async def test_a_stream_says_it_at_its_beginning(serving: Serving) -> None:
    async with serving() as running, await trio.open_tcp_stream(*host_and_port(running.address)) as stream:
        await stream.send_all(b"GET /events HTTP/1.1\r\nHost: h\r\n" + OURS + b"\r\n")
        heard = b""
        with trio.fail_after(3):
            while b"data: hello" not in heard:
                heard += await stream.receive_some()
        assert told(heard) == (b"req-1", PARENT)


async def test_who_finds_no_room_hears_a_name_too() -> None:
    async with serving_on(True, limits(connections_max=1)) as running, Client(running.address) as client:
        await client.get("/")
        answer = await raw(running.address, GET + b"\r\n")
        assert b" 503 " in answer
        told(answer)


async def test_answers_over_tls_say_it(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    async with serving_on(True, tls=Tls(*certificate)) as running:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        host, port = host_and_port(running.address)
        stream = await trio.open_ssl_over_tcp_stream(host, port, ssl_context=context, https_compatible=True)
        await stream.send_all(GET + OURS + b"Connection: close\r\n\r\n")
        heard = b""
        with trio.fail_after(3):
            while piece := await stream.receive_some():
                heard += piece
        assert told(heard) == (b"req-1", PARENT)
        await trio.aclose_forcefully(stream)
