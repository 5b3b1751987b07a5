"""The task around the `Inventory` of one sale: receive, decide, persist, answer. It never sees a lease.

It runs within one term. Between deciding and persisting, its memory runs ahead of PostgreSQL, so any error there ends
it: nobody was told anything, the commands stay in the inbox, and the next term reloads the truth. The exception is a
full disk, which is known to have stored nothing. A refusal waits for the database's word just as a sale does, or a
leader that was deposed would go on refusing.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import trio

from flash.actors.batch_wait import BatchDuration
from flash.actors.command_log import log_lost
from flash.actors.leader_counts import LeaderCounts
from flash.actors.mailbox import Mailbox
from flash.domain import (
    Approved,
    CheckoutId,
    Code,
    Command,
    Confirmed,
    ItemId,
    Outcome,
    Purchase,
    Redeemed,
    RequestId,
    Sale,
    Term,
    UserId,
)
from flash.errors import StorageFull, TermEnded
from flash.inventory import Inventory, ReceiptKey, decide_all, is_invalid, receipt_key, settle
from flash.telemetry import ThrottledLogger

log = logging.getLogger(__name__)


class Delivered(Protocol):
    """A command as it came from an inbox."""

    @property
    def command(self) -> Command: ...

    @property
    def expires_at(self) -> float:
        """Trio time after which nobody waits for an answer."""
        ...


_CLOCK_STEP_SECONDS = 1.0
"""A database's clock that is behind our count of it by more has been set back, or is another database's."""

D = TypeVar("D", bound=Delivered)
D_contra = TypeVar("D_contra", bound=Delivered, contravariant=True)


Serve = Callable[[Sequence[D]], Awaitable[None]]


class TermStore(Protocol):
    async def confirm(
        self, term: Term, sold_before: int, approved: Sequence[Approved], redeemed: Sequence[CheckoutId]
    ) -> Confirmed:
        """Store what was approved, all or none, and find the receipts of `redeemed`, under the term's fence.

        `StorageFull` if there was no room, so that nothing was stored. `TermEnded` if it is over, or if another number
        than `sold_before` is sold. Nothing is stored while the sale is paused.
        """
        ...


class Replies(Protocol[D_contra]):
    async def send(self, answers: Iterable[tuple[D_contra, Outcome | None]]) -> Callable[[], Awaitable[None]] | None:
        """None as outcome: the command is dropped undecided, since nobody waits for it.

        Returns what tells the refusals that may pass: to be called if no other term has begun until now.
        """
        ...


class StoredPurchases(Protocol):
    def read_purchases(self, term: Term) -> AsyncIterator[list[tuple[CheckoutId, RequestId, ItemId, UserId]]]:
        """All that was sold before `term`, in pages."""
        ...


async def load_inventory(
    store: StoredPurchases, term: Term, sale: Sale, code_ttl_seconds: float, digest_user: Callable[[UserId], bytes]
) -> Inventory:
    """What `sale`, as it was when `term` began, has left. The loop is never held for longer than one page takes.

    Raises `TermEnded` if not as much is there as the sale has sold or it breaks a rule, and what the store raises.
    """
    inventory = Inventory(sale, code_ttl_seconds)
    async for page in store.read_purchases(term):
        for checkout_id, request_id, item_id, user_id in page:
            try:
                inventory.apply(item_id, checkout_id, digest_user(user_id), request_id)
            except AssertionError as error:
                raise TermEnded(
                    f"what is stored of sale {sale.id} breaks a rule ({error}): `flash audit` shows the rows"
                ) from error
        await trio.lowlevel.checkpoint()
    if inventory.sold != sale.sold:
        raise TermEnded(f"sale {sale.id} counts {sale.sold} sold but has {inventory.sold}")
    return inventory


class InventoryActor(Generic[D]):
    """Serializes the purchase decisions of one sale for one term, which began at `now` by the database's clock.

    `digest_user`: what stands for a user in a code. `linger_seconds`: how long the leader of a sold-out sale stays to
    answer the commands already under way. `counts` are those of all sales that this host leads. `around`: what is done
    with a batch is done by what it makes of it.
    """

    def __init__(
        self,
        term: Term,
        inventory: Inventory,
        store: TermStore,
        replies: Replies[D],
        *,
        now: datetime,
        digest_user: Callable[[UserId], bytes],
        batch_max: int,
        linger_seconds: float,
        counts: LeaderCounts | None = None,
        around: Callable[[Serve[D]], Serve[D]] | None = None,
    ) -> None:
        self._term = term
        self._inventory = inventory
        self._store = store
        self._replies = replies
        self._digest_user = digest_user
        self._batch_max = batch_max
        self._linger_seconds = linger_seconds
        self._duration = BatchDuration()
        self._serve_batch: Serve[D] = self._serve if around is None else around(self._serve)
        self._warn = ThrottledLogger(log)
        self._counts = counts or LeaderCounts()
        self._set_clock(now)

    async def run(self, mailbox: Mailbox[D]) -> None:
        """Sell until the sale is sold out and quiet. Raises what the stores raise; the term is over then."""
        while deliveries := await self._take(mailbox):
            # The batch in flight is finished even when we are stopped, since its buyers would only hear 503 otherwise.
            # The fence makes that safe even when we no longer lead, and the stores bound it in time.
            with trio.CancelScope(shield=True):
                await self._serve_batch(deliveries)

    async def _take(self, mailbox: Mailbox[D]) -> list[D]:
        if self._inventory.remaining:
            return await mailbox.take(self._batch_max)
        with trio.move_on_after(self._linger_seconds):
            return await mailbox.take(self._batch_max)
        return []

    async def _serve(self, deliveries: Sequence[D]) -> None:
        began_at = trio.current_time()
        self._inventory.has_room = True  # each batch finds out
        # A command that nobody will wait for when its batch is done is dropped undecided: its buyer is told 503, and
        # what is sold should be heard of.
        answered_at = began_at + self._duration.seconds
        expired = [d for d in deliveries if d.expires_at <= answered_at]
        live = [d for d in deliveries if d.expires_at > answered_at] if expired else deliveries
        outcomes = await self._decide_or_say([d.command for d in live]) if live else []
        seconds = trio.current_time() - began_at
        self._duration.note(seconds)  # of nothing as well, or a slow batch would be the last one
        self._counts.note(outcomes, len(expired), seconds)
        tell = await self._replies.send([*zip(live, outcomes, strict=True), *((d, None) for d in expired)])
        if tell is not None:
            # A successor that had begun before these commands were deleted may have read them, and sell.
            await self._store.confirm(self._term, self._inventory.sold, [], [])
            await tell()

    async def _decide_or_say(self, commands: Sequence[Command]) -> list[Outcome]:
        try:
            return await self._decide(commands)
        except Exception:
            log_lost(self._term.sale_id, commands)
            raise

    async def _decide(self, commands: Sequence[Command]) -> list[Outcome]:
        """The outcomes of `commands`, which the database has confirmed. Raises what the store raises."""
        void: set[Code] = set()
        while True:
            sold_before = self._inventory.sold
            decisions = decide_all(self._inventory, commands, self._database_now(), void)
            approved = [d for d in decisions if isinstance(d, Approved)]
            redeemed = [d.checkout_id for d in decisions if isinstance(d, Redeemed)]
            confirmed = await self._confirm(sold_before, approved, redeemed)
            if confirmed is not None and self._is_final(confirmed, void):
                break
            self._undo(approved)
        assert confirmed.now is not None
        offset = self._clock_offset
        self._set_clock(confirmed.now)
        receipts = self._receipts(approved, confirmed)
        outcomes = [settle(command, decision, receipts) for command, decision in zip(commands, decisions, strict=True)]
        if self._clock_offset < offset - _CLOCK_STEP_SECONDS:
            await self._decide_invalid_again(commands, outcomes)
        return outcomes

    async def _confirm(
        self, sold_before: int, approved: Sequence[Approved], redeemed: Sequence[CheckoutId]
    ) -> Confirmed | None:
        """What the database made of it; None if it had no room, so that nothing can be sold in this batch."""
        try:
            return await self._store.confirm(self._term, sold_before, approved, redeemed)
        except StorageFull as error:
            if not approved:
                raise
            # Known to be undone, unlike after any other error.
            self._warn("sale %d: nothing can be sold: %s", self._term.sale_id, error)
            self._inventory.has_room = False
            return None

    def _is_final(self, confirmed: Confirmed, void: set[Code]) -> bool:
        """Whether what was decided stands. If not, notes why: it is to be decided again."""
        if confirmed.missing:
            # The database took over from one that remembered more: it does not know these codes.
            log.warning("sale %d: %d codes have no checkout any more", self._term.sale_id, len(confirmed.missing))
            void.update(a.code for a in confirmed.missing)
            return False
        if confirmed.is_paused is not self._inventory.is_paused:
            # As long as it is paused, nothing is tried; each batch hears whether it still is.
            log.info("sale %d is %s", self._term.sale_id, "paused" if confirmed.is_paused else "resumed")
            self._inventory.is_paused = confirmed.is_paused
            return False
        return True

    def _undo(self, approved: Sequence[Approved]) -> None:
        for a in reversed(approved):
            self._inventory.undo(a)

    async def _decide_invalid_again(self, commands: Sequence[Command], outcomes: list[Outcome]) -> None:
        """The database's clock has been set back: what was called expired may be valid."""
        again = [n for n, outcome in enumerate(outcomes) if is_invalid(outcome)]
        if again:
            for n, outcome in zip(again, await self._decide([commands[n] for n in again]), strict=True):
                outcomes[n] = outcome

    def _receipts(self, approved: Sequence[Approved], confirmed: Confirmed) -> dict[ReceiptKey, Purchase]:
        receipts: dict[ReceiptKey, Purchase] = {
            (p.checkout_id, p.item_id, self._digest_user(p.user_id)): p for p in confirmed.receipts
        }
        for a, purchase in zip(approved, confirmed.sold, strict=True):
            receipts[receipt_key(a.code)] = purchase
        return receipts

    # The database's clock between two of its answers. No host's wall clock is asked.

    def _set_clock(self, now: datetime) -> None:
        self._clock_offset = now.timestamp() - trio.current_time()

    def _database_now(self) -> float:
        return trio.current_time() + self._clock_offset
