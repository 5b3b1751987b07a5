"""What goes into the load generator, one `Plan`, and what comes out of it, one `LoadResult`."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.load.buyers import SingleRequests, WholeSale
from benchmarks.stats import Latency

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """A closed loop of `clients`, or an open loop of `visits` at `rate` per second if that is set.

    It ends when the buyers have nothing left to do, or after `seconds`.
    """

    buyers: WholeSale | SingleRequests
    addresses: list[Address]
    clients: int
    seconds: float = float("inf")
    rate: float | None = None
    visits: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """`count` final answers of one kind that were not 200; `code` is that of the problem."""

    kind: str
    status: int
    code: str
    count: int


@dataclass(slots=True)
class LoadResult:
    """What the buyers heard. `rejected` are answers 503, `lost` requests on connections that the server closed.

    `sold_seconds` runs from the first request to the answer to the last accepted purchase.
    """

    is_finished: bool
    seconds: float
    sold_seconds: float | None
    responses: int
    accepted: dict[str, Latency]
    refused: dict[str, Latency]
    refusals: list[Refusal]
    rejected: int
    lost: int
    sold_over_time: list[tuple[float, int]]
    cpu_seconds: float
    memory_peak_bytes: int | None
    codes: list[bytes]

    @property
    def busy(self) -> float:
        """The share of one core that the generator itself used."""
        return self.cpu_seconds / self.seconds if self.seconds else 0.0

    @property
    def responses_per_second(self) -> float:
        return self.responses / self.seconds if self.seconds else 0.0
