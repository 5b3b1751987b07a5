"""Somebody writes over every key of a running cluster while buyers buy: in virtual time, over the twins.

Nothing false may be said meanwhile, as after any fault, and everything must sell out once they have gone. They do not
have the deployment's key, so they can replay what they have seen, in its own place or another, but seal nothing.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from random import Random

import trio

from flash.domain import SaleId
from flash.purchase_rpc import messages
from flash.testing.twins.redis import CommandRefused, RedisTwin
from tests.fuzz.findings import BURST, Findings, lucks
from tests.fuzz.mutation import mutate, odd_number
from tests.simulation.plan import FAULTS_END, plan_of
from tests.simulation.stores import DEPLOYMENT
from tests.simulation.world import World, run_plan


def run_keys(seed: int, findings: Findings) -> None:
    report = run_plan(replace(plan_of(seed), faults=()), make=Vandalized)
    for text in report.wrong:
        findings.fail(seed, report.plan, text)
    if not report.wrong:
        for _ in range(BURST):
            findings.note("keys: nothing false, and all was sold")


class Vandalized(World):
    """A world in which somebody else has Redis's password."""

    async def _run_in(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(self._vandalize)
        await super()._run_in(nursery)

    async def _vandalize(self) -> None:
        for luck in lucks(self.plan.seed):
            await trio.sleep(0.9 * FAULTS_END / BURST)
            streams = self.cluster.redis.streams
            act = luck.choice((_forge, _replay, _write_over, _delete, _expire, self._take_lease))
            with suppress(CommandRefused):  # of a wrong type already, since somebody was here before
                act(luck, streams)

    def _take_lease(self, luck: Random, _: RedisTwin) -> None:
        held = self.cluster.redis.leases.held
        if held:
            key = luck.choice(sorted(held))
            held[key] = ("somebody", trio.current_time() + luck.choice((0.0, 0.5, 2.0)))


def _keys(streams: RedisTwin) -> list[str]:
    """Those that are there, and some that will be."""
    known = [messages.wake_up_key(DEPLOYMENT), *(messages.inbox_key(DEPLOYMENT, SaleId(sale)) for sale in (1, 2))]
    return sorted({*known, *(key.decode() for key in streams._values)})


def _entry(luck: Random, streams: RedisTwin) -> list[bytes]:
    """The fields of any entry that can be seen now."""
    seen = [fields for key in _keys(streams) for _, fields in _entries(streams, key)]
    return [part for pair in luck.choice(seen).items() for part in pair] if seen else [b"v", b"2", b"s", b"x" * 16]


def _entries(streams: RedisTwin, key: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
    is_stream = streams.perform(("TYPE", key)) == b"stream"
    return streams.entries(key) if is_stream else []


def _forge(luck: Random, streams: RedisTwin) -> None:
    fields = _entry(luck, streams)
    fields[luck.randrange(len(fields))] = mutate(luck, luck.choice(fields))
    streams.perform(("XADD", luck.choice(_keys(streams)), "*", *fields))


def _replay(luck: Random, streams: RedisTwin) -> None:
    streams.perform(("XADD", luck.choice(_keys(streams)), "*", *_entry(luck, streams)))


def _write_over(luck: Random, streams: RedisTwin) -> None:
    streams.perform(("SET", luck.choice(_keys(streams)), b"%d" % odd_number(luck)))


def _delete(luck: Random, streams: RedisTwin) -> None:
    streams.perform(("DEL", luck.choice(_keys(streams))))


def _expire(luck: Random, streams: RedisTwin) -> None:
    streams.perform(("PEXPIRE", luck.choice(_keys(streams)), luck.choice((1, 100, 2_000))))
