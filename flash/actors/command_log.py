"""What a leader's log says of single commands: of those whose request is logged, and of those that were lost.

Whoever looks for a request by its X-Request-ID finds what became of its command. Nobody's name is told.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from flash.correlation import fields_of, is_logged
from flash.domain import Command, Outcome, Refused, Repeated, SaleId, Sold

_NAMED_MAX = 50

log = logging.getLogger(__name__)


class Delivered(Protocol):
    @property
    def command(self) -> Command: ...


D = TypeVar("D", bound=Delivered)


D_contra = TypeVar("D_contra", bound=Delivered, contravariant=True)


class Replies(Protocol[D_contra]):
    async def send(
        self, answers: Iterable[tuple[D_contra, Outcome | None]]
    ) -> Callable[[], Awaitable[None]] | None: ...


class LoggingReplies(Generic[D]):
    """The replies of the leader of a sale. What it answers to a request that is logged is logged as well."""

    def __init__(self, replies: Replies[D], sale_id: SaleId) -> None:
        self._replies = replies
        self._sale_id = sale_id

    async def send(self, answers: Iterable[tuple[D, Outcome | None]]) -> Callable[[], Awaitable[None]] | None:
        answers = list(answers)
        for delivery, outcome in answers:
            if is_logged(delivery.command.correlation):
                self._log(delivery.command, outcome)
        return await self._replies.send(answers)

    def _log(self, command: Command, outcome: Outcome | None) -> None:
        fields = {
            "sale_id": self._sale_id,
            "item_id": command.code.item_id,
            "outcome": _name(outcome),
            **fields_of(command.correlation),
        }
        log.info("command", extra={"fields": fields})


def log_lost(sale_id: SaleId, commands: Sequence[Command]) -> None:
    """A batch of `commands` was received, and its outcome is not known here: the next leader finds out."""
    told = [fields_of(command.correlation) for command in commands[:_NAMED_MAX]]
    names = [found["x_request_id"] for found in told if found]
    fields = {"x_request_ids": names} if names else {}
    log.warning("sale %d: no outcome of a batch of %d commands", sale_id, len(commands), extra={"fields": fields})


def _name(outcome: Outcome | None) -> str:
    match outcome:
        case None:
            return "expired"
        case Sold():
            return "sold"
        case Repeated():
            return "repeated"
        case Refused(refusal):
            return refusal.value
