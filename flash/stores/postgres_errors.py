"""What an error of PostgreSQL, or of a connection to it, lets the caller assume."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from flash.errors import FlashError, OutcomeUnknown, StorageFull, Unavailable, reason_of
from flash.telemetry import ThrottledLogger

log = logging.getLogger("flash.stores.postgres")


class DuplicateKey(OutcomeUnknown):
    """A row was refused whose key exists already. Nothing of the statement was done."""


# Errors that concern one statement. Only `Postgres.administer` lets them pass through.
StatementError = asyncpg.PostgresError
PermissionDenied = asyncpg.InsufficientPrivilegeError

LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # a connection that the server has just ended may answer its next use with "cannot switch to state"
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""The connection is gone, or in the middle of something."""

# The error of a statement that undoes itself and leaves its session as it was. Whatever else fails takes its connection
# along: a session that was reset (DISCARD ALL) has forgotten statements that asyncpg goes on asking it for, and one
# that began while the database was read-only stays so.
LEAVES_A_SESSION_WHOLE = (
    FlashError,
    AssertionError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.TransactionRollbackError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
)
_ROLLED_BACK = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_NO_ANSWER = (*LOST, asyncpg.OperatorInterventionError, asyncpg.InsufficientResourcesError)
_KNOWN_FAILURES = (
    asyncpg.InternalServerError,
    asyncpg.PostgresIOError,
    asyncpg.LockNotAvailableError,
    asyncpg.StatementCompletionUnknownError,  # of the class "rolled back", but the server does not know either
)


@contextmanager
def unreachable() -> Iterator[None]:
    """Whatever connecting fails with, within the block, becomes `Unavailable`: nothing was done."""
    try:
        yield
    except (asyncpg.PostgresError, *LOST) as error:
        raise Unavailable(f"PostgreSQL cannot be reached: {reason_of(error)}") from error


def is_about_the_statement(error: Exception) -> bool:
    """Whether PostgreSQL refused the statement itself, so that only the caller knows what that means."""
    expected = (*_ROLLED_BACK, *_NO_ANSWER, *_KNOWN_FAILURES, asyncpg.ReadOnlySQLTransactionError)
    return isinstance(error, asyncpg.PostgresError) and not isinstance(error, expected)


def translated(error: Exception, lost: type[FlashError]) -> FlashError:
    """What `error` of a connection or the server lets the caller assume; `lost` if it may have been done.

    An error that nobody expects (a right revoked, a table dropped, a duplicate that cannot be) is a matter for
    whoever operates PostgreSQL. It costs its own batch, never the process: so it is logged as loudly as a crash.
    """
    if isinstance(error, _ROLLED_BACK):  # PostgreSQL has undone all of it
        return Unavailable(f"PostgreSQL rolled back: {reason_of(error)}")
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError):  # a primary that has become a standby, or was closed
        return Unavailable(f"PostgreSQL takes no writes: {reason_of(error)}")
    if _found_no_room(error):
        return StorageFull(f"PostgreSQL has no room: {reason_of(error)}")
    if isinstance(error, _NO_ANSWER):
        return lost(f"PostgreSQL did not answer: {reason_of(error)}")
    assert isinstance(error, asyncpg.PostgresError)
    if not isinstance(error, _KNOWN_FAILURES):
        sqlstate = error.sqlstate or "no SQLSTATE"
        _loudly[sqlstate](
            "PostgreSQL refused a statement of this service (%s): %s: %s",
            sqlstate,
            type(error).__name__,
            reason_of(error),
        )
    if isinstance(error, asyncpg.UniqueViolationError):
        lost = DuplicateKey
    return lost(f"PostgreSQL failed: {reason_of(error)}")


def _found_no_room(error: Exception) -> bool:
    """Whether a full disk undid the statement, so that nothing of it was stored.

    An ERROR ends its transaction before the commit record is written: from there on a server that finds no room ends in
    a PANIC, with the same SQLSTATE, and its recovery may find the transaction committed.
    """
    return isinstance(error, asyncpg.DiskFullError) and error.severity_en == "ERROR"


class _LoudLoggers(dict[str, ThrottledLogger]):
    """One for each SQLSTATE, so that one flood of errors does not hide another."""

    def __missing__(self, sqlstate: str) -> ThrottledLogger:
        self[sqlstate] = ThrottledLogger(log, logging.ERROR)
        return self[sqlstate]


_loudly = _LoudLoggers()
