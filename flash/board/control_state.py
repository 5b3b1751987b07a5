"""What `GET /control/state` answers: the board, the sales that this process sees, and what is to be said about them.

It must answer in every fault, or nobody would see which it is. What cannot be asked is left out, and the store that
could not answer is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from flash.board.diagnosis import CurrentSale, Facts, diagnose
from flash.board.history import History, Second
from flash.board.messages import KEPT_SECONDS, Card, Led
from flash.board.reader import BoardReader, BoardView
from flash.domain import Pause, Sale, SaleId
from flash.errors import FlashError
from flash.metrics.counts import SECONDS_BOUNDS, quantile

SALES_MAX = 50
"""Sales that are listed, newest first."""
_SETTLING_SECONDS = 2
"""The latest seconds are left out: not all samples of them are there."""
_LATELY_SECONDS = 10
"""What the sentence is about."""


class Sales(Protocol):
    @property
    def now(self) -> datetime: ...
    async def current_sale(self) -> Sale | None: ...
    async def list_sales(self, before: SaleId | None, limit: int, *, with_sold_out: bool) -> list[Sale]: ...


class StoreErrors(Protocol):
    @property
    def database_error(self) -> str | None: ...
    @property
    def redis_error(self) -> str | None: ...


class Disk(Protocol):
    @property
    def is_low(self) -> bool: ...


class Pauses(Protocol):
    async def list_paused(self, sale_ids: Collection[SaleId]) -> Mapping[SaleId, Pause]: ...


@dataclass(frozen=True, slots=True)
class _Seen:
    """The sales at `now`: the current one, those to list, and which of them are paused."""

    now: datetime
    current: Sale | None = None
    sales: list[Sale] = field(default_factory=list)
    paused: Mapping[SaleId, Pause] = field(default_factory=dict)


class ControlState:
    """`deployment_id` and `version` are those of this process."""

    def __init__(
        self,
        reader: BoardReader,
        sales: Sales,
        stores: StoreErrors,
        disk: Disk,
        pauses: Pauses,
        *,
        version: str,
        deployment_id: str,
    ) -> None:
        self._reader = reader
        self._sales = sales
        self._stores = stores
        self._disk = disk
        self._pauses = pauses
        self._version = version
        self._deployment_id = deployment_id

    async def state(self) -> dict[str, Any]:
        """The whole of it. Raises nothing that a store does."""
        board, errors = await self._read_board()
        seen = await self._look_at_sales(board)
        clock = _Clock(seen.now, board.now_ms)
        leaders = _leaders(board)
        seconds = board.history.seconds(clock.first_second, KEPT_SECONDS)
        diagnosis = diagnose(self._facts(board, leaders, errors, seconds, seen))
        return {
            "now": seen.now,
            "version": self._version,
            "deployment": self._deployment_id,
            "state": {"level": diagnosis.level, "text": diagnosis.text, "action": diagnosis.action},
            "processes": [_process_json(card, board.history, clock) for card in _in_order(board)],
            "sales": [_sale_json(sale, leaders.get(sale.id), seen.paused.get(sale.id), clock) for sale in seen.sales],
            "series": _series(seconds, clock),
            "marks": self._marks(board, clock),
            "stores": {name: _store_json(errors.get(name)) for name in ("database", "redis")},
        }

    async def _read_board(self) -> tuple[BoardView, dict[str, str]]:
        """The board, empty if it cannot be read, and what is wrong with the stores."""
        errors: dict[str, str] = {}
        try:
            board = await self._reader.read()
        except FlashError as error:
            board, errors["redis"] = BoardView(0.0, History(), {}), str(error)
        for card in board.cards.values():
            errors.update((store, f"{card.label}: {error}") for store, error in card.errors.items())
        for store, wrong in (("database", self._stores.database_error), ("redis", self._stores.redis_error)):
            if wrong is not None:
                errors[store] = wrong
        return board, {store: error.partition("\n")[0] for store, error in errors.items()}

    async def _look_at_sales(self, board: BoardView) -> _Seen:
        """What the database knows. Without it nothing sells, and what is paused need not be known."""
        try:
            now, current = self._sales.now, await self._sales.current_sale()
            sales = await self._sales.list_sales(None, SALES_MAX, with_sold_out=False)
        except FlashError:
            return _Seen(datetime.fromtimestamp(board.now_ms / 1e3, UTC) if board.now_ms else datetime.now(UTC))
        if current is not None and all(sale.id != current.id for sale in sales):
            sales = sorted([*sales, current], key=lambda sale: sale.starts_at, reverse=True)
        try:
            paused = await self._pauses.list_paused([sale.id for sale in sales])
        except FlashError:
            paused = {}
        return _Seen(now, current, sales, paused)

    def _facts(
        self,
        board: BoardView,
        leaders: Mapping[int, tuple[Card, Led]],
        errors: Mapping[str, str],
        seconds: list[Second],
        seen: _Seen,
    ) -> Facts:
        lately = seconds[-_LATELY_SECONDS:]
        p99 = quantile(_summed(lately), SECONDS_BOUNDS, 0.99)
        outcomes: Counter[str] = Counter()
        for second in lately:
            outcomes.update(second.outcomes)
        opening = [sale.starts_at for sale in seen.sales if sale.starts_at > seen.now]
        sale = seen.current
        return Facts(
            errors,
            None if sale is None else _current_sale(sale, sale.id in leaders, seen.paused.get(sale.id)),
            is_disk_low=self._disk.is_low,
            inventory_count=sum(card.role == "inventory" for card in board.cards.values()),
            lost=[self._reader.label(name) for name, _ in board.history.lost(board.now_ms)],
            versions=sorted({card.version for card in board.cards.values()}),
            sales_per_second=sum(second.sold for second in lately) / len(lately),
            p99_ms=None if p99 is None else p99 * 1e3,
            outcomes=outcomes,
            opens_in_seconds=(min(opening) - seen.now).total_seconds() if opening else None,
        )

    def _marks(self, board: BoardView, clock: _Clock) -> list[dict[str, Any]]:
        marks = [(at, mark.kind, mark.text) for at, mark in board.history.marks(board.now_ms)]
        marks += [
            (at, "process_lost", f"{self._reader.label(name)} was not heard any more")
            for name, at in board.history.lost(board.now_ms)
        ]
        return [{"at": clock.at(at), "kind": kind, "text": text} for at, kind, text in sorted(marks)]


class _Clock:
    """Redis's times, as the clock that the answer is by shows them."""

    def __init__(self, now: datetime, redis_ms: float) -> None:
        self._now = now
        self._redis_ms = redis_ms
        self.first_second = int(redis_ms // 1000) - KEPT_SECONDS - _SETTLING_SECONDS
        """That of the series, by Redis's clock."""

    def at(self, redis_ms: float) -> datetime:
        return self._now - timedelta(milliseconds=self._redis_ms - redis_ms)

    def ago(self, seconds: float) -> datetime:
        return self._now - timedelta(seconds=seconds)


def _current_sale(sale: Sale, has_leader: bool, paused: Pause | None) -> CurrentSale:
    return CurrentSale(
        sale.id,
        is_sold_out=not sale.remaining,
        has_leader=has_leader,
        is_paused=paused is not None,
        paused_by="" if paused is None else paused.by,
    )


def _sale_json(sale: Sale, leader: tuple[Card, Led] | None, paused: Pause | None, clock: _Clock) -> dict[str, Any]:
    return {
        "id": sale.id,
        "starts_at": sale.starts_at,
        "stock": sale.stock,
        "sold": sale.sold,
        "status": sale.status,
        "leader": None if leader is None else _leader_json(*leader, clock),
        "paused": None if paused is None else {"by": paused.by, "at": paused.at},
    }


def _leaders(board: BoardView) -> dict[int, tuple[Card, Led]]:
    """Who leads which sale. Of two that say so, the one of the higher epoch does."""
    leaders: dict[int, tuple[Card, Led]] = {}
    for card in board.cards.values():
        for led in card.led:
            if led.sale_id not in leaders or leaders[led.sale_id][1].epoch < led.epoch:
                leaders[led.sale_id] = card, led
    return leaders


def _in_order(board: BoardView) -> list[Card]:
    """By role, the oldest first."""
    return sorted(board.cards.values(), key=lambda card: (card.role != "web", -card.age_seconds, card.pid))


def _process_json(card: Card, history: History, clock: _Clock) -> dict[str, Any]:
    requests, sales = history.processes[card.name].rates()
    return {
        "role": card.role,
        "host": card.host,
        "pid": card.pid,
        "version": card.version,
        "started_at": clock.ago(card.age_seconds),
        "age_seconds": round(card.age_seconds),
        "requests_per_second": round(requests, 1),
        "sales_per_second": round(sales, 1),
        "queues": [
            {
                "name": queue.name,
                "waiting": queue.waiting,
                "estimated_wait_ms": None if queue.wait_seconds is None else round(queue.wait_seconds * 1e3, 1),
            }
            for queue in card.queues
        ],
    }


def _leader_json(card: Card, led: Led, clock: _Clock) -> dict[str, Any]:
    return {"host": card.host, "pid": card.pid, "epoch": led.epoch, "since": clock.ago(led.for_seconds)}


def _series(seconds: list[Second], clock: _Clock) -> dict[str, Any]:
    names = sorted({name for second in seconds for name in second.outcomes})
    return {
        "from": clock.at(clock.first_second * 1e3),
        "step_seconds": 1,
        "sales": [round(second.sold, 1) for second in seconds],
        "p50_ms": [_quantile_ms(second, 0.5) for second in seconds],
        "p99_ms": [_quantile_ms(second, 0.99) for second in seconds],
        "outcomes": {name: [round(second.outcomes.get(name, 0.0), 1) for second in seconds] for name in names},
    }


def _quantile_ms(second: Second, share: float) -> float | None:
    found = quantile(second.purchase_seconds, SECONDS_BOUNDS, share)
    return None if found is None else round(found * 1e3, 2)


def _summed(seconds: list[Second]) -> list[float]:
    return [sum(bucket) for bucket in zip(*(second.purchase_seconds for second in seconds), strict=True)]


def _store_json(error: str | None) -> dict[str, str]:
    return {"status": "ok"} if error is None else {"status": "error", "error": error}
