"""A cluster of real processes for tests: `flash web` and `flash inventory`, each with everything that it logs."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from flash.config import environment
from flash.processes.child import PIPE, STDOUT, Child

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 20.0
end_seconds = 0.0
"""How long a cluster may take to end by itself before it is killed. tests/conftest.py sets it to measure coverage: a
process that is killed loses what it has counted."""
QUICK = {"FLASH_LEASE_TTL": "1", "FLASH_LEASE_MARGIN": "0.2"}
"""Settings under which a dead leader is replaced within a second."""


class Process(Child):
    """A Python module that runs as a process, with `arguments`, and everything that it has logged.

    In a session of its own it does not get the terminal's Ctrl-C. If it `dies_with_us`, nothing of it is left when we
    are killed.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        env: Mapping[str, str],
        *,
        own_session: bool = False,
        dies_with_us: bool = False,
    ) -> None:
        super().__init__(
            name,
            [sys.executable, "-m", module, *arguments],
            directory=ROOT,
            env=env,
            stdout=PIPE,
            stderr=STDOUT,
            own_session=own_session,
            death_signal=signal.SIGKILL if dies_with_us else None,
        )
        self.log = ""
        self._more = trio.Event()

    async def follow(self) -> None:
        """Read the log until the process ends."""
        async with self.output() as output:
            async for piece in output:
                self.log += piece.decode()
                self._more.set()
                self._more = trio.Event()

    async def wait_for(self, pattern: str, *, seconds: float = START_SECONDS, after: int = 0) -> re.Match[str]:
        """Wait until the log matches `pattern` at or after the character `after`."""
        with trio.move_on_after(seconds):
            while True:
                more = self._more
                if found := re.compile(pattern).search(self.log, after):
                    return found
                await more.wait()
        raise AssertionError(f"{self.name} did not log {pattern!r} within {seconds} s:\n{self.log}")

    async def wait(self, seconds: float = 10.0) -> int:
        """The exit code, which must come within `seconds`."""
        with trio.fail_after(seconds):
            return await super().wait()


class Cluster:
    """Processes on one pair of stores. `settings` are environment variables of all of them.

    `module` is what they run, in place of the service itself.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        database_url: str,
        redis_url: str,
        settings: dict[str, str],
        *,
        module: str = "flash",
        dies_with_us: bool = False,
    ) -> None:
        self._nursery, self._module, self._dies_with_us = nursery, module, dies_with_us
        needed = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "PYTHONPATH": str(ROOT)}
        self._environment = {**environment(**needed), "PORT": "0", "WEB_CONCURRENCY": "1"}
        self._environment |= {"FLASH_LOG_FORMAT": "text", **settings}
        self.database_url = database_url
        self.processes: list[Process] = []

    async def start(self, *command: str, **settings: str) -> Process:
        """Start `flash <command>` without waiting for anything."""
        name = f"{command[0]}.{len(self.processes) + 1}"
        env = {**self._environment, **settings}
        process = Process(name, self._module, command, env, dies_with_us=self._dies_with_us)
        self.processes.append(process)
        self._nursery.start_soon(process.follow)
        return process

    async def start_web(self, **settings: str) -> tuple[Process, str]:
        """A web process that serves, and its address."""
        process = await self.start("web", **settings)
        return process, (await process.wait_for(r"listening on (http://\S+)")).group(1)

    async def start_inventory(self, **settings: str) -> Process:
        """An inventory process that is ready to lead."""
        process = await self.start("inventory", **settings)
        await process.wait_for("ready to lead")
        return process

    def named(self, name: str) -> list[Process]:
        """The `web` or the `inventory` processes."""
        return [process for process in self.processes if process.name.startswith(name)]

    async def leader_of(self, sale_id: int = 1) -> Process:
        """The process that began the latest term of the sale, according to the logs."""
        return (await self.term_of(sale_id))[1]

    async def term_of(
        self, sale_id: int = 1, *, beyond: int = 0, seconds: float = START_SECONDS
    ) -> tuple[int, Process]:
        """The epoch and the leader of the sale's latest term, which must be later than epoch `beyond`."""
        pattern = re.compile(rf"leading sale {sale_id}, epoch (\d+)")
        with trio.move_on_after(seconds):
            while True:
                terms = [(int(epoch), process) for process in self.processes for epoch in pattern.findall(process.log)]
                latest = max(terms, key=lambda term: term[0], default=(0, None))
                if latest[1] is not None and latest[0] > beyond:
                    return latest[0], latest[1]
                await trio.sleep(0.01)
        raise AssertionError(f"no term of sale {sale_id} beyond epoch {beyond} within {seconds} s")

    def dump(self) -> str:
        return "\n".join(f"--- {process.name} (pid {process.pid})\n{process.log}" for process in self.processes)

    async def kill_all(self) -> None:
        """End what still runs and see it end, even if we are cancelled."""
        running = [process for process in self.processes if process.is_running()]
        for process in running:
            process.resume()
            (process.terminate if end_seconds else process.kill)()
        with trio.CancelScope(shield=True):
            with trio.move_on_after(end_seconds):
                for process in running:
                    await process.wait()
            for process in running:
                process.kill()
                await process.wait()


async def until(condition: Callable[[], object], *, seconds: float = START_SECONDS) -> None:
    """Wait until `condition()` holds, for things that announce no change."""
    with trio.fail_after(seconds):
        while True:
            if condition():
                return
            await trio.sleep(0.01)


@asynccontextmanager
async def running_cluster(
    database_url: str, redis_url: str, *, web: int = 0, inventory: int = 0, **settings: str
) -> AsyncIterator[tuple[Cluster, list[str]]]:
    """A cluster with that many ready processes, and the addresses of its web processes. All are killed at the end."""
    async with trio.open_nursery() as nursery:
        cluster = Cluster(nursery, database_url, redis_url, settings)
        try:
            async with trio.open_nursery() as starting:
                addresses: list[str] = []

                async def start_web() -> None:
                    addresses.append((await cluster.start_web())[1])

                for _ in range(web):
                    starting.start_soon(start_web)
                for _ in range(inventory):
                    starting.start_soon(cluster.start_inventory)
            if inventory:
                await cluster.leader_of()
            yield cluster, addresses
        except BaseException:
            sys.stderr.write(cluster.dump())
            raise
        finally:
            await cluster.kill_all()
            nursery.cancel_scope.cancel()
