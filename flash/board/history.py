"""The last five minutes, put together from the samples of all processes. Pure; times are Redis's, in milliseconds.

A sample says what its process has counted since the last one, and that is spread evenly over the time in between. So
samples need not come at the same moment, one that is lost costs nothing, and a second is as high as it was.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from flash.board.messages import KEPT_SECONDS, Mark, MarkKind, Sample
from flash.metrics.counts import SECONDS_BOUNDS

LOST_MS = 4_000
"""A process that has said nothing for so long, not even goodbye, is shown as lost."""
_NEW_SECONDS = 10.0
"""The first sample of a process this young counts from its start; that of an older one only begins the counting."""
_MARKS_MAX = 500
_SAME_MS = 5_000
_PROCESSES_MAX = 2_048
_RATE_SAMPLES = 6
STOPPED: MarkKind = "process_stopped"


@dataclass(slots=True)
class Second:
    """What happened in one second. Fractions come from the spreading."""

    sold: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    purchase_seconds: list[float] = field(default_factory=lambda: [0.0] * (len(SECONDS_BOUNDS) + 1))


@dataclass(slots=True)
class Process:
    """What was last heard of a process, and enough before that to tell its rates."""

    heard_ms: float
    sample: Sample
    is_stopped: bool
    recent: deque[tuple[float, int, int]] = field(default_factory=lambda: deque(maxlen=_RATE_SAMPLES))

    def rates(self) -> tuple[float, float]:
        """Requests and sales a second, lately. A sale counts for its leader and for who answered the buyer."""
        if len(self.recent) < 2:
            return 0.0, 0.0
        (from_ms, requests_before, sales_before), (to_ms, requests, sales) = self.recent[0], self.recent[-1]
        seconds = max(0.001, (to_ms - from_ms) / 1e3)
        return (requests - requests_before) / seconds, (sales - sales_before) / seconds


class History:
    """`processes` by name, lost and stopped ones of the last minutes too."""

    def __init__(self) -> None:
        self.processes: dict[str, Process] = {}
        self._seconds: dict[int, Second] = {}
        self._marks: deque[tuple[float, Mark]] = deque(maxlen=_MARKS_MAX)

    def add(self, at_ms: float, sample: Sample) -> None:
        """A sample came at `at_ms`. Those of one process come in order."""
        known = self.processes.pop(sample.name, None)
        if known is not None:
            self._count(known.heard_ms, at_ms, known.sample, sample)
        elif sample.age_seconds < _NEW_SECONDS:
            self._count(at_ms - sample.age_seconds * 1e3, at_ms, Sample(sample.name, 0.0), sample)
        for mark in sample.marks:
            self._add_mark(at_ms - mark.age_seconds * 1e3, mark)
        process = Process(at_ms, sample, any(mark.kind == STOPPED for mark in sample.marks))
        process.recent.extend(known.recent if known else ())
        process.recent.append((at_ms, sample.requests, sample.bought + sample.sold))
        self.processes[sample.name] = process  # behind the others: those heard last are the last ones
        while len(self.processes) > _PROCESSES_MAX:
            del self.processes[next(iter(self.processes))]

    def _add_mark(self, at_ms: float, mark: Mark) -> None:
        """Several processes may see the same thing, such as a lost store: one mark says so."""
        for other_ms, other in self._marks:
            if (other.kind, other.text) == (mark.kind, mark.text) and abs(at_ms - other_ms) < _SAME_MS:
                return
        self._marks.append((at_ms, mark))

    def forget(self, now_ms: float) -> None:
        """Drop what is older than is shown."""
        oldest = now_ms - KEPT_SECONDS * 1e3
        for second in [second for second in self._seconds if second < oldest // 1000]:
            del self._seconds[second]
        for name in [name for name, process in self.processes.items() if process.heard_ms < oldest]:
            del self.processes[name]

    def seconds(self, first: int, count: int) -> list[Second]:
        """`count` of them from the one that began at `first` (seconds since 1970)."""
        return [self._seconds.get(second) or Second() for second in range(first, first + count)]

    def lost(self, now_ms: float) -> Iterator[tuple[str, float]]:
        """The processes that fell silent without a goodbye, with when they were last heard."""
        for name, process in self.processes.items():
            if not process.is_stopped and now_ms - process.heard_ms > LOST_MS:
                yield name, process.heard_ms

    def marks(self, now_ms: float) -> list[tuple[float, Mark]]:
        """What is not too old to be shown, in order of time."""
        oldest = now_ms - KEPT_SECONDS * 1e3
        return sorted(((at, mark) for at, mark in self._marks if at >= oldest), key=lambda one: one[0])

    def _count(self, from_ms: float, to_ms: float, before: Sample, after: Sample) -> None:
        outcomes = {
            name: more for name, count in after.outcomes.items() if (more := count - before.outcomes.get(name, 0)) > 0
        }
        sold = max(0, after.sold - before.sold)
        buckets = _increase(before.purchase_seconds, after.purchase_seconds)
        if not outcomes and not sold:
            return
        from_ms = max(from_ms, to_ms - KEPT_SECONDS * 1e3)
        for number, share in _shares(from_ms, to_ms):
            second = self._seconds.setdefault(number, Second())
            second.sold += sold * share
            for name, more in outcomes.items():
                second.outcomes[name] += more * share  # type: ignore[assignment]  # a Counter adds floats as well
            for bucket, more in buckets:
                second.purchase_seconds[bucket] += more * share


def _increase(before: Sequence[int], after: Sequence[int]) -> list[tuple[int, int]]:
    """The buckets in which something was added, with how much."""
    known = before or (0,) * len(after)
    return [(n, more) for n, (old, new) in enumerate(zip(known, after, strict=True)) if (more := new - old) > 0]


def _shares(from_ms: float, to_ms: float) -> Iterator[tuple[int, float]]:
    """The seconds between two times, each with its share of the whole."""
    last = int(to_ms // 1000)
    if to_ms - from_ms < 1:
        yield last, 1.0
        return
    for second in range(int(from_ms // 1000), last + 1):
        part_ms = min(to_ms, (second + 1) * 1e3) - max(from_ms, second * 1e3)
        if part_ms > 0:
            yield second, part_ms / (to_ms - from_ms)
