"""The Procfile under honcho, which starts and stops the processes; we watch honcho and pass its output on.

honcho's log is also how we know the processes: by name when one dies, by number when the rest must be killed.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flash.config import Config, environment
from flash.errors import OperatorError
from flash.local.embedded.run_as import ourselves
from flash.local.embedded.store import Store, last_line
from flash.local.signals import Signals

PROJECT = Path(__file__).resolve().parents[2]

STOP_SECONDS = 2.9
"""How long the processes may take to drain before they are killed."""

_READY_SECONDS = 60.0
_POLL_SECONDS = 0.02


@dataclass(slots=True)
class Child:
    """One process of the Procfile, as honcho reports it."""

    pid: int
    returncode: int | None = None


_REPORT = re.compile(rb"^\d\d:\d\d:\d\d system +\| (\S+) (started|stopped) \((?:pid|rc)=(-?\d+)\)$")


class Honcho:
    """The Procfile under honcho, in its own session. Its output is passed on, and read for who started and stopped."""

    def __init__(
        self, config: Config, procfile: Path, wanted: dict[str, int], data_dir: Path, signals: Signals
    ) -> None:
        self.children: dict[str, Child] = {}
        self._expected = sum(wanted.values())
        self._signals = signals
        self._unfinished_line = b""
        pid_file = honcho_pid_file(data_dir)
        concurrency = ",".join(f"{name}={number}" for name, number in wanted.items())
        # honcho would let a `.env` override the settings; the name of this missing one tells later runs whose it is
        no_env = data_dir / "run" / "no.env"
        arguments = ["start", "-d", str(procfile.parent), "-f", str(procfile), "-e", str(no_env)]
        arguments += ["-c", concurrency, "-p", str(config.port)]
        self._read_end, write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self.process = subprocess.Popen(
            ourselves().command(data_dir, [sys.executable, "-m", "honcho", *arguments], signal.SIGTERM),
            stdin=subprocess.DEVNULL,
            stdout=write_end,
            stderr=write_end,
            # honcho holds our end too: if we are killed, writing to nobody must not kill it before its children
            pass_fds=(self._read_end,),
            env=_child_environment(config),
            start_new_session=True,
        )
        os.close(write_end)
        pid_file.parent.mkdir(mode=0o700, exist_ok=True)
        pid_file.write_text(f"{self.process.pid}\n")

    def __enter__(self) -> Honcho:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything that honcho started, in an orderly way while there is time, then by force."""
        deadline = time.monotonic() + STOP_SECONDS
        # before all have started, honcho trips over SIGTERM and leaves those that have
        while len(self.children) < self._expected and self._is_alive() and time.monotonic() < deadline - 2:
            self._wait(0.05)
        if self._is_alive():
            self.process.terminate()
        while self._is_alive() and time.monotonic() < deadline:
            self._wait(min(0.1, max(0.0, deadline - time.monotonic())))
        self._kill_rest()
        self._pass_on()
        os.close(self._read_end)

    def watch(self, stores: list[Store], announce: Callable[[], bool]) -> None:
        """Pass the output on until `Stopped`. Raises `OperatorError` that names whatever died by itself."""
        until = time.monotonic() + _READY_SECONDS
        is_announced = False
        while True:
            self._wait(1.0 if is_announced else _POLL_SECONDS)
            self._signals.check()
            self._check(stores)
            if not is_announced:
                is_announced = announce()
                if time.monotonic() > until:
                    raise OperatorError(f"the service did not answer within {_READY_SECONDS:.0f} seconds")

    def _check(self, stores: list[Store]) -> None:
        for store in stores:
            if not store.is_running():
                raise OperatorError(f"{store.name} has died: {last_line(store.log)} (see {store.log})")
        for name, child in self.children.items():
            if child.returncode is not None:
                raise OperatorError(f"{name} has stopped by itself with exit code {child.returncode}; stopped the rest")
        if not self._is_alive():
            raise OperatorError(f"honcho has stopped by itself with exit code {self.process.returncode}")

    def _is_alive(self) -> bool:
        return self.process.poll() is None

    def _wait(self, seconds: float) -> None:
        """Sleep until there is output, a signal or a dead child, at most `seconds`."""
        ready, _, _ = select.select([self._read_end, self._signals.wakeup], [], [], seconds)
        self._signals.drain()
        if self._read_end in ready:
            self._pass_on()

    def _pass_on(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._read_end, 65536):
                self._read(chunk)

    def _read(self, chunk: bytes) -> None:
        *lines, self._unfinished_line = (self._unfinished_line + chunk).split(b"\n")
        for line in lines:
            if found := _REPORT.match(line):
                name, verb, number = found.group(1).decode(), found.group(2), int(found.group(3))
                if verb == b"started":
                    self.children[name] = Child(number)
                elif name in self.children:
                    self.children[name].returncode = number
            say(line.decode(errors="replace"))

    def _kill_rest(self) -> None:
        """Each child leads a process group of its own, so honcho's death alone would not reach it."""
        groups = [child.pid for child in self.children.values() if child.returncode is None]
        for group in [*groups, self.process.pid]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        self.process.wait()


def honcho_pid_file(data_dir: Path) -> Path:
    return data_dir / "log" / "honcho.pid"


def _child_environment(config: Config) -> dict[str, str]:
    """`python` in the Procfile must be ours, and must find our package wherever it is started."""
    assert config.database_url is not None
    assert config.redis_url is not None
    inherited = environment()
    return {
        **inherited,
        "DATABASE_URL": config.database_url,
        "REDIS_URL": config.redis_url,
        "PORT": str(config.port),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), inherited.get("PATH", os.defpath))),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(PROJECT), inherited.get("PYTHONPATH")))),
        "PYTHONUNBUFFERED": "1",
    }


def say(text: str) -> None:
    """Print a line; nobody listening any more is no reason to stop the service."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
