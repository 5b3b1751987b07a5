"""The data of a Redis in memory, as far as the purchase streams use it. Its clock is Trio's, so a test moves it.

Every command is answered at once: what blocks, and what is lost on the way, is the business of `twins.link`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import trio

from flash.purchase_rpc.wrong_types import MOVE_ASIDE
from flash.stores.redis_link import RedisCommand

_START_MS = 1_700_000_000_000
_WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"

_Id = tuple[int, int]
_PART_MAX = 2**64 - 1
_LAST_ID = (_PART_MAX, _PART_MAX)
_Entry = tuple[_Id, list[bytes]]


class CommandRefused(Exception):
    """Redis answered with an error; the commands around it are performed all the same."""


class _Stream:
    def __init__(self) -> None:
        self.entries: list[_Entry] = []
        self.last: _Id = (0, 0)

    def after(self, last: _Id, most: float) -> list[_Entry]:
        found = [entry for entry in self.entries if entry[0] > last]
        return found if len(found) <= most else found[: int(most)]


class RedisTwin:
    """One Redis. A test may look into it and change it at any time."""

    def __init__(self) -> None:
        self._values: dict[bytes, _Stream | bytes] = {}
        self._expires_at: dict[bytes, float] = {}
        self._shift_ms = 0.0
        self.changed = trio.Event()
        """Set, and replaced, when an entry is added or everything is lost: what a blocked read waits for."""

    def lose_everything(self) -> None:
        """As a FLUSHALL, or a restart without persistence: the streams' last ids are forgotten too."""
        self._values.clear()
        self._expires_at.clear()
        self._wake()

    def set_clock(self, seconds: float) -> None:
        """Set Redis's own clock forward, or back if `seconds` is negative."""
        self._shift_ms += seconds * 1000

    def entries(self, key: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """What stands in a stream, as `streams_of` would show it."""
        stream = self._stream(key.encode())
        return [(_text(id), dict(zip(flat[::2], flat[1::2], strict=True))) for id, flat in stream.entries]

    def perform(self, command: RedisCommand) -> Any:
        """The answer to one command, as RESP2 has it. Raises `CommandRefused`."""
        name, *args = (as_bytes(part) for part in command)
        handler = _COMMANDS.get(name.decode().upper())
        if handler is None:
            raise CommandRefused(f"ERR unknown command '{name.decode()}'")
        return handler(self, *args)

    def _now_ms(self) -> float:
        return _START_MS + trio.current_time() * 1000 + self._shift_ms

    def _wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    def _find(self, key: bytes) -> _Stream | bytes | None:
        if self._expires_at.get(key, math.inf) <= trio.current_time():
            self._delete(key)
        return self._values.get(key)

    def _stream(self, key: bytes) -> _Stream:
        value = self._find(key)
        if isinstance(value, bytes):
            raise CommandRefused(_WRONG_TYPE)
        return value or _Stream()

    def _set(self, key: bytes, value: bytes) -> bytes:
        self._values[key] = value
        self._expires_at.pop(key, None)
        return b"OK"

    def _delete(self, *keys: bytes) -> int:
        for key in keys:
            self._expires_at.pop(key, None)
        return sum(self._values.pop(key, None) is not None for key in keys)

    def _type(self, key: bytes) -> bytes:
        value = self._find(key)
        return b"none" if value is None else b"string" if isinstance(value, bytes) else b"stream"

    def _eval(self, script: bytes, keys: bytes, *args: bytes) -> Any:
        assert (script.decode(), keys) == (MOVE_ASIDE, b"2"), "no other script has a twin"
        return self._move_aside(*args)

    def _move_aside(self, key: bytes, aside: bytes, last_id: bytes, kept_ms: bytes) -> bytes:
        kind = self._type(key)
        if kind == b"none" or (kind == b"stream" and _text(self._stream(key).last) != last_id):
            return b""
        self._values[aside] = self._values[key]
        self._delete(key)
        self._pexpire(aside, kept_ms)
        return kind

    def _flushall(self) -> bytes:
        self.lose_everything()
        return b"OK"

    def _time(self) -> list[bytes]:
        seconds, ms = divmod(self._now_ms(), 1000)
        return [b"%d" % seconds, b"%d" % (ms * 1000)]

    def _pexpire(self, key: bytes, ms: bytes) -> int:
        if self._find(key) is None:
            return 0
        self._expires_at[key] = trio.current_time() + int(ms) / 1000
        return 1

    def _pttl(self, key: bytes) -> int:
        if self._find(key) is None:
            return -2
        return round((self._expires_at[key] - trio.current_time()) * 1000) if key in self._expires_at else -1

    def _xadd(self, key: bytes, *args: bytes) -> bytes:
        most = math.inf
        if args[0].upper() == b"MAXLEN":
            most, args = int(args[1]), args[2:]
        if len(args) < 3 or len(args) % 2 == 0:
            raise CommandRefused("ERR wrong number of arguments for 'xadd' command")
        stream = self._stream(key)
        stream.last = self._next_id(stream.last, args[0])
        self._values[key] = stream
        stream.entries.append((stream.last, list(args[1:])))
        if len(stream.entries) > most:
            del stream.entries[: len(stream.entries) - int(most)]
        self._wake()
        return _text(stream.last)

    def _next_id(self, last: _Id, asked: bytes) -> _Id:
        if last == _LAST_ID:
            raise CommandRefused("ERR The stream has exhausted the last possible ID, unable to add more items")
        if asked != b"*":
            if _id(asked) <= last:
                raise CommandRefused("ERR The ID specified in XADD is equal or smaller than the target stream top item")
            return _id(asked)
        ms, (last_ms, last_seq) = int(self._now_ms()), last
        if ms > last_ms:
            return ms, 0
        return (last_ms, last_seq + 1) if last_seq < _PART_MAX else (last_ms + 1, 0)

    def _xdel(self, key: bytes, *ids: bytes) -> int:
        stream, gone = self._stream(key), {_id(id) for id in ids}
        before = len(stream.entries)
        stream.entries = [entry for entry in stream.entries if entry[0] not in gone]
        return before - len(stream.entries)

    def _xlen(self, key: bytes) -> int:
        return len(self._stream(key).entries)

    def _xrange(self, key: bytes, start: bytes, end: bytes) -> list[Any]:
        first = (0, 0) if start == b"-" else _id(start)
        last = (math.inf, math.inf) if end == b"+" else _id(end)
        return _answer([entry for entry in self._stream(key).entries if first <= entry[0] <= last])

    def _xread(self, *args: bytes) -> list[Any] | None:
        most, at = math.inf, 0
        while args[at].upper() != b"STREAMS":
            if args[at].upper() == b"COUNT":
                most = int(args[at + 1])
            at += 2  # BLOCK is the link's business
        keys = args[at + 1 :]
        half = len(keys) // 2
        streams = [
            (key, self._stream(key).after(_id(last), most)) for key, last in zip(keys, keys[half:], strict=False)
        ]
        return [[key, _answer(entries)] for key, entries in streams if entries] or None


def as_bytes(part: str | bytes | int) -> bytes:
    return part if isinstance(part, bytes) else str(part).encode()


def _id(text: bytes) -> _Id:
    ms, _, seq = text.partition(b"-")
    return int(ms), int(seq or 0)


def _text(id: _Id) -> bytes:
    return b"%d-%d" % id


def _answer(entries: list[_Entry]) -> list[Any]:
    return [[_text(id), list(flat)] for id, flat in entries]


_COMMANDS: dict[str, Callable[..., Any]] = {
    "DEL": RedisTwin._delete,
    "EVAL": RedisTwin._eval,
    "FLUSHALL": RedisTwin._flushall,
    "PEXPIRE": RedisTwin._pexpire,
    "PTTL": RedisTwin._pttl,
    "SET": RedisTwin._set,
    "TIME": RedisTwin._time,
    "TYPE": RedisTwin._type,
    "XADD": RedisTwin._xadd,
    "XDEL": RedisTwin._xdel,
    "XLEN": RedisTwin._xlen,
    "XRANGE": RedisTwin._xrange,
    "XREAD": RedisTwin._xread,
}
