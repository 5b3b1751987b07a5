"""What a figure depends on: the machine, every version, how the run was asked for, and what CPU and memory were used.

The kernel counts CPU in ticks of 10 ms.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from flash.config import environment, settings

ROOT = Path(__file__).resolve().parents[1]
CORES = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else psutil.cpu_count() or 1
_PACKAGES = ("trio", "trio-asyncio", "hypercorn", "httptools", "asyncpg", "redis", "hiredis", "orjson")


def describe(arguments: Sequence[str]) -> dict[str, str]:
    """Facts for people; the stores' versions are added once they run."""
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    memory = f"{psutil.virtual_memory().total / 2**30:,.0f} GB"
    packages = [f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES]
    shown = {described.variable: described.shown for _, described in settings()}
    given = [
        f"{name}={shown.get(name, str)(value)}"
        for name, value in sorted(environment().items())
        if name.startswith("FLASH_")
    ]
    info = Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else ""
    model = re.search(r"^[Mm]odel(?: name)?\s*: (\D.*)", info, re.MULTILINE)
    changed = " with uncommitted changes" if _git("status", "--porcelain", "-uno", "--", "flash") else ""
    return {
        "Machine": f"{model[1] if model else platform.processor()}, {CORES} cores, {memory}, {system}",
        "Software": ", ".join([f"{platform.python_implementation()} {platform.python_version()}", *packages]),
        "Date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load average {psutil.getloadavg()[0]:.2f} before",
        "Commit": (_git("rev-parse", "--short=12", "HEAD") or "unknown") + changed,
        "Command": shlex.join(["scripts/bench", *arguments]),
        "Settings": ", ".join(given) or "defaults",
    }


def _git(*words: str) -> str:
    try:
        return subprocess.check_output(["git", "-C", ROOT, *words], text=True, stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def usage_of(pid: int) -> tuple[float, int | None]:
    """CPU seconds of a process and its children, ended ones too, and the peak memory of the largest, in bytes."""
    seconds, peaks = 0.0, [0]
    for process in [parent := psutil.Process(pid), *parent.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # an ended session of PostgreSQL counts as its parent's
            seconds += sum(process.cpu_times()[:4])  # user, system, and the same of ended children
            peaks.append(memory_peak_bytes(process.pid) or 0)
    return seconds, max(peaks) or None


def memory_peak_bytes(pid: int) -> int | None:
    """VmHWM: the most physical memory that the process has held, shared pages included. psutil has no such figure."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) * 1024 if found else None
    return None


def memory_bytes(pid: int) -> int:
    """What the process holds now (resident), shared pages included."""
    return int(psutil.Process(pid).memory_info().rss)


def machine_cpu_seconds() -> float:
    """CPU seconds that this machine has spent on any process since it started, or that were stolen from it."""
    times = psutil.cpu_times()
    return float(sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal")))
