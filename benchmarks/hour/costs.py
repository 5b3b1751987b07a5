"""What each step takes, in seconds of a core unless it says otherwise, and how many of each part there are.

The costs are those of docs/benchmarks.md: one web process, 256 clients, on a core of an AMD EPYC. What a run on one
machine cannot measure is assumed, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass

MICROSECOND = 1e-6


@dataclass(frozen=True, slots=True)
class Costs:
    web_checkout: float = 46 * MICROSECOND
    web_purchase: float = 70 * MICROSECOND
    """Both together: 0.58 s of the web process for 5,000 sales, divided as the table of refusals divides them."""
    web_refusal: float = 30 * MICROSECOND
    """A constant answer of the service's HTTP side."""
    leader_purchase: float = 16 * MICROSECOND
    redis_purchase: float = 6 * MICROSECOND
    """A command, its reply, and their part of the batches that carry them."""
    statement: float = 290 * MICROSECOND
    statement_row: float = 8 * MICROSECOND
    """PostgreSQL, 422 µs for a commit of one row and 8 for each further one, of which `sync` is not CPU."""
    sync: float = 130 * MICROSECOND
    """One synced write of the log; all commits that wait share it. This is elapsed time, of the disk."""
    log_bytes_row: int = 500
    """Assumed: the row, its index entries and their part of full pages."""
    log_bytes_second: float = 500e6
    """Assumed: what the disk of the log takes in a second."""
    hop: float = 300 * MICROSECOND
    """Assumed: a message from one host to another, elapsed."""


@dataclass(frozen=True, slots=True)
class Size:
    buyers: int = 1_000_000
    arrive_within: float = 1.0
    """Seconds in which all of them come, evenly."""
    stock: int = 10_000
    web_hosts: int = 50
    web_cores: int = 4
    """Web processes on each host, one for each core."""
    postgres_cores: int = 16
    window: int = 500
    """Purchases that a web process lets in before it knows how long they wait (`FLASH_PURCHASE_BATCH_MAX`)."""
    patience: float = 60.0
    """Seconds after which a buyer who was refused goes away."""

    @property
    def web_processes(self) -> int:
        return self.web_hosts * self.web_cores
