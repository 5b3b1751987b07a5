"""What a client may hear instead of a result: one exception for each thing that a caller would do about it.

`code` is the problem's `code` (see `GET /problems/{code}`), or one of ours: `unreachable`, `unexpected_answer`.
"""

from __future__ import annotations

from flash.client.results import Receipt


class FlashClientError(Exception):
    """`status` is None without an answer; `retry_after_seconds` is what the last answer asked for, if it did."""

    def __init__(
        self, code: str, detail: str, *, status: int | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class Refused(FlashClientError):
    """The shop says no, and repeating will not change it. `receipt` comes with `code_already_used`."""

    receipt: Receipt | None = None


class InvalidRequest(FlashClientError):
    """The request was wrong: a bad parameter, an invalid or expired code, something that does not exist."""


class TryLater(FlashClientError):
    """Nothing was bought, the retries are used up, and a later attempt may well succeed."""


class OutcomeUnknown(FlashClientError):
    """It may have been bought or not. `purchase` again with the same code and key, or ask for the receipt."""

    def __init__(self, detail: str, *, purchase_code: str, idempotency_key: str) -> None:
        super().__init__("outcome_unknown", detail, status=503)
        self.purchase_code = purchase_code
        self.idempotency_key = idempotency_key


class Unreachable(FlashClientError):
    """There was no answer at all, however often it was tried. Nothing was bought."""


class UnexpectedAnswer(FlashClientError):
    """The answer was not one of this service, or one of a service that is broken."""
