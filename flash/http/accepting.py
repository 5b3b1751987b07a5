"""Accepts plain connections: many in one round of the scheduler, and those too many are told so.

Hypercorn accepts one connection in each round. With a thousand busy ones a round takes milliseconds, so newcomers would
wait in the kernel for seconds, where nobody tells them to come back later. So whenever one was accepted, all that wait
behind it are taken along.
"""

from __future__ import annotations

import logging
import socket

import trio
from trio.lowlevel import notify_closing, wait_readable

from flash.http.connection import Application, Connection
from flash.http.connection_set import ConnectionSet
from flash.http.correlating import make_correlation
from flash.http.encoder import encode
from flash.http.limits import LINGER_SECONDS
from flash.http.problems import OVERLOADED

logger = logging.getLogger(__name__)

ROUND_MAX = 64
"""How many are taken along at once, so that processes which share a listener share the newcomers too."""
_REFUSALS_MAX = 64
"""How many refused connections may linger, so that their answers arrive. Any more are closed at once."""
_READ_BYTES = 4_096


class Acceptor:
    """Serves plain connections with `app`, as many as `connections` has room for."""

    def __init__(self, app: Application, connections: ConnectionSet, listener: socket.socket) -> None:
        self._app = app
        self._connections = connections
        self._listener = listener
        self._refusals = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve an accepted connection to its end; first take along those that wait behind it."""
        nursery = trio.lowlevel.current_task().parent_nursery
        assert nursery is not None
        self.take_waiting(nursery, ROUND_MAX)
        taken = stream.socket
        await self._serve(socket.socket(taken.family, taken.type, taken.proto, fileno=taken.detach()))

    def take_waiting(self, nursery: trio.Nursery, most: int | None = None) -> None:
        """Accept what the kernel has connected, up to `most`, and serve it in `nursery`."""
        taken = 0
        while most is None or taken < most:
            try:
                connected, _ = self._listener.accept()
            except OSError:  # nobody waits any more, or no descriptor is left
                return
            nursery.start_soon(self._serve, connected)
            taken += 1

    async def _serve(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        if self._connections.is_full:
            await self._refuse(connected)
        else:
            await Connection.serve(self._app, self._connections, connected)

    async def _refuse(self, connected: socket.socket) -> None:
        """Answer 503 and close. Input that is left unread would destroy the answer, so some of it is awaited."""
        self._refusals += 1
        self._connections.refused += 1
        try:
            connected.send(encode(OVERLOADED.after(None), is_head=False, closes=True, correlation=make_correlation()))
            connected.shutdown(socket.SHUT_WR)
            if self._refusals <= _REFUSALS_MAX:
                await _discard_input(connected)
        except OSError:
            pass  # the client has gone
        finally:
            self._refusals -= 1
            notify_closing(connected)
            connected.close()


async def _discard_input(connected: socket.socket) -> None:
    with trio.move_on_after(LINGER_SECONDS):
        while True:
            await wait_readable(connected)
            if not connected.recv(_READ_BYTES):
                return
