"""Where requests wait for their turn, on a clock of its own: cores, group commits, a leader.

Every station says for how long it was busy, how much waited at most, and when it did its last work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from benchmarks.hour.costs import Costs
from flash.actors.batch_wait import BatchWait

Action = Callable[[], None]


class Clock:
    """What happens at which time. Equal times happen in the order in which they were asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self._count = 0
        self._events: list[tuple[float, int, Action]] = []

    def at(self, when: float, action: Action) -> None:
        self._count += 1
        heappush(self._events, (when, self._count, action))

    def run(self) -> None:
        while self._events:
            self.now, _, action = heappop(self._events)
            action()


class Cores:
    """`count` cores that take work in the order in which it comes."""

    def __init__(self, clock: Clock, count: int) -> None:
        self._clock = clock
        self._free_at = [0.0] * count
        self.busy = self.waited_max = self.last = 0.0

    def work(self, seconds: float, then: Action) -> None:
        now = self._clock.now
        begun = max(now, heappop(self._free_at))
        ended = begun + seconds
        heappush(self._free_at, ended)
        self.busy += seconds
        self.last = ended
        if begun - now > self.waited_max:
            self.waited_max = begun - now
        self._clock.at(ended, then)


class Log:
    """The write-ahead log: one synced write at a time, which all commits share that wait for it."""

    def __init__(self, clock: Clock, costs: Costs) -> None:
        self._clock = clock
        self._costs = costs
        self._waiting: list[tuple[float, Action]] = []
        self._rows = 0
        self._is_writing = False
        self.busy = self.waited_max = self.last = 0.0

    def commit(self, rows: int, then: Action) -> None:
        self._rows += rows
        self._waiting.append((self._clock.now, then))
        if not self._is_writing:
            self._write()

    def _write(self) -> None:
        written, rows = self._waiting, self._rows
        self._waiting, self._rows, self._is_writing = [], 0, True
        seconds = self._costs.sync + rows * self._costs.log_bytes_row / self._costs.log_bytes_second
        self.busy += seconds
        self.last = self._clock.now + seconds
        self.waited_max = max(self.waited_max, self._clock.now - written[0][0])
        self._clock.at(self.last, lambda: self._written(written))

    def _written(self, written: list[tuple[float, Action]]) -> None:
        self._is_writing = False
        for _, then in written:
            then()
        if self._waiting:
            self._write()


class Postgres:
    """A statement takes a core, then its commit takes a part of a synced write."""

    def __init__(self, clock: Clock, costs: Costs, cores: int) -> None:
        self._clock = clock
        self._costs = costs
        self.cores = Cores(clock, cores)
        self.log = Log(clock, costs)
        self.rows = 0

    def execute(self, rows: int, then: Action) -> None:
        """One batch of `rows` rows, from another host."""
        self.rows += rows
        hop = self._costs.hop
        seconds = self._costs.statement + rows * self._costs.statement_row

        def commit() -> None:
            self.log.commit(rows, lambda: self._clock.at(self._clock.now + hop, then))

        self._clock.at(self._clock.now + hop, lambda: self.cores.work(seconds, commit))


@dataclass(slots=True, eq=False)
class Batches:
    """`workers` batches of at most `batch_max` are under way; the service's own rule says who may wait for one."""

    clock: Clock
    perform: Callable[[int, Action], None]
    workers: int = 2
    batch_max: int = 500
    wait_max: float = 1.0
    waiting_limit: int = 4_096
    waiting: deque[Action] = field(default_factory=deque)
    waiting_max: int = 0
    under_way: int = 0
    wait: BatchWait = field(init=False)

    def __post_init__(self) -> None:
        self.wait = BatchWait(batch_max=self.batch_max, workers=self.workers, wait_max_seconds=self.wait_max)

    def has_room(self) -> bool:
        return len(self.waiting) < self.waiting_limit and self.wait.admits(len(self.waiting), self.clock.now)

    def ask(self, then: Action) -> None:
        """`then` runs when the batch is done."""
        self.waiting.append(then)
        self.waiting_max = max(self.waiting_max, len(self.waiting))
        if self.under_way < self.workers:
            self._begin()

    def _begin(self) -> None:
        batch = [self.waiting.popleft() for _ in range(min(self.batch_max, len(self.waiting)))]
        self.under_way += 1
        begun_at = self.wait.begin(self.clock.now)
        self.perform(len(batch), lambda: self._end(batch, begun_at))

    def _end(self, batch: list[Action], begun_at: float) -> None:
        self.wait.end(begun_at, self.clock.now)
        self.under_way -= 1
        for then in batch:
            then()
        if self.waiting and self.under_way < self.workers:
            self._begin()
