"""Crowds and garbage over real sockets: the server carries on, leaks nothing, and answers the next request."""

from __future__ import annotations

import os
import re
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest
import trio

from flash.http import accepting, connection_set
from flash.http.accepting import ROUND_MAX
from flash.testing.client import Client, ConnectionLost, host_and_port, raw
from flash.testing.cluster import ROOT
from tests.http.cases import ACCEPTED, REJECTED
from tests.http.site import GET, Serving, at_most, descriptors, limits, serving_on, until
from tests.http.test_parser import FUZZ_SEED, in_pieces, mutants

IDLE = 10_000
FUZZ_INPUTS = int(os.environ.get("FLASH_FUZZ_TCP_INPUTS", "300"))

CROWD = """
import socket, sys
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
crowd = [socket.create_connection((host, port)) for _ in range(count)]
print("here", flush=True)
sys.stdin.read()
"""
SERVER = """
import resource, sys, trio
from flash.config import Config
from flash.http.asgi import App
from flash.http.message import json_response
from flash.http.server import serve
async def hello(request):
    return json_response(200, "hello")
async def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    app = App({("GET", "/"): hello}, body_seconds=1)
    await serve(app, host="127.0.0.1", port=0, limits=Config(), stop=trio.Event(),
                on_listening=lambda address: print(address, flush=True), is_builtin=sys.argv[1] == "builtin")
trio.run(main)
"""


@contextmanager
def descriptors_allowed(count: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"this user may have {hard:,} open files, and {count:,} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def python(script: str, *arguments: str) -> AsyncIterator[str]:
    """Run `script` in a child process that is killed at the end. Yields the first thing that it printed."""
    async with trio.open_nursery() as nursery:
        child = await trio.lowlevel.open_process(
            [sys.executable, "-c", script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
        )
        try:
            assert child.stdout is not None
            with trio.fail_after(60):
                yield (await child.stdout.receive_some()).decode().strip()
        finally:
            child.kill()
            nursery.cancel_scope.shield = True
            await child.wait()


async def test_ten_thousand_idle_connections_delay_nobody(serving: Serving) -> None:
    with descriptors_allowed(IDLE + 500):
        async with serving(limits(drain_seconds=20)) as running:
            host, port = host_and_port(running.address)
            crowd = IDLE if running.is_builtin else IDLE // 10  # Hypercorn takes a millisecond for each
            async with python(CROWD, host, str(port), str(crowd)) as said, Client(running.address) as client:
                assert said == "here"
                await client.get("/")  # answered once the crowd before it has been accepted
                with at_most(10):
                    for _ in range(20):
                        assert (await client.get("/")).status == 200
                running.stop.set()
                with at_most(20):
                    await running.ended.wait()


@pytest.mark.parametrize("server", ["builtin", "hypercorn"])
async def test_out_of_descriptors_open_connections_are_served_and_new_ones_once_others_close(server: str) -> None:
    async with python(SERVER, server) as address, Client(address) as first:
        assert (await first.get("/")).status == 200
        crowd = [await trio.open_tcp_stream(*host_and_port(address)) for _ in range(100)]
        for _ in range(10):
            with at_most(1):
                assert (await first.get("/")).status == 200
        for stream in crowd:
            await stream.aclose()
        with at_most(2):
            while not await _is_served(address):  # noqa: ASYNC110 - the server sets no event for us
                await trio.sleep(0.01)  # told to come back, until the server has seen the others go


async def _is_served(address: str) -> bool:
    with suppress(ConnectionLost):
        async with Client(address) as client:
            return (await client.get("/")).status == 200
    return False


async def test_newcomers_are_accepted_many_at_once_however_busy_the_others_are() -> None:
    """One newcomer in each round of the scheduler would wait for as many rounds as there are newcomers before it."""
    async with serving_on(True) as running:
        host, port = host_and_port(running.address)
        rounds = 0

        async def count_rounds() -> None:
            nonlocal rounds
            while True:
                rounds += 1
                await trio.lowlevel.checkpoint()

        # connected by the kernel in one step of this thread, so all of them wait when the server looks
        crowd = [socket.create_connection((host, port)) for _ in range(4 * ROUND_MAX)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_rounds)
            for newcomer in crowd:
                newcomer.sendall(GET + b"\r\n")
                newcomer.setblocking(False)
            await trio.lowlevel.wait_readable(crowd[-1])
            assert rounds < len(crowd) / 4, f"the last of {len(crowd)} newcomers was served after {rounds} rounds"
            nursery.cancel_scope.cancel()
        for newcomer in crowd:
            with at_most(2):
                await trio.lowlevel.wait_readable(newcomer)
            assert newcomer.recv(65_536).startswith(b"HTTP/1.1 200 ")
        for newcomer in crowd:
            newcomer.close()


async def test_everybody_above_the_cap_is_told_so_and_costs_no_descriptor() -> None:
    async with serving_on(True, limits(connections_max=5, drain_seconds=0.3)) as running:
        before = descriptors()
        crowd = [await trio.open_tcp_stream(*host_and_port(running.address)) for _ in range(300)]
        refused = 0
        for stream in crowd[5:]:
            with at_most(2):
                refused += (await stream.receive_some(65_536)).startswith(b"HTTP/1.1 503 ")
        assert refused == 295
        for stream in crowd:
            await stream.aclose()
        await until(lambda: descriptors() <= before)
        await running.assert_answers()


async def test_the_table_of_requests_holds_over_a_real_connection(serving: Serving) -> None:
    async with serving() as running:
        for case in ACCEPTED:
            if running.is_builtin or not case.unlike_h11:
                data = case.data * 3 + GET + b"Connection: close\r\n\r\n"
                assert len(_statuses(await raw(running.address, data))) == 4, case
        for case in REJECTED:
            statuses = _statuses(await raw(running.address, case.data + GET + b"\r\n", is_half_closed=True))
            if running.is_builtin:
                assert statuses == [case.status], case
            elif not case.unlike_h11:
                assert len(statuses) == 1, case
                assert statuses[0] >= 400, case
        await running.assert_answers()


async def test_any_input_gets_a_status_or_a_close_and_the_next_request_is_answered(serving: Serving) -> None:
    """FLASH_FUZZ_TCP_INPUTS and FLASH_FUZZ_SEED choose how many and which."""
    inputs = mutants(FUZZ_SEED, FUZZ_INPUTS)

    async def send_some() -> None:
        for data, luck in inputs:
            answer = await _send_in_pieces(running.address, in_pieces(data, luck))
            assert not answer or answer.startswith(b"HTTP/1.1 "), data
            assert set(_statuses(answer)) <= {100, 200, 400, 404, 405, 408, 413, 414, 431, 501, 505}, data

    async with serving(limits(drain_seconds=0.3)) as running:
        await running.assert_answers()
        before = descriptors()
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(send_some)
        await until(lambda: descriptors() <= before)
        await running.assert_answers()


def _statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", answer)]


async def _send_in_pieces(address: str, pieces: list[bytes]) -> bytes:
    heard = b""
    stream = await trio.open_tcp_stream(*host_and_port(address))
    with at_most(5), suppress(trio.BrokenResourceError):
        async with stream:
            for piece in pieces:
                await stream.send_all(piece)
                await trio.lowlevel.checkpoint()
            await stream.send_eof()
            while data := await stream.receive_some(65_536):
                heard += data
    return heard


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS"])
@pytest.mark.parametrize("target", [b"/", b"/second?a=%20", b"/nowhere", b"/%zz", b"*", b"http://h/"])
async def test_both_servers_give_the_same_answer_to_the_byte(method: bytes, target: bytes) -> None:
    request = method + b" " + target + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
    request += b"X-Request-ID: a\r\nTraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\r\n\r\n"
    answers = []
    for is_builtin in (True, False):
        async with serving_on(is_builtin) as running:
            head, _, body = (await raw(running.address, request)).partition(b"\r\n\r\n")
        line, *headers = head.split(b"\r\n")
        answers.append((line.split()[1], sorted(h.lower() for h in headers if h[:5] != b"date:"), body))
    assert answers[0] == answers[1]


def test_what_is_accepted_beyond_the_cap_leaves_descriptors_to_the_stores() -> None:
    assert connection_set.DESCRIPTORS_KEPT - accepting.ROUND_MAX - accepting._REFUSALS_MAX >= 50
