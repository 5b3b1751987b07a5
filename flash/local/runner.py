"""Runs the processes of a Procfile side by side: starts again what dies, and stops all together.

Each leads a session and process group of its own, so that the terminal's Ctrl-C reaches none of them and a stop reaches
everything that they have started.
"""

from __future__ import annotations

import contextlib
import signal
from functools import partial
from pathlib import Path

import trio

from flash.local.output import Output
from flash.local.procfile import ProcfileProcess
from flash.processes.child import PIPE, STDOUT, Child
from flash.processes.supervisor import keep_running

_LAST_OUTPUT_SECONDS = 0.2
"""How long after the end of a process its last lines may take; something it has started may hold the pipe open."""


class Runner:
    """Keeps `processes` running. `pid_file` lists those that do, so that a later run can stop what a killed one left.

    `stop_seconds` is how long a process may take after SIGTERM before it is killed.
    """

    def __init__(self, processes: list[ProcfileProcess], output: Output, pid_file: Path, stop_seconds: float) -> None:
        self._processes = processes
        self._output = output
        self._pid_file = pid_file
        self._stop_seconds = stop_seconds
        self._running: dict[str, Child] = {}

    async def run(self, stop: trio.Event) -> None:
        """Run until cancelled, which stops everything. Raises `CrashLoop`."""
        try:
            async with trio.open_nursery() as nursery:
                for process in self._processes:
                    nursery.start_soon(self._keep, process, stop)
        finally:
            self._pid_file.unlink(missing_ok=True)

    async def _keep(self, process: ProcfileProcess, stop: trio.Event) -> None:
        await keep_running(process.name, partial(self._run_one, process), stop, report=self._output.system)

    async def _run_one(self, process: ProcfileProcess) -> int:
        """Run one process to its end; when we are cancelled, stop it."""
        child = self._start(process)
        reading = trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_on, child, reading)
            try:
                code = await child.wait()
            finally:
                await self._stop(child)
                reading.deadline = trio.current_time() + _LAST_OUTPUT_SECONDS
        return code

    def _start(self, process: ProcfileProcess) -> Child:
        child = Child(
            process.name,
            ["/bin/sh", "-c", process.command],
            env=process.env,
            stdout=PIPE,
            stderr=STDOUT,
            own_session=True,
            death_signal=signal.SIGTERM,
        )
        self._output.system(f"{child.name} started (pid={child.pid})")
        self._running[child.name] = child
        self._note_running()
        return child

    async def _stop(self, child: Child) -> None:
        """Stop it if it runs, and what is left of its group, which might hold its port."""
        is_running = child.is_running()
        if is_running:
            self._output.system(f"sending SIGTERM to {child.name} (pid {child.pid})")
        if await child.stop([(signal.SIGTERM, self._stop_seconds)], to_group=True):
            who = child.name if is_running else f"what {child.name} had started"
            self._output.system(f"{who} did not stop within {self._stop_seconds:g} s and was killed")
        if is_running:
            self._output.system(f"{child.name} stopped (rc={child.poll()})")
        del self._running[child.name]
        self._note_running()

    async def _pass_on(self, child: Child, reading: trio.CancelScope) -> None:
        with reading:
            await self._output.pass_on(child.name, child.output())

    def _note_running(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: the list only matters if we are killed
            self._pid_file.write_text("".join(f"{child.pid} {name}\n" for name, child in self._running.items()))


def pid_file(data_dir: Path) -> Path:
    return data_dir / "log" / "processes.pid"
