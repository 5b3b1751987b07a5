"""What a figure depends on: the machine, its kernel, the versions of everything, and how the run was asked for."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flash.config import environment
from flash.local.procfile import PROJECT

PACKAGES = ("trio", "trio-asyncio", "hypercorn", "httptools", "h11", "asyncpg", "redis", "hiredis", "orjson")


def facts(arguments: list[str]) -> dict[str, Any]:
    """Everything that can be known without the stores; what cannot is None."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": shlex.join(["flash", *arguments]),
        "commit": commit(),
        "machine": {
            "cpu": _cpu_model(),
            "cores": cores(),
            "memory_bytes": _memory_bytes(),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "load_before": round(os.getloadavg()[0], 2),
        },
        "versions": {"Python": f"{platform.python_implementation()} {platform.python_version()}", **_packages()},
        "settings": {name: value for name, value in sorted(environment().items()) if name.startswith("FLASH_")},
    }


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def commit() -> str | None:
    """The commit that is checked out, with a note if files differ from it; None if that cannot be known."""
    head = _git("rev-parse", "--short=12", "HEAD")
    if head is None:
        return None
    return f"{head}, with uncommitted changes" if _git("status", "--porcelain", "-uno", "--", "flash") else head


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", PROJECT, *words], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
