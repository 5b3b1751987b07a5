"""As whom a store runs. PostgreSQL refuses root and a uid without a name, so it may need another uid than ours.

First choice is a user namespace in which our uid merely *appears* as an unprivileged one: files stay ours and
directories that only we may enter keep working. Where that is refused, root drops to that user for good.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flash.errors import OperatorError

LAUNCHER = str(Path(__file__).with_name("launch.py"))


@dataclass(frozen=True, slots=True)
class RunAs:
    """`plain` is ourselves, `namespace` ourselves under another number, `drop` another user."""

    kind: Literal["plain", "namespace", "drop"]
    uid: int
    gid: int

    @property
    def owner(self) -> int:
        """The uid that must own the files of whoever runs in this run_as, seen from outside."""
        return self.uid if self.kind == "drop" else os.geteuid()

    def command(self, directory: Path, program: Sequence[str], death_signal: signal.Signals | None = None) -> list[str]:
        """The argument list that runs `program` in `directory`, with `death_signal` sent to it when we die.

        Linux sends that signal when the *thread* that started the child ends, so only the main thread asks for it.
        """
        tied = death_signal if threading.current_thread() is threading.main_thread() else None
        numbers = (self.uid, self.gid, int(tied or 0), os.getpid())
        interpreter = [sys.executable, "-I", "-S", LAUNCHER]
        return [*interpreter, self.kind, *map(str, numbers), str(directory), *program]

    def reaches(self, directory: Path, *program: str) -> bool:
        """Whether this run_as can write in `directory` and run `program` there."""
        done = subprocess.run(
            self.command(directory, program), stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        return done.returncode == 0


def ourselves() -> RunAs:
    return RunAs("plain", os.geteuid(), os.getegid())


def choose_run_as(directory: Path, program: Sequence[str], *, namespaces: bool = True) -> RunAs:
    """As whom to run `program` with its files in `directory` (ours, and writable by us).

    A `drop` is returned without a look at what it reaches: the caller has to see to that. `namespaces=False`
    leaves the first choice out, as a container does that refuses them.
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
        f"the user id {os.geteuid()} has no name on this machine, which PostgreSQL insists on: "
        "run as a user that has one, or set DATABASE_URL"
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
