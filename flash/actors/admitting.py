"""Admission around what a web process asks: the leader of a sale, and the checkout batcher. It decides nothing."""

from __future__ import annotations

from typing import Protocol

import trio

from flash.actors.admission import Admission
from flash.actors.fair_shares import UserShares
from flash.domain import Attempt, Command, MalformedAttempt, Outcome, RecordedAttempt
from flash.errors import Overloaded


class Leader(Protocol):
    async def ask(self, command: Command) -> Outcome: ...


class Checkouts(Protocol):
    async def ask(self, attempt: Attempt | MalformedAttempt) -> RecordedAttempt: ...


class AdmittingLeader:
    """Asks the leader about what `admission` admits. Raises `Overloaded` at once for the rest."""

    def __init__(self, leader: Leader, admission: Admission) -> None:
        self._leader = leader
        self._admission = admission

    async def ask(self, command: Command) -> Outcome:
        code = command.code
        ticket = self._admission.admit(code.sale_id, code.user_digest, trio.current_time())
        is_answered = False
        try:
            outcome = await self._leader.ask(command)
            is_answered = True
            return outcome
        finally:
            ticket.done(trio.current_time(), is_answered=is_answered)


class AdmittingCheckouts:
    """Records the attempts of users who have not too many under way. Raises `Overloaded` at once for the rest."""

    def __init__(self, checkouts: Checkouts, shares: UserShares) -> None:
        self._checkouts = checkouts
        self._shares = shares
        self.refused = 0

    async def ask(self, attempt: Attempt | MalformedAttempt) -> RecordedAttempt:
        if isinstance(attempt, MalformedAttempt):
            return await self._checkouts.ask(attempt)
        user = attempt.user_id
        if not self._shares.enter(user):
            self.refused += 1
            raise Overloaded("too many requests of this user are waiting", retry_after_seconds=1.0)
        try:
            return await self._checkouts.ask(attempt)
        finally:
            self._shares.leave(user)
