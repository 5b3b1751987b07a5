"""The problem types of the service, from `problem_types.toml`: what a `code` means, and what a client should do.

One list for all of them, also those of the shop, because clients see one list. A code that is not in it cannot be sent.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One type. `status` is the usual one; `meaning` and `action` are sentences, with code between backquotes."""

    code: str
    status: int
    title: str
    meaning: str
    action: str

    @property
    def path(self) -> str:
        """Where the service explains it: the `type` of a problem, a reference that no other code has."""
        return f"/problems/{self.code}"

    def as_json(self) -> dict[str, object]:
        return {
            "type": self.path,
            "code": self.code,
            "status": self.status,
            "title": self.title,
            "meaning": self.meaning,
            "action": self.action,
        }


def _load() -> Mapping[str, ProblemType]:
    text = resources.files("flash.http").joinpath("problem_types.toml").read_text("utf-8")
    return {code: ProblemType(code, **members) for code, members in tomllib.loads(text).items()}


PROBLEM_TYPES = _load()
