"""Named fakes of what the handlers ask. Each answers or raises what it was told to, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flash.actors.disk_space import DiskSpace, SheddingCheckouts
from flash.actors.event_hub import EventHub
from flash.actors.health_monitor import HealthMonitor
from flash.api.control import ControlRoom
from flash.api.event_stream import encode_event
from flash.api.limits import NO_LIMITS, RateLimits
from flash.api.routes import build_app
from flash.api.signed_buyers import SignedBuyers
from flash.codes import KEY_BYTES, CodeKeys, Codes
from flash.domain import (
    Attempt,
    CheckoutOutcome,
    Code,
    Command,
    ItemId,
    LegacyCode,
    MalformedAttempt,
    Outcome,
    Pause,
    RecordedAttempt,
    RecordedPause,
    Redemption,
    Refusal,
    Refused,
    Sale,
    SaleId,
)
from flash.errors import FlashError
from flash.http.message import Header, Request, Response
from tests.api import described
from tests.codes import a_code

CODES = Codes(CodeKeys({1: b"k" * KEY_BYTES}, 1, b"l" * KEY_BYTES))
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NEWER = Codes(CodeKeys({2: b"n" * KEY_BYTES}, 2))
CODE = a_code(7, item=101, user="zoë")
SALE = Sale(SaleId(1), NOON, ItemId(101), 3, 10, 1, is_open=True)


@dataclass
class FakeCheckouts:
    """Records every attempt with the outcome it is set to; a malformed one is always recorded as that."""

    outcome: RecordedAttempt | FlashError = field(default_factory=lambda: RecordedAttempt(CheckoutOutcome.ISSUED, CODE))
    asked: list[Attempt | MalformedAttempt] = field(default_factory=list)

    async def ask(self, attempt: Attempt | MalformedAttempt) -> RecordedAttempt:
        self.asked.append(attempt)
        if isinstance(self.outcome, FlashError):
            raise self.outcome
        if isinstance(attempt, MalformedAttempt):
            return RecordedAttempt(CheckoutOutcome.INVALID_REQUEST)
        return self.outcome


@dataclass
class FakeCodes:
    """Codes of which one key becomes known only when somebody asks for it."""

    codes: Codes = field(default_factory=lambda: CODES)
    asked: int = 0

    async def open(self, text: str) -> Code | LegacyCode | None:
        self.asked += 1
        return NEWER.open(text) or self.codes.open(text)


@dataclass
class FakePurchases:
    """A leader that decides what it is told to, and a database that knows `redemption` of every code."""

    outcome: Outcome | FlashError = field(default_factory=lambda: Refused(Refusal.SOLD_OUT))
    redemption: Redemption | FlashError = field(default_factory=lambda: Redemption(False, None))
    asked: list[Command] = field(default_factory=list)
    looked_up: list[Code] = field(default_factory=list)
    legacy: dict[LegacyCode, Code] = field(default_factory=dict)

    async def ask(self, command: Command) -> Outcome:
        self.asked.append(command)
        if isinstance(self.outcome, FlashError):
            raise self.outcome
        return self.outcome

    async def find(self, code: Code) -> Redemption:
        self.looked_up.append(code)
        if isinstance(self.redemption, FlashError):
            raise self.redemption
        return self.redemption

    async def find_legacy(self, legacy: LegacyCode) -> Code | None:
        return self.legacy.get(legacy)


@dataclass
class FakeStore:
    """What visitors read: `sales` newest first, and which items have been sold. `error` is raised by everything."""

    sales: list[Sale] = field(default_factory=lambda: [SALE])
    sold: set[int] = field(default_factory=lambda: {102})
    error: FlashError | None = None

    @property
    def age_seconds(self) -> float:
        self._fail()
        return 0.5

    def items_age_seconds(self, sale_id: SaleId) -> float:
        return self.age_seconds

    @property
    def now(self) -> datetime:
        self._fail()
        return NOON

    def version(self, sale_id: SaleId) -> int:
        return len(self.sold)

    async def list_sales(self, before: SaleId | None, limit: int, *, with_sold_out: bool) -> list[Sale]:
        self._fail()
        older = [sale for sale in self.sales if before is None or sale.id < before]
        return [sale for sale in older if with_sold_out or sale.remaining][:limit]

    def unsold_sales(self) -> list[Sale]:
        self._fail()
        return [sale for sale in self.sales if sale.remaining]

    def sold_flags(self, sale_id: SaleId) -> bytes | None:
        sale = next((sale for sale in self.unsold_sales() if sale.id == sale_id), None)
        return None if sale is None else bytes(item in self.sold for item in sale.item_ids)

    async def find_sale(self, sale_id: SaleId) -> Sale | None:
        self._fail()
        return next((sale for sale in self.sales if sale.id == sale_id), None)

    async def current_sale(self) -> Sale | None:
        self._fail()
        return next((sale for sale in self.sales if sale.is_open), None)

    async def find_item(self, item_id: ItemId) -> tuple[Sale, bool] | None:
        self._fail()
        found = next((sale for sale in self.sales if item_id in sale.item_ids), None)
        return None if found is None else (found, item_id not in self.sold)

    async def list_items(
        self, sale_id: SaleId, after: ItemId, limit: int, *, only_available: bool
    ) -> list[tuple[ItemId, bool]]:
        sale = await self.find_sale(sale_id)
        assert sale is not None
        ids = [ItemId(n) for n in sale.item_ids if n > after and not (only_available and n in self.sold)]
        return [(item, item not in self.sold) for item in ids[:limit]]

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


@dataclass
class FakeRedis:
    error: FlashError | None = None

    async def write(self) -> None:
        if self.error is not None:
            raise self.error


class FakeControlState:
    async def state(self) -> dict[str, Any]:
        return {"state": {"level": "ok"}}


@dataclass
class FakePauses:
    """Knows the sale 1, and remembers what became of it."""

    error: FlashError | None = None
    pause_in_force: Pause | None = None
    asked: list[tuple[str, SaleId, str, str]] = field(default_factory=list)

    async def pause(self, sale_id: SaleId, by: str, reason: str) -> Pause | None:
        self._note("pause", sale_id, by, reason)
        if sale_id != 1:
            return None
        self.pause_in_force = self.pause_in_force or Pause(by, NOON)
        return self.pause_in_force

    async def resume(self, sale_id: SaleId, by: str, reason: str) -> bool:
        self._note("resume", sale_id, by, reason)
        self.pause_in_force = None
        return sale_id == 1

    async def recorded(self, limit: int) -> list[RecordedPause]:
        if self.error is not None:
            raise self.error
        said = [RecordedPause(sale_id, action, NOON, by, reason, 7) for action, sale_id, by, reason in self.asked]
        return said[::-1][:limit]

    def _note(self, action: str, sale_id: SaleId, by: str, reason: str) -> None:
        self.asked.append((action, sale_id, by, reason))
        if self.error is not None:
            raise self.error


class FakeShop:
    """The application as a web process builds it, with a fake behind every handler.

    Every answer must be as `flash/api/openapi` describes it.
    """

    def __init__(
        self,
        limits: RateLimits = NO_LIMITS,
        control: ControlRoom | None = None,
        cors_origins: Collection[str] = (),
        buyers: SignedBuyers | None = None,
        store: Any = None,
    ) -> None:
        self.codes = FakeCodes()
        self.checkouts = FakeCheckouts()
        self.purchases = FakePurchases()
        self.store: FakeStore = store or FakeStore()
        self.redis = FakeRedis()
        self.is_draining = False
        self.monitor = HealthMonitor(self._has_current_sale, self.redis.write)
        self.free_bytes: int | None = None
        self.disk = DiskSpace(self._measure_free, 1_000)
        self.events = EventHub(self.store, encode_event, new_name=lambda: b"log", viewers_max=2, random=lambda: 0.5)
        self.app = build_app(
            codes=self.codes,
            checkouts=SheddingCheckouts(self.checkouts, self.disk),
            purchases=self.purchases,
            store=self.store,
            events=self.events,
            store_health=self.monitor,
            disk_health=self.disk,
            is_draining=lambda: self.is_draining,
            body_seconds=1,
            code_seconds=600,
            limits=limits,
            control=control,
            cors_origins=cors_origins,
            buyers=buyers,
        )

    async def _measure_free(self) -> int | None:
        return self.free_bytes

    async def _has_current_sale(self) -> bool:
        return await self.store.current_sale() is not None

    async def request(self, method: str, target: str, *headers: Header) -> Response:
        path, _, query = target.encode().partition(b"?")
        answer = await self.app.respond(Request(method, "", path, query, list(headers)))
        assert isinstance(answer, Response)
        described.check(method, target, answer)
        return answer
