"""What buyers asked, and what they were told: one `Call` each, with its virtual times."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson

from flash.domain import Code, ItemId, UserId
from flash.http.message import Response

LOST = "lost"
"""No answer: the connection broke, or the buyer left."""


@dataclass(eq=False)
class Call:
    kind: str
    """`checkout`, `purchase` or `receipt`."""
    user: UserId
    item: ItemId
    begins: float
    text: str = ""
    """The checkout code, as it was sent or received."""
    key: str | None = None
    host: str = ""
    ends: float = math.inf
    said: str = LOST
    """`ok`, or the `code` of a problem."""
    body: Any = None
    retry_after: float = 0.0

    def answered(self, response: Response, now: float) -> None:
        self.ends = now
        self.body = orjson.loads(response.body)
        self.said = "ok" if response.status == 200 else self.body["code"]
        assert (response.status == 503) == (self.said in MAYBE | NOTHING_STARTED), response
        self.retry_after = max((float(value) for name, value in response.headers if name == b"retry-after"), default=0)

    @property
    def code(self) -> Code:
        from tests.simulation.hosts import CODES

        code = CODES.open(self.text)
        assert isinstance(code, Code)
        return code

    def __str__(self) -> str:
        times = f"{self.begins:.3f}-{self.ends:.3f}"
        return f"{times} {self.user} {self.kind} item {self.item} key {self.key} at {self.host}: {self.said}"


NOTHING_STARTED = frozenset({"unavailable", "overloaded", "paused"})
MAYBE = frozenset({"outcome_unknown"})


@dataclass
class History:
    calls: list[Call] = field(default_factory=list)
    final: dict[str, float] = field(default_factory=dict)
    """Codes whose buyer was told that nothing was bought and nothing will be, and when they had asked."""

    def purchases(self) -> dict[str, list[Call]]:
        """By code, in order of their beginnings."""
        by_code: dict[str, list[Call]] = {}
        for call in self.calls:
            if call.kind == "purchase":
                by_code.setdefault(call.text, []).append(call)
        return by_code

    def counts(self) -> Counter[str]:
        return Counter(f"{call.kind} {call.said}" for call in self.calls)
