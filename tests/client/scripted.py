"""A service of a few prepared answers, for the rules of the clients: no network, and waits that take no time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flash.client.messages import Answer, Conversation, Lost, Send, Wait

T = TypeVar("T")

RECEIPT = {
    "item": {"id": 7, "name": "Ochre Carafe", "image": "/items/7/image.svg"},
    "sale_id": 1,
    "user_id": "ann",
    "purchased_at": "2026-01-01T12:00:00Z",
}
SOLD = {"message": "Purchase successful", **RECEIPT}
LOST = Lost("the connection broke", is_sent=True)
NOBODY = Lost("connection refused", is_sent=False)


def answer(status: int, members: Mapping[str, Any], **headers: str) -> Answer:
    names = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, names, json.dumps(members).encode())


def problem(status: int, code: str, *, retry_after: int | None = None, **extra: Any) -> Answer:
    headers = {} if retry_after is None else {"retry_after": str(retry_after)}
    return answer(status, {"status": status, "code": code, "detail": f"it is {code}", **extra}, **headers)


@dataclass
class Scripted:
    """Gives its answers one after the other, and remembers what it was sent and how long it was waited for."""

    answers: Iterable[Answer | Lost]
    sent: list[Send] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def run(self, conversation: Conversation[T]) -> T:
        answers = iter(self.answers)
        heard: Answer | Lost | None = None
        while True:
            try:
                wanted = conversation.send(heard)
            except StopIteration as end:
                assert next(answers, None) is None, "not all answers were asked for"
                result: T = end.value
                return result
            if isinstance(wanted, Wait):
                self.waits.append(wanted.seconds)
                heard = None
            else:
                self.sent.append(wanted)
                heard = next(answers)
