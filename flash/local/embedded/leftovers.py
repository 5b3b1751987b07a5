"""Processes that are not our children: what a killed run has left behind, and what a store has started itself.

psutil comes with the embedded stores only, so it is imported where there is a process to look at. A pid alone proves
nothing, since the system reuses pids: something in the process must say that it is ours before it is touched.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from flash.errors import OperatorError

if TYPE_CHECKING:
    import psutil

_PATIENCE_SECONDS = 10.0
_POLL_SECONDS = 0.01


def descendants(pid: int) -> list[int]:
    """The processes that `pid` has started, and those that they have started."""
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def stop_server(pid_file: Path, marker: str, first: signal.Signals) -> None:
    """Stop the process named in `pid_file` if its command line contains `marker`: with `first`, then SIGKILL."""
    ours = [pid for pid in read_pids(pid_file)[:1] if has_argument(pid, marker)]
    _stop(ours, os.kill, first, _PATIENCE_SECONDS, lambda pid: _look(pid, lambda _: True))


def stop_groups(pid_file: Path, variable: str, value: str, patience_seconds: float) -> None:
    """Stop the process groups named in `pid_file` that hold a process with `variable` set to `value`.

    First with SIGTERM, then with SIGKILL. Any member will do: a shell that leads a group may die before what it runs.
    """
    listed = [group for group in read_pids(pid_file) if _exists(group)]
    ours = [group for group in listed if any(_environment(p).get(variable) == value for p in _members(group))]
    _stop(ours, os.killpg, signal.SIGTERM, patience_seconds, lambda group: any(True for _ in _members(group)))


def _members(group: int) -> Iterator[psutil.Process]:
    """The processes of a group, without zombies and without what is hidden from us."""
    psutil = _psutil(group)
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getpgid(pid) == group and (found := psutil.Process(pid)).status() != psutil.STATUS_ZOMBIE:
                yield found


def _environment(process: psutil.Process) -> dict[str, str]:
    """What it was started with; empty if we may not know, or if it is gone."""
    import psutil

    try:
        return process.as_dict(["environ"])["environ"] or {}
    except psutil.Error:
        return {}


def has_argument(pid: int, marker: str) -> bool:
    """Whether there is such a process and its command line contains `marker`."""
    return _look(pid, lambda process: marker in " ".join(process.cmdline()))


def read_pids(pid_file: Path) -> list[int]:
    """The number that each line of `pid_file` begins with, up to the first line without one."""
    try:
        lines = pid_file.read_text().splitlines()
    except OSError:
        return []
    pids = []
    for line in lines:
        word = line.partition(" ")[0]
        if not word.isdecimal() or int(word) <= 1:
            break
        pids.append(int(word))
    return pids


def _stop(
    pids: list[int],
    send: Callable[[int, signal.Signals], None],
    first: signal.Signals,
    patience_seconds: float,
    is_there: Callable[[int], bool],
) -> None:
    for how in (first, signal.SIGKILL):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                send(pid, how)
        deadline = time.monotonic() + patience_seconds
        while (pids := [pid for pid in pids if is_there(pid)]) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def _look(pid: int, is_it: Callable[[psutil.Process], bool]) -> bool:
    """`is_it` of the process `pid`; False if there is none, or only a zombie, or one that is hidden from us."""
    if not _exists(pid):
        return False
    psutil = _psutil(pid)
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and is_it(process)
    except psutil.Error:
        return False


def _exists(pid: int) -> bool:
    """Whether there is a process or a process group of that number that we may signal."""
    for send in (os.kill, os.killpg):
        with contextlib.suppress(OSError):
            send(pid, 0)
            return True
    return False


def _psutil(pid: int) -> ModuleType:
    """psutil, to look at process or group `pid`. Raises `OperatorError` if it is not installed."""
    try:
        import psutil
    except ImportError:
        raise OperatorError(
            f"process {pid} may be left over from a killed run, and psutil, which could tell, is not installed: "
            "stop that process, or install psutil"
        ) from None
    return psutil
