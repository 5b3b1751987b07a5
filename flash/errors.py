"""What goes wrong with the machinery, by what the caller may assume.

A buyer who is told no is not here but in `domain.Refusal`.
"""

from __future__ import annotations


class FlashError(Exception):
    """Base of everything this package raises on purpose."""


class Overloaded(FlashError):
    """Too much is waiting already. Nothing was started; try again later."""


class Unavailable(FlashError):
    """A store could not be reached. Nothing was started; try again later."""


class OutcomeUnknown(FlashError):
    """It may have happened or not. Ask for the receipt, or repeat with the same request id."""


class TermEnded(FlashError):
    """Somebody else leads this sale now. Stop; answer nobody; what was decided was not persisted."""


class ConfigError(FlashError):
    """Settings that cannot work. The message names every one of them, what was seen and what is expected."""


class OperatorError(FlashError):
    """Something on this machine is in the way. The message is one sentence for the operator and says what to do."""


def reason_of(error: BaseException) -> str:
    """What `error` says, or its type if it says nothing (as time-outs do)."""
    return str(error) or type(error).__name__


def first_of(error: BaseException) -> BaseException:
    """The first error in a group, however deep it lies; an error that is no group comes back as it is."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
