"""The part of `flash doctor` that asks PostgreSQL: would a crash or a fail-over lose a sale that was answered?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flash.config import mask
from flash.local.finding import Finding
from flash.stores.postgres import Postgres, open_postgres
from flash.stores.replication import Replication, read_replication, unbounded_waits

_SECONDS = 5.0


async def examine(url: str) -> list[Finding]:
    """All that is to be said of the servers of `url`. Raises `Unavailable` if none takes writes."""
    async with open_postgres(url, connections_max=1, timeout_seconds=_SECONDS, name="flash doctor") as database:
        durability = await database.durability_warnings()
        replication = await read_replication(database)
        survey = await database.survey()
        return [
            Finding("ok", "DATABASE_URL", f"{mask(url)} answers"),
            *_durability(durability),
            *_servers(survey, replication),
            judge_fail_over(replication),
            *await _pooler(database),
        ]


def _durability(warnings: Sequence[str]) -> Iterator[Finding]:
    for warning in warnings:
        yield Finding("fail", "durability", f"{warning}; turn it on")
    if not warnings:
        yield Finding("ok", "durability", "fsync, synchronous_commit and full_page_writes are on")


def _servers(survey: Sequence[tuple[str, str | None]], replication: Replication) -> Iterator[Finding]:
    writers = [address for address, refusal in survey if refusal is None]
    if len(writers) > 1:
        text = f"{' and '.join(writers)} take writes: each sells what the other one sells. Stop all but one"
        yield Finding("fail", "servers", text)
    for address, refusal in survey:
        is_wrong = refusal is not None and "takes no writes" not in refusal
        yield Finding("warn" if is_wrong else "ok", "servers", f"{address}: {refusal or 'it takes writes'}")
    if not survey and replication.standbys:
        text = "DATABASE_URL names one server: name its standbys too, or let that name lead to whichever is promoted"
        yield Finding("warn", "servers", text)


def judge_fail_over(found: Replication) -> Finding:
    """Whether a sale that was answered is elsewhere, too, by then."""
    follow = "1 standby follows" if found.standbys == 1 else f"{found.standbys} standbys follow"
    if not found.synchronous_names and not found.standbys:
        return _fail_over(
            "ok", "no standby follows, so there is none to fail over to: what this server holds, it alone has"
        )
    if not found.synchronous_names:
        return _fail_over(
            "warn",
            f"it can lose sales that were answered: {follow}, and no answer waits for it. "
            "Set synchronous_standby_names, to 'ANY 1 (*)' if any of them will do",
        )
    if found.synchronous_commit in ("local", "off"):
        return _fail_over(
            "fail",
            f"it can lose sales that were answered: synchronous_commit is {found.synchronous_commit}, "
            "so no answer waits for a standby, whatever synchronous_standby_names says. Set it to on",
        )
    if not found.is_visible:
        return _fail_over("warn", "this role may not see whether a standby is synchronous: GRANT pg_monitor to it")
    if not found.synchronous:
        return _fail_over(
            "fail",
            f"{follow}, and none that synchronous_standby_names = '{found.synchronous_names}' means: "
            "every write waits for one until the client gives up, and buyers get 503. Start one, or add another",
        )
    if found.synchronous_commit == "remote_write":
        return _fail_over(
            "warn",
            "it loses an answered sale if the standby's machine crashes as well: synchronous_commit is remote_write, "
            "so a standby need not have it on disk. Set it to on",
        )
    which = "of them" if found.synchronous > 1 else "of it"
    return _fail_over(
        "ok",
        f"it loses no sale that was answered, if a synchronous standby is promoted: {found.synchronous} {which} "
        f"('{found.synchronous_names}') wrote it to disk first",
    )


def _fail_over(verdict: str, text: str) -> Finding:
    assert verdict in ("ok", "warn", "fail")
    return Finding(verdict, "fail-over", text)  # type: ignore[arg-type]


async def _pooler(database: Postgres) -> list[Finding]:
    if not database.is_pooled:
        return []
    text = "PgBouncer or the like stands between: statements are prepared anew each time, which costs a round trip"
    findings = [Finding("ok", "pooler", text)]
    if unbounded := await unbounded_waits(database):
        settings = "; ".join(f"ALTER ROLE … SET {name} = '1800ms'" for name in unbounded)
        text = f"the service's own bounds do not pass the pooler, and these are unlimited: {settings}"
        findings.append(Finding("warn", "pooler", text))
    return findings
