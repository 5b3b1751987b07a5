"""What a drill has shown, as plain values and as text: the counts first, then each check and what contradicts it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from drill.injector import RESUME_SECONDS, Fault
from flash.testing.history import Call

SHOWN_MAX = 20
"""How many contradictions of one check are shown; all are counted."""


@dataclass(slots=True)
class Record:
    """Everything that happened. Times of calls and faults are Trio's; `began` and `ended` bound the drill."""

    command: str
    seed: int
    began: float
    ended: float
    wall_offset: float
    faults: Sequence[Fault]
    calls: Sequence[Call]
    idle_at: Sequence[float]
    terms: Mapping[tuple[int, int], Sequence[str]]
    purchases: int
    sales: int
    sold_out: int
    samples: int
    checks: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        return not any(self.checks.values())

    @property
    def take_overs(self) -> int:
        """Terms that were not the first of their sale."""
        return sum(epoch > 1 for _, epoch in self.terms)

    @property
    def sale_times(self) -> list[float]:
        """When each acknowledged purchase was heard of, in seconds since the drill began."""
        first = {
            call.code: call.ended for call in reversed(self.calls) if call.kind == "purchase" and call.outcome == "ok"
        }
        return sorted(ended - self.began for ended in first.values())

    def longest_gap(self) -> tuple[float, float]:
        """The longest time without a sale while items were left, in seconds, and when it began."""
        idle = [time - self.began for time in self.idle_at]
        events = sorted([0.0, *self.sale_times, *idle, self.ended - self.began])
        idle_times = set(idle)
        gaps = [(b - a, a) for a, b in pairwise(events) if b not in idle_times]
        return max(gaps, default=(0.0, 0.0))

    def outcomes(self) -> dict[str, Counter[str]]:
        """Calls by kind and outcome."""
        counted: dict[str, Counter[str]] = defaultdict(Counter)
        for call in self.calls:
            counted[call.kind][call.outcome] += 1
        return dict(counted)

    def by_kind(self) -> dict[str, list[Fault]]:
        """The faults by name, in the order in which they were first injected."""
        found: dict[str, list[Fault]] = defaultdict(list)
        for fault in self.faults:
            found[fault.kind.name].append(fault)
        return dict(found)


def resumed_late(faults: Sequence[Fault]) -> list[str]:
    """Once faults are healed, something is sold within the time that a take-over may take."""
    return [
        f"nothing was sold within {RESUME_SECONDS:g} s after {fault.kind.name} ({fault.what}) was healed"
        for fault in faults
        if fault.resumed is None and not fault.was_idle
    ]


def recovery_seconds(faults: Sequence[Fault]) -> list[float]:
    """How long each fault's end was followed by no sale, sorted."""
    return sorted(fault.resumed - fault.healed for fault in faults if fault.resumed is not None)


def lines(record: Record) -> Iterator[str]:
    """The verdict for a terminal."""
    seconds, (gap, gap_at) = record.ended - record.began, record.longest_gap()
    yield f"drill of {seconds:.0f} s, seed {record.seed}: {_count(len(record.faults), 'fault')}"
    for name, faults in record.by_kind().items():
        recovered = recovery_seconds(faults)
        worst = (
            f"sold again after {recovered[len(recovered) // 2]:.2f} s, at most {recovered[-1]:.2f}" if recovered else ""
        )
        yield f"  {name:21}{len(faults):5}  {worst}"
    for kind, counted in sorted(record.outcomes().items()):
        yield f"{sum(counted.values()):,} calls of {kind}: " + ", ".join(
            f"{outcome} {count:,}" for outcome, count in counted.most_common()
        )
    yield (
        f"{record.purchases:,} items sold of {_count(record.sales, 'sale')}, {record.sold_out} of them sold out; "
        f"{record.take_overs} take-overs"
    )
    yield f"longest time without a sale while items were left: {gap:.2f} s, at {gap_at:.1f} s"
    for name, wrong in record.checks.items():
        yield f"  {name:34}{len(wrong):5}" + ("  WRONG" if wrong else "")
        yield from (f"      {text}" for text in wrong[:SHOWN_MAX])
    yield "clean: nothing contradicts the promises" if record.is_clean else "NOT CLEAN"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
