"""Everything that one run has found, as plain values: what `--json` writes and every report reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.load import LoadResult
from benchmarks.stats import Latency

GENERATOR = "load generator"
HANDLER, STOCK = "handler", "stock"
"""The baseline servers: the service's own HTTP side with nothing behind it, and Hypercorn as it comes."""
_QUIET_SHARE = 0.1
"""If others use more of the machine than this, the figures are doubtful, and the report says so."""
_BUSY_SHARE = 0.8
"""A load generator that keeps its core busier than this may be the limit itself."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process and its children have used. The peak is that of the largest; None where nobody keeps it."""

    name: str
    cpu_seconds: float
    memory_peak_bytes: int | None


@dataclass(frozen=True, slots=True)
class Counts:
    """What the database says a sale came to. `attempts` counts its checkouts by outcome."""

    sold: int = 0
    purchases: int = 0
    stock: int = 0
    attempts: Mapping[str, int] = field(default_factory=dict)
    checkout_commits: int = 0
    purchase_commits: int = 0


@dataclass(slots=True)
class Measured:
    """One load, and what every process used meanwhile, the load generator last.

    A sale's `kind` is what it is compared by: clients, size or rate. Its `seconds` run to the last purchase that a
    buyer heard of; `ratios` are shares of what each baseline server reached. `latency` is of the commonest answer.
    `others_cpu_seconds` went to processes that are not ours, or were stolen from this machine.
    """

    title: str
    web: int
    clients: int
    rate: float | None
    load: LoadResult
    processes: list[Usage]
    window_seconds: float
    others_cpu_seconds: float
    kind: str = ""
    size: int = 0
    counts: Counts = field(default_factory=Counts)
    ratios: dict[str, float] = field(default_factory=dict)
    sales: int = field(init=False)
    seconds: float = field(init=False)
    sales_per_second: float = field(init=False)
    requests_per_second: float = field(init=False)
    latency: Latency = field(init=False)
    cpu_us_per_sale: float | None = field(init=False)
    cpu_us_per_request: float | None = field(init=False)

    def __post_init__(self) -> None:
        load = self.load
        self.sales = load.accepted["purchase"].count
        self.seconds = load.sold_seconds or load.seconds
        self.sales_per_second = self.sales / self.seconds if self.seconds else 0.0
        self.requests_per_second = load.responses / load.seconds if load.seconds else 0.0
        self.latency = max((*load.accepted.values(), *load.refused.values()), key=lambda found: found.count)
        ours = 1e6 * sum(process.cpu_seconds for process in self.processes if process.name != GENERATOR)
        self.cpu_us_per_sale = ours / self.sales if ours and self.sales else None
        self.cpu_us_per_request = ours / load.responses if ours and load.responses else None


@dataclass(frozen=True, slots=True)
class Commits:
    """One connection that commits `batch` rows at a time."""

    batch: int
    checkout_us_per_row: float
    purchase_us_per_row: float
    sales_per_second: float


@dataclass(frozen=True, slots=True)
class Table:
    """What a section has found. The first cell of a row names it; None was not measured."""

    title: str
    heads: tuple[str, ...]
    rows: list[tuple[str | float | None, ...]]


@dataclass(slots=True)
class Findings:
    """`wrong` names what is not true, `not_measured` what is missing and why, `notes` what casts doubt."""

    facts: dict[str, str]
    sales: list[Measured] = field(default_factory=list)
    baselines: list[Measured] = field(default_factory=list)
    request_costs: list[Measured] = field(default_factory=list)
    commits: list[Commits] = field(default_factory=list)
    round_trips: dict[str, Latency] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    audit: str = "no audit was made"
    wrong: list[str] = field(default_factory=list)
    not_measured: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_sale(self, sale: Measured) -> None:
        """With its share of the rate of each baseline server that had as many processes and clients."""
        for row in self.baselines:
            if (row.web, row.clients) == (sale.web, sale.clients) and row.requests_per_second:
                sale.ratios[row.title] = sale.requests_per_second / row.requests_per_second
        self.sales.append(sale)

    def note_disturbances(self, cores: int) -> None:
        """What a reader must know before believing a figure."""
        ours = [sale for sale in self.sales if len(sale.processes) > 1]
        available = cores * sum(sale.window_seconds for sale in ours)
        if ours and (share := sum(sale.others_cpu_seconds for sale in ours) / available) > _QUIET_SHARE:
            self.notes.append(f"the machine was not quiet: others took {share:.0%} of its CPU time during the sales")
        busiest = max((sale.load.cpu_seconds / (sale.load.seconds or 1) for sale in self.sales), default=0)
        if busiest > _BUSY_SHARE:
            text = "it may have been the limit, not the service"
            self.notes.append(f"the load generator kept a core {busiest:.0%} busy: {text}")
        if lost := sum(row.load.lost for row in self.baselines):
            self.notes.append(f"the baseline servers closed {lost:,} connections amid a request; these were repeated")

    def remarks(self) -> list[str]:
        """What is wrong, what casts doubt and what is missing, most important first."""
        kinds = {"WRONG": self.wrong, "note": self.notes, "not measured": self.not_measured}
        return [f"{kind}: {text}" for kind, texts in kinds.items() for text in texts]

    def verdict(self) -> str:
        """Whether everything was true."""
        if self.wrong:
            return f"Wrong: {len(self.wrong)} counts or promises do not hold"
        return f"All counts are right ({sum(s.sales for s in self.sales):,} sold in the measured sales); {self.audit}"

    def headline(self) -> str:
        """The figures that one looks for first."""
        closed = [sale for sale in self.sales if sale.kind == "clients"]
        if not closed:
            return "No sale was measured."
        best = max(closed, key=lambda sale: sale.sales_per_second)
        p99, share = best.load.accepted["purchase"].p99_ms or 0, best.ratios.get(HANDLER, 0)
        cpu = f"; a sale took {best.cpu_us_per_sale:,.0f} µs of CPU" if best.cpu_us_per_sale else ""
        return (
            f"Fastest sale: {best.size:,} items with {best.clients:,} clients in {best.seconds:.2f} s, "
            f"{best.sales_per_second:,.0f} sales per second, each two durable requests{cpu}; the p99 of a purchase was "
            f"{p99:,.0f} ms; requests ran at {share:.0%} of what the HTTP handler does with a constant."
        )
