"""A lean HTTP/1.1 client on trio and h11 for the tests: one connection, no retries, nothing hidden.

It reconnects only if told to, so that a test sees every connection the server closes. `raw` is for input that
no client would send.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import h11
import orjson
import trio

READ_BYTES = 65_536


class ConnectionLost(Exception):
    """The server closed before it had answered in full."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response; header names are lower case, `closes` says that the server will not take another request."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    closes: bool

    def header(self, name: bytes) -> bytes | None:
        return dict(self.headers).get(name)

    def json(self) -> Any:
        return orjson.loads(self.body)


class Client:
    """A keep-alive connection to `address` (`http://host:port`), opened by the first request."""

    def __init__(self, address: str, *, reconnects: bool = False) -> None:
        self._host, self._port = host_and_port(address)
        self._reconnects = reconnects
        self._stream: trio.SocketStream | None = None
        self._http = h11.Connection(h11.CLIENT)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()
            self._stream = None

    async def get(self, target: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> Answer:
        return await self.request("GET", target, headers=headers)

    async def post(self, target: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> Answer:
        return await self.request("POST", target, headers=headers)

    async def request(
        self, method: str, target: str, *, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes = b""
    ) -> Answer:
        """Send one request and read its answer. Raises `ConnectionLost`, or OSError when it cannot connect."""
        stream = await self._connect()
        framing = [(b"content-length", b"%d" % len(body))] if body else []
        head = [(b"host", f"{self._host}:{self._port}".encode()), *headers, *framing]
        data = self._http.send(h11.Request(method=method, target=target, headers=head)) or b""
        if body:
            data += self._http.send(h11.Data(data=body)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        try:
            await stream.send_all(data)
            return await self._read(stream)
        except (trio.BrokenResourceError, h11.RemoteProtocolError) as error:
            await self.aclose()
            raise ConnectionLost(str(error)) from error

    async def _connect(self) -> trio.SocketStream:
        if self._stream is None:
            self._stream = await trio.open_tcp_stream(self._host, self._port)
            self._http = h11.Connection(h11.CLIENT)
        return self._stream

    async def _read(self, stream: trio.SocketStream) -> Answer:
        response: h11.Response | None = None
        body = b""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(bytes(await stream.receive_some(READ_BYTES)))
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.ConnectionClosed):
                raise h11.RemoteProtocolError("closed without an answer")
        assert response is not None
        closes = self._http.our_state is h11.MUST_CLOSE or self._http.their_state is h11.MUST_CLOSE
        if not closes:
            self._http.start_next_cycle()
        elif self._reconnects:
            await self.aclose()
        return Answer(response.status_code, list(response.headers), body, closes)


async def raw(address: str, data: bytes, *, is_half_closed: bool = False, seconds: float = 5.0) -> bytes:
    """Send `data` as it is; return whatever comes until the server closes.

    Raises `trio.TooSlowError` if it does not within `seconds`. A reset counts as a close.
    """
    received = b""
    with trio.fail_after(seconds):
        async with await trio.open_tcp_stream(*host_and_port(address)) as stream:
            try:
                await stream.send_all(data)
                if is_half_closed:
                    await stream.send_eof()
                while piece := await stream.receive_some(READ_BYTES):
                    received += piece
            except trio.BrokenResourceError:
                pass
    return received


def host_and_port(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port
