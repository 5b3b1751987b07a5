"""One connection to one Redis server on Trio's own sockets, from its greeting to its first failure.

hiredis parses and packs. A connection bounds no wait and judges no answer: whoever uses it does, and drops it after any
failure, because nobody knows which answer would come next on it.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import hiredis
import trio
from trio.lowlevel import notify_closing, wait_readable, wait_writable

from flash.errors import Unavailable, reason_of
from flash.stores.redis_address import CLIENT_NAME, RedisAddress

RedisCommand = tuple[str | bytes | int, ...]
Answer: TypeAlias = Any  # RESP2: bytes, int, None or a list of these

_READ_BYTES = 65_536
_REPLACED = ("READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED", "NOREPLICAS", "MISCONF", "CLUSTERDOWN")
"""How a server answers that is not, or not yet, the one to ask: demoted, starting, cut off, not able to write."""


class Replaced(Exception):
    """The server at the other end of this connection is not the one to ask any more."""


BROKEN = (trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError, OSError, hiredis.ProtocolError)
"""What a connection that is lost, or that cannot be made, raises."""


def is_replaced(error: str) -> bool:
    """Whether this error of Redis means that another server may answer where this one was found.

    Then the connection must be dropped: it would lead to the old server for ever.
    """
    return error.startswith(_REPLACED)


class RedisConnection:
    """A connection to `address` that has said who we are."""

    __slots__ = ("_reader", "_stream", "address")

    def __init__(self, address: RedisAddress, stream: trio.abc.Stream) -> None:
        self.address = address
        self._stream = stream
        self._reader = hiredis.Reader()

    async def exchange(self, commands: Sequence[RedisCommand]) -> list[Answer]:
        """Send `commands` in one piece and return their answers, in order; an error of Redis is one of them.

        Raises `Replaced` or one of `BROKEN`.
        """
        await self._stream.send_all(b"".join([hiredis.pack_command(cast("Any", command)) for command in commands]))
        answers: list[Answer] = []
        while True:
            try:
                while (answer := self._reader.gets()) is not False:
                    if isinstance(answer, hiredis.ReplyError) and is_replaced(str(answer)):
                        raise Replaced(str(answer))  # at once, although others may be blocked behind it
                    answers.append(answer)
            except TypeError as error:  # a map of RESP3, which nobody has asked for, whose keys are lists
                raise hiredis.ProtocolError(str(error)) from error
            if len(answers) == len(commands):
                return answers
            data = await self._stream.receive_some(_READ_BYTES)
            if not data:
                raise trio.BrokenResourceError("the connection was closed")
            self._reader.feed(bytes(data))

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)


async def connect(address: RedisAddress, *, is_sentinel: bool = False) -> RedisConnection:
    """Raises `Unavailable` if the server refuses us, `Replaced` or one of `BROKEN`."""
    connection = RedisConnection(address, await _open(address))
    try:
        for answer in await connection.exchange(_greeting(address, is_sentinel)):
            if isinstance(answer, hiredis.ReplyError):
                raise Unavailable(f"Redis refused the connection: {answer}")
    except BaseException:
        await connection.aclose()
        raise
    return connection


def why(error: BaseException) -> str:
    """What `error` says. Trio's own say nothing, or not what it was: then the errors beneath them do."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(why(one) for one in error.exceptions)
    beneath = error.__cause__
    is_vague = isinstance(error, trio.BrokenResourceError) or (type(error) is OSError and error.errno is None)
    return why(beneath) if is_vague and beneath is not None else reason_of(error)


async def _open(address: RedisAddress) -> trio.abc.Stream:
    if address.path is not None:
        return _bare(await trio.open_unix_socket(address.path))
    if address.tls is not None:
        context = address.tls.context()
        return await trio.open_ssl_over_tcp_stream(address.host, address.port, ssl_context=context)
    return _bare(await trio.open_tcp_stream(address.host, address.port))


class _BareStream(trio.abc.Stream):
    """A connected socket. Trio's own stream lets every task have a turn before each call, which costs 30 µs a time.

    `receive_some` waits first: an answer is never there yet, and so every exchange still lets the others have a turn.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Raises OSError if the connection is lost."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                await wait_writable(self._socket)

    async def wait_send_all_might_not_block(self) -> None:
        await wait_writable(self._socket)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Raises OSError if the connection is lost."""
        while True:
            await wait_readable(self._socket)
            try:
                return self._socket.recv(max_bytes or _READ_BYTES)
            except BlockingIOError:
                continue

    async def aclose(self) -> None:
        notify_closing(self._socket)
        self._socket.close()


def _bare(stream: trio.SocketStream) -> _BareStream:
    taken = stream.socket
    connected = socket.socket(taken.family, taken.type, taken.proto, fileno=taken.detach())
    connected.setblocking(False)
    return _BareStream(connected)


def _greeting(address: RedisAddress, is_sentinel: bool) -> list[RedisCommand]:
    """What a new connection says first: who we are and which database we mean."""
    commands: list[RedisCommand] = []
    if address.password:
        commands.append(("AUTH", address.username or "default", address.password))
    if address.database:
        commands.append(("SELECT", address.database))
    if not is_sentinel:  # whose user needs one permission less then
        commands.append(("CLIENT", "SETNAME", CLIENT_NAME))
    return commands
