"""What a figure depends on: the machine, its kernel, every version, and how the run was asked for."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from benchmarks.child import ROOT
from flash.config import environment

PACKAGES = ("trio", "trio-asyncio", "hypercorn", "httptools", "asyncpg", "redis", "hiredis", "orjson")


@dataclass(frozen=True, slots=True)
class Machine:
    """`facts` are for people; the stores' versions are added once they run."""

    cores: int
    facts: dict[str, str]


def describe(arguments: Sequence[str]) -> Machine:
    """Everything that can be known without the stores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = f"{psutil.virtual_memory().total / 2**30:,.0f} GB"
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    packages = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    settings = [f"{name}={value}" for name, value in sorted(environment().items()) if name.startswith("FLASH_")]
    facts = {
        "Machine": f"{_cpu_model()}, {cores} cores, {memory}, {system}",
        "Software": ", ".join([python, *packages]),
        "Date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load average {psutil.getloadavg()[0]:.2f} before",
        "Commit": _commit(),
        "Command": shlex.join(["scripts/bench", *arguments]),
        "Settings": ", ".join(settings) or "defaults",
    }
    return Machine(cores, facts)


def _commit() -> str:
    """The commit that is checked out, with a note if what is measured differs from it."""
    try:
        head, changes = (
            subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, timeout=10, check=True).stdout
            for words in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "-uno", "--", "flash"))
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head.strip() + (" with uncommitted changes" if changes else "")


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor() or platform.machine()
