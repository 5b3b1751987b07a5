"""The OS user that a child process runs as, and whether the child ends with us.

Both need code that runs in the child before the program does. That code is `launch.py`, a script: Python's own
`preexec_fn` is not safe where there are threads.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LAUNCHER = str(Path(__file__).with_name("launch.py"))


@dataclass(frozen=True, slots=True)
class RunAs:
    """`plain` is our own user, `namespace` our own user under another number, `drop` another user."""

    kind: Literal["plain", "namespace", "drop"]
    uid: int
    gid: int

    @property
    def owner(self) -> int:
        """The uid that must own the files of such a process, seen from outside."""
        return self.uid if self.kind == "drop" else os.geteuid()

    def command(self, directory: Path, program: Sequence[str], death_signal: signal.Signals | None = None) -> list[str]:
        """The argument list that runs `program` (an absolute path and its arguments) in `directory`.

        On Linux the kernel sends `death_signal` to it when we die. In fact it does so when the *thread* that started
        the child ends, so only the main thread asks for it.
        """
        tied = death_signal if threading.current_thread() is threading.main_thread() else None
        numbers = (self.uid, self.gid, int(tied or 0), os.getpid())
        interpreter = [sys.executable, "-I", "-S", LAUNCHER]
        return [*interpreter, self.kind, *map(str, numbers), str(directory), *program]

    def reaches(self, directory: Path, *program: str) -> bool:
        """Whether such a process can write in `directory` and run `program` there."""
        done = subprocess.run(
            self.command(directory, program), stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        return done.returncode == 0


def ourselves() -> RunAs:
    return RunAs("plain", os.geteuid(), os.getegid())
