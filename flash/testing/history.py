"""What buyers were told: every call with its times, and what follows from the answers.

It knows nothing of the database; `flash.testing.verification` compares the two.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import trio

from flash.testing.client import Answer, Client, ConnectionLost

NO_ANSWER, NOT_SENT = "no_answer", "not_sent"
TRY_LATER = frozenset(("overloaded", "unavailable", "outcome_unknown", "paused"))
"""The codes of a 503. All but `outcome_unknown` say that nothing was done."""
UNKNOWN = frozenset((NO_ANSWER, "outcome_unknown"))
"""After these a call may have taken effect."""


@dataclass(slots=True)
class Call:
    """One request. `outcome` is `ok`, the `code` of a problem, `no_answer`, or `not_sent`; times are Trio's.

    `code` is the one that was issued, or the one that was to buy.
    """

    kind: str
    user: str = ""
    item: int = 0
    code: str = ""
    key: str | None = None
    began: float = 0.0
    ended: float = 0.0
    outcome: str = ""


@dataclass
class History:
    """Every answer that a client received. A call without an answer, or with a 503, may have taken effect."""

    attempts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Checkout attempts answered, by user and outcome."""
    codes: set[str] = field(default_factory=set)
    sold: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Receipts received with a 200, by code."""
    refused: Counter[str] = field(default_factory=Counter)
    sold_out_heard: bool = False
    unknown: int = 0
    paused: int = 0
    """Purchases that were refused because the sale was paused."""
    open_codes: set[str] = field(default_factory=set)
    """Codes whose last purchase call has no answer yet: they may or may not have bought."""
    lost: int = 0
    """Requests that were sent and never answered."""
    calls: list[Call] = field(default_factory=list)
    """Every call in the order in which they ended, with its times."""
    patience_seconds: float = math.inf
    """How long a call may take before its client gives up and its outcome is unknown."""

    async def attempt(self, client: Client, user: str, item: int) -> Answer | None:
        """One checkout attempt; the answer, or None if the outcome is unknown."""
        call = Call("checkout", user=user, item=item)
        answer = await self._post(client, f"/checkout?user_id={user}&id={item}", call)
        if answer is None or answer.status == 503:
            return None
        if answer.status == 200:
            code: str = answer.json()["code"]
            call.code = code
            if code in self.codes:
                self.protest(f"one code was issued twice: {code}")
            self.codes.add(code)
            self.attempts[user, "issued"] += 1
        else:
            self._refuse(answer)
            self.attempts[user, answer.json()["code"]] += 1
        return answer

    async def checkout(self, client: Client, user: str, item: int) -> str | None:
        """One attempt; the code, or None."""
        answer = await self.attempt(client, user, item)
        return answer.json()["code"] if answer is not None and answer.status == 200 else None

    async def purchase(self, client: Client, code: str, key: str | None = None) -> Answer | None:
        """One purchase; the answer, or None if the outcome is unknown."""
        headers = [(b"idempotency-key", key.encode())] if key else []
        self.open_codes.add(code)
        answer = await self._post(client, f"/purchase?code={code}", Call("purchase", code=code, key=key), headers)
        if answer is None or answer.status == 503:
            self.unknown += 1
            return None
        if answer.json().get("code") != "code_already_used":  # another call with this code may have bought
            self.open_codes.discard(code)
        if answer.status == 200:
            receipt = answer.json()
            if self.sold.setdefault(code, receipt) != receipt:
                self.protest(f"one purchase was reported in two ways: {receipt} and {self.sold[code]}")
        else:
            self._refuse(answer)
        return answer

    def protest(self, text: str) -> None:
        """An answer contradicts an earlier one, or the API."""
        raise AssertionError(text)

    async def _post(
        self, client: Client, target: str, call: Call, headers: list[tuple[bytes, bytes]] | None = None
    ) -> Answer | None:
        call.began = trio.current_time()
        try:
            with trio.fail_after(self.patience_seconds):
                answer = await client.post(target, headers or [])
        except (ConnectionLost, trio.TooSlowError):
            await client.aclose()
            self.lost += 1
            self._log(call, NO_ANSWER)
            return None
        except OSError:  # never sent: nobody is listening
            self._log(call, NOT_SENT)
            return None
        self._log(call, "ok" if answer.status == 200 else answer.json()["code"])
        if answer.status == 503:
            self._doubt(answer)
        return answer

    def _log(self, call: Call, outcome: str) -> None:
        call.ended, call.outcome = trio.current_time(), outcome
        self.calls.append(call)

    def _doubt(self, answer: Answer) -> None:
        code = answer.json()["code"]
        if answer.header(b"retry-after") is None or code not in TRY_LATER:
            self.protest(f"a 503 with code {code} and the headers {answer.headers}")
        self.paused += code == "paused"

    def _refuse(self, answer: Answer) -> None:
        if answer.status == 500:
            self.protest(f"500: {answer.body!r}")
        self.refused[answer.json()["code"]] += 1
        self.sold_out_heard |= answer.status == 410
