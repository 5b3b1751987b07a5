"""The task around the `Inventory` of one sale: receive, decide, persist, answer. It never sees a lease.

It runs within one term. Between deciding and persisting, its memory runs ahead of PostgreSQL, so any error there ends
it: nobody was told anything, the commands stay in the inbox, and the next term reloads the truth.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import trio

from flash.actors.mailbox import Mailbox
from flash.domain import Checkout, CheckoutId, Command, Outcome, Purchase, SaleId, Sold, Term
from flash.inventory import Inventory, decide_all

log = logging.getLogger(__name__)


class Delivered(Protocol):
    """A command as it came from an inbox."""

    @property
    def command(self) -> Command: ...

    @property
    def expires_at(self) -> float:
        """Trio time after which nobody waits for an answer."""
        ...


D = TypeVar("D", bound=Delivered)
D_contra = TypeVar("D_contra", bound=Delivered, contravariant=True)


class TermStore(Protocol):
    async def find_checkouts(
        self, sale_id: SaleId, ids: list[CheckoutId]
    ) -> tuple[datetime, dict[CheckoutId, Checkout]]:
        """The time by the database's clock, and the issued checkouts among `ids`."""
        ...

    async def sell(self, term: Term, purchases: list[Purchase]) -> None:
        """Commit all or none under the term's epoch; `TermEnded` if it is over."""
        ...


class Replies(Protocol[D_contra]):
    async def send(self, answers: Iterable[tuple[D_contra, Outcome | None]]) -> None:
        """None as outcome: the command is dropped undecided, since nobody waits for it."""
        ...


class InventoryActor(Generic[D]):
    """Serializes the purchase decisions of one sale for one term.

    `linger_seconds`: how long the leader of a sold-out sale stays to answer the commands already under way.
    """

    def __init__(
        self,
        term: Term,
        inventory: Inventory,
        store: TermStore,
        replies: Replies[D],
        *,
        batch_max: int,
        linger_seconds: float,
    ) -> None:
        self._term = term
        self._inventory = inventory
        self._store = store
        self._replies = replies
        self._batch_max = batch_max
        self._linger_seconds = linger_seconds

    async def run(self, mailbox: Mailbox[D]) -> None:
        """Sell until the sale is sold out and quiet. Raises what the stores raise; the term is over then."""
        while deliveries := await self._take(mailbox):
            # The batch in flight is finished even when we are stopped, since its buyers would only hear 503 otherwise.
            # The fence makes that safe even when we no longer lead, and the stores bound it in time.
            with trio.CancelScope(shield=True):
                await self._serve(deliveries)

    async def _serve(self, deliveries: Sequence[D]) -> None:
        now = trio.current_time()
        # A command that nobody waits for is dropped undecided: its buyer has been told 503 already.
        expired = [d for d in deliveries if d.expires_at <= now]
        live = [d for d in deliveries if d.expires_at > now]
        outcomes = await self._decide(live) if live else []
        sold = [outcome.purchase for outcome in outcomes if isinstance(outcome, Sold)]
        if sold:
            await self._store.sell(self._term, sold)
        await self._replies.send([*zip(live, outcomes, strict=True), *((d, None) for d in expired)])

    async def _take(self, mailbox: Mailbox[D]) -> list[D]:
        if self._inventory.remaining:
            return await mailbox.take(self._batch_max)
        with trio.move_on_after(self._linger_seconds):
            return await mailbox.take(self._batch_max)
        return []

    async def _decide(self, live: Sequence[D]) -> list[Outcome]:
        now, checkouts = await self._store.find_checkouts(
            self._term.sale_id, [d.command.code.checkout_id for d in live]
        )
        return decide_all(self._inventory, [d.command for d in live], checkouts, now)
