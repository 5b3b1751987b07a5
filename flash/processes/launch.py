"""A script that runs in the child, by path and without our package: it becomes another user, ties its life to its
parent's, then becomes the program. After the change of user, none of our files need be readable any more.

launch.py RUN_AS UID GID DEATH_SIGNAL PARENT_PID DIRECTORY [PROGRAM ARGUMENT…]
"""

from __future__ import annotations

import ctypes  # here: later, the interpreter's directory may be out of reach
import os
import sys

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
FAILED = 97
"""The exit code when the program could not be started."""


def main(run_as: str, uid: int, gid: int, death_signal: int, parent: int, directory: str, *program: str) -> None:
    """Become `program` in `directory`; without a program, only find out whether that would work."""
    if run_as == "namespace":
        _enter_namespace(uid, gid)
    elif run_as == "drop":
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    os.chdir(directory)
    if run_as != "plain" and not os.access(".", os.W_OK):
        raise PermissionError(f"cannot write in {directory}")
    _die_with(parent, death_signal)
    if program:
        os.execv(program[0], program)


def _enter_namespace(uid: int, gid: int) -> None:
    """Make our own uid appear as `uid`. The kernel allows everybody this one mapping; files stay ours."""
    mine = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "user namespaces are refused")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {mine[0]} 1"),
        ("gid_map", f"{gid} {mine[1]} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _die_with(parent: int, death_signal: int) -> None:
    """Ask Linux for `death_signal` when the parent's thread ends. A change of user would undo it, so it comes later."""
    if not death_signal or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        raise ProcessLookupError("the parent has died meanwhile")


if __name__ == "__main__":
    try:
        main(sys.argv[1], *map(int, sys.argv[2:6]), *sys.argv[6:])  # type: ignore[arg-type]
    except OSError as error:
        sys.stderr.write(f"launch: {error}\n")
        sys.exit(FAILED)
