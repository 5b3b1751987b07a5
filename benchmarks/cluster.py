"""Embedded stores in a temporary directory, and the service's own processes on them, or baseline servers alone.

The service runs as `flash up` would run it, without honcho in between. Everything started here ends with its block.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import trio

from benchmarks import usage
from benchmarks.child import ROOT
from benchmarks.load.messages import Address
from benchmarks.usage import Usage
from flash.config import environment
from flash.errors import OperatorError
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.testing.cluster import Process
from flash.testing.stores import private_directory

Stores = tuple[EmbeddedPostgres, EmbeddedValkey]

_WATCH_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the web processes listen, and what runs. At an external target, nothing that runs is ours."""

    addresses: list[Address]
    processes: Sequence[Process | EmbeddedPostgres | EmbeddedValkey] = ()

    def usage(self) -> list[Usage]:
        """What each process has used so far."""
        return [usage.of_process(process.name, process.pid) for process in self.processes]


@contextmanager
def running_stores() -> Iterator[Stores]:
    """An empty PostgreSQL and an empty Valkey, with the settings of `flash up`."""
    with private_directory() as folder:
        postgres, valkey = EmbeddedPostgres(folder), EmbeddedValkey(folder)
        try:
            postgres.start()
            valkey.start()
            yield postgres, valkey
        finally:
            valkey.kill()  # nothing of it will be read again
            postgres.stop()
            for place in (postgres.cluster.parent, postgres.socket_dir.parent):
                if place.name.startswith("flash-") and not place.is_relative_to(folder):
                    shutil.rmtree(place, ignore_errors=True)  # where a store goes that may not enter our directory


@asynccontextmanager
async def running_cluster(stores: Stores, *, web: int, inventory: int, http: str) -> AsyncIterator[Cluster]:
    """That many processes of each kind, listening. The oracle opens the sales; the scheduler stays out of the way."""
    settings = {
        "DATABASE_URL": stores[0].url,
        "REDIS_URL": stores[1].url,
        "FLASH_HOST": "127.0.0.1",
        "PORT": "0",
        "WEB_CONCURRENCY": "1",
        "FLASH_SALE_PERIOD": "86400",
        "FLASH_HTTP": "hypercorn" if http == "hypercorn" else "",  # empty: the default, which is our own
    }
    counts = {"inventory": inventory, "web": web}
    programs = {f"{kind}.{n}": ("flash", kind) for kind, count in counts.items() for n in range(1, count + 1)}
    async with _running(programs, settings) as processes:
        addresses = [await _address(process) for process in processes if process.name.startswith("web")]
        yield Cluster(addresses, [*processes, *stores])


@asynccontextmanager
async def running_baseline(server: str, count: int) -> AsyncIterator[Cluster]:
    """`count` processes of one of the servers of `benchmarks.baseline`."""
    programs = {f"{server}.{n}": ("benchmarks.baseline", server) for n in range(1, count + 1)}
    async with _running(programs, {}) as processes:
        yield Cluster([await _address(process) for process in processes], processes)


@asynccontextmanager
async def _running(programs: Mapping[str, Sequence[str]], settings: Mapping[str, str]) -> AsyncIterator[list[Process]]:
    """Processes that must not die while the block lasts, and that end with it."""
    processes: list[Process] = []
    async with trio.open_nursery() as nursery:
        try:
            for name, (module, *arguments) in programs.items():
                env = environment(PYTHONPATH=str(ROOT), **settings)
                processes.append(Process(name, module, arguments, env, own_session=True))
                nursery.start_soon(processes[-1].follow)
            nursery.start_soon(_watch, processes)
            yield processes
        finally:
            nursery.cancel_scope.cancel()  # from here on, a death is no news
            for running in processes:
                running.kill()
            with trio.CancelScope(shield=True):
                for running in processes:
                    await running.wait()


async def _watch(processes: Sequence[Process]) -> None:
    while True:
        for process in processes:
            if not process.is_running():
                last = (process.log.strip().splitlines() or ["it said nothing"])[-1]
                raise OperatorError(f"{process.name} has died by itself: {last}")
        await trio.sleep(_WATCH_SECONDS)


async def _address(process: Process) -> Address:
    try:
        parts = urlsplit((await process.wait_for(r"listening on (http://\S+)"))[1])
    except AssertionError as error:
        raise OperatorError(str(error)) from error
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port
