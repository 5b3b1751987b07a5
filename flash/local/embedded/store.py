"""A store as a child process of ours: started, watched and stopped. Which store it is, the subclasses say.

Synchronous on purpose: `flash up` and the tests call it, no service process does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, ClassVar

from flash.config import environment
from flash.errors import OperatorError
from flash.local.embedded import datadir
from flash.local.embedded.run_as import RunAs

_READY_POLL_SECONDS = 0.005
_LOG_BYTES_MAX = 10_000_000


class Store:
    """One child process that is a store. Start, stop, kill, pause and resume it as often as you like."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    last_signal: ClassVar[signal.Signals] = signal.SIGKILL

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = datadir.prepare(data_dir)
        self.process: subprocess.Popen[bytes] | None = None
        self._frozen: list[int] = []

    @property
    def log(self) -> Path:
        return self.data_dir / "log" / f"{self.name.lower()}.log"

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was not started"
        return self.process.pid

    @property
    def home(self) -> Path:
        """Where its data lies."""
        raise NotImplementedError

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, timeout_seconds: float = 60.0) -> None:
        """Start it and wait until it answers. Raises `OperatorError` with the last line of its log if it does not."""
        self.launch()
        self.wait_ready(timeout_seconds)

    def launch(self) -> None:
        """Start it without waiting."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether it answers a real connection."""
        raise NotImplementedError

    def wait_ready(self, timeout_seconds: float = 60.0, keep_waiting: Callable[[], None] = lambda: None) -> None:
        """Wait until it answers; `keep_waiting` is called meanwhile and may raise."""
        deadline = time.monotonic() + timeout_seconds
        while not self.is_ready():
            keep_waiting()
            if not self.is_running() or time.monotonic() > deadline:
                self.kill()
                raise OperatorError(f"{self.name} did not start: {last_line(self.log)} (see {self.log})")
            time.sleep(_READY_POLL_SECONDS)

    def ask_to_stop(self) -> None:
        """Begin an orderly stop; `stop` waits for it."""
        self._signal(self.stop_signal)

    def stop(self, patience_seconds: float = 3.0) -> None:
        """Stop it in an orderly way, and by force where that takes longer than `patience_seconds`."""
        self.resume()
        for how, patience in (
            (self.stop_signal, patience_seconds),
            (self.last_signal, 0.5),
            (signal.SIGKILL, 10.0),
        ):
            self._signal(how)
            if self._ends_within(patience):
                return

    def kill(self) -> None:
        """`kill -9`, as a crash would."""
        self.resume()
        self._signal(signal.SIGKILL)
        self._ends_within(10.0)

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing answers."""
        self._frozen = self._family()
        for pid in self._frozen:
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        while self._frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._frozen.pop(), signal.SIGCONT)

    def _family(self) -> list[int]:
        return [self.pid] if self.is_running() else []

    def _signal(self, how: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)

    def _ends_within(self, patience_seconds: float) -> bool:
        try:
            if self.process is not None:
                self.process.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _spawn(self, run_as: RunAs, directory: Path, program: list[str]) -> None:
        assert not self.is_running(), f"{self.name} runs already"
        with datadir.explained(), open_log(self.log) as log:
            self.process = subprocess.Popen(
                run_as.command(directory, program, self.stop_signal),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(LC_ALL="C"),
                start_new_session=True,  # the terminal's Ctrl-C is for us alone
            )


def ask(path: Path, question: bytes) -> bytes:
    """The first bytes that whoever listens at `path` answers to `question`; nothing if nobody does within 100 ms."""
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
    """`path` to append to; a long one is set aside first, and one that is older than that forgotten."""
    if path.exists() and path.stat().st_size > _LOG_BYTES_MAX:
        path.replace(path.with_suffix(".old"))
    with path.open("ab") as log:
        yield log


def last_line(log: Path) -> str:
    """What a store said last that explains its end."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 20_000))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError as error:
        return str(error)
    telling = [line for line in lines[-12:] if any(word in line for word in ("FATAL", "PANIC", "error:", "launch:"))]
    return (telling or lines or ["it said nothing"])[-1].strip()


def children_of(parent: int) -> list[int]:
    done = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = (line.split() for line in done.stdout.splitlines())
    return [int(pid) for pid, ppid in pairs if int(ppid) == parent]
