"""CPU seconds and peak memory, of processes and of the machine. The kernel counts CPU in ticks of 10 ms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process and its children have used. The peak is that of the largest; None where nobody keeps it."""

    name: str
    cpu_seconds: float
    memory_peak_bytes: int | None

    def since(self, before: Usage) -> Usage:
        """The CPU used since `before`; a peak is a peak."""
        return Usage(self.name, max(0.0, self.cpu_seconds - before.cpu_seconds), self.memory_peak_bytes)


def of_process(name: str, pid: int) -> Usage:
    """Ended children count too, so that a PostgreSQL session that is over is not forgotten."""
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    seconds, peak = 0.0, 0
    for process in family:
        try:
            seconds += sum(process.cpu_times()[:4])  # user, system, and the same of ended children
        except psutil.NoSuchProcess:
            continue
        peak = max(peak, memory_peak_bytes(process.pid) or 0)
    return Usage(name, seconds, peak or None)


def memory_peak_bytes(pid: int) -> int | None:
    """VmHWM: the most physical memory that the process has held, shared pages included. psutil has no such figure."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def machine_cpu_seconds() -> float:
    """CPU seconds that this machine has spent on any process since it started, or that were stolen from it."""
    times = psutil.cpu_times()
    return float(sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal")))
