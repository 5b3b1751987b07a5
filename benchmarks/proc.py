"""CPU seconds and peak memory of processes, read from /proc. Where there is no /proc, every answer is None.

CPU comes in ticks of 10 ms, and a parent's includes the children it has waited for: so a PostgreSQL session that has
ended meanwhile is still counted, as its postmaster's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_STEAL = 7
_IDLE = (3, 4)


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds since the start, of `processes` alive now, and the peak memory of the largest of them."""

    cpu_seconds: float
    memory_peak_bytes: int
    processes: int


def is_measurable() -> bool:
    return (_PROC / "self" / "stat").exists()


def usage(pids: Iterable[int], *, with_ended_children: bool = False) -> Usage:
    """What the processes have used so far; those that have gone count nothing."""
    seconds, peak, alive = 0.0, 0, 0
    for pid in pids:
        fields = _stat(pid)
        if fields is None:
            continue
        ticks = sum(map(int, fields[11:15] if with_ended_children else fields[11:13]))
        seconds += ticks / _TICKS_PER_SECOND
        peak = max(peak, memory_peak_bytes(pid) or 0)
        alive += 1
    return Usage(seconds, peak, alive)


def memory_peak_bytes(pid: int) -> int | None:
    """VmHWM: the most physical memory that the process has held, shared pages included."""
    try:
        status = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def machine_cpu_seconds() -> tuple[float, float] | None:
    """CPU seconds that all processes of the machine have used since it started, and those stolen from it."""
    try:
        ticks = [int(text) for text in (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    busy = sum(count for at, count in enumerate(ticks) if at not in (*_IDLE, _STEAL))
    return busy / _TICKS_PER_SECOND, ticks[_STEAL] / _TICKS_PER_SECOND


def _stat(pid: int) -> list[str] | None:
    """The fields after the program's name, which may hold anything but ends at the last `)`."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
