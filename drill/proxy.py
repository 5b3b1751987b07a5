"""The way from one process to one store: a TCP address of this machine, whose traffic can be held, slowed and cut.

It behaves as a network does. What is held in one direction is delivered late, even if its sender has gone meanwhile, as
TCP would send it again; a connection that hangs is told nothing, for as long as its process waits.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import trio

REQUESTS, ANSWERS = "requests", "answers"
_PIECE_BYTES = 65_536
_PIECES_MAX = 64
"""What is under way in one direction of one connection, beyond which its sender waits."""
_GONE = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
_RESET = struct.pack("ii", 1, 0)


class Direction:
    """One direction of a link, for all of its connections."""

    def __init__(self) -> None:
        self.delay_seconds = 0.0
        self.bytes_per_second = math.inf
        self.waiting: list[bytes] = []
        """What is on its way: of each connection the piece that comes next."""
        self._holders = 0
        self._flows = trio.Event()
        self._flows.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing gets through within the block."""
        if not self._holders:
            self._flows = trio.Event()
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                self._flows.set()

    async def wait_passable(self, arrived: float, piece: bytes) -> None:
        """Wait until `piece`, which arrived then, may be delivered."""
        self.waiting.append(piece)
        try:
            await trio.sleep_until(arrived + self.delay_seconds)
            if self.bytes_per_second < math.inf:
                await trio.sleep(len(piece) / self.bytes_per_second)
            await self.wait_flows()
        finally:
            self.waiting.remove(piece)

    async def wait_flows(self) -> None:
        while not self._flows.is_set():
            await self._flows.wait()


class Link:
    """Listens at `address` (`host:port`) until `close`, and passes everything on to the unix socket at `store`."""

    def __init__(self, store: Path, nursery: trio.Nursery) -> None:
        self._directions = {REQUESTS: Direction(), ANSWERS: Direction()}
        self._store = store
        self._connections: set[_Connection] = set()
        listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = f"127.0.0.1:{listening.getsockname()[1]}"
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        nursery.start_soon(self._serve, nursery)

    async def close(self) -> None:
        """Take no more connections. What is under way is still delivered."""
        await self._listener.aclose()

    @contextmanager
    def held(self, *directions: str) -> Iterator[None]:
        """Nothing gets through in `directions` within the block, on any connection; new ones are not made either."""
        with ExitStack() as stack:
            for name in directions:
                stack.enter_context(self._directions[name].held())
            yield

    def is_holding(self, words: bytes) -> bool:
        """Whether a request with these words is on its way."""
        return any(words in piece for piece in self._directions[REQUESTS].waiting)

    @contextmanager
    def slow(self, delay_seconds: float, bytes_per_second: float = math.inf) -> Iterator[None]:
        """Both directions take longer, and carry that much on each connection at most."""
        ways = list(self._directions.values())
        for way in ways:
            way.delay_seconds, way.bytes_per_second = delay_seconds, bytes_per_second
        try:
            yield
        finally:
            for way in ways:
                way.delay_seconds, way.bytes_per_second = 0.0, math.inf

    def hang(self) -> int:
        """Every connection of now carries nothing more, and neither end is told. Returns how many they are."""
        for connection in self._connections:
            connection.is_hanging = True
        return len(self._connections)

    def reset(self) -> int:
        """Every connection of now is cut, and both ends are told. Returns how many they were."""
        for connection in self._connections:
            connection.reset()
        return len(self._connections)

    async def _serve(self, nursery: trio.Nursery) -> None:
        async with self._listener:
            while True:
                try:
                    client = await self._listener.accept()
                except trio.ClosedResourceError:
                    return
                nursery.start_soon(self._connect, client)

    async def _connect(self, client: trio.SocketStream) -> None:
        async with client:
            await self._directions[REQUESTS].wait_flows()
            try:
                server = await trio.open_unix_socket(str(self._store))
            except OSError:
                return _reset(client)
            async with server:
                connection = _Connection(client, server, self._directions)
                self._connections.add(connection)
                try:
                    await connection.run()
                finally:
                    self._connections.discard(connection)


class _Connection:
    def __init__(self, client: trio.SocketStream, server: trio.SocketStream, directions: dict[str, Direction]) -> None:
        self.is_hanging = False
        self._client, self._server, self._directions = client, server, directions
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry, self._directions[REQUESTS], self._client, self._server)
                nursery.start_soon(self._carry, self._directions[ANSWERS], self._server, self._client)

    def reset(self) -> None:
        _reset(self._client)
        self._scope.cancel()

    async def _carry(self, way: Direction, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        """Pass on what comes, and then the end. The process is not told the end of what hangs, but may end it."""
        put, arrived = trio.open_memory_channel[tuple[float, bytes]](_PIECES_MAX)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, source, put)
            try:
                async for since, piece in arrived:
                    await way.wait_passable(since, piece)
                    if not self.is_hanging:
                        await sink.send_all(piece)
                await way.wait_flows()
                if not self.is_hanging:
                    await sink.send_eof()
                elif source is self._client:
                    self._scope.cancel()
            except _GONE:
                self.reset()

    async def _read(self, source: trio.SocketStream, put: trio.MemorySendChannel[tuple[float, bytes]]) -> None:
        async with put:
            try:
                while piece := await source.receive_some(_PIECE_BYTES):
                    await put.send((trio.current_time(), bytes(piece)))
            except trio.BrokenResourceError:
                pass  # it was reset: what it had sent is still delivered, and then its end


def _reset(stream: trio.SocketStream) -> None:
    """Closing it will tell the other end that the connection is broken, and not that it has ended."""
    with suppress(OSError):  # it has ended already
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
