"""A viewer of `GET /events` for tests: it reads as a browser does, and adds up what it is told."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import h2.config
import h2.connection
import h2.events
import h11
import orjson
import trio

from flash.http.server import Tls
from flash.testing.client import Client, host_and_port
from tests.certificates import tls_stream

WAIT_SECONDS = 10.0

Receive = Callable[[], Awaitable[bytes | bytearray]]
"""The next bytes of an answer as HTTP/1.1 sends it without chunks; empty at its end."""


class Viewer:
    """What one stream has told so far. `sold` are the items of `sale_id` that are sold, as far as it knows."""

    def __init__(self, receive: Receive) -> None:
        self.head = b""
        self.events: list[tuple[str, Any]] = []
        self.retry_ms = 0
        self.last_id = ""
        self.sale_id = 0
        self.sold: set[int] = set()
        self.remaining = 0
        self.ended = trio.Event()
        self._receive_some = receive
        self._heard = trio.Event()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    async def run(self) -> None:
        """Read to the end."""
        data = b""
        try:
            while more := bytes(await self._receive_some()):
                data += more
                if not self.head and b"\r\n\r\n" in data:
                    self.head, data = data.split(b"\r\n\r\n", 1)
                while self.head and b"\n\n" in data:
                    block, data = data.split(b"\n\n", 1)
                    self._add(block.decode())
                self._heard.set()
                self._heard = trio.Event()
        except trio.BrokenResourceError:
            pass
        finally:
            self.ended.set()
            self._heard.set()

    async def wait_until(self, condition: Callable[[Viewer], object], seconds: float = WAIT_SECONDS) -> None:
        with trio.move_on_after(seconds):
            while not condition(self):
                assert not self.ended.is_set(), f"the stream has ended after {self.events}"
                await self._heard.wait()
            return
        raise AssertionError(f"not within {seconds} s: {self.head!r} {self.events}")

    def _add(self, block: str) -> None:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        self.retry_ms = int(fields.get("retry", self.retry_ms))
        self.last_id = fields.get("id", self.last_id)
        if "event" not in fields:
            return
        data = orjson.loads(fields["data"])
        self.events.append((fields["event"], data))
        if fields["event"] == "state":
            bitmap = b64decode(data["sold"])
            sale = next(sale for sale in data["sales"] if sale["id"] == data["sale_id"])
            self.sale_id = data["sale_id"]
            self.sold = {data["first_id"] + k for k in range(8 * len(bitmap)) if bitmap[k // 8] >> k % 8 & 1}
            self.remaining = sale["remaining"]
            assert self.remaining == sale["stock"] - len(self.sold)
        elif fields["event"] == "item_sold":
            assert not self.sold & set(data["items"]), "nothing is told twice"
            self.sold |= set(data["items"])
            self.remaining -= len(data["items"])
            assert data["remaining"] == self.remaining or not self.sale_id, "whoever comes back knows only a part"


@asynccontextmanager
async def watching(address: str, query: str = "", last_id: str | None = None) -> AsyncIterator[Viewer]:
    """A viewer on a connection of its own, once the process knows a sale."""
    async with Client(address) as client:
        with trio.fail_after(WAIT_SECONDS):
            while (await client.get("/sales/current")).status != 200:  # noqa: ASYNC110 - another process knows it
                await trio.sleep(0.02)
    async with await trio.open_tcp_stream(*host_and_port(address)) as stream:
        header = "" if last_id is None else f"Last-Event-ID: {last_id}\r\n"
        await stream.send_all(f"GET /events{query} HTTP/1.1\r\nHost: h\r\n{header}\r\n".encode())
        async with _viewing(stream.receive_some) as viewer:
            yield viewer


@asynccontextmanager
async def watching_over_tls(address: str, tls: Tls, protocol: str) -> AsyncIterator[Viewer]:
    """A viewer that speaks `protocol`: `http/1.1` or `h2`."""
    async with await tls_stream(address, tls, protocol) as stream:
        async with _viewing(_HTTP[protocol](stream)) as viewer:
            yield viewer
        await trio.aclose_forcefully(stream)


@asynccontextmanager
async def _viewing(receive: Receive) -> AsyncIterator[Viewer]:
    viewer = Viewer(receive)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(viewer.run)
        await viewer.wait_until(lambda it: it.retry_ms)
        yield viewer
        nursery.cancel_scope.cancel()


def _in_http1(stream: trio.abc.Stream) -> Receive:
    http = h11.Connection(h11.CLIENT)
    request = h11.Request(method="GET", target="/events", headers=[("host", "localhost")])
    unsent = (http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b"")

    async def receive() -> bytes | bytearray:
        nonlocal unsent
        await stream.send_all(unsent)
        unsent = b""
        while (event := http.next_event()) is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some()))
        if isinstance(event, h11.Response):
            return _head(event.status_code, event.headers)
        return event.data if isinstance(event, h11.Data) else b""

    return receive


def _in_http2(stream: trio.abc.Stream) -> Receive:
    http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    http.initiate_connection()
    number = http.get_next_available_stream_id()
    target = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/events")]
    http.send_headers(number, target, end_stream=True)

    async def receive() -> bytes:
        answer = b""
        while not answer:
            await stream.send_all(http.data_to_send())
            received = bytes(await stream.receive_some())
            for event in http.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived):
                    headers = dict(event.headers or ())
                    answer += _head(int(headers.pop(b":status")), headers.items())
                elif isinstance(event, h2.events.DataReceived):
                    answer += event.data or b""
                    http.acknowledge_received_data(event.flow_controlled_length or 0, number)
                elif isinstance(event, h2.events.StreamEnded):
                    return answer
            if not received:
                break
        return answer

    return receive


def _head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = [b"HTTP/1.1 %d " % status, *(b"%b: %b" % header for header in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


_HTTP = {"http/1.1": _in_http1, "h2": _in_http2}
