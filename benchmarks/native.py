"""The thinnest clients of both stores: bytes that were encoded beforehand, on a blocking unix socket. The floor.

Whatever the service's drivers and tasks add to a round trip is the difference to these. They speak to our own stores
only: no password, no TLS.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qs, unquote, urlsplit

from flash.errors import OperatorError
from flash.stores.postgres import Postgres, Row

_READY = b"Z\x00\x00\x00\x05I"
"""ReadyForQuery outside a transaction: the end of every answer."""
_BOUND = b"2\x00\x00\x00\x04D"
"""BindComplete, and the beginning of a first row."""
# the cheapest that PostgreSQL can be asked: planned once
_OPTIONS = "-c plan_cache_mode=force_generic_plan -c jit=off"


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL and its arguments, as a store sends them."""

    sql: str
    args: tuple[object, ...]


class _Sent(Exception):
    """Carries the statement out of the store."""

    def __init__(self, statement: Statement) -> None:
        self.statement = statement


class _Recorder(Postgres):
    """Asks nobody: whatever is written is raised."""

    def __init__(self) -> None:
        pass

    async def write(self, sql: str, *args: object) -> list[Row]:
        raise _Sent(Statement(sql, args))


RECORDER = _Recorder()


def statement_of(call: Coroutine[object, None, object]) -> Statement:
    """The first statement that `call`, a method of a store on `RECORDER`, would send."""
    try:
        call.send(None)
    except _Sent as sent:
        return sent.statement
    call.close()
    raise AssertionError("the store waits for something before it sends its statement")


class NativePostgres:
    """One connection, on which statements of one SQL text run. Raises `OperatorError` if one gives no row."""

    def __init__(self, url: str, sql: str) -> None:
        parts, self._sock = urlsplit(url), socket.socket(socket.AF_UNIX)
        query = parse_qs(parts.query)
        self._sock.connect(f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}")
        names = ("user", parts.username or "", "database", unquote(parts.path[1:]), "options", _OPTIONS)
        started = struct.pack("!I", 196_608) + b"".join(_text(name) for name in names) + b"\x00"
        try:
            self._ask(struct.pack("!I", len(started) + 4) + started)
            self._ask(_message(b"P", b"\x00" + _text(sql) + b"\x00\x00") + _message(b"S", b""))
        except BaseException:
            self.close()
            raise

    def encode(self, args: tuple[object, ...]) -> bytes:
        """Bind, Execute and Sync of the one prepared statement, everything as text."""
        values = [_parameter(value) for value in args]
        sizes = [(struct.pack("!i", -1), b"") if v is None else (struct.pack("!i", len(v)), v) for v in values]
        bound = b"\x00\x00" + struct.pack("!HH", 0, len(values)) + b"".join(a + b for a, b in sizes) + b"\x00\x00"
        return _message(b"B", bound) + _message(b"E", b"\x00\x00\x00\x00\x00") + _message(b"S", b"")

    def run(self, encoded: bytes) -> None:
        """Raises `OperatorError` unless at least one row came back."""
        if not (answer := self._ask(encoded)).startswith(_BOUND):
            raise OperatorError(f"PostgreSQL gave the native client no row: {answer[:300]!r}")

    def close(self) -> None:
        self._sock.close()

    def _ask(self, data: bytes) -> bytes:
        self._sock.sendall(data)
        answer = self._sock.recv(65_536)
        while not answer.endswith(_READY):
            if not (piece := self._sock.recv(65_536)):
                raise OperatorError(f"PostgreSQL has left the native client: {answer[:300]!r}")
            answer += piece
        if answer.startswith(b"E"):
            raise OperatorError(f"PostgreSQL refuses what the native client asks: {answer[:300]!r}")
        return answer


class NativeRedis:
    """One connection. `run` returns when the whole answer of one command that was sent is there."""

    def __init__(self, url: str) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.connect(unquote(urlsplit(url).path))

    def run(self, encoded: bytes) -> bytes:
        """The answer, which must fit into one packet. Raises `OperatorError` if it is an error."""
        self._sock.sendall(encoded)
        answer = self._sock.recv(65_536)
        if not answer.endswith(b"\r\n") or answer.startswith(b"-"):
            raise OperatorError(f"Valkey gave the native client {answer[:300]!r}")
        return answer

    def close(self) -> None:
        self._sock.close()


def redis_command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def _text(value: str) -> bytes:
    return value.encode() + b"\x00"


def _parameter(value: object) -> bytes | None:
    """As PostgreSQL reads it from text; None is NULL."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return b"\\x" + value.hex().encode()
    if isinstance(value, datetime):
        return value.isoformat().encode()
    if isinstance(value, list | tuple):
        return b"{" + b",".join(map(_element, value)) + b"}"
    return str(value).encode()


def _element(value: object) -> bytes:
    text = _parameter(value)
    return b"NULL" if text is None else b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
