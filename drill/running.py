"""One drill from the first process to the judgement: start, break while buyers buy, heal, stop, read, compare."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from drill import checks, edn
from drill.buyers import Crowd
from drill.injector import Fault, Injector
from drill.options import Options
from drill.sampling import Sampler
from drill.site import Site, running_site
from drill.verdict import Record, resumed_late
from drill.witness import Commit, read_commits
from flash.audit.rendering import as_text
from flash.errors import OperatorError
from flash.testing.stored import Stored, read_stored
from flash.testing.verification import lost, unexpected, unrecorded

_FIRST_SALE_SECONDS = 30.0
_LAST_CALLS_SECONDS = 30.0


async def run(options: Options, command: str, tell: Callable[[str], None]) -> Record:
    """Run one drill and judge it. Everything that was started has ended when this returns.

    Raises `OperatorError` if not even the untouched cluster sells.
    """
    async with running_site(options) as site:
        crowd = Crowd([web.address for web in site.web], options.seed, options.buyers, options.think)
        try:
            record = await _drill(site, crowd, options, command, tell)
        except BaseException:
            tell(f"the logs are in {keep(site, options.evidence)}")
            raise
        if not record.is_clean:
            tell(f"the evidence is in {keep(site, options.evidence)}")
        return record


async def _drill(site: Site, crowd: Crowd, options: Options, command: str, tell: Callable[[str], None]) -> Record:
    began, wall_offset = trio.current_time(), time.time() - trio.current_time()
    sampler = Sampler(site.postgres.url)
    injector = Injector(
        site,
        crowd,
        options.faults,
        seed=options.seed,
        at_once=options.at_once,
        every_seconds=options.every,
        tell=lambda fault: tell(_line(fault, began)),
    )
    unfinished = await _break_while_buying(site, crowd, sampler, injector, options)
    ended = trio.current_time()
    await crowd.ask_receipts()
    died, stopped_badly = site.died(), site.stopped_badly()
    await site.cluster.kill_all()
    stored = await read_stored(site.postgres.url)
    commits = await read_commits(site.postgres.url)
    if options.history is not None:
        operations = edn.lines(crowd.heard.calls, injector.faults, stored, began, ended)
        options.history.write_text("".join(f"{line}\n" for line in operations))
    if options.bank is not None:
        options.bank.write_text("".join(f"{line}\n" for line in edn.bank(sampler.samples, began)))
    record = Record(
        command=command,
        seed=options.seed,
        began=began,
        ended=ended,
        wall_offset=wall_offset,
        faults=injector.faults,
        calls=crowd.heard.calls,
        idle_at=crowd.idle_at,
        terms=site.terms(),
        purchases=len(stored.purchases),
        sales=len([sale for sale in stored.report.sales if sale.purchases]),
        sold_out=len([sale for sale in stored.report.sales if sale.sold_out_at]),
        samples=sampler.taken,
    )
    record.checks = {
        **judge(record, crowd, stored, commits),
        f"wrong at any of {sampler.taken} moments": sampler.wrong,
        "ended by itself": died,
        "stopped badly": stopped_badly,
        "calls never answered": unfinished,
    }
    return record


async def _break_while_buying(
    site: Site, crowd: Crowd, sampler: Sampler, injector: Injector, options: Options
) -> list[str]:
    """What was still not answered long after everything was healed."""
    async with trio.open_nursery() as background:
        background.start_soon(sampler.run)
        async with trio.open_nursery() as buying:
            buying.start_soon(crowd.run)
            if await crowd.wait_sale(0.0, _FIRST_SALE_SECONDS) is None:
                raise OperatorError(f"nothing was sold within {_FIRST_SALE_SECONDS:g} s, before anything was broken")
            await injector.run(options.seconds, options.rounds)
            await site.wait_whole()
            crowd.close()
            buying.cancel_scope.deadline = trio.current_time() + _LAST_CALLS_SECONDS
        background.cancel_scope.cancel()
    late = buying.cancel_scope.cancelled_caught
    return [f"a buyer still had no answer {_LAST_CALLS_SECONDS:g} s after everything was healed"] if late else []


def judge(record: Record, crowd: Crowd, stored: Stored, commits: Sequence[Commit]) -> dict[str, list[str]]:
    """What contradicts each promise, by name."""
    heard, report = crowd.heard, stored.report
    return {
        "lost": [*lost(heard, stored), *checks.bought_nothing(crowd.missing, stored)],
        "unexpected": [*unexpected(heard, stored), *checks.done_after_all(heard, stored)],
        "false refusals": list(checks.Refusals(record.calls, stored, record.wall_offset).false()),
        "attempts not recorded as answered": list(unrecorded(heard, stored)),
        "attempts recorded too often": list(checks.recorded_too_often(heard, stored)),
        "over the limit": list(checks.over_the_limit(stored)),
        "epochs out of order": list(checks.not_in_order(stored)),
        "commits of a deposed leader": list(checks.by_others_than_the_leader(record.terms, commits)),
        "not resumed in time": resumed_late(record.faults),
        "contradictory answers": heard.contradictions,
        "receipts never answered": crowd.unanswered,
        "audit": [] if report.is_clean else as_text(report).splitlines(),
    }


def keep(site: Site, folder: Path | None) -> Path:
    """Write down what every process and store has logged, where it outlives the drill."""
    folder = Path(tempfile.mkdtemp(prefix="flash-drill-")) if folder is None else folder
    folder.mkdir(exist_ok=True)
    for process in site.cluster.processes:
        (folder / f"{process.name}.log").write_text(process.log)
    for store in (site.postgres, site.valkey):
        (folder / f"{store.name}.log").write_bytes(store.log.read_bytes() if store.log.exists() else b"")
    return folder


def _line(fault: Fault, began: float) -> str:
    after = "NOTHING WAS SOLD" if fault.resumed is None else f"sold after {fault.resumed - fault.healed:.2f} s"
    return f"{fault.began - began:7.1f} s  {fault.kind.name:21}{after:22} {fault.what}"
