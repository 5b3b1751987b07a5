"""Wrong programs about time, redelivery and databases that remember less: more of what `mutants` is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flash.actors.inventory import InventoryActor
from flash.domain import Approved, CheckoutId, Confirmed, Outcome, Refusal, Refused, Term
from flash.errors import OutcomeUnknown, StorageFull
from flash.purchase_rpc.client import PurchaseClient
from flash.purchase_rpc.records import Record
from flash.testing.twins.database import DatabaseTwin

Patch = tuple[object, str, Any]

# What no check of what buyers hear shows, since something else saves them, and the direct tests that catch it:
#   leases acquired, renewed or released without their token   tests/testing/test_leases_contract.py
#   trust counted from the answer instead of the asking        tests/actors/test_lease_elector.py
#   an entry deleted when it is read                           tests/purchase_rpc/test_server.py
#   what was approved and is void not taken back               tests/actors/test_inventory_actor.py
#   an expired entry decided                                   tests/purchase_rpc/test_server.py
#   a refusal that may pass told before its entry is done      tests/purchase_rpc/test_server.py
#   the same told without another look at the term             tests/actors/test_inventory_actor.py
#   the same told of a command that was added twice            tests/purchase_rpc/test_client_states.py


def receipt_final_at_once() -> list[Patch]:
    """Who hears that nobody knows is told to ask at once, although the command may still be decided."""

    def give_up(self: PurchaseClient, records: Any, reason: str) -> None:
        for record in records:
            record.give_up(OutcomeUnknown(reason, retry_after_seconds=0.001))

    return [(PurchaseClient, "_give_up", give_up)]


def replaced_database_unnoticed() -> list[Patch]:
    """The fence does not compare how much is sold."""

    def confirm(
        self: DatabaseTwin, term: Term, sold_before: int, approved: Sequence[Approved], redeemed: Sequence[CheckoutId]
    ) -> Confirmed:
        return _CONFIRM(self, term, len(self._sales[term.sale_id].purchases), approved, redeemed)

    return [(DatabaseTwin, "_confirm", confirm)]


def pause_ignored() -> list[Patch]:
    """The statement that sells does not look whether the sale is paused."""

    def confirm(
        self: DatabaseTwin, term: Term, sold_before: int, approved: Sequence[Approved], redeemed: Sequence[CheckoutId]
    ) -> Confirmed:
        sale = self._sales[term.sale_id]
        pause, sale.pause = sale.pause, None
        try:
            return _CONFIRM(self, term, sold_before, approved, redeemed)
        finally:
            sale.pause = pause

    return [(DatabaseTwin, "_confirm", confirm)]


def full_disk_taken_for_a_yes() -> list[Patch]:
    """What found no room counts as stored."""

    async def confirm(self: Any, sold_before: int, approved: Sequence[Approved], redeemed: Any) -> Confirmed | None:
        try:
            confirmed: Confirmed = await self._store.confirm(self._term, sold_before, approved, redeemed)
        except StorageFull:
            database: DatabaseTwin = self._store._twin
            return Confirmed(database.now(), [database._purchase(a, database.now()) for a in approved], [], [])
        return confirmed

    return [(InventoryActor, "_confirm", confirm)]


def unknown_answer_taken_for_a_no() -> list[Patch]:
    """An answer of the next release that is not known here is told as a refusal."""

    def answer(self: Record, outcome: Outcome | None) -> None:
        _ANSWER(self, Refused(Refusal.SOLD_OUT) if outcome is None else outcome)

    return [(Record, "answer", answer)]


_ANSWER = Record.answer
_CONFIRM = DatabaseTwin._confirm
