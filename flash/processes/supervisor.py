"""Keeps processes running: `keep_running` restarts whatever dies, `Supervisor` keeps copies behind one socket.

The socket belongs to the supervisor, which never accepts from it, so connections that wait in its backlog survive
the death of any process. Nothing here knows of sales.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import trio

from flash.errors import OperatorError
from flash.processes.child import Child

log = logging.getLogger(__name__)

QUICK_DEATH_SECONDS = 5.0
"""A process that dies sooner than this is taken to have failed at start, and its successor may fail too."""
QUICK_DEATHS_MAX = 5
"""This many in a row are a crash loop."""
BACKOFF_SECONDS = 0.2
_BACKOFF_MAX_SECONDS = 2.0


class CrashLoop(OperatorError):
    """A process dies as fast as it is started."""


async def keep_running(
    name: str,
    run: Callable[[], Awaitable[int]],
    stop: trio.Event,
    *,
    report: Callable[[str], None],
    why: Callable[[], str] = lambda: "its messages above say why",
    backoff_seconds: float = BACKOFF_SECONDS,
) -> None:
    """Call `run` again and again until `stop` is set. Each call is one life of a process and returns its exit code.

    `report` gets a sentence for each death. Before the next life there is a pause of `backoff_seconds`, doubled with
    each quick death. Raises `CrashLoop` that names the process, its exit code and `why()` after too many of those.
    """
    quick_deaths = 0
    while True:
        started_at = trio.current_time()
        code = await run()
        if stop.is_set():
            return  # the signal that stops us may have reached the process, too
        lived_seconds = trio.current_time() - started_at
        quick_deaths = quick_deaths + 1 if lived_seconds < QUICK_DEATH_SECONDS else 0
        ended = f"ended with exit code {explain(code)}"
        if quick_deaths >= QUICK_DEATHS_MAX:
            raise CrashLoop(
                f"{name} keeps dying right after its start ({quick_deaths} times in a row, the last one "
                f"{ended}): {why()}"
            )
        pause_seconds = min(backoff_seconds * 2**quick_deaths, _BACKOFF_MAX_SECONDS)
        report(f"{name} {ended} after {lived_seconds:.1f} s; starting it again in {pause_seconds:.1f} s")
        await trio.sleep(pause_seconds)


def explain(code: int) -> str:
    """An exit code, with the signal's name if that is what ended the process."""
    try:
        return f"{code} ({signal.Signals(-code).name})" if code < 0 else str(code)
    except ValueError:
        return str(code)


@dataclass(slots=True)
class Supervisor:
    """Keeps `count` copies of `command` running. They inherit `fds` and our whole environment.

    `stop_seconds` is how long a copy may take to end after SIGTERM, `backoff_seconds` the first pause before a dead
    copy is started again.
    """

    name: str
    command: list[str]
    count: int
    fds: tuple[int, ...]
    stop_seconds: float
    backoff_seconds: float = BACKOFF_SECONDS
    _running: set[Child] = field(default_factory=set)

    async def run(self, stop: trio.Event) -> None:
        """Run until `stop` is set, then drain all. Raises `CrashLoop`, after draining the others."""
        async with trio.open_nursery() as nursery:
            for number in range(1, self.count + 1):
                nursery.start_soon(self._keep, f"{self.name} process {number}", stop)
            await stop.wait()
            nursery.cancel_scope.cancel()

    def hurry(self) -> None:
        """Tell copies that are stopping to do it at once."""
        for child in self._running:
            child.signal(signal.SIGINT)

    async def _keep(self, name: str, stop: trio.Event) -> None:
        await keep_running(
            name, partial(self._run_one, name), stop, report=log.error, backoff_seconds=self.backoff_seconds
        )

    async def _run_one(self, name: str) -> int:
        """Run one copy to its end; when we are cancelled, drain it."""
        # in our own process group: whoever kills that, as honcho does, means the copies as well
        child = Child(name, self.command, stdin=None, pass_fds=self.fds)
        log.info("%s started (pid %d)", name, child.pid)
        self._running.add(child)
        try:
            return await child.wait()
        finally:
            if child.is_running() and await child.stop([(signal.SIGTERM, self.stop_seconds)]):
                log.error("%s (pid %d) did not stop in time and was killed", name, child.pid)
            self._running.discard(child)
