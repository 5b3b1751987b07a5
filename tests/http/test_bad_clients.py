"""Clients that leave at any step or drip their bytes, and a process that may have no more memory: others are served."""

from __future__ import annotations

import logging
import socket

import pytest
import trio

from flash.config import Config
from flash.domain import Attempt
from flash.http.connection import Connection
from flash.http.connection_set import ConnectionSet
from flash.testing.client import Client, host_and_port
from tests.api.fakes import FakeShop
from tests.http.site import GET, at_most, limits, serving_on
from tests.http.test_crowds import python

CHECKOUT = b"POST /checkout HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 26\r\n\r\n"
CHECKOUT += b'{"user_id":"ann","id":101}'
SLOW = 200
SERVER = """
import resource, trio
from flash.config import Config
from flash.http.asgi import App
from flash.http.message import Response, json_response
from flash.http.server import serve
async def hello(request):
    return json_response(200, "hello")
async def greedy(request):
    return Response(200, bytes(2**33))
async def main():
    app = App({("GET", "/"): hello, ("GET", "/greedy"): greedy}, body_seconds=1)
    await serve(app, host="127.0.0.1", port=0, limits=Config(), stop=trio.Event(), on_listening=limit)
def limit(address):
    resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
    print(address, flush=True)
trio.run(main)
"""


@pytest.mark.parametrize("reads", [0, 1, 60])
async def test_a_client_may_leave_after_any_byte_and_what_was_sent_whole_is_recorded(
    reads: int, caplog: pytest.LogCaptureFixture
) -> None:
    shop, connections = FakeShop(), ConnectionSet(Config())
    with caplog.at_level(logging.WARNING):
        for sent in range(1, len(CHECKOUT) + 1):
            shop.checkouts.asked.clear()
            ours, theirs = socket.socketpair()
            with at_most(5):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(Connection.serve, shop.app, connections, theirs)
                    ours.sendall(CHECKOUT[:sent])
                    await trio.testing.wait_all_tasks_blocked()
                    if reads and sent == len(CHECKOUT):
                        ours.recv(reads)
                    ours.close()
            is_whole = sent == len(CHECKOUT)
            assert [type(asked) for asked in shop.checkouts.asked] == [Attempt] * is_whole, CHECKOUT[:sent]
            assert not connections.members
    assert not caplog.records


async def test_two_hundred_heads_that_drip_delay_nobody_and_each_is_ended_in_time() -> None:
    async with serving_on(True, limits(head_seconds=0.5, drain_seconds=0.3)) as running:
        crowd = [await trio.open_tcp_stream(*host_and_port(running.address)) for _ in range(SLOW)]
        answers: list[bytes] = []

        async def drip(stream: trio.SocketStream) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_send_slowly, stream)
                try:
                    answers.append(bytes(await stream.receive_some(65_536)))
                except trio.BrokenResourceError:
                    answers.append(b"")  # a byte that came after the end had the kernel forget the answer
                nursery.cancel_scope.cancel()

        with at_most(10):
            async with trio.open_nursery() as nursery, Client(running.address) as client:
                for stream in crowd:
                    nursery.start_soon(drip, stream)
                for _ in range(20):
                    with at_most(1):
                        assert (await client.get("/")).status == 200
        for stream in crowd:
            await stream.aclose()
    assert len(answers) == SLOW
    assert {answer.partition(b"\r\n")[0] for answer in answers} <= {b"HTTP/1.1 408 Request Timeout", b""}


async def _send_slowly(stream: trio.SocketStream) -> None:
    for byte in GET + b"X: " + b"a" * 10_000:
        try:
            await stream.send_all(bytes([byte]))
        except trio.BrokenResourceError:
            return
        await trio.sleep(0.05)


async def test_a_process_that_gets_no_more_memory_answers_500_and_serves_on() -> None:
    """As under `ulimit -v`: the request that wanted too much fails alone."""
    async with python(SERVER) as address, Client(address) as client:
        for _ in range(3):
            assert (await client.get("/greedy")).status == 500
            assert (await client.get("/")).status == 200
