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

PACKAGES = ("trio", "trio-asyncio", "hypercorn", "httptools", "h11", "asyncpg", "redis", "hiredis", "orjson")


@dataclass(frozen=True, slots=True)
class Machine:
    """`versions` gets the stores' versions once they run. `commit` is None if it cannot be known."""

    date: str
    command: str
    commit: str | None
    cpu: str
    cores: int
    memory_bytes: int
    system: str
    load_before: float
    versions: dict[str, str]
    settings: dict[str, str]

    def lines(self) -> list[str]:
        """For people: the machine, the software, the run."""
        stores = [f"{name} {self.versions[name]}" for name in ("PostgreSQL", "Valkey") if name in self.versions]
        memory = f"{self.memory_bytes / 2**30:,.0f} GB"
        return [
            f"{self.cpu}, {self.cores} cores, {memory}, {self.system}",
            ", ".join([self.versions["Python"], f"trio {self.versions.get('trio', '?')}", *stores]),
            f"{self.date}, commit {self.commit or 'unknown'}, load average {self.load_before:g} before it",
        ]


def facts(arguments: Sequence[str]) -> Machine:
    """Everything that can be known without the stores."""
    settings = {name: value for name, value in sorted(environment().items()) if name.startswith("FLASH_")}
    return Machine(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=shlex.join(["scripts/bench", *arguments]),
        commit=_commit(),
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        load_before=round(psutil.getloadavg()[0], 2),
        versions={"Python": f"{platform.python_implementation()} {platform.python_version()}", **_packages()},
        settings=settings,
    )


def _commit() -> str | None:
    """The commit that is checked out, with a note if what is measured differs from it."""
    head = _git("rev-parse", "--short=12", "HEAD")
    if head is None:
        return None
    return f"{head} with uncommitted changes" if _git("status", "--porcelain", "-uno", "--", "flash") else head


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor() or platform.machine()


def _packages() -> dict[str, str]:
    installed = {str(package.name).lower(): package.version for package in importlib.metadata.distributions()}
    return {name: installed[name] for name in PACKAGES if name in installed}
