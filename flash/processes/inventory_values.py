"""What an inventory process says in /metrics."""

from __future__ import annotations

from flash.board.identity import Identity
from flash.domain import Refusal
from flash.metrics import families
from flash.metrics.values import Values
from flash.processes.inventory_status import InventoryParts, queues_of
from flash.processes.process_values import process_values, put_batches, put_queues


def inventory_values(identity: Identity, parts: InventoryParts) -> Values:
    values = process_values(identity, parts.databases, parts.links)
    put_queues(values, queues_of(parts))
    put_batches(values, parts.counts.batches, "commands")
    values.put(families.ITEMS_SOLD, parts.counts.sold)
    refusals = (refusal.value for refusal in Refusal)
    # All of them from the start: a rate needs a first value to rise from.
    decisions = {
        **dict.fromkeys(("repeated", *refusals), 0),
        **parts.counts.others,
        "sold": parts.counts.sold,
    }
    for outcome, count in decisions.items():
        values.put(families.DECISIONS, count, outcome)
    values.put(families.EXPIRED, parts.counts.expired)
    values.put(families.SALES_LED, len(parts.terms.current))
    values.put(families.LEASES_HELD, len(parts.list_held()))
    values.put(families.TERMS, parts.terms.begun)
    values.put(families.TAKE_OVERS, parts.terms.taken_over)
    values.put(families.TERMS_FAILED, parts.terms.failed)
    values.put(families.DEAD_LETTERS, parts.server.dead_letters)
    return values
