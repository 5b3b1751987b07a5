"""The other end of the purchase client, by hand: answers what stands in the inboxes of a Redis in memory.

It remembers what it has decided, as PostgreSQL would, so a command that comes again is not decided again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime

from flash.domain import (
    Command,
    ItemId,
    Outcome,
    Purchase,
    Refusal,
    Refused,
    Repeated,
    RequestId,
    SaleId,
    Sold,
    UserId,
)
from flash.purchase_rpc import messages
from flash.testing.twins.redis import RedisTwin
from tests.codes import a_code

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
Entry = tuple[SaleId, bytes, messages.CommandBatch]


def a_command(number: int, sale: int = 1) -> Command:
    """A purchase with the code of checkout `number`, under a request id of its own."""
    return Command(a_code(number, sale=sale), RequestId(f"auto:{number}"))


class Leader:
    """Sells to checkouts with an even id, and refuses the others."""

    def __init__(self, redis: RedisTwin, sales: Collection[int] = (1,)) -> None:
        self.redis = redis
        self.told: defaultdict[RequestId, list[Outcome]] = defaultdict(list)
        """Every outcome that was sent for a request, whether or not it has arrived."""
        self._sales = [SaleId(sale) for sale in sales]
        self._sold: dict[RequestId, Purchase] = {}
        self._unanswered: dict[tuple[SaleId, bytes], set[int]] = {}

    def entries(self) -> list[Entry]:
        """What stands in the inboxes."""
        return [
            (sale, entry_id, messages.decode_commands(fields[messages.COMMANDS_FIELD], sale))
            for sale in self._sales
            for entry_id, fields in self.redis.entries(messages.inbox_key(sale))
        ]

    def request_ids(self) -> list[RequestId]:
        """The requests that stand in the inboxes, in order."""
        return [command.request_id for _, _, batch in self.entries() for _, command in batch.commands]

    def answer(self, entry: Entry, most: int | None = None, *, is_lost: bool = False) -> None:
        """Answer `most` commands of the entry (all); delete it when none is left. `is_lost`: Redis loses the reply."""
        sale, entry_id, batch = entry
        left = self._unanswered.setdefault((sale, entry_id), {number for number, _ in batch.commands})
        chosen = [(number, command) for number, command in batch.commands if number in left][:most]
        outcomes = [(number, self._decide(command)) for number, command in chosen]
        left.difference_update(number for number, _ in chosen)
        if outcomes and not is_lost:
            numbers = messages.encode_numbers(outcomes)
            self.reply(batch.reply_to, messages.encode_outcomes(outcomes), numbers=numbers)
        if not left:
            self.redis.perform(("XDEL", messages.inbox_key(sale), entry_id))

    def answer_all(self) -> None:
        for entry in self.entries():
            self.answer(entry)

    def reply(
        self, reply_to: str, payload: bytes, version: int | None = messages.VERSION, *, numbers: bytes | None = None
    ) -> None:
        """Add a reply entry; without a version or numbers, it is one of the release that did not write them."""
        versioned = () if version is None else (messages.VERSION_FIELD, version)
        numbered = () if numbers is None else (messages.NUMBERS_FIELD, numbers)
        self.redis.perform(("XADD", reply_to, "*", *versioned, *numbered, messages.OUTCOMES_FIELD, payload))

    def _decide(self, command: Command) -> Outcome:
        earlier = self._sold.get(command.request_id)
        outcome: Outcome = Refused(Refusal.ITEM_SOLD)
        if earlier is not None:
            outcome = Repeated(earlier)
        elif command.code.checkout_id % 2 == 0:
            item = ItemId(command.code.checkout_id)
            purchase = Purchase(command.code.checkout_id, command.request_id, item, UserId("ann"), 1, NOON)
            self._sold[command.request_id] = purchase
            outcome = Sold(purchase)
        self.told[command.request_id].append(outcome)
        return outcome
