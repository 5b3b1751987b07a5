"""Wrong programs. Each is the real one with one rule broken, in the way in which people break it.

A mutant replaces one attribute for as long as its block lasts. `tests/simulation/test_mutants.py` shows that the
checks catch each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from typing import Any

import trio

from flash.actors.inventory import InventoryActor
from flash.actors.purchase_router import PurchaseRouter, SoldOutCache
from flash.domain import Approved, CheckoutId, Command, Confirmed, Epoch, Refusal, Refused, Sale, SaleId, Term
from flash.errors import FlashError, OutcomeUnknown, TermEnded, Unavailable
from flash.inventory import Inventory
from flash.purchase_rpc.client import PurchaseClient
from flash.purchase_rpc.inbox import Inbox
from flash.purchase_rpc.records import Record
from flash.purchase_rpc.server import PurchaseServer
from flash.testing.twins.database import DatabaseTwin
from tests.simulation import hosts, rpc_mutants, stores

Patch = tuple[object, str, Any]


def no_fence() -> list[Patch]:
    """Any leader may sell, also one that was deposed."""

    def confirm(
        self: DatabaseTwin, term: Term, sold_before: int, approved: Sequence[Approved], redeemed: Sequence[CheckoutId]
    ) -> Confirmed:
        sale = self._sales[term.sale_id]
        unfenced = Term(term.sale_id, Epoch(sale.epoch), sale.token)
        return _CONFIRM(self, unfenced, len(sale.purchases), approved, redeemed)

    return [(DatabaseTwin, "_confirm", confirm)]


def row_count_ignored() -> list[Patch]:
    """The statement that sells changes nothing, and its leader answers as if it had."""

    async def confirm(
        self: Any, term: Term, sold_before: int, approved: Sequence[Approved], redeemed: Sequence[CheckoutId]
    ) -> Confirmed:
        try:
            return await _ASK_CONFIRM(self, term, sold_before, approved, redeemed)
        except TermEnded:
            database: DatabaseTwin = self._twin
            sold = [database._purchase(a, database.now()) for a in approved if database._row(a.code)]
            return Confirmed(database.now(), sold, [], []) if len(sold) == len(approved) else await trio.sleep_forever()

    return [(stores.Database, "confirm", confirm)]


def answer_before_commit() -> list[Patch]:
    """The buyer hears "yes" while the statement is under way."""

    async def confirm(
        self: Any, term: Term, sold_before: int, approved: Sequence[Approved], redeemed: Sequence[CheckoutId]
    ) -> Confirmed:
        database: DatabaseTwin = self._twin
        if not approved or redeemed:
            return await _ASK_CONFIRM(self, term, sold_before, approved, redeemed)
        trio.lowlevel.spawn_system_task(_commit_later, self, term, sold_before, approved)
        sold = [database._purchase(a, database.now()) for a in approved]
        return Confirmed(database.now(), sold, [], [])

    return [(stores.Database, "confirm", confirm)]


async def _commit_later(self: Any, term: Term, sold_before: int, approved: Sequence[Approved]) -> None:
    with suppress(FlashError):  # that is the mutant: nobody looks
        await _ASK_CONFIRM(self, term, sold_before, approved, [])


def unknown_taken_for_a_rollback() -> list[Patch]:
    """After a commit without an answer the buyers hear at once that nothing was stored."""

    async def decide(self: Any, commands: Sequence[Command]) -> list[Any]:
        before = deepcopy(self._inventory)
        try:
            return await _ACTOR_DECIDE(self, commands)
        except OutcomeUnknown:
            self._inventory = before
            return [Refused(Refusal.NO_ROOM) for _ in commands]

    async def send(self: PurchaseServer, *arguments: Any) -> None:
        if (tell := await _SEND(self, *arguments)) is not None:
            await tell()

    return [(InventoryActor, "_decide", decide), (PurchaseServer, "send", send)]


def unknown_told_as_unavailable() -> list[Patch]:
    """Who was not answered is told that nothing was started."""

    def give_up(self: PurchaseClient, records: Any, reason: str) -> None:
        for record in records:
            record.give_up(Unavailable(reason))

    return [(PurchaseClient, "_give_up", give_up)]


def epoch_counted_in_redis() -> list[Patch]:
    """Epochs come from an INCR, and nothing but the epoch fences: a Redis that forgets gives them out again."""

    async def begin_term(self: Any, sale_id: SaleId) -> tuple[Term, Sale, Any]:
        redis = self._stores.redis.streams
        key = f"epoch:{sale_id}"
        epoch = int(redis._find(key.encode()) or b"0") + 1
        redis.perform(("SET", key, str(epoch)))
        term, sale, now = await _ASK_BEGIN(self, sale_id)
        counted = Term(sale_id, Epoch(epoch), b"%d" % epoch)
        row = self._twin._sales[sale_id]
        row.epoch, row.token = counted.epoch, counted.token
        self._twin.terms[sale_id] = counted
        del term
        return counted, sale, now

    def confirm(
        self: DatabaseTwin, term: Term, sold_before: int, approved: Sequence[Approved], redeemed: Sequence[CheckoutId]
    ) -> Confirmed:
        return _CONFIRM(self, term, len(self._sales[term.sale_id].purchases), approved, redeemed)

    return [(stores.Database, "begin_term", begin_term), (DatabaseTwin, "_confirm", confirm)]


def pending_commands_skipped() -> list[Patch]:
    """A new leader reads only what comes after its take-over."""

    def position(self: Inbox, now: float) -> bytes:
        if self.last == b"0":
            self.last = b"%d" % (_redis_ms(now))
        return self.last

    return [(Inbox, "position", position)]


def _redis_ms(now: float) -> int:
    return 1_700_000_000_000 + int(now * 1000)


def limit_off_by_one() -> list[Patch]:
    """A buyer gets one more."""

    def decide(self: Inventory, ask: Command, now: float) -> Any:
        decision = _DECIDE(self, ask, now)
        slot = self._bought[ask.code.user_digest] + 1
        is_limit = isinstance(decision, Refused) and decision.refusal is Refusal.USER_LIMIT_REACHED
        if is_limit and slot == self.sale.user_limit + 1:
            return Approved(ask.code, ask.request_id, slot)
        return decision

    def apply(self: Inventory, item_id: Any, checkout_id: Any, user_digest: bytes, request_id: Any) -> None:
        sale = self.sale
        self.sale = Sale(sale.id, sale.starts_at, sale.first_item_id, sale.stock, sale.user_limit + 1, 0, sale.is_open)
        try:
            _APPLY(self, item_id, checkout_id, user_digest, request_id)
        finally:
            self.sale = sale

    return [(Inventory, "decide", decide), (Inventory, "apply", apply)]


def first_page_only() -> list[Patch]:
    """A new leader knows the first page of what was sold, and counts on it."""

    async def load(store: Any, term: Term, sale: Sale, ttl: float, digest_user: Callable[[Any], bytes]) -> Inventory:
        inventory = Inventory(sale, ttl)
        pages = [page async for page in store.read_purchases(term)]
        for checkout_id, request_id, item_id, user_id in pages[0] if pages else []:
            inventory.apply(item_id, checkout_id, digest_user(user_id), request_id)
        inventory.sold = sale.sold
        return inventory

    return [(hosts, "load_inventory", load)]


def sent_again_under_another_name() -> list[Patch]:
    """A vanished entry is added again with new request ids: its buyer hears that the code is used."""

    def entry_of(self: PurchaseClient, records: list[Record], redis_ms: float) -> Any:
        for record in records:
            if record.entry is not None:
                record.request = Command(record.request.code, f"{record.request.request_id}-again")  # type: ignore[arg-type]
        return _ENTRY_OF(self, records, redis_ms)

    return [(PurchaseClient, "_entry_of", entry_of)]


def two_buyers_swapped() -> list[Patch]:
    """The outcomes of a batch go to the wrong askers."""

    async def decide(self: Any, commands: Sequence[Command]) -> list[Any]:
        return (await _ACTOR_DECIDE(self, commands))[::-1]

    return [(InventoryActor, "_decide", decide)]


def refusals_before_the_database() -> list[Patch]:
    """A refusal is answered from memory: a leader that was deposed goes on refusing."""

    async def confirm(
        self: Any, term: Term, sold_before: int, approved: Sequence[Approved], redeemed: Sequence[CheckoutId]
    ) -> Confirmed:
        if not approved and not redeemed:
            return Confirmed(self._twin.now(), [], [], [])
        return await _ASK_CONFIRM(self, term, sold_before, approved, redeemed)

    return [(stores.Database, "confirm", confirm)]


def sold_out_is_for_ever() -> list[Patch]:
    """What a web process has heard to be sold out is never for sale again, whatever the database says."""

    def has(self: SoldOutCache, sale_id: SaleId) -> bool:
        known: set[SaleId] = self.__dict__.setdefault("_ever", set())
        if _HAS(self, sale_id):
            known.add(sale_id)
        return sale_id in known

    async def ask(self: Any, command: Command) -> Any:
        if self._sold_out.has(command.code.sale_id):
            return Refused(Refusal.SOLD_OUT)
        return await self._leader.ask(command)

    return [(SoldOutCache, "has", has), (PurchaseRouter, "ask", ask)]


MUTANTS: dict[str, tuple[Callable[[], list[Patch]], int]] = {
    "no fence": (no_fence, 50),
    "row count ignored": (row_count_ignored, 50),
    "answer before commit": (answer_before_commit, 0),
    "unknown taken for a rollback": (unknown_taken_for_a_rollback, 54),
    "unknown told as unavailable": (unknown_told_as_unavailable, 2),
    "epoch counted in Redis": (epoch_counted_in_redis, 50),
    "pending commands skipped": (pending_commands_skipped, 8),
    "limit off by one": (limit_off_by_one, 0),
    "first page only": (first_page_only, 13),
    "sent again under another name": (sent_again_under_another_name, 105),
    "two buyers swapped": (two_buyers_swapped, 0),
    "refusals before the database": (refusals_before_the_database, 84),
    "sold out is for ever": (sold_out_is_for_ever, 84),
    "receipt final at once": (rpc_mutants.receipt_final_at_once, 33),
    "replaced database unnoticed": (rpc_mutants.replaced_database_unnoticed, 84),
    "pause ignored": (rpc_mutants.pause_ignored, 104),
    "full disk taken for a yes": (rpc_mutants.full_disk_taken_for_a_yes, 104),
    "unknown answer taken for a no": (rpc_mutants.unknown_answer_taken_for_a_no, 289),
}
"""By name: how to plant it, and a seed that has caught it, where the search begins."""

_CONFIRM = DatabaseTwin._confirm
_ASK_CONFIRM = stores.Database.confirm
_ASK_BEGIN = stores.Database.begin_term
_SEND = PurchaseServer.send
_ACTOR_DECIDE = InventoryActor._decide
_DECIDE = Inventory.decide
_APPLY = Inventory.apply
_ENTRY_OF = PurchaseClient._entry_of
_HAS = SoldOutCache.has


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Run the mutant `name` instead of the program."""
    patches = MUTANTS[name][0]()
    before = [(target, attribute, getattr(target, attribute)) for target, attribute, _ in patches]
    try:
        for target, attribute, value in patches:
            setattr(target, attribute, value)
        yield
    finally:
        for target, attribute, value in before:
            setattr(target, attribute, value)
