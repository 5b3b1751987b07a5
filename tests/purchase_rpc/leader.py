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
from flash.purchase_rpc.payloads import CommandBatch
from flash.stores.redis_link import flat
from flash.testing.twins.redis import RedisTwin
from tests.codes import a_code
from tests.deployments import DEPLOYMENT

END_MS = 4_000_000_000_000
"""Far ahead of any Redis's clock."""
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
Entry = tuple[SaleId, bytes, CommandBatch]


def inbox_of(sale: int) -> str:
    return messages.inbox_key(DEPLOYMENT, SaleId(sale))


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
            (sale, entry_id, messages.read_commands(DEPLOYMENT, sale, fields))
            for sale in self._sales
            if self.redis.perform(("TYPE", inbox_of(sale))) == b"stream"
            for entry_id, fields in self.redis.entries(inbox_of(sale))
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
            self.add(batch.reply_to, messages.reply_entry(DEPLOYMENT, batch.reply_to, messages.VERSION, outcomes))
        if not left:
            self.redis.perform(("XDEL", inbox_of(sale), entry_id))

    def answer_all(self) -> None:
        for entry in self.entries():
            self.answer(entry)

    def reply(
        self, reply_to: str, payload: bytes, version: int = messages.VERSION, *, numbers: bytes, **more: bytes
    ) -> None:
        """Add a sealed reply entry, whatever stands in it."""
        fields = {b"v": b"%d" % version, b"n": numbers, b"o": payload}
        fields |= {name.encode(): value for name, value in more.items()}
        self.add(reply_to, messages.sealed(DEPLOYMENT, messages.REPLY, reply_to, fields))

    def add(self, reply_to: str, fields: messages.Fields) -> None:
        """Add an entry as it is."""
        self.redis.perform(("XADD", reply_to, "*", *flat(fields)))

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
