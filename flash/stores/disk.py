"""How much room the database's disk has, where that disk is this machine's.

A directory of the same name may belong to another server, so the one that is measured must hold this server's
identifier. Otherwise nothing is known, and only PostgreSQL itself says when its disk is full.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import trio

from flash.errors import Unavailable, reason_of
from flash.stores.postgres import Postgres, Row, Session
from flash.stores.postgres_errors import PermissionDenied, StatementError

log = logging.getLogger(__name__)

# The role needs pg_read_all_settings. Asked for each time: after a fail-over it is another server's directory.
FIND_DIRECTORY = "SELECT current_setting('data_directory') AS directory, system_identifier FROM pg_control_system()"
_IDENTIFIER_BYTES = 8


class DatabaseDisk:
    """The disk or disks of the server that `database` leads to."""

    def __init__(self, database: Postgres) -> None:
        self._database = database
        self._is_denied = False

    async def free_bytes(self) -> int | None:
        """What an unprivileged process may still write where the tables and the log are; None if nobody here can see.

        Raises `Unavailable` or `OutcomeUnknown`.
        """
        if self._is_denied:
            return None
        try:
            row = await self._database.administer(_find_directory)
        except PermissionDenied as error:
            self._is_denied = True
            log.info("free disk space of PostgreSQL is not watched: %s", reason_of(error))
            return None
        except StatementError as error:  # a session that was reset, say: the next time may be another one
            raise Unavailable(f"the disk could not be asked for: {reason_of(error)}") from error
        # a disk that hangs must not stop the loop
        return await trio.to_thread.run_sync(
            _free_bytes, Path(row["directory"]), row["system_identifier"], abandon_on_cancel=True
        )


async def _find_directory(session: Session) -> Row:
    row = await session.fetchrow(FIND_DIRECTORY)
    assert row is not None
    return row


def _free_bytes(directory: Path, system_identifier: int) -> int | None:
    try:
        with (directory / "global" / "pg_control").open("rb") as control:
            if control.read(_IDENTIFIER_BYTES) not in _encodings(system_identifier):
                return None
        statistics = [os.statvfs(folder) for folder in (directory, directory / "pg_wal")]
    except OSError:  # on another machine, or not ours to read
        return None
    return min(found.f_bavail * found.f_frsize for found in statistics)


def _encodings(system_identifier: int) -> list[bytes]:
    """How the server may have written its number; PostgreSQL shows it as signed."""
    return [(system_identifier % 2**64).to_bytes(_IDENTIFIER_BYTES, order) for order in ("little", "big")]
