"""One sentence that says how the whole service is, and one that says what to do. Pure.

The worst comes first: what keeps buyers from buying, then what may soon, then what a person should know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

OK, WARNING, FAILING = "ok", "warning", "failing"

_SHED_SHARE = 0.01
"""A larger share of refused requests than this is worth a word."""
_BUSY_CODES = ("overloaded", "unavailable", "outcome_unknown")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    level: str
    text: str
    action: str = ""


@dataclass(frozen=True, slots=True)
class CurrentSale:
    """The sale that began last, and when the next one opens."""

    id: int
    is_sold_out: bool
    has_leader: bool
    is_paused: bool
    paused_by: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """`errors` by store, `lost` and `versions` of processes. Rates and shares are those of the last seconds."""

    errors: Mapping[str, str]
    sale: CurrentSale | None
    is_disk_low: bool = False
    inventory_count: int = 0
    lost: Sequence[str] = ()
    versions: Sequence[str] = ()
    sales_per_second: float = 0.0
    p99_ms: float | None = None
    outcomes: Mapping[str, float] = field(default_factory=dict)
    opens_in_seconds: float | None = None


def diagnose(facts: Facts) -> Diagnosis:
    """The worst that is to be said."""
    return next(iter((*_failing(facts), *_warnings(facts))), None) or Diagnosis(OK, _all_well(facts))


def _failing(facts: Facts) -> Iterator[Diagnosis]:
    if "database" in facts.errors:
        yield Diagnosis(
            FAILING,
            f"PostgreSQL cannot be used ({facts.errors['database']}). Nobody can check out or buy.",
            "Look at PostgreSQL: is it running, reachable and writable? The service resumes by itself.",
        )
    if "redis" in facts.errors:
        yield Diagnosis(
            FAILING,
            f"Redis cannot be used ({facts.errors['redis']}). Purchases are refused; checkouts go on.",
            "Look at Redis: is it running, reachable and a primary? The service resumes by itself.",
        )
    if not facts.inventory_count:
        yield Diagnosis(
            FAILING,
            "No inventory process is running. Purchases are refused after a wait, and no sale will open.",
            "Start `flash inventory`, two of them or more.",
        )
    if facts.sale is None:
        yield Diagnosis(
            FAILING,
            "There is no sale.",
            "Look at what the inventory processes log about making sales.",
        )
    elif not (facts.sale.is_sold_out or facts.sale.has_leader or facts.sale.is_paused):
        yield Diagnosis(
            FAILING,
            f"Sale {facts.sale.id} is open and nobody leads it. Its purchases wait.",
            "This ends within FLASH_LEASE_TTL. If it does not, look at what the inventory processes log.",
        )


def _warnings(facts: Facts) -> Iterator[Diagnosis]:
    if facts.sale is not None and facts.sale.is_paused:
        by = f" by {facts.sale.paused_by}" if facts.sale.paused_by else ""
        yield Diagnosis(WARNING, f"Sale {facts.sale.id} was paused{by}. Its purchases are refused.", "Resume it.")
    if facts.is_disk_low:
        yield Diagnosis(
            WARNING,
            "PostgreSQL's disk is nearly full. Checkouts are refused; purchases go on.",
            "Make room on the disk, or FLASH_DISK_MIN_MB smaller.",
        )
    if facts.lost:
        yield Diagnosis(
            WARNING,
            f"Not heard from lately: {', '.join(facts.lost[:3])}{' and others' if len(facts.lost) > 3 else ''}.",
            "Has its supervisor started it again? Look at the end of its log.",
        )
    yield from _busy(facts.outcomes)
    if len(facts.versions) > 1:
        yield Diagnosis(
            WARNING,
            f"Processes of {len(facts.versions)} releases are running: {', '.join(facts.versions)}.",
            "Finish the upgrade.",
        )


def _busy(outcomes: Mapping[str, float]) -> Iterator[Diagnosis]:
    total = sum(outcomes.values())
    shares = {code: outcomes.get(code, 0.0) / total if total else 0.0 for code in _BUSY_CODES}
    if shares["outcome_unknown"] > _SHED_SHARE:
        yield Diagnosis(
            WARNING,
            f"{shares['outcome_unknown']:.0%} of requests end without a known outcome.",
            "Answers of a store are lost: look at PostgreSQL's and Redis's logs, and at the network.",
        )
    if shares["unavailable"] > _SHED_SHARE:
        yield Diagnosis(
            WARNING,
            f"{shares['unavailable']:.0%} of requests are refused because a store is away for them.",
            "Look at PostgreSQL's and Redis's logs, and at the network.",
        )
    if shares["overloaded"] > _SHED_SHARE:
        yield Diagnosis(
            WARNING,
            f"{shares['overloaded']:.0%} of requests are refused because too many are waiting.",
            "More is asked than can be served: look which queue waits, and add cores to what serves it.",
        )


def _all_well(facts: Facts) -> str:
    assert facts.sale is not None
    if facts.sales_per_second >= 0.5:
        latency = "" if facts.p99_ms is None else f", p99 {facts.p99_ms:.0f} ms"
        return f"Selling. {facts.sales_per_second:,.0f} sales/s{latency}, all stores fine."
    if facts.sale.is_sold_out:
        opens = "" if facts.opens_in_seconds is None else f" The next one opens in {_duration(facts.opens_in_seconds)}."
        return f"Sale {facts.sale.id} is sold out, all stores fine.{opens}"
    return f"Sale {facts.sale.id} is open and nobody is buying, all stores fine."


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} minutes" if minutes < 90 else f"{seconds / 3600:.1f} hours"
