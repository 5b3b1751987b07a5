"""A model of a cluster under more load than it can serve: web processes, leaders and buyers, in steps of virtual time.

The admission is the real one. A leader takes batches from its queue, each for a fixed time and a time for each command.
It decides whatever has not expired when it takes it: a command that is decided after its asker has gone is sold too
late. With `admits` off, only the length of the table bounds what waits, as it was before.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random

from flash.actors.admission import Admission, Ticket
from flash.actors.fair_shares import UserShares
from flash.domain import SaleId
from flash.errors import Overloaded

STEP = 0.001
TIMEOUT = 5.0
TABLE = 4_096
WINDOW = 500
WAIT_MAX = 1.0
TRANSPORT = 0.002
"""From a web process into an inbox, and from the leader's reply to the asker."""


@dataclass(slots=True, eq=False)
class Call:
    """One purchase as its buyer sees it."""

    sale: SaleId
    user: int
    web: int
    asked_at: float
    ticket: Ticket | None = None
    is_given_up: bool = False


@dataclass
class Leader:
    """Decides `per_second` commands in batches of `batch_max`; it stands still during the `stalls`."""

    per_second: float = 7_900.0
    batch_max: int = 500
    fixed_seconds: float = 0.003
    stalls: tuple[tuple[float, float], ...] = ()
    queue: deque[Call] = field(default_factory=deque)
    busy_until: float = 0.0
    batch: list[Call] = field(default_factory=list)

    def step(self, now: float) -> list[Call]:
        """The commands that have been decided by now; the next batch is begun."""
        if now < self.busy_until:
            return []
        if any(begin <= now < end for begin, end in self.stalls):
            return []
        decided, self.batch = self.batch, []
        while self.queue and len(self.batch) < self.batch_max:
            call = self.queue.popleft()
            if now < call.asked_at + TIMEOUT:
                self.batch.append(call)
        if self.batch:
            each = 1 / self.per_second - self.fixed_seconds / self.batch_max
            self.busy_until = now + self.fixed_seconds + each * len(self.batch)
        return decided


@dataclass
class Overload:
    """What a run has counted. Latencies are of answers that their askers heard."""

    webs: int
    admits: bool = True
    user_slots: int = 64
    seed: int = 7
    leaders: dict[SaleId, Leader | None] = field(default_factory=lambda: {SaleId(1): Leader()})
    answered: Counter[SaleId] = field(default_factory=Counter)
    answered_users: Counter[int] = field(default_factory=Counter)
    too_late: int = 0
    unanswered: int = 0
    refused: int = 0
    latencies: list[float] = field(default_factory=list)
    retry_seconds: list[float] = field(default_factory=list)
    by_second: Counter[int] = field(default_factory=Counter)
    waiting_max: Counter[SaleId] = field(default_factory=Counter)
    by_web: Counter[int] = field(default_factory=Counter)
    _then: dict[Call, Callable[[], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._table = [0] * self.webs
        self._sale_waiting: Counter[SaleId] = Counter()
        self._admissions = [
            Admission(
                waiting_max=TABLE,
                wait_max_seconds=WAIT_MAX,
                window=WINDOW,
                user_shares=UserShares(self.user_slots),
            )
            for _ in range(self.webs)
        ]

    @property
    def p99(self) -> float:
        return sorted(self.latencies)[int(0.99 * len(self.latencies))]

    def run(self, seconds: float, rate: Callable[[float], float], *, sale: Callable[[], SaleId] | None = None) -> None:
        """Offer `rate(now)` new buyers a second for so long. Those who are refused come back when they were told."""
        end, owed, users = self.now + seconds, 0.0, 1_000_000
        while self.now < end:
            owed += rate(self.now) * STEP
            while owed >= 1:
                owed -= 1
                users += 1
                self.ask(SaleId(1) if sale is None else sale(), users)
            self.step()

    def run_closed(self, seconds: float, connections: list[tuple[SaleId, int]]) -> None:
        """Each connection asks again when it is answered, for so long."""
        end = self.now + seconds

        def again(sale: SaleId, user: int, web: int) -> None:
            if self.now < end:
                self.ask(sale, user, web, then=lambda: again(sale, user, web))

        for number, (sale, user) in enumerate(connections):
            web = number % self.webs
            self._at(self.now + self.random.random() * 0.1, lambda s=sale, u=user, w=web: again(s, u, w))  # type: ignore[misc]
        while self.now < end:
            self.step()

    def step(self) -> None:
        self.now += STEP
        for sale, leader in self.leaders.items():
            if leader is not None and (decided := leader.step(self.now)):
                self._at(self.now + TRANSPORT, lambda s=sale, d=decided: self._reply(s, d))  # type: ignore[misc]
        while self._events and self._events[0][0] <= self.now:
            heappop(self._events)[2]()

    def ask(self, sale: SaleId, user: int, web: int | None = None, then: Callable[[], None] | None = None) -> None:
        web = self.random.randrange(self.webs) if web is None else web
        call = Call(sale, user, web, self.now)
        self._then[call] = then if then is not None else _nothing
        try:
            if self.admits:
                call.ticket = self._admissions[web].admit(sale, user, self.now)
            elif self._table[web] >= TABLE:
                raise Overloaded("the table is full")
        except Overloaded as error:
            del self._then[call]
            self.refused += 1
            seconds = (error.retry_after_seconds or 1.0) * (1 + self.random.random() / 2)  # the jitter of the answer
            self.retry_seconds.append(seconds)
            self._at(self.now + seconds, lambda: self.ask(sale, user, web, then))
            return
        self._table[web] += 1
        self._sale_waiting[sale] += 1
        self.waiting_max[sale] = max(self.waiting_max[sale], self._sale_waiting[sale])
        self._at(self.now + TIMEOUT, lambda: self._give_up(call))
        if (leader := self.leaders[sale]) is not None:
            self._at(self.now + TRANSPORT, lambda: leader.queue.append(call))

    def _reply(self, sale: SaleId, decided: list[Call]) -> None:
        for call in decided:
            if call.is_given_up:
                self.too_late += 1
                continue
            self.answered[sale] += 1
            self.answered_users[call.user] += 1
            self.by_second[int(self.now)] += 1
            self.by_web[call.web] += 1
            self.latencies.append(self.now - call.asked_at)
            self._leave(call, is_answered=True)

    def _give_up(self, call: Call) -> None:
        if call in self._then:
            call.is_given_up = True
            self.unanswered += 1
            self._leave(call, is_answered=False)

    def _leave(self, call: Call, *, is_answered: bool) -> None:
        self._table[call.web] -= 1
        self._sale_waiting[call.sale] -= 1
        if call.ticket is not None:
            call.ticket.done(self.now, is_answered=is_answered)
        self._then.pop(call)()

    def _at(self, when: float, action: Callable[[], None]) -> None:
        self._count += 1
        heappush(self._events, (when, self._count, action))


def _nothing() -> None:
    """Nobody asks again."""
