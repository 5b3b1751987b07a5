"""Several processes of one kind behind one listening socket: started, restarted when they die, drained together.

The socket belongs to the supervisor, which never accepts from it, so connections that wait in its backlog survive
the death of any process. It knows nothing of sales.
"""

from __future__ import annotations

import logging
import signal
from dataclasses import dataclass

import trio

from flash.config import KILL_AFTER_DRAIN_SECONDS
from flash.errors import OperatorError

log = logging.getLogger(__name__)

QUICK_DEATH_SECONDS = 5.0
"""A process that lives shorter than this has died of its start, and the next one may do the same."""
QUICK_DEATHS_MAX = 5
"""This many in a row are a crash loop."""
_BACKOFF_MAX_SECONDS = 2.0


class CrashLoop(OperatorError):
    """Processes die as fast as they are started."""


@dataclass(slots=True)
class Supervisor:
    """Keeps `count` copies of `command` running. They inherit `fds` and our whole environment.

    `drain_seconds` is how long a copy may answer what it has accepted after SIGTERM, `backoff_seconds` the pause
    before a dead one is started again, doubled with each quick death.
    """

    name: str
    command: list[str]
    count: int
    fds: tuple[int, ...]
    drain_seconds: float
    backoff_seconds: float = 0.2

    async def run(self, stop: trio.Event) -> None:
        """Run until `stop` is set, then drain all. Raises `CrashLoop`, after draining the others."""
        async with trio.open_nursery() as nursery:
            for number in range(1, self.count + 1):
                nursery.start_soon(self._keep, number, stop)
            await stop.wait()
            nursery.cancel_scope.cancel()

    async def _keep(self, number: int, stop: trio.Event) -> None:
        quick_deaths = 0
        while True:
            started_at = trio.current_time()
            code = await self._run_one(number)
            if stop.is_set():
                return  # the signal that we got may have reached it, too
            lived_seconds = trio.current_time() - started_at
            quick_deaths = quick_deaths + 1 if lived_seconds < QUICK_DEATH_SECONDS else 0
            log.error("%s process %d ended with exit code %d after %.1f s", self.name, number, code, lived_seconds)
            if quick_deaths >= QUICK_DEATHS_MAX:
                raise CrashLoop(
                    f"{self.name} processes keep dying right after their start ({quick_deaths} in a row, "
                    f"the last with exit code {code}): their messages above say why"
                )
            await trio.sleep(min(self.backoff_seconds * 2**quick_deaths, _BACKOFF_MAX_SECONDS))

    async def _run_one(self, number: int) -> int:
        """Run one copy to its end; when we are cancelled, drain it."""
        process = await trio.lowlevel.open_process(self.command, pass_fds=self.fds)
        log.info("%s process %d started (pid %d)", self.name, number, process.pid)
        try:
            return await process.wait()
        finally:
            with trio.CancelScope(shield=True):
                await self._drain(process)

    async def _drain(self, process: trio.Process) -> None:
        if process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        with trio.move_on_after(self.drain_seconds + KILL_AFTER_DRAIN_SECONDS):
            await process.wait()
        if process.poll() is None:
            log.error("%s (pid %d) did not stop in time and is killed", self.name, process.pid)
            process.kill()
            await process.wait()
