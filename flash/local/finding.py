"""What one check of `flash doctor` has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. Unless all is well, `text` says what to do."""

    verdict: Literal["ok", "warn", "fail"]
    subject: str
    text: str
