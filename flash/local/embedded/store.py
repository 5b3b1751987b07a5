"""A store as a child process of ours: started, stopped, killed, frozen. The subclasses say which store it is.

Synchronous on purpose: test fixtures have no event loop. No process of the service uses it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import IO, ClassVar

from flash.config import postgres_environment
from flash.errors import OperatorError
from flash.local.embedded import datadir, leftovers
from flash.processes.child import Child, Steps
from flash.processes.run_as import RunAs

READY_POLL_SECONDS = 0.005
_LAST_SIGNAL_SECONDS = 0.5
_KILLED_SECONDS = 10.0
_LOG_BYTES_MAX = 10_000_000


class Store(ABC):
    """One child process that is a store. Start, stop, kill, pause and resume it as often as you like."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    last_signal: ClassVar[signal.Signals] = signal.SIGKILL

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = datadir.prepare(data_dir)
        self._child: Child | None = None
        self._frozen: list[int] = []

    @property
    def log(self) -> Path:
        return self.data_dir / "log" / f"{self.name.lower()}.log"

    @property
    def child(self) -> Child:
        """The process that was started last."""
        assert self._child is not None, f"{self.name} was not started"
        return self._child

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    @abstractmethod
    def home(self) -> Path:
        """Where it keeps its data."""

    def settle(self) -> None:  # noqa: B027 - most stores have nothing to choose
        """Find out where it listens, as `launch` does, without starting it."""

    @abstractmethod
    def launch(self) -> None:
        """Start it without waiting."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers a real connection."""

    def is_running(self) -> bool:
        return self._child is not None and self._child.is_running()

    def start(self, timeout_seconds: float = 60.0) -> None:
        """Start it and wait until it answers. Raises `OperatorError` with the last line of its log if it does not."""
        self.launch()
        self.wait_ready(timeout_seconds)

    def wait_ready(self, timeout_seconds: float = 60.0) -> None:
        """Wait until it answers. Raises `OperatorError` if it ends first or takes too long."""
        deadline = time.monotonic() + timeout_seconds
        while not self.is_ready():
            if not self.is_running() or time.monotonic() > deadline:
                self.kill()
                raise self.start_error()
            time.sleep(READY_POLL_SECONDS)

    def start_error(self) -> OperatorError:
        return OperatorError(f"{self.name} did not start: {self.last_words()}")

    def last_words(self) -> str:
        """Why it ended, as far as its log tells, and where that log is."""
        return f"{last_line(self.log)} (see {self.log})"

    def stop(self, patience_seconds: float = 3.0) -> None:
        """Stop it in an orderly way, or by force if that takes longer than `patience_seconds`."""
        self.resume()
        if self.is_running():
            self.child.stop_blocking(self.stop_steps(patience_seconds))

    def stop_steps(self, patience_seconds: float) -> Steps:
        return [(self.stop_signal, patience_seconds), (self.last_signal, _LAST_SIGNAL_SECONDS)]

    def kill(self) -> None:
        """`kill -9`, as a crash would."""
        self.resume()
        if self.is_running():
            self.child.kill()
            self.child.wait_blocking(_KILLED_SECONDS)

    def pause(self) -> None:
        """Freeze it and all that it has started (SIGSTOP): connections stay open and nothing answers.

        A frozen PostgreSQL postmaster alone would leave the open sessions answering.
        """
        if self.is_running():
            self._frozen = [self.pid, *leftovers.descendants(self.pid)]
        for pid in self._frozen:
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        while self._frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._frozen.pop(), signal.SIGCONT)

    def _spawn(self, run_as: RunAs, directory: Path, program: list[str]) -> None:
        assert not self.is_running(), f"{self.name} is running already"
        with datadir.explained(), open_log(self.log) as log:
            self._child = Child(
                self.name,
                program,
                directory=directory,
                env=postgres_environment(LC_ALL="C"),
                stdout=log,
                stderr=log,
                own_session=True,  # the terminal's Ctrl-C is for us alone
                run_as=run_as,
                death_signal=self.stop_signal,
            )


def ask(path: Path, question: bytes) -> bytes:
    """The first bytes of the answer of whoever listens at `path`; empty if none comes within 100 ms."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(0.1)
        try:
            connection.connect(str(path))
            connection.sendall(question)
            return connection.recv(64)
        except OSError:
            return b""


@contextlib.contextmanager
def open_log(path: Path) -> Iterator[IO[bytes]]:
    """`path` to append to. A long one is renamed first, replacing the one renamed before."""
    if path.exists() and path.stat().st_size > _LOG_BYTES_MAX:
        path.replace(path.with_suffix(".old"))
    with path.open("ab") as log:
        yield log


def last_line(log: Path) -> str:
    """The last line of a store's log that explains its end."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 20_000))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError as error:
        return str(error)
    telling = [line for line in lines[-12:] if any(word in line for word in ("FATAL", "PANIC", "error:", "launch:"))]
    return (telling or lines or ["it logged nothing"])[-1].strip()
