"""Everything that one run of the suite has found, as plain values: what `--json` writes and every report reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.load.messages import LoadResult
from benchmarks.machine import Machine
from benchmarks.oracle import Counts
from benchmarks.stats import Latency
from benchmarks.usage import Usage

GENERATOR = "load generator"
HANDLER, STOCK = "handler", "stock"
"""The baseline servers: the service's own HTTP side with nothing behind it, and Hypercorn as it comes."""
_QUIET_SHARE = 0.1
"""If others use more of the machine than this, the figures are doubtful, and the report says so."""
_BUSY_SHARE = 0.8
"""A load generator that keeps its core busier than this may be the limit itself."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One load, and what every process used meanwhile, the load generator last.

    `others_cpu_seconds` went to processes that are not ours, or were stolen from this machine.
    """

    web: int
    clients: int
    load: LoadResult
    processes: list[Usage]
    window_seconds: float
    others_cpu_seconds: float

    def cpu_us_each(self, count: int) -> float | None:
        """CPU of the service and its stores for each of `count`, without the load generator's."""
        spent = [process.cpu_seconds for process in self.processes if process.name != GENERATOR]
        return 1e6 * sum(spent) / count if spent and count else None


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests of one sort: to a baseline server, or of one outcome to the service."""

    title: str
    latency: Latency
    requests_per_second: float
    cpu_us_per_request: float | None
    measured: Measured

    @classmethod
    def of(cls, title: str, measured: Measured) -> Requests:
        load = measured.load
        latency = max((*load.accepted.values(), *load.refused.values()), key=lambda found: found.count)
        return cls(title, latency, load.responses_per_second, measured.cpu_us_each(load.responses), measured)


@dataclass(slots=True)
class Sale:
    """One whole sale. `kind` is what it is compared by: clients, size or rate.

    `seconds` runs to the last purchase that a buyer heard of. `ratios` are shares of what each baseline server reached.
    """

    kind: str
    size: int
    rate: float | None
    counts: Counts
    measured: Measured
    ratios: Mapping[str, float]
    sales: int = field(init=False)
    seconds: float = field(init=False)
    sales_per_second: float = field(init=False)
    cpu_us_per_sale: float | None = field(init=False)

    def __post_init__(self) -> None:
        self.sales = self.load.accepted["purchase"].count
        self.seconds = self.load.sold_seconds or self.load.seconds
        self.sales_per_second = self.sales / self.seconds if self.seconds else 0.0
        self.cpu_us_per_sale = self.measured.cpu_us_each(self.sales)

    @property
    def load(self) -> LoadResult:
        return self.measured.load


@dataclass(frozen=True, slots=True)
class Commits:
    """One connection that commits `batch` rows at a time."""

    batch: int
    checkout_us_per_row: float
    purchase_us_per_row: float

    @property
    def sales_per_second(self) -> float:
        return 1e6 / (self.checkout_us_per_row + self.purchase_us_per_row)


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What the stores can do without the service."""

    commits: list[Commits] = field(default_factory=list)
    round_trips: Mapping[str, Latency] = field(default_factory=dict)
    valkey_version: str = ""


@dataclass(slots=True)
class Findings:
    """`wrong` names what is not true, `not_measured` what is missing and why, `notes` what casts doubt."""

    machine: Machine
    sales: list[Sale] = field(default_factory=list)
    baselines: list[Requests] = field(default_factory=list)
    request_costs: list[Requests] = field(default_factory=list)
    ceilings: Ceilings = field(default_factory=Ceilings)
    audit: str | None = None
    wrong: list[str] = field(default_factory=list)
    not_measured: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def ratios(self, measured: Measured) -> dict[str, float]:
        """Its responses per second as a share of each baseline's, with as many processes and clients."""
        place = (measured.web, measured.clients)
        same = [row for row in self.baselines if (row.measured.web, row.measured.clients) == place]
        rate = measured.load.responses_per_second
        return {row.title: rate / row.requests_per_second for row in same if row.requests_per_second}

    def note_disturbances(self) -> None:
        """What a reader must know before believing a figure."""
        ours = [sale.measured for sale in self.sales if len(sale.measured.processes) > 1]
        available = sum(measured.window_seconds for measured in ours) * self.machine.cores
        share = sum(measured.others_cpu_seconds for measured in ours) / available if available else 0.0
        if share > _QUIET_SHARE:
            text = f"{share:.0%} of its CPU time went to other processes"
            self.notes.append(f"the machine was not quiet: during the sales, {text}")
        busiest = max((sale.load.busy for sale in self.sales), default=0.0)
        if busiest > _BUSY_SHARE:
            text = "it may have been the limit, not the service"
            self.notes.append(f"the load generator kept a core {busiest:.0%} busy: {text}")
        if lost := sum(row.measured.load.lost for row in self.baselines):
            self.notes.append(f"the baseline servers closed {lost:,} connections amid a request; these were repeated")

    def verdict(self) -> str:
        """One sentence on whether everything was true."""
        if self.wrong:
            return f"Wrong: {len(self.wrong)} counts or promises do not hold"
        sold = sum(sale.sales for sale in self.sales)
        return f"All counts are right ({sold:,} sold in the measured sales); {self.audit or 'no audit was made'}"
