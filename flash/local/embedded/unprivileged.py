"""Chooses the OS user that PostgreSQL runs as. It refuses root and a uid without a name, so ours may not do.

First choice is a user namespace in which our uid merely *appears* as an unprivileged one: files stay ours, and
directories that only we may enter keep working. Where that is refused, root drops to that user for good.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Sequence
from pathlib import Path

from flash.errors import OperatorError
from flash.processes.run_as import RunAs, ourselves


def choose_run_as(directory: Path, program: Sequence[str], *, namespaces: bool = True) -> RunAs:
    """The user to run `program` as, with its files in `directory`, which is ours and writable by us.

    Whether a `drop` can reach the directory is not checked: the caller must do that. `namespaces=False` leaves the
    first choice out. Raises `OperatorError` if no user will do.
    """
    if os.geteuid() != 0 and _has_name(os.geteuid()):
        return ourselves()
    nobody = _unprivileged()
    run_as = RunAs("namespace", nobody.pw_uid, nobody.pw_gid)
    if namespaces and sys.platform.startswith("linux") and run_as.reaches(directory, *program):
        return run_as
    if os.geteuid() == 0:
        return RunAs("drop", nobody.pw_uid, nobody.pw_gid)
    raise OperatorError(
        f"the user id {os.geteuid()} has no name on this machine, but PostgreSQL requires one: "
        "run as a user that has a name, or set DATABASE_URL"
    )


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _unprivileged() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        others = [user for user in pwd.getpwall() if user.pw_uid != 0]
    if not others:
        raise OperatorError(
            "PostgreSQL needs a user that is not root and this machine has none: add one, or set DATABASE_URL"
        )
    return others[-1]
