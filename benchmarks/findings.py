"""Everything that one run has found, as plain values: what `--json` writes and every report reads."""

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

QUIET_SHARE = 0.1
"""If others use more of the machine than this, the figures are doubtful, and the report says so."""
BUSY_SHARE = 0.8
"""A load generator that keeps its core busier than this may be the limit itself."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One load: what the buyers heard, and what every process used meanwhile, the load generator last.

    `others_cpu_seconds` is CPU that went to processes that are not ours, or was stolen from this machine.
    """

    load: LoadResult
    processes: list[Usage]
    window_seconds: float
    others_cpu_seconds: float

    def cpu_us_each(self, count: int) -> float | None:
        """CPU of the service and its stores for each of `count`, without the load generator's."""
        spent = [process.cpu_seconds for process in self.processes if process.name != GENERATOR]
        return 1e6 * sum(spent) / count if spent and count else None


@dataclass(slots=True)
class BaselineFigures:
    """How fast `server` (HANDLER or STOCK) answers a constant with as many processes as the service has."""

    server: str
    web: int
    clients: int
    measured: Measured
    requests_per_second: float = field(init=False)
    cpu_us_per_request: float | None = field(init=False)

    def __post_init__(self) -> None:
        self.requests_per_second = self.measured.load.responses_per_second
        self.cpu_us_per_request = self.measured.cpu_us_each(self.measured.load.responses)


@dataclass(slots=True)
class SaleFigures:
    """One whole sale. `kind` is what it is compared by: clients, size or rate.

    `seconds` runs to the last purchase that a buyer heard of. `ratios` are shares of what each baseline server reached.
    """

    kind: str
    title: str
    web: int
    clients: int
    size: int
    rate: float | None
    counts: Counts
    measured: Measured
    ratios: Mapping[str, float]
    sales: int = field(init=False)
    seconds: float = field(init=False)
    sales_per_second: float = field(init=False)
    refused: int = field(init=False)
    cpu_us_per_sale: float | None = field(init=False)

    def __post_init__(self) -> None:
        load = self.measured.load
        self.sales = load.accepted["purchase"].count
        self.seconds = load.sold_seconds or load.seconds
        self.sales_per_second = self.sales / self.seconds if self.seconds else 0.0
        self.refused = sum(refusal.count for refusal in load.refusals)
        self.cpu_us_per_sale = self.measured.cpu_us_each(self.sales)

    @property
    def load(self) -> LoadResult:
        return self.measured.load


@dataclass(frozen=True, slots=True)
class RequestCost:
    """What one sort of request costs, by its outcome."""

    title: str
    outcome: str
    requests_per_second: float
    latency: Latency
    cpu_us_per_request: float | None


@dataclass(frozen=True, slots=True)
class CommitFigures:
    """One connection that commits `batch` rows at a time."""

    batch: int
    checkout_us_per_row: float
    purchase_us_per_row: float
    sales_per_second: float


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What the stores can do without the service."""

    commits: list[CommitFigures]
    round_trips: Mapping[str, Latency]
    valkey_version: str


@dataclass(frozen=True, slots=True)
class AuditResult:
    """`flash audit` of everything at the end."""

    is_clean: bool
    promises: int
    sales: int


@dataclass(slots=True)
class Findings:
    """One run. `wrong` names what is not true, `not_measured` what is missing and why, `notes` what casts doubt."""

    machine: Machine
    sales: list[SaleFigures] = field(default_factory=list)
    baselines: list[BaselineFigures] = field(default_factory=list)
    request_costs: list[RequestCost] = field(default_factory=list)
    ceilings: Ceilings | None = None
    audit: AuditResult | None = None
    wrong: list[str] = field(default_factory=list)
    not_measured: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def closed_loops(self) -> list[SaleFigures]:
        """The sales that differ in the number of clients or of web processes alone."""
        return [sale for sale in self.sales if sale.kind == "clients"]

    def ratios(self, requests_per_second: float, web: int, clients: int) -> dict[str, float]:
        """Those to the baselines of this run, with as many processes and clients."""
        same = [row for row in self.baselines if (row.web, row.clients) == (web, clients) and row.requests_per_second]
        return {row.server: requests_per_second / row.requests_per_second for row in same}

    def note_disturbances(self) -> None:
        """What a reader must know before believing a figure."""
        ours = [sale.measured for sale in self.sales if len(sale.measured.processes) > 1]
        available = sum(measured.window_seconds for measured in ours) * self.machine.cores
        share = sum(measured.others_cpu_seconds for measured in ours) / available if available else 0.0
        if share > QUIET_SHARE:
            text = f"{share:.0%} of its CPU time went to other processes"
            self.notes.append(f"the machine was not quiet: during the sales, {text}")
        busiest = max((sale.load.busy for sale in self.sales), default=0.0)
        if busiest > BUSY_SHARE:
            text = "it may have been the limit, not the service"
            self.notes.append(f"the load generator kept a core {busiest:.0%} busy: {text}")
        if lost := sum(row.measured.load.lost for row in self.baselines):
            self.notes.append(f"the baseline servers closed {lost:,} connections amid a request; these were repeated")

    def verdict(self) -> str:
        """One sentence on whether everything was true."""
        if self.wrong:
            return f"wrong: {len(self.wrong)} counts or promises do not hold"
        counts = f"all counts are right ({sum(sale.sales for sale in self.sales):,} sold in the measured sales)"
        if self.audit is None:
            return f"{counts}; no audit was made"
        return f"{counts}; audit clean: {self.audit.promises} promises, {self.audit.sales} sales"
