"""Wrong programs about time, redelivery and databases that remember less: more of what `mutants` is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flash.domain import Approved, CheckoutId, Confirmed, Term
from flash.errors import OutcomeUnknown
from flash.purchase_rpc.client import PurchaseClient
from flash.testing.twins.database import DatabaseTwin

Patch = tuple[object, str, Any]

# What no check of what buyers hear shows, since something else saves them, and the direct tests that catch it:
#   leases acquired, renewed or released without their token   tests/testing/test_leases_contract.py
#   trust counted from the answer instead of the asking        tests/actors/test_lease_elector.py
#   an entry deleted when it is read                           tests/purchase_rpc/test_server.py
#   what was approved and is void not taken back               tests/actors/test_inventory_actor.py
#   an expired entry decided                                   tests/purchase_rpc/test_server.py
# Full disks and paused sales do not happen here, so neither does a refusal that may pass told too early: the same file.


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


_CONFIRM = DatabaseTwin._confirm
