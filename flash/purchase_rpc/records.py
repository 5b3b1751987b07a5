"""What the purchase client keeps of a command under way, and of the entry that carries it.

Nothing here waits, and nothing knows Redis or a clock.
`client` says when a record changes its state, and why.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

from flash.actors.pending_request import PendingRequest
from flash.domain import Command, Outcome, Refused
from flash.errors import FlashError, OutcomeUnknown


class State(enum.Enum):
    QUEUED = enum.auto()
    SENDING = enum.auto()
    SENT = enum.auto()
    ANSWERED = enum.auto()
    GIVEN_UP = enum.auto()


# Names of our own, since looking a member up in its enum costs more than comparing it.
QUEUED, SENDING, SENT, ANSWERED, GIVEN_UP = State


class Record(PendingRequest[Command, Outcome]):
    """A command from the web task to the stream entry and back. Times are Trio times.

    Nobody waits for it after `expires_at`, and no leader decides it after `decided_until`. That is later if the last
    record of its entry was asked later, as after a Redis that stood still. If it `is_doubled`, its command may stand in
    a second entry: both will be decided, and what may pass between them is no answer.
    """

    __slots__ = ("decided_until", "entry", "expires_at", "is_doubled", "number", "state")

    def __init__(self, command: Command, number: int, expires_at: float) -> None:
        super().__init__(command)
        self.number = number
        self.expires_at = expires_at
        self.decided_until = expires_at
        self.state = QUEUED
        self.is_doubled = False
        self.entry: Entry | None = None

    def is_answered_by(self, outcome: Outcome | None) -> bool:
        """Whether nothing else can become of it although it `is_doubled`. None: nobody here can read what was said."""
        return outcome is not None and not (isinstance(outcome, Refused) and outcome.refusal.may_pass)

    def answer(self, outcome: Outcome | None) -> None:
        """Whatever a leader said; None if this release cannot read it."""
        self.state = ANSWERED
        if outcome is None:
            self.set_exception(OutcomeUnknown("this release cannot read the leader's answer"))
        else:
            self.set_result(outcome)

    def give_up(self, error: FlashError) -> None:
        if self.state is not ANSWERED:
            self.state = GIVEN_UP
            self.set_exception(error)


class Entry:
    """A batch of one sale as it stands in an inbox. Times are Trio times. It expires with the last of its records."""

    __slots__ = ("added_at", "expires_at", "id", "records", "sale_id", "seal", "unanswered")

    def __init__(self, id: bytes, seal: bytes, records: list[Record], added_at: float) -> None:
        self.id = id
        self.seal = seal
        self.records = records
        self.added_at = added_at
        self.unanswered = len(records)
        self.sale_id = records[0].request.code.sale_id
        self.expires_at = records[-1].expires_at

    def is_in(self, found: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> bool:
        """Whether it is what XRANGE found under its id: a Redis that lost its data gives ids out again."""
        return any(self.seal in fields.values() for _, fields in found)

    def sent(self) -> list[Record]:
        """The records that wait for this entry to be answered."""
        return [record for record in self.records if record.state is SENT]
