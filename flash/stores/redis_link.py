"""One connection to Redis on Trio's own sockets, for the streams: every batch of purchases crosses it four times.

redis-py through trio-asyncio costs some 0.5 ms of CPU a call, a multiple of this. The leases, which are renewed about
once a second, stay with it. hiredis parses and packs. Nothing is ever sent twice: after any failure the connection is
dropped, because nobody knows which answer would come next on it. It is dropped as well when the server turns out not to
be the one to ask any more: the next use connects to whoever answers at the address then.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

import hiredis
import trio
from trio.lowlevel import notify_closing, wait_readable, wait_writable

from flash.errors import OutcomeUnknown, Unavailable, reason_of
from flash.stores.redis import CLIENT_NAME, RedisAddress, is_replaced

RedisCommand = tuple[str | bytes | int, ...]
Answer: TypeAlias = Any  # RESP2: bytes, int, None or a list of these

_READ_BYTES = 65_536
_PROBE_MS = 10_000
_BRIEF_CHARACTERS = 100
_is_id = re.compile(rb"[0-9]{1,20}-[0-9]{1,20}").fullmatch
_BROKEN = (trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError, OSError, hiredis.ProtocolError)


class _Replaced(Exception):
    """The server at the other end of this connection is not the one to ask any more."""


class WrongType(OutcomeUnknown):
    """A key holds something else than a command expects, or a stream that takes no entry any more.

    The commands around it were performed.
    """


class RedisLink:
    """Connects when first used, so Redis may be away. Its users take turns.

    `timeout_seconds` bounds waiting for a turn, connecting, and the answers to commands that do not block in Redis.
    Raises `ConfigError` if `url` cannot be read.
    """

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        self._address = RedisAddress.parse(url)
        self._timeout_seconds = timeout_seconds
        self._turn = trio.Lock()
        self._stream: trio.abc.Stream | None = None
        self._reader = hiredis.Reader()
        self.connects = 0
        """How many connections were opened, or tried to be."""

    async def __aenter__(self) -> RedisLink:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._drop()

    async def execute(self, *commands: RedisCommand, block_seconds: float = 0.0) -> list[Answer]:
        """Send `commands` in one piece and return their answers, in order.

        `block_seconds`: how long a blocking read among them may wait. Raises `Unavailable` if Redis was not there to be
        asked and `OutcomeUnknown` if an answer was lost or is an error (`WrongType` if it says so).
        """
        try:
            self._turn.acquire_nowait()  # waiting for a lock that is free would cost a round of the scheduler
        except trio.WouldBlock:
            await self._take_turn()
        try:
            stream = self._stream or await self._connect()
            with trio.fail_after(self._timeout_seconds + block_seconds):
                answers = await self._exchange(stream, commands)
        except _Replaced as error:
            await self._drop()
            raise OutcomeUnknown(f"Redis refused: {error}") from error
        except _BROKEN as error:
            await self._drop()
            raise OutcomeUnknown(f"Redis did not answer: {reason_of(error)}") from error
        except BaseException:
            await self._drop()
            raise
        finally:
            self._turn.release()
        for answer in answers:
            if isinstance(answer, hiredis.ReplyError):
                raise refusal(str(answer))
        return answers

    async def _take_turn(self) -> None:
        """Waiting for a turn has a limit of its own. When it passes, the connection that others use is not dropped."""
        try:
            with trio.fail_after(self._timeout_seconds):
                await self._turn.acquire()
        except trio.TooSlowError as error:
            raise Unavailable("Redis is too slow for all who ask it") from error

    async def _exchange(self, stream: trio.abc.Stream, commands: tuple[RedisCommand, ...]) -> list[Answer]:
        await stream.send_all(b"".join([hiredis.pack_command(cast("Any", command)) for command in commands]))
        answers: list[Answer] = []
        while True:
            try:
                while (answer := self._reader.gets()) is not False:
                    if isinstance(answer, hiredis.ReplyError) and is_replaced(str(answer)):
                        raise _Replaced(str(answer))  # at once, although others may be blocked behind it
                    answers.append(answer)
            except TypeError as error:  # a map of RESP3, which nobody has asked for, whose keys are lists
                raise hiredis.ProtocolError(str(error)) from error
            if len(answers) == len(commands):
                return answers
            data = await stream.receive_some(_READ_BYTES)
            if not data:
                raise trio.BrokenResourceError("the connection was closed")
            self._reader.feed(bytes(data))

    async def _connect(self) -> trio.abc.Stream:
        self.connects += 1
        try:
            with trio.fail_after(self._timeout_seconds):
                self._reader = hiredis.Reader()
                self._stream = stream = await _open(self._address)
                for answer in await self._exchange(stream, _greeting(self._address)):
                    if isinstance(answer, hiredis.ReplyError):
                        raise Unavailable(f"Redis refused the connection: {answer}")
        except (*_BROKEN, _Replaced) as error:
            raise Unavailable(f"Redis cannot be reached: {reason_of(error)}") from error
        return stream

    async def _drop(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await trio.aclose_forcefully(stream)


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


def _greeting(address: RedisAddress) -> tuple[RedisCommand, ...]:
    """What a new connection says first: who we are and which database we mean."""
    commands: list[RedisCommand] = []
    if address.password:
        commands.append(("AUTH", address.username or "default", address.password))
    if address.database:
        commands.append(("SELECT", address.database))
    return (*commands, ("CLIENT", "SETNAME", CLIENT_NAME))


def refusal(error: str) -> OutcomeUnknown:
    """What to raise for an error among the answers."""
    is_spoilt = error.startswith("WRONGTYPE") or "exhausted the last possible ID" in error
    return (WrongType if is_spoilt else OutcomeUnknown)(f"Redis refused: {error}")


Entries = list[tuple[bytes, dict[bytes, bytes]]]


def flat(fields: Mapping[bytes, bytes]) -> RedisCommand:
    """The fields of an entry as XADD takes them."""
    return tuple(part for field in fields.items() for part in field)


async def write_probe(link: RedisLink, key: str) -> None:
    """Write `key`, which expires soon. Raises `Unavailable` or `OutcomeUnknown` unless Redis accepts writes."""
    await link.execute(("SET", key, "1", "PX", _PROBE_MS))


# Each of the following raises `OutcomeUnknown` if the answer is none to what was asked. Whoever stands in Redis's
# place, or confuses its answers on the way, must not end a process.


def ms_of(answer: Answer) -> float:
    """What TIME answered, in milliseconds since 1970."""
    try:
        seconds, microseconds = answer
        return int(seconds) * 1e3 + int(microseconds) / 1e3
    except (TypeError, ValueError) as error:
        raise OutcomeUnknown(f"Redis answered {_brief(answer)} when it was asked the time") from error


def id_of(answer: Answer) -> bytes:
    """What XADD answered: the id of the entry."""
    if type(answer) is not bytes or not _is_id(answer):
        raise OutcomeUnknown(f"Redis answered {_brief(answer)} instead of an entry's id")
    return answer


def entries_of(answer: Answer) -> Entries:
    """What XRANGE answered, or XREAD for one stream: entries (id and fields) in order."""
    try:
        return [(id_of(id), _fields_of(fields)) for id, fields in answer]
    except (TypeError, ValueError) as error:
        raise OutcomeUnknown(f"Redis answered {_brief(answer)} instead of entries") from error


def streams_of(answer: Answer) -> list[tuple[bytes, Entries]]:
    """What XREAD answered: each stream that had something, with its entries."""
    try:
        return [(_all_bytes([key])[0], entries_of(entries)) for key, entries in answer or () if entries]
    except (TypeError, ValueError) as error:
        raise OutcomeUnknown(f"Redis answered {_brief(answer)} instead of streams") from error


def _fields_of(flat: Answer) -> dict[bytes, bytes]:
    parts = _all_bytes(flat)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _all_bytes(parts: Answer) -> list[bytes]:
    if type(parts) is not list or any(type(part) is not bytes for part in parts):
        raise TypeError("expected a list of bytes")
    return parts


def _brief(answer: Answer) -> str:
    return repr(answer)[:_BRIEF_CHARACTERS]
