"""What a seed stands for. A plan is data: it makes the same run every time, and some of its faults a smaller one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

PAUSES = ("pause", "pause web", "pause and forget")
"""Some of these last beyond the end of all other faults: the process wakes up in another world."""
PAUSE_SECONDS_MAX = 30.0
_LONG_PAUSE_SHARE = 0.1
FAULTS_BEGIN = 0.4
FAULTS_END = 5.0
"""Virtual seconds. After the end everything heals, and the sales must sell out."""

REQUEST_SECONDS = 5.0
_SLOW_SECONDS = 0.1
_MANY_SALES_SHARE = 0.08
"""Each such run costs as much as several others."""

HOST_FAULTS = ("kill", "stop", "pause", "pause", "cut redis", "cut postgres", "pause and forget", "lease expires early")
WEB_FAULTS = ("kill web", "stop web", "pause web", "cut web")
UPGRADE_FAULTS = ("upgrade", "upgrade", "upgrade web", "kill")
OPERATOR_FAULTS = ("pause sale", "pause sale", "disk full", "kill")
REDIS_FAULTS = (
    "freeze redis",
    "restart redis",
    "flush redis",
    "demote redis",
    "lease expires early",
    "lease expires late",
    "set redis clock",
    "forge a command",
    "wrong type",
)
POSTGRES_FAULTS = ("freeze postgres", "restart postgres", "replace postgres", "freeze postgres")
NETWORK_FAULTS = ("lossy", "lossy redis", "lossy postgres", "slow")


@dataclass(frozen=True)
class Fault:
    """`which` chooses the victim: if it is odd, a leader. `seconds`: how long it lasts."""

    at: float
    kind: str
    which: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.at:6.3f} {self.kind} #{self.which} for {self.seconds:.3f} s"


@dataclass(frozen=True)
class Plan:
    seed: int
    inventories: int
    webs: int
    buyers: int
    stock: int
    user_limit: int
    period_seconds: int
    batch_max: int
    delay_seconds: float
    think_seconds: float
    request_seconds: float
    sales: int
    """How many are open at the beginning, each with the same stock."""
    one_at_a_time: bool
    """Whether buyers want the newest sale first, so that the others are left alone for a while."""
    faults: tuple[Fault, ...]

    @property
    def is_gentle(self) -> bool:
        """Whether only leaders are lost, so that every purchase can be answered in time by a successor."""
        return self.request_seconds > REQUEST_SECONDS


def plan_of(seed: int) -> Plan:
    """A third of the plans only loses leaders; the others have up to eight faults of any kind. Few have many sales."""
    random, also = Random(seed), Random(f"also {seed}")
    is_gentle = random.random() < 0.3
    kinds = ("kill", "stop") if is_gentle else _kinds(random)
    inventories = random.randint(2, 3)
    sales = also.randint(3, 12) if also.random() < _MANY_SALES_SHARE else 1
    stock = random.randint(3, 8)
    if sales > 1:
        stock = min(stock, 4)
    user_limit = random.randint(1, 3)
    # Who loses nothing but leaders must not lose messages to time-outs either.
    delay_seconds = random.choice((0.001, 0.02, 0.02 if is_gentle else _SLOW_SECONDS))
    # What needs two faults at once is met only if they come close together.
    begin = random.uniform(FAULTS_BEGIN, 2.0)
    end = begin + random.choice((0.5, 1.0, 3.0))
    faults = sorted(
        (
            Fault(
                round(random.uniform(begin, end), 3),
                random.choice(kinds),
                random.randrange(6),
                round(random.choice((0.05, 0.3, 1.0, 3.0, 5.0)) * random.uniform(0.5, 1.5), 3),
            )
            for _ in range(random.randint(1, 2 if is_gentle else 8))
        ),
        key=lambda fault: fault.at,
    )
    faults = [_perhaps_long(fault, also) for fault in faults]
    return Plan(
        seed,
        inventories,
        webs=random.randint(1, 2),
        buyers=stock // user_limit + random.randint(2, 4),
        stock=stock,
        user_limit=user_limit,
        # A slow leader sells no sale out before the next one opens.
        period_seconds=3_600 if delay_seconds == _SLOW_SECONDS else random.choice((3_600, 6)),
        batch_max=random.choice((1, 3, 500)),
        delay_seconds=delay_seconds,
        think_seconds=random.choice((0.3, 0.7, 1.5)),
        # Two lost leaders in a row cost two leases, and who waits longer than that is answered.
        request_seconds=12.0 if is_gentle else random.choice((2.0, 3.5, REQUEST_SECONDS)),
        sales=sales,
        one_at_a_time=sales > 1 and also.random() < 0.5,
        faults=tuple(faults),
    )


def _perhaps_long(fault: Fault, random: Random) -> Fault:
    if fault.kind in PAUSES and random.random() < _LONG_PAUSE_SHARE:
        return replace(fault, seconds=round(random.uniform(FAULTS_END, PAUSE_SECONDS_MAX), 3))
    return fault


def _kinds(random: Random) -> tuple[str, ...]:
    """Most plans mix few kinds: what only two faults together show is met sooner."""
    groups = (
        HOST_FAULTS,
        WEB_FAULTS,
        REDIS_FAULTS,
        POSTGRES_FAULTS,
        NETWORK_FAULTS,
        OPERATOR_FAULTS,
        UPGRADE_FAULTS,
    )
    chosen = random.sample(groups, random.choice((1, 2, 2, len(groups))))
    return tuple(kind for group in chosen for kind in group)
