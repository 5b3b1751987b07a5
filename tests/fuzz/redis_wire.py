"""Bytes of Redis's protocol, mutated: the link raises what it promises, and never waits for longer than it should."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random

import trio

from flash.errors import FlashError
from flash.stores.redis_link import RedisLink, entries_of, id_of, ms_of, streams_of
from tests.fuzz.findings import Findings, lucks
from tests.fuzz.mutation import in_pieces, mutate

_TIMEOUT_SECONDS = 2.0
_OK = b"+OK\r\n"
_TOKENS = (
    b"\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"*9999999999\r\n",
    b"$999999999999\r\n",
    b":",
    b"-ERR x\r\n",
    b"%1\r\n",
    b"\x00",
    b"*",
)
_ENTRY = b"*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
_ANSWERS = (
    (("PING",), b"+PONG\r\n", lambda answer: answer),
    (("TIME",), b"*2\r\n$10\r\n1700000000\r\n$1\r\n5\r\n", ms_of),
    (("XADD", "s", "*", "f", "v"), b"$3\r\n1-1\r\n", id_of),
    (("XRANGE", "s", "-", "+"), b"*1\r\n" + _ENTRY, entries_of),
    (("XREAD", "STREAMS", "s", "0"), b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n" + _ENTRY, streams_of),
)


def run_wire(seed: int, findings: Findings) -> None:
    trio.run(_run_wire, seed, findings)


async def _run_wire(seed: int, findings: Findings) -> None:
    with tempfile.TemporaryDirectory(prefix="ff-") as folder:
        path = Path(folder) / "redis"
        listener = trio.socket.socket(trio.socket.AF_UNIX)
        with listener:
            await listener.bind(str(path))
            listener.listen()
            for luck in lucks(seed):
                await _ask(seed, luck, listener, f"unix://{path}", findings)


async def _ask(seed: int, luck: Random, listener: trio.socket.SocketType, url: str, findings: Findings) -> None:
    command, answer, read = luck.choice(_ANSWERS)
    said = [*in_pieces(_OK + mutate(luck, answer, _TOKENS), luck)]
    if luck.random() < 0.2:
        said = in_pieces(mutate(luck, _OK, _TOKENS), luck)
    try:
        async with trio.open_nursery() as nursery, RedisLink(url, timeout_seconds=_TIMEOUT_SECONDS) as link:
            nursery.start_soon(_serve_once, listener, said)
            with trio.fail_after(_TIMEOUT_SECONDS / 2):  # its end closes the connection: nothing need be waited for
                (answered,) = await link.execute(command)
            read(answered)
    except* FlashError as errors:
        findings.note(f"wire: {type(errors.exceptions[0]).__name__}")
    except* Exception as errors:  # noqa: BLE001 - whatever it is, it is no defined answer
        findings.fail(seed, (command, said), errors.exceptions[0])
    else:
        findings.note("wire: read")


async def _serve_once(listener: trio.socket.SocketType, said: list[bytes]) -> None:
    """Hear the greeting and the command, which come in one piece or in two, say `said`, and leave."""
    client, _ = await listener.accept()
    with client:
        try:
            await client.recv(65_536)
            for piece in said:
                await client.send(piece)
                await trio.lowlevel.checkpoint()
        except OSError:
            pass  # the link has heard enough
