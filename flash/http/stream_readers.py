"""The clients of a `Stream`, on either road. Whoever writes to thousands of them never waits for one of them.

A piece is one object that all readers share, also while it waits for the slow ones. What waits for one client is
bounded, in memory and in the kernel; beyond that it is cut loose, and may come back for what it has missed.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import trio
from trio.lowlevel import wait_readable, wait_writable

from flash.http.parser import READ_BYTES

BACKLOG_MAX_BYTES = 131_072
"""What may wait for one client, beside what the kernel holds."""
_KERNEL_BYTES = 32_768
_GONE_SECONDS = 30
"""After so long without a sign of life, the kernel closes a connection that has data waiting."""
_ABORT = struct.pack("ii", 1, 0)


class SocketReader:
    """A client on a bare socket, which is written to at once. `serve` waits for its end, and while it is behind."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT") and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _GONE_SECONDS)
        self._sock = sock
        self.backlog: deque[memoryview] = deque()
        self._backlog_bytes = 0
        self._waiting = trio.CancelScope()
        self._is_ended = False

    @property
    def is_behind(self) -> bool:
        return bool(self.backlog)

    def write_nowait(self, piece: bytes) -> None:
        if self._is_ended:
            return None
        if self.is_behind:
            return self._keep(memoryview(piece))
        try:
            sent = self._sock.send(piece)
        except BlockingIOError:
            sent = 0
        except OSError:
            return self.end()
        if sent < len(piece):
            self._keep(memoryview(piece)[sent:])
            self._waiting.cancel()  # `serve` goes on with what is kept
        return None

    def end(self) -> None:
        if self.is_behind:  # it may end in the middle of a piece: nothing may follow, nor stay in the kernel
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self._is_ended = True
        self._waiting.cancel()

    async def serve(self, send_seconds: float) -> None:
        """Return when the client has left, was cut loose, or the stream has ended. Raises OSError as well.

        `send_seconds`: how long a client that is behind may take to catch up.
        """
        while not self._is_ended:
            if self.is_behind:
                await self._catch_up(send_seconds)
                continue
            with trio.CancelScope() as self._waiting:
                await self._wait_left()
                return

    async def _wait_left(self) -> None:
        """Whatever the client sends: its connection closes after this answer, so it is not a request."""
        while True:
            await wait_readable(self._sock)
            with suppress(BlockingIOError):
                if not self._sock.recv(READ_BYTES):
                    return

    async def _catch_up(self, send_seconds: float) -> None:
        with trio.move_on_after(send_seconds) as self._waiting:
            while self.is_behind:
                await wait_writable(self._sock)
                with suppress(BlockingIOError):
                    self._send_kept()
            return
        self.end()

    def _send_kept(self) -> None:
        sent = self._sock.send(self.backlog[0])
        self._backlog_bytes -= sent
        if sent < len(self.backlog[0]):
            self.backlog[0] = self.backlog[0][sent:]
        else:
            self.backlog.popleft()

    def _keep(self, piece: memoryview) -> None:
        self.backlog.append(piece)
        self._backlog_bytes += len(piece)
        if self._backlog_bytes > BACKLOG_MAX_BYTES:
            self.end()


class QueueReader:
    """A client of another server, whose task takes what was written and sends it. `end()` must cancel that task."""

    def __init__(self, end: Callable[[], None]) -> None:
        self.end = end
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._written = trio.Event()

    def write_nowait(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._bytes += len(piece)
        self._written.set()
        if self._bytes > BACKLOG_MAX_BYTES:
            self.end()

    async def take(self) -> bytes:
        """Wait until something was written, and return all of it."""
        await self._written.wait()
        taken = b"".join(self._pieces)
        self._pieces.clear()
        self._bytes, self._written = 0, trio.Event()
        return taken
