"""A connection to Redis spoken to from Trio itself: for the streams, which every batch of purchases crosses four times.

redis-py through trio-asyncio costs some 0.5 ms of CPU a conversation, a multiple of this. The leases, which are asked
once a second, stay with it. Parsing and packing are hiredis's. Nothing is ever sent twice: after any error the
connection is dropped, since nobody knows what it is in the middle of.
"""

from __future__ import annotations

import ssl
from typing import Any, cast

import hiredis
import trio
from redis.asyncio.connection import SSLConnection, parse_url

from flash.errors import OutcomeUnknown, Unavailable

RedisCommand = tuple[str | bytes | int, ...]

_READ_BYTES = 65_536
_LOST = (trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class RedisLink:
    """Connects when first used, so Redis may be away. Users take turns: one conversation at a time.

    `timeout_seconds` bounds connecting, and a conversation that does not block in Redis.
    """

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        self._options: dict[str, Any] = dict(parse_url(url))
        self._timeout_seconds = timeout_seconds
        self._turn = trio.Lock()
        self._stream: trio.abc.Stream | None = None
        self._reader = hiredis.Reader()

    async def __aenter__(self) -> RedisLink:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._drop()

    async def execute(self, *commands: RedisCommand, block_seconds: float = 0.0) -> list[Any]:
        """Send `commands` in one piece and return their answers (RESP2: bytes, ints, lists, None).

        `block_seconds`: how long a blocking read among them may wait. Raises `Unavailable` if Redis was not there to be
        asked and `OutcomeUnknown` if an answer was lost or is an error.
        """
        await self._take_turn()
        try:
            stream = self._stream or await self._connect()
            with trio.fail_after(self._timeout_seconds + block_seconds):
                answers = await self._exchange(stream, commands)
        except (*_LOST, hiredis.ProtocolError) as error:
            await self._drop()
            raise OutcomeUnknown(f"Redis did not answer: {_reason(error)}") from error
        except BaseException:
            await self._drop()
            raise
        finally:
            self._turn.release()
        for answer in answers:
            if isinstance(answer, hiredis.ReplyError):
                raise OutcomeUnknown(f"Redis refused: {answer}")
        return answers

    async def _take_turn(self) -> None:
        """Waiting for others has its own bound, and what they are in the middle of is not ours to drop."""
        try:
            with trio.fail_after(self._timeout_seconds):
                await self._turn.acquire()
        except trio.TooSlowError as error:
            raise Unavailable("Redis is too slow for all who ask it") from error

    async def _exchange(self, stream: trio.abc.Stream, commands: tuple[RedisCommand, ...]) -> list[Any]:
        await stream.send_all(b"".join([hiredis.pack_command(cast("Any", command)) for command in commands]))
        answers: list[Any] = []
        while True:
            while (answer := self._reader.gets()) is not False:
                answers.append(answer)
            if len(answers) == len(commands):
                return answers
            data = await stream.receive_some(_READ_BYTES)
            if not data:
                raise trio.BrokenResourceError("the connection was closed")
            self._reader.feed(bytes(data))

    async def _connect(self) -> trio.abc.Stream:
        try:
            with trio.fail_after(self._timeout_seconds):
                self._reader = hiredis.Reader()
                self._stream = stream = await self._open()
                for answer in await self._exchange(stream, self._greeting()):
                    if isinstance(answer, hiredis.ReplyError):
                        raise Unavailable(f"Redis refused the connection: {answer}")
        except _LOST as error:
            raise Unavailable(f"Redis cannot be reached: {_reason(error)}") from error
        return stream

    async def _open(self) -> trio.abc.Stream:
        options = self._options
        if "path" in options:
            return await trio.open_unix_socket(options["path"])
        host, port = options.get("host", "localhost"), options.get("port", 6379)
        if options.get("connection_class") is SSLConnection:
            return await trio.open_ssl_over_tcp_stream(host, port, ssl_context=self._tls())
        return await trio.open_tcp_stream(host, port)

    def _tls(self) -> ssl.SSLContext:
        """The TLS options of the URL that redis-py understands, so that leases and streams connect alike."""
        options = self._options
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        context.check_hostname = options.get("ssl_check_hostname", True)
        if options.get("ssl_cert_reqs") == "none":
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if certfile := options.get("ssl_certfile"):
            context.load_cert_chain(certfile, options.get("ssl_keyfile"))
        return context

    def _greeting(self) -> tuple[RedisCommand, ...]:
        options = self._options
        commands: list[RedisCommand] = []
        if password := options.get("password"):
            commands.append(("AUTH", options.get("username") or "default", password))
        if database := options.get("db"):
            commands.append(("SELECT", database))
        return (*commands, ("CLIENT", "SETNAME", "flash"))

    async def _drop(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await trio.aclose_forcefully(stream)


Entries = list[tuple[bytes, dict[bytes, bytes]]]


def streams_of(answer: list[Any] | None) -> list[tuple[bytes, Entries]]:
    """What XREAD answered: each stream that had something, with its entries (id and fields) in order."""
    return [
        (key, [(entry_id, dict(zip(fields[::2], fields[1::2], strict=True))) for entry_id, fields in entries])
        for key, entries in answer or []
    ]


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
