"""What a conversation with the service is made of: requests, answers and waits, as values. No I/O."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """A request that a transport should send. `target` is path and query, percent-encoded."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wait:
    """`why`: what the service answered, for a person who waits as well; empty if it did not answer."""

    seconds: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def members(self) -> dict[str, Any] | None:
        """The JSON object in the body; None if it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    @property
    def retry_after_seconds(self) -> float | None:
        text = self.headers.get("retry-after", "")
        return float(text) if text.isascii() and text.isdecimal() else None


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer came. `is_sent`: the service may have got the request."""

    why: str
    is_sent: bool


Conversation: TypeAlias = Generator[Send | Wait, Answer | Lost | None, T]
"""A transport sends what is yielded and passes in what comes back (None after a wait), until it returns a result."""


def target(path: str, **parameters: str | int | bool | None) -> str:
    """`path` with its parameters; those that are None are left out."""
    given = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in parameters.items()
        if value is not None
    }
    return f"{path}?{urlencode(given, quote_via=quote)}" if given else path
