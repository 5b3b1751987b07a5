"""The link to Redis on Trio's own sockets, for the streams: every batch of purchases crosses it four times.

redis-py through trio-asyncio costs some 0.5 ms of CPU a call, a multiple of this. The leases, which are renewed about
once a second, stay with it. Nothing is ever sent twice: after any failure the connection is dropped. It is dropped as
well when the server turns out not to be the one to ask any more: the next use connects to whoever answers at the
address then, or whom the Sentinels name then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import hiredis
import trio

from flash.errors import OutcomeUnknown, Unavailable
from flash.stores.redis_address import RedisAddress
from flash.stores.redis_connection import BROKEN, Answer, RedisConnection, Replaced, connect, why
from flash.stores.redis_connection import RedisCommand as RedisCommand  # for everybody who sends some
from flash.stores.sentinel import Sentinels

_PROBE_MS = 10_000
_BRIEF_CHARACTERS = 100
_is_id = re.compile(rb"[0-9]{1,20}-[0-9]{1,20}").fullmatch


class WrongType(OutcomeUnknown):
    """A key holds something else than a command expects, or a stream that takes no entry any more.

    The commands around it were performed.
    """


class RedisLink:
    """Connects when first used, so Redis may be away. Its users take turns.

    `timeout_seconds` bounds waiting for a turn, connecting, and the answers to commands that do not block in Redis.
    Raises `ConfigError` if `where`, which may be a URL, cannot be read.
    """

    def __init__(self, where: str | RedisAddress, *, timeout_seconds: float) -> None:
        self._address = RedisAddress.parse(where) if isinstance(where, str) else where
        self._timeout_seconds = timeout_seconds
        self._turn = trio.Lock()
        self._connection: RedisConnection | None = None
        is_found = self._address.sentinels is not None
        self._sentinels = Sentinels(self._address, timeout_seconds=timeout_seconds) if is_found else None
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
            connection = self._connection or await self._connect()
            with trio.fail_after(self._timeout_seconds + block_seconds):
                answers = await connection.exchange(commands)
        except Replaced as error:
            await self._drop()
            raise OutcomeUnknown(f"Redis refused: {error}") from error
        except BROKEN as error:
            await self._drop()
            raise OutcomeUnknown(f"Redis did not answer: {why(error)}") from error
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

    async def _connect(self) -> RedisConnection:
        self.connects += 1
        try:
            if self._sentinels is not None:
                self._connection = await self._sentinels.connect()
            else:
                with trio.fail_after(self._timeout_seconds):
                    self._connection = await connect(self._address)
        except (*BROKEN, Replaced) as error:
            raise Unavailable(f"Redis cannot be reached: {why(error)}") from error
        return self._connection

    async def _drop(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.aclose()


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
