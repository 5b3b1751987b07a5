"""Answers of any shape: whoever reads them raises a `FlashError`, which all that run here live with, or goes on.

A server that mixes up its answers, or a proxy in front of it, must not end a process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import trio

from flash.board.reader import BoardReader
from flash.errors import FlashError
from flash.purchase_rpc import messages
from flash.purchase_rpc.primary_reader import PrimaryReader
from flash.sold_feed.subscriber import SoldSubscriber
from flash.stores.redis_link import RedisCommand, refusal
from tests.deployments import DEPLOYMENT
from tests.fuzz.findings import Findings, lucks
from tests.fuzz.mutation import odd_number

KEY = messages.wake_up_key(DEPLOYMENT)


class OddLink:
    """A link whose Redis says anything, in as many answers as there were commands."""

    def __init__(self, luck: Random) -> None:
        self._luck = luck

    async def execute(self, *commands: RedisCommand, block_seconds: float = 0.0) -> list[Any]:
        await trio.lowlevel.checkpoint()
        answers = [self._answer(command) for command in commands]
        for answer in answers:
            if isinstance(answer, str):
                raise refusal(answer)
        return answers

    def _answer(self, command: RedisCommand) -> Any:
        right = _RIGHT.get(str(command[0]))
        if right is not None and self._luck.random() < 0.5:
            return right
        return odd_answer(self._luck)


def odd_answer(luck: Random, depth: int = 0) -> Any:
    """As RESP2 has it: bytes, a number, nothing, an error (here a `str`, at the top only), or a list of these."""
    kind = luck.randrange(7)
    if kind < 2 and depth < 4:
        return [odd_answer(luck, depth + 1) for _ in range(luck.randrange(4))]
    if kind == 2 and depth == 0:
        return luck.choice(("WRONGTYPE x", "ERR x", "READONLY x", "NOPERM x", "OOM x", ""))
    if kind == 3:
        return None
    if kind == 4:
        return odd_number(luck)
    return luck.choice((b"", b"OK", b"1-1", KEY.encode(), b"x-y", b"stream", b"\xff", b"18446744073709551615-1"))


_ENTRY = [b"1700000000000-0", [b"v", b"1", b"p", b"x", b"s", b"y"]]
_RIGHT: dict[str, Any] = {
    "TIME": [b"1700000000", b"1"],
    "XREAD": [[KEY.encode(), [_ENTRY]]],
    "XRANGE": [_ENTRY],
    "XDEL": 0,
    "EVAL": b"",
    "MGET": [None],
}


def run_answers(seed: int, findings: Findings) -> None:
    trio.run(_run_answers, seed, findings)


async def _run_answers(seed: int, findings: Findings) -> None:
    for luck in lucks(seed):
        name, ask = luck.choice(_READERS)
        state = luck.getstate()
        try:
            await ask(OddLink(luck))
        except FlashError as error:
            findings.note(f"{name}: {type(error).__name__}")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no defined answer
            luck.setstate(state)
            findings.fail(seed, name, error)
        else:
            findings.note(f"{name}: read")


async def _read_stream(link: OddLink) -> None:
    reader = PrimaryReader(link, KEY)
    await reader.read({KEY: b"0"}, entries_max=16, block_ms=10)
    reader.redis_ms()


async def _read_board(link: OddLink) -> None:
    await BoardReader(DEPLOYMENT, link).read()


async def _read_feed(link: OddLink) -> None:
    subscriber = SoldSubscriber(DEPLOYMENT, link, lambda batch: None, lambda: None)
    for entry_id, fields in await subscriber._read(checks_place=True):
        subscriber._last = entry_id
        subscriber._receive(fields)


_READERS: tuple[tuple[str, Callable[[OddLink], Awaitable[None]]], ...] = (
    ("stream", _read_stream),
    ("board", _read_board),
    ("feed", _read_feed),
)
