"""What can go wrong with the machinery, sorted by what the caller may assume.

A buyer who is told no is not an error: that is `domain.Refusal`.
"""

from __future__ import annotations

from typing import TypeVar

E = TypeVar("E", bound=BaseException)
F = TypeVar("F", bound="FlashError")


class FlashError(Exception):
    """Base of everything this package raises on purpose.

    `retry_after_seconds`: when trying again may help, if that was estimated.
    """

    def __init__(self, *args: object, retry_after_seconds: float | None = None) -> None:
        super().__init__(*args)
        self.retry_after_seconds = retry_after_seconds


class Overloaded(FlashError):
    """Too many requests are waiting already. Nothing was started; try again later."""


class RateLimited(FlashError):
    """This client asks more often than it may. Nothing was started; try again later."""


class Unavailable(FlashError):
    """A store could not be reached. Nothing was started; try again later."""


class StorageFull(Unavailable):
    """The database has no room for what should be stored. Nothing was; somebody must make room."""


class OutcomeUnknown(FlashError):
    """It may have happened or not. Ask for the receipt, or repeat with the same request id.

    After `retry_after_seconds` it will not happen any more: the receipt is final then.
    """


class TermEnded(FlashError):
    """Another process leads this sale now. Stop and answer nobody: what was decided was not persisted."""


class ConfigError(FlashError):
    """Settings that cannot work. The message names each of them, with what was seen and what is expected."""


class OperatorError(FlashError):
    """Something on this machine is in the way. The message is one sentence that tells the operator what to do."""


def copy_of(error: F) -> F:
    """Another error that says the same, for one more task to raise: tracebacks would pile up on a shared one."""
    copy = type(error)(*error.args)
    copy.retry_after_seconds = error.retry_after_seconds
    return copy


def reason_of(error: BaseException) -> str:
    """The first line of the text of `error`, or its type if it has no text (time-outs have none).

    What PostgreSQL says below that may quote what a user has sent.
    """
    return str(error).partition("\n")[0] or type(error).__name__


def first_of(error: BaseException) -> BaseException:
    """The first error in `error` that is not a group. Each nursery wraps what leaves it in one more group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
