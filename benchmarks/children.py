"""Child processes of a benchmark: started, listened to, and gone when it ends, however it ends.

Every wait looks at the signals, the deadline and the children that must not die; nothing here blocks for longer than
a blink. On Linux the kernel ends the children too if we are killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.signals import Signals
from flash.config import environment
from flash.errors import OperatorError
from flash.local.embedded.store import last_line
from flash.local.procfile import PROJECT
from flash.processes.run_as import ourselves

_POLL_SECONDS = 0.02
_STOP_SECONDS = 5.0

Report = Callable[[Mapping[str, Any]], None]


class Watch:
    """Whether to go on. `keep_going` raises `Stopped` after a signal, `OperatorError` late or after a death."""

    def __init__(self, signals: Signals, seconds_max: float) -> None:
        self._signals = signals
        self._seconds_max = seconds_max
        self._until = time.monotonic() + seconds_max
        self.children: list[Child] = []

    def keep_going(self) -> None:
        self._signals.check()
        if self.seconds_left() <= 0:
            raise OperatorError(f"not finished after {self._seconds_max:.0f} seconds: raise --timeout, or measure less")
        for child in self.children:
            if child.process.poll() is not None:
                raise OperatorError(f"{child.name} has died by itself: {last_words(child.log)}")

    def seconds_left(self) -> float:
        return self._until - time.monotonic()


class Child:
    """One process and the file that it logs to."""

    def __init__(self, name: str, words: Sequence[str], folder: Path, env: Mapping[str, str], *, talks: bool) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        pipe = subprocess.PIPE if talks else subprocess.DEVNULL
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ourselves().command(folder, [sys.executable, *words], signal.SIGKILL if talks else signal.SIGTERM),
                stdin=pipe,
                stdout=pipe,
                stderr=log,
                env=dict(env),
                start_new_session=True,  # the terminal's Ctrl-C is for us alone
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_log(self, pattern: str, watch: Watch) -> str:
        """Wait until the log matches; the first group."""
        while True:
            if found := re.search(pattern, self.log.read_text(errors="replace")):
                return found[1]
            watch.keep_going()
            if self.process.poll() is not None:
                raise OperatorError(f"{self.name} did not start: {last_words(self.log)}")
            time.sleep(_POLL_SECONDS)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it in an orderly way, or by force after a few seconds."""
        for what, seconds in ((how, _STOP_SECONDS), (signal.SIGKILL, _STOP_SECONDS)):
            if self.process.poll() is None:
                self.process.send_signal(what)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
                break
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


class Talker(Child):
    """A child that answers each JSON line with `{"progress": …}` lines and one `{"result": …}`."""

    def __init__(self, name: str, words: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        super().__init__(name, words, folder, env, talks=True)
        self._unread = b""

    def ask(self, question: Mapping[str, Any], watch: Watch, report: Report | None = None) -> Any:
        """The result. Raises `OperatorError` with the last line of the log if the child dies instead."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(question).encode() + b"\n")
            self.process.stdin.flush()
        for line in self._lines(watch):
            said = json.loads(line)
            if "result" in said:
                return said["result"]
            if report is not None:
                report(said)
        raise OperatorError(f"{self.name} has failed: {last_words(self.log)}")

    def _lines(self, watch: Watch) -> Iterator[bytes]:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        while True:
            watch.keep_going()
            if select.select([descriptor], [], [], _POLL_SECONDS)[0]:
                chunk = os.read(descriptor, 1 << 16)
                if not chunk:
                    return
                *lines, self._unread = (self._unread + chunk).split(b"\n")
                yield from lines


@contextlib.contextmanager
def talking(module: str, *arguments: str, folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Talker]:
    """The program `benchmarks.<module>`, to talk to for as long as the block lasts."""
    child = Talker(module, ["-m", f"benchmarks.{module}", *arguments], folder, env or child_environment())
    try:
        yield child
    finally:
        child.stop(signal.SIGKILL)


def last_words(log: Path) -> str:
    """The line of a child's log that explains its end best: the last one that names an error."""
    lines = log.read_text(errors="replace").splitlines()
    telling = [line.lstrip("| +-") for line in lines if re.search(r"^[ |+-]*[\w.]*[Ee]rror\b.*:", line)]
    return telling[-1] if telling else last_line(log)


def child_environment(**changes: str) -> dict[str, str]:
    """Ours with `changes`; our package is found wherever the child is started."""
    path = os.pathsep.join(filter(None, (str(PROJECT), environment().get("PYTHONPATH"))))
    return environment(PYTHONPATH=path, PYTHONUNBUFFERED="1", **changes)
