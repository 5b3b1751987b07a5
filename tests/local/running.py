"""Runs `flash up` for the tests as a person would: a real process with real stores, over a stand-in for the service."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flash.config import environment
from flash.local.procfile import PROJECT

STUB = Path(__file__).with_name("stub_service.py")
GONE_SECONDS = 4.0
PATIENCE_SECONDS = 90.0
STORE_PID_FILES = {"PostgreSQL": "postgres/postmaster.pid", "Valkey": "valkey/valkey.pid"}


@dataclass
class Up:
    """A running `flash up`, its output so far, and the processes that it has started."""

    process: subprocess.Popen[str]
    data_dir: Path
    lines: list[str] = field(default_factory=list)

    def read_until(self, pattern: str, *, after: int = 0) -> re.Match[str]:
        """The first line from number `after` on that matches; reads on until there is one."""
        assert self.process.stdout is not None
        for line in self.lines[after:]:
            if found := re.search(pattern, line):
                return found
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"{pattern!r} never came:\n{self.output}")

    def finish(self) -> int:
        """Read the rest; the exit code."""
        assert self.process.stdout is not None
        self.lines += self.process.stdout.readlines()
        return self.process.wait()

    def stop(self, how: signal.Signals) -> float:
        """Ask it to stop and check that it ends well; the seconds that took."""
        began = time.monotonic()
        self.process.send_signal(how)
        assert self.finish() == 0, self.output
        return time.monotonic() - began

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def store_pid(self, name: str) -> int:
        return int((self.data_dir / STORE_PID_FILES[name]).read_text().split()[0])

    def left_over(self) -> list[str]:
        """The command lines of whatever still runs on behalf of this data directory."""
        return [line for _, line in our_processes(self.data_dir)]


def our_processes(data_dir: Path) -> list[tuple[int, str]]:
    """Everything that runs with `data_dir` in its command line or environment, except `flash up` itself."""
    listed = subprocess.run(["ps", "axeww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    pairs = (line.strip().partition(" ") for line in listed.splitlines())
    return [(int(pid), args) for pid, _, args in pairs if f"{data_dir}/" in args and "flash up" not in args]


def wait_nothing_left(up: Up) -> None:
    """These are not our children, so nothing announces their end."""
    deadline = time.monotonic() + 20
    while up.left_over() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert up.left_over() == []


def wait_gone(up: Up, pid: int) -> None:
    """Wait until `pid`, no child of ours, runs no more."""
    deadline = time.monotonic() + 20
    while pid in dict(our_processes(up.data_dir)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def procfile(folder: Path, **kinds: str) -> Path:
    """A Procfile whose entries are stand-ins: name=kind."""
    path = folder / "Procfile"
    path.write_text("".join(f"{name}: exec python {shlex.quote(str(STUB))} {kind}\n" for name, kind in kinds.items()))
    return path


@contextlib.contextmanager
def flash_up(
    data_dir: Path, *arguments: str | Path, cwd: Path | None = None, stdout: int = subprocess.PIPE, **settings: str
) -> Iterator[Up]:
    """Start `flash up`; whatever happens, nothing of it is left at the end."""
    inherited = {name: environment().get(name, "") for name in ("PATH", "HOME", "COVERAGE_PROCESS_CONFIG")}
    env = {**inherited, "PYTHONPATH": str(PROJECT), "FLASH_DATA_DIR": str(data_dir), "PORT": "0"}
    env |= {"FLASH_LOG_FORMAT": "text", **settings}
    with subprocess.Popen(
        [sys.executable, "-m", "flash", "up", *arguments],
        cwd=cwd,
        env=env,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        guard = threading.Timer(PATIENCE_SECONDS, process.kill)  # a test that hangs fails instead
        guard.start()
        try:
            yield Up(process, data_dir)
        finally:
            guard.cancel()
            process.kill()
            for pid, _ in our_processes(data_dir):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
